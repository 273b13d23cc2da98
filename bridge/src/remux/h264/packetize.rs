//! Access units to RTP payloads (RFC 6184 5): single NAL units, STAP-A and FU-A.

use bytes::{BufMut, Bytes, BytesMut};
use weir_source::{Frame, MediaTime, Packet, PacketExtensions, Track, TrackId};

use super::{
    nal::{self, FU_A, SPS, STAP_A, SliceKind},
    parameters::ParameterSets,
    sps,
};

/// The largest RTP payload in bytes. With 12 bytes of RTP header, 12 of extensions and a 16-byte
/// tag a datagram has 1,200, which every path carries unfragmented (RFC 8831 5 argues the same).
pub const PAYLOAD_MAX: usize = 1_160;

/// What a [`Packetizer`] left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketizeStats {
    /// Frames that would have gone back in time: B-frames.
    pub reordered: u64,
    /// Those of them that other frames may be predicted from (B-pyramid).
    pub reordered_references: u64,
    /// Frames left out while no keyframe had come, or none since a frame was lost.
    pub undecodable: u64,
}

/// Makes the packets of one H.264 stream from its frames.
///
/// WebRTC receivers decode and show in one order. So a frame is sent only if it is shown after all
/// that were sent before it: from a stream with B-frames these are exactly the I- and P-frames,
/// whose times rise. B-frames that nothing is predicted from are left out without a trace. Where
/// the encoder uses B-frames as references (B-pyramid) the parameter sets are marked so that
/// decoders take the gaps for intended; pictures stay exact as long as P-frames refer to P-frames
/// only (x264 up to `veryfast`, hardware encoders) and are concealed otherwise.
#[derive(Debug, Default)]
pub struct Packetizer {
    config: Bytes,
    sets: Vec<Bytes>,
    seq: u64,
    shown: Option<MediaTime>,
    drops_sei: bool,
    waits: Wait,
    stats: PacketizeStats,
    payloads: Vec<Bytes>,
}

/// Whether frames can be decoded by who has all that was sent.
#[derive(Debug, Default, PartialEq, Eq)]
enum Wait {
    #[default]
    ForKeyframe,
    No,
}

impl Packetizer {
    /// With or without supplemental enhancement information.
    pub fn new(keep_sei: bool) -> Self {
        Self { drops_sei: !keep_sei, ..Self::default() }
    }

    /// What was left out so far.
    pub const fn stats(&self) -> PacketizeStats {
        self.stats
    }

    /// Frames were lost before the next one: nothing is sent until a keyframe.
    pub fn lose_sync(&mut self) {
        self.waits = Wait::ForKeyframe;
    }

    /// Appends the packets of `frame` to `out`, or nothing where it is left out.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<Packet>) {
        if frame.keyframe {
            self.take_config(&frame.track);
        }
        if !self.admits(frame) {
            return;
        }
        let mut payloads = std::mem::take(&mut self.payloads);
        if frame.keyframe {
            aggregate(&self.sets, &mut payloads);
        }
        payload_units(&frame.data, self.drops_sei, &mut payloads);
        self.emit(frame, &mut payloads, out);
        self.payloads = payloads;
    }

    /// Parameter sets apply from a keyframe on, so they are looked at there only.
    fn take_config(&mut self, track: &Track) {
        if self.config == track.config {
            return;
        }
        self.config = track.config.clone();
        self.sets.clear();
        match ParameterSets::parse(&track.config) {
            Ok(mut sets) => {
                if sets.first_sps().is_some_and(|sps| sps::may_reorder(sps)) {
                    sets.allow_frame_num_gaps();
                }
                self.sets.extend(sets.nals().cloned());
            }
            Err(error) => tracing::warn!(%error, "H.264 stream without usable parameter sets"),
        }
    }

    fn admits(&mut self, frame: &Frame) -> bool {
        if frame.keyframe && !self.sets.is_empty() {
            self.waits = Wait::No;
        }
        if self.waits == Wait::ForKeyframe {
            self.stats.undecodable += 1;
            return false;
        }
        if self.shown.is_none_or(|shown| frame.pts > shown) {
            self.shown = Some(frame.pts);
            return true;
        }
        let (kind, reference) = facts(&frame.data);
        match kind {
            Some(SliceKind::Bidirectional) => {
                self.stats.reordered += 1;
                self.stats.reordered_references += u64::from(reference);
                if self.stats.reordered == 1 {
                    tracing::warn!("the stream has B-frames: WebRTC viewers get it without them, so less smooth");
                }
                if reference && self.stats.reordered_references == 1 {
                    tracing::warn!("B-frames are used as references: set b-pyramid=none, or bframes=0, for WebRTC viewers");
                }
            }
            _ if !reference => self.stats.reordered += 1,
            // A reference out of order can only be a broken timeline. What follows needs it.
            _ => {
                self.stats.undecodable += 1;
                self.lose_sync();
            }
        }
        false
    }

    fn emit(&mut self, frame: &Frame, payloads: &mut Vec<Bytes>, out: &mut Vec<Packet>) {
        let timestamp = u64::try_from(frame.pts.to_ticks(90_000)).unwrap_or(0);
        let last = payloads.len().saturating_sub(1);
        for (index, payload) in payloads.drain(..).enumerate() {
            out.push(Packet {
                track: TrackId::VIDEO,
                epoch: 0,
                seq: self.seq,
                timestamp,
                capture: frame.pts,
                marker: index == last,
                keyframe: frame.keyframe && index == 0,
                extensions: PacketExtensions::default(),
                payload,
            });
            self.seq += 1;
        }
    }
}

/// The kind of the first slice, and whether the picture is a reference.
fn facts(data: &Bytes) -> (Option<SliceKind>, bool) {
    let slice = nal::units(data).find(|unit| unit.first().is_some_and(|header| nal::is_picture(nal::kind(*header))));
    let Some(slice) = slice else { return (None, false) };
    (nal::slice_kind(&slice), slice.first().is_some_and(|header| nal::is_reference(*header)))
}

/// The payloads of the NAL units of an access unit. Neighbours that fit together share a packet.
fn payload_units(data: &Bytes, drops_sei: bool, payloads: &mut Vec<Bytes>) {
    let is_sent = |kind| nal::is_kept(kind) && !(drops_sei && kind == nal::SEI);
    let mut small: Vec<Bytes> = Vec::new();
    let mut size = 1;
    for unit in nal::units(data).filter(|unit| unit.first().is_some_and(|header| is_sent(nal::kind(*header)))) {
        let grown = size + 2 + unit.len();
        if grown > PAYLOAD_MAX {
            aggregate(&small, payloads);
            small.clear();
            size = 1;
        }
        if unit.len() > PAYLOAD_MAX {
            fragment(&unit, payloads);
        } else {
            size += 2 + unit.len();
            small.push(unit);
        }
    }
    aggregate(&small, payloads);
}

/// NAL units in one STAP-A (RFC 6184 5.7.1), one alone as itself, and each for itself where they do
/// not fit together.
fn aggregate(units: &[Bytes], payloads: &mut Vec<Bytes>) {
    let size = 1 + units.iter().map(|unit| 2 + unit.len()).sum::<usize>();
    if units.len() < 2 || size > PAYLOAD_MAX {
        for unit in units {
            if unit.len() > PAYLOAD_MAX { fragment(unit, payloads) } else { payloads.push(unit.clone()) }
        }
        return;
    }
    // F is the union and NRI the maximum of those within (RFC 6184 5.7.1).
    let header = units.iter().filter_map(|unit| unit.first()).fold(0, |header: u8, unit| {
        let nri = (header & 0x60).max(unit & 0x60);
        (header | unit) & 0x80 | nri
    });
    let mut out = BytesMut::with_capacity(size);
    out.put_u8(header | STAP_A);
    for unit in units {
        // Bounded by `PAYLOAD_MAX` above.
        out.put_u16(u16::try_from(unit.len()).unwrap_or(u16::MAX));
        out.put_slice(unit);
    }
    payloads.push(out.freeze());
}

/// FU-As of one size but for the last (RFC 6184 5.8): the kernel segments a run of equal packets.
fn fragment(unit: &Bytes, payloads: &mut Vec<Bytes>) {
    const HEADERS: usize = 2;
    let Some((&header, body)) = unit.split_first() else { return };
    let pieces = body.len().div_ceil(PAYLOAD_MAX - HEADERS).max(1);
    let size = body.len().div_ceil(pieces).max(1);
    let mut out = BytesMut::with_capacity(body.len() + pieces * HEADERS);
    let mut chunks = body.chunks(size).peekable();
    let mut start = 0x80;
    while let Some(chunk) = chunks.next() {
        let end = if chunks.peek().is_none() { 0x40 } else { 0 };
        out.put_u8(header & 0xe0 | FU_A);
        out.put_u8(start | end | nal::kind(header));
        out.put_slice(chunk);
        payloads.push(out.split().freeze());
        start = 0;
    }
}

/// Whether a payload begins a picture: a delimiter or parameter set, or the first slice.
pub(super) fn begins_picture(payload: &[u8]) -> bool {
    let first = match payload {
        [header, rest @ ..] if nal::kind(*header) == STAP_A => rest.get(2..),
        [indicator, ..] if nal::kind(*indicator) == FU_A => return fragment_begins_picture(payload),
        whole => Some(whole),
    };
    let Some([header, rest @ ..]) = first else { return false };
    match nal::kind(*header) {
        SPS | nal::DELIMITER => true,
        kind if nal::is_picture(kind) => first_macroblock_is_zero(rest),
        _ => false,
    }
}

fn fragment_begins_picture(payload: &[u8]) -> bool {
    let [_, header, body @ ..] = payload else { return false };
    header & 0x80 != 0 && (nal::kind(*header) == SPS || nal::is_picture(nal::kind(*header)) && first_macroblock_is_zero(body))
}

/// `first_mb_in_slice` is the first value of a slice, and zero is coded as a single one-bit.
fn first_macroblock_is_zero(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

#[cfg(test)]
mod tests;
