//! One run: a server, its load, and what the load cost it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};

use super::{
    peers::{Peer, Running},
    workload::{SHAPE, Workload},
};
use crate::{
    clients::{self, Feedback, Handle, Options, Prompt},
    measure::{Collector, Count, Snapshot, Times},
    media::{Studio, Wish},
    proc,
};

/// All clients must be there by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// From there on the start is over: caches filled, reports sent once, segments made.
const SETTLE: Duration = Duration::from_secs(3);
/// A segment player has nothing before the first segments are whole.
const SEGMENTS: Duration = Duration::from_secs(8);
/// Above this share of its core the load, not the server, decided what was delivered.
const LOAD_MAX: f64 = 0.9;
/// Below this share of what was to be delivered the figure does not count.
const DELIVERED_MIN: f64 = 0.98;

/// What one run came to.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// The server's CPU milliseconds for a client and second.
    pub(super) cpu_ms: f64,
    /// Microseconds of the server's CPU time for a packet or message that a client got, or a publisher sent.
    pub(super) micros: f64,
    /// And for a session, where they come and go.
    pub(super) micros_per_session: Option<f64>,
    /// Its resident memory for a client, in KB.
    pub(super) memory_kb: f64,
    /// Of all the clients', in Mb/s.
    pub(super) megabits: f64,
    /// Frames received of those sent; `None` where clients are there part of the time, or publish.
    pub(super) delivered: Option<f64>,
    /// Lost packets of those that were sent.
    pub(super) loss: f64,
    /// Sessions failed during the whole run, and of how many.
    pub(super) failed: (u64, u64),
    pub(super) setup: Option<Duration>,
    pub(super) first_keyframe: Option<Duration>,
    pub(super) latency: Option<Duration>,
    /// The load's own share of its core.
    pub(super) load: f64,
}

impl Measured {
    /// Why the figure does not count, if it does not.
    pub(super) fn doubt(&self) -> Option<String> {
        let (failed, asked) = self.failed;
        if failed > 0 {
            return Some(format!("{failed} of {asked} sessions failed"));
        }
        if let Some(delivered) = self.delivered.filter(|delivered| *delivered < DELIVERED_MIN) {
            return Some(format!("{:.1} % delivered", delivered * 100.0));
        }
        (self.load > LOAD_MAX).then(|| format!("the load was at {:.0} % of its core", self.load * 100.0))
    }

    /// In a line.
    pub(super) fn line(&self) -> String {
        let doubt = self.doubt().map_or(String::new(), |doubt| format!("; DOES NOT COUNT: {doubt}"));
        let session = self.micros_per_session.map_or(String::new(), |micros| format!(", {micros:.0} µs a session"));
        format!(
            "{:.3} CPU-ms a client-second, {:.2} µs a packet{session}, {:.0} KB a client, {:.1} Mb/s, load at {:.0} %{doubt}",
            self.cpu_ms,
            self.micros,
            self.memory_kb,
            self.megabits,
            self.load * 100.0
        )
    }
}

/// Runs `workload` against `peer`. `None`: it has no such protocol.
pub(super) fn measure(peer: &Peer, workload: &Workload, counted: Duration) -> Option<anyhow::Result<Measured>> {
    let urls = peer.urls(workload)?;
    Some(run(peer, workload, &urls, counted))
}

/// Where a workload's publishers and clients go.
#[derive(Clone, Debug)]
pub(super) struct Urls {
    pub(super) publish: String,
    pub(super) play: String,
}

fn run(peer: &Peer, workload: &Workload, urls: &Urls, counted: Duration) -> anyhow::Result<Measured> {
    let server = peer.start(workload)?;
    let urls = server.place(urls);
    let bare = usage(&server)?;
    let (sources, players) = (Collector::new(), Collector::new());
    let publishing = start_publishers(workload, &urls.publish, &sources)?;
    if workload.clients.publishes() {
        return count(workload, &server, bare.rss_bytes, &sources, None, counted);
    }
    thread::sleep(if workload.clients == clients::Kind::HlsPlay { SEGMENTS } else { SETTLE });
    let before = usage(&server)?;
    let options = Options {
        count: workload.count,
        streams: 1,
        ramp: Duration::from_millis(4) * u32::try_from(workload.count).unwrap_or(u32::MAX),
        studio: studio(),
        churn: workload.churn,
        feedback: Feedback::default(),
        // Latency and freezes are of every client, as in the tables that there are.
        prompt: Prompt::All,
        ..Options::default()
    };
    let playing = clients::start(workload.clients, &urls.play, &options, &players)?;
    wait_for_media(&playing, workload.count, &players)?;
    let measured = count(workload, &server, before.rss_bytes, &players, Some(&sources), counted);
    playing.stop();
    publishing.stop();
    measured
}

fn start_publishers(workload: &Workload, url: &str, sources: &Collector) -> anyhow::Result<Handle> {
    let count = workload.streams();
    let options = Options { count, ramp: Duration::from_millis(10) * count as u32, studio: studio(), ..Options::default() };
    let publishing = clients::start(workload.source, url, &options, sources)?;
    wait_for_media(&publishing, count, sources).context("publishing")?;
    Ok(publishing)
}

/// The stream of every run.
fn studio() -> Studio {
    Studio::plain(Wish { shape: SHAPE, ..Wish::default() })
}

fn wait_for_media(handle: &Handle, count: usize, collector: &Collector) -> anyhow::Result<()> {
    if handle.wait_until(PATIENCE, |progress| progress.media >= count || progress.failed > 0) && handle.progress().failed == 0 {
        return Ok(());
    }
    let failures = collector.snapshot().failures();
    let why = failures.first().map_or(String::new(), |failure| format!(": {}: {}", failure.stage.name(), failure.reason));
    bail!("{} of {count} sessions had media{why}", handle.progress().media)
}

fn count(
    workload: &Workload,
    server: &Running,
    before: u64,
    clients: &Collector,
    sources: Option<&Collector>,
    counted: Duration,
) -> anyhow::Result<Measured> {
    thread::sleep(SETTLE);
    let own = own_cpu();
    let (began, used, seen) = (Instant::now(), usage(server)?, clients.snapshot());
    let sent = sources.map(Collector::snapshot);
    thread::sleep(counted);
    let (took, used_end, seen_end) = (began.elapsed(), usage(server)?, clients.snapshot());
    let sent_end = sources.map(Collector::snapshot);
    let load = (own_cpu() - own).as_secs_f64() / took.as_secs_f64();
    let cpu = used_end.cpu.saturating_sub(used.cpu).as_secs_f64();
    let (packets, bytes) =
        if workload.clients.publishes() { (Count::SentPackets, Count::SentBytes) } else { (Count::Packets, Count::Bytes) };
    let (packets, bytes) = (seen_end.grown(packets, &seen), seen_end.grown(bytes, &seen));
    let lost = seen_end.grown(Count::Lost, &seen);
    let delivered = match (&sent, &sent_end) {
        // Clients that come and go are there part of the time, segment players fetch in bursts.
        (Some(sent), Some(sent_end)) if workload.churn.is_none() && workload.clients != clients::Kind::HlsPlay => {
            Some(delivered(workload, (sent, sent_end), (&seen, &seen_end)))
        }
        _ => None,
    };
    let sessions = seen_end.grown(Count::Connected, &seen);
    Ok(Measured {
        cpu_ms: cpu * 1e3 / took.as_secs_f64() / workload.count as f64,
        micros: cpu * 1e6 / packets.max(1) as f64,
        micros_per_session: workload.churn.map(|_| cpu * 1e6 / sessions.max(1) as f64),
        memory_kb: used_end.rss_bytes.saturating_sub(before) as f64 / 1024.0 / workload.count as f64,
        megabits: bytes as f64 * 8e-6 / took.as_secs_f64(),
        delivered,
        loss: lost as f64 / (packets + lost).max(1) as f64,
        failed: (seen_end.count(Count::Failed), seen_end.count(Count::Asked)),
        setup: seen_end.percentile(Times::Setup, 50.0),
        first_keyframe: seen_end.percentile(Times::FirstKeyframe, 50.0),
        latency: seen_end.percentile(Times::Latency, 99.0),
        load,
    })
}

/// Frames that all clients got of those that the publisher sent them.
fn delivered(workload: &Workload, (sent, sent_end): (&Snapshot, &Snapshot), (seen, seen_end): (&Snapshot, &Snapshot)) -> f64 {
    let sent = sent_end.grown(Count::SentFrames, sent) * workload.count as u64;
    // Where nothing was sent nothing was delivered.
    seen_end.grown(Count::Frames, seen) as f64 / sent.max(1) as f64
}

/// CPU time and resident bytes of a server.
struct Usage {
    cpu: Duration,
    rss_bytes: u64,
}

/// Of all its processes together.
fn usage(server: &Running) -> anyhow::Result<Usage> {
    let mut sum = Usage { cpu: Duration::ZERO, rss_bytes: 0 };
    for pid in server.pids()? {
        let usage = proc::usage(pid)?;
        sum.cpu += usage.cpu;
        sum.rss_bytes += usage.rss_bytes;
    }
    Ok(sum)
}

/// CPU time of this program.
fn own_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
