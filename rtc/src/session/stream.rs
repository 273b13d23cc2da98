//! One SSRC of a publisher: order, holes, padding and statistics.

use std::{collections::VecDeque, time::Instant};

use weir_source::{Codec, MediaKind, TemporalPlace, TrackId};

use super::{
    gaps::{Arrival, Gaps, Repair},
    keyframe::KeyframeDetector,
    reception::Reception,
};
use crate::{
    sdp::MediaParams,
    wire::{dependency::Dependencies, rtcp::ReportBlock, rtp::Fields},
};

/// Recent padding packets remembered, to number what is reordered around them.
const PADDINGS_MAX: usize = 64;

/// Why a packet is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It came before, or too late.
    Duplicate,
    /// It carries nothing.
    Padding,
}

/// What is known of a packet that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// Its extended number, padding packets not counted.
    pub(super) seq: u64,
    /// A keyframe starts here.
    pub(super) keyframe: bool,
    /// No later packet came before it.
    pub(super) in_order: bool,
    /// It was asked for; how long ago, if known.
    pub(super) recovered: Option<Repair>,
}

/// What was agreed for a payload type, as far as each packet asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    payload_type: u8,
    pub(super) codec: Codec,
    pub(super) clock_rate: u32,
    /// The section has simulcast layers.
    pub(super) is_layered: bool,
}

/// One SSRC.
pub(super) struct Stream {
    pub(super) ssrc: u32,
    /// Of its latest packet.
    known: Option<Known>,
    pub(super) section: usize,
    pub(super) kind: MediaKind,
    /// What it is a stream of: its section's track, or one of its simulcast layers.
    pub(super) track: TrackId,
    pub(super) local_ssrc: u32,
    /// It feeds its track. One stream does.
    pub(super) active: bool,
    pub(super) said_bye: bool,
    pub(super) last: Instant,
    pub(super) gaps: Gaps,
    pub(super) reception: Reception,
    /// First number not passed on yet.
    pub(super) next_seq: u64,
    /// Packets that came before any keyframe.
    pub(super) headless: u32,
    keyframe_seen: bool,
    detector: KeyframeDetector,
    /// How its frames depend on each other, if it says so.
    dependencies: Dependencies,
    /// Passed-on number minus SRTP index, modulo 2^64, but for the paddings below.
    shift: u64,
    /// Numbers of padding packets that no later packet has been passed on with yet, or lately.
    paddings: VecDeque<u64>,
    /// The stream before it on this track stopped at this number.
    follows: Option<u64>,
    /// Packets before this index have no number: it was the other stream's turn.
    first: u64,
}

impl Stream {
    pub(super) fn new(ssrc: u32, section: usize, track: TrackId, media: &MediaParams, now: Instant) -> Self {
        let codec = media.codecs.first();
        Self {
            ssrc,
            known: None,
            section,
            kind: media.kind,
            track,
            local_ssrc: media.local_ssrc,
            active: false,
            said_bye: false,
            last: now,
            gaps: Gaps::new(media.codecs.iter().any(|codec| codec.nack)),
            reception: Reception::new(codec.map_or(90_000, |codec| codec.clock_rate)),
            next_seq: 0,
            headless: 0,
            keyframe_seen: false,
            detector: KeyframeDetector::default(),
            dependencies: Dependencies::default(),
            shift: 0,
            paddings: VecDeque::new(),
            follows: None,
            first: 0,
        }
    }

    /// What a payload type means in its section, one of `media`. Most packets have their predecessor's.
    pub(super) fn codec_of(&mut self, payload_type: u8, media: &[MediaParams]) -> Option<Known> {
        if let Some(known) = self.known.filter(|known| known.payload_type == payload_type) {
            return Some(known);
        }
        let media = media.get(self.section)?;
        let codec = media.payload_type(payload_type)?;
        let is_layered = !media.layers.is_empty();
        self.known = Some(Known { payload_type, codec: codec.codec, clock_rate: codec.clock_rate, is_layered });
        self.known
    }

    /// The preferred codec of its section, one of `media`.
    pub(super) fn first_codec(&self, media: &[MediaParams]) -> Option<Codec> {
        media.get(self.section)?.codecs.first().map(|codec| codec.codec)
    }

    /// It continues a track that another stream of the publisher has numbered up to `next_seq`.
    pub(super) fn take_over(&mut self, next_seq: u64) {
        self.said_bye = false;
        self.follows = Some(next_seq);
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        index: u64,
        fields: &Fields,
        payload: &[u8],
        codec: Codec,
    ) -> Result<Accepted, Refused> {
        self.last = now;
        let arrival = self.gaps.receive(index, now);
        if arrival == Arrival::Duplicate {
            return Err(Refused::Duplicate);
        }
        self.reception.receive(index, fields.timestamp, now);
        if let Some(next_seq) = self.follows.take() {
            self.shift = next_seq.wrapping_sub(index);
            self.paddings.clear();
            self.first = index;
        }
        if index < self.first {
            return Err(Refused::Duplicate);
        }
        // A padding packet leaves no hole, unless later packets have been numbered around it: then
        // it goes on, empty, since a hole would be asked for in vain.
        if payload.is_empty() && arrival == Arrival::Newest {
            self.skip(index);
            return Err(Refused::Padding);
        }
        let Some(seq) = self.number(index) else { return Err(Refused::Duplicate) };
        self.next_seq = self.next_seq.max(seq.wrapping_add(1));
        let keyframe = self.detector.starts_keyframe(codec, fields.timestamp, payload);
        if keyframe {
            self.gaps.keyframe_at(index);
        }
        self.keyframe_seen |= keyframe;
        self.headless = if self.keyframe_seen { 0 } else { self.headless.saturating_add(1) };
        let recovered = if let Arrival::Recovered(repair) = arrival { Some(repair) } else { None };
        Ok(Accepted { seq, keyframe, in_order: arrival == Arrival::Newest, recovered })
    }

    /// Where the frame stands among temporal layers that comes with this dependency descriptor.
    pub(super) fn temporal_place(&mut self, descriptor: Option<&[u8]>) -> Option<TemporalPlace> {
        let place = self.dependencies.read(descriptor?)?;
        Some(TemporalPlace { layer: place.layer, needed: place.needed, switch: place.switch })
    }

    pub(super) fn report(&mut self, now: Instant) -> ReportBlock {
        let block = self.reception.report(now);
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: block.fraction_lost,
            cumulative_lost: block.lost,
            highest_sequence: block.highest,
            jitter: block.jitter,
            last_sr: block.last_sr,
            delay_since_last_sr: block.since_sr,
        }
    }

    /// Numbers from here on close up over the padding packet `index`.
    fn skip(&mut self, index: u64) {
        if self.paddings.len() >= PADDINGS_MAX && self.paddings.pop_front().is_some() {
            self.shift = self.shift.wrapping_sub(1);
        }
        self.paddings.push_back(index);
    }

    /// The number under which packet `index` goes on, or `None` if it is older than the paddings
    /// remembered.
    fn number(&self, index: u64) -> Option<u64> {
        let skipped = self.paddings.iter().filter(|padding| **padding < index).count();
        if skipped == 0 && self.paddings.len() >= PADDINGS_MAX {
            return None;
        }
        Some(index.wrapping_add(self.shift).wrapping_sub(skipped as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::{CodecParams, ExtensionIds};

    fn media() -> MediaParams {
        let codec = CodecParams {
            codec: Codec::H264,
            payload_type: 96,
            clock_rate: 90_000,
            channels: 0,
            fmtp: String::new(),
            rtx_payload_type: None,
            nack: true,
            pli: true,
            transport_cc: false,
            remb: false,
        };
        MediaParams {
            mid: "0".into(),
            kind: MediaKind::Video,
            track: TrackId::VIDEO,
            codecs: vec![codec],
            extensions: ExtensionIds::default(),
            local_ssrc: 1,
            remote_ssrcs: vec![],
            layers: vec![],
            rtx_ssrc: None,
        }
    }

    struct Feed {
        stream: Stream,
        now: Instant,
    }

    impl Feed {
        fn new() -> Self {
            let now = Instant::now();
            Self { stream: Stream::new(7, 0, TrackId::VIDEO, &media(), now), now }
        }

        fn receive(&mut self, index: u64, payload: &[u8]) -> Result<u64, Refused> {
            let fields = Fields { sequence: index as u16, timestamp: 9_000, ..Fields::default() };
            self.stream.receive(self.now, index, &fields, payload, Codec::H264).map(|accepted| accepted.seq)
        }
    }

    #[test]
    fn padding_packets_leave_no_hole() {
        let mut feed = Feed::new();
        assert_eq!(feed.receive(100, b"a"), Ok(100));
        assert_eq!(feed.receive(101, b""), Err(Refused::Padding));
        assert_eq!(feed.receive(102, b""), Err(Refused::Padding));
        assert_eq!(feed.receive(103, b"b"), Ok(101));
        assert_eq!(feed.receive(103, b"b"), Err(Refused::Duplicate));
    }

    #[test]
    fn what_is_reordered_around_padding_keeps_its_place() {
        let mut feed = Feed::new();
        assert_eq!(feed.receive(100, b"a"), Ok(100));
        assert_eq!(feed.receive(103, b""), Err(Refused::Padding));
        assert_eq!(feed.receive(104, b"d"), Ok(103));
        assert_eq!(feed.receive(102, b"c"), Ok(102));
        assert_eq!(feed.receive(101, b""), Ok(101), "late padding fills the hole that was left for it");
    }

    #[test]
    fn long_probing_stays_bounded_and_numbered() {
        let mut feed = Feed::new();
        feed.receive(0, b"a").unwrap();
        let mut last = 0;
        for round in 0..1_000u64 {
            assert_eq!(feed.receive(round * 2 + 1, b""), Err(Refused::Padding));
            let seq = feed.receive(round * 2 + 2, b"x").unwrap();
            assert_eq!(seq, last + 1);
            last = seq;
        }
        assert!(feed.stream.paddings.len() <= PADDINGS_MAX);
    }

    #[test]
    fn a_stream_that_takes_over_continues_the_numbers() {
        let mut feed = Feed::new();
        feed.stream.take_over(5_000);
        assert_eq!(feed.receive(40, b"a"), Ok(5_000));
        assert_eq!(feed.receive(42, b"c"), Ok(5_002));
        assert_eq!(feed.receive(41, b"b"), Ok(5_001));
        assert_eq!(feed.receive(39, b"z"), Err(Refused::Duplicate));
    }
}
