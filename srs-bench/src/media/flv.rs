//! The stream as RTMP messages: FLV tag bodies of H.264 and AAC, and as an FLV file.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Codec, Format, Frame, Track};

/// One message of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) video: bool,
    pub(crate) timestamp_ms: u32,
    pub(crate) body: Bytes,
}

/// The sequence header of a track, before its first frame; none for what FLV of old cannot carry.
pub(crate) fn header(format: &Format) -> Option<Message> {
    let (video, head): (_, &[u8]) = match format.codec {
        Codec::H264 => (true, &[0x17, 0, 0, 0, 0]),
        Codec::Aac => (false, &[0xaf, 0]),
        Codec::Vp8 | Codec::Opus => return None,
    };
    let mut body = BytesMut::from(head);
    body.put_slice(&format.config);
    Some(Message { video, timestamp_ms: 0, body: body.freeze() })
}

/// A frame of H.264 or AAC.
pub(crate) fn message(frame: &Frame) -> Message {
    let mut body = BytesMut::with_capacity(frame.data.len() + 5);
    let video = frame.track == Track::Video;
    if video {
        body.put_slice(&[if frame.keyframe { 0x17 } else { 0x27 }, 1]);
        let later = frame.pts.saturating_sub(frame.dts).as_millis() as u32;
        body.put_uint(later.min(0x7f_ffff).into(), 3);
    } else {
        body.put_slice(&[0xaf, 1]);
    }
    body.put_slice(&frame.data);
    // RTMP's clock wraps after 49 days (RTMP 5.3.1.1): the lower 32 bits go on.
    Message { video, timestamp_ms: frame.dts.as_millis() as u32, body: body.freeze() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Shape, Sound, Studio, Wish};

    #[test]
    fn the_stream_has_the_bitrate_and_packets_that_were_asked_for() {
        let shape = Shape { kbps: 670, fps: 25, gop: 50 };
        let mut source = Studio::plain(Wish { shape, stamp: false, ..Wish::default() }).source(Sound::Aac);
        let (mut bytes, mut frames, mut sounds) = (0, 0, 0);
        loop {
            let message = message(&source.frame());
            if message.timestamp_ms >= 20_000 {
                break;
            }
            bytes += message.body.len();
            if message.video { frames += 1 } else { sounds += 1 }
        }
        assert_eq!(frames, 500);
        assert_eq!(sounds, 938);
        let kbps = bytes * 8 / 20_000;
        assert!((640..700).contains(&kbps), "{kbps}");
    }

    #[test]
    fn a_frame_shown_later_than_decoded_says_by_how_much() {
        let at = std::time::Duration::from_millis;
        let frame = Frame {
            track: Track::Video,
            due: at(40),
            dts: at(40),
            pts: at(120),
            keyframe: false,
            data: Bytes::from_static(&[0, 0, 0, 1, 0x41]),
        };
        assert_eq!(&message(&frame).body[..], &[0x27, 1, 0, 0, 80, 0, 0, 0, 1, 0x41]);
    }
}
