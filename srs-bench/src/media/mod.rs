//! What publishers send: a synthetic stream of a chosen bitrate, or files over and over again.
//!
//! A [`Source`] hands out frames in the order in which they are due; `flv` makes RTMP messages of
//! them and `rtp` RTP payloads. Everything a decoder sees is valid: pictures are noise and flat
//! colour, sound is noise with a tone (AAC) or silence (Opus).

mod clip;
pub(crate) mod flv;
mod h264;
mod pictures;
pub(crate) mod rtp;
mod sound;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use self::clip::{Clip, Player};
pub(crate) use self::pictures::{Picture, Pictures};
use crate::measure::Stamp;

/// What stream is made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Of sound and pictures together, kb/s.
    pub kbps: u32,
    /// Frames a second.
    pub fps: u32,
    /// Frames from keyframe to keyframe.
    pub gop: u32,
}

/// The kind of sound: what the protocol takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// None.
    None,
    /// For RTMP.
    Aac,
    /// For WebRTC.
    Opus,
}

/// What a publisher shall send.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Of the synthetic stream.
    pub shape: Shape,
    /// Of its pictures, in pixels.
    pub width: u32,
    /// Of its pictures, in pixels.
    pub height: u32,
    /// A file instead: `.h264`, `.flv`, `.mp4`, `.ivf`; with its sound.
    pub video: Option<PathBuf>,
    /// A file for the sound: `.ogg`, or one of the others.
    pub audio: Option<PathBuf>,
    /// Each frame of H.264 gets a [`Stamp`].
    pub stamp: bool,
}

impl Default for Wish {
    fn default() -> Self {
        let shape = Shape { kbps: 600, fps: 25, gop: 50 };
        Self { shape, width: 640, height: 360, video: None, audio: None, stamp: true }
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// How frames are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// NAL units, each with a length of four bytes before it.
    H264,
    /// Frames as in IVF.
    Vp8,
    /// Raw access units.
    Aac,
    /// Packets.
    Opus,
}

/// What a decoder must know of a track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// How it is coded.
    pub codec: Codec,
    /// H.264: AVCDecoderConfigurationRecord; AAC: AudioSpecificConfig; else empty.
    pub config: Bytes,
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Of which track.
    pub track: Track,
    /// When it is to be sent, since the stream's start.
    pub due: Duration,
    /// When it is to be decoded.
    pub dts: Duration,
    /// When it is to be shown.
    pub pts: Duration,
    /// Decoding can begin here. True for all sound.
    pub keyframe: bool,
    /// As [`Codec`] says.
    pub data: Bytes,
}

/// Makes the frames of one publisher, without end.
///
/// Ask for a frame when it is due, not before: its stamp bears the time of asking.
#[derive(Debug)]
pub struct Source {
    made: Made,
    formats: [Option<Format>; 2],
    /// Counts the stamped frames; none if there are to be no stamps.
    counter: Option<u64>,
}

#[derive(Debug)]
enum Made {
    Synthetic { pictures: Pictures, sound: Sound, aac: sound::Aac, sounds: u64 },
    Played(Player),
}

/// Where sources come from: what files hold is read once, for all publishers.
#[derive(Clone, Debug, Default)]
pub struct Studio {
    wish: Wish,
    clip: Option<Arc<Clip>>,
}

impl Studio {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file cannot be read or holds nothing that can be sent.
    pub fn open(wish: Wish) -> anyhow::Result<Self> {
        let clip = match (&wish.video, &wish.audio) {
            (None, None) => None,
            (video, audio) => Some(Arc::new(Clip::open(video.as_deref(), audio.as_deref(), wish.shape.fps)?)),
        };
        Ok(Self { wish, clip })
    }

    /// How the pictures are coded; none if there are none.
    pub fn pictures(&self) -> Option<Codec> {
        self.clip.as_ref().map_or(Some(Codec::H264), |clip| clip.pictures())
    }

    /// The synthetic stream, whatever files are wished for.
    pub(crate) fn plain(wish: Wish) -> Self {
        Self { wish, clip: None }
    }

    /// Frames for one more publisher, with the sound that its protocol takes. Sound of a file that
    /// is coded otherwise is left out.
    pub fn source(&self, sound: Sound) -> Source {
        let counter = self.wish.stamp.then_some(0);
        if let Some(clip) = &self.clip {
            let player = Player::new(Arc::clone(clip), sound);
            return Source { formats: player.formats(), made: Made::Played(player), counter };
        }
        let kbps = match sound {
            Sound::None => 0,
            Sound::Aac => sound::AAC_KBPS,
            Sound::Opus => sound::OPUS_KBPS,
        };
        let reserved = kbps + if self.wish.stamp { stamp_kbps(self.wish.shape.fps) } else { 0 };
        let pictures = Pictures::sized(self.wish.shape, reserved, self.wish.width, self.wish.height);
        let audio = match sound {
            Sound::None => None,
            Sound::Aac => Some(Format { codec: Codec::Aac, config: Bytes::from_static(&sound::AAC_CONFIG) }),
            Sound::Opus => Some(Format { codec: Codec::Opus, config: Bytes::new() }),
        };
        let video = Format { codec: Codec::H264, config: pictures.configuration() };
        let made = Made::Synthetic { pictures, sound, aac: sound::Aac::new(), sounds: 0 };
        Source { made, formats: [Some(video), audio], counter }
    }
}

/// Of one stamp a frame, with its length.
fn stamp_kbps(fps: u32) -> u32 {
    (Stamp::LEN as u32 + 4) * 8 * fps / 1_000
}

impl Source {
    /// What the track holds; none if the stream has no such track.
    pub fn format(&self, track: Track) -> Option<&Format> {
        self.formats[track as usize].as_ref()
    }

    /// When the next frame is due, since the stream's start.
    pub fn due(&self) -> Duration {
        match &self.made {
            Made::Synthetic { pictures, sound, sounds, .. } => {
                sound_due(*sound, *sounds).into_iter().fold(pictures.due(), Duration::min)
            }
            Made::Played(player) => player.due(),
        }
    }

    /// The next picture is a keyframe, if the stream is synthetic.
    pub fn force_keyframe(&mut self) {
        if let Made::Synthetic { pictures, .. } = &mut self.made {
            pictures.force_keyframe();
        }
    }

    /// The next frame, stamped with this moment.
    pub fn frame(&mut self) -> Frame {
        let mut frame = match &mut self.made {
            Made::Synthetic { pictures, sound, aac, sounds } => match sound_due(*sound, *sounds) {
                Some(due) if due < pictures.due() => {
                    let data = if *sound == Sound::Aac { Bytes::from_static(aac.next()) } else { sound::opus(*sounds) };
                    *sounds += 1;
                    Frame { track: Track::Audio, due, dts: due, pts: due, keyframe: true, data }
                }
                _ => of_picture(&pictures.next()),
            },
            Made::Played(player) => player.next(),
        };
        let is_h264 = self.formats[Track::Video as usize].as_ref().is_some_and(|format| format.codec == Codec::H264);
        if let Some(counter) = self.counter.as_mut().filter(|_| is_h264 && frame.track == Track::Video) {
            *counter += 1;
            let mut data = Vec::with_capacity(4 + Stamp::LEN + frame.data.len());
            h264::put_unit(&mut data, &Stamp::now(*counter).write());
            data.extend_from_slice(&frame.data);
            frame.data = data.into();
        }
        frame
    }
}

impl Iterator for Source {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        Some(self.frame())
    }
}

fn sound_due(sound: Sound, sounds: u64) -> Option<Duration> {
    let samples = match sound {
        Sound::None => return None,
        Sound::Aac => sound::AAC_SAMPLES,
        Sound::Opus => sound::OPUS_SAMPLES,
    };
    Some(Duration::from_micros(sounds * samples * 1_000_000 / sound::CLOCK))
}

fn of_picture(picture: &Picture) -> Frame {
    let mut data = Vec::with_capacity(4 + picture.unit.len());
    h264::put_unit(&mut data, &picture.unit);
    let (at, keyframe) = (picture.at, picture.keyframe);
    Frame { track: Track::Video, due: at, dts: at, pts: at, keyframe, data: data.into() }
}
