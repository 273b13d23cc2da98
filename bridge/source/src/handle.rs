//! Handles: one publisher, many subscribers; dropping one is its teardown.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use crate::{
    Frame, Hub, Lane, LaneItem, Packet, Source, Track, TrackSet, Tracks, Wake,
    lane::{ResumeCell, Tally},
    source::{RemuxSeat, WriterState},
};

/// The right to fill one lane. A later writer of the lane ends it.
struct Writer {
    source: Arc<Source>,
    lane: Lane,
    epoch: u32,
}

impl Writer {
    fn open(source: &Arc<Source>, lane: Lane) -> Self {
        let epoch = source.writer(lane).advance();
        Self { source: Arc::clone(source), lane, epoch }
    }

    /// `published`: when, in milliseconds after the source was made, if a publisher and no remuxer
    /// made the batch.
    fn push<T: LaneItem>(&self, batch: &mut Vec<T>, published: Option<u64>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let source = &*self.source;
        let epoch = self.epoch;
        let accepted = T::ring(source).push(batch, |state, batch| {
            if state.epoch != epoch {
                return false;
            }
            let (mut cell, mut tally) = (ResumeCell { epoch, resume: &mut state.resume }, Tally::default());
            batch.retain_mut(|item| {
                let adopted = item.adopt(&mut cell);
                if adopted {
                    tally.latest = tally.latest.max(item.time());
                }
                if let Some(now_ms) = published.filter(|_| adopted) {
                    tally.bytes += item.cost() as u64;
                    item.count(&cell, &mut tally);
                    item.measure(source, now_ms);
                }
                adopted
            });
            if let Some(now_ms) = published {
                source.last_media_ms.store(now_ms, Ordering::Relaxed);
            }
            tally.enter(source);
            true
        });
        if !accepted {
            source.stats.refused.fetch_add(1, Ordering::Relaxed);
        }
        accepted
    }

    fn set_tracks(&self, tracks: Tracks) -> bool {
        let mut state = self.source.writer(self.lane);
        if state.epoch != self.epoch {
            return false;
        }
        state.resume.note(&tracks);
        self.source.tracks[self.lane.index()].store(Arc::new(tracks));
        drop(state);
        self.source.wake_readers();
        true
    }

    /// Ends the lane: late readers find no tracks and no join point.
    fn close(&self) {
        let source = &*self.source;
        let forget_tracks = |state: &mut WriterState| {
            state.resume.note(&Tracks::default());
            source.tracks[self.lane.index()].store(Arc::default());
        };
        match self.lane {
            Lane::Packets => source.packets.close(self.epoch, |state| {
                forget_tracks(state);
                source.reset_meters();
            }),
            Lane::Frames => source.frames.close(self.epoch, forget_tracks),
        }
    }
}

/// The one publisher of a source, filling its native lane `T` ([`Packet`] or [`Frame`]).
/// Dropping it unpublishes; readers stay and wait for the next.
pub struct Publisher<T: LaneItem> {
    hub: Arc<Hub>,
    writer: Writer,
    seat: u64,
    _items: std::marker::PhantomData<fn(T)>,
}

impl<T: LaneItem> Publisher<T> {
    pub(crate) fn new(hub: Arc<Hub>, source: &Arc<Source>, seat: u64) -> Self {
        // The other lane first: whoever filled it (a remuxer, or a publisher of the other kind that
        // is being replaced) must not go on.
        Writer::open(source, T::LANE.other()).close();
        let writer = Writer::open(source, T::LANE);
        Self { hub, writer, seat, _items: std::marker::PhantomData }
    }

    /// The source it fills.
    pub fn source(&self) -> &Arc<Source> {
        &self.writer.source
    }

    /// Replaces the lane's tracks. `false`: another publisher has taken over, end the session.
    pub fn set_tracks(&self, tracks: Tracks) -> bool {
        self.writer.set_tracks(tracks)
    }

    /// Adds a track or replaces the one with its id.
    pub fn set_track(&self, track: Arc<Track>) -> bool {
        let tracks = self.writer.source.tracks(T::LANE).with(track);
        self.set_tracks(tracks)
    }

    /// Moves a batch into the ring, leaving `batch` empty, and wakes the readers once. `false`:
    /// another publisher has taken over, end the session.
    pub fn push(&self, batch: &mut Vec<T>, now: Instant) -> bool {
        self.writer.push(batch, Some(self.writer.source.millis(now)))
    }

    /// Which tracks readers have wished a keyframe of since the last call. The publisher's
    /// [`Wake`] is called when a first wish comes.
    pub fn take_keyframe_requests(&self) -> TrackSet {
        self.writer.source.take_keyframe_requests()
    }

    /// Another publisher has taken over.
    pub fn is_replaced(&self) -> bool {
        self.writer.source.writer(T::LANE).epoch != self.writer.epoch
    }
}

impl<T: LaneItem> Drop for Publisher<T> {
    fn drop(&mut self) {
        self.writer.close();
        self.hub.release_publisher(&self.writer.source, self.seat);
    }
}

/// What [`Subscriber::read`] found besides items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Items were read, or there were none.
    Ok,
    /// The reader had fallen behind and lost this many items; what follows starts at a keyframe
    /// or, where none is held, at the live end.
    Lagged(u64),
}

/// A reader of one lane. It holds one cursor; its place is not lost by another's slowness.
pub struct Subscriber<T: LaneItem> {
    hub: Option<Arc<Hub>>,
    source: Arc<Source>,
    cursor: u64,
    watch: Option<u64>,
    _items: std::marker::PhantomData<fn() -> T>,
}

/// A reader of RTP packets: one per worker and source, not per viewer.
pub type PacketSubscriber = Subscriber<Packet>;
/// A reader of frames: one per player or segmenter.
pub type FrameSubscriber = Subscriber<Frame>;

impl<T: LaneItem> Subscriber<T> {
    /// `hub` is `None` for a remuxer's own reading, which keeps nothing alive.
    pub(crate) fn new(hub: Option<Arc<Hub>>, source: Arc<Source>) -> Self {
        let ring = T::ring(&source);
        let cursor = ring.join().unwrap_or_else(|| ring.live());
        Self { hub, source, cursor, watch: None, _items: std::marker::PhantomData }
    }

    /// The source it reads.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The lane's tracks as they stand now.
    pub fn tracks(&self) -> Arc<Tracks> {
        self.source.tracks(T::LANE)
    }

    /// `wake` is called after each batch, when tracks change and when a publisher comes or goes,
    /// until the subscriber is dropped.
    pub fn watch(&mut self, wake: Arc<dyn Wake>) {
        if let Some(old) = self.watch.take() {
            T::ring(&self.source).unwatch(old);
        }
        self.watch = Some(T::ring(&self.source).watch(&wake));
    }

    /// Copies up to `max` items to the end of `out`.
    pub fn read(&mut self, out: &mut Vec<T>, max: usize) -> Read {
        match T::ring(&self.source).read(&mut self.cursor, out, max) {
            0 => Read::Ok,
            lagged => {
                self.source.stats.lagged.fetch_add(lagged, Ordering::Relaxed);
                Read::Lagged(lagged)
            }
        }
    }

    /// The ring position of the next item to be read.
    pub fn position(&self) -> u64 {
        self.cursor
    }

    /// How many items are waiting.
    pub fn behind(&self) -> u64 {
        T::ring(&self.source).live().saturating_sub(self.cursor)
    }

    /// Moves to the last keyframe, or to the live end where none is held.
    pub fn seek_join(&mut self) {
        let ring = T::ring(&self.source);
        self.cursor = ring.join().unwrap_or_else(|| ring.live());
    }

    /// Moves to the live end.
    pub fn seek_live(&mut self) {
        self.cursor = T::ring(&self.source).live();
    }
}

impl<T: LaneItem> Drop for Subscriber<T> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            T::ring(&self.source).unwatch(watch);
        }
        if let Some(hub) = self.hub.take() {
            hub.release_reader(&self.source, T::LANE);
        }
    }
}

/// An order to fill one lane of a source from the other, while somebody reads it and the publisher
/// stays. Whoever runs it drops it when [`RemuxJob::is_over`].
pub struct RemuxJob {
    hub: Arc<Hub>,
    seat: Arc<RemuxSeat>,
    writer: Writer,
}

impl RemuxJob {
    pub(crate) fn new(hub: Arc<Hub>, source: &Arc<Source>, seat: Arc<RemuxSeat>) -> Self {
        let writer = Writer::open(source, seat.lane);
        Self { hub, seat, writer }
    }

    /// The source.
    pub fn source(&self) -> &Arc<Source> {
        &self.writer.source
    }

    /// The lane to fill. Read the other one.
    pub fn lane(&self) -> Lane {
        self.seat.lane
    }

    /// A reader of the native lane, from the last keyframe on. Its wake is called too when the job
    /// is over.
    pub fn reader<T: LaneItem>(&self) -> Subscriber<T> {
        Subscriber::new(None, Arc::clone(&self.writer.source))
    }

    /// The last reader or the publisher has left.
    pub fn is_over(&self) -> bool {
        self.seat.stop.load(Ordering::Acquire)
    }

    /// Replaces the tracks of the lane being filled.
    pub fn set_tracks(&self, tracks: Tracks) -> bool {
        self.writer.set_tracks(tracks)
    }

    /// Adds a track to the lane being filled, or replaces the one with its id.
    pub fn set_track(&self, track: Arc<Track>) -> bool {
        let tracks = self.writer.source.tracks(self.seat.lane).with(track);
        self.set_tracks(tracks)
    }

    /// Moves a batch into the lane being filled. `T` must be that lane's item; another is refused.
    pub fn push<T: LaneItem>(&self, batch: &mut Vec<T>) -> bool {
        if T::LANE != self.seat.lane {
            batch.clear();
            return false;
        }
        self.writer.push(batch, None)
    }
}

impl Drop for RemuxJob {
    fn drop(&mut self) {
        self.writer.close();
        self.hub.release_remux(&self.writer.source, &self.seat);
    }
}
