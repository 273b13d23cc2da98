//! Publishers of the flash-and-beep source: once a second the picture is white for 100 ms while a
//! 1 kHz tone sounds.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use super::{
    process::{self, ffmpeg, scratch},
    report::Expected,
    server::Server,
};

/// The source's picture rate.
pub const FPS: f64 = 25.0;
/// The source's picture size.
pub const SIZE: (u64, u64) = (640, 360);
/// The size of the best of its simulcast layers. The next is half as wide, the last a quarter.
pub const SIZE_SIMULCAST: (f64, f64) = (960.0, 540.0);

/// What publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ffmpeg by RTMP: H.264 baseline and AAC.
    FfmpegRtmp,
    /// The same with three B-frames in a row.
    FfmpegRtmpBFrames,
    /// ffmpeg by RTMP with a keyframe every ten seconds.
    FfmpegRtmpLongGop,
    /// A newer ffmpeg by WHIP: H.264 baseline and Opus.
    FfmpegWhip,
    /// Chromium by WHIP: a canvas in H.264, and Opus.
    ChromiumWhip,
    /// Chromium by WHIP: a larger canvas in three layers of this codec, and Opus.
    ChromiumSimulcast(&'static str),
    /// The same, restarting ICE after so many seconds.
    ChromiumWhipRestarts(u32),
}

impl Kind {
    const fn is_browser(self) -> bool {
        matches!(self, Self::ChromiumWhip | Self::ChromiumSimulcast(_) | Self::ChromiumWhipRestarts(_))
    }
}

/// What a publisher says of itself at its end. A busy browser skips pictures and stands still, which
/// no viewer can see otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Pictures a second.
    pub fps: f64,
    /// The longest time in seconds beyond a picture's own that it made none, or no sound.
    pub still: f64,
}

impl Sent {
    /// A source that keeps its time.
    const STEADY: Self = Self { fps: FPS, still: 0.0 };

    /// What can be expected of a viewer of it, where a steady source would give `expected`.
    pub fn of(self, expected: Expected) -> Expected {
        Expected { pictures: expected.pictures * self.fps / FPS, step_max: expected.step_max + self.still, ..expected }
    }

    /// From what the page says.
    fn read(said: &serde_json::Value) -> Self {
        let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("no number in {said}"));
        let pictures = number(&said["still"]["drawn"]).max(number(&said["still"]["captured"])) - 1.0 / FPS;
        let still = pictures.max(number(&said["still"]["sound"])).max(0.0);
        Self { fps: number(&said["fps"]), still }
    }
}

/// A running publisher; killed when dropped.
pub struct Publisher {
    child: Child,
    kind: Kind,
}

impl Publisher {
    /// Starts it and waits until the server knows of it.
    pub async fn start(kind: Kind, server: &Server, stream: &str) -> Self {
        Self::start_at(kind, server, stream, &server.whip_url(stream)).await
    }

    /// As above; one that publishes by WHIP does so at `whip_url`.
    pub async fn start_at(kind: Kind, server: &Server, stream: &str, whip_url: &str) -> Self {
        let what = format!("{stream}-publisher");
        let child = match kind {
            Kind::FfmpegRtmp => rtmp(&what, server, stream, fixture("baseline", BASELINE, AAC).await),
            Kind::FfmpegRtmpBFrames => rtmp(&what, server, stream, fixture("bframes", BFRAMES, AAC).await),
            Kind::FfmpegRtmpLongGop => rtmp(&what, server, stream, fixture("long-gop", LONG_GOP, AAC).await),
            Kind::FfmpegWhip => {
                let mut command = process::newer_ffmpeg().await;
                let file = fixture("opus", BASELINE, OPUS).await;
                command.arg("-re").arg("-i").arg(file).args(["-c", "copy", "-f", "whip"]).arg(whip_url);
                process::spawn(&what, command)
            }
            Kind::ChromiumWhip | Kind::ChromiumSimulcast(_) | Kind::ChromiumWhipRestarts(_) => {
                let mut command = process::browser();
                command.arg("publish").arg(whip_url);
                match kind {
                    Kind::ChromiumSimulcast(codec) => command.args([codec, "simulcast"]),
                    Kind::ChromiumWhipRestarts(seconds) => command.arg(format!("restart={seconds}")),
                    _ => &mut command,
                };
                let mut child = process::spawn(&what, command);
                process::wait_for_line(&what, &mut child, "publishing", Duration::from_secs(30)).await;
                child
            }
        };
        let mut publisher = Self { child, kind };
        server.wait_for_publisher(stream).await;
        assert!(publisher.is_alive(), "{kind:?} ended");
        publisher
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends only these layers from now on, given as `m,l`.
    pub async fn keep_layers(&mut self, rids: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is open until the end");
        stdin.write_all(format!("layers {rids}\n").as_bytes()).await.expect("the page listens");
    }

    /// Ends it as its user would: ffmpeg by SIGINT, the page by closing.
    pub async fn stop(mut self) -> Sent {
        if self.kind.is_browser() {
            drop(self.child.stdin.take());
        } else if let Some(pid) = self.child.id() {
            let mut kill = Command::new("kill");
            kill.args(["-INT", &pid.to_string()]);
            process::run("kill", kill, Duration::from_secs(5)).await;
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), self.child.wait_with_output()).await;
        let Ok(Ok(output)) = ended else { panic!("{:?} did not end", self.kind) };
        if !self.kind.is_browser() {
            return Sent::STEADY;
        }
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the page says what it sent");
        let sent = Sent::read(&said);
        eprintln!("the page sent {:.1} pictures a second and stood still for {}", sent.fps, said["still"]);
        assert!(sent.fps >= 10.0, "the publisher sent {:.1} pictures a second", sent.fps);
        sent
    }
}

fn rtmp(what: &str, server: &Server, stream: &str, file: PathBuf) -> Child {
    let mut command = ffmpeg();
    command.arg("-re").arg("-i").arg(file).args(["-c", "copy", "-f", "flv", "-flvflags", "no_duration_filesize"]);
    command.arg(server.rtmp_url(stream));
    process::spawn(what, command)
}

const BASELINE: &[&str] = &["-profile:v", "baseline", "-bf", "0"];
const BFRAMES: &[&str] = &["-profile:v", "main", "-bf", "3", "-b_strategy", "0"];
/// Ten seconds; the options that come last win.
const LONG_GOP: &[&str] = &["-profile:v", "baseline", "-bf", "0", "-g", "250", "-keyint_min", "250"];
const AAC: &[&str] = &["-c:a", "aac", "-b:a", "96k"];
const OPUS: &[&str] = &["-c:a", "libopus", "-b:a", "64k"];
/// Longer than any test plays.
const SECONDS: &str = "150";

/// The source encoded once, to be sent by copying: encoding would take the cores from the test.
async fn fixture(name: &str, video: &[&str], audio: &[&str]) -> PathBuf {
    let file = scratch(&format!("source-1-{name}.mkv"));
    if file.exists() {
        return file;
    }
    let picture = format!(
        "testsrc2=size={}x{}:rate={FPS},lutyuv=y=16+(val-16)*0.5,drawbox=enable='lt(mod(t+0.001,1),0.1)':color=white:t=fill",
        SIZE.0, SIZE.1
    );
    let sound = "aevalsrc=exprs='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:c=stereo";
    let partial = scratch(&format!("source-1-{name}.partial"));
    let mut command = ffmpeg();
    command.args(["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", sound, "-t", SECONDS]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]);
    command.args(["-g", "25", "-keyint_min", "25", "-sc_threshold", "0"]).args(video);
    command.args(["-b:v", "600k", "-maxrate", "600k", "-bufsize", "300k"]).args(audio);
    command.args(["-f", "matroska"]).arg(&partial).stderr(Stdio::inherit());
    let made = process::run("making the source", command, Duration::from_secs(120)).await;
    assert!(made.status.success(), "making the source: {}", String::from_utf8_lossy(&made.stderr));
    fs::rename(&partial, &file).expect("the scratch folder is writable");
    file
}
