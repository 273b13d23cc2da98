//! What the clients themselves cost: CPU of their threads and memory, by client. A measurement, run by hand as the
//! README's "What it costs itself" says.

mod server;

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use server::Weir;
use srs_bench::{
    clients::{self, Kind, Options, Prompt},
    measure::{Collector, Count, Snapshot, Times},
};

const MEASURED: Duration = Duration::from_secs(10);
/// Of 10,000 players one in so many is read at once unless told otherwise.
const SAMPLE: u32 = 40;

/// What the clients have seen and used, at one moment.
struct Look {
    seen: Snapshot,
    cpu_ms: f64,
    /// When it was taken: a busy thread lets a look wait.
    at: Instant,
}

impl Look {
    fn take(collector: &Collector) -> Self {
        let seen = collector.snapshot();
        let threads = threads();
        let cpu_ms = ["fleet", "crew"].iter().filter_map(|name| threads.get(*name)).sum();
        Self { seen, cpu_ms, at: Instant::now() }
    }
}

/// CPU milliseconds of this process's threads, by the start of their names.
fn threads() -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").expect("proc").flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let nanos: f64 = read("schedstat").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
        let name = read("comm").trim().split('-').next().unwrap_or_default().to_owned();
        *sums.entry(name).or_default() += nanos / 1e6;
    }
    sums
}

fn resident_kb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

fn of_environment(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn measure(kind: Kind, url: &str, (prompt, how): (Prompt, &str)) {
    let (count, setups_max) = (of_environment("CLIENTS", 300), of_environment("SETUPS", 64));
    let (idle, collector) = (resident_kb(), Collector::new());
    let read_every = Duration::from_millis(of_environment("READ_EVERY", 200) as u64);
    let stall = Duration::from_secs(60);
    let options = Options { count, spread_sources: true, setups_max, stall, prompt, read_every, ..Options::default() };
    let handle = clients::start(kind, url, &options, &collector).expect("they start");
    let ready = handle.wait_until(Duration::from_secs(120), |progress| progress.media + progress.failed >= count);
    thread::sleep(Duration::from_secs(2));
    let before = Look::take(&collector);
    thread::sleep(MEASURED);
    let after = Look::take(&collector);
    let resident = resident_kb();
    let (seconds, clients) = (after.at.duration_since(before.at).as_secs_f64(), count as f64);
    let (cpu, packets) = (after.cpu_ms - before.cpu_ms, after.seen.grown(Count::Packets, &before.seen) as f64);
    println!(
        "{}{how}: {count} clients (all there: {ready}), {seconds:.1} s, {:.1} packets and {:.0} kb/s each, {} lost; {:.1} % of a core, \
         {:.3} CPU-ms a client and second: {:.0} clients a core, {:.2} us a packet, {:.1} KB a client; latency p50 {:?} p99 {:?}; \
         setup p50 {:?} p99 {:?}; failures {:?}",
        kind.name(),
        packets / clients / seconds,
        after.seen.grown(Count::Bytes, &before.seen) as f64 * 8e-3 / clients / seconds,
        after.seen.count(Count::Lost),
        cpu / seconds / 10.0,
        cpu / clients / seconds,
        1e3 * clients * seconds / cpu,
        cpu * 1e3 / packets.max(1.0),
        (resident - idle) / clients,
        after.seen.percentile(Times::Latency, 50.0),
        after.seen.percentile(Times::Latency, 99.0),
        after.seen.percentile(Times::Setup, 50.0),
        after.seen.percentile(Times::Setup, 99.0),
        after.seen.failures()
    );
    handle.stop();
}

#[test]
#[ignore = "a measurement"]
fn what_a_client_costs() {
    let weir = Weir::start();
    let collector = Collector::new();
    let source = clients::start(Kind::RtmpPublish, &weir.rtmp_url("x"), &Options::default(), &collector).expect("it starts");
    assert!(source.wait_until(Duration::from_secs(10), |progress| progress.media == 1));
    let at_once = (Prompt::All, "");
    measure(Kind::WebrtcPlay, &weir.whep_url("x"), at_once);
    for (kind, url) in [(Kind::RtmpPlay, weir.rtmp_url("x")), (Kind::FlvPlay, weir.http_url("x.flv"))] {
        measure(kind, &url, (Prompt::All, ", each message at once"));
        measure(kind, &url, (Prompt::Every(SAMPLE), ", lazily but for one in forty"));
    }
}
