//! What came of a run: figures, verdicts, and both as a table and as JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{reading::Reading, sampling::Sampled, watch::Watch};
use crate::{
    expect::Verdict,
    figures::{Figures, is_of_prompt_only},
    measure::{Count, Failure, Snapshot, Times},
    plan::{Group, Plan},
};

/// Reasons of failure that the table shows.
const SHOWN_FAILURES: usize = 8;

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Of all clients together.
    pub figures: Figures,
    /// Of each group.
    pub groups: Vec<GroupOutcome>,
    /// How the expectations fared.
    pub verdicts: Vec<Verdict>,
    /// Why the figures do not count.
    pub warnings: Vec<String>,
    /// What failed, the most frequent first.
    pub failures: Vec<Failure>,
    /// From the start to the end.
    pub lasted: Duration,
    /// Of that, the time over which rates were measured.
    pub measured: Duration,
    lines: Vec<String>,
}

/// The result of one group.
#[derive(Debug)]
pub struct GroupOutcome {
    /// As in the plan.
    pub group: Group,
    /// Its figures.
    pub figures: Figures,
    /// What viewers on an independent stack saw beside it.
    pub sampled: Option<Sampled>,
    seen: Snapshot,
}

impl Outcome {
    pub(super) fn new(plan: &Plan, lasted: Duration, watch: Watch, seen: Vec<Snapshot>, sampled: Vec<Option<Sampled>>) -> Self {
        let all = Snapshot::sum(&seen);
        let mut figures = Figures::of_clients(&all);
        watch.put(plan, &mut figures);
        let mut warnings = watch.warnings(plan, &figures);
        for (group, _) in plan.groups.iter().zip(&seen).filter(|(_, seen)| is_dark(seen)) {
            warnings.push(format!("no session of {} {} had media", group.name, group.url));
        }
        warnings.extend(sampled.iter().flatten().flat_map(Sampled::warnings));
        figures.put("warnings", warnings.len() as f64);
        let mut verdicts: Vec<Verdict> = plan.expects.iter().map(|expect| expect.judge(&figures)).collect();
        let of_group = |((group, seen), sampled): ((&Group, Snapshot), _)| GroupOutcome {
            group: group.clone(),
            figures: Figures::of_clients(&seen),
            sampled,
            seen,
        };
        let groups: Vec<GroupOutcome> = plan.groups.iter().zip(seen).zip(sampled).map(of_group).collect();
        for outcome in &groups {
            verdicts.extend(outcome.group.expects.iter().map(|expect| expect.judge(&outcome.figures).of(&outcome.group.name)));
        }
        Self {
            figures,
            groups,
            verdicts,
            warnings,
            failures: all.failures(),
            lasted,
            measured: watch.measured(),
            lines: watch.lines(),
        }
    }

    /// Every expectation was met, and no group failed as a whole.
    pub fn is_good(&self) -> bool {
        !self.groups.iter().any(|group| is_dark(&group.seen)) && self.verdicts.iter().all(|verdict| verdict.met)
    }

    /// The figures that leave out sessions which were read lazily.
    fn of_prompt_only(&self) -> Vec<&str> {
        let lazy = self.groups.iter().any(|group| group.reading().is_some());
        self.figures.iter().map(|(name, _)| name).filter(|name| lazy && is_of_prompt_only(name)).collect()
    }

    /// All of it, for programs.
    pub fn json(&self) -> Value {
        let figures = |figures: &Figures| figures.iter().map(|(name, figure)| (name.to_owned(), json!(figure))).collect();
        let table = |of: &Figures| Value::Object(figures(of));
        let groups: Vec<Value> = self
            .groups
            .iter()
            .map(|group| {
                json!({
                    "name": group.group.name,
                    "kind": group.group.kind.name(),
                    "url": group.group.url,
                    "clients": group.group.options.count,
                    "insecure": group.group.options.insecure,
                    "figures": table(&group.figures),
                    "reading": group.reading().map(|reading| reading.json()),
                    "sampled": group.sampled.as_ref().map(Sampled::json),
                })
            })
            .collect();
        let verdict = |v: &Verdict| json!({ "expect": v.text, "measured": v.measured, "met": v.met });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "counts": self.warnings.is_empty(),
            "good": self.is_good(),
            "lasted_seconds": self.lasted.as_secs_f64(),
            "measured_seconds": self.measured.as_secs_f64(),
            "figures": table(&self.figures),
            "of_prompt_only": self.of_prompt_only(),
            "groups": groups,
            "failures": self.failures.iter().map(failure_json).collect::<Vec<_>>(),
            "expectations": self.verdicts.iter().map(verdict).collect::<Vec<_>>(),
            "warnings": self.warnings,
        })
    }
}

impl GroupOutcome {
    /// How its sessions were read, if some were not read at once.
    fn reading(&self) -> Option<Reading> {
        let (connected, lazy) = (self.seen.count(Count::Connected), self.seen.count(Count::Lazy));
        (lazy > 0).then(|| Reading {
            prompt: connected.saturating_sub(lazy),
            lazy,
            every: self.group.options.read_every,
            long_freezes: self.seen.count(Count::LazyFreezes500),
        })
    }
}

pub(super) fn failure_json(failure: &Failure) -> Value {
    json!({ "stage": failure.stage.name(), "reason": failure.reason, "count": failure.count })
}

/// Not one of the sessions had media.
fn is_dark(seen: &Snapshot) -> bool {
    seen.count(Count::WithMedia) == 0
}

impl fmt::Display for GroupOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, group) = (&self.seen, &self.group);
        let count = |count: Count| seen.count(count);
        writeln!(f, "\n{}  {}", group.name, group.url)?;
        writeln!(
            f,
            "  sessions  {} asked, {} connected, {} with media, {} left, {} failed",
            count(Count::Asked),
            count(Count::Connected),
            count(Count::WithMedia),
            count(Count::Left),
            count(Count::Failed)
        )?;
        for times in Times::ALL.into_iter().filter(|times| seen.timed(*times) > 0) {
            let at = |percent| seen.percentile(times, percent).map_or(0.0, |time| time.as_secs_f64() * 1e3);
            writeln!(
                f,
                "  {:<14} p50 {:.1} ms, p95 {:.1}, p99 {:.1}, max {:.1}",
                times.name(),
                at(50.0),
                at(95.0),
                at(99.0),
                at(100.0)
            )?;
        }
        if count(Count::Packets) > 0 {
            writeln!(
                f,
                "  packets   {} received, {} lost ({:.3} %), {} late, {} duplicates, {} bad",
                count(Count::Packets),
                count(Count::Lost),
                self.figures.get("loss").unwrap_or(0.0),
                count(Count::Late),
                count(Count::Duplicates),
                count(Count::Bad)
            )?;
        }
        if count(Count::Frames) > 0 {
            write!(
                f,
                "  frames    {} received, {} lost, {} late",
                count(Count::Frames),
                count(Count::FramesLost),
                count(Count::FramesLate)
            )?;
            if seen.has_prompt() {
                let (short, long) = (count(Count::Freezes200), count(Count::Freezes500));
                write!(f, "; {short} freezes > 200 ms, {long} > 500 ms, longest {} ms", seen.longest_freeze().as_millis())?;
            }
            writeln!(f)?;
        }
        if count(Count::SentPackets) > 0 {
            writeln!(
                f,
                "  sent      {} packets, {} frames, {:.1} MB; {} skipped, {} lost by the server's reports, {} asked for again, {} keyframes asked for",
                count(Count::SentPackets),
                count(Count::SentFrames),
                count(Count::SentBytes) as f64 / 1e6,
                count(Count::SentSkipped),
                count(Count::SentLost),
                count(Count::Nacked),
                count(Count::KeyframesAsked)
            )?;
        }
        if let Some(reading) = self.reading() {
            writeln!(f, "  read      {reading}")?;
        }
        if let Some(sampled) = &self.sampled {
            write!(f, "{sampled}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            write!(f, "{group}")?;
        }
        let (lasted, measured) = (self.lasted.as_secs_f64(), self.measured.as_secs_f64());
        writeln!(f, "\nrun       {lasted:.1} s, rates of the last {measured:.1} s")?;
        if let Some(bitrate) = self.figures.get("bitrate") {
            let delivered =
                self.figures.get("delivered").map_or_else(String::new, |share| format!(", {share:.2} % of what was expected"));
            writeln!(f, "delivered {bitrate:.1} kb/s to each viewer{delivered}")?;
        }
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        if let (Some(packet), Some(client)) =
            (self.figures.get("server-cpu-us-per-packet"), self.figures.get("server-cpu-ms-per-client-second"))
        {
            let (rss, each) =
                (self.figures.get("server-rss-mb").unwrap_or(0.0), self.figures.get("server-kb-per-client").unwrap_or(0.0));
            writeln!(
                f,
                "          {packet:.2} µs per packet, {client:.3} ms per client-second; {rss:.1} MB, {each:.1} KB per client"
            )?;
        }
        if self.groups.iter().any(|group| group.group.options.insecure) {
            writeln!(f, "note      certificates were not checked (--insecure)")?;
        }
        for failure in self.failures.iter().take(SHOWN_FAILURES) {
            writeln!(f, "failed    {} × {}: {}", failure.count, failure.stage.name(), failure.reason)?;
        }
        if self.failures.len() > SHOWN_FAILURES {
            writeln!(f, "failed    and {} other reasons: see --json", self.failures.len() - SHOWN_FAILURES)?;
        }
        for warning in &self.warnings {
            writeln!(f, "WARNING   {warning}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "WARNING   the figures do not count")?;
        }
        for verdict in &self.verdicts {
            writeln!(f, "expect    {verdict}")?;
        }
        Ok(())
    }
}
