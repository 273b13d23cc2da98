//! What of a stream its HTTP-FLV and HTTP-TS viewers get (`http_remux`).

use std::sync::Arc;

use bytes::Bytes;
use weir_bridge::flv::Announce;
use weir_source::{Frame, MediaKind, Tracks};

/// Sound, pictures, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// With sound (`has_audio`). Default on.
    pub audio: bool,
    /// With pictures (`has_video`). Default on.
    pub video: bool,
    /// The header of FLV announces of these what the stream has (`guess_has_av`). Default on; off: both
    /// as set, and at once.
    pub guess: bool,
    /// What is not to be there is left out (`drop_if_not_match`). Default on; off: only FLV's header does
    /// not tell of it.
    pub drop_excluded: bool,
}

impl Default for Content {
    fn default() -> Self {
        Self { audio: true, video: true, guess: true, drop_excluded: true }
    }
}

impl Content {
    pub(super) fn announce(self) -> Announce {
        Announce { audio: self.audio, video: self.video, guess: self.guess }
    }

    pub(super) fn takes(self, kind: MediaKind) -> bool {
        let wanted = match kind {
            MediaKind::Audio => self.audio,
            MediaKind::Video => self.video,
        };
        wanted || !self.drop_excluded
    }
}

/// Takes out what a viewer is not to get.
pub(super) struct Sieve {
    content: Content,
    /// A stream's tracks and what is left of them: made once for each change.
    last: Option<(Arc<Tracks>, Arc<Tracks>)>,
}

impl Sieve {
    pub(super) fn new(content: Content) -> Self {
        Self { content, last: None }
    }

    pub(super) fn takes(&self, frame: &Frame) -> bool {
        self.content.takes(frame.kind())
    }

    pub(super) fn tracks(&mut self, tracks: Arc<Tracks>) -> Arc<Tracks> {
        if self.content.takes(MediaKind::Audio) && self.content.takes(MediaKind::Video) {
            return tracks;
        }
        match &self.last {
            Some((whole, left)) if Arc::ptr_eq(whole, &tracks) => Arc::clone(left),
            _ => {
                let list = tracks.list.iter().filter(|track| self.content.takes(track.kind())).cloned().collect();
                // The publisher's own words tell of all of it.
                let left = Arc::new(Tracks { list, metadata: Bytes::new() });
                self.last = Some((tracks, Arc::clone(&left)));
                left
            }
        }
    }
}
