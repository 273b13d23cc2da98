//! A synthetic stream: H.264 and AAC of a chosen bitrate as FLV tag bodies.
//!
//! The parameter sets, slice types and the silent AAC frames are real; the slices' contents are
//! noise, which costs a server exactly what a picture costs it.

use bytes::{BufMut as _, Bytes, BytesMut};

/// 640×360 Constrained Baseline 3.1 at 30 frames a second.
const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c,
    0x60, 0xca, 0x80,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// One AAC-LC frame of stereo silence.
const AAC_SILENCE: &[u8] = &[0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c];
/// AudioSpecificConfig: AAC-LC, 48 kHz, stereo.
const AAC_CONFIG: &[u8] = &[0x11, 0x90];

/// One message of the stream.
pub(crate) struct Message {
    pub(crate) video: bool,
    pub(crate) timestamp_ms: u32,
    pub(crate) body: Bytes,
}

/// Makes messages in the order of their timestamps.
pub(crate) struct Source {
    frame_bytes: usize,
    fps: u32,
    gop: u32,
    video: u32,
    audio: u32,
}

impl Source {
    /// A stream of about `kbps` at `fps`, a keyframe each `gop` frames. Keyframes are five times as
    /// large as the others, as in a talking head.
    pub(crate) fn new(kbps: u32, fps: u32, gop: u32) -> Self {
        let per_gop = u64::from(kbps) * 1_000 / 8 * u64::from(gop) / u64::from(fps.max(1));
        let frame_bytes = per_gop / u64::from(gop + 4);
        Self { frame_bytes: usize::try_from(frame_bytes).unwrap_or(1_000).max(64), fps, gop, video: 0, audio: 0 }
    }

    /// The two sequence headers.
    pub(crate) fn headers() -> [Message; 2] {
        let mut avc = BytesMut::new();
        avc.put_slice(&[0x17, 0, 0, 0, 0, 1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1]);
        avc.put_u16(SPS.len() as u16);
        avc.put_slice(SPS);
        avc.put_u8(1);
        avc.put_u16(PPS.len() as u16);
        avc.put_slice(PPS);
        let mut aac = BytesMut::from(&[0xaf, 0][..]);
        aac.put_slice(AAC_CONFIG);
        [
            Message { video: true, timestamp_ms: 0, body: avc.freeze() },
            Message { video: false, timestamp_ms: 0, body: aac.freeze() },
        ]
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Message {
        let video_ms = (u64::from(self.video) * 1_000 / u64::from(self.fps)) as u32;
        let audio_ms = (u64::from(self.audio) * 1_024_000 / 48_000) as u32;
        if audio_ms < video_ms {
            self.audio += 1;
            let mut body = BytesMut::from(&[0xaf, 1][..]);
            body.put_slice(AAC_SILENCE);
            return Message { video: false, timestamp_ms: audio_ms, body: body.freeze() };
        }
        let key = self.video.is_multiple_of(self.gop);
        let size = if key { self.frame_bytes * 5 } else { self.frame_bytes };
        let mut body = BytesMut::with_capacity(size + 16);
        body.put_slice(&[if key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
        body.put_u32(size as u32);
        // first_mb_in_slice 0, slice_type 7 (I) or 5 (P), then noise without start codes.
        body.put_slice(if key { &[0x65, 0x88, 0x84] } else { &[0x41, 0x9a, 0x24] });
        let mut state = self.video.wrapping_mul(2_654_435_761) | 1;
        for _ in 3..size {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            body.put_u8((state >> 24) as u8 | 1);
        }
        self.video += 1;
        Message { video: true, timestamp_ms: video_ms, body: body.freeze() }
    }
}
