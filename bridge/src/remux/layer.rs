//! Which simulcast layer of a WebRTC publisher becomes frames: the best that is being sent.
//!
//! Browsers stop their upper layers when their uplink is short, and send them again when it is not.
//! Changes wait for a keyframe of the other layer; it sees keyframes and rates, never payloads.

use std::time::{Duration, Instant};

use weir_source::{LayerState, Packet, TrackId, TrackSet};

/// How often the choice is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// A better layer must have flowed for so long: one that comes and goes would cut the picture twice.
const SETTLED: Duration = Duration::from_secs(1);
/// How long to wait for a keyframe that is cached, or being made, before a lesser layer will do.
const PATIENCE: Duration = Duration::from_secs(1);

/// The choice for one job.
#[derive(Debug)]
pub(super) struct LayerChoice {
    current: Option<TrackId>,
    wanted: TrackId,
    looked: Option<Instant>,
    since: Instant,
    /// The layers whose keyframes are in the cache that is being read.
    cached: TrackSet,
}

/// What a packet of the picture is to the one that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It goes on.
    Next,
    /// Another layer begins with it.
    Cut,
    /// It is of another layer.
    Other,
}

impl LayerChoice {
    pub(super) fn new(cached: TrackSet, now: Instant) -> Self {
        Self { current: None, wanted: TrackId::VIDEO, looked: None, since: now, cached }
    }

    /// Looks at what flows, the best first, if it is time. Whether another layer is wanted now.
    pub(super) fn look(&mut self, now: Instant, states: impl FnOnce() -> Vec<LayerState>) -> bool {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < EVERY) {
            return false;
        }
        self.looked = Some(now);
        let states = states();
        let mut flowing = states.iter().filter_map(|state| Some((state.track, state.flowing?)));
        let Some(best) = flowing.clone().next() else { return false };
        let stays = self.current.filter(|current| flowing.any(|(track, _)| track == *current));
        let settled = states.iter().find(|state| stays == Some(state.track) || state.flowing >= Some(SETTLED));
        let wanted = stays.and(settled).map_or(best.0, |state| state.track);
        std::mem::replace(&mut self.wanted, wanted) != wanted
    }

    pub(super) fn wanted(&self) -> TrackId {
        self.wanted
    }

    /// A keyframe of another layer than the one that is being made is waited for.
    pub(super) fn changes(&self) -> bool {
        self.current.is_some_and(|current| current != self.wanted)
    }

    /// What to do with a packet of the picture.
    pub(super) fn part(&mut self, packet: &Packet, now: Instant) -> Part {
        if self.current == Some(packet.track) {
            return Part::Next;
        }
        let impatient = now.saturating_duration_since(self.since) >= PATIENCE;
        let begins = self.current.is_none() && (impatient || !self.cached.contains(self.wanted));
        if !packet.keyframe || packet.track != self.wanted && !begins {
            return Part::Other;
        }
        let first = self.current.replace(packet.track).is_none();
        if first { Part::Next } else { Part::Cut }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_source::{MediaTime, PacketExtensions};

    use super::*;

    fn track(index: u8) -> TrackId {
        TrackId::new(index).unwrap()
    }

    fn packet(index: u8, keyframe: bool) -> Packet {
        Packet {
            track: track(index),
            epoch: 1,
            seq: 0,
            timestamp: 0,
            capture: MediaTime::ZERO,
            marker: true,
            keyframe,
            extensions: PacketExtensions::default(),
            payload: Bytes::new(),
        }
    }

    /// For how many seconds each layer has been flowing.
    fn states(seconds: [Option<u64>; 3]) -> Vec<LayerState> {
        let state = |(index, seconds): (u8, Option<u64>)| LayerState {
            track: track(index),
            bits_per_second: 0,
            flowing: seconds.map(Duration::from_secs),
        };
        (1..).zip(seconds).map(state).collect()
    }

    #[test]
    fn the_best_that_flows_is_made_and_changes_wait_for_a_keyframe() {
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut choice = LayerChoice::new(TrackSet::default(), t0);
        choice.look(at(0), || states([None, Some(5), Some(5)]));
        assert_eq!(choice.part(&packet(3, false), at(0)), Part::Other);
        assert_eq!(choice.part(&packet(2, true), at(1)), Part::Next);
        assert!(!choice.look(at(100), || unreachable!("not yet")));
        assert!(!choice.look(at(200), || states([Some(0), Some(5), Some(5)])), "it has only begun");
        assert!(choice.look(at(400), || states([Some(1), Some(5), Some(5)])));
        assert!(choice.changes());
        assert_eq!(choice.part(&packet(1, false), at(410)), Part::Other);
        assert_eq!(choice.part(&packet(2, false), at(410)), Part::Next, "the old one goes on");
        assert_eq!(choice.part(&packet(1, true), at(420)), Part::Cut);
        assert!(choice.look(at(800), || states([None, None, Some(6)])));
        assert_eq!(choice.part(&packet(3, true), at(820)), Part::Cut);
        assert!(!choice.look(at(1_200), || states([None; 3])), "none is no better");
    }

    #[test]
    fn a_cached_keyframe_of_the_best_is_waited_for_but_not_for_long() {
        let t0 = Instant::now();
        let mut cached = TrackSet::of(track(3));
        cached.insert(track(1));
        let begin = || {
            let mut choice = LayerChoice::new(cached, t0);
            choice.look(t0, || states([Some(5), Some(5), Some(5)]));
            choice
        };
        let mut choice = begin();
        assert_eq!(choice.part(&packet(3, true), t0), Part::Other);
        assert_eq!(choice.part(&packet(1, true), t0), Part::Next);
        assert_eq!(begin().part(&packet(3, true), t0 + PATIENCE), Part::Next);
    }
}
