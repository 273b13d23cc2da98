//! A URL that does not answer is left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a URL is left alone: one more than a server has that restarts while
/// a handful of streams end.
const FAILURES_MAX: u32 = 5;
/// How long at first, and at most: by then a server that was restarted is back.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long the one that tries whether it is back may take to say so: longer than any call.
const LEASE: Duration = Duration::from_secs(30);

/// Whether a URL is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BreakerState {
    /// It is.
    #[default]
    Closed,
    /// It is left alone, having failed several times in a row.
    Open,
    /// One call finds out whether it is back.
    Trying,
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: BreakerState,
    failures: u32,
    pause: Duration,
    until: Option<Instant>,
}

impl Breaker {
    pub(super) const fn state(&self) -> BreakerState {
        self.state
    }

    /// Whether to call now; else when to ask again.
    pub(super) fn admits(&mut self, now: Instant) -> Result<(), Instant> {
        match self.until {
            Some(until) if self.state != BreakerState::Closed && now < until => Err(until),
            _ if self.state == BreakerState::Closed => Ok(()),
            _ => {
                self.state = BreakerState::Trying;
                self.until = Some(now + LEASE);
                Ok(())
            }
        }
    }

    /// Until when nobody is to call; nothing if somebody may.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| self.state != BreakerState::Closed && now < *until)
    }

    /// What became of a call. `true`: those that wait should look again.
    pub(super) fn record(&mut self, now: Instant, answered: bool) -> bool {
        let before = self.state;
        if answered {
            *self = Self::default();
            return before != BreakerState::Closed;
        }
        self.failures = self.failures.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.failures < FAILURES_MAX => {}
            // Those that were under way when it was opened say nothing new.
            BreakerState::Open => {}
            BreakerState::Closed => self.open(now, PAUSE_MIN),
            BreakerState::Trying => self.open(now, (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX)),
        }
        before == BreakerState::Trying
    }

    /// A call ended without telling. `true`: those that wait should look again.
    pub(super) fn abandon(&mut self, now: Instant) -> bool {
        let was_trying = self.state == BreakerState::Trying;
        if was_trying {
            self.state = BreakerState::Open;
            self.until = Some(now);
        }
        was_trying
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        self.state = BreakerState::Open;
        self.pause = pause;
        self.until = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_find_out() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            breaker.record(now, false);
        }
        breaker.record(now, true);
        for _ in 0..4 {
            assert_eq!(breaker.admits(now), Ok(()));
            breaker.record(now, false);
        }
        assert_eq!(breaker.state(), BreakerState::Closed, "an answer between them counts");
        breaker.record(now, false);
        assert_eq!(breaker.admits(now), Err(now + PAUSE_MIN));

        let then = now + PAUSE_MIN;
        assert_eq!((breaker.admits(then), breaker.admits(then)), (Ok(()), Err(then + LEASE)));
        breaker.record(then, false);
        assert_eq!(breaker.admits(then), Err(then + 2 * PAUSE_MIN), "twice as long");
        assert_eq!(breaker.admits(then + 2 * PAUSE_MIN), Ok(()));
        assert!(breaker.record(then, true), "those that wait are told");
        assert_eq!(breaker.admits(then), Ok(()));
    }
}
