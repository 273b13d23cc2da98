//! How fast packets arrived, on the viewer's clock.

/// The width of a bucket in microseconds.
const BUCKET_US: i64 = 25_000;
/// Buckets kept: 800 ms.
const BUCKETS: usize = 32;
/// Over so many buckets the rate is taken, 150 ms: a frame's burst and the pause after it.
const WINDOW: usize = 6;
/// The best window among so many buckets is what the path delivered lately.
const LATELY: usize = 16;

/// Bytes by time of arrival.
#[derive(Debug, Default)]
pub(super) struct Received {
    buckets: [u32; BUCKETS],
    /// The number of the newest bucket.
    newest: Option<i64>,
}

impl Received {
    /// `size` bytes arrived at `at` (microseconds of the viewer's clock).
    pub(super) fn add(&mut self, at: i64, size: usize) {
        let bucket = at.div_euclid(BUCKET_US);
        let newest = *self.newest.get_or_insert(bucket);
        let ahead = bucket.saturating_sub(newest);
        if ahead > 0 {
            let fresh = usize::try_from(ahead).unwrap_or(BUCKETS).min(BUCKETS);
            (0..fresh).for_each(|back| *self.slot(bucket - back as i64) = 0);
            self.newest = Some(bucket);
        } else if ahead <= -(BUCKETS as i64) {
            return;
        }
        let slot = self.slot(bucket);
        *slot = slot.saturating_add(u32::try_from(size).unwrap_or(u32::MAX));
    }

    /// The best rate over 150 ms of the last 400, in bits per second: while packets queue it is what
    /// the path carries, and a burst's own pause does not lower it.
    pub(super) fn best(&self) -> f64 {
        self.window_rates().fold(0.0, f64::max)
    }

    /// The rate over the whole time kept, in bits per second.
    pub(super) fn mean(&self) -> f64 {
        let bytes: u64 = self.buckets.iter().map(|bytes| u64::from(*bytes)).sum();
        bytes as f64 * 8e6 / (BUCKETS as i64 * BUCKET_US) as f64
    }

    fn window_rates(&self) -> impl Iterator<Item = f64> {
        let newest = self.newest.unwrap_or(0);
        let bytes = move |back: usize| u64::from(self.bucket(newest - back as i64));
        // The newest is not full yet.
        (1..=LATELY - WINDOW).map(move |start| {
            let sum: u64 = (start..start + WINDOW).map(bytes).sum();
            sum as f64 * 8e6 / (WINDOW as i64 * BUCKET_US) as f64
        })
    }

    fn bucket(&self, number: i64) -> u32 {
        self.buckets.get(number.rem_euclid(BUCKETS as i64) as usize).copied().unwrap_or(0)
    }

    fn slot(&mut self, number: i64) -> &mut u32 {
        // The remainder is below the length.
        #[allow(clippy::indexing_slicing, reason = "a remainder by the length")]
        &mut self.buckets[number.rem_euclid(BUCKETS as i64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate() {
        let mut received = Received::default();
        (0..200).for_each(|n| received.add(n * 10_000 - 700_000, 1_250));
        assert!((received.best() - 1e6).abs() < 1e5, "{}", received.best());
        assert!((received.mean() - 1e6).abs() < 1e5, "{}", received.mean());
    }

    #[test]
    fn a_burst_counts_by_what_the_path_delivered() {
        let mut received = Received::default();
        (0..40).for_each(|n| received.add(n * 5_000, 1_250));
        received.add(400_000, 100);
        assert!((received.best() - 2e6).abs() < 2e5, "{}", received.best());
        assert!(received.mean() < 0.6e6, "{}", received.mean());
    }

    #[test]
    fn wild_times_do_no_harm() {
        let mut received = Received::default();
        for at in [0, i64::MAX, i64::MIN, -1, 7, i64::MAX - 1] {
            received.add(at, usize::MAX);
        }
        assert!(received.best().is_finite());
    }
}
