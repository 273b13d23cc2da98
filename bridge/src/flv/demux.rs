//! Audio and video tag bodies, as RTMP messages or FLV tags bring them → tracks and frames in the
//! one form of the hub. Times stay on the publisher's own timeline.

use std::sync::Arc;

use bytes::Bytes;
use weir_source::{Codec, Frame, MediaTime, Track, TrackId};

use super::{
    aac,
    avc::{self, AvcConfig, AvcError},
    hevc,
    tag::codec_id,
};

/// Beyond this a composition time is a mistake: no reordering delays a picture for ten seconds.
const COMPOSITION_MS_MAX: i32 = 10_000;

/// Why a tag was dropped. The stream goes on.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum TagError {
    /// The body ends before what it announces.
    #[error("the tag is cut off")]
    Truncated,
    /// A video codec id that is not passed on.
    #[error("video codec {0} is not supported")]
    VideoCodec(u8),
    /// A FourCC of enhanced RTMP that is not passed on.
    #[error("video codec {} is not supported", .0.escape_ascii())]
    VideoFourCc([u8; 4]),
    /// A sound format that is not passed on.
    #[error("sound format {0} is not supported")]
    SoundFormat(u8),
    /// The decoder configuration cannot be read, or media came before it.
    #[error("media without a readable configuration")]
    NoConfig,
    /// Bad H.264 or H.265.
    #[error(transparent)]
    Video(#[from] AvcError),
}

/// What tags turn into.
#[derive(Clone, Debug)]
pub enum Demuxed {
    /// A track began or changed its parameters.
    Track(Arc<Track>),
    /// A frame; `dts` and `pts` are on the publisher's timeline.
    Frame(Frame),
}

/// The state of one publisher's tags.
#[derive(Debug, Default)]
pub struct Demuxer {
    clock: Unwrap,
    video: Option<Video>,
    audio: Option<Arc<Track>>,
}

#[derive(Debug)]
struct Video {
    track: Arc<Track>,
    coding: Coding,
}

#[derive(Debug)]
enum Coding {
    Avc(AvcConfig),
    Hevc { length_size: usize },
}

/// A video body's head, of either dialect.
struct VideoHead {
    codec: Codec,
    is_config: bool,
    keyframe: bool,
    composition_ms: i32,
    /// Where the configuration or the NAL units begin.
    at: usize,
}

impl Demuxer {
    /// A publisher that has just begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an audio body.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes, out: &mut Vec<Demuxed>) -> Result<(), TagError> {
        let time = self.clock.extend(timestamp);
        let Some(first) = body.first() else { return Ok(()) };
        match first >> 4 {
            codec_id::AAC => match body.get(1).ok_or(TagError::Truncated)? {
                0 => {
                    let track = aac::aac_track(own(body, 2)).ok_or(TagError::NoConfig)?;
                    self.audio_track(track, out);
                    Ok(())
                }
                1 => self.audio_frame(Codec::Aac, time, body.slice(2..), out),
                _ => Ok(()),
            },
            codec_id::MP3 | codec_id::MP3_8K => {
                if let Some(track) = aac::mp3_track(body.get(1..).unwrap_or_default()) {
                    self.audio_track(track, out);
                }
                self.audio_frame(Codec::Mp3, time, body.slice(1..), out)
            }
            other => Err(TagError::SoundFormat(other)),
        }
    }

    /// Takes a video body.
    pub fn video(&mut self, timestamp: u32, body: &Bytes, out: &mut Vec<Demuxed>) -> Result<(), TagError> {
        let time = self.clock.extend(timestamp);
        let Some(head) = video_head(body)? else { return Ok(()) };
        if head.is_config {
            return self.video_config(head.codec, own(body, head.at), out);
        }
        let pictures = body.slice(head.at.min(body.len())..);
        if pictures.is_empty() {
            return Ok(());
        }
        let dts = MediaTime::from_millis(time);
        // A picture is not shown before it is decoded.
        let late = if head.composition_ms <= COMPOSITION_MS_MAX { head.composition_ms.max(0) } else { 0 };
        let pts = MediaTime::from_millis(time.saturating_add(i64::from(late)));
        match head.codec {
            Codec::H264 => self.avc_picture(dts, pts, head.keyframe, &pictures, out),
            _ => self.hevc_picture(dts, pts, head.keyframe, &pictures, out),
        }
    }

    fn audio_track(&mut self, track: Track, out: &mut Vec<Demuxed>) {
        if self.audio.as_deref() != Some(&track) {
            let track = Arc::new(track);
            self.audio = Some(Arc::clone(&track));
            out.push(Demuxed::Track(track));
        }
    }

    fn audio_frame(&self, codec: Codec, time: i64, data: Bytes, out: &mut Vec<Demuxed>) -> Result<(), TagError> {
        if data.is_empty() {
            return Ok(());
        }
        let track = self.audio.as_ref().filter(|track| track.codec == codec).ok_or(TagError::NoConfig)?;
        let time = MediaTime::from_millis(time);
        out.push(Demuxed::Frame(Frame::new(Arc::clone(track), time, time, true, data)));
        Ok(())
    }

    fn video_config(&mut self, codec: Codec, record: Bytes, out: &mut Vec<Demuxed>) -> Result<(), TagError> {
        let mut track = Track::new(TrackId::VIDEO, codec, 90_000, 0);
        let coding = if codec == Codec::H264 {
            let config = AvcConfig::parse(&record)?;
            track.config = config.record().ok_or(TagError::NoConfig)?;
            track.video = config.info();
            Coding::Avc(config)
        } else {
            let (record, length_size) = hevc::parse_record(&record)?;
            track.config = record;
            Coding::Hevc { length_size }
        };
        self.video_track(track, coding, out);
        Ok(())
    }

    fn video_track(&mut self, track: Track, coding: Coding, out: &mut Vec<Demuxed>) {
        match &mut self.video {
            Some(video) if *video.track == track => video.coding = coding,
            _ => {
                let track = Arc::new(track);
                out.push(Demuxed::Track(Arc::clone(&track)));
                self.video = Some(Video { track, coding });
            }
        }
    }

    fn avc_picture(
        &mut self,
        dts: MediaTime,
        pts: MediaTime,
        keyframe: bool,
        body: &Bytes,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), TagError> {
        let held =
            self.video.as_ref().and_then(|video| if let Coding::Avc(config) = &video.coding { Some(config) } else { None });
        let unit = avc::access_unit(body, held.map_or(4, |config| config.length_size))?;
        if !unit.sets.is_empty() {
            let mut config = held.cloned().unwrap_or_else(AvcConfig::unknown);
            let before = held.is_some().then(|| config.clone());
            config.update(unit.sets);
            if before.as_ref() != Some(&config)
                && let Some(record) = config.record()
            {
                let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
                track.config = record;
                track.video = config.info();
                self.video_track(track, Coding::Avc(config), out);
            }
        }
        let video = self.video.as_ref().filter(|video| video.track.codec == Codec::H264).ok_or(TagError::NoConfig)?;
        if !unit.data.is_empty() {
            let frame = Frame::new(Arc::clone(&video.track), dts, pts, keyframe || unit.has_idr, unit.data);
            out.push(Demuxed::Frame(frame));
        }
        Ok(())
    }

    fn hevc_picture(
        &self,
        dts: MediaTime,
        pts: MediaTime,
        keyframe: bool,
        body: &Bytes,
        out: &mut Vec<Demuxed>,
    ) -> Result<(), TagError> {
        let Some(Video { track, coding: Coding::Hevc { length_size } }) = &self.video else { return Err(TagError::NoConfig) };
        let (data, is_random_access) = hevc::access_unit(body, *length_size, &track.config)?;
        out.push(Demuxed::Frame(Frame::new(Arc::clone(track), dts, pts, keyframe || is_random_access, data)));
        Ok(())
    }
}

/// A copy of the body from `at` on: configurations outlive the message they came in.
fn own(body: &Bytes, at: usize) -> Bytes {
    Bytes::copy_from_slice(body.get(at..).unwrap_or_default())
}

/// `None` for tags without media: commands, ends of sequences, metadata.
fn video_head(body: &[u8]) -> Result<Option<VideoHead>, TagError> {
    let Some(first) = body.first() else { return Ok(None) };
    if first & 0x80 != 0 {
        return enhanced_head(body, *first);
    }
    let frame_type = first >> 4;
    let codec = match first & 0x0f {
        codec_id::AVC => Codec::H264,
        codec_id::HEVC => Codec::H265,
        other => return Err(TagError::VideoCodec(other)),
    };
    if frame_type == FRAME_TYPE_COMMAND {
        return Ok(None);
    }
    let [_, packet_type, c0, c1, c2] = *body.first_chunk::<5>().ok_or(TagError::Truncated)?;
    let head =
        VideoHead { codec, is_config: packet_type == 0, keyframe: frame_type == 1, composition_ms: be24(c0, c1, c2), at: 5 };
    Ok((packet_type <= 1).then_some(head))
}

/// Enhanced RTMP v1, "Extended VideoTagHeader".
fn enhanced_head(body: &[u8], first: u8) -> Result<Option<VideoHead>, TagError> {
    let frame_type = first >> 4 & 7;
    if frame_type == FRAME_TYPE_COMMAND {
        return Ok(None);
    }
    let four_cc = *body.get(1..).and_then(<[u8]>::first_chunk::<4>).ok_or(TagError::Truncated)?;
    let codec = match &four_cc {
        b"avc1" => Codec::H264,
        b"hvc1" => Codec::H265,
        _ => return Err(TagError::VideoFourCc(four_cc)),
    };
    let plain = VideoHead { codec, is_config: false, keyframe: frame_type == 1, composition_ms: 0, at: 5 };
    match first & 0x0f {
        0 => Ok(Some(VideoHead { is_config: true, ..plain })),
        1 => {
            let [c0, c1, c2] = *body.get(5..).and_then(<[u8]>::first_chunk::<3>).ok_or(TagError::Truncated)?;
            Ok(Some(VideoHead { composition_ms: be24(c0, c1, c2), at: 8, ..plain }))
        }
        3 => Ok(Some(plain)),
        _ => Ok(None),
    }
}

/// A signed 24-bit number.
fn be24(a: u8, b: u8, c: u8) -> i32 {
    i32::from_be_bytes([a, b, c, 0]) >> 8
}

/// FLV E.4.3.1: video info or command frame.
const FRAME_TYPE_COMMAND: u8 = 5;

/// 32-bit milliseconds → a timeline that does not wrap. Audio and video share it.
#[derive(Debug, Default)]
struct Unwrap {
    last: Option<i64>,
}

impl Unwrap {
    fn extend(&mut self, timestamp: u32) -> i64 {
        let time = match self.last {
            None => i64::from(timestamp),
            Some(last) => {
                let low = u32::try_from(last.rem_euclid(1 << 32)).unwrap_or_default();
                last.saturating_add(i64::from(timestamp.wrapping_sub(low).cast_signed()))
            }
        };
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flv::avc::tests::{PPS, SPS, record};

    fn video(demuxer: &mut Demuxer, timestamp: u32, parts: &[&[u8]]) -> Result<Vec<Demuxed>, TagError> {
        let mut out = Vec::new();
        demuxer.video(timestamp, &parts.concat().into(), &mut out).map(|()| out)
    }

    fn audio(demuxer: &mut Demuxer, timestamp: u32, body: &[u8]) -> Result<Vec<Demuxed>, TagError> {
        let mut out = Vec::new();
        demuxer.audio(timestamp, &Bytes::copy_from_slice(body), &mut out).map(|()| out)
    }

    fn frame(mut out: Vec<Demuxed>) -> Frame {
        match (out.pop(), out.len()) {
            (Some(Demuxed::Frame(frame)), 0) => frame,
            other => panic!("expected one frame, got {other:?}"),
        }
    }

    const SLICE: &[u8] = &[0, 0, 0, 2, 0x41, 7];

    #[test]
    fn composition_time_makes_pts_later_than_dts() {
        let mut demuxer = Demuxer::new();
        let begun = video(&mut demuxer, 0, &[&[0x17, 0, 0, 0, 0], &record(4)]).unwrap();
        let [Demuxed::Track(track)] = &begun[..] else { panic!("a track") };
        assert_eq!(track.video.as_ref().map(|info| info.width), Some(640));
        let read = frame(video(&mut demuxer, 40, &[&[0x27, 1, 0, 0, 80], SLICE]).unwrap());
        assert_eq!((read.dts, read.pts), (MediaTime::from_millis(40), MediaTime::from_millis(120)));
        assert!(!read.keyframe);
        for silly in [[0x80, 0, 0], [0xff, 0xff, 0xff], [0x7f, 0xff, 0xff]] {
            let read = frame(video(&mut demuxer, 80, &[&[0x27, 1], &silly, SLICE]).unwrap());
            assert_eq!(read.pts, read.dts, "{silly:?}");
        }
    }

    #[test]
    fn a_repeated_configuration_is_no_new_track() {
        let mut demuxer = Demuxer::new();
        assert_eq!(video(&mut demuxer, 0, &[&[0x17, 0, 0, 0, 0], &record(4)]).unwrap().len(), 1);
        assert_eq!(video(&mut demuxer, 9, &[&[0x17, 0, 0, 0, 0], &record(4)]).unwrap().len(), 0);
        assert_eq!(audio(&mut demuxer, 0, &[0xaf, 0, 0x12, 0x10]).unwrap().len(), 1);
        assert_eq!(audio(&mut demuxer, 9, &[0xaf, 0, 0x12, 0x10]).unwrap().len(), 0);
        assert_eq!(audio(&mut demuxer, 9, &[0xaf, 0, 0x11, 0x90]).unwrap().len(), 1);
    }

    #[test]
    fn parameter_sets_within_pictures_become_a_new_configuration_when_they_differ() {
        let nal = |nal: &[u8]| [&(nal.len() as u32).to_be_bytes(), nal].concat();
        let mut demuxer = Demuxer::new();
        video(&mut demuxer, 0, &[&[0x17, 0, 0, 0, 0], &record(4)]).unwrap();
        let same = [nal(&SPS), nal(&PPS), nal(&[0x65, 1])].concat();
        assert!(frame(video(&mut demuxer, 40, &[&[0x17, 1, 0, 0, 0], &same]).unwrap()).keyframe);
        let mut pps = PPS;
        pps[3] ^= 1;
        let other = [nal(&pps), nal(&[0x65, 1])].concat();
        let out = video(&mut demuxer, 80, &[&[0x17, 1, 0, 0, 0], &other]).unwrap();
        let [Demuxed::Track(track), Demuxed::Frame(frame)] = &out[..] else { panic!("{out:?}") };
        assert!(Arc::ptr_eq(track, &frame.track));
        assert_eq!(&frame.data[..], nal(&[0x65, 1]));
    }

    #[test]
    fn a_publisher_without_configuration_may_send_its_sets_with_the_pictures() {
        let mut demuxer = Demuxer::new();
        assert_eq!(video(&mut demuxer, 0, &[&[0x27, 1, 0, 0, 0], SLICE]).unwrap_err(), TagError::NoConfig);
        let annex_b = [&[0, 0, 0, 1], &SPS[..], &[0, 0, 0, 1], &PPS, &[0, 0, 1, 0x65, 9]].concat();
        let out = video(&mut demuxer, 40, &[&[0x17, 1, 0, 0, 0], &annex_b]).unwrap();
        assert!(matches!(&out[..], [Demuxed::Track(_), Demuxed::Frame(frame)] if frame.keyframe), "{out:?}");
    }

    #[test]
    fn enhanced_video_of_known_codecs_is_read() {
        let mut demuxer = Demuxer::new();
        assert_eq!(video(&mut demuxer, 0, &[&[0x90], b"avc1", &record(4)]).unwrap().len(), 1);
        let read = frame(video(&mut demuxer, 40, &[&[0xa1], b"avc1", &[0, 0, 9], SLICE]).unwrap());
        assert_eq!(read.pts.as_millis(), 49);
        assert_eq!(frame(video(&mut demuxer, 80, &[&[0xa3], b"avc1", SLICE]).unwrap()).pts.as_millis(), 80);
        let error = video(&mut demuxer, 80, &[&[0x93], b"av01", SLICE]).unwrap_err();
        assert_eq!(error, TagError::VideoFourCc(*b"av01"));
        assert!(error.to_string().contains("av01"));
    }

    #[test]
    fn time_goes_on_over_the_32_bit_wrap() {
        let mut clock = Unwrap::default();
        let times: Vec<_> = [u32::MAX - 10, 10, u32::MAX - 5, 30].into_iter().map(|t| clock.extend(t)).collect();
        let origin = i64::from(u32::MAX);
        assert_eq!(times, [origin - 10, origin + 11, origin - 5, origin + 31]);
    }

    #[test]
    fn sound_of_both_formats_is_read_and_others_named() {
        let mut demuxer = Demuxer::new();
        assert_eq!(audio(&mut demuxer, 0, &[0xaf, 1, 1]).unwrap_err(), TagError::NoConfig);
        audio(&mut demuxer, 0, &[0xaf, 0, 0x12, 0x10]).unwrap();
        assert_eq!(&frame(audio(&mut demuxer, 5, &[0xaf, 1, 9, 9]).unwrap()).data[..], [9, 9]);
        let out = audio(&mut demuxer, 9, &[0x2f, 0xff, 0xfb, 0x90, 0x40]).unwrap();
        assert!(matches!(&out[..], [Demuxed::Track(track), Demuxed::Frame(_)] if track.codec == Codec::Mp3));
        assert_eq!(audio(&mut demuxer, 9, &[0x50, 1]).unwrap_err(), TagError::SoundFormat(5));
        assert!(audio(&mut demuxer, 9, &[]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn a61_no_body_panics(bodies in proptest::collection::vec((any::<bool>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..80)), 0..20)) {
            let mut demuxer = Demuxer::new();
            let mut out = Vec::new();
            let _ = demuxer.video(0, &[&[0x17, 0, 0, 0, 0], &record(4)[..]].concat().into(), &mut out);
            for (is_video, timestamp, body) in bodies {
                let body = Bytes::from(body);
                let _ = if is_video { demuxer.video(timestamp, &body, &mut out) } else { demuxer.audio(timestamp, &body, &mut out) };
            }
        }
    }
}
