//! What a player of frames is given, and when: metadata and decoder configurations when they
//! change, and no picture that it cannot decode. Shared by FLV over HTTP and RTMP.

use std::sync::Arc;

use bytes::Bytes;
use weir_source::{Frame, MediaKind, Track, TrackId, Tracks};

use super::{
    metadata::on_metadata,
    tag::{can_carry, frame_head},
};

/// One thing to send.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// The body of `onMetaData`.
    Metadata(&'a Bytes),
    /// The configuration of a track that has one.
    Config(&'a Track),
    /// A frame.
    Frame(&'a Frame),
}

/// The state of one player's stream.
#[derive(Debug, Default)]
pub struct Flow {
    tracks: Option<Arc<Tracks>>,
    metadata: Bytes,
    /// The track of each id as the player knows it.
    known: [Option<Arc<Track>>; TrackId::MAX],
    epoch: Option<u32>,
    needs_keyframe: bool,
    uncarried: u64,
    dropped: u64,
}

impl Flow {
    /// A player that has just come.
    pub fn new() -> Self {
        Self { needs_keyframe: true, ..Self::default() }
    }

    /// Takes the next frame and gives `out` what is to be sent for it, in order. `tracks` are those
    /// of the lane as they stand now.
    pub fn feed(&mut self, frame: &Frame, tracks: &Arc<Tracks>, mut out: impl FnMut(Piece<'_>)) {
        if frame_head(frame).is_none() {
            self.uncarried += 1;
            return;
        }
        if self.epoch != Some(frame.epoch) {
            self.epoch = Some(frame.epoch);
            self.needs_keyframe = true;
        }
        if frame.kind() == MediaKind::Video {
            if self.needs_keyframe && !frame.keyframe {
                self.dropped += 1;
                return;
            }
            self.needs_keyframe = false;
        }
        self.announce(frame, tracks, &mut out);
        if self.learn(&frame.track) {
            out(Piece::Config(&frame.track));
        }
        out(Piece::Frame(frame));
    }

    /// The reader lost frames: no picture until the next keyframe.
    pub fn lagged(&mut self) {
        self.needs_keyframe = true;
    }

    /// Frames that FLV cannot carry.
    pub fn uncarried(&self) -> u64 {
        self.uncarried
    }

    /// Pictures left out while waiting for a keyframe.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// New metadata, and the configurations of tracks that the player has not met.
    fn announce(&mut self, frame: &Frame, tracks: &Arc<Tracks>, out: &mut impl FnMut(Piece<'_>)) {
        if self.tracks.as_ref().is_some_and(|held| Arc::ptr_eq(held, tracks)) || tracks.list.is_empty() {
            return;
        }
        self.tracks = Some(Arc::clone(tracks));
        let metadata = on_metadata(tracks);
        if metadata != self.metadata {
            self.metadata = metadata;
            out(Piece::Metadata(&self.metadata));
        }
        for track in &tracks.list {
            let is_new = self.known.get(track.id.index()).is_some_and(Option::is_none);
            // The frame's own track may be an older state of the one listed: it speaks for itself.
            if is_new && track.id != frame.track.id && can_carry(track) && self.learn(track) {
                out(Piece::Config(track));
            }
        }
    }

    /// Whether the player must be told the configuration of `track`.
    fn learn(&mut self, track: &Arc<Track>) -> bool {
        let Some(known) = self.known.get_mut(track.id.index()) else { return false };
        let same =
            known.as_ref().is_some_and(|old| Arc::ptr_eq(old, track) || (old.codec == track.codec && old.config == track.config));
        if !same {
            *known = Some(Arc::clone(track));
        }
        !same && !track.config.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use weir_source::{Codec, MediaTime};

    use super::*;

    pub(crate) fn track(codec: Codec, config: &'static [u8]) -> Arc<Track> {
        let id = if codec.kind() == MediaKind::Video { TrackId::VIDEO } else { TrackId::AUDIO };
        let mut track = Track::new(id, codec, 48_000, 2);
        track.config = Bytes::from_static(config);
        Arc::new(track)
    }

    pub(crate) fn frame(track: &Arc<Track>, epoch: u32, ms: i64, keyframe: bool) -> Frame {
        let time = MediaTime::from_millis(ms);
        let mut frame = Frame::new(Arc::clone(track), time, time, keyframe, Bytes::from_static(b"f"));
        frame.epoch = epoch;
        frame
    }

    pub(crate) fn tracks(list: &[&Arc<Track>]) -> Arc<Tracks> {
        Arc::new(list.iter().fold(Tracks::default(), |tracks, track| tracks.with(Arc::clone(track))))
    }

    fn feed(flow: &mut Flow, frame: &Frame, tracks: &Arc<Tracks>) -> String {
        let mut said = Vec::new();
        flow.feed(frame, tracks, |piece| {
            said.push(match piece {
                Piece::Metadata(_) => "metadata".to_owned(),
                Piece::Config(track) => String::from_utf8(track.config.to_vec()).unwrap(),
                Piece::Frame(frame) => frame.dts.as_millis().to_string(),
            });
        });
        said.join(" ")
    }

    #[test]
    fn a_player_gets_metadata_and_configurations_before_the_first_keyframe() {
        let (audio, video) = (track(Codec::Aac, b"asc"), track(Codec::H264, b"avcc"));
        let lane = tracks(&[&audio, &video]);
        let mut flow = Flow::new();
        assert_eq!(feed(&mut flow, &frame(&video, 1, 0, false), &lane), "", "cannot be decoded");
        assert_eq!(feed(&mut flow, &frame(&video, 1, 40, true), &lane), "metadata asc avcc 40");
        assert_eq!(feed(&mut flow, &frame(&audio, 1, 45, true), &lane), "45");
        assert_eq!(feed(&mut flow, &frame(&video, 1, 80, false), &lane), "80");
        assert_eq!(flow.dropped(), 1);
    }

    #[test]
    fn configurations_come_again_only_when_their_bytes_change() {
        let (first, same, other) = (track(Codec::H264, b"one"), track(Codec::H264, b"one"), track(Codec::H264, b"two"));
        let mut flow = Flow::new();
        assert_eq!(feed(&mut flow, &frame(&first, 1, 0, true), &tracks(&[&first])), "metadata one 0");
        assert_eq!(feed(&mut flow, &frame(&same, 1, 40, true), &tracks(&[&same])), "40");
        assert_eq!(feed(&mut flow, &frame(&other, 1, 80, true), &tracks(&[&other])), "two 80");
    }

    #[test]
    fn after_lag_and_after_another_publisher_pictures_wait_for_a_keyframe() {
        let (audio, video) = (track(Codec::Aac, b"asc"), track(Codec::H264, b"avcc"));
        let lane = tracks(&[&audio, &video]);
        let mut flow = Flow::new();
        feed(&mut flow, &frame(&video, 1, 0, true), &lane);
        flow.lagged();
        assert_eq!(feed(&mut flow, &frame(&video, 1, 40, false), &lane), "");
        assert_eq!(feed(&mut flow, &frame(&audio, 1, 50, true), &lane), "50", "sound goes on");
        assert_eq!(feed(&mut flow, &frame(&video, 1, 80, true), &lane), "80");
        assert_eq!(feed(&mut flow, &frame(&video, 2, 120, false), &lane), "");
        assert_eq!(feed(&mut flow, &frame(&video, 2, 160, true), &lane), "160");
    }

    #[test]
    fn frames_that_flv_cannot_carry_are_skipped_and_counted() {
        let opus = track(Codec::Opus, b"");
        let mut flow = Flow::new();
        assert_eq!(feed(&mut flow, &frame(&opus, 1, 0, true), &tracks(&[&opus])), "");
        assert_eq!(flow.uncarried(), 1);
    }

    #[test]
    fn a_track_that_comes_later_is_announced_with_new_metadata() {
        let (audio, video) = (track(Codec::Aac, b"asc"), track(Codec::H264, b"avcc"));
        let mut flow = Flow::new();
        assert_eq!(feed(&mut flow, &frame(&video, 1, 0, true), &tracks(&[&video])), "metadata avcc 0");
        let both = tracks(&[&audio, &video]);
        assert_eq!(feed(&mut flow, &frame(&video, 1, 40, false), &both), "metadata asc 40");
        assert_eq!(feed(&mut flow, &frame(&audio, 1, 45, true), &both), "45");
    }
}
