//! How large is the picture that starts in this packet? A bounded peek at keyframes: which simulcast layer
//! is the best, and what the API tells of a stream; nothing else goes by it.

use h264_reader::{
    nal::sps::SeqParameterSet,
    rbsp::{self, ByteReader},
};
use weir_source::{Codec, VideoInfo};

use super::descriptor;
use crate::wire::bits::Bits;

/// Width and height in pixels that a keyframe's first packet tells, if it does.
pub(super) fn size(codec: Codec, payload: &[u8]) -> Option<(u32, u32)> {
    let (width, height) = match codec {
        Codec::H264 => h264(payload)?,
        Codec::Vp8 => vp8(payload)?,
        Codec::Vp9 => vp9(payload)?,
        Codec::Av1 => av1(payload)?,
        _ => return None,
    };
    (width > 0 && height > 0).then_some((width, height))
}

/// What a keyframe's first packet tells of the pictures, if it does.
pub(super) fn info(codec: Codec, payload: &[u8]) -> Option<VideoInfo> {
    let (width, height) = size(codec, payload)?;
    let sps = if codec == Codec::H264 { parameter_set(payload) } else { None };
    let (profile, level) = sps.and_then(profile_and_level).unwrap_or_default();
    Some(VideoInfo { width, height, fps: None, profile, level })
}

/// The first bytes of a sequence parameter set (ITU-T H.264 7.3.2.1.1, A.3).
fn profile_and_level(sps: &[u8]) -> Option<(String, String)> {
    let [_header, profile, _constraints, level, ..] = *sps else { return None };
    let profile = match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        _ => "Other",
    };
    Some((profile.to_owned(), format!("{}.{}", level / 10, level % 10)))
}

/// RFC 6386 9.1: a frame tag of three bytes, the start code, two numbers of 14 bits.
fn vp8(payload: &[u8]) -> Option<(u32, u32)> {
    let frame = payload.get(descriptor::vp8(payload)?.len..)?;
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (tag & 1 == 0).then(|| (side(w0, w1), side(h0, h1)))
}

/// RFC 9628 4.2.1: the scalability structure lists a size for each spatial layer, the largest last.
fn vp9(payload: &[u8]) -> Option<(u32, u32)> {
    const STRUCTURE: u8 = 0x02;
    const SIZES: u8 = 0x10;
    if payload.first()? & STRUCTURE == 0 {
        return None;
    }
    let rest = payload.get(descriptor::vp9(payload)?.len..)?;
    let (head, sizes) = rest.split_first()?;
    if head & SIZES == 0 {
        return None;
    }
    let last = sizes.get(usize::from(head >> 5) * 4..)?.first_chunk::<4>()?;
    let [w0, w1, h0, h1] = *last;
    Some((u16::from_be_bytes([w0, w1]).into(), u16::from_be_bytes([h0, h1]).into()))
}

/// AV1 RTP 1.0 4.4: the first element of a coded video sequence is its sequence header OBU (AV1 5.3, 5.5).
fn av1(payload: &[u8]) -> Option<(u32, u32)> {
    const SEQUENCE_HEADER: u8 = 1;
    let (aggregation, mut rest) = payload.split_first()?;
    // W = 1: the only element has no length. Lengths up to 127 are one byte (leb128).
    if aggregation >> 4 & 3 != 1 {
        let (length, tail) = rest.split_first()?;
        rest = if *length < 128 { tail.get(..usize::from(*length))? } else { tail.get(1..)? };
    }
    let (header, mut body) = rest.split_first()?;
    if header >> 3 & 0x0f != SEQUENCE_HEADER {
        return None;
    }
    // An extension byte, and a size that RTP leaves out.
    let skipped = usize::from(header >> 2 & 1) + usize::from(header >> 1 & 1);
    body = body.get(skipped..)?;
    let mut bits = Bits::new(body);
    let _profile_and_still = bits.number(4)?;
    if bits.bit()? == 1 {
        bits.number(5)?;
    } else {
        if bits.bit()? == 1 {
            // Timing information: no live encoder sends it.
            return None;
        }
        let delays = bits.bit()?;
        for _ in 0..=bits.number(5)? {
            let (_operating_point, level) = (bits.number(12)?, bits.number(5)?);
            if level > 7 {
                bits.bit()?;
            }
            if delays == 1 && bits.bit()? == 1 {
                bits.number(4)?;
            }
        }
    }
    let (wide, high) = (bits.number(4)? + 1, bits.number(4)? + 1);
    Some((bits.number(wide)? + 1, bits.number(high)? + 1))
}

/// The sequence parameter set (ITU-T H.264 7.3.2.1.1), alone or in an aggregate (RFC 6184 5.7.1).
fn h264(payload: &[u8]) -> Option<(u32, u32)> {
    sps(parameter_set(payload)?)
}

fn parameter_set(payload: &[u8]) -> Option<&[u8]> {
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    let (header, mut rest) = payload.split_first()?;
    match header & 0x1f {
        SPS => return Some(payload),
        STAP_A => {}
        _ => return None,
    }
    // An access unit delimiter and messages may come before it.
    for _ in 0..4 {
        let (size, tail) = rest.split_first_chunk::<2>()?;
        let (nal, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        match nal.first() {
            Some(header) if header & 0x1f == SPS => return Some(nal),
            _ => rest = tail,
        }
    }
    None
}

fn sps(nal: &[u8]) -> Option<(u32, u32)> {
    let bits = rbsp::BitReader::new(ByteReader::skipping_h264_header(nal));
    SeqParameterSet::from_bits(bits).ok()?.pixel_dimensions().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 640x360 at 30/s, High, with emulation prevention bytes.
    const HIGH: [u8; 26] = [
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
        0x00, 0x3c, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn an_h264_parameter_set_alone_or_in_an_aggregate_tells_the_size() {
        assert_eq!(size(Codec::H264, &HIGH), Some((640, 360)));
        let mut aggregate = vec![24, 0, 2, 9, 0x10, 0, 26];
        aggregate.extend(HIGH);
        assert_eq!(size(Codec::H264, &aggregate), Some((640, 360)));
        let info = info(Codec::H264, &aggregate).unwrap();
        assert_eq!((info.width, info.height, &*info.profile, &*info.level), (640, 360, "High", "3.0"));
        assert_eq!(size(Codec::H264, &HIGH[..8]), None);
        assert_eq!(size(Codec::H264, &[0x65, 1, 2]), None);
    }

    #[test]
    fn vp8_and_vp9_keyframes_tell_the_size() {
        let vp8 = [0x90, 0xe0, 0x92, 0x34, 0x01, 0x20, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x41];
        assert_eq!(size(Codec::Vp8, &vp8), Some((640, 360)));
        assert_eq!(size(Codec::Vp8, &vp8[..15]), None);
        // I, L, B, V; picture id, layer, TL0PICIDX; one spatial layer with its size.
        let vp9 = [0xaa, 0x81, 0x02, 0x00, 0x05, 0x10, 0x02, 0x80, 0x01, 0x68];
        assert_eq!(size(Codec::Vp9, &vp9), Some((640, 360)));
        assert_eq!(size(Codec::Vp9, &[0xa8, 0x81, 0x00]), None, "it tells none");
    }

    #[test]
    fn av1_sequence_headers_tell_the_size() {
        // libaom's for 640x360: profile 0, one operating point, level 2.1, ten and nine bits for the sides.
        let bits = "000 0 0 0 0 00000 000000000000 00001 1001 1000 1001111111 101100111 000000";
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let body: Vec<u8> =
            bits.chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | bit) << (8 - byte.len())).collect();
        let element = [&[0x08][..], &body].concat();
        assert_eq!(size(Codec::Av1, &[&[0x18][..], &element].concat()), Some((640, 360)), "alone");
        let two = [&[0x28, element.len() as u8][..], &element, &[0x30, 1, 2]].concat();
        assert_eq!(size(Codec::Av1, &two), Some((640, 360)), "before a frame");
        assert_eq!(size(Codec::Av1, &[0x18, 0x30, 1, 2]), None, "a frame");
        assert_eq!(size(Codec::Av1, &two[..8]), None);
    }

    proptest! {
        #[test]
        fn a25_any_parameter_set_is_survived(
            body in proptest::collection::vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..128),
            profile in prop_oneof![Just(66u8), Just(100), Just(244), any::<u8>()],
        ) {
            let _ = size(Codec::H264, &[&[0x67, profile, 0, 31][..], &body].concat());
        }

        #[test]
        fn a25_any_payload_is_survived(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                let _ = size(codec, &payload);
            }
        }
    }
}
