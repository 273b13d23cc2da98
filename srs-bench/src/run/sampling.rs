//! The check on ourselves: what a few viewers on an independent stack saw of the steady time, beside what
//! the light viewers of the same group saw.

use std::{fmt, time::Instant};

use serde_json::{Value, json};

use super::{outcome::failure_json, watch::STEADY_MIN};
use crate::{
    clients::{self, Handle, Options, Stack},
    figures::{Unit, millis, share},
    measure::{Collector, Count, Snapshot, Times},
    plan::Group,
};

/// Figures that differ by more per cent of the larger one do not agree. At the ends of the shortest time that
/// counts, three seconds, a frame or two of 75 fall to one side or the other: up to 3 %. A kind of packet that one
/// side does not see is far more: sound is four packets in ten, resent ones and probes come by the tenth.
const DIFFER_MAX: f64 = 5.0;

/// The sampled viewers of a group while they run.
#[derive(Debug)]
pub(super) struct Sampling {
    options: Options,
    collector: Collector,
    handle: Option<Handle>,
    before: Option<Pair<Snapshot>>,
    after: Option<Pair<Snapshot>>,
    began: Instant,
    last: Instant,
    seconds: Pair<f64>,
}

/// Of the light viewers and of the sampled ones.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pair<T> {
    /// On our own stack.
    pub light: T,
    /// On the independent one.
    pub sampled: T,
}

/// What sampled viewers add to the server's load.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    pub(super) packets: f64,
    pub(super) seconds: f64,
    pub(super) clients: f64,
}

impl Sampling {
    /// Those that the group wants; none if it wants none.
    pub(super) fn of(group: &Group, now: Instant) -> Option<Self> {
        let options = Options { count: group.sample, stack: Stack::Independent, threads: 1, ..group.options.clone() };
        (group.sample > 0).then(|| Self {
            options,
            collector: Collector::new(),
            handle: None,
            before: None,
            after: None,
            began: now,
            last: now,
            seconds: Pair::default(),
        })
    }

    pub(super) fn start(&mut self, group: &Group) -> anyhow::Result<()> {
        self.handle = Some(clients::start(group.kind, &group.url, &self.options, &self.collector)?);
        Ok(())
    }

    /// Sessions that are being set up now.
    pub(super) fn pending(&self) -> u64 {
        self.collector.snapshot().pending()
    }

    /// Adds up the seconds of both kinds of viewers.
    pub(super) fn turn(&mut self, light: &Snapshot, now: Instant) {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.seconds.light += light.active() as f64 * elapsed;
        self.seconds.sampled += self.collector.snapshot().active() as f64 * elapsed;
    }

    /// The steady time begins.
    pub(super) fn steady(&mut self, light: &Snapshot, now: Instant) {
        self.before = Some(Pair { light: light.clone(), sampled: self.collector.snapshot() });
        (self.began, self.last, self.seconds) = (now, now, Pair::default());
    }

    /// It ends.
    pub(super) fn end(&mut self, light: &Snapshot, now: Instant) {
        self.turn(light, now);
        self.after = Some(Pair { light: light.clone(), sampled: self.collector.snapshot() });
    }

    /// Has the viewers leave.
    pub(super) fn stop(&mut self) {
        drop(self.handle.take());
    }

    pub(super) fn beside(&self) -> Beside {
        let (Some(before), Some(after)) = (&self.before, &self.after) else { return Beside::default() };
        Beside {
            packets: after.sampled.grown(Count::Packets, &before.sampled) as f64,
            seconds: self.seconds.sampled,
            clients: after.sampled.active() as f64,
        }
    }

    /// What came of it, once all have left.
    pub(super) fn outcome(&self, light: &Snapshot) -> Sampled {
        let seen = self.collector.snapshot();
        let measured = self.last.saturating_duration_since(self.began);
        let rates = match (&self.before, &self.after) {
            (Some(before), Some(after)) if measured >= STEADY_MIN => rates(before, after, self.seconds),
            _ => Vec::new(),
        };
        let times = [Times::Setup, Times::FirstPacket, Times::FirstKeyframe, Times::Latency].map(|times| {
            let p50 = |seen: &Snapshot| seen.percentile(times, 50.0).map(millis);
            Row {
                name: format!("p50-{}", times.name()),
                unit: Unit::Millis,
                figures: Pair { light: p50(light), sampled: p50(&seen) },
            }
        });
        Sampled { viewers: self.options.count, seen, rows: rates.into_iter().chain(times).collect() }
    }
}

/// By viewer and second, and the loss of all.
fn rates(before: &Pair<Snapshot>, after: &Pair<Snapshot>, seconds: Pair<f64>) -> Vec<Row> {
    let grown = |count| Pair {
        light: after.light.grown(count, &before.light) as f64,
        sampled: after.sampled.grown(count, &before.sampled) as f64,
    };
    let by_second = |name: &str, count| {
        let grown = grown(count);
        Row::new(name, Unit::Number, Pair { light: grown.light / seconds.light, sampled: grown.sampled / seconds.sampled })
    };
    let (lost, came) = (grown(Count::Lost), grown(Count::Packets));
    let loss =
        Pair { light: share(lost.light, lost.light + came.light), sampled: share(lost.sampled, lost.sampled + came.sampled) };
    vec![by_second(PACKETS, Count::Packets), by_second(FRAMES, Count::Frames), Row::new("loss", Unit::Percent, loss)]
}

const PACKETS: &str = "packets-per-second";
const FRAMES: &str = "frames-per-second";

/// What the sampled viewers of a group saw.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// How many there were to be.
    pub viewers: usize,
    /// Their figures beside the light viewers', by viewer: rates of the steady time if that was long enough, times
    /// of the whole run.
    pub rows: Vec<Row>,
    seen: Snapshot,
}

/// One figure of both kinds of viewers; none of what was not measured.
#[derive(Clone, Debug)]
pub struct Row {
    /// As in the table and in JSON.
    pub name: String,
    /// What it is given in.
    pub unit: Unit,
    /// What it is.
    pub figures: Pair<Option<f64>>,
}

impl Row {
    fn new(name: &str, unit: Unit, figures: Pair<f64>) -> Self {
        let some = |figure: f64| figure.is_finite().then_some(figure);
        let figures = Pair { light: some(figures.light), sampled: some(figures.sampled) };
        Self { name: name.to_owned(), unit, figures }
    }

    /// By how many per cent of the larger one they differ. Something is all away from nothing; of two nothings
    /// there is nothing to say.
    pub fn differ(&self) -> Option<f64> {
        let (light, sampled) = (self.figures.light?, self.figures.sampled?);
        let larger = light.max(sampled);
        (larger > 0.0).then(|| (light - sampled).abs() / larger * 100.0)
    }
}

impl Sampled {
    /// Why the figures of the light viewers do not count, if so.
    pub fn warnings(&self) -> Vec<String> {
        let with_media = self.seen.count(Count::WithMedia);
        let mut warnings = Vec::new();
        if with_media < self.viewers as u64 {
            warnings.push(format!("{with_media} of {} sampled viewers had media: the check is not whole", self.viewers));
        }
        if with_media == 0 {
            return warnings;
        }
        // Loss and times are shown, not judged: a stack that is slower is no error in ours.
        for row in self.rows.iter().filter(|row| row.name == PACKETS || row.name == FRAMES) {
            if let Some(differ) = row.differ().filter(|differ| *differ > DIFFER_MAX) {
                warnings.push(format!(
                    "the independent stack disagrees by {differ:.1} % in {}: {} here, {} there",
                    row.name,
                    shown(row.figures.light),
                    shown(row.figures.sampled)
                ));
            }
        }
        warnings
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            let figures = json!({ "light": row.figures.light, "sampled": row.figures.sampled, "differ_percent": row.differ() });
            (row.name.clone(), figures)
        };
        json!({
            "viewers": self.viewers,
            "connected": self.seen.count(Count::Connected),
            "with_media": self.seen.count(Count::WithMedia),
            "failed": self.seen.count(Count::Failed),
            "packets": self.seen.count(Count::Packets),
            "bytes": self.seen.count(Count::Bytes),
            "frames": self.seen.count(Count::Frames),
            "figures": self.rows.iter().map(row).collect::<serde_json::Map<_, _>>(),
            "failures": self.seen.failures().iter().map(failure_json).collect::<Vec<_>>(),
            "agrees": self.warnings().is_empty(),
        })
    }
}

fn shown(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.1}"))
}

impl fmt::Display for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count| self.seen.count(count);
        writeln!(
            f,
            "  sampled by an independent stack: {} viewers, {} connected, {} with media, {} failed",
            self.viewers,
            count(Count::Connected),
            count(Count::WithMedia),
            count(Count::Failed)
        )?;
        writeln!(f, "    {:<22}{:>10}{:>10}", "for each viewer", "light", "sampled")?;
        for row in self.rows.iter().filter(|row| row.figures != Pair::default()) {
            let (unit, digits) = match row.unit {
                Unit::Percent => (" %", 3),
                Unit::Millis => (" ms", 1),
                Unit::Kbps | Unit::Number => ("", 1),
            };
            let shown = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"));
            writeln!(f, "    {:<22}{:>10}{:>10}{unit}", row.name, shown(row.figures.light), shown(row.figures.sampled))?;
        }
        for failure in self.seen.failures() {
            writeln!(f, "    failed  {} × {}: {}", failure.count, failure.stage.name(), failure.reason)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What `viewers` of each stack saw in ten seconds: packets a second, frames a second.
    fn sampled(light: (u64, u64), sampled: (u64, u64)) -> Sampled {
        let seen = |viewers: u64, (packets, frames): (u64, u64)| {
            let collector = Collector::new();
            let recorder = collector.recorder();
            let before = collector.snapshot();
            for _ in 0..viewers {
                let tally = &mut *recorder.lock();
                tally.asked();
                tally.connected(Duration::from_millis(30));
                tally.first_packet(Duration::from_millis(40));
                tally.received(packets * 10, 1_000);
                tally.add(Count::Frames, frames * 10);
            }
            (before, collector.snapshot())
        };
        let (light, sampled) = (seen(3, light), seen(1, sampled));
        let (before, after) = (Pair { light: light.0, sampled: sampled.0 }, Pair { light: light.1, sampled: sampled.1 });
        Sampled { viewers: 1, rows: rates(&before, &after, Pair { light: 30.0, sampled: 10.0 }), seen: after.sampled }
    }

    #[test]
    fn stacks_that_agree_say_nothing() {
        assert_eq!(sampled((128, 25), (128, 25)).warnings(), Vec::<String>::new());
        assert_eq!(sampled((128, 25), (124, 24)).warnings(), Vec::<String>::new(), "3 and 4 % are the ends");
    }

    #[test]
    fn disagreement_is_told_by_figure_and_in_both_directions() {
        let fewer = sampled((128, 25), (80, 25));
        assert_eq!(fewer.warnings(), ["the independent stack disagrees by 37.5 % in packets-per-second: 128.0 here, 80.0 there"]);
        assert_eq!(fewer.json()["agrees"], false);
        assert_eq!(fewer.json()["figures"]["packets-per-second"]["sampled"], 80.0);
        let more = sampled((128, 20), (128, 25)).warnings();
        assert!(more.len() == 1 && more[0].contains("20.0 % in frames-per-second: 20.0 here, 25.0 there"), "{more:?}");
        assert_eq!(sampled((0, 0), (128, 25)).warnings().len(), 2, "all away from nothing");
    }

    #[test]
    fn sampled_viewers_without_media_are_no_check() {
        let mut none = sampled((128, 25), (128, 25));
        none.seen = Collector::new().snapshot();
        assert_eq!(none.warnings(), ["0 of 1 sampled viewers had media: the check is not whole"]);
        let text = sampled((128, 25), (80, 25)).to_string();
        assert!(text.contains("1 viewers, 1 connected, 1 with media") && text.contains("packets-per-second"), "{text}");
    }
}
