//! One SSRC of a publisher: order, holes, padding and statistics.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use weir_source::MediaKind;

use super::{
    gaps::{Arrival, Gaps},
    keyframe::KeyframeDetector,
    reception::Reception,
};
use crate::{
    sdp::{CodecParams, MediaParams},
    wire::{rtcp::ReportBlock, rtp::Fields},
};

/// Payloads are cut from blocks of this size: one allocation for some fifty packets. A block lives
/// as long as any of its packets does, so it must not be much larger than what a ring holds.
const BLOCK_LEN: usize = 64 * 1024;
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
    /// It was asked for; how long ago, if known.
    pub(super) recovered: Option<Option<Duration>>,
}

/// One SSRC.
pub(super) struct Stream {
    pub(super) ssrc: u32,
    pub(super) section: usize,
    pub(super) kind: MediaKind,
    pub(super) local_ssrc: u32,
    /// It feeds its media section's track. One stream of a section does.
    pub(super) active: bool,
    pub(super) said_bye: bool,
    pub(super) last: Instant,
    pub(super) gaps: Gaps,
    pub(super) reception: Reception,
    /// First number not passed on yet.
    pub(super) next_seq: u64,
    detector: KeyframeDetector,
    /// Passed-on number minus SRTP index, modulo 2^64, but for the paddings below.
    shift: u64,
    /// Numbers of padding packets that no later packet has been passed on with yet, or lately.
    paddings: VecDeque<u64>,
    /// The stream before it on this track stopped at this number.
    follows: Option<u64>,
    block: BytesMut,
}

impl Stream {
    pub(super) fn new(ssrc: u32, section: usize, media: &MediaParams, now: Instant) -> Self {
        let codec = media.codecs.first();
        Self {
            ssrc,
            section,
            kind: media.kind,
            local_ssrc: media.local_ssrc,
            active: false,
            said_bye: false,
            last: now,
            gaps: Gaps::new(media.codecs.iter().any(|codec| codec.nack)),
            reception: Reception::new(codec.map_or(90_000, |codec| codec.clock_rate)),
            next_seq: 0,
            detector: KeyframeDetector::default(),
            shift: 0,
            paddings: VecDeque::new(),
            follows: None,
            block: BytesMut::new(),
        }
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
        codec: &CodecParams,
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
        }
        // A padding packet leaves no hole, unless later packets have been numbered around it: then
        // it goes on, empty, since a hole would be asked for in vain.
        if payload.is_empty() && arrival == Arrival::Newest {
            self.skip(index);
            return Err(Refused::Padding);
        }
        let Some(seq) = self.number(index) else { return Err(Refused::Duplicate) };
        self.next_seq = self.next_seq.max(seq.wrapping_add(1));
        let keyframe = self.detector.starts_keyframe(codec.codec, fields.timestamp, payload);
        if keyframe {
            self.gaps.keyframe_at(index);
        }
        let recovered = if let Arrival::Recovered(after) = arrival { Some(after) } else { None };
        Ok(Accepted { seq, keyframe, recovered })
    }

    /// A payload that outlives the datagram.
    pub(super) fn freeze(&mut self, payload: &[u8]) -> Bytes {
        if self.block.capacity() < payload.len() {
            self.block = BytesMut::with_capacity(BLOCK_LEN.max(payload.len()));
        }
        self.block.extend_from_slice(payload);
        self.block.split().freeze()
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
