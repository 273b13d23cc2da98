//! Sound alone for one player, frame behind frame: AAC in ADTS, or MP3 as it is.

use bytes::Bytes;
use weir_source::{Codec, Frame};

use crate::ts::AdtsHeader;

/// One player's AAC. Every frame tells what a decoder must know (ISO/IEC 14496-3 1.A.2), so it starts and
/// goes on anywhere.
#[derive(Debug, Default)]
pub struct AacMuxer;

impl AacMuxer {
    /// Takes the next frame and appends what is to be sent. Pictures, other codecs and frames that ADTS
    /// cannot say are left out.
    pub fn frame(&mut self, frame: &Frame, out: &mut Vec<Bytes>) {
        if frame.track.codec != Codec::Aac {
            return;
        }
        let header = AdtsHeader::from_config(&frame.track.config).and_then(|header| header.bytes(frame.data.len()));
        if let Ok(header) = header {
            out.push(Bytes::copy_from_slice(&header));
            out.push(frame.data.clone());
        }
    }
}

/// One player's MP3, whose frames have headers of their own (ISO/IEC 11172-3 2.4.1.3).
#[derive(Debug, Default)]
pub struct Mp3Muxer;

impl Mp3Muxer {
    /// Takes the next frame and appends what is to be sent. All that is not MP3 is left out.
    pub fn frame(&mut self, frame: &Frame, out: &mut Vec<Bytes>) {
        if frame.track.codec == Codec::Mp3 && !frame.data.is_empty() {
            out.push(frame.data.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_source::{MediaTime, Track, TrackId};

    use super::*;

    fn frame(codec: Codec, config: &'static [u8], data: &'static [u8]) -> Frame {
        let id = if codec == Codec::H264 { TrackId::VIDEO } else { TrackId::AUDIO };
        let mut track = Track::new(id, codec, 48_000, 2);
        track.config = Bytes::from_static(config);
        Frame::new(Arc::new(track), MediaTime::ZERO, MediaTime::ZERO, true, Bytes::from_static(data))
    }

    #[test]
    fn aac_gets_its_header_and_nothing_else_is_sent() {
        let mut out = Vec::new();
        let mut muxer = AacMuxer;
        for frame in [
            frame(Codec::H264, &[1], b"picture"),
            frame(Codec::Mp3, &[], b"\xff\xfb"),
            frame(Codec::Aac, &[], b"no configuration"),
            frame(Codec::Aac, &[0x12, 0x10], b""),
            frame(Codec::Aac, &[0x12, 0x10], b"sound"),
        ] {
            muxer.frame(&frame, &mut out);
        }
        assert_eq!(out.concat(), b"\xff\xf1\x50\x80\x01\x9f\xfcsound");
    }

    #[test]
    fn mp3_is_sent_as_it_is() {
        let mut out = Vec::new();
        Mp3Muxer.frame(&frame(Codec::Aac, &[0x12, 0x10], b"sound"), &mut out);
        Mp3Muxer.frame(&frame(Codec::Mp3, &[], b"\xff\xfbdata"), &mut out);
        assert_eq!(out.concat(), b"\xff\xfbdata");
    }
}
