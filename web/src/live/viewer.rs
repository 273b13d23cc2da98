//! One HTTP-FLV viewer, without its connection: frames in, FLV bytes out.
//!
//! It owns a cursor in the frames ring and the viewer's place on the client list. It reads no
//! clock: `now` is passed in, and what it waits for comes back.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_source::{ClientGuard, Frame, FrameSubscriber, Lane, MediaKind, Read, Tracks};

/// Writes FLV. All viewers of a stream share the tags of frames.
pub trait FlvMux: Send {
    /// The file header and what comes before the first frame.
    fn start(&mut self, audio: bool, video: bool, tracks: &Tracks, out: &mut VecDeque<Bytes>);
    /// A frame, after new sequence headers where its track's configuration is new.
    fn frame(&mut self, frame: &Frame, out: &mut VecDeque<Bytes>);
}

/// Frames taken from the ring at a time: half a second of picture and sound, few enough to be
/// written in one call.
const BATCH: usize = 64;
/// How long to wait for the second kind of track once the first is there, if the publisher has
/// not announced it. The FLV header must say which kinds there are, and RTMP encoders send both
/// sequence headers before any frame.
const SECOND_TRACK_WAIT: Duration = Duration::from_millis(250);
/// The same where the publisher has announced it: a transcoder needs its first frames.
const ANNOUNCED_TRACK_WAIT: Duration = Duration::from_millis(1_500);

/// What [`Viewer::step`] found.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes to send.
    Data(Bytes),
    /// Nothing now: look again when woken, or at this time.
    Wait(Option<Instant>),
    /// The viewer is to be ended.
    End,
}

/// How long a viewer waits for a publisher.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) first: Duration,
    pub(super) again: Duration,
}

pub(super) struct Viewer {
    subscriber: FrameSubscriber,
    client: ClientGuard,
    mux: Box<dyn FlvMux>,
    patience: Patience,
    batch: Vec<Frame>,
    out: VecDeque<Bytes>,
    started: bool,
    tracks_since: Option<Instant>,
    absent_since: Option<Instant>,
    epoch: u32,
    keyframe_needed: bool,
}

impl Viewer {
    pub(super) fn new(subscriber: FrameSubscriber, client: ClientGuard, mux: Box<dyn FlvMux>, patience: Patience) -> Self {
        Self {
            subscriber,
            client,
            mux,
            patience,
            batch: Vec::new(),
            out: VecDeque::new(),
            started: false,
            tracks_since: None,
            absent_since: None,
            epoch: 0,
            keyframe_needed: true,
        }
    }

    /// The next thing to do. Call again after [`Step::Data`], and when woken or at the time given
    /// after [`Step::Wait`].
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.client.is_kicked() {
            return Step::End;
        }
        loop {
            if let Some(data) = self.out.pop_front() {
                self.client.sent(data.len());
                return Step::Data(data);
            }
            if !self.started {
                match self.start(now) {
                    Ok(()) => continue,
                    Err(until) => return self.wait(now, until),
                }
            }
            if !self.read() {
                return self.wait(now, None);
            }
        }
    }

    /// Writes the header once it is known what the stream has, and goes to its last keyframe.
    fn start(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        let tracks = self.subscriber.tracks();
        let (audio, video) = (tracks.audio().is_some(), tracks.video().is_some());
        if !audio && !video {
            self.tracks_since = None;
            return Err(None);
        }
        if !audio || !video {
            let since = *self.tracks_since.get_or_insert(now);
            let native = self.subscriber.source().tracks(Lane::Packets);
            let announced = native.audio().is_some() && native.video().is_some();
            let until = since + if announced { ANNOUNCED_TRACK_WAIT } else { SECOND_TRACK_WAIT };
            if now < until {
                return Err(Some(until));
            }
        }
        self.mux.start(audio, video, &tracks, &mut self.out);
        self.subscriber.seek_join();
        self.started = true;
        Ok(())
    }

    /// Muxes what the ring has; `false` if that is nothing.
    fn read(&mut self) -> bool {
        let read = self.subscriber.read(&mut self.batch, BATCH);
        if let Read::Lagged(_) = read {
            self.keyframe_needed = true;
        }
        if self.batch.is_empty() {
            return false;
        }
        let has_video = self.subscriber.tracks().video().is_some();
        for frame in self.batch.drain(..) {
            if frame.epoch != self.epoch {
                self.epoch = frame.epoch;
                self.keyframe_needed = true;
            }
            if self.keyframe_needed {
                let decodable = if has_video { frame.kind() == MediaKind::Video && frame.keyframe } else { true };
                if !decodable {
                    continue;
                }
                self.keyframe_needed = false;
            }
            self.mux.frame(&frame, &mut self.out);
        }
        if self.keyframe_needed {
            self.subscriber.source().request_keyframe();
        }
        true
    }

    /// Waits for frames, or while nobody publishes for the publisher, but not for ever.
    fn wait(&mut self, now: Instant, until: Option<Instant>) -> Step {
        if self.subscriber.source().publisher_lane().is_some() {
            self.absent_since = None;
            return Step::Wait(until);
        }
        let since = *self.absent_since.get_or_insert(now);
        let patience = if self.started { self.patience.again } else { self.patience.first };
        let end = since + patience;
        if now >= end { Step::End } else { Step::Wait(Some(end)) }
    }
}
