//! Frames → an FLV byte stream for one player (HTTP-FLV).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_source::{Frame, Tracks};

use super::{
    flow::{Flow, Piece},
    tag::{self, TagKind, can_carry},
};

/// How long the header waits for a second track after the first frame. Its flags cannot be taken
/// back, and players that are promised sound wait for it. A publisher announces both within a
/// frame or two; the cached group of pictures of a running stream spans more than this.
const SECOND_TRACK_WAIT: Duration = Duration::from_millis(500);
/// The most frames held meanwhile: half a second at 60 pictures and 47 sounds a second, and spare.
const HELD_MAX: usize = 128;

/// What the header of an FLV stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// There may be sound.
    pub audio: bool,
    /// There may be pictures.
    pub video: bool,
    /// Of these what the stream has when it begins, and not both whatever it has.
    pub guess: bool,
}

impl Default for Announce {
    fn default() -> Self {
        Self { audio: true, video: true, guess: true }
    }
}

/// One player's FLV stream: feed it frames in the order read, send the bytes it gives. The player
/// may have come before the publisher: the file header goes out with the first frames.
#[derive(Debug)]
pub struct Muxer {
    announce: Announce,
    flow: Flow,
    has_begun: bool,
    held: Vec<Frame>,
}

impl Default for Muxer {
    fn default() -> Self {
        Self::new()
    }
}

impl Muxer {
    /// A player that has just come.
    pub fn new() -> Self {
        Self::announcing(Announce::default())
    }

    /// One whose header says this.
    pub fn announcing(announce: Announce) -> Self {
        Self { announce, flow: Flow::new(), has_begun: false, held: Vec::new() }
    }

    /// Takes the next frame and appends what is to be sent. `tracks` are those of the frames lane
    /// as they stand now ([`weir_source::FrameSubscriber::tracks`]).
    pub fn frame(&mut self, frame: &Frame, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        if self.has_begun {
            return write(&mut self.flow, frame, tracks, out);
        }
        let Announce { audio, video, guess } = self.announce;
        self.held.push(frame.clone());
        if !guess {
            return self.begin(audio, video, tracks, out);
        }
        let has_audio = tracks.audio().is_some_and(|track| can_carry(track));
        let has_video = tracks.video().is_some_and(|track| can_carry(track));
        let waited = self.held.first().is_some_and(|first| frame.dts.saturating_since(first.dts) >= SECOND_TRACK_WAIT);
        // One that is not to be told of is not waited for.
        let has_both = (has_audio || !audio) && (has_video || !video);
        if !has_both && !waited && self.held.len() < HELD_MAX {
            return;
        }
        let of_kind = |kind| self.held.iter().any(|frame| frame.kind() == kind && can_carry(&frame.track));
        let has_audio = has_audio || of_kind(weir_source::MediaKind::Audio);
        let has_video = has_video || of_kind(weir_source::MediaKind::Video);
        if !has_audio && !has_video {
            // Nothing that FLV can carry yet.
            self.held.clear();
            return;
        }
        self.begin(has_audio && audio, has_video && video, tracks, out);
    }

    fn begin(&mut self, has_audio: bool, has_video: bool, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        out.push(tag::header(has_audio, has_video));
        self.has_begun = true;
        for frame in std::mem::take(&mut self.held) {
            write(&mut self.flow, &frame, tracks, out);
        }
    }

    /// The reader lost frames ([`weir_source::Read::Lagged`]): call it before the frames read with it.
    pub fn lagged(&mut self) {
        self.held.clear();
        self.flow.lagged();
    }

    /// Frames left out so far because FLV cannot carry their codec.
    pub fn uncarried(&self) -> u64 {
        self.flow.uncarried()
    }
}

fn write(flow: &mut Flow, frame: &Frame, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
    let timestamp = tag::millis(frame.dts);
    flow.feed(frame, tracks, |piece| match piece {
        // FFmpeg takes metadata at any other time for subtitles.
        Piece::Metadata(body) => out.push(tag::tag(TagKind::Script, 0, &[body])),
        Piece::Config(track) => out.extend(tag::config_tag(track, timestamp)),
        Piece::Frame(frame) => out.extend(tag::frame_tag(frame)),
    });
}

#[cfg(test)]
mod tests {
    use weir_source::Codec;

    use super::*;
    use crate::flv::{
        TagReader,
        flow::tests::{frame, track, tracks},
    };

    /// The header's flags, and kind and time of each tag.
    type Read = (Option<(bool, bool)>, Vec<(u8, u32)>);

    fn kinds(out: &[Bytes]) -> Read {
        let mut reader = TagReader::default();
        out.iter().for_each(|bytes| reader.push(bytes));
        let tags = std::iter::from_fn(|| reader.next_tag()).map(|tag| (tag.kind, tag.timestamp)).collect();
        (reader.flags, tags)
    }

    #[test]
    fn the_stream_starts_at_once_when_both_tracks_are_known() {
        let (audio, video) = (track(Codec::Aac, b"asc"), track(Codec::H264, b"avcc"));
        let mut out = Vec::new();
        Muxer::new().frame(&frame(&video, 1, 40, true), &tracks(&[&audio, &video]), &mut out);
        assert_eq!(kinds(&out), (Some((true, true)), vec![(18, 0), (8, 40), (9, 40), (9, 40)]));
    }

    #[test]
    fn a_second_track_is_waited_for_half_a_second() {
        let (audio, video) = (track(Codec::Aac, b"asc"), track(Codec::H264, b"avcc"));
        let mut muxer = Muxer::new();
        let mut out = Vec::new();
        muxer.frame(&frame(&video, 1, 0, true), &tracks(&[&video]), &mut out);
        muxer.frame(&frame(&video, 1, 480, false), &tracks(&[&video]), &mut out);
        assert!(out.is_empty());
        muxer.frame(&frame(&audio, 1, 490, true), &tracks(&[&audio, &video]), &mut out);
        assert_eq!(kinds(&out), (Some((true, true)), vec![(18, 0), (8, 0), (9, 0), (9, 0), (9, 480), (8, 490)]));

        let mut muxer = Muxer::new();
        let mut out = Vec::new();
        muxer.frame(&frame(&video, 1, 0, true), &tracks(&[&video]), &mut out);
        muxer.frame(&frame(&video, 1, 500, false), &tracks(&[&video]), &mut out);
        assert_eq!(kinds(&out), (Some((false, true)), vec![(18, 0), (9, 0), (9, 0), (9, 500)]));
    }

    #[test]
    fn what_is_not_to_be_told_of_is_not_waited_for_and_without_guessing_nothing_is() {
        let video = track(Codec::H264, b"avcc");
        let header = |announce| {
            let mut out = Vec::new();
            Muxer::announcing(announce).frame(&frame(&video, 1, 0, true), &tracks(&[&video]), &mut out);
            kinds(&out).0
        };
        assert_eq!(header(Announce::default()), None);
        assert_eq!(header(Announce { audio: false, ..Announce::default() }), Some((false, true)));
        assert_eq!(header(Announce { guess: false, ..Announce::default() }), Some((true, true)));
    }

    #[test]
    fn a_stream_that_flv_cannot_carry_yields_nothing_and_holds_nothing() {
        let vp8 = track(Codec::Vp8, b"");
        let mut muxer = Muxer::new();
        let mut out = Vec::new();
        for ms in 0..1_000 {
            muxer.frame(&frame(&vp8, 1, ms, true), &tracks(&[&vp8]), &mut out);
        }
        assert!(out.is_empty());
        assert!(muxer.held.len() < HELD_MAX);
    }
}
