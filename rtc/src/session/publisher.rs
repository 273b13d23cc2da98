//! What only the owner of a publisher's session calls. On a player's they do nothing.

use std::time::Instant;

use weir_source::{MediaTime, Packet, TrackId};

use super::{Media, Session};

impl Session {
    /// The source's timeline already stands at `floor` (`Source::floor()`): the first
    /// packet is stamped after it. Call before the first datagram.
    pub fn set_floor(&mut self, floor: MediaTime) {
        if let Media::In(inbound) = &mut self.media {
            inbound.set_floor(floor);
        }
    }

    /// Moves what came in since the last call to the end of `out`, ready for
    /// `Publisher::push`.
    pub fn take_packets(&mut self, out: &mut Vec<Packet>) {
        if let Media::In(inbound) = &mut self.media {
            inbound.take_packets(out);
        }
    }

    /// Asks the peer for a keyframe (PLI), at most once in 500 ms and, in the long run, once a second;
    /// wishes in between are one wish, granted at the end of that time unless a keyframe comes by itself.
    /// Each simulcast layer is a track, asked by itself.
    pub fn request_keyframe(&mut self, now: Instant, track: TrackId) {
        if let Media::In(inbound) = &mut self.media {
            inbound.request_keyframe(now, track);
        }
        self.poll_media(now);
    }

    /// The streams that it sends, as its own packets name them.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> {
        let inbound = if let Media::In(inbound) = &self.media { Some(inbound) } else { None };
        inbound.into_iter().flat_map(|inbound| inbound.ssrcs())
    }
}
