//! How busy a worker is, and how long it therefore lets packets wait for company.
//!
//! A message with four segments costs the kernel hardly more than one with one. While there is time
//! to spare every packet leaves at once; as turns fill, a viewer's packets are gathered over a
//! frame, then over up to a configured time.

use std::time::{Duration, Instant};

use crate::live::CoalesceMax;

/// The share of time is taken over this long, and halves the weight of what was before.
const SPAN: Duration = Duration::from_millis(100);
/// Below this share of a core nothing waits …
const IDLE: f64 = 0.02;
/// … and from this on packets wait as long as they may, a whole frame for the sound that rides with
/// it too. Not later, since what is spared here is what a burst of joins needs; by then some
/// hundred viewers share the wait.
const BUSY: f64 = 0.06;

/// A busy worker looks at its sockets no more often than this. To sleep and to wake costs as much
/// processor time as ten packets, a turn finds its caches cold every time, and what came meanwhile is
/// one batch. A viewer's packets wait five times as long for each other.
const PAUSE: Duration = Duration::from_millis(4);
/// What may lie in the socket after a pause: 64 datagrams of a full packet take 150 KB of the kernel's
/// memory, and an untuned socket has 416 KB.
const PAUSE_MESSAGES: f64 = 64.0;
/// However much comes, so many at a time are worth a look.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// How long packets may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gather {
    /// Counted from the first of them.
    pub(super) window: Duration,
    /// A whole frame waits for sound, too.
    pub(super) for_sound: bool,
}

/// The share of a core that a worker takes.
#[derive(Debug)]
pub(super) struct Load {
    window_max: CoalesceMax,
    since: Instant,
    busy: Duration,
    messages: u64,
    share: f64,
    /// Messages received in a second.
    rate: f64,
}

impl Load {
    pub(super) fn new(window_max: CoalesceMax, now: Instant) -> Self {
        Self { window_max, since: now, busy: Duration::ZERO, messages: 0, share: 0.0, rate: 0.0 }
    }

    /// A turn was made that took in so many messages.
    pub(super) fn note(&mut self, began: Instant, ended: Instant, messages: u64) {
        self.busy += ended.saturating_duration_since(began);
        self.messages += messages;
        let span = ended.saturating_duration_since(self.since);
        if span < SPAN {
            return;
        }
        let fresh = (self.busy.as_secs_f64() / span.as_secs_f64()).min(1.0);
        // After a long sleep what was before says nothing.
        let kept = 0.5_f64.powf(span.as_secs_f64() / SPAN.as_secs_f64());
        self.share = self.share * kept + fresh * (1.0 - kept);
        // At once: the socket's room does not wait for an average.
        self.rate = self.messages as f64 / span.as_secs_f64();
        (self.since, self.busy, self.messages) = (ended, Duration::ZERO, 0);
    }

    /// From 0 to 1.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    pub(super) fn gather(&self) -> Gather {
        Gather { window: self.window_max.get().mul_f64(self.wait()), for_sound: self.share >= BUSY }
    }

    /// How long the worker leaves alone what comes in before it takes it all.
    pub(super) fn pause(&self) -> Duration {
        let room = Duration::from_secs_f64(PAUSE_MESSAGES / self.rate.max(1.0)).max(PAUSE_MIN);
        PAUSE.min(room).min(self.window_max.get()).mul_f64(self.wait())
    }

    /// The share of their time that things wait.
    fn wait(&self) -> f64 {
        ((self.share - IDLE) / (BUSY - IDLE)).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(20);

    /// One second in turns of 10 ms, a share of each busy.
    fn after(share: f64) -> Load {
        after_taking(share, 0)
    }

    /// The same with so many messages a turn.
    fn after_taking(share: f64, messages: u64) -> Load {
        let start = Instant::now();
        let mut load = Load::new(CoalesceMax::new(MAX), start);
        for turn in 0..100 {
            let began = start + Duration::from_millis(turn * 10);
            load.note(began, began + Duration::from_millis(10).mul_f64(share), messages);
        }
        load
    }

    #[test]
    fn at_low_load_nothing_waits() {
        assert_eq!(after(0.01).gather(), Gather { window: Duration::ZERO, for_sound: false });
        assert_eq!(after(0.01).pause(), Duration::ZERO);
    }

    #[test]
    fn the_wait_grows_with_the_load_up_to_what_is_allowed() {
        let some = after(0.04).gather();
        assert!(!some.for_sound && some.window > MAX / 4 && some.window < MAX * 3 / 4, "{some:?}");
        assert_eq!(after(0.2).gather(), Gather { window: MAX, for_sound: true });
        assert_eq!(after(0.2).pause(), PAUSE);
    }

    #[test]
    fn a_pause_leaves_no_more_in_the_socket_than_it_has_room_for() {
        assert_eq!(after_taking(0.2, 100).pause(), PAUSE, "ten in a millisecond");
        let pause = after_taking(0.2, 320).pause();
        assert!((1_900..2_100).contains(&pause.as_micros()), "{pause:?}");
        assert_eq!(after_taking(0.9, 100_000).pause(), PAUSE_MIN);
        assert_eq!(after_taking(0.01, 100).pause(), Duration::ZERO);
    }

    #[test]
    fn it_follows_within_half_a_second() {
        let mut load = after(0.9);
        let idle_from = load.since + SPAN;
        for turn in 0..60 {
            let at = idle_from + Duration::from_millis(turn * 10);
            load.note(at, at, 0);
        }
        assert!(load.share() < 0.05);
    }
}
