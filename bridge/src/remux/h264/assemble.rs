//! RTP payloads to access units (RFC 6184 5): tolerant of what cameras send, strict about what
//! leaves: every frame is whole and can be decoded after those before it.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use weir_source::{Codec, Frame, MediaTime, Packet, Track, TrackId};

use super::{
    nal::{self, FU_A, PPS, SPS, STAP_A, SliceKind},
    packetize::begins_picture,
    parameters::ParameterSets,
    sps,
};

/// The most bytes of one access unit: a keyframe of a 50 Mb/s stream has a tenth of it. What grows
/// beyond (a fragment that never ends) is dropped.
const UNIT_BYTES_MAX: usize = 8 << 20;
/// Frames whose times do not rise are moved this far past the one before: the tick of RTMP and FLV.
const STEP_US: i64 = 1_000;

/// What an [`Assembler`] dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AssembleStats {
    /// Holes in the sequence that were given up.
    pub holes: u64,
    /// Access units that were incomplete, malformed or too large.
    pub damaged: u64,
    /// Whole access units that nobody could decode for want of a keyframe.
    pub undecodable: u64,
}

/// Makes the frames of one H.264 stream from its packets, which come in sequence order; where some
/// are missing, [`Assembler::hole`] is called between.
#[derive(Debug, Default)]
pub struct Assembler {
    sets: ParameterSets,
    sets_changed: bool,
    track: Option<Arc<Track>>,
    unit: Option<Unit>,
    /// The packet before the next one was here. At the start it was not.
    contiguous: bool,
    synced: bool,
    last_dts: Option<MediaTime>,
    stats: AssembleStats,
}

/// The access unit that is being filled.
#[derive(Debug)]
struct Unit {
    timestamp: u64,
    capture: MediaTime,
    /// NAL units, each behind its length.
    data: BytesMut,
    /// Where the length of an unfinished fragmented NAL unit stands.
    fragment: Option<usize>,
    content: Content,
    damaged: bool,
}

/// What an access unit has been found to hold.
#[derive(Debug, Default)]
struct Content {
    idr: bool,
    sequence_set: bool,
    intra_slices: u32,
    other_slices: u32,
}

impl Content {
    /// An IDR picture, or an all-intra one with its parameter sets: encoders that refresh without
    /// IDR mark their recovery points so.
    const fn is_keyframe(&self) -> bool {
        self.idr || self.sequence_set && self.intra_slices > 0 && self.other_slices == 0
    }

    const fn is_picture(&self) -> bool {
        self.idr || self.intra_slices + self.other_slices > 0
    }
}

impl Assembler {
    /// What was dropped so far.
    pub const fn stats(&self) -> AssembleStats {
        self.stats
    }

    /// The track as of the last frame; `None` before the first.
    pub const fn track(&self) -> Option<&Arc<Track>> {
        self.track.as_ref()
    }

    /// Nothing can be made until a keyframe comes.
    pub const fn wants_keyframe(&self) -> bool {
        !self.synced
    }

    /// Packets are missing between those before and those after.
    pub fn hole(&mut self) {
        self.stats.holes += 1;
        self.contiguous = false;
        self.synced = false;
        if let Some(unit) = &mut self.unit {
            unit.damaged = true;
        }
    }

    /// What follows is another stream, which begins with a keyframe. An unfinished picture is dropped.
    pub fn cut(&mut self) {
        self.unit = None;
        self.contiguous = false;
        self.synced = false;
    }

    /// Takes the next packet and appends the frames that it completes, at most two, to `out`.
    pub fn push(&mut self, packet: &Packet, out: &mut Vec<Frame>) {
        if self.unit.as_ref().is_some_and(|unit| unit.timestamp != packet.timestamp) {
            self.finish(out);
        }
        if packet.payload.is_empty() && self.unit.is_none() {
            // Padding that probes for bandwidth.
            return;
        }
        let lost_start = !self.contiguous && self.unit.is_none() && !begins_picture(&packet.payload);
        self.contiguous = true;
        let unit = self.unit.get_or_insert_with(|| Unit {
            timestamp: packet.timestamp,
            capture: packet.capture,
            data: BytesMut::new(),
            fragment: None,
            content: Content::default(),
            damaged: lost_start,
        });
        if unit.data.len().saturating_add(packet.payload.len()) > UNIT_BYTES_MAX {
            unit.damaged = true;
        }
        if unit.damaged {
            unit.data.clear();
            unit.fragment = None;
        } else {
            unit.payload(&packet.payload, &mut self.sets, &mut self.sets_changed);
        }
        if packet.marker {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Vec<Frame>) {
        let Some(mut unit) = self.unit.take() else { return };
        if unit.damaged || unit.fragment.is_some() {
            self.stats.damaged += 1;
            self.synced = false;
            return;
        }
        if !unit.content.is_picture() {
            return;
        }
        let keyframe = unit.content.is_keyframe();
        if !self.synced && !keyframe {
            self.stats.undecodable += 1;
            return;
        }
        let Some(track) = self.current_track() else {
            self.stats.undecodable += 1;
            return;
        };
        self.synced = true;
        let dts = self.last_dts.map_or(unit.capture, |last| unit.capture.max(last.offset(STEP_US)));
        self.last_dts = Some(dts);
        out.push(Frame::new(track, dts, dts, keyframe, unit.data.split().freeze()));
    }

    /// The track for the parameter sets as they stand: another one only if their bytes changed.
    fn current_track(&mut self) -> Option<Arc<Track>> {
        if self.sets_changed || self.track.is_none() {
            let config = self.sets.record()?;
            if self.track.as_ref().is_none_or(|track| track.config != config) {
                let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
                track.config = config;
                track.video = self.sets.first_sps().and_then(|nal| sps::video_info(nal));
                self.track = Some(Arc::new(track));
            }
            self.sets_changed = false;
        }
        self.track.clone()
    }
}

impl Unit {
    fn payload(&mut self, payload: &Bytes, sets: &mut ParameterSets, changed: &mut bool) {
        let Some(&header) = payload.first() else { return };
        match nal::kind(header) {
            1..=23 => self.whole(payload, sets, changed),
            STAP_A => self.aggregate(payload.slice(1..), sets, changed),
            FU_A => self.fragment(payload, sets, changed),
            // Interleaved mode and the reserved types are not negotiated (RFC 6184 6.2).
            _ => {}
        }
    }

    /// RFC 6184 5.7.1.
    fn aggregate(&mut self, mut rest: Bytes, sets: &mut ParameterSets, changed: &mut bool) {
        while let [high, low, ..] = *rest.as_ref() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length + 2 > rest.len() {
                self.damaged = true;
                return;
            }
            let nal = rest.split_to(length + 2).slice(2..);
            // Aggregates within aggregates are not allowed and would recurse.
            if nal.first().is_some_and(|header| nal::kind(*header) < STAP_A) {
                self.whole(&nal, sets, changed);
            }
        }
    }

    fn whole(&mut self, nal: &Bytes, sets: &mut ParameterSets, changed: &mut bool) {
        self.drop_fragment();
        let start = self.data.len();
        let Ok(length) = u32::try_from(nal.len()) else { return };
        self.data.put_u32(length);
        self.data.put_slice(nal);
        self.close(start, sets, changed);
    }

    /// RFC 6184 5.8. A fragment that is start and end at once, and one without bytes, are against
    /// the RFC and sent by real cameras: both are taken for what they mean.
    fn fragment(&mut self, payload: &Bytes, sets: &mut ParameterSets, changed: &mut bool) {
        let [indicator, header, body @ ..] = payload.as_ref() else { return };
        if header & 0x80 != 0 {
            self.drop_fragment();
            self.fragment = Some(self.data.len());
            self.data.put_u32(0);
            self.data.put_u8(indicator & 0xe0 | nal::kind(*header));
        }
        let Some(start) = self.fragment else {
            self.damaged = true;
            return;
        };
        self.data.put_slice(body);
        if header & 0x40 != 0 {
            self.fragment = None;
            let length = self.data.len().saturating_sub(start + 4);
            if let (Some(place), Ok(length)) = (self.data.get_mut(start..start + 4), u32::try_from(length)) {
                place.copy_from_slice(&length.to_be_bytes());
            }
            self.close(start, sets, changed);
        }
    }

    /// A NAL unit that was begun and never ended.
    fn drop_fragment(&mut self) {
        if let Some(start) = self.fragment.take() {
            self.data.truncate(start);
            self.damaged = true;
        }
    }

    /// Looks at the NAL unit that was appended at `start`, and takes it out again unless it belongs
    /// in an access unit.
    fn close(&mut self, start: usize, sets: &mut ParameterSets, changed: &mut bool) {
        let Some(nal) = self.data.get(start + 4..) else { return };
        let Some(&header) = nal.first() else { return };
        let kind = nal::kind(header);
        match kind {
            nal::IDR => self.content.idr = true,
            _ if nal::is_picture(kind) => match nal::slice_kind(nal) {
                Some(SliceKind::Intra) => self.content.intra_slices += 1,
                _ => self.content.other_slices += 1,
            },
            SPS | PPS => {
                self.content.sequence_set |= kind == SPS;
                *changed |= sets.store(&Bytes::copy_from_slice(nal));
            }
            _ => {}
        }
        if !nal::is_kept(kind) {
            self.data.truncate(start);
        }
    }
}

#[cfg(test)]
mod tests;
