//! The bit rates of one thing over the last 30 seconds.

use std::{collections::VecDeque, time::Instant};

use serde::Serialize;

/// Samples kept: 30 s at one a second, and the one that they start from. SRS's window too.
const SAMPLES: usize = 31;

/// SRS's `kbps` object: kilobits per second over the last 30 s, or since the start if that is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kbps {
    pub(crate) recv_30s: u64,
    pub(crate) send_30s: u64,
}

/// The counters of one thing at the last [`SAMPLES`] samples.
#[derive(Debug, Default)]
pub(super) struct Meter(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    recv: u64,
    send: u64,
}

impl Meter {
    pub(super) fn push(&mut self, at: Instant, recv: u64, send: u64) {
        // A source of the same name that was made anew counts from zero again.
        if self.0.back().is_some_and(|last| recv < last.recv || send < last.send) {
            self.0.clear();
        }
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(Sample { at, recv, send });
    }

    pub(super) fn kbps(&self) -> Kbps {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Kbps::default() };
        let millis = u64::try_from(last.at.saturating_duration_since(first.at).as_millis()).unwrap_or(u64::MAX);
        // Bits per millisecond are kilobits per second.
        let rate = |first: u64, last: u64| last.saturating_sub(first).saturating_mul(8).checked_div(millis).unwrap_or(0);
        Kbps { recv_30s: rate(first.recv, last.recv), send_30s: rate(first.send, last.send) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_over_the_last_thirty_seconds() {
        let mut meter = Meter::default();
        let start = Instant::now();
        for second in 0..100u64 {
            // 1,000 bytes a second in; out only for the last ten seconds.
            meter.push(start + Duration::from_secs(second), second * 1_000, second.saturating_sub(89) * 30_000);
        }
        assert_eq!(meter.0.len(), SAMPLES);
        assert_eq!(meter.kbps(), Kbps { recv_30s: 8, send_30s: 80 });
    }
}
