//! The figures of a run, by the names that expectations and the JSON file use.

use std::{collections::BTreeMap, time::Duration};

use crate::measure::{Count, Snapshot, Times};

/// What a figure is given in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Per cent.
    Percent,
    /// Milliseconds.
    Millis,
    /// Kilobits a second.
    Kbps,
    /// A count.
    Number,
}

impl Unit {
    /// As it is shown.
    pub fn show(self, figure: f64) -> String {
        match self {
            Self::Percent => format!("{figure:.3} %"),
            Self::Millis => format!("{figure:.1} ms"),
            Self::Kbps => format!("{figure:.1} kb/s"),
            Self::Number if figure.fract() == 0.0 => format!("{figure:.0}"),
            Self::Number => format!("{figure:.3}"),
        }
    }
}

/// Figures that are no percentiles.
const PLAIN: &[(&str, Unit)] = &[
    ("asked", Unit::Number),
    ("connected", Unit::Percent),
    ("with-media", Unit::Percent),
    ("stayed", Unit::Percent),
    ("failed", Unit::Number),
    ("loss", Unit::Percent),
    ("lost", Unit::Number),
    ("late", Unit::Number),
    ("duplicates", Unit::Number),
    ("bad", Unit::Number),
    ("frames", Unit::Number),
    ("frame-loss", Unit::Percent),
    ("freezes", Unit::Number),
    ("long-freezes", Unit::Number),
    ("longest-freeze", Unit::Millis),
    ("frozen", Unit::Percent),
    ("lazy", Unit::Number),
    ("lazy-long-freezes", Unit::Number),
    ("bitrate", Unit::Kbps),
    ("delivered", Unit::Percent),
    ("sent-loss", Unit::Percent),
    ("warnings", Unit::Number),
    ("server-cpu", Unit::Percent),
    ("server-cpu-us-per-packet", Unit::Number),
    ("server-cpu-ms-per-client-second", Unit::Number),
    ("server-rss-mb", Unit::Number),
    ("server-kb-per-client", Unit::Number),
    ("server-udp-drops", Unit::Number),
];

const PERCENTILES: &[(&str, f64)] =
    &[("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0)];

/// Whether a figure tells when frames came, which is not known of clients that are read lazily.
pub(crate) fn is_of_prompt_only(name: &str) -> bool {
    matches!(name, "freezes" | "long-freezes" | "longest-freeze" | "frozen") || name.ends_with("-latency")
}

/// Figures by name. What was not measured is not there.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    figures: BTreeMap<String, f64>,
}

impl Figures {
    /// Given ones.
    pub fn of<'a>(figures: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        Self { figures: figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect() }
    }

    /// Everything that can be expected; of what is timed, one percentile for all.
    pub fn names() -> Vec<String> {
        let plain = PLAIN.iter().map(|(name, _)| (*name).to_owned());
        let percentiles = Times::ALL.iter().map(|times| format!("p99-{}", times.name()));
        plain.chain(percentiles).collect()
    }

    /// What a figure is given in; none if there is none of that name.
    pub fn unit(name: &str) -> Option<Unit> {
        let plain = PLAIN.iter().find(|(plain, _)| *plain == name).map(|(_, unit)| *unit);
        let is_percentile = || {
            let (percentile, times) = name.split_once('-')?;
            let known = PERCENTILES.iter().any(|(name, _)| *name == percentile) || percentile == "mean";
            (known && Times::ALL.iter().any(|known| known.name() == times)).then_some(Unit::Millis)
        };
        plain.or_else(is_percentile)
    }

    /// What was measured.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.figures.iter().map(|(name, figure)| (name.as_str(), *figure))
    }

    /// One more, if it is a number.
    pub fn put(&mut self, name: &str, figure: f64) {
        debug_assert!(Self::unit(name).is_some(), "{name} has no unit");
        if figure.is_finite() {
            self.figures.insert(name.to_owned(), figure);
        }
    }

    /// Those of the clients, of the whole run.
    pub fn of_clients(seen: &Snapshot) -> Self {
        let mut figures = Self::default();
        let count = |count: Count| seen.count(count) as f64;
        figures.put("asked", count(Count::Asked));
        figures.put("connected", share(count(Count::Connected), count(Count::Asked)));
        figures.put("with-media", share(count(Count::WithMedia), count(Count::Connected)));
        figures.put("stayed", share(count(Count::Connected) - count(Count::FailedLater), count(Count::Connected)));
        figures.put("failed", count(Count::Failed));
        if seen.count(Count::Packets) > 0 {
            figures.put("loss", share(count(Count::Lost), count(Count::Packets) + count(Count::Lost)));
            for (name, of) in
                [("lost", Count::Lost), ("late", Count::Late), ("duplicates", Count::Duplicates), ("bad", Count::Bad)]
            {
                figures.put(name, count(of));
            }
        }
        if seen.count(Count::Frames) > 0 {
            figures.put("frames", count(Count::Frames));
            if seen.has_prompt() {
                figures.put("freezes", count(Count::Freezes200));
                figures.put("long-freezes", count(Count::Freezes500));
                figures.put("longest-freeze", millis(seen.longest_freeze()));
            }
            figures.put("lazy", count(Count::Lazy));
            figures.put("lazy-long-freezes", count(Count::LazyFreezes500));
            figures.put("frame-loss", share(count(Count::FramesLost), count(Count::Frames) + count(Count::FramesLost)));
        }
        if seen.count(Count::SentPackets) > 0 {
            figures.put("sent-loss", share(count(Count::SentLost), count(Count::SentPackets)));
        }
        for times in Times::ALL {
            for (name, percent) in PERCENTILES {
                if let Some(time) = seen.percentile(times, *percent) {
                    figures.put(&format!("{name}-{}", times.name()), millis(time));
                }
            }
            if let Some(time) = seen.mean(times) {
                figures.put(&format!("mean-{}", times.name()), millis(time));
            }
        }
        figures
    }
}

/// In per cent; of nothing, no number.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { f64::NAN }
}

/// In milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Collector, Stage};

    #[test]
    fn figures_are_of_what_the_clients_saw() {
        let collector = Collector::new();
        let recorder = collector.recorder();
        for n in 0..10 {
            recorder.lock().asked();
            if n > 0 {
                recorder.lock().connected(Duration::from_millis(20));
            }
        }
        recorder.lock().failed(Stage::Ice, "no answer");
        recorder.lock().failed(Stage::Stalled, "no media for 5 s");
        recorder.lock().received(999, 1_000);
        recorder.lock().add(Count::Lost, 1);
        let figures = Figures::of_clients(&collector.snapshot());
        assert_eq!(figures.get("connected"), Some(90.0));
        assert_eq!(figures.get("failed"), Some(2.0));
        assert!((figures.get("stayed").unwrap() - 800.0 / 9.0).abs() < 1e-9);
        assert!((figures.get("loss").unwrap() - 0.1).abs() < 1e-9);
        assert!((19.9..20.1).contains(&figures.get("p99-setup").unwrap()));
        assert_eq!(figures.get("p99-latency"), None);
        assert_eq!(figures.get("frames"), None, "nothing was measured");
    }

    #[test]
    fn freezes_are_no_figure_where_nobody_is_read_at_once() {
        let collector = Collector::new();
        let recorder = collector.recorder();
        for lazy in [true, false] {
            recorder.lock().connected(Duration::from_millis(20));
            recorder.lock().add(Count::Lazy, lazy.into());
            recorder.lock().add(Count::Frames, 1);
            let figures = Figures::of_clients(&collector.snapshot());
            assert_eq!(figures.get("freezes"), (!lazy).then_some(0.0));
            assert_eq!((figures.get("lazy"), figures.get("lazy-long-freezes")), (Some(1.0), Some(0.0)));
        }
        let timed = ["p99-latency", "max-latency", "freezes", "frozen"];
        assert!(timed.into_iter().all(is_of_prompt_only) && !is_of_prompt_only("p99-first-packet"));
    }

    #[test]
    fn every_figure_has_a_unit_and_no_other() {
        assert_eq!(Figures::unit("p99-latency"), Some(Unit::Millis));
        assert_eq!(Figures::unit("mean-jitter"), Some(Unit::Millis));
        assert_eq!(Figures::unit("max-setup"), Some(Unit::Millis));
        assert_eq!(Figures::unit("p98-latency"), None);
        assert_eq!(Figures::unit("p99-loss"), None);
        assert_eq!(Unit::Number.show(3.0), "3");
        assert_eq!(Unit::Percent.show(0.1), "0.100 %");
    }
}
