//! The stream as RTP payloads, cut as browsers cut it: H.264 in FU-As of about equal size with the
//! parameter sets in a packet of their own, Opus in packets of 20 ms.

use super::{PPS, Picture, SPS};

/// Of an Opus packet: 80 to 160 bytes, 120 on average.
pub(crate) const SOUND_KBPS: u32 = 48;
/// Packets of 1,200 bytes, less an RTP header with three extensions.
const PAYLOAD_MAX: usize = 1_172;
const FU_HEADERS: usize = 2;
/// NAL unit types of RFC 6184 5.2.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// The payloads of one picture (RFC 6184 packetisation mode 1).
pub(crate) fn of_picture(picture: &Picture) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    if picture.keyframe {
        payloads.push(parameter_sets());
    }
    let unit = &picture.unit;
    let Some((&head, body)) = unit.split_first() else { return payloads };
    if unit.len() <= PAYLOAD_MAX {
        payloads.push(unit.clone());
        return payloads;
    }
    let count = body.len().div_ceil(PAYLOAD_MAX - FU_HEADERS);
    let (size, larger) = (body.len() / count, body.len() % count);
    let mut rest = body;
    for piece in 0..count {
        let len = size + usize::from(piece >= count - larger);
        let (data, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        let start = u8::from(piece == 0) << 7;
        let end = u8::from(piece + 1 == count) << 6;
        let mut payload = Vec::with_capacity(FU_HEADERS + data.len());
        payload.extend([head & 0xe0 | FU_A, start | end | head & 0x1f]);
        payload.extend(data);
        payloads.push(payload);
    }
    payloads
}

fn parameter_sets() -> Vec<u8> {
    let mut payload = vec![0x60 | STAP_A];
    for unit in [SPS, PPS] {
        payload.extend((unit.len() as u16).to_be_bytes());
        payload.extend(unit);
    }
    payload
}

/// The payload of the `n`th Opus packet: a full-band CELT frame of 20 ms in stereo (RFC 6716 3.1),
/// its contents noise.
pub(crate) fn of_sound(n: u64) -> Vec<u8> {
    let spread = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 81;
    let mut payload = vec![0xaa; 80 + spread as usize];
    payload[0] = 0xfc;
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Pictures, Shape};

    #[test]
    fn pictures_are_cut_into_equal_pieces_and_keyframes_bring_their_parameters() {
        let mut pictures = Pictures::new(Shape { kbps: 670, fps: 25, gop: 50 }, SOUND_KBPS);
        let key = pictures.next();
        let payloads = of_picture(&key);
        assert_eq!(payloads[0][0] & 0x1f, STAP_A);
        let lens: Vec<usize> = payloads[1..].iter().map(Vec::len).collect();
        assert!(lens.iter().all(|len| *len <= PAYLOAD_MAX) && lens[lens.len() - 1] - lens[0] <= 1, "{lens:?}");
        assert_eq!(lens.iter().map(|len| len - FU_HEADERS).sum::<usize>(), key.unit.len() - 1);
        assert_eq!((payloads[1][1], payloads.last().unwrap()[1]), (0x85, 0x45), "start and end of an IDR slice");
        let next = of_picture(&pictures.next());
        assert!((2..=4).contains(&next.len()), "no parameter sets before other pictures: {}", next.len());
    }

    #[test]
    fn a_second_has_about_as_many_packets_as_a_talking_head() {
        let mut pictures = Pictures::new(Shape { kbps: 670, fps: 25, gop: 50 }, SOUND_KBPS);
        let packets: usize = (0..500).map(|_| of_picture(&pictures.next()).len()).sum();
        let each_second = packets / 20 + 50;
        assert!((120..140).contains(&each_second), "{each_second}");
        let sound: usize = (0..500).map(|n| of_sound(n).len()).sum();
        assert!((115..125).contains(&(sound / 500)), "{}", sound / 500);
    }
}
