//! In which order a batch leaves for a viewer, and how long each packet is made, so that the kernel
//! gets few messages of many segments. Made once per batch, for all viewers.
//!
//! A message's segments are of one size and only the last may be shorter (UDP_SEGMENT). So pictures
//! go first, track by track, those that differ by a little are padded to the longest of them, and
//! sound rides last. Within a track the order stays.

use weir_source::{Packet, TrackId};

use crate::session::Fill;

/// A run's packets differ by no more than an eighth of the longest, so that padding costs a viewer
/// a few per cent of its bitrate at the worst …
const SLACK_DIVISOR: usize = 8;
/// … or by this much, for short ones: sound varies by some bytes from packet to packet …
const SLACK_MIN: usize = 16;
/// … and never by more than padding can do with some header on top.
const SLACK_MAX: usize = 224;
/// A message's segments: what every kernel takes.
const RUN_MAX: usize = 64;

/// One packet of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) size: Size,
}

/// How long it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Starts a run whose longest has so many bytes of payload.
    First(usize),
    /// As long as the first of its run.
    Same,
    /// As it is.
    Own,
}

/// The order of a batch. Kept from batch to batch for its memory.
#[derive(Debug, Default)]
pub(super) struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Plans a batch anew.
    pub(super) fn make(&mut self, packets: &[Packet]) {
        self.steps.clear();
        let mut left = packets.len();
        let sound_last = (0..TrackId::MAX).map(|index| (index + 1) % TrackId::MAX);
        for track in sound_last.filter_map(|index| TrackId::new(u8::try_from(index).ok()?)) {
            if left == 0 {
                break;
            }
            left -= self.track(packets, track);
        }
    }

    /// Plans one track's packets. How many there are.
    fn track(&mut self, packets: &[Packet], track: TrackId) -> usize {
        let start = self.steps.len();
        let mut run: Option<Run> = None;
        for (index, packet) in packets.iter().enumerate().filter(|(_, packet)| packet.track == track) {
            let len = packet.payload.len();
            let at = self.steps.len();
            let size = match run.as_ref().map(|run| (run.and(len), run.longest)) {
                Some((Some(longer), _)) => {
                    run = Some(longer);
                    Size::Same
                }
                // A shorter one still rides, as the last.
                Some((None, longest)) if len < longest => {
                    self.close(run.take());
                    Size::Own
                }
                _ => {
                    self.close(run.replace(Run { first: at, count: 1, shortest: len, longest: len }));
                    Size::First(len)
                }
            };
            self.steps.push(Step { index, size });
        }
        self.close(run);
        self.steps.len() - start
    }

    /// The run is over: its first packet learns how long it is made.
    fn close(&mut self, run: Option<Run>) {
        if let Some(run) = run
            && let Some(first) = self.steps.get_mut(run.first)
        {
            first.size = Size::First(run.longest);
        }
    }
}

/// Packets that will be equally long.
struct Run {
    first: usize,
    count: usize,
    shortest: usize,
    longest: usize,
}

impl Run {
    /// The run with one more of `len` bytes, if it differs by little.
    fn and(&self, len: usize) -> Option<Self> {
        let (shortest, longest) = (self.shortest.min(len), self.longest.max(len));
        let slack = (longest / SLACK_DIVISOR).clamp(SLACK_MIN, SLACK_MAX);
        let fits = longest - shortest <= slack && self.count < RUN_MAX;
        fits.then_some(Self { first: self.first, count: self.count + 1, shortest, longest })
    }
}

/// The sizes of one viewer's run, as the packets are made.
#[derive(Debug, Default)]
pub(super) struct Filling {
    wire: Option<usize>,
}

impl Filling {
    /// What the next packet is filled to.
    pub(super) fn next(&self, size: Size) -> Fill {
        match (size, self.wire) {
            (Size::First(payload), _) => Fill::Payload(payload),
            (Size::Same, Some(wire)) => Fill::Wire(wire),
            _ => Fill::None,
        }
    }

    /// It was made `len` bytes long.
    pub(super) fn made(&mut self, size: Size, len: usize) {
        // A viewer may begin within a run.
        if matches!(size, Size::First(_)) || self.wire.is_none() {
            self.wire = Some(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use weir_source::{MediaTime, PacketExtensions};

    use super::*;

    fn packet(track: TrackId, len: usize) -> Packet {
        Packet {
            track,
            epoch: 1,
            seq: 0,
            timestamp: 0,
            capture: MediaTime::ZERO,
            marker: false,
            keyframe: false,
            extensions: PacketExtensions::default(),
            payload: Bytes::from(vec![0; len]),
        }
    }

    fn plan(packets: &[(TrackId, usize)]) -> Vec<(usize, Size)> {
        let packets: Vec<Packet> = packets.iter().map(|(track, len)| packet(*track, *len)).collect();
        let mut plan = Plan::default();
        plan.make(&packets);
        plan.steps().iter().map(|step| (step.index, step.size)).collect()
    }

    const A: TrackId = TrackId::AUDIO;
    const V: TrackId = TrackId::VIDEO;

    #[test]
    fn pictures_go_first_and_sound_rides() {
        let planned = plan(&[(A, 160), (V, 1_099), (V, 1_100), (V, 1_099), (A, 150)]);
        let expected = [(1, Size::First(1_100)), (2, Size::Same), (3, Size::Same), (0, Size::First(160)), (4, Size::Same)];
        assert_eq!(planned, expected);
    }

    #[test]
    fn what_differs_much_is_not_padded() {
        let planned = plan(&[(V, 40), (V, 1_100), (V, 1_090), (V, 500), (V, 1_100)]);
        let expected = [(0, Size::First(40)), (1, Size::First(1_100)), (2, Size::Same), (3, Size::Own), (4, Size::First(1_100))];
        assert_eq!(planned, expected);
    }

    #[test]
    fn a_viewer_that_begins_within_a_run_has_a_run_of_its_own() {
        let mut filling = Filling::default();
        assert_eq!(filling.next(Size::Same), Fill::None);
        filling.made(Size::Same, 900);
        assert_eq!(filling.next(Size::Same), Fill::Wire(900));
        filling.made(Size::Same, 900);
        assert_eq!(filling.next(Size::First(1_000)), Fill::Payload(1_000));
        filling.made(Size::First(1_000), 1_030);
        assert_eq!(filling.next(Size::Same), Fill::Wire(1_030));
    }

    proptest! {
        #[test]
        fn every_packet_leaves_once_in_its_tracks_order(packets in prop::collection::vec((0u8..8, 0usize..1_300), 0..200)) {
            let packets: Vec<Packet> =
                packets.into_iter().map(|(track, len)| packet(TrackId::new(track).unwrap(), len)).collect();
            let mut plan = Plan::default();
            plan.make(&packets);
            let mut seen = vec![false; packets.len()];
            let (mut last, mut longest) = ([None; TrackId::MAX], 0);
            for step in plan.steps() {
                prop_assert!(!std::mem::replace(&mut seen[step.index], true));
                let packet = &packets[step.index];
                let before = last[packet.track.index()].replace(step.index);
                prop_assert!(before < Some(step.index));
                match step.size {
                    Size::First(payload) => longest = payload,
                    Size::Same | Size::Own => {}
                }
                prop_assert!(packet.payload.len() <= longest);
            }
            prop_assert!(seen.into_iter().all(|seen| seen));
        }
    }
}
