//! What it costs to take in a packet: a publisher's SRTP becomes a packet of its source's ring. CPU
//! time for a packet, of many publishers in turn, which finds no cache warm, and of one.
//!
//! `cargo bench --workspace --bench ingest` measures and prints a table. Without `--bench`, as tests
//! run it, it does each thing once. System calls are not in it; `srs-bench cost` has them.

mod studio;

#[path = "../../tests/link/parts.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod parts;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use weir_rtc::srtp::SrtpProfile;

use self::studio::Studio;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Publishers of the large runs.
    publishers: usize,
    /// Media time of a round of the large runs; one publisher sends for as many times longer.
    round: Duration,
    /// Of these the best counts: the machine's other work only ever adds.
    rounds: usize,
}

const MEASURED: Scale = Scale { publishers: 150, round: Duration::from_secs(3), rounds: 7 };
const TRIED: Scale = Scale { publishers: 2, round: Duration::from_millis(100), rounds: 1 };

fn main() {
    let scale = if std::env::args().any(|arg| arg == "--bench") { MEASURED } else { TRIED };
    println!("machine: {}\n", machine());
    println!("taking in a packet, ns of CPU\n");
    println!("| cipher | {} publishers in turn | one publisher |\n|---|---|---|", scale.publishers);
    for (name, profile) in [("GCM", SrtpProfile::AeadAes128Gcm), ("CM_80", SrtpProfile::AesCm128HmacSha1_80)] {
        let cold = measure(profile, scale.publishers, scale);
        let alone = Scale { round: scale.round * 50, ..scale };
        let warm = measure(profile, 1, alone);
        println!("| {name} | {cold:.0} | {warm:.0} |");
    }
}

/// Nanoseconds a packet; the best round.
fn measure(profile: SrtpProfile, publishers: usize, scale: Scale) -> f64 {
    let mut studio = Studio::new(profile, publishers);
    // Until the rings are full: then each packet replaces one.
    studio.run(if scale.rounds > 1 { Duration::from_secs(6) } else { scale.round });
    let rounds = (0..scale.rounds).map(|_| studio.run(scale.round));
    rounds.map(|spent| spent.nanos_per_packet()).fold(f64::INFINITY, f64::min)
}

/// CPU time of this thread: what others do in between does not count.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
