//! The stream as RTP payloads, cut as browsers cut it: H.264 in FU-As of about equal size with the
//! parameter sets in a packet of their own, Opus in packets of 20 ms.

use bytes::Bytes;

use super::{Codec, Format, Frame, Track, h264};

/// Packets of 1,200 bytes, less an RTP header with three extensions.
const PAYLOAD_MAX: usize = 1_172;
const FU_HEADERS: usize = 2;
/// NAL unit types of RFC 6184 5.2.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// And of H.264 table 7-1.
const DELIMITER: u8 = 9;

/// Makes the RTP payloads of one publisher's frames.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packetizer {
    /// SPS and PPS, sent again with each keyframe.
    sets: Option<[Vec<u8>; 2]>,
    vp8: bool,
}

impl Packetizer {
    /// For the pictures of a stream.
    pub(crate) fn new(video: Option<&Format>) -> Self {
        let sets = video.filter(|format| format.codec == Codec::H264).and_then(|f| h264::parameter_sets(&f.config));
        Self { sets: sets.map(|(sps, pps)| [sps, pps]), vp8: video.is_some_and(|format| format.codec == Codec::Vp8) }
    }

    /// The payloads of a frame, in order; the marker belongs on the last one of a picture.
    pub(crate) fn payloads(&self, frame: &Frame) -> Vec<Bytes> {
        if frame.track == Track::Audio {
            return vec![frame.data.clone()];
        }
        if self.vp8 {
            return vp8(&frame.data);
        }
        let mut payloads = Vec::new();
        let mut small: Vec<&[u8]> = Vec::new();
        if let Some(sets) = self.sets.as_ref().filter(|_| frame.keyframe) {
            small.extend(sets.iter().map(Vec::as_slice));
        }
        for unit in h264::units(&frame.data).filter(|unit| unit.first().is_some_and(|head| head & 0x1f != DELIMITER)) {
            // Small units before a picture travel together; the picture goes as it would without.
            if aggregate_len(&small) + 2 + unit.len() <= PAYLOAD_MAX && unit.len() < PAYLOAD_MAX / 2 {
                small.push(unit);
                continue;
            }
            payloads.extend(together(&std::mem::take(&mut small)));
            fragments(unit, &mut payloads);
        }
        payloads.extend(together(&small));
        payloads.into_iter().map(Bytes::from).collect()
    }
}

fn aggregate_len(units: &[&[u8]]) -> usize {
    1 + units.iter().map(|unit| 2 + unit.len()).sum::<usize>()
}

/// Nothing, a single unit, or a STAP-A (RFC 6184 5.7.1).
fn together(units: &[&[u8]]) -> Option<Vec<u8>> {
    if let [] | [_] = units {
        return units.first().map(|unit| unit.to_vec());
    }
    let importance = units.iter().filter_map(|unit| unit.first()).map(|head| head & 0x60).max().unwrap_or(0);
    let mut payload = Vec::with_capacity(aggregate_len(units));
    payload.push(importance | STAP_A);
    for unit in units {
        payload.extend((unit.len() as u16).to_be_bytes());
        payload.extend_from_slice(unit);
    }
    Some(payload)
}

/// One NAL unit by itself, or in FU-As of about equal size (RFC 6184 5.8).
fn fragments(unit: &[u8], payloads: &mut Vec<Vec<u8>>) {
    let Some((&head, body)) = unit.split_first() else { return };
    if unit.len() <= PAYLOAD_MAX {
        payloads.push(unit.to_vec());
        return;
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
}

/// RFC 7741 4.2: the S bit on the first packet of a frame, nothing else.
fn vp8(data: &[u8]) -> Vec<Bytes> {
    let piece = |(place, chunk): (usize, &[u8])| {
        let mut payload = Vec::with_capacity(1 + chunk.len());
        payload.push(u8::from(place == 0) << 4);
        payload.extend_from_slice(chunk);
        Bytes::from(payload)
    };
    data.chunks(PAYLOAD_MAX - 1).enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Shape, Sound, Studio, Wish};

    const SHAPE: Shape = Shape { kbps: 670, fps: 25, gop: 50 };

    /// The payloads of the first frames.
    fn payloads(frames: usize) -> Vec<(Frame, Vec<Bytes>)> {
        let mut source = Studio::plain(Wish { shape: SHAPE, stamp: false, ..Wish::default() }).source(Sound::Opus);
        let packetizer = Packetizer::new(source.format(Track::Video));
        (0..frames).map(|_| source.frame()).map(|frame| (frame.clone(), packetizer.payloads(&frame))).collect()
    }

    #[test]
    fn pictures_are_cut_into_equal_pieces_and_keyframes_bring_their_parameters() {
        let pictures: Vec<_> = payloads(10).into_iter().filter(|(frame, _)| frame.track == Track::Video).collect();
        let (key, first) = &pictures[0];
        assert_eq!(first[0][0] & 0x1f, STAP_A);
        let lens: Vec<usize> = first[1..].iter().map(Bytes::len).collect();
        assert!(lens.iter().all(|len| *len <= PAYLOAD_MAX) && lens[lens.len() - 1] - lens[0] <= 1, "{lens:?}");
        // Without the length before the unit and its first byte.
        assert_eq!(lens.iter().map(|len| len - FU_HEADERS).sum::<usize>(), key.data.len() - 5);
        assert_eq!((first[1][1], first.last().unwrap()[1]), (0x85, 0x45), "start and end of an IDR slice");
        let next = pictures[1].1.len();
        assert!((2..=4).contains(&next), "no parameter sets before other pictures: {next}");
    }

    #[test]
    fn a_second_has_about_as_many_packets_as_a_talking_head() {
        // 20 seconds: 25 pictures and 50 packets of sound each.
        let (sound, pictures): (Vec<_>, Vec<_>) = payloads(1_500).into_iter().partition(|(frame, _)| frame.track == Track::Audio);
        assert_eq!((sound.len(), pictures.len()), (1_000, 500));
        let each_second = pictures.iter().map(|(_, payloads)| payloads.len()).sum::<usize>() / 20 + 50;
        assert!((120..140).contains(&each_second), "{each_second}");
        let bytes = sound.iter().map(|(frame, _)| frame.data.len()).sum::<usize>() / sound.len();
        assert!((115..125).contains(&bytes), "{bytes}");
    }
}
