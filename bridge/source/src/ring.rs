//! A bounded ring with one writer and any number of cursors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::{MediaTime, TrackId, TrackSet, Wake, shelf::Store, source::WriterState};

/// Keyframes of several simulcast layers this near to each other are one place to start from: an
/// encoder that is asked makes all of them from one picture.
const JOIN_TOGETHER: Duration = Duration::from_millis(500);

/// What a ring must know of its items.
pub trait RingItem: Clone {
    /// What a ring keeps them in.
    #[doc(hidden)]
    type Store: Store<Self>;
    /// Bytes of payload, for the ring's byte bound.
    fn cost(&self) -> usize;
    /// A late reader may start here.
    fn is_join_point(&self) -> bool;
    /// Which of several simulcast layers starts there.
    fn join_track(&self) -> TrackId {
        TrackId::VIDEO
    }
    /// Its place on the source's clock.
    fn time(&self) -> MediaTime;
}

/// How much a ring keeps. What exceeds `items` or `bytes` goes, oldest first. What is older than
/// `span` goes too, unless it belongs to the group of pictures that a late reader needs. Packets go in
/// blocks of 16 KiB: what is with younger ones in a block is kept as long as they are.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most items.
    pub items: usize,
    /// The most bytes of payload.
    pub bytes: usize,
    /// How much media is kept for readers that are behind (and for retransmission).
    pub span: Duration,
}

/// One writer fills it, any number of cursors read it, one short lock per batch. Positions count
/// from 0 and never repeat; a cursor is a position held by its reader.
pub struct Ring<T: RingItem> {
    limits: Limits,
    /// `State::next`, readable without the lock.
    next: AtomicU64,
    state: Mutex<State<T>>,
    watchers: ArcSwap<Vec<(u64, Arc<dyn Wake>)>>,
    watcher_ids: AtomicU64,
}

struct State<T: RingItem> {
    items: T::Store,
    first: u64,
    bytes: usize,
    /// Of the last item.
    latest: MediaTime,
    join: Option<Join>,
    /// When the last join point was, held or not.
    joined: Option<MediaTime>,
    /// There are watchers. Under the lock, so that none is overlooked who comes during a push.
    watched: bool,
    writer: WriterState,
}

/// Where late readers start.
#[derive(Clone, Copy)]
struct Join {
    position: u64,
    time: MediaTime,
    /// The layers that have a keyframe from there on.
    tracks: TrackSet,
}

impl<T: RingItem> State<T> {
    fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// `item`, which is next, is a join point: a new one, or part of the last.
    fn join_at(&mut self, item: &T) {
        let (track, time) = (item.join_track(), item.time());
        self.joined = Some(time);
        match &mut self.join {
            Some(join) if !join.tracks.contains(track) && time.saturating_since(join.time) < JOIN_TOGETHER => {
                join.tracks.insert(track);
            }
            _ => self.join = Some(Join { position: self.next(), time, tracks: TrackSet::of(track) }),
        }
    }
}

impl<T: RingItem> Ring<T> {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: AtomicU64::new(0),
            state: Mutex::new(State {
                items: T::Store::default(),
                first: 0,
                bytes: 0,
                latest: MediaTime::ZERO,
                join: None,
                joined: None,
                watched: false,
                writer: WriterState::default(),
            }),
            watchers: ArcSwap::from_pointee(Vec::new()),
            watcher_ids: AtomicU64::new(0),
        }
    }

    /// Appends a batch. `admit` is called under the lock for the batch as a whole, may change
    /// items or drop them, and may refuse the batch by returning `false`.
    pub(crate) fn push(&self, batch: &mut Vec<T>, admit: impl FnOnce(&mut WriterState, &mut Vec<T>) -> bool) -> bool {
        let watched = {
            let mut state = self.state.lock();
            if !admit(&mut state.writer, batch) {
                batch.clear();
                return false;
            }
            for item in batch.drain(..) {
                if item.is_join_point() {
                    state.join_at(&item);
                }
                state.bytes += item.cost();
                state.latest = item.time();
                state.items.push(item);
            }
            self.evict(&mut state);
            self.next.store(state.next(), Ordering::Release);
            state.watched
        };
        if watched {
            self.wake_all();
        }
        true
    }

    fn evict(&self, state: &mut State<T>) {
        loop {
            let oldest = state.items.oldest();
            let end = state.first + oldest.items as u64;
            let over = state.items.len() > self.limits.items || state.bytes > self.limits.bytes;
            let old = state.latest.saturating_since(oldest.latest) > self.limits.span
                && state.join.is_none_or(|join| end <= join.position);
            if oldest.items == 0 || !(over || old) {
                break;
            }
            state.items.drop_oldest();
            state.bytes = state.bytes.saturating_sub(oldest.bytes);
            state.first = end;
        }
        if state.join.is_some_and(|join| join.position < state.first) {
            state.join = None;
        }
    }

    /// Copies up to `max` items from `*cursor` on to the end of `out` and moves the cursor past
    /// them. Returns how many items the reader missed: then its place had been overwritten, and
    /// reading goes on at the last join point, or at the live end where there is none.
    pub fn read(&self, cursor: &mut u64, out: &mut Vec<T>, max: usize) -> u64 {
        if self.next.load(Ordering::Acquire) <= *cursor {
            return 0;
        }
        let state = self.state.lock();
        let mut lagged = 0;
        if *cursor < state.first {
            let resume = state.join.map_or_else(|| state.next(), |join| join.position);
            lagged = resume - *cursor;
            *cursor = resume;
        }
        let start = usize::try_from(*cursor - state.first).unwrap_or(usize::MAX).min(state.items.len());
        let end = start.saturating_add(max).min(state.items.len());
        state.items.read(start..end, out);
        *cursor += (end - start) as u64;
        lagged
    }

    /// The item at a position, if it is still there.
    pub fn get(&self, position: u64) -> Option<T> {
        let state = self.state.lock();
        let index = usize::try_from(position.checked_sub(state.first)?).ok()?;
        state.items.get(index)
    }

    /// Where the next item will be.
    pub fn live(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Where a late reader starts: the last join point that is still whole, if there is one.
    pub fn join(&self) -> Option<u64> {
        self.state.lock().join.map(|join| join.position)
    }

    /// When the present publisher's last join point was, held or not, on the source's clock.
    pub fn joined(&self) -> Option<MediaTime> {
        self.state.lock().joined
    }

    /// The simulcast layers that have a keyframe from [`Ring::join`] on.
    pub fn join_tracks(&self) -> TrackSet {
        self.state.lock().join.map_or_else(TrackSet::default, |join| join.tracks)
    }

    /// Bytes and items held now.
    pub fn held(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.bytes, state.items.len())
    }

    /// Who may write, under the ring's own lock.
    pub(crate) fn writer(&self) -> MappedMutexGuard<'_, WriterState> {
        MutexGuard::map(self.state.lock(), |state| &mut state.writer)
    }

    /// The writer with this epoch has left, unless it was replaced: late readers must not start in what
    /// it sent. Readers that are behind may still read it. `also` is done under the lock.
    pub(crate) fn close(&self, epoch: u32, also: impl FnOnce(&mut WriterState)) {
        let mut state = self.state.lock();
        if state.writer.epoch == epoch {
            state.writer.advance();
            (state.join, state.joined) = (None, None);
            also(&mut state.writer);
        }
    }

    pub(crate) fn wake_all(&self) {
        for (_, wake) in self.watchers.load().iter() {
            wake.wake();
        }
    }

    pub(crate) fn watch(&self, wake: &Arc<dyn Wake>) -> u64 {
        let id = self.watcher_ids.fetch_add(1, Ordering::Relaxed);
        self.watchers.rcu(|old| {
            let mut next = Vec::with_capacity(old.len() + 1);
            next.extend(old.iter().cloned());
            next.push((id, Arc::clone(wake)));
            next
        });
        self.note_watchers();
        id
    }

    pub(crate) fn unwatch(&self, id: u64) {
        self.watchers.rcu(|old| old.iter().filter(|(other, _)| *other != id).cloned().collect::<Vec<_>>());
        self.note_watchers();
    }

    fn note_watchers(&self) {
        let mut state = self.state.lock();
        state.watched = !self.watchers.load().is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Item {
        number: u64,
        key: bool,
        track: TrackId,
        ms: i64,
    }

    impl RingItem for Item {
        type Store = std::collections::VecDeque<Self>;
        fn cost(&self) -> usize {
            10
        }
        fn is_join_point(&self) -> bool {
            self.key
        }
        fn join_track(&self) -> TrackId {
            self.track
        }
        fn time(&self) -> MediaTime {
            MediaTime::from_millis(self.ms)
        }
    }

    fn ring(items: usize, span_ms: u64) -> Ring<Item> {
        Ring::new(Limits { items, bytes: 10_000, span: Duration::from_millis(span_ms) })
    }

    fn push(ring: &Ring<Item>, numbers: std::ops::Range<u64>, key_every: u64) {
        let mut batch = numbers
            .map(|number| Item { number, key: number % key_every == 0, track: TrackId::VIDEO, ms: number as i64 * 10 })
            .collect();
        ring.push(&mut batch, |_, _| true);
    }

    fn read(ring: &Ring<Item>, cursor: &mut u64) -> (u64, Vec<u64>) {
        let mut out = Vec::new();
        let lagged = ring.read(cursor, &mut out, usize::MAX);
        (lagged, out.iter().map(|item| item.number).collect())
    }

    #[test]
    fn a_late_reader_joins_at_the_last_keyframe() {
        let ring = ring(100, 10_000);
        push(&ring, 0..25, 10);
        let mut cursor = ring.join().expect("a keyframe is held");
        assert_eq!(read(&ring, &mut cursor), (0, (20..25).collect()));
        assert_eq!(read(&ring, &mut cursor), (0, vec![]));
    }

    #[test]
    fn a_reader_that_lags_is_told_and_goes_on_at_a_keyframe() {
        let ring = ring(10, 10_000);
        let mut cursor = 0;
        push(&ring, 0..25, 10);
        assert_eq!(read(&ring, &mut cursor), (20, (20..25).collect()));
    }

    #[test]
    fn a_reader_that_lags_without_a_keyframe_goes_on_live() {
        let ring = ring(5, 10_000);
        let mut cursor = 0;
        push(&ring, 1..25, 1_000);
        assert_eq!(read(&ring, &mut cursor), (24, vec![]));
        push(&ring, 25..26, 1_000);
        assert_eq!(read(&ring, &mut cursor), (0, vec![25]));
    }

    #[test]
    fn the_span_spares_the_group_of_pictures_that_joiners_need() {
        let ring = ring(1_000, 50);
        push(&ring, 0..100, 30);
        assert_eq!(ring.join(), Some(90));
        assert_eq!(ring.held().1, 10, "only the last group, though 50 ms are six items");
        push(&ring, 100..119, 30);
        assert_eq!(ring.held().1, 29);
    }

    #[test]
    fn keyframes_of_several_layers_made_together_are_one_place_to_start_from() {
        let ring = ring(100, 10_000);
        let (mid, low) = (TrackId::new(2).unwrap(), TrackId::new(3).unwrap());
        let item = |number, track, ms| Item { number, key: true, track, ms };
        let items = [(low, 0), (TrackId::VIDEO, 30), (TrackId::VIDEO, 1_000), (mid, 1_010), (low, 1_499), (low, 1_520)];
        let mut joins = Vec::new();
        for (number, (track, ms)) in items.into_iter().enumerate() {
            ring.push(&mut vec![item(number as u64, track, ms)], |_, _| true);
            joins.push(ring.join().unwrap());
        }
        assert_eq!(joins, [0, 0, 2, 2, 2, 5]);
        assert_eq!(ring.join_tracks(), TrackSet::of(low));
    }

    #[test]
    fn after_the_publisher_left_nobody_joins_its_past() {
        let ring = ring(100, 10_000);
        push(&ring, 0..5, 10);
        ring.close(0, |_| {});
        assert_eq!(ring.join(), None);
        assert_eq!(read(&ring, &mut 0).1.len(), 5, "who was reading may finish");
    }

    proptest! {
        #[test]
        fn any_reading_pattern_sees_each_item_at_most_once_and_in_order(
            steps in proptest::collection::vec((1u64..40, 0usize..30), 1..60),
            items in 1usize..64,
        ) {
            let ring = ring(items, 200);
            let (mut written, mut cursor, mut last) = (0, 0, None);
            let mut missed = 0;
            let mut seen = 0;
            for (count, max) in steps {
                push(&ring, written..written + count, 17);
                written += count;
                let mut out = Vec::new();
                missed += ring.read(&mut cursor, &mut out, max);
                for item in &out {
                    prop_assert!(last.is_none_or(|last| item.number > last));
                    last = Some(item.number);
                }
                seen += out.len() as u64;
                prop_assert!(ring.held().1 <= items);
                prop_assert_eq!(ring.held().0, ring.held().1 * 10);
                prop_assert_eq!(seen + missed, cursor, "in = out + dropped");
            }
        }
    }
}
