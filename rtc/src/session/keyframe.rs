//! Does a keyframe start in this packet? One bounded peek at ingest, per codec.
//!
//! Everything else in the server takes payloads as opaque bytes and goes by `Packet::keyframe`.

use weir_source::Codec;

/// NAL units looked at in one aggregation packet: a keyframe's come first in it, behind an access
/// unit delimiter, parameter sets and messages.
const NALS_MAX: usize = 16;

/// Marks the first packet of each keyframe of one stream.
#[derive(Debug, Default)]
pub(crate) struct KeyframeDetector {
    /// Timestamp of the last keyframe: the rest of its packets are not marked.
    marked: Option<u32>,
}

impl KeyframeDetector {
    /// Whether a keyframe starts with this packet.
    pub(crate) fn starts_keyframe(&mut self, codec: Codec, timestamp: u32, payload: &[u8]) -> bool {
        if self.marked == Some(timestamp) || !opens_keyframe(codec, payload) {
            return false;
        }
        self.marked = Some(timestamp);
        true
    }
}

fn opens_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264(payload),
        Codec::H265 => h265(payload),
        Codec::Vp8 => vp8(payload).unwrap_or(false),
        Codec::Vp9 => vp9(payload).unwrap_or(false),
        Codec::Av1 => av1(payload),
        _ => false,
    }
}

/// RFC 6184 5.2: single NAL units, STAP-A and FU-A. A keyframe begins with its sequence parameter
/// set where the sender repeats it in-band, else with the IDR slice.
fn h264(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let opens = |header: u8| matches!(header & 0x1f, IDR | SPS);
    match payload {
        [header, rest @ ..] if header & 0x1f == STAP_A => any_aggregated(rest, |nal| nal.first().is_some_and(|h| opens(*h))),
        [header, fu, ..] if header & 0x1f == FU_A => fu & 0x80 != 0 && opens(*fu),
        [header, ..] => opens(*header),
        [] => false,
    }
}

/// RFC 7798 4.4: single NAL units, aggregation packets (48) and fragmentation units (49).
fn h265(payload: &[u8]) -> bool {
    const AP: u8 = 48;
    const FU: u8 = 49;
    // BLA, IDR and CRA pictures (16 to 21); VPS, SPS (32, 33).
    let opens = |kind: u8| matches!(kind, 16..=21 | 32 | 33);
    let kind = |header: u8| (header >> 1) & 0x3f;
    match payload {
        [header, _, rest @ ..] if kind(*header) == AP => any_aggregated(rest, |nal| nal.first().is_some_and(|h| opens(kind(*h)))),
        [header, _, fu, ..] if kind(*header) == FU => fu & 0x80 != 0 && opens(fu & 0x3f),
        [header, _, ..] => opens(kind(*header)),
        _ => false,
    }
}

/// NAL units behind a 16-bit size each. A size that overruns ends the look.
fn any_aggregated(mut rest: &[u8], test: impl Fn(&[u8]) -> bool) -> bool {
    for _ in 0..NALS_MAX {
        let Some((size, tail)) = rest.split_first_chunk::<2>() else { return false };
        let Some((nal, tail)) = tail.split_at_checked(usize::from(u16::from_be_bytes(*size))) else { return false };
        if test(nal) {
            return true;
        }
        rest = tail;
    }
    false
}

/// RFC 7741 4.2: start of the first partition, then the frame header's inverse key frame flag.
fn vp8(payload: &[u8]) -> Option<bool> {
    let (&descriptor, mut rest) = payload.split_first()?;
    if descriptor & 0x10 == 0 || descriptor & 0x07 != 0 {
        return Some(false);
    }
    if descriptor & 0x80 != 0 {
        let (&extension, tail) = rest.split_first()?;
        rest = tail;
        if extension & 0x80 != 0 {
            let (&picture, tail) = rest.split_first()?;
            rest = if picture & 0x80 != 0 { tail.get(1..)? } else { tail };
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extension & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    rest.first().map(|header| header & 0x01 == 0)
}

/// RFC 9628 4.2: the start of a frame that predicts from no other picture, of the lowest spatial
/// layer.
fn vp9(payload: &[u8]) -> Option<bool> {
    const PICTURE_ID: u8 = 0x80;
    const INTER: u8 = 0x40;
    const LAYERS: u8 = 0x20;
    const START: u8 = 0x08;
    let (&descriptor, mut rest) = payload.split_first()?;
    if descriptor & INTER != 0 || descriptor & START == 0 {
        return Some(false);
    }
    if descriptor & PICTURE_ID != 0 {
        let (&picture, tail) = rest.split_first()?;
        rest = if picture & 0x80 != 0 { tail.get(1..)? } else { tail };
    }
    if descriptor & LAYERS != 0 {
        return rest.first().map(|layer| (layer >> 1) & 0x07 == 0);
    }
    Some(true)
}

/// AV1 RTP 1.0 4.4: N in the aggregation header, "first packet of a coded video sequence". Z (the
/// first element continues an earlier one) excludes it.
fn av1(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x08 != 0 && header & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn h264_keyframes_start_at_parameter_sets_or_idr() {
        let stap = [24, 0, 2, 9, 0x10, 0, 3, 0x67, 1, 2, 0, 1, 0x68];
        for (payload, opens) in [
            (&[0x65, 1, 2][..], true),
            (&[0x67, 1], true),
            (&[0x41, 1], false),
            (&[0x06, 1], false),
            (&[0x7c, 0x85, 1], true),
            (&[0x7c, 0x05, 1], false),
            (&[0x7c, 0x45, 1], false),
            (&[0x7c, 0x81, 1], false),
            (&stap, true),
            (&[24, 0, 2, 0x41, 1], false),
            (&[24, 0, 200, 0x67], false),
            (&[], false),
        ] {
            assert_eq!(h264(payload), opens, "{payload:?}");
        }
    }

    #[test]
    fn only_the_first_packet_of_a_keyframe_is_marked() {
        let mut detector = KeyframeDetector::default();
        assert!(detector.starts_keyframe(Codec::H264, 100, &[0x67, 1]));
        assert!(!detector.starts_keyframe(Codec::H264, 100, &[0x7c, 0x85, 1]));
        assert!(!detector.starts_keyframe(Codec::H264, 200, &[0x41, 1]));
        assert!(detector.starts_keyframe(Codec::H264, 300, &[0x7c, 0x85, 1]));
        assert!(!detector.starts_keyframe(Codec::Opus, 400, &[0x67, 1]));
    }

    #[test]
    fn h265_irap_pictures_and_their_parameter_sets() {
        for (payload, opens) in [
            (&[32 << 1, 1, 0][..], true),
            (&[19 << 1, 1, 0], true),
            (&[21 << 1, 1, 0], true),
            (&[1 << 1, 1, 0], false),
            (&[49 << 1, 1, 0x80 | 20, 0], true),
            (&[49 << 1, 1, 20, 0], false),
            (&[48 << 1, 1, 0, 3, 33 << 1, 1, 0], true),
            (&[48 << 1, 1, 0, 3, 1 << 1, 1, 0], false),
        ] {
            assert_eq!(h265(payload), opens, "{payload:?}");
        }
    }

    #[test]
    fn vp8_key_frames_with_every_descriptor_length() {
        assert_eq!(vp8(&[0x10, 0x00]), Some(true));
        assert_eq!(vp8(&[0x10, 0x01]), Some(false), "an interframe");
        assert_eq!(vp8(&[0x00, 0x00]), Some(false), "not the start");
        assert_eq!(vp8(&[0x90, 0x80, 0x12, 0x00]), Some(true));
        assert_eq!(vp8(&[0x90, 0x80, 0x92, 0x34, 0x00]), Some(true));
        assert_eq!(vp8(&[0x90, 0xf0, 0x92, 0x34, 0x01, 0x20, 0x00]), Some(true));
        assert_eq!(vp8(&[0x90, 0xf0, 0x92]), None);
    }

    #[test]
    fn vp9_key_pictures_of_the_lowest_layer() {
        assert_eq!(vp9(&[0x08, 0]), Some(true));
        assert_eq!(vp9(&[0x48, 0]), Some(false), "predicted");
        assert_eq!(vp9(&[0x00, 0]), Some(false), "not the start");
        assert_eq!(vp9(&[0xa8, 0x81, 0x02, 0x00]), Some(true));
        assert_eq!(vp9(&[0xa8, 0x01, 0x02]), Some(false), "spatial layer 1");
        assert_eq!(vp9(&[0xa8, 0x81]), None);
    }

    #[test]
    fn av1_coded_video_sequences() {
        assert!(av1(&[0x18, 0]));
        assert!(!av1(&[0x10, 0]));
        assert!(!av1(&[0x98, 0]));
        assert!(!av1(&[]));
    }

    #[test]
    fn a25_what_is_cut_short_or_of_a_form_that_is_not_ours_starts_nothing() {
        for (name, codec, payload) in [
            ("STAP-A whose size overruns", Codec::H264, &[24, 0xff, 0xff, 0x67, 1][..]),
            ("STAP-A in STAP-A", Codec::H264, &[24, 0, 5, 24, 0, 2, 0x67, 1]),
            ("STAP-A of empty units", Codec::H264, &[24, 0, 0, 0, 0, 0, 0]),
            ("FU-A without its second byte", Codec::H264, &[0x7c]),
            ("PACI (RFC 7798 section 4.4.4)", Codec::H265, &[50 << 1, 1, 0x26, 0, 1, 2]),
            ("an aggregation packet whose size overruns", Codec::H265, &[48 << 1, 1, 0, 9, 33 << 1]),
            ("a fragmentation unit without its header", Codec::H265, &[49 << 1, 1]),
            ("VP8 without its extension", Codec::Vp8, &[0x90]),
            ("VP8 without its frame", Codec::Vp8, &[0x90, 0x80, 0x12]),
            ("VP9 without its picture id", Codec::Vp9, &[0x88]),
            ("VP9 without its layer", Codec::Vp9, &[0x28]),
            ("AV1 that goes on with another packet's", Codec::Av1, &[0x98, 0xff]),
        ] {
            assert!(!opens_keyframe(codec, payload), "{name}");
            for end in 0..payload.len() {
                opens_keyframe(codec, &payload[..end]);
            }
        }
    }

    proptest! {
        #[test]
        fn a25_any_payload_is_survived(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            for codec in [Codec::H264, Codec::H265, Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::Opus] {
                opens_keyframe(codec, &payload);
            }
        }
    }
}
