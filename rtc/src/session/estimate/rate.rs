//! Additive increase, multiplicative decrease (draft-ietf-rmcat-gcc-02 section 5.5).

use std::time::Duration;

use rtc::interceptor::Usage;

use super::{RATE_MAX, RATE_MIN, received::Received};

/// Of what the path delivers while it is overused, so much is sent …
const DECREASE: f64 = 0.85;
/// … and before it is judged again the change needs a round trip and this much.
const SETTLE: Duration = Duration::from_millis(200);
/// Growth a second while nothing is wrong.
const GROWTH: f64 = 1.08;
/// The target may exceed what arrives by this factor and a little: nobody knows what the path would
/// do with more.
const UNTRIED: f64 = 1.5;
const UNTRIED_MORE: f64 = 50_000.0;
/// A target that fell is not probed beyond for so long, or each probe would refill the queue.
const FALL_US: u64 = 1_000_000;

/// The target rate, in bits per second.
#[derive(Debug)]
pub(super) struct Rate {
    target: f64,
    /// Microseconds.
    updated: Option<u64>,
    fell: Option<u64>,
    set: bool,
}

impl Rate {
    pub(super) fn new(target: f64) -> Self {
        Self { target, updated: None, fell: None, set: false }
    }

    pub(super) fn target(&self) -> f64 {
        self.target
    }

    /// The viewer said so itself.
    pub(super) fn set(&mut self, target: f64) {
        self.set = true;
        self.target = target.clamp(RATE_MIN, RATE_MAX);
    }

    pub(super) fn is_set(&self) -> bool {
        self.set
    }

    /// A probe has shown that the path carries `rate`.
    pub(super) fn raise(&mut self, rate: f64) {
        self.target = self.target.max(rate).clamp(RATE_MIN, RATE_MAX);
    }

    pub(super) fn fell_lately(&self, now: u64) -> bool {
        self.fell.is_some_and(|fell| now.saturating_sub(fell) < FALL_US)
    }

    /// One feedback's worth. Whether the target fell.
    pub(super) fn update(&mut self, now: u64, usage: Usage, received: &Received, rtt: Option<Duration>) -> bool {
        let since = self.updated.replace(now).map_or(0, |before| now.saturating_sub(before));
        match usage {
            Usage::Over => {
                let settle = u64::try_from((SETTLE + rtt.unwrap_or_default()).as_micros()).unwrap_or(u64::MAX);
                let settling = self.fell.is_some_and(|fell| now.saturating_sub(fell) < settle);
                let wanted = (received.best() * DECREASE).clamp(RATE_MIN, RATE_MAX);
                if settling || wanted >= self.target {
                    return false;
                }
                self.target = wanted;
                self.fell = Some(now);
                true
            }
            // The queue drains: let it.
            Usage::Under => false,
            Usage::Normal => {
                let ceiling = received.mean() * UNTRIED + UNTRIED_MORE;
                let grown = self.target * GROWTH.powf((since as f64 / 1e6).min(1.0));
                self.target = self.target.max(grown.min(ceiling)).clamp(RATE_MIN, RATE_MAX);
                false
            }
        }
    }
}
