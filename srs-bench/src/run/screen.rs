//! The line that is shown while a run goes on.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::{Count, Snapshot, Times};

/// Without a terminal a line is printed once in so long.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where the live line goes: standard error, which leaves the summary alone on standard output.
#[derive(Debug)]
pub struct Screen {
    line: Line,
    before: Option<Snapshot>,
    printed: Option<Instant>,
}

#[derive(Debug)]
enum Line {
    Terminal(ProgressBar),
    Plain,
    Silent,
}

impl Screen {
    /// A line that is written over on a terminal, else one line every five seconds.
    pub fn new() -> Self {
        let line = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::default_spinner());
            Line::Terminal(bar)
        } else {
            Line::Plain
        };
        Self { line, before: None, printed: None }
    }

    /// Shows nothing.
    pub const fn silent() -> Self {
        Self { line: Line::Silent, before: None, printed: None }
    }

    pub(super) fn show(&mut self, seen: &Snapshot, begin: Instant, now: Instant) {
        match &self.line {
            Line::Silent => return,
            Line::Plain if self.printed.is_some_and(|at| now.saturating_duration_since(at) < PLAIN_EVERY) => return,
            Line::Plain | Line::Terminal(_) => {}
        }
        let text = line(seen, self.before.as_ref(), now.saturating_duration_since(begin));
        match &self.line {
            Line::Terminal(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            Line::Plain => eprintln!("{text}"),
            Line::Silent => {}
        }
        self.printed = Some(now);
        self.before = Some(seen.clone());
    }

    pub(super) fn clear(&self) {
        if let Line::Terminal(bar) = &self.line {
            bar.finish_and_clear();
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

fn line(seen: &Snapshot, before: Option<&Snapshot>, since: Duration) -> String {
    let seconds = before.map_or(1.0, |before| (seen.taken - before.taken).as_secs_f64().max(0.1));
    let rate = |count: Count| before.map_or(0, |before| seen.grown(count, before)) as f64 / seconds;
    let mut text = format!(
        "{:02}:{:02}  {} running, {} setting up, {} failed",
        since.as_secs() / 60,
        since.as_secs() % 60,
        seen.active(),
        seen.pending(),
        seen.count(Count::Failed)
    );
    if seen.count(Count::SentPackets) > 0 {
        let mbps = rate(Count::SentBytes) * 8.0 / 1e6;
        text += &format!("  out {mbps:.1} Mb/s {:.0} packets/s", rate(Count::SentPackets));
    }
    if seen.count(Count::Packets) > 0 {
        let mbps = rate(Count::Bytes) * 8.0 / 1e6;
        text += &format!("  in {mbps:.1} Mb/s {:.0} packets/s, {} lost", rate(Count::Packets), seen.count(Count::Lost));
    }
    if seen.count(Count::Freezes200) > 0 {
        text += &format!(", {} freezes", seen.count(Count::Freezes200));
    }
    if let Some(latency) = seen.percentile(Times::Latency, 99.0) {
        text += &format!(", p99 latency {:.0} ms", latency.as_secs_f64() * 1e3);
    }
    text
}
