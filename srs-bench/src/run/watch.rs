//! What the machine does meanwhile: the server's process, and whether this one kept up.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{in_bursts, sampling::Beside};
use crate::{
    figures::{Figures, share},
    measure::{Count, Snapshot},
    plan::{Group, Plan},
    proc::{self, Usage},
};

/// A thread of ours that is busier has no room left for what comes at once.
const BUSY: f64 = 0.85;
/// So much of its time a thread of ours may be without a core.
const WITHOUT_CORE: f64 = 0.2;
/// A sleep of ours that lasts longer by so much shows that the machine is overloaded.
const LATE: Duration = Duration::from_millis(500);
/// Less than this of what was expected is too little.
const DELIVERED: f64 = 98.0;
/// More than this is more than the steady time's: what an overloaded machine held back came in it, too.
const DELIVERED_MAX: f64 = 105.0;
/// Shares of a shorter time say nothing.
pub(super) const STEADY_MIN: Duration = Duration::from_secs(3);

/// The two processes at one moment.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    server: Option<Usage>,
    own: Option<Usage>,
    seen: Vec<Snapshot>,
}

/// From the beginning to the end of a run.
#[derive(Debug)]
pub(super) struct Watch {
    pid: Option<u32>,
    idle: Look,
    steady: Option<Look>,
    end: Option<Look>,
    /// Seconds of viewers and of publishers in the steady time; of viewers, those whose media does
    /// not come in bursts, and of these those that are read at once, apart.
    seconds: Seconds,
    /// What the server does for viewers on an independent stack, in the steady time.
    beside: Beside,
    last: Instant,
    latest: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seconds {
    smooth: f64,
    prompt: f64,
    viewers: f64,
    publishers: f64,
}

impl Watch {
    pub(super) fn begin(pid: Option<u32>, now: Instant) -> anyhow::Result<Self> {
        let idle = look(pid, now, Vec::new());
        if let Some(pid) = pid.filter(|_| idle.server.is_none()) {
            proc::usage(pid).with_context(|| format!("--pid {pid}"))?;
        }
        let (seconds, beside) = (Seconds::default(), Beside::default());
        Ok(Self { pid, idle, steady: None, end: None, seconds, beside, last: now, latest: Duration::ZERO })
    }

    pub(super) const fn is_steady(&self) -> bool {
        self.steady.is_some()
    }

    pub(super) fn steady_since(&self) -> Option<Instant> {
        self.steady.as_ref().map(|look| look.at)
    }

    /// All clients are there.
    pub(super) fn steady(&mut self, groups: &[Group], seen: &[Snapshot], now: Instant) {
        self.turn(groups, seen, now);
        self.seconds = Seconds::default();
        self.latest = Duration::ZERO;
        self.steady = Some(look(self.pid, now, seen.to_vec()));
    }

    /// Adds up the seconds of the clients.
    pub(super) fn turn(&mut self, groups: &[Group], seen: &[Snapshot], now: Instant) {
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        for (group, seen) in groups.iter().zip(seen) {
            let seconds = seen.active() as f64 * elapsed;
            if group.kind.publishes() {
                self.seconds.publishers += seconds;
            } else {
                self.seconds.viewers += seconds;
                if !in_bursts(group.kind) {
                    self.seconds.smooth += seconds;
                    self.seconds.prompt += seen.active().saturating_sub(seen.active_lazily()) as f64 * elapsed;
                }
            }
        }
    }

    /// How late a sleep ended.
    pub(super) fn slept(&mut self, due: Instant, now: Instant) {
        self.latest = self.latest.max(now.saturating_duration_since(due));
    }

    pub(super) fn end(&mut self, groups: &[Group], seen: &[Snapshot], beside: &[Beside]) {
        let now = Instant::now();
        self.beside = Beside {
            packets: beside.iter().map(|each| each.packets).sum(),
            seconds: beside.iter().map(|each| each.seconds).sum(),
            clients: beside.iter().map(|each| each.clients).sum(),
        };
        self.turn(groups, seen, now);
        self.end = Some(look(self.pid, now, seen.to_vec()));
    }

    /// The steady time's looks; the whole run's if it never became steady.
    fn ends(&self) -> Option<(&Look, &Look)> {
        self.end.as_ref().map(|end| (self.steady.as_ref().unwrap_or(&self.idle), end))
    }

    /// How long rates were measured.
    pub(super) fn measured(&self) -> Duration {
        self.ends().map_or(Duration::ZERO, |(from, to)| to.at.saturating_duration_since(from.at))
    }

    /// Adds what is known only over time: rates, the server's cost.
    pub(super) fn put(&self, plan: &Plan, figures: &mut Figures) {
        let Some((from, to)) = self.ends() else { return };
        let of = |wanted: &dyn Fn(&Group) -> bool, count| grown(plan, from, to, wanted, count);
        let viewers = |group: &Group| !group.kind.publishes();
        let bytes = of(&viewers, Count::Bytes);
        if self.seconds.viewers > 0.0 {
            let kbps = bytes * 8.0 / 1e3 / self.seconds.viewers;
            figures.put("bitrate", kbps);
            figures.put("frozen", share(of(&viewers, Count::FrozenMillis) / 1e3, self.seconds.prompt));
            if let Some(expected) = plan.expected_kbps {
                figures.put("delivered", share(kbps, expected.into()));
            } else {
                self.put_delivered(plan, from, to, figures);
            }
        }
        if let (Some(before), Some(after), Some(idle)) = (&from.server, &to.server, &self.idle.server) {
            let packets = of(&viewers, Count::Packets) + self.beside.packets;
            let packets = if packets > 0.0 { packets } else { of(&|_| true, Count::SentPackets) };
            let clients = to.seen.iter().map(Snapshot::active).sum::<u64>() as f64 + self.beside.clients;
            let seconds = self.seconds.viewers + self.seconds.publishers + self.beside.seconds;
            let wall = self.measured().as_secs_f64();
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            figures.put("server-cpu", share(cpu, wall));
            figures.put("server-cpu-us-per-packet", cpu * 1e6 / packets);
            figures.put("server-cpu-ms-per-client-second", cpu * 1e3 / seconds);
            figures.put("server-rss-mb", after.rss_bytes as f64 / 1e6);
            figures.put("server-kb-per-client", after.rss_bytes.saturating_sub(idle.rss_bytes) as f64 / 1024.0 / clients);
            figures.put("server-udp-drops", after.udp_drops.saturating_sub(idle.udp_drops) as f64);
        }
    }

    /// Frames that came, of those that our own publishers sent, or that the stamps tell of.
    fn put_delivered(&self, plan: &Plan, from: &Look, to: &Look, figures: &mut Figures) {
        let smooth = |group: &Group| !group.kind.publishes() && !in_bursts(group.kind);
        let of = |wanted: &dyn Fn(&Group) -> bool, count| grown(plan, from, to, wanted, count);
        let (frames, sent) = (of(&smooth, Count::Frames), of(&|group| group.kind.publishes(), Count::SentFrames));
        if frames == 0.0 && of(&smooth, Count::Packets) > 0.0 {
            // Nothing is decrypted: frames are not seen.
            return;
        }
        if sent > 0.0 && self.seconds.publishers > 0.0 {
            let (each_sent, each_got) = (sent / self.seconds.publishers, frames / self.seconds.smooth);
            figures.put("delivered", share(each_got, each_sent));
        } else if of(&smooth, Count::Stamped) > 0.0 {
            figures.put("delivered", share(frames, frames + of(&smooth, Count::FramesLost)));
        }
    }

    /// Why the figures do not count, if so.
    pub(super) fn warnings(&self, plan: &Plan, figures: &Figures) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(delivered) = figures.get("delivered").filter(|delivered| *delivered < DELIVERED) {
            warnings.push(format!("only {delivered:.1} % of what was expected arrived"));
        }
        // A bitrate that somebody expected may be meant as a lower bound.
        if let Some(delivered) = figures.get("delivered").filter(|d| *d > DELIVERED_MAX && plan.expected_kbps.is_none()) {
            warnings.push(format!("{delivered:.1} % of what was sent arrived: with it came what was late from before"));
        }
        let Some((from, to)) = self.ends() else { return warnings };
        let wall = self.measured();
        if wall < STEADY_MIN {
            warnings.push(format!("measured for {:.1} s only", wall.as_secs_f64()));
            return warnings;
        }
        if let (Some(before), Some(after)) = (&from.own, &to.own) {
            warnings.extend(own_warnings(before, after, wall));
        }
        if self.latest > LATE {
            warnings.push(format!("this program was {} ms late once: the machine is overloaded", self.latest.as_millis()));
        }
        warnings
    }

    /// Lines about the server and about this process.
    pub(super) fn lines(&self) -> Vec<String> {
        let Some((from, to)) = self.ends() else { return Vec::new() };
        let wall = self.measured().as_secs_f64().max(1e-3);
        let mut lines = Vec::new();
        if let (Some(before), Some(after)) = (&from.server, &to.server) {
            let ticks = (after.user.saturating_sub(before.user)).as_secs_f64();
            let both = ticks + after.system.saturating_sub(before.system).as_secs_f64();
            let user = if both > 0.0 { format!("{:.0} % of it user", ticks / both * 100.0) } else { "idle".to_owned() };
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            let switched = |kind: usize| after.switches[kind].saturating_sub(before.switches[kind]) as f64 / wall;
            lines.push(format!(
                "server    {cpu:.2} CPU-s, {:.0} % of a core, {user}; {} threads; {:.0} + {:.0} context switches/s; {} UDP drops",
                cpu / wall * 100.0,
                after.each.len(),
                switched(0),
                switched(1),
                after.udp_drops.saturating_sub(before.udp_drops)
            ));
        }
        if let (Some(before), Some(after)) = (&from.own, &to.own) {
            let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            lines.push(format!(
                "this tool {cpu:.2} CPU-s, {:.0} % of a core; busiest thread {:.0} %; {:.1} MB",
                cpu / wall * 100.0,
                busiest(before, after, self.measured()).map_or(0.0, |(_, busy)| busy * 100.0),
                after.rss_bytes as f64 / 1e6
            ));
        }
        lines
    }
}

/// Both processes now; one that is gone is none.
fn look(pid: Option<u32>, at: Instant, seen: Vec<Snapshot>) -> Look {
    let server = pid.and_then(|pid| proc::usage(pid).ok());
    Look { at, server, own: proc::usage(std::process::id()).ok(), seen }
}

/// By how much a count has grown in the groups that are wanted.
fn grown(plan: &Plan, from: &Look, to: &Look, wanted: &dyn Fn(&Group) -> bool, count: Count) -> f64 {
    let each = |(place, (group, now)): (usize, (&Group, &Snapshot))| {
        let earlier = from.seen.get(place).map_or(0, |earlier| earlier.count(count));
        if wanted(group) { now.count(count).saturating_sub(earlier) } else { 0 }
    };
    plan.groups.iter().zip(&to.seen).enumerate().map(each).sum::<u64>() as f64
}

/// The thread that used its core most, and how much of it.
fn busiest(before: &Usage, after: &Usage, wall: Duration) -> Option<(String, f64)> {
    let share = |id: &u32, thread: &proc::Thread| {
        let earlier = before.each.get(id).map_or(Duration::ZERO, |thread| thread.cpu);
        thread.cpu.saturating_sub(earlier).as_secs_f64() / wall.as_secs_f64()
    };
    let all = after.each.iter().map(|(id, thread)| (thread.name.clone(), share(id, thread)));
    all.max_by(|a, b| a.1.total_cmp(&b.1))
}

fn own_warnings(before: &Usage, after: &Usage, wall: Duration) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((name, busy)) = busiest(before, after, wall).filter(|(_, busy)| *busy > BUSY) {
        warnings.push(format!("this program was the bottleneck: its thread {name} used {:.0} % of a core", busy * 100.0));
    }
    let waited = |(id, thread): (&u32, &proc::Thread)| {
        let earlier = before.each.get(id).map_or(Duration::ZERO, |thread| thread.waited);
        (thread.name.clone(), thread.waited.saturating_sub(earlier).as_secs_f64() / wall.as_secs_f64())
    };
    let worst = after.each.iter().map(waited).max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((name, waited)) = worst.filter(|(_, waited)| *waited > WITHOUT_CORE) {
        warnings.push(format!("its thread {name} waited for a core {:.0} % of the time", waited * 100.0));
    }
    let drops = after.udp_drops.saturating_sub(before.udp_drops);
    if drops > 0 {
        warnings.push(format!("its own sockets dropped {drops} datagrams: a larger --recv-buffer or fewer clients"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu_ms: u64, waited_ms: u64, udp_drops: u64) -> Usage {
        let thread = proc::Thread {
            name: "fleet-0".to_owned(),
            cpu: Duration::from_millis(cpu_ms),
            waited: Duration::from_millis(waited_ms),
        };
        let mut usage = proc::usage(std::process::id()).unwrap();
        usage.each = [(1, thread)].into();
        usage.udp_drops = udp_drops;
        usage
    }

    #[test]
    fn too_little_and_more_than_was_sent_are_told() {
        let watch = Watch::begin(None, Instant::now()).unwrap();
        let warnings = |delivered: f64, expected_kbps| {
            let mut figures = Figures::of_clients(&crate::measure::Collector::new().snapshot());
            figures.put("delivered", delivered);
            watch.warnings(&Plan { expected_kbps, ..Plan::default() }, &figures)
        };
        assert!(warnings(90.0, None)[0].contains("only 90.0 %"));
        assert_eq!(warnings(101.0, None), Vec::<String>::new());
        assert!(warnings(240.0, None)[0].contains("240.0 % of what was sent"));
        assert_eq!(warnings(240.0, Some(300)), Vec::<String>::new());
    }

    #[test]
    fn a_client_that_was_the_bottleneck_is_told() {
        let wall = Duration::from_secs(10);
        assert_eq!(own_warnings(&usage(0, 0, 0), &usage(5_000, 100, 0), wall), Vec::<String>::new());
        assert!(own_warnings(&usage(0, 0, 0), &usage(9_000, 0, 0), wall)[0].contains("fleet-0 used 90 %"));
        assert!(own_warnings(&usage(0, 0, 0), &usage(0, 3_000, 0), wall)[0].contains("waited for a core 30 %"));
        assert!(own_warnings(&usage(0, 0, 1), &usage(0, 0, 8), wall)[0].contains("dropped 7"));
    }
}
