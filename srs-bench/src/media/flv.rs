//! The stream as RTMP messages: FLV tag bodies of H.264 and AAC.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{PPS, Pictures, SPS, Shape};

/// A second of noise with a tone in it: AAC-LC, 48 kHz, stereo, 64 kb/s, as an ADTS file. Over and
/// over again it is as large as sound, and costs the server's transcoder what sound costs.
const SOUND: &[u8] = include_bytes!("sound.aac");
const SOUND_KBPS: u32 = 64;
/// AudioSpecificConfig: AAC-LC, 48 kHz, stereo.
const AAC_CONFIG: [u8; 2] = [0x11, 0x90];
/// Without a checksum, as the file's are.
const ADTS_HEADER_LEN: usize = 7;

/// One message of the stream.
pub(crate) struct Message {
    pub(crate) video: bool,
    pub(crate) timestamp_ms: u32,
    pub(crate) body: Bytes,
}

/// Makes messages in the order of their timestamps.
pub(crate) struct Source {
    pictures: Pictures,
    sounds: u64,
    /// What is left of the second.
    sound: &'static [u8],
}

impl Source {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { pictures: Pictures::new(shape, SOUND_KBPS), sounds: 0, sound: SOUND }
    }

    /// The two sequence headers.
    pub(crate) fn headers() -> [Message; 2] {
        let mut avc = BytesMut::new();
        avc.put_slice(&[0x17, 0, 0, 0, 0, 1, SPS[1], SPS[2], SPS[3], 0xff, 0xe1]);
        avc.put_u16(SPS.len() as u16);
        avc.put_slice(SPS);
        avc.put_u8(1);
        avc.put_u16(PPS.len() as u16);
        avc.put_slice(PPS);
        let mut aac = BytesMut::from(&[0xaf, 0][..]);
        aac.put_slice(&AAC_CONFIG);
        [
            Message { video: true, timestamp_ms: 0, body: avc.freeze() },
            Message { video: false, timestamp_ms: 0, body: aac.freeze() },
        ]
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> Message {
        let video_ms = self.pictures.due().as_millis() as u32;
        let audio_ms = (self.sounds * 1_024_000 / 48_000) as u32;
        if audio_ms < video_ms {
            self.sounds += 1;
            let mut body = BytesMut::from(&[0xaf, 1][..]);
            body.put_slice(self.sound());
            return Message { video: false, timestamp_ms: audio_ms, body: body.freeze() };
        }
        let picture = self.pictures.next();
        let mut body = BytesMut::with_capacity(picture.unit.len() + 9);
        body.put_slice(&[if picture.keyframe { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
        body.put_u32(picture.unit.len() as u32);
        body.put_slice(&picture.unit);
        Message { video: true, timestamp_ms: video_ms, body: body.freeze() }
    }

    /// The next raw frame of the sound.
    fn sound(&mut self) -> &'static [u8] {
        if self.sound.len() < ADTS_HEADER_LEN {
            self.sound = SOUND;
        }
        // ISO/IEC 14496-3 1.A.3.2: 13 bits of length, header included.
        let &[_, _, _, b3, b4, b5, ..] = self.sound else { return &[] };
        let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let (frame, rest) = self.sound.split_at(len.min(self.sound.len()));
        self.sound = rest;
        frame.get(ADTS_HEADER_LEN..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_has_the_bitrate_and_packets_that_were_asked_for() {
        let mut source = Source::new(Shape { kbps: 670, fps: 25, gop: 50 });
        let (mut bytes, mut frames, mut sounds) = (0, 0, 0);
        loop {
            let message = source.next();
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
}
