//! Frames → one endless transport stream for one player (HTTP-TS).

use bytes::Bytes;
use weir_source::{Codec, Frame, MediaKind, MediaTime, Tracks};

use super::{Layout, Muxer, Onset, declares};

/// How long sound alone waits for a picture before it is taken for all there is.
const VIDEO_WAIT_US: i64 = 2_000_000;
/// How often the tables come where no keyframe brings them: a player that tunes in finds them at
/// once, and they are two packets.
const TABLES_US: i64 = 500_000;

/// One player's stream: feed it frames in the order read, send the bytes it gives. It starts, and
/// goes on after a break, at a keyframe.
#[derive(Debug, Default)]
pub struct LiveMuxer {
    muxer: Option<Muxer>,
    epoch: Option<u32>,
    onset: Onset,
    /// What comes can be decoded: a keyframe went before.
    has_joined: bool,
    /// The first sound since no picture came.
    sound_since: Option<MediaTime>,
    tables_at: Option<MediaTime>,
}

impl LiveMuxer {
    /// Takes the next frame and appends what is to be sent. `tracks` are those of the frames lane
    /// as they stand now.
    pub fn frame(&mut self, frame: &Frame, tracks: &Tracks, out: &mut Vec<Bytes>) {
        if !Layout::carries(frame.track.codec) {
            return;
        }
        if self.epoch.replace(frame.epoch).is_some_and(|epoch| epoch != frame.epoch) {
            self.lagged();
        }
        if !self.has_joined && !self.layout().audio && self.onset.holds(frame, tracks) {
            return;
        }
        for held in self.onset.take() {
            self.write(&held, tracks, out);
        }
        self.write(frame, tracks, out);
    }

    fn write(&mut self, frame: &Frame, tracks: &Tracks, out: &mut Vec<Bytes>) {
        let mut bytes = Vec::new();
        self.join(frame, tracks, &mut bytes);
        if !self.has_joined {
            return;
        }
        if let Some(muxer) = &mut self.muxer {
            // A frame that cannot be written is left out, and the stream goes on.
            let _left_out = muxer.write(frame, &mut bytes);
        }
        if !bytes.is_empty() {
            out.push(Bytes::from(bytes));
        }
    }

    /// The reader lost frames: call it before those that were read with the news.
    pub fn lagged(&mut self) {
        self.has_joined = false;
        self.sound_since = None;
        let _cannot_be_followed = self.onset.take();
    }

    /// Writes the tables where a player may start, and starts there itself.
    fn join(&mut self, frame: &Frame, tracks: &Tracks, out: &mut Vec<u8>) {
        let has_audio = self.layout().audio || declares(tracks, Codec::Aac);
        if frame.kind() == MediaKind::Video {
            if frame.keyframe {
                self.tables(Layout { video: true, audio: has_audio }, frame.dts, out);
            }
            return;
        }
        if self.has_joined {
            let is_due = self.tables_at.is_none_or(|at| frame.dts - at >= TABLES_US);
            if is_due && !self.layout().video {
                self.tables(self.layout(), frame.dts, out);
            }
            return;
        }
        let since = *self.sound_since.get_or_insert(frame.dts);
        if !self.layout().video && !declares(tracks, Codec::H264) && frame.dts - since >= VIDEO_WAIT_US {
            self.tables(Layout { video: false, audio: true }, frame.dts, out);
        }
    }

    fn tables(&mut self, layout: Layout, now: MediaTime, out: &mut Vec<u8>) {
        if self.layout() != layout {
            if let Some(muxer) = &mut self.muxer {
                muxer.flush(out);
            }
            self.muxer = Some(Muxer::new(layout));
        }
        if let Some(muxer) = &mut self.muxer {
            muxer.tables(out);
        }
        self.has_joined = true;
        self.tables_at = Some(now);
    }

    fn layout(&self) -> Layout {
        self.muxer.as_ref().map(Muxer::layout).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{audio, audio_track, packets, pes, video, video_track},
        *,
    };

    fn both() -> Tracks {
        Tracks::default().with(audio_track()).with(video_track())
    }

    fn bytes(muxer: &mut LiveMuxer, tracks: &Tracks, frames: &[Frame]) -> Vec<u8> {
        let mut out = Vec::new();
        frames.iter().for_each(|frame| muxer.frame(frame, tracks, &mut out));
        out.concat()
    }

    #[test]
    fn it_starts_at_a_keyframe_and_brings_the_tables_with_each() {
        let mut muxer = LiveMuxer::default();
        let early = [audio(0, 10), video(10_000, 0, false, 50)];
        assert!(bytes(&mut muxer, &both(), &early).is_empty());
        let first = bytes(&mut muxer, &both(), &[video(40_000, 0, true, 50), video(80_000, 0, false, 50)]);
        assert_eq!(packets(&first)[0].header.pid.as_u16(), 0, "the program association table");
        assert_eq!(pes(&first).len(), 2);
        let next = bytes(&mut muxer, &both(), &[video(120_000, 0, true, 50)]);
        assert_eq!(packets(&next)[0].header.pid.as_u16(), 0);
    }

    #[test]
    fn sound_that_is_announced_soon_after_the_first_picture_is_in_the_first_tables() {
        let mut muxer = LiveMuxer::default();
        let pictures = Tracks::default().with(video_track());
        assert!(bytes(&mut muxer, &pictures, &[video(0, 0, true, 50)]).is_empty(), "it waits");
        let first = bytes(&mut muxer, &both(), &[audio(10_000, 9)]);
        assert_eq!(muxer.layout(), Layout { video: true, audio: true });
        assert!(!first.is_empty());
        let mut silent = LiveMuxer::default();
        assert!(bytes(&mut silent, &pictures, &[video(0, 0, true, 50)]).is_empty());
        assert!(!bytes(&mut silent, &pictures, &[video(500_000, 0, false, 50)]).is_empty(), "not for ever");
    }

    #[test]
    fn after_a_break_it_goes_on_at_a_keyframe() {
        let mut muxer = LiveMuxer::default();
        bytes(&mut muxer, &both(), &[video(0, 0, true, 50)]);
        muxer.lagged();
        assert!(bytes(&mut muxer, &both(), &[video(40_000, 0, false, 50), audio(50_000, 9)]).is_empty());
        assert!(!bytes(&mut muxer, &both(), &[video(80_000, 0, true, 50)]).is_empty());
        let mut again = video(120_000, 0, false, 50);
        again.epoch += 1;
        assert!(bytes(&mut muxer, &both(), &[again]).is_empty(), "another publisher's pictures");
    }

    #[test]
    fn sound_alone_starts_once_no_picture_has_come_for_two_seconds() {
        let mut muxer = LiveMuxer::default();
        let tracks = Tracks::default().with(audio_track());
        let frames: Vec<_> = (0..150).map(|n| audio(n * 21_333, 20)).collect();
        let sound = bytes(&mut muxer, &tracks, &frames);
        let tables = packets(&sound).iter().filter(|packet| packet.header.pid.as_u16() == 0).count();
        assert!((2..=4).contains(&tables), "at two seconds, and each half second after: {tables}");
        let seen = bytes(&mut muxer, &both(), &[video(4_000_000, 0, true, 50)]);
        assert!(!seen.is_empty(), "a picture that comes late joins");
    }
}
