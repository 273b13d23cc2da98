//! A publisher's media: tag bodies → frames on the source's clock → the frames lane.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::warn;
use weir_source::{Anchor, Frame, Lane, MediaKind, MediaTime, Publisher, Tracks};

use crate::flv::{Demuxed, Demuxer, TagError};

/// At most one line in this time about what is dropped.
const WARN_INTERVAL: Duration = Duration::from_secs(1);
/// What keeps decoding times rising where the publisher's stand still or step back.
const STEP_MIN_US: i64 = 1_000;

/// Another publisher has taken over: end the session.
#[derive(Debug)]
pub(crate) struct PublishEnd;

/// Fills the frames lane from tag bodies.
pub(crate) struct FramesPublisher {
    publisher: Publisher<Frame>,
    demuxer: Demuxer,
    anchor: Anchor,
    /// The last decoding time of sound and of pictures.
    last: [Option<MediaTime>; 2],
    demuxed: Vec<Demuxed>,
    batch: Vec<Frame>,
    dropped: u64,
    warned: Option<Instant>,
    breaks: u64,
}

impl FramesPublisher {
    /// Takes over from whoever published before: its tracks do not hold any more.
    pub(crate) fn new(publisher: Publisher<Frame>) -> Self {
        publisher.set_tracks(Tracks::default());
        Self {
            publisher,
            demuxer: Demuxer::new(),
            anchor: Anchor::default(),
            last: [None; 2],
            demuxed: Vec::new(),
            batch: Vec::new(),
            dropped: 0,
            warned: None,
            breaks: 0,
        }
    }

    pub(crate) fn audio(&mut self, timestamp: u32, body: &Bytes, now: Instant) -> Result<(), PublishEnd> {
        let taken = self.demuxer.audio(timestamp, body, &mut self.demuxed);
        self.take(taken, now)
    }

    pub(crate) fn video(&mut self, timestamp: u32, body: &Bytes, now: Instant) -> Result<(), PublishEnd> {
        let taken = self.demuxer.video(timestamp, body, &mut self.demuxed);
        self.take(taken, now)
    }

    pub(crate) fn metadata(&self, metadata: Bytes) -> Result<(), PublishEnd> {
        let mut tracks = Tracks::clone(&self.publisher.source().tracks(Lane::Frames));
        tracks.metadata = metadata;
        if self.publisher.set_tracks(tracks) { Ok(()) } else { Err(PublishEnd) }
    }

    /// Hands the frames of this turn to the readers at once.
    pub(crate) fn flush(&mut self, now: Instant) -> Result<(), PublishEnd> {
        // An empty push tells nothing, so a publisher that was replaced while idle is asked for.
        let holds = if self.batch.is_empty() { !self.publisher.is_replaced() } else { self.publisher.push(&mut self.batch, now) };
        if holds { Ok(()) } else { Err(PublishEnd) }
    }

    /// Tags that could not be used.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn take(&mut self, taken: Result<(), TagError>, now: Instant) -> Result<(), PublishEnd> {
        let arrival = self.publisher.source().media_time(now);
        let floor = self.publisher.source().floor();
        for item in self.demuxed.drain(..) {
            match item {
                Demuxed::Track(track) => {
                    if !self.publisher.set_track(track) {
                        return Err(PublishEnd);
                    }
                }
                Demuxed::Frame(mut frame) => {
                    let late = frame.pts - frame.dts;
                    let dts = self.anchor.map(frame.dts, arrival, floor);
                    let last = match frame.kind() {
                        MediaKind::Audio => &mut self.last[0],
                        MediaKind::Video => &mut self.last[1],
                    };
                    frame.dts = last.map_or(dts, |last| dts.max(last.offset(STEP_MIN_US)));
                    frame.pts = dts.offset(late).max(frame.dts);
                    *last = Some(frame.dts);
                    self.batch.push(frame);
                }
            }
        }
        self.report(taken.err(), now);
        Ok(())
    }

    fn report(&mut self, error: Option<TagError>, now: Instant) {
        let has_broken = self.anchor.breaks() != self.breaks;
        self.breaks = self.anchor.breaks();
        self.dropped += u64::from(error.is_some());
        let is_due = self.warned.is_none_or(|last| now.saturating_duration_since(last) >= WARN_INTERVAL);
        if (has_broken || error.is_some()) && is_due {
            self.warned = Some(now);
            match error {
                Some(error) => warn!(%error, dropped = self.dropped, "media dropped"),
                None => warn!(breaks = self.breaks, "the publisher's timestamps jumped"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weir_source::{Hub, StreamKey};

    use super::*;
    use crate::NotifyWake;

    fn setup() -> (Arc<Hub>, FramesPublisher, weir_source::FrameSubscriber, Instant) {
        let (hub, key, now) = (Hub::new(), StreamKey::new("live", "s").unwrap(), Instant::now());
        let reader = hub.subscribe_frames(&key, now);
        let publisher = hub.publish_frames(&key, "a", NotifyWake::new(), now).unwrap();
        (hub, FramesPublisher::new(publisher), reader, now)
    }

    fn send(publisher: &mut FramesPublisher, timestamp: u32, now: Instant) {
        publisher.audio(timestamp, &Bytes::from_static(&[0xaf, 1, 7]), now).unwrap();
        publisher.flush(now).unwrap();
    }

    #[test]
    fn times_start_on_arrival_rise_and_go_on_after_a_jump() {
        let (_hub, mut publisher, mut reader, t0) = setup();
        let at = |ms| t0 + Duration::from_millis(ms);
        publisher.audio(0, &Bytes::from_static(&[0xaf, 0, 0x12, 0x10]), t0).unwrap();
        for (timestamp, ms) in [(16_777_200, 100), (16_777_223, 110), (16_777_223, 150), (16_777_210, 150), (900, 200)] {
            send(&mut publisher, timestamp, at(ms));
        }
        let mut frames = Vec::new();
        reader.read(&mut frames, 100);
        let times: Vec<_> = frames.iter().map(|frame| frame.dts.as_millis()).collect();
        assert_eq!(times, [100, 123, 124, 125, 200]);
        assert!(frames.iter().all(|frame| frame.pts == frame.dts));
    }

    #[test]
    fn metadata_and_tracks_are_kept_together() {
        let (_hub, mut publisher, reader, now) = setup();
        publisher.metadata(Bytes::from_static(b"meta")).unwrap();
        publisher.audio(0, &Bytes::from_static(&[0xaf, 0, 0x12, 0x10]), now).unwrap();
        assert_eq!(&reader.tracks().metadata[..], b"meta");
        assert_eq!(reader.tracks().audio().unwrap().clock_rate, 44_100);
    }

    #[test]
    fn a_replaced_publisher_ends_even_without_media() {
        let (hub, mut publisher, _reader, now) = setup();
        let key = StreamKey::new("live", "s").unwrap();
        let later = now + Duration::from_secs(3);
        let _other = hub.publish_frames(&key, "b", NotifyWake::new(), later).unwrap();
        assert!(publisher.flush(later).is_err());
    }

    #[test]
    fn a61_bad_tags_are_counted_and_the_stream_goes_on() {
        let (_hub, mut publisher, mut reader, now) = setup();
        publisher.video(0, &Bytes::from_static(&[0x22, 1]), now).unwrap();
        send(&mut publisher, 5, now);
        publisher.audio(0, &Bytes::from_static(&[0xaf, 0, 0x12, 0x10]), now).unwrap();
        send(&mut publisher, 9, now);
        let mut frames = Vec::new();
        reader.read(&mut frames, 100);
        assert_eq!((publisher.dropped(), frames.len()), (2, 1));
    }
}
