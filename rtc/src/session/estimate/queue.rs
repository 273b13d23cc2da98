//! How long packets wait on the path, measured against the least that was seen.

/// The least delay is that of the last one to two of these: the clocks drift apart.
const SPAN_US: u64 = 10_000_000;
/// A path on which even the fastest packet of a while waits for this long has a standing queue.
const STANDING_US: i64 = 100_000;
/// That while.
const WHILE_US: u64 = 150_000;
/// A queue that is still there so long after less was sent is none: the path has become longer.
const PATIENCE_US: u64 = 2_000_000;

/// The delay of a path.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// The least delay of this span and of the one before. Of no meaning in itself: it holds the
    /// difference of two clocks.
    least: [Option<i64>; 2],
    span_since: u64,
    /// The least of the while that runs.
    lately: Option<i64>,
    while_since: u64,
    standing: bool,
    /// When less was first sent because of the queue that stands.
    answered: Option<u64>,
}

impl Queue {
    /// A packet that left at `sent` arrived at `at`, each on its own clock.
    pub(super) fn add(&mut self, at: i64, sent: u64) {
        let delay = at.saturating_sub(i64::try_from(sent).unwrap_or(i64::MAX));
        let [now, _] = &mut self.least;
        *now = Some(now.map_or(delay, |least| least.min(delay)));
        self.lately = Some(self.lately.map_or(delay, |least| least.min(delay)));
    }

    /// Whether there is a standing queue.
    pub(super) fn judge(&mut self, now: u64) -> bool {
        if now.saturating_sub(self.span_since) >= SPAN_US {
            self.span_since = now;
            self.least = [None, self.least[0]];
        }
        if now.saturating_sub(self.while_since) >= WHILE_US {
            self.while_since = now;
            let base = self.least.iter().flatten().min().copied();
            let waited = self.lately.take().zip(base).map(|(lately, base)| lately.saturating_sub(base));
            self.standing = waited.is_some_and(|waited| waited > STANDING_US);
            if !self.standing {
                self.answered = None;
            } else if self.answered.is_some_and(|since| now.saturating_sub(since) >= PATIENCE_US) {
                *self = Self { span_since: now, while_since: now, ..Self::default() };
            }
        }
        self.standing
    }

    /// Less is sent from now on, because of it.
    pub(super) fn sent_less(&mut self, now: u64) {
        self.answered.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet each 10 ms with a delay of its own; how often a queue stood.
    fn stood(queue: &mut Queue, from_ms: u64, to_ms: u64, delay_ms: impl Fn(u64) -> i64) -> usize {
        (from_ms..to_ms)
            .step_by(10)
            .filter(|ms| {
                queue.add((*ms as i64 + delay_ms(*ms)) * 1_000 - 5_000_000_000, ms * 1_000);
                queue.judge(ms * 1_000)
            })
            .count()
    }

    #[test]
    fn jitter_and_a_keyframes_burst_are_no_standing_queue() {
        let mut queue = Queue::default();
        assert_eq!(stood(&mut queue, 0, 20_000, |ms| if ms % 1_000 < 100 { 200 } else { (ms % 7) as i64 * 10 }), 0);
    }

    #[test]
    fn packets_that_all_wait_are_one() {
        let mut queue = Queue::default();
        stood(&mut queue, 0, 2_000, |_| 20);
        assert!(stood(&mut queue, 2_000, 3_000, |_| 150) > 60);
        assert_eq!(stood(&mut queue, 3_200, 4_000, |_| 25), 0, "drained");
    }

    #[test]
    fn a_path_that_became_longer_is_believed_in_time() {
        let mut queue = Queue::default();
        stood(&mut queue, 0, 2_000, |_| 20);
        stood(&mut queue, 2_000, 2_500, |_| 300);
        queue.sent_less(2_500_000);
        stood(&mut queue, 2_500, 5_000, |_| 300);
        assert_eq!(stood(&mut queue, 5_000, 9_000, |_| 300), 0);
    }
}
