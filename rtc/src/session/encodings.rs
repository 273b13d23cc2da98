//! The simulcast layers of one publisher: their names, and which is the best.
//!
//! An offer lists layers in any order; which is the largest shows only in their pictures. Until then
//! the offer's order counts (RFC 8853 section 5.1: it is that of preference).

use weir_source::{Codec, Layer, TrackId};

use super::picture;
use crate::sdp::{LayerParams, MediaParams};

/// All layers of one publisher; none without simulcast.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    /// In the offer's order.
    list: Vec<Encoding>,
}

#[derive(Debug)]
struct Encoding {
    params: LayerParams,
    size: Option<(u32, u32)>,
    rank: u8,
}

impl Encodings {
    pub(super) fn new(media: &[MediaParams]) -> Self {
        let layers = media.iter().flat_map(|media| &media.layers);
        let encoding = |(rank, params): (u8, &LayerParams)| Encoding { params: params.clone(), size: None, rank };
        Self { list: (0..).zip(layers).map(encoding).collect() }
    }

    /// What a track is told to be; `None` where there are no layers.
    pub(super) fn layer(&self, track: TrackId) -> Option<Layer> {
        let encoding = self.list.iter().find(|encoding| encoding.params.track == track)?;
        Some(Layer { rid: encoding.params.rid.clone(), rank: encoding.rank, size: encoding.size })
    }

    /// Looks at the first packet of a keyframe. Whether the layers are others now.
    pub(super) fn look(&mut self, track: TrackId, codec: Codec, payload: &[u8]) -> bool {
        let Some(encoding) = self.list.iter_mut().find(|encoding| encoding.params.track == track) else { return false };
        let seen = picture::size(codec, payload);
        if seen.is_none() || seen == encoding.size {
            return false;
        }
        encoding.size = seen;
        self.rank();
        true
    }

    /// The larger the better. Of those not seen yet nothing is known but the offer's order, by which
    /// they find their places between the others.
    fn rank(&mut self) {
        let area = |size: (u32, u32)| u64::from(size.0) * u64::from(size.1);
        let mut order: Vec<(usize, u8)> = self.list.iter().map(|encoding| encoding.rank).enumerate().collect();
        order.sort_by_key(|(_, rank)| *rank);
        // Those seen are sorted among their own places.
        let places: Vec<usize> = (0..order.len()).filter(|place| self.size_at(&order, *place).is_some()).collect();
        let mut seen: Vec<(usize, u8)> = places.iter().filter_map(|place| order.get(*place).copied()).collect();
        seen.sort_by_key(|(index, _)| std::cmp::Reverse(self.list.get(*index).and_then(|e| e.size).map(area)));
        for (place, entry) in places.into_iter().zip(seen) {
            if let Some(slot) = order.get_mut(place) {
                *slot = entry;
            }
        }
        for (rank, (index, _)) in (0..).zip(order) {
            if let Some(encoding) = self.list.get_mut(index) {
                encoding.rank = rank;
            }
        }
    }

    fn size_at(&self, order: &[(usize, u8)], place: usize) -> Option<(u32, u32)> {
        let (index, _) = order.get(place)?;
        self.list.get(*index)?.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD: TrackId = match TrackId::new(3) {
        Some(track) => track,
        None => TrackId::VIDEO,
    };
    const SECOND: TrackId = match TrackId::new(2) {
        Some(track) => track,
        None => TrackId::VIDEO,
    };

    /// The first packet of a VP8 keyframe of this size.
    fn keyframe(width: u16, height: u16) -> Vec<u8> {
        let mut payload = vec![0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a];
        payload.extend(width.to_le_bytes());
        payload.extend(height.to_le_bytes());
        payload
    }

    fn encodings() -> Encodings {
        let layer = |(rid, track): (&str, TrackId)| Encoding {
            params: LayerParams { rid: rid.into(), track, paused: false, ssrc: None },
            size: None,
            rank: track.index() as u8 - 1,
        };
        Encodings { list: [("a", TrackId::VIDEO), ("b", SECOND), ("c", THIRD)].map(layer).into() }
    }

    fn best_first(encodings: &Encodings) -> Vec<String> {
        let mut layers: Vec<Layer> = [TrackId::VIDEO, SECOND, THIRD].iter().filter_map(|t| encodings.layer(*t)).collect();
        layers.sort_by_key(|layer| layer.rank);
        layers.into_iter().map(|layer| layer.rid).collect()
    }

    #[test]
    fn the_larger_picture_is_the_better_layer_whatever_the_order_of_the_offer() {
        let mut encodings = encodings();
        assert_eq!(best_first(&encodings), ["a", "b", "c"]);
        assert!(encodings.look(TrackId::VIDEO, Codec::Vp8, &keyframe(160, 90)));
        assert_eq!(best_first(&encodings), ["a", "b", "c"], "of the others nothing is known");
        assert!(encodings.look(THIRD, Codec::Vp8, &keyframe(640, 360)));
        assert_eq!(best_first(&encodings), ["c", "b", "a"]);
        assert!(encodings.look(SECOND, Codec::Vp8, &keyframe(320, 180)));
        assert_eq!(best_first(&encodings), ["c", "b", "a"]);
        assert!(!encodings.look(SECOND, Codec::Vp8, &keyframe(320, 180)), "nothing new");
        assert!(!encodings.look(SECOND, Codec::Vp8, &[0x10, 0x01]), "nothing to be seen");
        assert_eq!(encodings.layer(SECOND).unwrap().size, Some((320, 180)));
    }

    #[test]
    fn without_layers_there_is_nothing_to_rank() {
        let mut none = Encodings::new(&[]);
        assert!(!none.look(TrackId::VIDEO, Codec::Vp8, &keyframe(160, 90)));
        assert_eq!(none.layer(TrackId::VIDEO), None);
    }
}
