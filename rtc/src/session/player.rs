//! What only the owner of a player's session calls. On a publisher's they do nothing.

use std::time::Instant;

use weir_source::{LayerState, MediaTime, Packet, TrackSet, Tracks};

use super::{Fill, Media, Resend, Session, State, outgoing::Place};

impl Session {
    /// The tracks of the packets lane as they stand now, and whenever they change: payload
    /// types are chosen by them. Call before forwarding packets that need it. Without this call
    /// each track is taken to have the first codec agreed.
    pub fn set_tracks(&mut self, tracks: &Tracks) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.set_tracks(tracks);
        }
    }

    /// What is captured before `live` (`Packet::capture` of the newest packet in the ring)
    /// is backlog, kept since the last keyframe. The viewer gets its pictures fast-forwarded and
    /// its sound from `live` on. `cached`: the layers that have a keyframe in it (`Ring::join_tracks`).
    /// Call before the first [`Session::forward`]; without this call all packets count as live.
    pub fn join(&mut self, live: MediaTime, cached: TrackSet) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.join(live, cached);
        }
    }

    /// What of the picture flows now (`Source::layers`). Call a few times a second, and once
    /// before the first [`Session::forward`]: the viewer's simulcast layer is chosen here.
    pub fn set_layers(&mut self, now: Instant, states: &[LayerState]) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.set_layers(now, states);
        }
    }

    /// Which part of the source's pictures is of the layer that the viewer should get, above 0
    /// and up to 1.
    pub fn picture_part(&self) -> f64 {
        if let Media::Out(outbound) = &self.media { outbound.layers.part() } else { 1.0 }
    }

    /// Bits per second on the wire that the viewer may be sent, in place of what is found out
    /// of its path. Heard at the next [`Session::set_layers`].
    pub fn set_budget(&mut self, bits_per_second: Option<u64>) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.budget = bits_per_second;
        }
    }

    /// The viewer lost its picture, and the source cannot make a keyframe for it. It gets the
    /// pictures from the cached one up to `live` once more, fast-forwarded. Sound is not touched.
    pub fn rejoin(&mut self, live: MediaTime) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.rejoin(live);
        }
    }

    /// The reader of the ring lost packets (`Read::Lagged`): go on at the next keyframe.
    pub fn skip_to_keyframe(&mut self) {
        if let Media::Out(outbound) = &mut self.media {
            outbound.skip_to_keyframe();
        }
    }

    /// Player, the hot path: writes `packet`, which is at `position` of the ring, as SRTP for this
    /// viewer into `out` and returns its length. `None`: not for this viewer. `out` should hold the
    /// payload and 128 bytes, and what `fill` adds; packets that do not fit are lost to this viewer.
    pub fn forward(&mut self, now: Instant, position: u64, packet: &Packet, fill: Fill, out: &mut [u8]) -> Option<usize> {
        let (Media::Out(outbound), Some(keys), State::Connected) = (&mut self.media, &self.transport.keys, self.state) else {
            return None;
        };
        outbound.forward(now, Place { position, fill }, packet, &keys.protect, &mut self.stats, out)
    }

    /// Writes a packet again, on the retransmission stream if there is one. `packet` is the
    /// ring's item at `resend.position`, where no other ever is. `out` as for
    /// [`Session::forward`].
    pub fn resend(&mut self, now: Instant, resend: &Resend, packet: &Packet, out: &mut [u8]) -> Option<usize> {
        let (Media::Out(outbound), Some(keys), State::Connected) = (&mut self.media, &self.transport.keys, self.state) else {
            return None;
        };
        outbound.resend(now, resend, packet, &keys.protect, &mut self.stats, out)
    }

    /// What the path carries, in bits per second, where it is being found out.
    pub fn estimate(&self) -> Option<u64> {
        match &self.media {
            Media::Out(outbound) => outbound.estimate(),
            Media::In(_) => None,
        }
    }
}
