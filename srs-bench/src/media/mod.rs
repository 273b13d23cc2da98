//! A synthetic stream of a chosen bitrate: pictures of H.264 and a second of sound.
//!
//! The parameter sets, the slice types and the sound are real; the slices' contents are noise, which
//! costs a server exactly what a picture costs it. `flv` gives it as RTMP messages, `rtp` as RTP
//! payloads.

pub(crate) mod flv;
pub(crate) mod rtp;

use std::time::Duration;

/// 640×360 Constrained Baseline 3.1.
const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x1f, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x84, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c,
    0x60, 0xca, 0x80,
];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
/// Keyframes are so many times as large as other frames, as in a talking head.
const KEYFRAME_FACTOR: usize = 5;
/// Frames differ from their mean by up to so many per cent, as an encoder's do.
const SPREAD_PERCENT: usize = 30;

/// What stream is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Of sound and pictures together.
    pub(crate) kbps: u32,
    pub(crate) fps: u32,
    /// Frames from keyframe to keyframe.
    pub(crate) gop: u32,
}

/// One access unit.
pub(crate) struct Picture {
    pub(crate) keyframe: bool,
    /// Since the first one.
    pub(crate) at: Duration,
    /// One NAL unit, without start code or length.
    pub(crate) unit: Vec<u8>,
}

/// Makes pictures in order.
pub(crate) struct Pictures {
    frame_bytes: usize,
    shape: Shape,
    made: u32,
    since_keyframe: u32,
    random: u32,
}

impl Pictures {
    /// `sound_kbps` of the shape's bitrate is left to the sound.
    pub(crate) fn new(shape: Shape, sound_kbps: u32) -> Self {
        let kbps = u64::from(shape.kbps.saturating_sub(sound_kbps));
        let per_gop = kbps * 1_000 / 8 * u64::from(shape.gop) / u64::from(shape.fps.max(1));
        let frame_bytes = per_gop / (u64::from(shape.gop) + KEYFRAME_FACTOR as u64 - 1);
        let frame_bytes = usize::try_from(frame_bytes).unwrap_or(1_000).max(64);
        Self { frame_bytes, shape, made: 0, since_keyframe: 0, random: 1 }
    }

    /// When the next one is due, since the first one.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_secs(1) * self.made / self.shape.fps.max(1)
    }

    /// The next one is a keyframe, whosever turn it is.
    pub(crate) fn force_keyframe(&mut self) {
        self.since_keyframe = 0;
    }

    pub(crate) fn next(&mut self) -> Picture {
        let keyframe = self.since_keyframe == 0;
        let mean = if keyframe { self.frame_bytes * KEYFRAME_FACTOR } else { self.frame_bytes };
        let percent = 100 - SPREAD_PERCENT + (self.noise() as usize * 2 * SPREAD_PERCENT / 255);
        let size = mean * percent / 100;
        // first_mb_in_slice 0, slice_type 7 (I) or 5 (P), then noise without start codes.
        let mut unit = Vec::with_capacity(size);
        unit.extend(if keyframe { [0x65, 0x88, 0x84] } else { [0x41, 0x9a, 0x24] });
        while unit.len() < size {
            unit.push(self.noise() | 1);
        }
        let picture = Picture { keyframe, at: self.due(), unit };
        self.made += 1;
        self.since_keyframe = (self.since_keyframe + 1) % self.shape.gop.max(1);
        picture
    }

    fn noise(&mut self) -> u8 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.random >> 24) as u8
    }
}
