//! How late the runtime's tasks are: a task sleeps and looks by how much it overslept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(100);
/// The upper ends of the histogram's buckets, in microseconds. tokio's clock has steps of a millisecond.
pub(crate) const BUCKETS_US: [u64; 9] = [2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram since the start.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    buckets: [AtomicU64; BUCKETS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Lag {
    fn note(&self, late: Duration) {
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = BUCKETS_US.iter().position(|end| us <= *end).and_then(|index| self.buckets.get(index)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// For each bucket how many were at most so late, then how many there were, and seconds together.
    pub(crate) fn histogram(&self) -> (Vec<u64>, u64, f64) {
        let mut sum = 0;
        let buckets = self.buckets.iter().map(|bucket| {
            sum += bucket.load(Ordering::Relaxed);
            sum
        });
        let buckets: Vec<u64> = buckets.collect();
        let count = self.count.load(Ordering::Relaxed).max(sum);
        (buckets, count, self.sum_us.load(Ordering::Relaxed) as f64 / 1e6)
    }
}

/// Looks until `stop`.
pub(super) async fn watch(lag: Arc<Lag>, stop: CancellationToken) {
    loop {
        let due = Instant::now() + EVERY;
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
        lag.note(Instant::now().saturating_duration_since(due));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_all_that_are_less_late() {
        let lag = Lag::default();
        [1, 1, 7, 40, 2_000].into_iter().for_each(|ms| lag.note(Duration::from_millis(ms)));
        let (buckets, count, sum) = lag.histogram();
        assert_eq!(buckets, [2, 2, 3, 3, 4, 4, 4, 4, 4]);
        assert_eq!((count, sum), (5, 2.049));
    }
}
