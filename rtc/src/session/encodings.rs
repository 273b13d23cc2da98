//! The simulcast layers of one publisher: their names, and which is the best.
//!
//! An offer lists layers in any order; which is the largest shows only in their pictures. Where sizes are
//! equal, or not told, that is the better one which takes far more bits. Until then the offer's order counts
//! (RFC 8853 section 5.1: it is that of preference).

use std::time::{Duration, Instant};

use weir_source::{Codec, Layer, TrackId};

use super::picture;
use crate::sdp::{LayerParams, MediaParams};

/// Layers are measured over this: longer than what a keyframe makes of a second.
const MEASURED_OVER: Duration = Duration::from_secs(3);
/// Of two layers that one is better which has this many percent of the other's bits. Layers are at least
/// twice apart in practice; those that are not keep their places, or they would change them all the time.
const MORE_PERCENT: u64 = 150;

/// All layers of one publisher; none without simulcast.
#[derive(Debug, Default)]
pub(super) struct Encodings {
    /// In the offer's order.
    list: Vec<Encoding>,
    measured_since: Option<Instant>,
}

#[derive(Debug)]
struct Encoding {
    params: LayerParams,
    size: Option<(u32, u32)>,
    rank: u8,
    /// Bytes that came since the measurement began, …
    bytes: u64,
    /// … and in the last two: what began or ended within one is not known yet.
    measured: [u64; 2],
}

impl Encodings {
    pub(super) fn new(media: &[MediaParams]) -> Self {
        let layers = media.iter().flat_map(|media| &media.layers);
        let encoding = |(rank, params): (u8, &LayerParams)| Encoding {
            params: params.clone(),
            size: None,
            rank,
            bytes: 0,
            measured: [0; 2],
        };
        Self { list: (0..).zip(layers).map(encoding).collect(), measured_since: None }
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

    /// Counts what came of a track. Whether the layers are others now.
    pub(super) fn measure(&mut self, now: Instant, track: TrackId, bytes: usize) -> bool {
        let Some(encoding) = self.list.iter_mut().find(|encoding| encoding.params.track == track) else { return false };
        encoding.bytes = encoding.bytes.saturating_add(bytes as u64);
        if now.saturating_duration_since(*self.measured_since.get_or_insert(now)) < MEASURED_OVER {
            return false;
        }
        self.measured_since = Some(now);
        for encoding in &mut self.list {
            let [last, _] = encoding.measured;
            encoding.measured = [std::mem::take(&mut encoding.bytes), last];
        }
        let ranks = |list: &[Encoding]| list.iter().map(|encoding| encoding.rank).collect::<Vec<_>>();
        let before = ranks(&self.list);
        self.rank_by_rate();
        before != ranks(&self.list)
    }

    /// Neighbours whose sizes do not tell change places if their rates do.
    fn rank_by_rate(&mut self) {
        let mut order: Vec<usize> = (0..self.list.len()).collect();
        order.sort_by_key(|index| self.list.get(*index).map(|encoding| encoding.rank));
        for _ in 1..order.len() {
            for place in 1..order.len() {
                if let Some(&[upper, lower]) = order.get(place - 1..=place)
                    && self.outdoes(lower, upper)
                {
                    order.swap(place - 1, place);
                }
            }
        }
        self.set_ranks(order.into_iter());
    }

    fn outdoes(&self, lower: usize, upper: usize) -> bool {
        let (Some(lower), Some(upper)) = (self.list.get(lower), self.list.get(upper)) else { return false };
        let told = lower.size.zip(upper.size).is_some_and(|(lower, upper)| area(lower) != area(upper));
        let steady = [lower, upper].iter().all(|encoding| !encoding.measured.contains(&0));
        let ([lower, _], [upper, _]) = (lower.measured, upper.measured);
        !told && steady && lower.saturating_mul(100) > upper.saturating_mul(MORE_PERCENT)
    }

    /// The larger the better. Of those not seen yet nothing is known but the offer's order, by which
    /// they find their places between the others.
    fn rank(&mut self) {
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
        self.set_ranks(order.into_iter().map(|(index, _)| index));
    }

    fn set_ranks(&mut self, best_first: impl Iterator<Item = usize>) {
        for (rank, index) in (0..).zip(best_first) {
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

fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
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
            bytes: 0,
            measured: [0; 2],
        };
        Encodings { list: [("a", TrackId::VIDEO), ("b", SECOND), ("c", THIRD)].map(layer).into(), measured_since: None }
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

    /// Ten seconds of so many bytes of each layer every 100 ms; how often the order changed.
    fn send(encodings: &mut Encodings, now: &mut Instant, bytes: [usize; 3]) -> usize {
        let mut changes = 0;
        for _ in 0..100 {
            *now += Duration::from_millis(100);
            for (track, bytes) in [TrackId::VIDEO, SECOND, THIRD].into_iter().zip(bytes).filter(|(_, bytes)| *bytes > 0) {
                changes += usize::from(encodings.measure(*now, track, bytes));
            }
        }
        changes
    }

    #[test]
    fn where_sizes_do_not_tell_the_layer_of_far_more_bits_is_the_better_one() {
        let (mut unknown, mut equal, mut now) = (encodings(), encodings(), Instant::now());
        for track in [TrackId::VIDEO, SECOND, THIRD] {
            equal.look(track, Codec::Vp8, &keyframe(320, 180));
        }
        for encodings in [&mut unknown, &mut equal] {
            assert_eq!(send(encodings, &mut now, [1_000, 1_200, 900]), 0, "they are about the same");
            assert_eq!(send(encodings, &mut now, [1_000, 4_000, 16_000]), 1);
            assert_eq!(best_first(encodings), ["c", "b", "a"]);
            assert_eq!(send(encodings, &mut now, [1_000, 4_000, 0]), 0, "one that pauses keeps its place");
            assert_eq!(send(encodings, &mut now, [1_000, 4_000, 16_000]), 0, "and has it when it returns");
        }
    }

    #[test]
    fn where_sizes_tell_rates_do_not_count() {
        let (mut encodings, mut now) = (encodings(), Instant::now());
        assert!(encodings.look(THIRD, Codec::Vp8, &keyframe(640, 360)));
        assert!(!encodings.look(SECOND, Codec::Vp8, &[]));
        encodings.look(TrackId::VIDEO, Codec::Vp8, &keyframe(320, 180));
        assert_eq!(best_first(&encodings), ["c", "b", "a"]);
        assert_eq!(send(&mut encodings, &mut now, [16_000, 100, 1_000]), 1, "of the second nothing else is known");
        assert_eq!(best_first(&encodings), ["c", "a", "b"]);
    }

    #[test]
    fn without_layers_there_is_nothing_to_rank() {
        let mut none = Encodings::new(&[]);
        assert!(!none.look(TrackId::VIDEO, Codec::Vp8, &keyframe(160, 90)));
        assert_eq!(none.layer(TrackId::VIDEO), None);
    }
}
