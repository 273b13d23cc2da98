//! Wishes for a keyframe, let through one at a time.

use std::time::{Duration, Instant};

/// Between two requests. A keyframe is several times a picture's size and takes an encoder about
/// this long to get through a full uplink; asking faster only makes it later.
const APART: Duration = Duration::from_millis(500);

/// Coalesces wishes: the first passes at once, those within the time after it become one at its end.
#[derive(Debug, Default)]
pub(crate) struct KeyframeGate {
    wished: Option<Instant>,
    last: Option<Instant>,
}

impl KeyframeGate {
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
        true
    }

    /// When to ask, if a keyframe is wanted.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.wished.map(|wished| self.last.map_or(wished, |last| wished.max(last + APART)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_wishes_is_two_requests_a_second() {
        let t = Instant::now();
        let mut gate = KeyframeGate::default();
        let mut asked = Vec::new();
        for ms in 0..2_000 {
            let now = t + Duration::from_millis(ms);
            gate.wish(now);
            if gate.poll(now) {
                asked.push(ms);
            }
        }
        assert_eq!(asked, [0, 500, 1_000, 1_500]);
    }

    #[test]
    fn a_wish_in_between_waits_for_its_turn_and_a_keyframe_fulfils_it() {
        let t = Instant::now();
        let mut gate = KeyframeGate::default();
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
