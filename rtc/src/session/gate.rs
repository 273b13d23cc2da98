//! Wishes for a keyframe, let through one at a time.

use std::time::{Duration, Instant};

/// Between two requests. A keyframe is several times a picture's size and takes an encoder about
/// this long to get through a full uplink; asking faster only makes it later.
const APART: Duration = Duration::from_millis(500);
/// Between two requests to a publisher in the long run, for each of its layers: keyframes are then a fifth
/// of a stream at the most, whatever its viewers ask for.
const PACE: Duration = Duration::from_secs(1);
/// How far requests may be ahead of that pace, as after losses of keyframes themselves: five in two
/// seconds.
const AHEAD_MAX: Duration = Duration::from_secs(2);

/// Coalesces wishes: the first passes at once, those within the time after it become one at its end.
#[derive(Debug)]
pub(crate) struct KeyframeGate {
    wished: Option<Instant>,
    last: Option<Instant>,
    /// Zero: at no pace.
    pace: Duration,
    /// When the next would be asked for at this pace.
    paced: Option<Instant>,
}

impl KeyframeGate {
    /// For what one viewer wishes, of whichever layer.
    pub(crate) const fn of_viewer() -> Self {
        Self { wished: None, last: None, pace: Duration::ZERO, paced: None }
    }

    /// For what a publisher is asked, of one layer.
    pub(crate) const fn of_publisher() -> Self {
        Self { pace: PACE, ..Self::of_viewer() }
    }

    /// A keyframe is wanted.
    pub(crate) fn wish(&mut self, now: Instant) {
        self.wished.get_or_insert(now);
    }

    /// A keyframe came: what was wished for until now is fulfilled.
    pub(crate) fn fulfil(&mut self) {
        self.wished = None;
    }

    /// Whether to ask now. If so it has been asked.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        if self.next_due().is_none_or(|due| now < due) {
            return false;
        }
        self.wished = None;
        self.last = Some(now);
        self.paced = Some(self.paced.map_or(now, |paced| paced.max(now)) + self.pace);
        true
    }

    /// When to ask, if a keyframe is wanted.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let apart = self.last.map(|last| last + APART);
        let paced = self.paced.and_then(|paced| paced.checked_sub(AHEAD_MAX));
        self.wished.map(|wished| [apart, paced].into_iter().flatten().fold(wished, Instant::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a wish each millisecond passes, in six seconds.
    fn storm(mut gate: KeyframeGate) -> Vec<u64> {
        let t = Instant::now();
        let passes = |ms: &u64| {
            let now = t + Duration::from_millis(*ms);
            gate.wish(now);
            gate.poll(now)
        };
        (0..6_000).filter(passes).collect()
    }

    #[test]
    fn a29_a_publisher_is_asked_once_a_second_in_the_long_run_whatever_is_wished_for() {
        assert_eq!(storm(KeyframeGate::of_publisher()), [0, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 5_000]);
    }

    #[test]
    fn a29_a_viewers_storm_of_wishes_is_two_a_second() {
        assert_eq!(storm(KeyframeGate::of_viewer()), Vec::from_iter((0..6_000).step_by(500)));
    }

    #[test]
    fn a_wish_in_between_waits_for_its_turn_and_a_keyframe_fulfils_it() {
        let t = Instant::now();
        let mut gate = KeyframeGate::of_publisher();
        gate.wish(t);
        assert!(gate.poll(t));
        gate.wish(t);
        let due = t + APART;
        assert_eq!(gate.next_due(), Some(due));
        gate.fulfil();
        assert!(!gate.poll(due));
        gate.wish(due);
        assert!(gate.poll(due));
    }
}
