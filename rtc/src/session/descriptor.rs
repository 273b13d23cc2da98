//! The payload descriptors of VP8 (RFC 7741 4.2) and VP9 (RFC 9628 4.2), and the one of other codecs in a
//! header extension (`wire::dependency`): where a picture stands among others, and how its numbers are changed.
//!
//! A viewer that is moved from one simulcast layer to another, or does not get all pictures of one,
//! must see numbers that go on. The bytes are patched in a copy of the descriptor; payloads are shared.

use weir_source::{Codec, Packet, TemporalPlace};

use crate::wire::dependency;

/// Bytes from the start of a payload within which all numbers lie.
pub(super) const PATCH_MAX: usize = 6;

/// A descriptor, taken apart. Places are offsets into the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Bytes; of VP9 those before the scalability structure.
    pub(super) len: usize,
    /// Temporal layer, 0 for the one that all others build on.
    pub(super) temporal: u8,
    /// VP8: it builds on nothing but layer 0 (Y). VP9: what follows of higher layers builds on nothing
    /// of these before it (U).
    pub(super) sync: bool,
    /// It is the dependency descriptor; the payload has none.
    pub(super) in_header: bool,
    /// Where a frame of those stands among temporal layers, if that is known.
    pub(super) place: Option<TemporalPlace>,
    picture: Option<(usize, u16)>,
    width: Width,
    base: Option<(usize, u8)>,
    key: Option<(usize, u8)>,
}

/// How many bits a picture's number has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Width {
    #[default]
    Seven,
    /// Behind a bit that says so.
    Fifteen,
    Sixteen,
}

impl Width {
    const fn mask(self) -> u16 {
        match self {
            Self::Seven => 0x7f,
            Self::Fifteen => 0x7fff,
            Self::Sixteen => 0xffff,
        }
    }
}

/// What is added to the numbers of a picture, each modulo its own width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    /// The picture id, 7 or 15 bits; AV1's frame number, 16.
    pub(crate) picture: u16,
    /// TL0PICIDX.
    pub(crate) base: u8,
    /// KEYIDX, 5 bits.
    pub(crate) key: u8,
}

/// The numbers of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    picture: Option<u16>,
    base: Option<u8>,
    key: Option<u8>,
}

/// The descriptor of a packet's payload; `None` for codecs without one, and for broken ones.
pub(super) fn read(codec: Codec, packet: &Packet) -> Option<Descriptor> {
    match codec {
        Codec::Vp8 => vp8(&packet.payload),
        Codec::Vp9 => vp9(&packet.payload),
        _ => in_header(packet),
    }
}

/// Whether a codec's payloads have a descriptor of their own. Then the dependency descriptor is not passed
/// on: its numbers would have to be changed as well.
pub(super) const fn is_in_payload(codec: Codec) -> bool {
    matches!(codec, Codec::Vp8 | Codec::Vp9)
}

pub(super) fn vp8(payload: &[u8]) -> Option<Descriptor> {
    const EXTENDED: u8 = 0x80;
    let mut descriptor = Descriptor { len: 1, ..Descriptor::default() };
    if payload.first()? & EXTENDED == 0 {
        return Some(descriptor);
    }
    let flags = *payload.get(1)?;
    descriptor.len = 2;
    if flags & 0x80 != 0 {
        descriptor.picture_id(payload)?;
    }
    if flags & 0x40 != 0 {
        descriptor.base = Some((descriptor.len, *payload.get(descriptor.len)?));
        descriptor.len += 1;
    }
    if flags & 0x30 != 0 {
        let byte = *payload.get(descriptor.len)?;
        if flags & 0x20 != 0 {
            (descriptor.temporal, descriptor.sync) = (byte >> 6, byte & 0x20 != 0);
        }
        if flags & 0x10 != 0 {
            descriptor.key = Some((descriptor.len, byte & 0x1f));
        }
        descriptor.len += 1;
    }
    Some(descriptor)
}

pub(super) fn vp9(payload: &[u8]) -> Option<Descriptor> {
    let flags = *payload.first()?;
    let (picture, inter, layers, flexible) = (flags & 0x80, flags & 0x40, flags & 0x20, flags & 0x10);
    let mut descriptor = Descriptor { len: 1, ..Descriptor::default() };
    if picture != 0 {
        descriptor.picture_id(payload)?;
    }
    if layers != 0 {
        let byte = *payload.get(descriptor.len)?;
        (descriptor.temporal, descriptor.sync) = (byte >> 5, byte & 0x10 != 0);
        descriptor.len += 1;
        if flexible == 0 {
            descriptor.base = Some((descriptor.len, *payload.get(descriptor.len)?));
            descriptor.len += 1;
        }
    }
    if flexible != 0 && inter != 0 {
        // At most three references, each telling whether another follows.
        for _ in 0..3 {
            let more = payload.get(descriptor.len)? & 1;
            descriptor.len += 1;
            if more == 0 {
                break;
            }
        }
    }
    Some(descriptor)
}

/// References are told by distance, so they hold while only that is left out which nothing builds on.
fn in_header(packet: &Packet) -> Option<Descriptor> {
    let number = dependency::frame_number(packet.extensions.dependency_descriptor.as_deref()?)?;
    let picture = Some((dependency::FRAME_NUMBER_AT, number));
    let place = packet.extensions.temporal;
    Some(Descriptor { in_header: true, place, picture, width: Width::Sixteen, ..Descriptor::default() })
}

impl Descriptor {
    /// The form is the same in both: one byte, or two with the highest bit set.
    fn picture_id(&mut self, payload: &[u8]) -> Option<()> {
        let first = *payload.get(self.len)?;
        let wide = first & 0x80 != 0;
        let value = if wide { u16::from_be_bytes([first & 0x7f, *payload.get(self.len + 1)?]) } else { first.into() };
        self.width = if wide { Width::Fifteen } else { Width::Seven };
        self.picture = Some((self.len, value));
        self.len += if wide { 2 } else { 1 };
        Some(())
    }

    /// The picture's numbers as they leave.
    pub(super) fn patched(&self, patch: Patch) -> Picture {
        Picture {
            picture: self.picture.map(|(_, value)| value.wrapping_add(patch.picture) & self.width.mask()),
            base: self.base.map(|(_, value)| value.wrapping_add(patch.base)),
            key: self.key.map(|(_, value)| value.wrapping_add(patch.key) & 0x1f),
        }
    }

    /// What makes this keyframe's numbers follow those of `last`.
    pub(super) fn following(&self, last: Picture) -> Patch {
        let picture = self.picture.zip(last.picture).map(|((_, own), last)| last.wrapping_add(1).wrapping_sub(own));
        let base = self.base.zip(last.base).map(|((_, own), last)| last.wrapping_add(1).wrapping_sub(own));
        let key = self.key.zip(last.key).map(|((_, own), last)| last.wrapping_add(1).wrapping_sub(own));
        Patch { picture: picture.unwrap_or(0), base: base.unwrap_or(0), key: key.unwrap_or(0) & 0x1f }
    }

    /// Changes `start`, a copy of the payload's first bytes.
    pub(super) fn apply(&self, patch: Patch, start: &mut [u8]) {
        let new = self.patched(patch);
        if let (Some((at, _)), Some(value)) = (self.picture, new.picture) {
            let [high, low] = value.to_be_bytes();
            match self.width {
                Width::Seven => put(start, at, low),
                Width::Fifteen => put(start, at, high | 0x80),
                Width::Sixteen => put(start, at, high),
            }
            if self.width != Width::Seven {
                put(start, at + 1, low);
            }
        }
        if let (Some((at, _)), Some(value)) = (self.base, new.base) {
            put(start, at, value);
        }
        if let (Some((at, _)), Some(value)) = (self.key, new.key) {
            let others = start.get(at).map_or(0, |byte| byte & 0xe0);
            put(start, at, others | value);
        }
    }
}

impl Patch {
    /// Nothing is changed.
    pub(super) fn is_none(self) -> bool {
        self == Self::default()
    }
}

fn put(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vp8_numbers_are_found_and_patched_in_every_form() {
        let long = [0x90, 0xf0, 0xff, 0xfe, 0x07, 0x7f, 0xaa];
        let read = vp8(&long).unwrap();
        assert_eq!((read.len, read.temporal, read.sync), (6, 1, true));
        let mut patched = long;
        read.apply(Patch { picture: 3, base: 255, key: 2 }, &mut patched);
        assert_eq!(patched, [0x90, 0xf0, 0x80, 0x01, 0x06, 0x61, 0xaa], "each wraps at its own width");
        let short = [0x80, 0x80, 0x7f, 0xaa];
        let read = vp8(&short).unwrap();
        let mut patched = short;
        read.apply(Patch { picture: 2, base: 9, key: 9 }, &mut patched);
        assert_eq!((read.len, patched), (3, [0x80, 0x80, 0x01, 0xaa]));
        assert_eq!(vp8(&[0x10, 0xaa]).unwrap().len, 1);
        assert_eq!(vp8(&[0x90, 0xf0, 0xff]), None);
    }

    #[test]
    fn vp9_numbers_are_found_with_and_without_references() {
        let read = vp9(&[0xa8, 0x81, 0x02, 0x30, 0x09, 0xaa]).unwrap();
        assert_eq!((read.len, read.temporal, read.sync), (5, 1, true));
        assert_eq!((read.picture, read.base), (Some((1, 0x102)), Some((4, 9))));
        let flexible = vp9(&[0xf8, 0x05, 0x40, 0x03, 0x04, 0xaa]).unwrap();
        assert_eq!((flexible.len, flexible.temporal, flexible.base), (5, 2, None));
        assert_eq!(vp9(&[0xf8, 0x05, 0x40, 0x03]), None);
    }

    #[test]
    fn a_keyframe_of_another_layer_follows_what_was_sent() {
        let old = vp8(&[0x90, 0xf0, 0x92, 0x34, 0x07, 0x1f]).unwrap().patched(Patch::default());
        let new = vp8(&[0x90, 0xf0, 0x80, 0x02, 0xf0, 0x03]).unwrap();
        let follows = new.patched(new.following(old));
        assert_eq!(follows, Picture { picture: Some(0x1235), base: Some(8), key: Some(0) });
    }

    proptest! {
        #[test]
        fn a25_any_payload_is_survived(payload in proptest::collection::vec(any::<u8>(), 0..12), picture: u16, base: u8, key: u8) {
            for read in [vp8(&payload), vp9(&payload)].into_iter().flatten() {
                prop_assert!(read.len <= payload.len());
                let mut start: Vec<u8> = payload.iter().copied().take(PATCH_MAX).collect();
                read.apply(Patch { picture, base, key }, &mut start);
            }
        }
    }
}
