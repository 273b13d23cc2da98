//! Which pictures of one layer a viewer gets whose line does not carry them all: the upper temporal
//! layers, on which nothing below builds, are left out.

use weir_source::{Codec, Packet, TemporalPlace};

use super::descriptor::Descriptor;

/// Part of a stream's rate up to and with each temporal layer, in thousandths, by how many it has: what
/// libwebrtc's encoders aim at.
const SHARES: [&[u64]; 4] = [&[1_000], &[600, 1_000], &[400, 600, 1_000], &[250, 400, 600, 1_000]];
/// One layer more needs this many thousandths of what it takes.
const HEADROOM: u64 = 1_150;
/// The highest temporal layer of any codec.
pub(super) const ALL: u8 = 7;

/// The state of one viewer's picture.
#[derive(Debug)]
pub(super) struct Temporal {
    /// The highest layer sent.
    limit: u8,
    /// The highest that should be.
    wanted: u8,
    /// The highest seen.
    highest: u8,
    /// The picture decided on last, by its timestamp, and whether it is sent.
    picture: Option<(u64, bool)>,
}

impl Default for Temporal {
    fn default() -> Self {
        Self { limit: ALL, wanted: ALL, highest: 0, picture: None }
    }
}

impl Temporal {
    /// The viewer's line carries `share` thousandths of the layer.
    pub(super) fn set_share(&mut self, share: u64) {
        let Some(shares) = SHARES.get(usize::from(self.highest)).filter(|_| self.highest > 0) else { return };
        let fits = |(layer, needed): &(u8, &u64)| {
            let needed = if *layer > self.wanted { **needed * HEADROOM / 1_000 } else { **needed };
            needed <= share
        };
        let top = (0u8..).zip(*shares).filter(fits).map(|(layer, _)| layer).last().unwrap_or(0);
        self.wanted = if top >= self.highest { ALL } else { top };
    }

    /// The highest layer sent, unless all are.
    pub(super) fn limit(&self) -> Option<u8> {
        (self.limit < self.highest).then_some(self.limit)
    }

    /// A layer begins: all that follows builds on it.
    pub(super) fn restart(&mut self) {
        self.highest = 0;
        self.picture = None;
    }

    /// Whether a packet goes on. Packets of one picture share one fate.
    pub(super) fn takes(&mut self, codec: Codec, packet: &Packet, descriptor: &Descriptor) -> bool {
        self.highest = self.highest.max(descriptor.place.map_or(descriptor.temporal, |place| place.layer));
        if self.limit == ALL && self.wanted == ALL {
            return true;
        }
        if let Some((timestamp, taken)) = self.picture
            && timestamp == packet.timestamp
        {
            return taken;
        }
        self.limit = self.limit.min(self.wanted);
        let taken = match descriptor.place {
            Some(place) => self.takes_place(packet.keyframe, place),
            None => self.takes_layer(codec, packet.keyframe, descriptor),
        };
        if self.limit >= self.highest && self.wanted == ALL {
            self.limit = ALL;
        }
        self.picture = Some((packet.timestamp, taken));
        taken
    }

    /// AV1 RTP 1.0 A.4.4: more is sent from a frame on that can be decoded and says that it may be.
    fn takes_place(&mut self, keyframe: bool, place: TemporalPlace) -> bool {
        let part = |bits: u8, part: u8| bits.checked_shr(part.into()).unwrap_or(0) & 1 == 1;
        let taken = keyframe || part(place.needed, self.limit);
        if keyframe {
            self.limit = self.wanted;
        } else if taken && let Some(more) = (self.limit..=self.wanted).rev().find(|more| part(place.switch, *more)) {
            self.limit = more;
        }
        taken
    }

    fn takes_layer(&mut self, codec: Codec, keyframe: bool, descriptor: &Descriptor) -> bool {
        let layer = descriptor.temporal;
        // RFC 7741 4.2, Y: it builds on layer 0 alone, so those above the limit are not missed.
        if codec == Codec::Vp8 && descriptor.sync && layer == self.limit.saturating_add(1) && layer <= self.wanted {
            self.limit = layer;
        }
        let taken = layer <= self.limit;
        // RFC 9628 4.2, U: what follows builds on nothing before it of layers above its own. After a
        // keyframe nothing builds on what was before it.
        if keyframe || codec == Codec::Vp9 && descriptor.sync && taken {
            self.limit = self.wanted;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_source::{MediaTime, PacketExtensions, TrackId};

    use super::*;
    use crate::session::descriptor;

    /// VP8 pictures as (temporal layer, sync), one packet each; which of them go on.
    fn taken(temporal: &mut Temporal, from: u64, pictures: &[(u8, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, (layer, sync)) in (from..).zip(pictures) {
            let packet = Packet {
                track: TrackId::VIDEO,
                epoch: 1,
                seq: n,
                timestamp: n * 3_000,
                capture: MediaTime::from_millis(n as i64 * 33),
                marker: true,
                keyframe: false,
                extensions: PacketExtensions::default(),
                payload: Bytes::copy_from_slice(&[0x90, 0x20, layer << 6 | u8::from(*sync) << 5, 0x01]),
            };
            let read = descriptor::read(Codec::Vp8, &packet).unwrap();
            if temporal.takes(Codec::Vp8, &packet, &read) {
                out.push(*layer);
            }
        }
        out
    }

    const PATTERN: [(u8, bool); 8] =
        [(0, false), (2, true), (1, true), (2, false), (0, false), (2, false), (1, false), (2, false)];

    #[test]
    fn upper_layers_go_at_once_and_come_back_where_they_build_on_nothing_missing() {
        let mut temporal = Temporal::default();
        assert_eq!(taken(&mut temporal, 0, &PATTERN).len(), 8);
        temporal.set_share(700);
        assert_eq!(taken(&mut temporal, 8, &PATTERN), [0, 1, 0, 1]);
        assert_eq!(temporal.limit(), Some(1));
        temporal.set_share(300);
        assert_eq!(taken(&mut temporal, 16, &PATTERN), [0, 0], "the base is always sent");
        temporal.set_share(5_000);
        assert_eq!(taken(&mut temporal, 24, &PATTERN[4..]), [0], "nothing to begin with");
        assert_eq!(taken(&mut temporal, 28, &PATTERN), [0, 1, 0, 1]);
        assert_eq!(taken(&mut temporal, 36, &PATTERN).len(), 8, "the sync picture of layer 2 came");
        assert_eq!(temporal.limit(), None);
    }

    #[test]
    fn one_more_layer_needs_room() {
        let mut temporal = Temporal::default();
        taken(&mut temporal, 0, &PATTERN);
        for (share, wanted) in [(650, 1), (1_050, 1), (1_160, ALL), (1_010, ALL), (990, 1), (420, 0), (610, 0), (700, 1)] {
            temporal.set_share(share);
            assert_eq!(temporal.wanted, wanted, "{share}");
        }
    }
}
