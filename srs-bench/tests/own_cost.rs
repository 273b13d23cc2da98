//! What the clients themselves cost: CPU of their threads and memory, by client. A measurement, run by hand:
//! `cargo test --release -p srs-bench --test own_cost -- --ignored --nocapture`; `CLIENTS=3000` sets how many.

mod server;

use std::{collections::BTreeMap, fs, thread, time::Duration};

use server::Weir;
use srs_bench::{
    clients::{self, Kind, Options},
    measure::{Collector, Count, Times},
};

const SECONDS: u64 = 10;

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

fn measure(weir: &Weir, kind: Kind, url: &str) {
    let count = std::env::var("CLIENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let _ = weir;
    let (idle, collector) = (resident_kb(), Collector::new());
    let options = Options { count, spread_sources: true, setups_max: 64, stall: Duration::from_secs(60), ..Options::default() };
    let handle = clients::start(kind, url, &options, &collector).expect("they start");
    let ready = handle.wait_until(Duration::from_secs(120), |progress| progress.media + progress.failed >= count);
    thread::sleep(Duration::from_secs(2));
    let (before, earlier) = (threads(), collector.snapshot());
    thread::sleep(Duration::from_secs(SECONDS));
    let (after, later, resident) = (threads(), collector.snapshot(), resident_kb());
    let cpu: f64 = ["fleet", "crew"]
        .iter()
        .map(|name| after.get(*name).copied().unwrap_or(0.0) - before.get(*name).copied().unwrap_or(0.0))
        .sum();
    let packets = later.grown(Count::Packets, &earlier);
    println!(
        "{}: {count} clients (all there: {ready}), {:.1} packets and {:.0} kb/s each, {} lost; {:.1} % of a core, {:.3} CPU-ms a client and second, \
         {:.2} us a packet, {:.1} KB a client; setup p50 {:?} p99 {:?}; failures {:?}",
        kind.name(),
        packets as f64 / count as f64 / SECONDS as f64,
        later.grown(Count::Bytes, &earlier) as f64 * 8e-3 / count as f64 / SECONDS as f64,
        later.count(Count::Lost),
        cpu / SECONDS as f64 / 10.0,
        cpu / count as f64 / SECONDS as f64,
        cpu * 1e3 / packets.max(1) as f64,
        (resident - idle) / count as f64,
        later.percentile(Times::Setup, 50.0),
        later.percentile(Times::Setup, 99.0),
        later.failures()
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
    measure(&weir, Kind::WebrtcPlay, &weir.whep_url("x"));
    measure(&weir, Kind::RtmpPlay, &weir.rtmp_url("x"));
    measure(&weir, Kind::FlvPlay, &weir.http_url("x.flv"));
}
