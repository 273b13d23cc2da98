//! What a viewer saw and heard, and whether that is good enough.

use std::process::Output;

use serde_json::Value;

use super::publisher::{FPS, SIZE};

/// The farthest that sound and picture may be apart where the source has them together.
pub const OFFSET_MS_MAX: f64 = 60.0;
/// From 1900 to 1970.
const NTP_TO_UNIX_MS: f64 = 2_208_988_800_000.0;
/// The tone's amplitude is 0.5; encoders and resamplers keep it about there.
const AMPLITUDE: std::ops::Range<f64> = 0.3..0.7;

/// A viewer's report.
#[derive(Debug)]
pub struct Report {
    name: String,
    value: Value,
}

/// What is expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Seconds that it played.
    pub seconds: f64,
    /// The part of the source's pictures that must be there, 1 for all.
    pub pictures: f64,
    /// The longest time between two pictures, in seconds.
    pub step_max: f64,
    /// The farthest that sound and picture may be apart, in milliseconds.
    pub offset_ms_max: f64,
}

impl Report {
    /// From a program's standard output.
    pub fn read(name: &str, output: &Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr);
        Self::new(name, serde_json::from_slice(&output.stdout).unwrap_or_default(), &stderr)
    }

    /// Without a report the standard error output says why.
    pub fn new(name: &str, mut value: Value, stderr: &str) -> Self {
        if value.is_null() {
            value = serde_json::json!({ "failed": stderr });
        }
        Self { name: name.to_owned(), value }
    }

    pub fn add_errors(&mut self, more: impl Iterator<Item = String>) {
        if let Some(errors) = self.value["errors"].as_array_mut() {
            errors.extend(more.map(Value::from));
        }
    }

    pub fn number(&self, key: &str) -> f64 {
        self.value[key].as_f64().unwrap_or(f64::NAN)
    }

    /// How far behind the publisher's clock the pictures are that WebRTC shows, in milliseconds.
    pub fn latency_ms(&self) -> f64 {
        let video = &self.value["stats"]["video"];
        let number = |key: &str| video[key].as_f64().unwrap_or(f64::NAN);
        number("timestamp") - (number("estimatedPlayoutTimestamp") - NTP_TO_UNIX_MS)
    }

    /// Packets of `kind` that came by WebRTC in a second.
    pub fn received_a_second(&self, kind: &str) -> f64 {
        self.value["stats"][kind]["packetsReceived"].as_f64().unwrap_or(f64::NAN) / self.number("video_seconds")
    }

    /// Width and height in pixels of what was seen last.
    pub fn size(&self) -> (f64, f64) {
        (self.number("width"), self.number("height"))
    }

    /// A list of times in seconds.
    pub fn times(&self, key: &str) -> Vec<f64> {
        self.value[key].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    }

    /// What is not as expected; nothing if all is well.
    pub fn complaints(&self, expected: Expected) -> Vec<String> {
        let mut complaints = self.failures();
        if !complaints.is_empty() {
            return complaints;
        }
        let mut expect = |good: bool, what: String| {
            if !good {
                complaints.push(format!("{}: {what}", self.name));
            }
        };
        let size = (self.number("width"), self.number("height"));
        expect(size == (SIZE.0 as f64, SIZE.1 as f64), format!("size is {size:?}"));
        let fps = self.number("fps");
        expect(fps >= FPS * expected.pictures * 0.97 && fps <= FPS * 1.1, format!("{fps:.2} pictures a second"));
        let seconds = self.number("video_seconds");
        expect(seconds >= expected.seconds * 0.8, format!("only {seconds:.2} s of pictures"));
        let back = self.number("steps_back");
        expect(back == 0.0, format!("{back} pictures out of order"));
        let step = self.number("step_max");
        expect(step <= expected.step_max, format!("{step:.3} s without a picture"));
        let amplitude = self.number("amplitude");
        expect(AMPLITUDE.contains(&amplitude), format!("the tone's amplitude is {amplitude:.3}"));
        let beeps = self.times("beeps").len() as f64;
        expect(beeps >= seconds.floor() - 1.0, format!("{beeps} beeps in {seconds:.1} s"));
        let (pairs, offset) = (self.number("pairs"), self.number("offset_ms"));
        expect(pairs >= 3.0, format!("only {pairs} flashes with a beep"));
        let each = &self.value["offsets_ms"];
        expect(
            offset.abs() <= expected.offset_ms_max,
            format!("sound is {offset} ms after the picture {each}, as shown {}", self.value["heard_ms"]),
        );
        complaints
    }

    /// The times without a picture that are longer than `least`, in seconds, in their order.
    pub fn gaps(&self, least: f64) -> Vec<f64> {
        let times = self.times("arrivals");
        times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > least).collect()
    }

    /// Errors that it reported itself.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.value["failed"].as_str().into_iter();
        let errors = self.value["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
        failed.chain(errors).map(|error| format!("{}: {error}", self.name)).collect()
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{:32} {:6.2} fps {:6.2} s  step {:5.3}  back {}  tone {:.2}  offset {:6.1} ms ({} pairs)  first {:.2} s",
            self.name,
            self.number("fps"),
            self.number("video_seconds"),
            self.number("step_max"),
            self.number("steps_back"),
            self.number("amplitude"),
            self.number("offset_ms"),
            self.number("pairs"),
            self.number("first_seconds"),
        )
    }
}

/// Fails with all complaints of all viewers at once.
pub fn judge_all(reports: &[(Report, Expected)]) {
    let lines: Vec<_> = reports.iter().map(|(report, _)| report.line()).collect();
    eprintln!("{}", lines.join("\n"));
    let complaints: Vec<_> = reports.iter().flat_map(|(report, expected)| report.complaints(*expected)).collect();
    assert!(complaints.is_empty(), "\n{}\n{}", complaints.join("\n"), lines.join("\n"));
}
