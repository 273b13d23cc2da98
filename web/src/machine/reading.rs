//! One reading after the other: the files, and what has changed between two of them.

use std::{
    collections::HashSet,
    fs,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use nix::sys::resource::{UsageWho, getrusage};

use super::{
    Facts, Figures,
    proc::{Cpu, Devices, Disk, Memory, Process, Sockets, Udp, Usage, files_max, share},
};
use crate::ids;

/// The kernel's clock ticks per second, the same on every Linux of these days (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;
const SECTOR_BYTES: u64 = 512;
/// What the API shows of the command line, at most.
const ARGV_CHARS_MAX: usize = 1_024;

/// Keeps the last reading, for what is told per second.
pub(super) struct Reader {
    disks: Vec<String>,
    facts: Arc<Facts>,
    last: Option<(Instant, Figures)>,
}

impl Reader {
    pub(super) fn new(disks: Vec<String>) -> Self {
        Self { disks, facts: Arc::new(facts()), last: None }
    }

    pub(super) fn read(&mut self) -> Figures {
        let now = Instant::now();
        let mut figures = self.now();
        if let Some((then, before)) = &self.last {
            figures.compare(before, now.saturating_duration_since(*then));
        }
        self.last = Some((now, figures.clone()));
        figures
    }

    /// What needs no reading before.
    fn now(&self) -> Figures {
        let snmp = text("/proc/net/snmp");
        let (cpu, cpus_online) = Cpu::of(&text("/proc/stat"));
        let process = Process::of(&text("/proc/self/stat"), &text("/proc/self/status"));
        let uptime = floats(&text("/proc/uptime"));
        let load = floats(&text("/proc/loadavg"));
        let memory = Memory::of(&text("/proc/meminfo"));
        let usage = usage();
        let at = |list: &[f64], index: usize| list.get(index).copied().unwrap_or(0.0);
        let started = at(&uptime, 0) - process.field("starttime") as f64 / TICKS_PER_SECOND;
        let taken_ms = ids::now_ms();
        Figures {
            ok: process.pid > 0 && memory.total > 0 && cpus_online > 0 && usage.is_some(),
            taken_ms,
            // One descriptor is the directory's own.
            descriptors: (count("/proc/self/fd").saturating_sub(1), files_max(&text("/proc/self/limits"))),
            started_s: taken_ms as f64 / 1_000.0 - started,
            process,
            usage: usage.unwrap_or_default(),
            cpu,
            cpus: processors().unwrap_or(cpus_online),
            cpus_online,
            memory,
            disk: Disk::of(&text("/proc/diskstats"), |name| self.counts(name)),
            devices: devices(),
            sockets: Sockets::of(&text("/proc/net/sockstat"), &text("/proc/net/sockstat6"), &snmp),
            udp: Udp::of(&snmp),
            uptime: (at(&uptime, 0), at(&uptime, 1)),
            load: [0, 1, 2].map(|index| at(&load, index)),
            facts: Arc::clone(&self.facts),
            ..Figures::default()
        }
    }

    /// A named device, or a whole one that is no picture of others.
    fn counts(&self, name: &str) -> bool {
        if !self.disks.is_empty() {
            return self.disks.iter().any(|disk| disk == name);
        }
        let virtual_ones = ["loop", "ram", "zram", "dm-", "md", "sr", "fd"];
        let is_real = !virtual_ones.iter().any(|prefix| name.starts_with(prefix));
        is_real && fs::exists(format!("/sys/block/{name}")).unwrap_or(false)
    }
}

impl Figures {
    /// What has changed since `before`, `span` ago.
    fn compare(&mut self, before: &Self, span: Duration) {
        let seconds = span.as_secs_f64().max(0.001);
        let ticks = self.process.ticks().saturating_sub(before.process.ticks());
        self.process_share = ticks as f64 / TICKS_PER_SECOND / seconds;
        self.cpu_share = self.cpu.share_since(&before.cpu);
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        // Bytes per millisecond are kilobytes per second.
        let rate = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(SECTOR_BYTES) / millis;
        self.disk_read_kbps = rate(self.disk.read_sectors, before.disk.read_sectors);
        self.disk_write_kbps = rate(self.disk.written_sectors, before.disk.written_sectors);
        let busy = self.disk.busy_ms.iter().map(|(name, busy)| {
            let then = before.disk.busy_ms.get(name).copied().unwrap_or(*busy);
            share(busy.saturating_sub(then), millis).min(1.0)
        });
        self.disk_busy = busy.fold(0.0, f64::max);
    }
}

fn facts() -> Facts {
    let line = |path: &str| text(path).trim().to_owned();
    let argv: String = text("/proc/self/cmdline").trim_end_matches('\0').replace('\0', " ");
    let built = fs::metadata("/proc/self/exe").and_then(|file| file.modified()).ok();
    Facts {
        argv: argv.chars().take(ARGV_CHARS_MAX).collect(),
        cwd: std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default(),
        system: line("/proc/sys/kernel/ostype"),
        node: line("/proc/sys/kernel/hostname"),
        release: line("/proc/sys/kernel/osrelease"),
        version: line("/proc/sys/kernel/version"),
        built_s: built.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs()),
    }
}

/// Of all threads of this process.
fn usage() -> Option<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(Usage {
        values: [
            usage.user_time().tv_sec(),
            usage.system_time().tv_sec(),
            usage.max_rss(),
            usage.shared_integral(),
            usage.unshared_data_integral(),
            usage.unshared_stack_integral(),
            usage.minor_page_faults(),
            usage.major_page_faults(),
            usage.full_swaps(),
            usage.block_reads(),
            usage.block_writes(),
            usage.ipc_sends(),
            usage.ipc_receives(),
            usage.signals(),
            usage.voluntary_context_switches(),
            usage.involuntary_context_switches(),
        ],
    })
}

/// Those that the machine has, online or not: the end of a range from 0.
fn processors() -> Option<usize> {
    let text = text("/sys/devices/system/cpu/present");
    text.trim().rsplit(['-', ',']).next()?.parse::<usize>().ok()?.checked_add(1)
}

fn devices() -> Devices {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let public: HashSet<String> =
        interfaces.into_iter().filter(|interface| is_public(interface.ip())).map(|interface| interface.name).collect();
    Devices::of(&text("/proc/net/dev"), |name| public.contains(name))
}

/// Neither loopback nor private nor link-local: what SRS calls an internet device.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()),
    }
}

fn text(path: &str) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn floats(text: &str) -> Vec<f64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

fn count(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_read() {
        let mut reader = Reader::new(Vec::new());
        let first = reader.read();
        assert!(first.ok, "{first:?}");
        assert_eq!(first.process.pid, i64::from(std::process::id()));
        assert!(first.process.resident_kbyte > 0 && first.descriptors.0 > 2 && first.descriptors.1 > 2);
        assert!(first.uptime.0 > 0.0 && first.cpus >= first.cpus_online && !first.facts.release.is_empty());
        let age = first.taken_ms as f64 / 1_000.0 - first.started_s;
        assert!((-1.0..3_600.0).contains(&age), "{age}");
        let second = reader.read();
        assert!(
            (0.0..=1.0).contains(&second.cpu_share) && second.process_share >= 0.0 && (0.0..=1.0).contains(&second.disk_busy)
        );
    }
}
