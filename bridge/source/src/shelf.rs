//! What a ring keeps its items in.
//!
//! Frames are shared: a [`VecDeque`] of them is enough. Packets are many, small, and written far more
//! often than read, each into memory that was last touched seconds ago: a [`Shelf`] writes them one
//! behind the other into a few blocks and drops them a block at a time, so that taking in a packet
//! touches little besides the packet itself. Readers get copies: nobody's slowness holds a block.

use std::{collections::VecDeque, mem};

use bytes::Bytes;

use crate::{MediaTime, Packet, PacketExtensions, RingItem, TemporalPlace, TrackId};

/// Bytes of payload in a block: a fifth of a second at 670 kb/s, so that what is kept beyond a ring's
/// span is little, in some twenty packets, so that dropping them together pays.
const BLOCK_BYTES: usize = 16 * 1_024;
/// Packets in a block, however small: two seconds of sound.
const BLOCK_ITEMS: usize = 128;

/// The oldest items of a store, which are dropped together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many; 0: there are none.
    pub(crate) items: usize,
    /// [`RingItem::cost`] of all.
    pub(crate) bytes: usize,
    /// The time of the latest of them.
    pub(crate) latest: MediaTime,
}

/// Items in the order in which they were put there.
#[doc(hidden)]
pub trait Store<T>: Default + Send {
    fn len(&self) -> usize;
    fn push(&mut self, item: T);
    /// What [`Store::drop_oldest`] would drop.
    fn oldest(&self) -> Group;
    fn drop_oldest(&mut self);
    /// The item at a place, 0 for the oldest.
    fn get(&self, place: usize) -> Option<T>;
    /// Copies items to the end of `out`. The range is within the length.
    fn read(&self, places: std::ops::Range<usize>, out: &mut Vec<T>);
}

impl<T: RingItem + Send> Store<T> for VecDeque<T> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    fn push(&mut self, item: T) {
        self.push_back(item);
    }

    fn oldest(&self) -> Group {
        self.front().map_or_else(Group::default, |item| Group { items: 1, bytes: item.cost(), latest: item.time() })
    }

    fn drop_oldest(&mut self) {
        self.pop_front();
    }

    fn get(&self, place: usize) -> Option<T> {
        Self::get(self, place).cloned()
    }

    fn read(&self, places: std::ops::Range<usize>, out: &mut Vec<T>) {
        out.extend(self.range(places).cloned());
    }
}

/// Packets, in blocks.
#[derive(Default)]
pub struct Shelf {
    /// The block that is being filled.
    open: Block,
    /// Of the oldest full block.
    oldest: Group,
    len: usize,
    /// Packets dropped so far.
    dropped: u64,
    /// Full ones, the oldest first.
    full: VecDeque<Block>,
    /// Memory of a dropped block, for the next.
    spare: Option<Block>,
}

#[derive(Default)]
struct Block {
    /// Descriptors and payloads, one behind the other.
    data: Vec<u8>,
    slots: Vec<Slot>,
    group: Group,
    /// Packets before its first since the shelf was made.
    first: u64,
}

/// A packet without its bytes.
struct Slot {
    seq: u64,
    timestamp: u64,
    capture: MediaTime,
    epoch: u32,
    /// Where its dependency descriptor begins, and its payload behind that.
    at: u32,
    payload_len: u32,
    descriptor_len: Option<u16>,
    track: TrackId,
    marker: bool,
    keyframe: bool,
    audio_level: Option<u8>,
    video_orientation: Option<u8>,
    playout_delay: Option<[u8; 3]>,
    temporal: Option<TemporalPlace>,
}

impl Block {
    fn has_room(&self, bytes: usize) -> bool {
        self.slots.len() < BLOCK_ITEMS && self.data.len() + bytes <= self.data.capacity()
    }

    /// An empty one that takes a packet of so many bytes.
    fn empty(spare: Option<Self>, bytes: usize, slots: usize) -> Self {
        let spare = spare.filter(|spare| spare.data.capacity() >= bytes);
        spare.unwrap_or_else(|| Self {
            data: Vec::with_capacity(BLOCK_BYTES.max(bytes)),
            slots: Vec::with_capacity(slots),
            ..Self::default()
        })
    }

    fn push(&mut self, packet: &Packet) {
        let extensions = &packet.extensions;
        // A descriptor comes in a header extension, of 255 bytes at most (RFC 8285 section 4.3).
        let descriptor = extensions.dependency_descriptor.as_deref();
        let descriptor = descriptor.and_then(|descriptor| Some((descriptor, u16::try_from(descriptor.len()).ok()?)));
        self.slots.push(Slot {
            seq: packet.seq,
            timestamp: packet.timestamp,
            capture: packet.capture,
            epoch: packet.epoch,
            at: self.data.len() as u32,
            payload_len: packet.payload.len() as u32,
            descriptor_len: descriptor.map(|(_, len)| len),
            track: packet.track,
            marker: packet.marker,
            keyframe: packet.keyframe,
            audio_level: extensions.audio_level,
            video_orientation: extensions.video_orientation,
            playout_delay: extensions.playout_delay,
            temporal: extensions.temporal,
        });
        if let Some((descriptor, _)) = descriptor {
            self.data.extend_from_slice(descriptor);
        }
        self.data.extend_from_slice(&packet.payload);
        self.group.latest = if self.group.items == 0 { packet.capture } else { self.group.latest.max(packet.capture) };
        self.group.items += 1;
        self.group.bytes += packet.payload.len();
    }

    fn get(&self, place: usize) -> Option<Packet> {
        let slot = self.slots.get(place)?;
        let rest = self.data.get(slot.at as usize..)?;
        let (descriptor, rest) = rest.split_at_checked(slot.descriptor_len.map_or(0, usize::from))?;
        Some(Packet {
            track: slot.track,
            epoch: slot.epoch,
            seq: slot.seq,
            timestamp: slot.timestamp,
            capture: slot.capture,
            marker: slot.marker,
            keyframe: slot.keyframe,
            extensions: PacketExtensions {
                audio_level: slot.audio_level,
                video_orientation: slot.video_orientation,
                playout_delay: slot.playout_delay,
                dependency_descriptor: slot.descriptor_len.map(|_| Bytes::copy_from_slice(descriptor)),
                temporal: slot.temporal,
            },
            payload: Bytes::copy_from_slice(rest.get(..slot.payload_len as usize)?),
        })
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }
}

impl Shelf {
    /// Closes the block in hand and opens one with room for so many bytes.
    fn turn(&mut self, bytes: usize) {
        let next = Block { first: self.open.end(), ..Block::empty(self.spare.take(), bytes, self.open.slots.len()) };
        let done = mem::replace(&mut self.open, next);
        if done.slots.is_empty() {
            return;
        }
        if self.full.is_empty() {
            self.oldest = done.group;
        }
        self.full.push_back(done);
    }

    fn block(&self, at: u64) -> Option<&Block> {
        if at >= self.open.first {
            return Some(&self.open);
        }
        let place = self.full.partition_point(|block| block.end() <= at);
        self.full.get(place)
    }
}

impl Store<Packet> for Shelf {
    fn len(&self) -> usize {
        self.len
    }

    fn push(&mut self, packet: Packet) {
        let descriptor = packet.extensions.dependency_descriptor.as_ref().map_or(0, Bytes::len);
        let bytes = packet.payload.len() + descriptor;
        if !self.open.has_room(bytes) {
            self.turn(bytes);
        }
        self.open.push(&packet);
        self.len += 1;
    }

    fn oldest(&self) -> Group {
        if self.full.is_empty() { self.open.group } else { self.oldest }
    }

    fn drop_oldest(&mut self) {
        let next = Block { first: self.open.end(), ..Block::default() };
        let mut block = self.full.pop_front().unwrap_or_else(|| mem::replace(&mut self.open, next));
        self.oldest = self.full.front().map_or_else(Group::default, |block| block.group);
        self.len = self.len.saturating_sub(block.slots.len());
        self.dropped += block.slots.len() as u64;
        if block.data.capacity() <= BLOCK_BYTES {
            block.data.clear();
            block.slots.clear();
            block.group = Group::default();
            self.spare = Some(block);
        }
    }

    fn get(&self, place: usize) -> Option<Packet> {
        let at = self.dropped + place as u64;
        let block = self.block(at)?;
        block.get(usize::try_from(at.checked_sub(block.first)?).ok()?)
    }

    fn read(&self, places: std::ops::Range<usize>, out: &mut Vec<Packet>) {
        out.extend(places.filter_map(|place| self.get(place)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(n: u64, len: usize) -> Packet {
        let some = n.is_multiple_of(3);
        Packet {
            track: TrackId::new((n % 4) as u8).unwrap(),
            epoch: n as u32 / 7,
            seq: n,
            timestamp: n * 3_000,
            capture: MediaTime::from_millis(n as i64 * 10),
            marker: n.is_multiple_of(2),
            keyframe: n.is_multiple_of(50),
            extensions: PacketExtensions {
                audio_level: some.then_some(n as u8),
                video_orientation: (!some).then_some(1),
                playout_delay: some.then_some([1, 2, n as u8]),
                dependency_descriptor: (!some).then(|| Bytes::from(vec![n as u8; n as usize % 5])),
                temporal: some.then_some(TemporalPlace { layer: 1, needed: 2, switch: n as u8 }),
            },
            payload: Bytes::from(vec![n as u8; len]),
        }
    }

    fn same(a: &Packet, b: &Packet) -> bool {
        let rest = |packet: &Packet| (packet.timestamp, packet.capture, packet.epoch, packet.marker, packet.keyframe);
        (a.track, a.seq, rest(a)) == (b.track, b.seq, rest(b)) && a.extensions == b.extensions && a.payload == b.payload
    }

    proptest! {
        #[test]
        fn it_gives_back_what_was_put_there(
            steps in proptest::collection::vec((prop_oneof![0usize..200, 1_000usize..1_400, Just(20_000)], 0usize..20), 1..100),
        ) {
            let mut shelf = Shelf::default();
            let mut held = VecDeque::new();
            for (n, (len, drops)) in (0..).zip(steps) {
                let packet = packet(n, len);
                held.push_back(packet.clone());
                shelf.push(packet);
                if drops == 0 {
                    let oldest = shelf.oldest();
                    let gone: Vec<_> = held.drain(..oldest.items).collect();
                    prop_assert_eq!(oldest.bytes, gone.iter().map(|packet| packet.payload.len()).sum::<usize>());
                    prop_assert_eq!(Some(oldest.latest), gone.iter().map(|packet| packet.capture).max());
                    shelf.drop_oldest();
                }
                prop_assert_eq!(Store::len(&shelf), held.len());
                for (place, packet) in held.iter().enumerate() {
                    prop_assert!(same(&Store::get(&shelf, place).unwrap(), packet), "{}", place);
                }
                prop_assert!(Store::get(&shelf, held.len()).is_none());
            }
        }
    }

    #[test]
    fn blocks_are_used_again() {
        let mut shelf = Shelf::default();
        let mut places = std::collections::BTreeSet::new();
        for n in 0..2_000 {
            shelf.push(packet(n, 1_000));
            while Store::len(&shelf) > 100 {
                shelf.drop_oldest();
            }
            places.insert(shelf.open.data.as_ptr());
        }
        assert!(places.len() <= 10, "{}", places.len());
    }

    #[test]
    fn a_block_of_small_packets_ends_too() {
        let mut shelf = Shelf::default();
        (0..1_000).for_each(|n| shelf.push(packet(n * 3, 0)));
        assert_eq!(shelf.oldest().items, BLOCK_ITEMS);
    }
}
