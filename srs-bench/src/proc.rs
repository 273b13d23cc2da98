//! What the kernel says of a process: CPU time, memory, the machine.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::Context as _;
use rustix::{
    thread::{CpuSet, sched_setaffinity},
    time::{ClockId, clock_gettime},
};

/// CPU time and memory of a process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// User and system time since the process started.
    pub(crate) cpu: Duration,
    /// The same by what the threads are called, without the numbers of like ones.
    pub(crate) threads: BTreeMap<String, Duration>,
    /// Resident memory in bytes.
    pub(crate) rss_bytes: u64,
}

/// The clock ticks of `/proc/PID/stat`: Linux has shown 100 a second to user space on every
/// architecture since 2.6.
const TICKS_PER_SECOND: u64 = 100;

/// Reads the usage of `pid`. The scheduler's nanosecond counters of its live threads are added up,
/// since the ticks of `stat` are too coarse for a short run.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server process is gone")?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let rss_kb: u64 = rss.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
    let mut threads = BTreeMap::<String, Duration>::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let kind = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *threads.entry(kind.to_owned()).or_default() += Duration::from_nanos(nanos);
    }
    let sum: Duration = threads.values().sum();
    let cpu = if sum.is_zero() { ticks(pid)? } else { sum };
    Ok(Usage { cpu, threads, rss_bytes: rss_kb * 1024 })
}

fn ticks(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc stat line")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_millis((field(11) + field(12)) * 1_000 / TICKS_PER_SECOND))
}

/// CPU time of the calling thread. The scheduler's counters of `/proc` move with its ticks only,
/// which is too coarse for some hundred calls.
pub(crate) fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Keeps the calling thread, and those that it starts, on one core.
pub(crate) fn pin_thread(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core}"))
}

/// One line about the machine.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown CPU", |l| l.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
