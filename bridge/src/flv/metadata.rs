//! `onMetaData`: what players show before the first picture.

use bytes::Bytes;
use weir_source::{Codec, Tracks};

use super::tag::{audio_codec_id, can_carry, video_codec_id};
use crate::rtmp::amf0::{self, Value};

/// Fields of the publisher's metadata that are passed on. Encoders send about twenty.
const FIELDS_MAX: usize = 64;
/// What a publisher says of a file does not hold for a live stream.
const FILE_FIELDS: [&str; 8] =
    ["duration", "filesize", "keyframes", "lasttimestamp", "lastkeyframetimestamp", "hasKeyframes", "canSeekToEnd", "server"];

/// The body of an `onMetaData` script tag or data message for these tracks: our own facts, then
/// the rest of what the publisher said.
pub fn on_metadata(tracks: &Tracks) -> Bytes {
    let said = amf0::decode(&tracks.metadata).unwrap_or_default();
    let said = said.first().and_then(Value::properties).unwrap_or_default();
    let mut fields = Vec::new();
    let mut add = |name: &str, value: Value| fields.push((name.to_owned(), value));
    add("server", Value::string(concat!("Weir/", env!("CARGO_PKG_VERSION"))));
    if let Some(video) = tracks.video().filter(|track| can_carry(track)) {
        if let Some(info) = &video.video {
            add("width", Value::Number(f64::from(info.width)));
            add("height", Value::Number(f64::from(info.height)));
            if let Some(fps) = info.fps {
                add("framerate", Value::Number(fps));
            }
        }
        add("videocodecid", Value::Number(f64::from(video_codec_id(video.codec).unwrap_or_default())));
    }
    if let Some(audio) = tracks.audio().filter(|track| can_carry(track)) {
        add("audiocodecid", Value::Number(f64::from(audio_codec_id(audio.codec).unwrap_or_default())));
        add("audiosamplerate", Value::Number(f64::from(audio.clock_rate)));
        add("audiosamplesize", Value::Number(16.0));
        add("stereo", Value::Boolean(audio.channels > 1));
        if audio.codec == Codec::Aac {
            add("audiochannels", Value::Number(f64::from(audio.channels)));
        }
    }
    for (name, value) in said {
        let ours = fields.iter().any(|(known, _)| known == name);
        if !ours && fields.len() < FIELDS_MAX && !FILE_FIELDS.contains(&&name[..]) {
            fields.push((name.clone(), value.clone()));
        }
    }
    amf0::encode(&[Value::string("onMetaData"), Value::EcmaArray(fields)]).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_source::{Track, TrackId, VideoInfo};

    use super::*;

    #[test]
    fn our_facts_come_before_the_publishers_and_files_facts_are_dropped() {
        let mut video = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
        video.config = Bytes::from_static(b"c");
        video.video = Some(VideoInfo { width: 640, height: 360, ..VideoInfo::default() });
        let said = Value::object([
            ("width", Value::Number(1.0)),
            ("framerate", Value::Number(25.0)),
            ("duration", Value::Number(9.0)),
            ("encoder", Value::string("obs")),
        ]);
        let mut tracks = Tracks::default().with(Arc::new(video));
        tracks.metadata = amf0::encode(&[said]).into();
        let read = amf0::decode(&on_metadata(&tracks)).unwrap();
        assert_eq!(read[0].as_str(), Some("onMetaData"));
        assert_eq!(read[1].get("width"), Some(&Value::Number(640.0)));
        assert_eq!(read[1].get("framerate"), Some(&Value::Number(25.0)), "the stream itself does not tell");
        assert_eq!(read[1].get("encoder"), Some(&Value::string("obs")));
        assert_eq!(read[1].get("duration"), None);
        assert_eq!(read[1].get("audiocodecid"), None);
    }
}
