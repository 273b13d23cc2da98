//! What the forward loop costs: CPU time for a packet to a viewer, by cipher and size, and for a
//! message to the kernel, by its segments.
//!
//! `cargo bench --workspace --bench forward` measures and prints tables. Without `--bench`, as tests
//! run it, it does each thing once.

mod seal;
mod send;

#[path = "../../tests/link/parts.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod parts;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Viewers of the large runs.
    viewers: usize,
    /// Passes over all viewers in a round.
    passes: usize,
    /// Of these the best counts: the machine's other work only ever adds.
    rounds: usize,
}

const MEASURED: Scale = Scale { viewers: 400, passes: 100, rounds: 7 };
const TRIED: Scale = Scale { viewers: 2, passes: 1, rounds: 1 };

fn main() {
    let scale = if std::env::args().any(|arg| arg == "--bench") { MEASURED } else { TRIED };
    println!("machine: {}\n", machine());
    seal::table(scale);
    println!();
    send::table(scale);
}

/// CPU time of this thread: what others do in between does not count.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Nanoseconds for each of the `count` things that `work` does; the best round.
fn best_of(rounds: usize, count: usize, mut work: impl FnMut() -> Duration) -> f64 {
    let best = (0..rounds).map(|_| work()).min().unwrap_or_default();
    best.as_secs_f64() * 1e9 / count as f64
}

fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{}, {cores} cores, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
