//! What the process takes of the machine.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

/// The processor's time at the last look.
pub(crate) struct Usage {
    at: Instant,
    cpu: Duration,
}

impl Usage {
    /// From now on.
    pub(crate) fn new(now: Instant) -> Self {
        Self { at: now, cpu: cpu_time() }
    }

    /// The share of one core since the last call in percent, and megabytes of memory in use.
    pub(crate) fn look(&mut self, now: Instant) -> (f64, u64) {
        let cpu = cpu_time();
        let span = now.saturating_duration_since(self.at).as_secs_f64().max(0.001);
        let percent = cpu.saturating_sub(self.cpu).as_secs_f64() / span * 100.0;
        (self.at, self.cpu) = (now, cpu);
        (percent, resident_kib() / 1024)
    }
}

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(spent.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or_default(), nanos)
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_show() {
        let start = Instant::now();
        let mut usage = Usage::new(start);
        let mut sum = 0_u64;
        while cpu_time().saturating_sub(usage.cpu) < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let (percent, megabytes) = usage.look(start + Duration::from_millis(100));
        assert!(percent >= 20.0, "{percent}");
        assert!(megabytes >= 1, "{megabytes}");
    }
}
