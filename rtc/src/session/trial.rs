//! Trying a better layer on a viewer whose line cannot be probed.
//!
//! A viewer's own estimate (REMB) grows no further than half again above what it is sent, so that it
//! never says by itself that a layer four times as large would fit. Now and then it is taken as if it
//! did; if the estimate falls, that was wrong, and the next try waits longer.

use std::time::{Duration, Instant};

/// How long nothing must have changed before the first try, …
const WAIT_MIN: Duration = Duration::from_secs(10);
/// … and at most, after tries that failed.
const WAIT_MAX: Duration = Duration::from_secs(160);
/// An estimate that grows by eight per cent a second (draft-ietf-rmcat-gcc-02 5.5) is four times as large
/// after this.
const LENGTH: Duration = Duration::from_secs(20);
/// A fall below so much of what was known at its start, in hundredths, ends a try.
const FALL: u64 = 90;

/// The tries of one viewer.
#[derive(Debug)]
pub(super) struct Trial {
    wait: Duration,
    calm_since: Option<Instant>,
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    until: Instant,
    /// What was known when it began.
    known: u64,
    /// What is taken as known meanwhile.
    level: u64,
}

impl Default for Trial {
    fn default() -> Self {
        Self { wait: WAIT_MIN, calm_since: None, running: None }
    }
}

impl Trial {
    /// The budget to act on where `known` is what the viewer says, and `next` what the next better layer
    /// needs, if there is one. Bits per second all.
    pub(super) fn lift(&mut self, now: Instant, known: u64, next: Option<u64>) -> u64 {
        if let Some(run) = self.running {
            let fell = known < run.known.saturating_mul(FALL) / 100;
            if !fell && known < run.level && now < run.until {
                return run.level;
            }
            self.wait = if known < run.level { (self.wait * 2).min(WAIT_MAX) } else { WAIT_MIN };
            (self.running, self.calm_since) = (None, None);
        }
        let Some(level) = next.filter(|next| *next > known) else {
            self.calm_since = None;
            return known;
        };
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.wait {
            return known;
        }
        self.running = Some(Running { until: now + LENGTH, known, level });
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Option<u64> = Some(600_000);

    /// Seconds at which it was lifted, while `known` says what the viewer estimates.
    fn lifted(trial: &mut Trial, start: Instant, seconds: std::ops::Range<u64>, known: impl Fn(u64, bool) -> u64) -> Vec<u64> {
        let (mut lifted, mut before) = (Vec::new(), false);
        for second in seconds {
            let known = known(second, before);
            before = trial.lift(start + Duration::from_secs(second), known, NEXT) > known;
            if before {
                lifted.push(second);
            }
        }
        lifted
    }

    #[test]
    fn a_line_that_does_not_carry_more_is_tried_ever_more_rarely() {
        let (mut trial, start) = (Trial::default(), Instant::now());
        let tries = lifted(&mut trial, start, 0..300, |_, tried| if tried { 100_000 } else { 200_000 });
        assert_eq!(tries, [10, 31, 72, 153], "each wait is twice as long");
    }

    #[test]
    fn a_line_that_carries_more_keeps_it() {
        let (mut trial, start) = (Trial::default(), Instant::now());
        let tries = lifted(&mut trial, start, 0..60, |second, _| 200_000 + second.saturating_sub(10) * 40_000);
        assert_eq!(tries, (10..20).collect::<Vec<_>>(), "until the viewer says so itself");
        assert_eq!(trial.lift(start, 700_000, None), 700_000, "there is none better");
    }

    #[test]
    fn a_try_without_an_answer_ends() {
        let (mut trial, start) = (Trial::default(), Instant::now());
        assert_eq!(lifted(&mut trial, start, 0..45, |_, _| 200_000).len(), 20);
    }
}
