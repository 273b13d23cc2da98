//! FLV's header and tags (Adobe's FLV 10.1, annex E). A tag's body is also the body of an RTMP
//! audio or video message.

use bytes::Bytes;
use weir_source::{Codec, Frame, MediaKind, MediaTime, Track};

/// What a tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// AMF0 data, `onMetaData` above all.
    Script,
}

impl TagKind {
    const fn id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }
}

/// Sound formats and video codec ids (E.4.2.1 and E.4.3.1; 12 is the custom of China's networks).
pub(crate) mod codec_id {
    pub(crate) const MP3: u8 = 2;
    pub(crate) const MP3_8K: u8 = 14;
    pub(crate) const AAC: u8 = 10;
    pub(crate) const AVC: u8 = 7;
    pub(crate) const HEVC: u8 = 12;
}

/// The longest tag body: the size field has 24 bits.
const BODY_BYTES_MAX: usize = 0xff_ffff;

/// The file header with its trailing size.
pub fn header(has_audio: bool, has_video: bool) -> Bytes {
    let flags = u8::from(has_audio) << 2 | u8::from(has_video);
    Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0])
}

/// A tag whose body is `parts`, with its trailing size. `timestamp` is in milliseconds.
pub fn tag(kind: TagKind, timestamp: u32, parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum::<usize>().min(BODY_BYTES_MAX);
    let [_, size @ ..] = u32::try_from(length).unwrap_or_default().to_be_bytes();
    let [high, low @ ..] = timestamp.to_be_bytes();
    let mut out = Vec::with_capacity(length + 15);
    out.push(kind.id());
    out.extend_from_slice(&size);
    out.extend_from_slice(&low);
    out.extend_from_slice(&[high, 0, 0, 0]);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.truncate(length + 11);
    out.extend_from_slice(&u32::try_from(length + 11).unwrap_or_default().to_be_bytes());
    out.into()
}

/// A frame's tag, made once and shared by all players; `None` if FLV cannot carry it.
pub fn frame_tag(frame: &Frame) -> Option<Bytes> {
    let head = frame_head(frame)?;
    Some(frame.muxed.flv(|| tag(kind_of(&frame.track), millis(frame.dts), &[head.as_ref(), &frame.data])))
}

/// The tag with a track's decoder configuration; `None` if its codec has none.
pub fn config_tag(track: &Track, timestamp: u32) -> Option<Bytes> {
    let head = config_head(track)?;
    Some(tag(kind_of(track), timestamp, &[head.as_ref(), &track.config]))
}

/// The bytes of a tag body before the coded ones.
#[derive(Clone, Copy, Debug)]
pub struct BodyHead {
    bytes: [u8; 5],
    len: usize,
}

impl AsRef<[u8]> for BodyHead {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The head of a frame's body, or `None` if FLV cannot carry the frame: another codec, no
/// configuration yet, or 16 MiB and more.
pub fn frame_head(frame: &Frame) -> Option<BodyHead> {
    let track = &*frame.track;
    if frame.data.len() > BODY_BYTES_MAX - 5 || (track.codec != Codec::Mp3 && track.config.is_empty()) {
        return None;
    }
    match track.codec {
        Codec::Aac => Some(BodyHead { bytes: [AAC_FLAGS, 1, 0, 0, 0], len: 2 }),
        Codec::Mp3 => Some(BodyHead { bytes: [mp3_flags(track), 0, 0, 0, 0], len: 1 }),
        _ => {
            let first = if frame.keyframe { 0x10 } else { 0x20 } | video_codec_id(track.codec)?;
            let late = frame.pts.as_millis().saturating_sub(frame.dts.as_millis()).clamp(0, 0x7f_ffff);
            let [_, c0, c1, c2] = u32::try_from(late).unwrap_or_default().to_be_bytes();
            Some(BodyHead { bytes: [first, 1, c0, c1, c2], len: 5 })
        }
    }
}

/// The head of the body that carries a track's configuration.
pub fn config_head(track: &Track) -> Option<BodyHead> {
    if track.config.is_empty() {
        return None;
    }
    match track.codec {
        Codec::Aac => Some(BodyHead { bytes: [AAC_FLAGS, 0, 0, 0, 0], len: 2 }),
        Codec::Mp3 => None,
        codec => Some(BodyHead { bytes: [0x10 | video_codec_id(codec)?, 0, 0, 0, 0], len: 5 }),
    }
}

/// E.4.2.1: for AAC the flags say 44 kHz, 16 bits, stereo, whatever it is.
const AAC_FLAGS: u8 = codec_id::AAC << 4 | 0x0f;

fn mp3_flags(track: &Track) -> u8 {
    let rate = match track.clock_rate {
        0..=11_025 => 1,
        11_026..=24_000 => 2,
        _ => 3,
    };
    codec_id::MP3 << 4 | rate << 2 | 2 | u8::from(track.channels > 1)
}

/// The codec id of a video codec that FLV can carry.
pub(crate) const fn video_codec_id(codec: Codec) -> Option<u8> {
    match codec {
        Codec::H264 => Some(codec_id::AVC),
        Codec::H265 => Some(codec_id::HEVC),
        _ => None,
    }
}

/// The sound format of an audio codec that FLV can carry.
pub(crate) const fn audio_codec_id(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Aac => Some(codec_id::AAC),
        Codec::Mp3 => Some(codec_id::MP3),
        _ => None,
    }
}

/// Whether FLV can carry a track.
pub(crate) fn can_carry(track: &Track) -> bool {
    let known = video_codec_id(track.codec).is_some() || audio_codec_id(track.codec).is_some();
    known && (track.codec == Codec::Mp3 || !track.config.is_empty())
}

fn kind_of(track: &Track) -> TagKind {
    match track.kind() {
        MediaKind::Audio => TagKind::Audio,
        MediaKind::Video => TagKind::Video,
    }
}

/// A time as RTMP and FLV write it: milliseconds, wrapping at 2^32.
pub fn millis(time: MediaTime) -> u32 {
    let wrapped = time.as_millis().rem_euclid(1 << 32);
    u32::try_from(wrapped).unwrap_or_default()
}

/// Reads tags back: for tests and tools, it holds all that it is given.
#[derive(Debug, Default)]
pub struct TagReader {
    bytes: Vec<u8>,
    at: usize,
    /// The header's flags: audio, video. `None` before it came.
    pub flags: Option<(bool, bool)>,
}

/// A tag that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The type byte: 8 audio, 9 video, 18 script.
    pub kind: u8,
    /// Milliseconds.
    pub timestamp: u32,
    /// The body.
    pub body: Bytes,
}

impl TagReader {
    /// Takes in bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole tag.
    pub fn next_tag(&mut self) -> Option<Tag> {
        if self.flags.is_none() {
            let header = self.bytes.first_chunk::<13>()?;
            self.flags = Some((header.get(4)? & 4 != 0, header.get(4)? & 1 != 0));
            self.at = 13;
        }
        let [kind, s0, s1, s2, t0, t1, t2, t3, ..] = *self.bytes.get(self.at..)?.first_chunk::<11>()?;
        let size = usize::try_from(u32::from_be_bytes([0, s0, s1, s2])).ok()?;
        let body = self.bytes.get(self.at + 11..self.at + 11 + size)?;
        self.bytes.get(self.at + 11 + size..self.at + 15 + size)?;
        let tag = Tag { kind, timestamp: u32::from_be_bytes([t3, t0, t1, t2]), body: Bytes::copy_from_slice(body) };
        self.at += 15 + size;
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_source::TrackId;

    use super::*;

    fn frame(codec: Codec, dts: i64, pts: i64) -> Frame {
        let id = if codec.kind() == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
        let mut track = Track::new(id, codec, 48_000, 2);
        track.config = Bytes::from_static(b"config");
        let ms = MediaTime::from_millis;
        Frame::new(Arc::new(track), ms(dts), ms(pts), true, Bytes::from_static(b"data"))
    }

    #[test]
    fn tags_come_back_as_they_were_written() {
        let mut reader = TagReader::default();
        reader.push(&header(true, false));
        reader.push(&tag(TagKind::Script, 0x0102_0304, &[b"ab", b"", b"c"]));
        reader.push(&tag(TagKind::Audio, 5, &[]));
        let tag = reader.next_tag().unwrap();
        assert_eq!(reader.flags, Some((true, false)));
        assert_eq!((tag.kind, tag.timestamp, &tag.body[..]), (18, 0x0102_0304, &b"abc"[..]));
        assert_eq!(reader.next_tag().unwrap().kind, 8);
        assert_eq!(reader.next_tag(), None);
    }

    #[test]
    fn composition_time_is_the_distance_in_milliseconds() {
        let body = frame_head(&frame(Codec::H264, 40, 120)).unwrap();
        assert_eq!(body.as_ref(), [0x17, 1, 0, 0, 80]);
        let body = frame_head(&frame(Codec::H265, 40, 40)).unwrap();
        assert_eq!(body.as_ref(), [0x1c, 1, 0, 0, 0]);
    }

    #[test]
    fn what_flv_cannot_carry_has_no_tag() {
        for codec in [Codec::Vp8, Codec::Av1, Codec::Opus, Codec::Pcmu] {
            assert!(frame_tag(&frame(codec, 0, 0)).is_none());
        }
        let mut unknown = frame(Codec::H264, 0, 0);
        Arc::get_mut(&mut unknown.track).unwrap().config = Bytes::new();
        assert!(frame_tag(&unknown).is_none());
    }

    #[test]
    fn a_frames_tag_is_made_once() {
        let frame = frame(Codec::Aac, 7, 7);
        assert_eq!(frame_tag(&frame).unwrap().as_ptr(), frame_tag(&frame.clone()).unwrap().as_ptr());
    }

    #[test]
    fn time_wraps_at_2_to_the_32_milliseconds() {
        assert_eq!(millis(MediaTime::from_millis((1 << 32) + 5)), 5);
        assert_eq!(millis(MediaTime::from_millis(-1)), u32::MAX);
    }
}
