//! Files as sources: read once, played over and over again by every publisher.

mod containers;
mod elementary;
mod flv;

use std::{ffi::OsStr, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::{Codec, Format, Frame, Sound, Track};

/// Files are kept in memory: two gigabytes are half an hour at 8 Mb/s.
const FILE_MAX: u64 = 2 << 30;

/// Beyond every run, and yet a time that can be added to a moment.
const NEVER: Duration = Duration::from_secs(1 << 32);

/// A track of a file.
#[derive(Debug)]
struct Held {
    format: Format,
    frames: Vec<Taken>,
}

/// A frame of a file. Times are since the file's first frame.
#[derive(Clone, Debug)]
struct Taken {
    dts: Duration,
    pts: Duration,
    keyframe: bool,
    data: Bytes,
}

/// What files hold.
#[derive(Debug)]
pub(crate) struct Clip {
    tracks: [Option<Held>; 2],
    /// From the first frame to where it begins again.
    length: Duration,
}

/// A file's tracks, pictures first.
type Tracks = [Option<Held>; 2];

impl Clip {
    /// `fps` is for a file of pictures without times.
    pub(crate) fn open(video: Option<&Path>, audio: Option<&Path>, fps: u32) -> anyhow::Result<Self> {
        let mut tracks: Tracks = [None, None];
        if let Some(path) = video {
            tracks = read(path, fps)?;
        }
        if let Some(path) = audio {
            let [_, sound] = read(path, fps)?;
            tracks[1] = Some(sound.with_context(|| format!("{}: no sound that can be sent", path.display()))?);
        }
        let [pictures, sound] = &mut tracks;
        if video.is_some() && pictures.is_none() && sound.is_none() {
            bail!("no track that can be sent: H.264, VP8, AAC or Opus");
        }
        for held in [&mut *pictures, sound].into_iter().flatten() {
            if held.frames.is_empty() {
                bail!("a track without frames");
            }
            // Decoding order is sending order; only H.264 with a strange edit list needs this.
            held.frames.sort_by_key(|frame| frame.dts);
        }
        let length = [&*pictures, sound].into_iter().flatten().map(Held::length).max().unwrap_or_default();
        Ok(Self { tracks, length })
    }
}

impl Clip {
    /// How the pictures are coded.
    pub(crate) fn pictures(&self) -> Option<Codec> {
        self.tracks[0].as_ref().map(|held| held.format.codec)
    }
}

impl Held {
    fn length(&self) -> Duration {
        let last = self.frames.last().map_or(Duration::ZERO, |frame| frame.dts);
        let gaps = u32::try_from(self.frames.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let each = last.checked_div(gaps).unwrap_or(Duration::from_millis(40));
        // A file of one frame begins again, but not at once.
        last + each.max(Duration::from_millis(1))
    }
}

fn read(path: &Path, fps: u32) -> anyhow::Result<Tracks> {
    let shown = path.display();
    let len = fs::metadata(path).with_context(|| format!("{shown}"))?.len();
    if len > FILE_MAX {
        bail!("{shown} has {len} bytes: no more than {FILE_MAX} are kept in memory");
    }
    let bytes = Bytes::from(fs::read(path).with_context(|| format!("{shown}"))?);
    let kind = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    let tracks = match kind.as_str() {
        "h264" | "264" | "avc" => elementary::annex_b(&bytes, fps).map(|held| [Some(held), None]),
        "ivf" => elementary::ivf(&bytes).map(|held| [Some(held), None]),
        "flv" => flv::read(&bytes),
        "mp4" | "m4v" | "mov" | "m4a" => containers::mp4(&bytes),
        "ogg" | "opus" => containers::ogg(&bytes).map(|held| [None, Some(held)]),
        _ => bail!("{shown}: not one of .h264, .flv, .mp4, .ivf, .ogg"),
    };
    tracks.with_context(|| format!("{shown}"))
}

/// One publisher's place in a clip.
#[derive(Debug)]
pub(crate) struct Player {
    clip: Arc<Clip>,
    /// Tracks that are sent.
    wanted: [bool; 2],
    /// Frames sent of each track, all rounds together.
    sent: [u64; 2],
}

impl Player {
    /// Sound that is coded otherwise is left out.
    pub(crate) fn new(clip: Arc<Clip>, sound: Sound) -> Self {
        let fits = |codec: Codec| matches!((sound, codec), (Sound::Aac, Codec::Aac) | (Sound::Opus, Codec::Opus));
        let audio = clip.tracks[1].as_ref().is_some_and(|held| fits(held.format.codec));
        let video = clip.tracks[0].is_some();
        Self { clip, wanted: [video, audio], sent: [0, 0] }
    }

    pub(crate) fn formats(&self) -> [Option<Format>; 2] {
        let format = |track: usize| self.clip.tracks[track].as_ref().filter(|_| self.wanted[track]).map(|h| h.format.clone());
        [format(0), format(1)]
    }

    /// The next frame of a track, and when the round began that it belongs to.
    fn peek(&self, track: usize) -> Option<(&Taken, Duration)> {
        let held = self.clip.tracks[track].as_ref().filter(|_| self.wanted[track])?;
        let frames = held.frames.len() as u64;
        let round = u32::try_from(self.sent[track] / frames).unwrap_or(u32::MAX);
        let frame = held.frames.get(usize::try_from(self.sent[track] % frames).ok()?)?;
        Some((frame, self.clip.length.saturating_mul(round)))
    }

    fn due_of(&self, track: usize) -> Option<Duration> {
        self.peek(track).map(|(frame, round)| frame.dts + round)
    }

    /// When the next frame is due; never, if nothing of the clip is sent.
    pub(crate) fn due(&self) -> Duration {
        [0, 1].into_iter().filter_map(|track| self.due_of(track)).min().unwrap_or(NEVER)
    }

    pub(crate) fn next(&mut self) -> Frame {
        let first = |track: &usize| self.due_of(*track).unwrap_or(NEVER);
        let track = usize::from(first(&1) < first(&0));
        let kind = if track == 0 { Track::Video } else { Track::Audio };
        let Some((frame, round)) = self.peek(track) else {
            let (due, data) = (NEVER, Bytes::new());
            return Frame { track: kind, due, dts: due, pts: due, keyframe: false, data };
        };
        let (dts, pts) = (frame.dts + round, frame.pts + round);
        let frame = Frame { track: kind, due: dts, dts, pts, keyframe: frame.keyframe, data: frame.data.clone() };
        self.sent[track] += 1;
        frame
    }
}
