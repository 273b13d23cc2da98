//! What callbacks count, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{BreakerState, Hook};

/// Upper bounds of the latency buckets in milliseconds; what took longer is in one more.
pub const LATENCY_BOUNDS_MS: [u64; 9] = [5, 10, 25, 50, 100, 250, 1_000, 2_500, 5_000];

/// The running counts of one hook.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) refusals: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) dropped: AtomicU64,
    latency: [AtomicU64; LATENCY_BOUNDS_MS.len() + 1],
    latency_us: AtomicU64,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// One call took this long.
    pub(super) fn took(&self, time: Duration) {
        let ms = time.as_millis();
        let bucket = LATENCY_BOUNDS_MS.iter().position(|bound| ms <= u128::from(*bound)).unwrap_or(LATENCY_BOUNDS_MS.len());
        if let Some(bucket) = self.latency.get(bucket) {
            count(bucket);
        }
        self.latency_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self, hook: Hook) -> HookStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HookStats {
            hook,
            calls: read(&self.calls),
            refusals: read(&self.refusals),
            failures: read(&self.failures),
            timeouts: read(&self.timeouts),
            retries: read(&self.retries),
            dropped: read(&self.dropped),
            latency: std::array::from_fn(|bucket| self.latency.get(bucket).map_or(0, read)),
            latency_total: Duration::from_micros(read(&self.latency_us)),
        }
    }
}

/// What one hook has done since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStats {
    /// Which.
    pub hook: Hook,
    /// Requests sent, repeated ones included.
    pub calls: u64,
    /// Decisions that were a plain no, and notices that the server would not take.
    pub refusals: u64,
    /// Calls without an answer, or with one that cannot be read; those below are among them.
    pub failures: u64,
    /// Calls that took too long.
    pub timeouts: u64,
    /// Notices sent once more.
    pub retries: u64,
    /// Notices that were never received: too many waited, or too long, or the stream had begun anew.
    pub dropped: u64,
    /// Calls by how long they took: one count for each of [`LATENCY_BOUNDS_MS`] that is not in the ones
    /// before, and one for what took longer.
    pub latency: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// Of all calls together.
    pub latency_total: Duration,
}

/// One URL and whether it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookUrlStats {
    /// Without its query.
    pub url: String,
    /// Whether notices are sent there.
    pub breaker: BreakerState,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HooksStats {
    /// By hook, in the order of [`Hook::ALL`].
    pub hooks: Vec<HookStats>,
    /// The URLs called so far and still configured.
    pub urls: Vec<HookUrlStats>,
    /// Notices that wait or are under way.
    pub pending: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_is_in_one_bucket() {
        let counters = Counters::default();
        for ms in [0, 5, 6, 5_000, 5_001, 60_000] {
            counters.took(Duration::from_millis(ms));
        }
        let stats = counters.snapshot(Hook::Play);
        assert_eq!(stats.latency, [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(stats.latency_total, Duration::from_millis(70_012));
    }
}
