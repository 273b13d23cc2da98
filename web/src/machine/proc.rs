//! The kernel's tables as text, read into numbers (proc(5)). What is missing is zero.

use std::collections::HashMap;

/// `/proc/self/stat`, its fields in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Process {
    pub(crate) pid: i64,
    pub(crate) comm: String,
    pub(crate) state: String,
    /// From the parent's id on: field 4 of proc(5) is the first here.
    pub(crate) rest: Vec<i64>,
    /// Resident now and at most, in kilobytes.
    pub(crate) resident_kbyte: u64,
    pub(crate) peak_kbyte: u64,
}

/// The names of [`Process::rest`], in SRS's spelling.
pub(crate) const PROCESS_FIELDS: [&str; 41] = [
    "ppid",
    "pgrp",
    "session",
    "tty_nr",
    "tpgid",
    "flags",
    "minflt",
    "cminflt",
    "majflt",
    "cmajflt",
    "utime",
    "stime",
    "cutime",
    "cstime",
    "priority",
    "nice",
    "num_threads",
    "itrealvalue",
    "starttime",
    "vsize",
    "rss",
    "rsslim",
    "startcode",
    "endcode",
    "startstack",
    "kstkesp",
    "kstkeip",
    "signal",
    "blocked",
    "sigignore",
    "sigcatch",
    "wchan",
    "nswap",
    "cnswap",
    "exit_signal",
    "processor",
    "rt_priority",
    "policy",
    "delayacct_blkio_ticks",
    "guest_time",
    "cguest_time",
];

impl Process {
    pub(super) fn of(stat: &str, status: &str) -> Self {
        // The name is in brackets and may hold some itself.
        let (head, tail) = stat.rsplit_once(')').unwrap_or_default();
        let (pid, comm) = head.split_once('(').unwrap_or_default();
        let mut fields = tail.split_whitespace();
        let state = fields.next().unwrap_or_default().to_owned();
        // The kernel writes addresses and limits as unsigned: the largest do not fit.
        let number = |field: &str| field.parse::<i128>().map_or(0, |n| i64::try_from(n).unwrap_or(i64::MAX));
        let rest = fields.take(PROCESS_FIELDS.len()).map(number).collect();
        let kbyte = |name| of_name(status, name).first().copied().unwrap_or(0);
        Self {
            pid: pid.trim().parse().unwrap_or(0),
            comm: comm.to_owned(),
            state,
            rest,
            resident_kbyte: kbyte("VmRSS:"),
            peak_kbyte: kbyte("VmHWM:"),
        }
    }

    pub(crate) fn field(&self, name: &str) -> i64 {
        let index = PROCESS_FIELDS.iter().position(|field| *field == name);
        index.and_then(|index| self.rest.get(index)).copied().unwrap_or(0)
    }

    /// Clock ticks (hundredths of a second) that it has run.
    pub(crate) fn ticks(&self) -> u64 {
        u64::try_from(self.field("utime").saturating_add(self.field("stime"))).unwrap_or(0)
    }
}

/// What getrusage(2) says, in SRS's spelling and order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) values: [i64; USAGE_FIELDS.len()],
}

/// The names of [`Usage::values`].
pub(crate) const USAGE_FIELDS: [&str; 16] = [
    "ru_utime",
    "ru_stime",
    "ru_maxrss",
    "ru_ixrss",
    "ru_idrss",
    "ru_isrss",
    "ru_minflt",
    "ru_majflt",
    "ru_nswap",
    "ru_inblock",
    "ru_oublock",
    "ru_msgsnd",
    "ru_msgrcv",
    "ru_nsignals",
    "ru_nvcsw",
    "ru_nivcsw",
];

/// The first line of `/proc/stat`: clock ticks of all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// In the order of [`CPU_FIELDS`].
    pub(crate) ticks: [u64; CPU_FIELDS.len()],
}

/// The names of [`Cpu::ticks`], in SRS's spelling.
pub(crate) const CPU_FIELDS: [&str; 9] = ["user", "nice", "sys", "idle", "iowait", "irq", "softirq", "steal", "guest"];

impl Cpu {
    /// And how many processors are online.
    pub(super) fn of(stat: &str) -> (Self, usize) {
        let mut cpu = Self::default();
        for (slot, ticks) in cpu.ticks.iter_mut().zip(of_name(stat, "cpu")) {
            *slot = ticks;
        }
        let is_one = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        (cpu, stat.lines().filter(is_one).count())
    }

    /// The share that was not idle since `before`. Guests' time is in the users' already.
    pub(super) fn share_since(&self, before: &Self) -> f64 {
        let grown: Vec<u64> = self.ticks.iter().zip(before.ticks).map(|(now, then)| now.saturating_sub(then)).collect();
        let all: u64 = grown.iter().take(8).sum();
        let idle: u64 = grown.iter().skip(3).take(2).sum();
        share(all.saturating_sub(idle), all)
    }
}

/// `/proc/meminfo`, in kilobytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) free: u64,
    pub(crate) active: u64,
    pub(crate) buffers: u64,
    pub(crate) cached: u64,
    pub(crate) swap_total: u64,
    pub(crate) swap_free: u64,
}

impl Memory {
    pub(super) fn of(text: &str) -> Self {
        let kbyte = |name| of_name(text, name).first().copied().unwrap_or(0);
        Self {
            total: kbyte("MemTotal:"),
            free: kbyte("MemFree:"),
            active: kbyte("Active:"),
            buffers: kbyte("Buffers:"),
            cached: kbyte("Cached:"),
            swap_total: kbyte("SwapTotal:"),
            swap_free: kbyte("SwapFree:"),
        }
    }

    /// Kilobytes that nothing else could have at once: SRS's `RealInUse`.
    pub(crate) const fn in_use(&self) -> u64 {
        self.total.saturating_sub(self.not_in_use())
    }

    pub(crate) const fn not_in_use(&self) -> u64 {
        self.free.saturating_add(self.buffers).saturating_add(self.cached)
    }

    pub(crate) fn ram_share(&self) -> f64 {
        share(self.in_use(), self.total)
    }

    pub(crate) fn swap_share(&self) -> f64 {
        share(self.swap_total.saturating_sub(self.swap_free), self.swap_total)
    }
}

/// `/proc/diskstats`, devices summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Sectors of 512 bytes.
    pub(crate) read_sectors: u64,
    pub(crate) written_sectors: u64,
    /// Milliseconds that each was busy, by name.
    pub(super) busy_ms: HashMap<String, u64>,
}

impl Disk {
    /// Of the devices that `counts`.
    pub(super) fn of(text: &str, counts: impl Fn(&str) -> bool) -> Self {
        let mut disk = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            let Some(name) = fields.get(2).filter(|name| counts(name)) else { continue };
            disk.read_sectors = disk.read_sectors.saturating_add(number(5));
            disk.written_sectors = disk.written_sectors.saturating_add(number(9));
            disk.busy_ms.insert((*name).to_owned(), number(12));
        }
        disk
    }
}

/// `/proc/net/dev`: bytes by whether a device has an address of the internet, as SRS tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Devices {
    pub(crate) recv: u64,
    pub(crate) send: u64,
    pub(crate) inner_recv: u64,
    pub(crate) inner_send: u64,
}

impl Devices {
    pub(super) fn of(text: &str, is_public: impl Fn(&str) -> bool) -> Self {
        let mut devices = Self::default();
        for line in text.lines() {
            let Some((name, counters)) = line.split_once(':') else { continue };
            let numbers = numbers(counters);
            let (recv, send) = (numbers.first().copied().unwrap_or(0), numbers.get(8).copied().unwrap_or(0));
            let (recv_sum, send_sum) = match is_public(name.trim()) {
                true => (&mut devices.recv, &mut devices.send),
                false => (&mut devices.inner_recv, &mut devices.inner_send),
            };
            *recv_sum = recv_sum.saturating_add(recv);
            *send_sum = send_sum.saturating_add(send);
        }
        devices
    }
}

/// `/proc/net/sockstat`, `sockstat6` and `snmp`: sockets of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// TCP sockets of every state.
    pub(crate) tcp: u64,
    pub(crate) established: u64,
    pub(crate) time_wait: u64,
    pub(crate) udp: u64,
}

impl Sockets {
    pub(super) fn of(sockstat: &str, sockstat6: &str, snmp: &str) -> Self {
        let named = |text: &str, line: &str, name: &str| {
            let words: Vec<&str> =
                text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_default().split_whitespace().collect();
            let at = words.iter().position(|word| *word == name);
            at.and_then(|at| words.get(at + 1)?.parse::<u64>().ok()).unwrap_or(0)
        };
        let time_wait = named(sockstat, "TCP:", "tw");
        let in_use = named(sockstat, "TCP:", "inuse").saturating_add(named(sockstat6, "TCP6:", "inuse"));
        Self {
            tcp: in_use.saturating_add(time_wait),
            established: of_table(snmp, "Tcp:").get("CurrEstab").copied().unwrap_or(0),
            time_wait,
            udp: named(sockstat, "UDP:", "inuse").saturating_add(named(sockstat6, "UDP6:", "inuse")),
        }
    }
}

/// The `Udp` line of `/proc/net/snmp`: datagrams that this network namespace has lost, all programs
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Udp {
    pub(crate) recv_buffer_errors: u64,
    pub(crate) send_buffer_errors: u64,
    pub(crate) in_errors: u64,
    pub(crate) no_ports: u64,
    pub(crate) memory_errors: u64,
}

impl Udp {
    pub(super) fn of(snmp: &str) -> Self {
        let table = of_table(snmp, "Udp:");
        let of = |name| table.get(name).copied().unwrap_or(0);
        Self {
            recv_buffer_errors: of("RcvbufErrors"),
            send_buffer_errors: of("SndbufErrors"),
            in_errors: of("InErrors"),
            no_ports: of("NoPorts"),
            memory_errors: of("MemErrors"),
        }
    }
}

/// The soft limit on open files in `/proc/self/limits`.
pub(super) fn files_max(limits: &str) -> u64 {
    of_name(limits, "Max open files").first().copied().unwrap_or(0)
}

/// All numbers in a text of one line.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The numbers of the line that starts with `name`, as a whole word.
fn of_name(text: &str, name: &str) -> Vec<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(char::is_whitespace)));
    numbers(rest.unwrap_or_default())
}

/// Two lines that start with `name`: names, then numbers.
fn of_table<'a>(text: &'a str, name: &str) -> HashMap<&'a str, u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let values = values.split_whitespace().map(|value| value.parse().unwrap_or(0));
    names.split_whitespace().zip(values).collect()
}

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "42 (we) ir (x) R 7 42 42 0 -1 4194304 1 2 3 4 500 60 0 0 20 0 9 0 77 1000 55 18446744073709551615 1 2";
        let process = Process::of(stat, "Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  800 kB\n");
        assert_eq!((process.pid, process.comm.as_str(), process.state.as_str()), (42, "we) ir (x", "R"));
        assert_eq!((process.field("ppid"), process.field("tpgid"), process.field("num_threads")), (7, -1, 9));
        assert_eq!((process.field("rsslim"), process.field("cguest_time"), process.ticks()), (i64::MAX, 0, 560));
        assert_eq!((process.resident_kbyte, process.peak_kbyte), (800, 900));
        assert_eq!(Process::of("", ""), Process { state: String::new(), ..Process::default() });
    }

    #[test]
    fn processors_are_busy_when_they_neither_idle_nor_wait() {
        let (before, online) = Cpu::of("cpu  100 0 100 800 0 0 0 0 50\ncpu0 1 2\ncpu1 1 2\nintr 5\n");
        let (after, _) = Cpu::of("cpu  160 0 120 900 20 0 0 0 90\n");
        assert_eq!(online, 2);
        assert_eq!(after.share_since(&before), 0.4);
        assert_eq!(before.share_since(&before), 0.0);
    }

    #[test]
    fn memory_that_can_be_had_at_once_is_not_in_use() {
        let memory =
            Memory::of("MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 250 kB\nActive(anon): 9 kB\nActive: 7 kB\n");
        assert_eq!((memory.in_use(), memory.active, memory.ram_share(), memory.swap_share()), (600, 7, 0.6, 0.0));
    }

    #[test]
    fn only_the_devices_asked_for_are_counted() {
        let text = " 8 0 sda 1 2 100 4 5 6 200 8 0 900 1\n 8 1 sda1 1 2 50 4 5 6 70 8 0 900 1\n bad\n";
        let disk = Disk::of(text, |name| name == "sda");
        assert_eq!((disk.read_sectors, disk.written_sectors, disk.busy_ms["sda"], disk.busy_ms.len()), (100, 200, 900, 1));
        let text = "Inter-|   Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 6 0\n  eth0: 100 0 0 0 0 0 0 0 200 0\n";
        let devices = Devices::of(text, |name| name == "eth0");
        assert_eq!(devices, Devices { recv: 100, send: 200, inner_recv: 5, inner_send: 6 });
    }

    #[test]
    fn sockets_and_lost_datagrams_are_found_by_name() {
        let snmp = "Tcp: RtoMin CurrEstab\nTcp: 200 88\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
            Udp: 9 1 2 9 3 4\n";
        let stat = "sockets: used 9\nTCP: inuse 10 orphan 0 tw 5 alloc 12 mem 1\nUDP: inuse 3 mem 2\n";
        let sockets = Sockets::of(stat, "TCP6: inuse 1\nUDP6: inuse 2\n", snmp);
        assert_eq!(sockets, Sockets { tcp: 16, established: 88, time_wait: 5, udp: 5 });
        let udp = Udp { recv_buffer_errors: 3, send_buffer_errors: 4, in_errors: 2, no_ports: 1, memory_errors: 0 };
        assert_eq!((Udp::of(snmp), Udp::of("")), (udp, Udp::default()));
        assert_eq!(files_max("Max open files            1024                 4096    files\n"), 1_024);
    }
}
