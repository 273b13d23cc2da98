//! MPEG transport streams: frames to 188-byte packets (ISO/IEC 13818-1, ITU-T H.222.0).
//!
//! [`Muxer`] owns the continuity counters, the clock reference and the audio that waits for its
//! PES packet. It appends to the caller's buffer; it never opens a file, cuts a segment or waits.

mod adts;
mod annexb;
mod live;
mod onset;
mod packet;
mod tables;

#[cfg(test)]
mod tests;

use weir_source::{Codec, Frame, MediaKind, MediaTime};

pub(crate) use adts::Header as AdtsHeader;
pub use live::LiveMuxer;
pub(crate) use onset::{Onset, declares};
use packet::{Clock, Pes, Pid};

/// The size of every packet (H.222.0 2.4.3.2).
pub const PACKET_BYTES: usize = 188;

/// Added to the source's time, so that the clock reference, which runs ahead of the decoding
/// times, starts above zero. One second, in ticks of 90 kHz.
const TIME_OFFSET: i64 = 90_000;
/// How far the clock reference is behind the decoding time of the frame it rides on, so that the
/// other track's frames, which arrive a little later, are still in time for a strict decoder.
/// Half a second, in ticks of 90 kHz.
const DECODER_DELAY: i64 = 45_000;
/// The longest distance between two clock references (H.222.0 2.7.2: 100 ms), less one PES packet
/// of audio, which may be the next chance. Ticks of 90 kHz.
const CLOCK_TICKS_MAX: i64 = 3_000;
/// Microseconds of audio gathered in one PES packet: three frames at 48 kHz, which takes a third
/// of the transport packets of one frame each, and still under the clock reference's interval
/// where audio carries it.
const AUDIO_SPAN_US: i64 = 60_000;
/// Bytes of one PES packet's payload that its 16-bit length can say, less the header's own.
const PES_PAYLOAD_MAX: usize = 65_535 - 3 - 10;

/// Why a frame was not written. The stream goes on without it.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum MuxError {
    /// The track's codec has no place in our transport streams, or its kind was not declared.
    #[error("the track is not part of this transport stream")]
    NotDeclared,
    /// The decoder configuration is missing, cut short or of a kind that cannot be carried.
    #[error("the decoder configuration is missing or malformed")]
    BadConfig,
    /// The frame's NAL unit lengths do not add up, or it is too long for its container.
    #[error("the frame is malformed")]
    BadFrame,
}

/// Which tracks a transport stream declares in its program map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// One H.264 track.
    pub video: bool,
    /// One AAC track.
    pub audio: bool,
}

impl Layout {
    /// Whether a track of this codec can be carried.
    pub const fn carries(codec: Codec) -> bool {
        matches!(codec, Codec::H264 | Codec::Aac)
    }

    /// Whether this layout declares the kind.
    pub const fn has(self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Video => self.video,
            MediaKind::Audio => self.audio,
        }
    }
}

/// Writes one program of at most one H.264 and one AAC track.
///
/// Call [`Muxer::tables`] where a reader may start, [`Muxer::write`] for each frame in decoding
/// order, and [`Muxer::flush`] before the buffer is cut.
#[derive(Debug)]
pub struct Muxer {
    layout: Layout,
    tables: tables::Tables,
    video: Pid,
    audio: Pid,
    clock_at: Option<i64>,
    pending: Pending,
    scratch: Vec<u8>,
}

/// Audio frames in ADTS that wait for their PES packet.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    frames: usize,
    pts: MediaTime,
    /// Where the next frame lies if there is no gap.
    next: MediaTime,
    frame_us: i64,
}

impl Muxer {
    /// A stream with these tracks. The clock reference rides on video, or on audio if alone.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            tables: tables::Tables::new(layout),
            video: Pid::new(tables::VIDEO_PID),
            audio: Pid::new(tables::AUDIO_PID),
            clock_at: None,
            pending: Pending::default(),
            scratch: Vec::new(),
        }
    }

    /// The tracks it declares.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Appends the program association and program map tables.
    pub fn tables(&mut self, out: &mut Vec<u8>) {
        self.tables.write(out);
    }

    /// Appends a frame, or holds it if it is audio that shares a PES packet with the next.
    pub fn write(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), MuxError> {
        match frame.track.codec {
            Codec::H264 if self.layout.video => self.write_video(frame, out),
            Codec::Aac if self.layout.audio => self.write_audio(frame, out),
            _ => Err(MuxError::NotDeclared),
        }
    }

    /// Appends the audio that is held.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.pending.frames == 0 {
            return;
        }
        let pts = ticks(self.pending.pts);
        let rides_here = !self.layout.video;
        if !rides_here && self.clock_is_due(pts) {
            let clock = self.clock(pts);
            self.video.clock_only(clock, out);
        }
        let clock = if rides_here { self.clock(pts) } else { None };
        let pes = Pes { stream_id: 0xc0, pts, dts: pts, clock, random_access: true };
        self.audio.pes(&pes, &self.pending.bytes, out);
        self.pending.bytes.clear();
        self.pending.frames = 0;
    }

    fn write_video(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), MuxError> {
        self.scratch.clear();
        annexb::access_unit(frame, &mut self.scratch)?;
        let dts = ticks(frame.dts);
        let clock = self.clock(dts);
        let pes = Pes { stream_id: 0xe0, pts: ticks(frame.pts.max(frame.dts)), dts, clock, random_access: frame.keyframe };
        self.video.pes(&pes, &self.scratch, out);
        Ok(())
    }

    fn write_audio(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), MuxError> {
        let header = adts::Header::from_config(&frame.track.config)?;
        let bytes = header.bytes(frame.data.len())?;
        let pending = &self.pending;
        let off = (frame.pts - pending.next).saturating_abs();
        let full = pending.bytes.len() + bytes.len() + frame.data.len() > PES_PAYLOAD_MAX;
        // Only the first frame of a PES packet has a time: one after a gap must start its own.
        if pending.frames > 0 && (full || off > pending.frame_us / 2) {
            self.flush(out);
        }
        let pending = &mut self.pending;
        if pending.frames == 0 {
            pending.pts = frame.pts;
            pending.frame_us = header.frame_us();
            pending.next = frame.pts;
        }
        pending.bytes.extend_from_slice(&bytes);
        pending.bytes.extend_from_slice(&frame.data);
        pending.frames += 1;
        pending.next = pending.next.offset(pending.frame_us);
        if pending.next - pending.pts >= AUDIO_SPAN_US {
            self.flush(out);
        }
        Ok(())
    }

    fn clock(&mut self, dts: i64) -> Option<Clock> {
        self.clock_at = Some(dts);
        Some(Clock(dts.wrapping_sub(DECODER_DELAY)))
    }

    /// Video frames carry the clock; where they are rare, audio brings it in between.
    fn clock_is_due(&self, pts: i64) -> bool {
        self.clock_at.is_some_and(|at| pts.wrapping_sub(at) > CLOCK_TICKS_MAX)
    }
}

/// Ticks of 90 kHz, not yet wrapped to the 33 bits of the wire.
fn ticks(time: MediaTime) -> i64 {
    time.to_ticks(90_000).wrapping_add(TIME_OFFSET)
}
