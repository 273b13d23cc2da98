//! What happened in one session, and when: the answer to "why does it stay black?".
//!
//! A timeline is written when a session's state changes, by the HTTP side and by the owning worker (which
//! compares once a second), and read by the API. It holds no secret: neither passwords nor the
//! session's name.

mod cause;
mod end;
mod event;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub(crate) use self::cause::{Situation, StreamState, cause};
pub use self::{
    cause::Stage,
    end::EndReason,
    event::{Event, Named},
};

/// Kept from the beginning: all that comes before media flows, a dozen events, with a few restarts.
const FIRST_MAX: usize = 32;
/// Kept from the end: the last minutes of a bad line, which has an event every ten seconds for loss and for
/// keyframes asked each. Together 4 KiB for a session.
const LAST_MAX: usize = 32;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// After the client's request came.
    pub at: Duration,
    /// What.
    pub event: Event,
}

/// The first and the last things that happened in a session.
#[derive(Debug)]
pub(crate) struct Timeline {
    began: Instant,
    first: Vec<Moment>,
    last: VecDeque<Moment>,
    skipped: u64,
}

impl Timeline {
    /// Times count from `began`.
    pub(crate) const fn new(began: Instant) -> Self {
        Self { began, first: Vec::new(), last: VecDeque::new(), skipped: 0 }
    }

    pub(crate) fn note(&mut self, at: Instant, event: Event) {
        let moment = Moment { at: at.saturating_duration_since(self.began), event };
        if self.first.len() < FIRST_MAX {
            return self.first.push(moment);
        }
        if self.last.len() >= LAST_MAX {
            self.last.pop_front();
            self.skipped = self.skipped.saturating_add(1);
        }
        self.last.push_back(moment);
    }

    /// All that is kept, in the order of time, and how many in the middle are not.
    pub(crate) fn read(&self) -> (Vec<Moment>, u64) {
        let mut moments: Vec<Moment> = self.first.iter().chain(&self.last).cloned().collect();
        // What a worker has seen it writes down up to a second later.
        moments.sort_by_key(|moment| moment.at);
        (moments, self.skipped)
    }

    /// The latest event that `wanted` finds something in.
    pub(crate) fn find<T>(&self, wanted: impl Fn(&Event) -> Option<T>) -> Option<T> {
        self.last.iter().rev().chain(self.first.iter().rev()).find_map(|moment| wanted(&moment.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_story_keeps_its_beginning_and_its_end_and_counts_the_rest() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began);
        for second in 0..1_000 {
            timeline.note(began + Duration::from_secs(second), Event::Loss { lost: second, of: 100 });
        }
        let (moments, skipped) = timeline.read();
        assert_eq!((moments.len(), skipped), (FIRST_MAX + LAST_MAX, 1_000 - 64));
        assert_eq!((moments[0].at.as_secs(), moments[31].at.as_secs()), (0, 31));
        assert_eq!((moments[32].at.as_secs(), moments[63].at.as_secs()), (968, 999));
        assert_eq!(timeline.find(|event| if let Event::Loss { lost, .. } = event { Some(*lost) } else { None }), Some(999));
    }

    #[test]
    fn what_is_written_late_is_read_in_the_order_of_time() {
        let began = Instant::now();
        let mut timeline = Timeline::new(began);
        timeline.note(began + Duration::from_millis(900), Event::Trickle { candidates: 2 });
        timeline.note(began + Duration::from_millis(100), Event::Handshake);
        let names: Vec<_> = timeline.read().0.iter().map(|moment| moment.event.name()).collect();
        assert_eq!(names, ["handshake", "trickle"]);
    }

    #[test]
    fn a_moment_is_small() {
        assert!(size_of::<Moment>() <= 64, "{}", size_of::<Moment>());
    }
}
