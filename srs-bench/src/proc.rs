//! What the kernel says of a process: CPU time, memory, the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

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
    /// In the process itself and in the kernel on its behalf, by the ticks of `stat`.
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// Each thread by its id.
    pub(crate) each: BTreeMap<u32, Thread>,
    /// Times that its threads gave the core up, and were made to.
    pub(crate) switches: [u64; 2],
    /// Datagrams that its UDP sockets had no room for.
    pub(crate) udp_drops: u64,
}

/// One thread of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) cpu: Duration,
    /// How long it could have run but had no core.
    pub(crate) waited: Duration,
}

/// The clock ticks of `/proc/PID/stat`: Linux has shown 100 a second to user space on every
/// architecture since 2.6.
const TICKS_PER_SECOND: u64 = 100;

/// Reads the usage of `pid`. The scheduler's nanosecond counters of its live threads are added up,
/// since the ticks of `stat` are too coarse for a short run.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the server process is gone")?;
    let rss_kb = field(&status, "VmRSS:");
    let (mut threads, mut each) = (BTreeMap::<String, Duration>::new(), BTreeMap::new());
    let mut switches = [0, 0];
    for task in fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mut numbers = text.split_whitespace().map(|n| Duration::from_nanos(n.parse().unwrap_or(0)));
        let (cpu, waited) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let kind = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        *threads.entry(kind.to_owned()).or_default() += cpu;
        let id = task.file_name().to_string_lossy().parse().unwrap_or(0);
        each.insert(id, Thread { name: name.trim().to_owned(), cpu, waited });
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        switches[0] += field(&status, "voluntary_ctxt_switches:");
        switches[1] += field(&status, "nonvoluntary_ctxt_switches:");
    }
    let (user, system) = ticks(pid)?;
    let sum: Duration = threads.values().sum();
    let cpu = if sum.is_zero() { user + system } else { sum };
    let udp_drops = udp_drops(pid);
    Ok(Usage { cpu, threads, rss_bytes: rss_kb * 1024, user, system, each, switches, udp_drops })
}

/// A number of a `status` file.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and system time.
fn ticks(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc stat line")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let time = |ticks: u64| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
    Ok((time(field(11)), time(field(12))))
}

/// Drops of the UDP sockets that are the process's own: the kernel's tables list those of the whole
/// network namespace.
fn udp_drops(pid: u32) -> u64 {
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    drops_of(&table("udp"), &sockets) + drops_of(&table("udp6"), &sockets)
}

/// The drops in a table of UDP sockets: inode in the tenth column, drops in the last.
fn drops_of(table: &str, sockets: &BTreeSet<String>) -> u64 {
    let drops = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(9).is_some_and(|inode| sockets.contains(*inode)).then(|| fields.last()?.parse::<u64>().ok()).flatten()
    };
    table.lines().skip(1).filter_map(drops).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_usage() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.rss_bytes > 1 << 20 && !before.each.is_empty());
        assert!(before.user + before.system <= before.cpu + Duration::from_millis(500));
        assert!(usage(u32::MAX - 1).is_err());
    }

    #[test]
    fn only_the_process_s_own_sockets_count_as_its_drops() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     1: 0100007F:1F90 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 111 2 0000000000000000 7\n\
                     2: 0100007F:1F91 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 222 2 0000000000000000 90\n";
        assert_eq!(drops_of(table, &BTreeSet::from(["111".to_owned()])), 7);
        assert_eq!(drops_of(table, &BTreeSet::from(["333".to_owned()])), 0);
        assert_eq!(drops_of("", &BTreeSet::new()), 0);
    }
}
