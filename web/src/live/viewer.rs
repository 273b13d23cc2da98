//! One HTTP viewer, without its connection: frames in, bytes of its container out.
//!
//! It owns a cursor in the frames ring and the viewer's place on the client list. It reads no
//! clock: `now` is passed in, and what it waits for comes back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_bridge::{
    flv,
    sound::{AacMuxer, Mp3Muxer},
    ts,
};
use weir_source::{ClientGuard, Codec, Frame, FrameSubscriber, Read, RingItem, Tracks};

use super::content::{Content, Sieve};

/// Frames taken from the ring at a time: half a second of picture and sound, few enough to be
/// written in one call.
const BATCH: usize = 64;

/// What [`Viewer::step`] found.
#[derive(Debug)]
pub(super) enum Step {
    /// Bytes to send.
    Data(Bytes),
    /// Nothing now: look again when woken, or at this time.
    Wait(Option<Instant>),
    /// It gathers: look again at this time. Waking for less is a waste.
    Rest(Instant),
    /// The viewer is to be ended.
    End,
}

/// How long a viewer waits for a publisher.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For the first.
    pub(super) first: Duration,
    /// For one to come back.
    pub(super) again: Duration,
}

/// What frames are sent in.
pub(super) trait Container: Send + Unpin + 'static {
    /// Of the whole stream.
    const KIND: &'static str;

    /// For sound alone: whether it can be had of a stream that is published, whose sound comes in this
    /// codec, as far as it is known yet. `None`: any stream will do, whoever publishes it and when.
    const SOUND: Option<fn(Codec) -> bool> = None;

    /// For a viewer that has just come.
    fn new(content: Content) -> Self;

    /// Takes the next frame and appends what is to be sent.
    fn frame(&mut self, frame: &Frame, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>);

    /// Frames were lost before the next.
    fn lagged(&mut self);
}

impl Container for flv::Muxer {
    const KIND: &'static str = "video/x-flv";

    fn new(content: Content) -> Self {
        Self::announcing(content.announce())
    }

    fn frame(&mut self, frame: &Frame, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        Self::frame(self, frame, tracks, out);
    }

    fn lagged(&mut self) {
        Self::lagged(self);
    }
}

impl Container for ts::LiveMuxer {
    const KIND: &'static str = "video/mp2t";

    fn new(_content: Content) -> Self {
        Self::default()
    }

    fn frame(&mut self, frame: &Frame, tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        Self::frame(self, frame, tracks, out);
    }

    fn lagged(&mut self) {
        Self::lagged(self);
    }
}

impl Container for AacMuxer {
    const KIND: &'static str = "audio/aac";

    // Opus is made into AAC for whoever wants it.
    const SOUND: Option<fn(Codec) -> bool> = Some(|codec| matches!(codec, Codec::Aac | Codec::Opus));

    fn new(_content: Content) -> Self {
        Self
    }

    fn frame(&mut self, frame: &Frame, _tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        Self::frame(self, frame, out);
    }

    fn lagged(&mut self) {}
}

impl Container for Mp3Muxer {
    const KIND: &'static str = "audio/mpeg";

    // None is made.
    const SOUND: Option<fn(Codec) -> bool> = Some(|codec| codec == Codec::Mp3);

    fn new(_content: Content) -> Self {
        Self
    }

    fn frame(&mut self, frame: &Frame, _tracks: &Arc<Tracks>, out: &mut Vec<Bytes>) {
        Self::frame(self, frame, out);
    }

    fn lagged(&mut self) {}
}

pub(super) struct Viewer<C> {
    subscriber: FrameSubscriber,
    client: ClientGuard,
    muxer: C,
    sieve: Sieve,
    patience: Patience,
    batch: Vec<Frame>,
    /// What is to be sent, the next last.
    out: Vec<Bytes>,
    has_sent: bool,
    gather: Duration,
    /// While it gathers: until when.
    rests: Option<Instant>,
    /// Something was sent since it last gathered.
    is_owed_rest: bool,
    absent_since: Option<Instant>,
}

impl<C: Container> Viewer<C> {
    /// Frames are sent at most every `gather`.
    pub(super) fn new(
        subscriber: FrameSubscriber,
        client: ClientGuard,
        content: Content,
        patience: Patience,
        gather: Duration,
    ) -> Self {
        Self {
            subscriber,
            client,
            muxer: C::new(content),
            sieve: Sieve::new(content),
            patience,
            batch: Vec::new(),
            out: Vec::new(),
            has_sent: false,
            gather,
            rests: None,
            is_owed_rest: false,
            absent_since: None,
        }
    }

    /// The next thing to do. Call again after [`Step::Data`], when woken or at the time given after
    /// [`Step::Wait`], and at the time given after [`Step::Rest`].
    pub(super) fn step(&mut self, now: Instant) -> Step {
        if self.client.is_kicked() {
            return Step::End;
        }
        match self.rests {
            Some(until) if now < until => return Step::Rest(until),
            _ => self.rests = None,
        }
        loop {
            if let Some(data) = self.out.pop() {
                self.client.sent(data.len());
                (self.has_sent, self.is_owed_rest) = (true, true);
                return Step::Data(data);
            }
            if !self.read() {
                if std::mem::take(&mut self.is_owed_rest) && !self.gather.is_zero() {
                    let until = now + self.gather;
                    self.rests = Some(until);
                    return Step::Rest(until);
                }
                return self.wait(now);
            }
        }
    }

    /// Muxes what the ring has; `false` if that is nothing.
    fn read(&mut self) -> bool {
        if let Read::Lagged(_) = self.subscriber.read(&mut self.batch, BATCH) {
            self.muxer.lagged();
            // Where the ring held no keyframe the publisher is asked for one.
            if !self.batch.iter().any(RingItem::is_join_point) {
                self.subscriber.source().request_keyframe();
            }
        }
        let is_empty = self.batch.is_empty();
        let tracks = self.sieve.tracks(self.subscriber.tracks());
        for frame in self.batch.drain(..).filter(|frame| self.sieve.takes(frame)) {
            self.muxer.frame(&frame, &tracks, &mut self.out);
        }
        self.out.reverse();
        !is_empty
    }

    /// Waits for frames, or while nobody publishes for the publisher, but not for ever.
    fn wait(&mut self, now: Instant) -> Step {
        if self.subscriber.source().publisher_lane().is_some() {
            self.absent_since = None;
            return Step::Wait(None);
        }
        let since = *self.absent_since.get_or_insert(now);
        let end = since + if self.has_sent { self.patience.again } else { self.patience.first };
        if now >= end { Step::End } else { Step::Wait(Some(end)) }
    }
}
