//! Carries a plan out: starts the groups, shows how it goes, and judges at the end.

mod outcome;
mod reading;
mod sampling;
mod screen;
mod watch;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

pub use self::outcome::{GroupOutcome, Outcome};
use self::sampling::{Beside, Sampling};
pub use self::sampling::{Pair, Row, Sampled};
pub use self::screen::Screen;
use self::watch::Watch;
use crate::{
    clients::{self, Handle, Kind},
    measure::{Collector, Snapshot},
    plan::{Group, Plan},
};

const TURN: Duration = Duration::from_millis(100);
/// Adding up what all clients have seen takes about a millisecond.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Viewers without a time of their own come when the publishers send, or so long after their ramp.
const PUBLISHERS_LATE_MAX: Duration = Duration::from_secs(5);
/// The steady time begins when nobody is being set up any more, or so long after the ramp.
const SETUP_LATE_MAX: Duration = Duration::from_secs(10);
/// And so long after that: what a server keeps for newcomers is delivered then.
const SETTLE: Duration = Duration::from_secs(1);

/// Set by Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Has Ctrl-C (SIGINT) and SIGTERM end the run with its summary; a second one ends the program.
///
/// # Errors
///
/// The system refuses a thread or the signals.
pub fn heed_interrupts() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wait = move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).context("no thread")?;
    Ok(())
}

/// A group of clients in the run.
struct Party<'a> {
    group: &'a Group,
    collector: Collector,
    started: Option<(Instant, Handle)>,
    /// The viewers on an independent stack beside the light ones.
    sampling: Option<Sampling>,
}

impl Party<'_> {
    fn start(&mut self, now: Instant) -> anyhow::Result<()> {
        let group = self.group;
        let handle = clients::start(group.kind, &group.url, &group.options, &self.collector);
        self.started = Some((now, handle.with_context(|| group.name.clone())?));
        self.sampling.as_mut().map_or(Ok(()), |sampling| sampling.start(group))
    }

    fn is_over(&self) -> bool {
        self.started.as_ref().is_some_and(|(_, handle)| handle.progress().over >= self.group.options.count)
    }

    /// All of them have had their turn in the ramp.
    fn is_up(&self, now: Instant) -> bool {
        let since = self.started.as_ref().map(|(start, _)| now.saturating_duration_since(*start));
        since.is_some_and(|since| since >= self.group.options.ramp)
    }
}

/// Runs a plan to its end.
///
/// # Errors
///
/// Nothing can be run at all: an address that makes no sense, a process that is not there, no threads.
/// Sessions that fail are no error but a result.
pub fn run(plan: &Plan, screen: &mut Screen) -> anyhow::Result<Outcome> {
    let begin = Instant::now();
    let party = |group| Party { group, collector: Collector::new(), started: None, sampling: Sampling::of(group, begin) };
    let mut parties: Vec<Party<'_>> = plan.groups.iter().map(party).collect();
    let mut watch = Watch::begin(plan.pid, begin)?;
    let (mut next_look, mut all_up) = (begin + LOOK_EVERY, None);
    loop {
        let now = Instant::now();
        start_due(&mut parties, begin, now)?;
        if all_up.is_none() && parties.iter().all(|party| party.is_up(now)) {
            all_up = Some(now);
        }
        if now >= next_look {
            next_look = now + LOOK_EVERY;
            let seen = look(&parties);
            // A thread that is busy may let a look wait.
            let now = Instant::now();
            let sampled = parties.iter().filter_map(|party| party.sampling.as_ref()).map(Sampling::pending);
            let pending: u64 = seen.iter().map(Snapshot::pending).chain(sampled).sum();
            let since_up = all_up.map(|up| now.saturating_duration_since(up));
            let is_settled = |since: Duration| (pending == 0 && since >= SETTLE) || since >= SETUP_LATE_MAX;
            if !watch.is_steady() && since_up.is_some_and(is_settled) {
                watch.steady(&plan.groups, &seen, now);
                samplings(&mut parties, &seen, |sampling, light| sampling.steady(light, now));
            }
            watch.turn(&plan.groups, &seen, now);
            samplings(&mut parties, &seen, |sampling, light| sampling.turn(light, now));
            screen.show(&Snapshot::sum(&seen), begin, now);
        }
        let is_time = plan.duration.zip(watch.steady_since()).is_some_and(|(lasts, since)| now >= since + lasts);
        if is_time || INTERRUPTED.load(Ordering::Relaxed) || parties.iter().all(Party::is_over) {
            break;
        }
        thread::sleep(TURN);
        watch.slept(now + TURN, Instant::now());
    }
    // The figures are of the clients at work: their leaving is seen in the sessions only.
    let working = look(&parties);
    samplings(&mut parties, &working, |sampling, light| sampling.end(light, Instant::now()));
    let beside: Vec<Beside> = parties.iter().filter_map(|party| party.sampling.as_ref()).map(Sampling::beside).collect();
    watch.end(&plan.groups, &working, &beside);
    screen.clear();
    parties.iter_mut().filter_map(|party| party.sampling.as_mut()).for_each(Sampling::stop);
    // Publishers last: else their viewers would be told that the stream is over.
    for publishes in [false, true] {
        parties.iter_mut().filter(|party| party.group.kind.publishes() == publishes).for_each(|party| drop(party.started.take()));
    }
    let ended = look(&parties);
    let sampled = parties.iter().zip(&ended).map(|(party, light)| Some(party.sampling.as_ref()?.outcome(light)));
    let sampled: Vec<Option<Sampled>> = sampled.collect();
    Ok(Outcome::new(plan, begin.elapsed(), watch, ended, sampled))
}

/// Tells those that are sampled what the light viewers beside them have seen.
fn samplings(parties: &mut [Party<'_>], seen: &[Snapshot], tell: impl Fn(&mut Sampling, &Snapshot)) {
    for (party, light) in parties.iter_mut().zip(seen) {
        if let Some(sampling) = &mut party.sampling {
            tell(sampling, light);
        }
    }
}

fn look(parties: &[Party<'_>]) -> Vec<Snapshot> {
    parties.iter().map(|party| party.collector.snapshot()).collect()
}

/// Starts the groups whose time has come.
fn start_due(parties: &mut [Party<'_>], begin: Instant, now: Instant) -> anyhow::Result<()> {
    let waiting = parties.iter().any(|party| party.group.kind.publishes() && !is_sending(party, now));
    for party in parties.iter_mut().filter(|party| party.started.is_none()) {
        let follows = !party.group.kind.publishes() && party.group.after.is_zero();
        if now >= begin + party.group.after && !(follows && waiting) {
            party.start(now)?;
        }
    }
    Ok(())
}

/// The publishers of the group send, or have had their time to.
fn is_sending(party: &Party<'_>, now: Instant) -> bool {
    let Some((start, handle)) = &party.started else { return !party.group.after.is_zero() };
    let (progress, count) = (handle.progress(), party.group.options.count);
    let late = now.saturating_duration_since(*start) >= party.group.options.ramp + PUBLISHERS_LATE_MAX;
    progress.media + progress.failed >= count || late
}

/// Media of this kind comes in bursts: rates over a short time say little.
const fn in_bursts(kind: Kind) -> bool {
    matches!(kind, Kind::HlsPlay)
}
