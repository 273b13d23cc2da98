//! What flows on each track of a packets lane: how much, and whether at all.
//!
//! The publisher's push measures once per packet; whoever chooses between simulcast layers reads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::TrackId;

/// The rate is measured over windows of this length …
const WINDOW_MS: u64 = 250;
/// … of which each counts for so much of it: a keyframe, ten times a picture's size, must not look
/// like a change of rate.
const SMOOTHING: u64 = 8;
/// A layer that is silent for so much longer than another is not sent any more. All layers of a still
/// picture are rare together; a repaired loss is over sooner.
const SILENT_MS: u64 = 700;

/// One encoding of the picture as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerState {
    /// Its track.
    pub track: TrackId,
    /// Payload bits per second, smoothed over two seconds.
    pub bits_per_second: u64,
    /// For how long it has been flowing without a break; `None` while it does not.
    pub flowing: Option<Duration>,
}

/// The measurements of one track. Written by one thread at a time (under the lane's lock), read by
/// any. Times are milliseconds after the source was made, plus one: zero is never.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    bits_per_second: AtomicU64,
    since: AtomicU64,
    last: AtomicU64,
    window: AtomicU64,
    bytes: AtomicU64,
    /// Windows that are over since the flow began.
    windows: AtomicU64,
}

impl Meter {
    pub(crate) fn add(&self, now_ms: u64, bytes: usize) {
        let now = now_ms.saturating_add(1);
        let (get, set) =
            (|cell: &AtomicU64| cell.load(Ordering::Relaxed), |cell: &AtomicU64, v| cell.store(v, Ordering::Relaxed));
        let last = get(&self.last);
        if last == 0 || now.saturating_sub(last) > SILENT_MS {
            set(&self.since, now);
            set(&self.window, now);
            [&self.bytes, &self.windows, &self.bits_per_second].into_iter().for_each(|cell| set(cell, 0));
        }
        set(&self.last, now);
        let over = now.saturating_sub(get(&self.window));
        if over >= WINDOW_MS {
            let measured = get(&self.bytes).saturating_mul(8_000) / over;
            // A mean of all there is, until there is enough of it.
            let weight = get(&self.windows).saturating_add(1).min(SMOOTHING);
            let rate = (get(&self.bits_per_second).saturating_mul(weight - 1)).saturating_add(measured) / weight;
            set(&self.bits_per_second, rate);
            set(&self.windows, weight);
            set(&self.window, now);
            set(&self.bytes, 0);
        }
        set(&self.bytes, get(&self.bytes).saturating_add(bytes as u64));
    }

    /// The publisher has gone.
    pub(crate) fn reset(&self) {
        self.last.store(0, Ordering::Relaxed);
        self.bits_per_second.store(0, Ordering::Relaxed);
    }

    /// When something came last; zero for never.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// As it is while the newest packet of all layers came at `newest`.
    pub(crate) fn state(&self, track: TrackId, newest: u64) -> LayerState {
        let (last, since) = (self.last(), self.since.load(Ordering::Relaxed));
        let flows = last > 0 && newest.saturating_sub(last) <= SILENT_MS;
        LayerState {
            track,
            bits_per_second: if flows { self.bits_per_second.load(Ordering::Relaxed) } else { 0 },
            flowing: flows.then(|| Duration::from_millis(newest.saturating_sub(since))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(meter: &Meter, ms: std::ops::Range<u64>, bytes: usize) {
        ms.step_by(10).for_each(|now| meter.add(now, bytes));
    }

    #[test]
    fn the_rate_is_known_within_a_second_and_follows_within_some() {
        let meter = Meter::default();
        feed(&meter, 0..1_000, 1_250);
        let state = |meter: &Meter| meter.state(TrackId::VIDEO, meter.last());
        let rate = state(&meter).bits_per_second;
        assert!((950_000..=1_050_000).contains(&rate), "{rate}");
        assert_eq!(state(&meter).flowing, Some(Duration::from_millis(990)));
        feed(&meter, 1_000..5_000, 250);
        let rate = state(&meter).bits_per_second;
        assert!((200_000..=350_000).contains(&rate), "{rate}");
    }

    #[test]
    fn a_layer_is_dead_only_while_others_flow() {
        let (high, low) = (Meter::default(), Meter::default());
        feed(&high, 0..1_000, 1_000);
        feed(&low, 0..1_600, 100);
        let flows = |meter: &Meter| meter.state(TrackId::VIDEO, low.last()).flowing;
        assert_eq!(flows(&high), Some(Duration::from_millis(1_590)));
        feed(&low, 1_600..2_000, 100);
        assert_eq!(flows(&high), None);
        assert_eq!(high.state(TrackId::VIDEO, high.last()).flowing, Some(Duration::from_millis(990)), "all are still");
        feed(&high, 2_000..2_300, 1_000);
        feed(&low, 2_000..2_300, 100);
        assert_eq!(flows(&high), Some(Duration::from_millis(290)), "it began anew");
    }
}
