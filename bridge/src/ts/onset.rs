//! The beginning of a stream, before both its tracks are known.

use std::time::Duration;

use weir_source::{Codec, Frame, MediaKind, Tracks};

/// How long a first picture waits for sound to be announced. Sound comes a frame later, and a
/// WebRTC publisher's is announced by its first packet; a stream without sound has its segments
/// complete no later for it, since they end where they would.
const SOUND_WAIT: Duration = Duration::from_millis(500);
/// The most frames held: that long at 120 pictures a second, and a few.
const HELD_MAX: usize = 64;

/// Holds back what a segment or a player's stream would begin with. One that begins without sound makes
/// players set themselves up for pictures alone: `hls.js` ends with an error when sound joins, ffmpeg
/// leaves it out.
#[derive(Debug, Default)]
pub(crate) struct Onset {
    held: Vec<Frame>,
}

impl Onset {
    /// Takes `frame` if it has to wait; nothing has begun.
    pub(crate) fn holds(&mut self, frame: &Frame, tracks: &Tracks) -> bool {
        let begins = frame.kind() == MediaKind::Video && frame.keyframe;
        let since = match self.held.first() {
            Some(first) => first.dts,
            None if begins => frame.dts,
            None => return false,
        };
        let waits = !declares(tracks, Codec::Aac)
            && self.held.len() < HELD_MAX
            && frame.kind() == MediaKind::Video
            && frame.dts.saturating_since(since) < SOUND_WAIT;
        if waits {
            self.held.push(frame.clone());
        }
        waits
    }

    /// What was held, to go before the frame that was not.
    pub(crate) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.held)
    }
}

/// Whether the lane announces a track that can be muxed from its first frame on.
pub(crate) fn declares(tracks: &Tracks, codec: Codec) -> bool {
    tracks.of_kind(codec.kind()).is_some_and(|track| track.codec == codec && !track.config.is_empty())
}
