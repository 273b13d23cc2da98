//! Synthetic pictures whose sizes differ as an encoder's do.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Shape,
    h264::{self, Coder},
};

/// Keyframes are so many times as large as other frames, as in a talking head.
const KEYFRAME_FACTOR: isize = 5;
/// Frames differ from their mean by up to so many per cent, as an encoder's do.
const SPREAD_PERCENT: isize = 30;
/// What a picture is too large or too small by is made up for by later ones, so many at most.
const DEBT_PICTURES: isize = 100;

/// One access unit.
pub(crate) struct Picture {
    pub(crate) keyframe: bool,
    /// Since the first one.
    pub(crate) at: Duration,
    /// One NAL unit, without start code or length.
    pub(crate) unit: Vec<u8>,
}

/// Makes pictures in order.
#[derive(Debug)]
pub(crate) struct Pictures {
    coder: Coder,
    frame_bytes: isize,
    shape: Shape,
    made: u64,
    since_keyframe: u32,
    random: u32,
    /// Bytes that pictures so far had too many.
    debt: isize,
}

impl Pictures {
    /// Of this size in pixels; `other_kbps` of the shape's bitrate is left to the sound.
    pub(crate) fn sized(shape: Shape, other_kbps: u32, width: u32, height: u32) -> Self {
        let kbps = u64::from(shape.kbps.saturating_sub(other_kbps));
        let per_gop = kbps * 1_000 / 8 * u64::from(shape.gop) / u64::from(shape.fps.max(1));
        let frame_bytes = per_gop / (u64::from(shape.gop) + KEYFRAME_FACTOR as u64 - 1);
        let frame_bytes = isize::try_from(frame_bytes).unwrap_or(1_000).max(64);
        let coder = Coder::new(width, height, shape.fps);
        Self { coder, frame_bytes, shape, made: 0, since_keyframe: 0, random: 1, debt: 0 }
    }

    /// When the next one is due, since the first one.
    pub(crate) fn due(&self) -> Duration {
        Duration::from_micros(self.made * 1_000_000 / u64::from(self.shape.fps.max(1)))
    }

    /// The next one is a keyframe, whosever turn it is.
    pub(crate) fn force_keyframe(&mut self) {
        self.since_keyframe = 0;
    }

    /// AVCDecoderConfigurationRecord.
    pub(crate) fn configuration(&self) -> Bytes {
        h264::configuration(&self.coder.sps(), &self.coder.pps()).into()
    }

    pub(crate) fn next(&mut self) -> Picture {
        let keyframe = self.since_keyframe == 0;
        let mean = if keyframe { self.frame_bytes * KEYFRAME_FACTOR } else { self.frame_bytes };
        let percent = 100 - SPREAD_PERCENT + (isize::from(self.noise()) * 2 * SPREAD_PERCENT / 255);
        let wanted = mean * percent / 100;
        let unit = self.coder.slice(keyframe, usize::try_from(wanted - self.debt).unwrap_or(0));
        let bound = self.frame_bytes * DEBT_PICTURES;
        self.debt = (self.debt + unit.len().cast_signed() - wanted).clamp(-bound, bound);
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
