//! HLS: streams cut into segments in memory, on demand.
//!
//! [`Hls`] owns the segmenters by name. A stream's segmenter starts with the first request for its
//! playlist and ends when nobody asks any more or the publisher stays away. What the HTTP side
//! reads are immutable snapshots; nothing here touches a file or knows of clients and tokens.

mod playlist;
mod segmenter;
mod stream;
mod watch;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{runtime::Handle, time::Instant};
use tokio_util::sync::CancellationToken;
use weir_source::{Hub, PerVhost, StreamKey};

pub use playlist::stream_of_segment;
use segmenter::{Cut, Tally};
use stream::Stream;
pub use watch::{Finished, SegmentWatch};

/// The most streams that are segmented at a time. At 2 Mb/s and the default window one takes
/// 6 MB, so this is 6 GB: a machine with as many publishers has that.
const STREAMS_MAX: usize = 1_024;
/// The most requests that wait for a first segment. Each is a task of some kilobytes, and waits
/// only while a stream starts.
const WAITERS_MAX: usize = 4_096;
/// How often [`HlsConfig::always`] looks for new publishers.
const PUBLISHERS_LOOK: Duration = Duration::from_millis(500);

/// How the streams of a vhost are segmented.
#[derive(Clone, Debug, PartialEq)]
pub struct HlsConfig {
    /// There is HLS (`enabled`). Default on. Streams that are segmented when it is switched off end.
    pub enabled: bool,
    /// Segments end at the first keyframe after this (`hls_fragment`). Default 2 s.
    pub fragment: Duration,
    /// Without a keyframe they end at `fragment` times this, at least 1 (`hls_aof_ratio`).
    /// Default 2.1.
    pub aof_ratio: f64,
    /// How much the playlist lists, at least three segments (`hls_window`). Default 12 s. As much
    /// again is kept for slow players: at 2 Mb/s 6 MB in all, and never more than 192 MiB.
    pub window: Duration,
    /// Before the names of segments in playlists (`hls_entry_prefix`), for a CDN. Default none: they
    /// are relative. One that does not end in a slash is followed by the stream's app, as with SRS.
    pub entry_prefix: String,
    /// Segment from publish on rather than from the first request. Default off.
    pub always: bool,
    /// The segmenter ends after this long without a request, unless `always`. Default 30 s.
    pub idle: Duration,
    /// It ends after this long without a publisher (`hls_dispose`). Until then the last segments
    /// are served, and a publisher that comes back goes on in the same playlist. Default 30 s.
    pub dispose: Duration,
    /// How long a request waits for a stream's first segments. Default 10 s.
    pub wait: Duration,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            fragment: Duration::from_secs(2),
            aof_ratio: 2.1,
            window: Duration::from_secs(12),
            entry_prefix: String::new(),
            always: false,
            idle: Duration::from_secs(30),
            dispose: Duration::from_secs(30),
            wait: Duration::from_secs(10),
        }
    }
}

/// Why there is no playlist.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum HlsError {
    /// HLS is off for the vhost. Answer 404.
    #[error("HLS is off here")]
    Off,
    /// Nobody publishes the stream. Answer 404.
    #[error("nobody publishes this stream")]
    NotFound,
    /// No segment was finished in time. Answer 503: the next request may find one.
    #[error("the first segment is not ready yet")]
    Timeout,
    /// Too many streams are segmented, or too many requests wait. Answer 503.
    #[error("too many HLS streams or waiting requests")]
    Busy,
}

/// What HLS holds and has done, all streams together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HlsStats {
    /// Segmenters running now.
    pub streams: usize,
    /// Bytes of segments held now.
    pub bytes: u64,
    /// Requests waiting for a first segment now.
    pub waiters: usize,
    /// Segments finished.
    pub segments: u64,
    /// Of these, cut by length rather than at a keyframe.
    pub forced: u64,
    /// Of these, marked as a discontinuity.
    pub discontinuities: u64,
    /// Segments too short to list, dropped.
    pub segments_dropped: u64,
    /// Frames that were left out: before the first keyframe, malformed, or of codecs that
    /// transport streams do not carry here.
    pub frames_dropped: u64,
    /// Requests that waited in vain.
    pub timeouts: u64,
    /// Requests refused because of a bound.
    pub refused: u64,
}

/// The running counts of [`HlsStats`].
#[derive(Debug, Default)]
struct Counters {
    segments: AtomicU64,
    forced: AtomicU64,
    discontinuities: AtomicU64,
    segments_dropped: AtomicU64,
    frames_dropped: AtomicU64,
    timeouts: AtomicU64,
    refused: AtomicU64,
}

/// All segmented streams by name.
pub struct Hls {
    hub: Arc<Hub>,
    settings: ArcSwap<PerVhost<HlsConfig>>,
    runtime: Handle,
    streams: Mutex<HashMap<StreamKey, Arc<Stream>>>,
    waiters: AtomicUsize,
    counters: Counters,
    made: Instant,
    stop: CancellationToken,
    watch: OnceLock<Arc<dyn SegmentWatch>>,
}

impl Hls {
    /// None yet; segmenters will run on `runtime`.
    pub fn new(hub: Arc<Hub>, settings: PerVhost<HlsConfig>, runtime: Handle) -> Arc<Self> {
        let hls = Arc::new(Self {
            hub,
            settings: ArcSwap::from_pointee(settings),
            runtime,
            streams: Mutex::default(),
            waiters: AtomicUsize::new(0),
            counters: Counters::default(),
            made: Instant::now(),
            stop: CancellationToken::new(),
            watch: OnceLock::new(),
        });
        hls.runtime.spawn(follow_publishers(Arc::downgrade(&hls), hls.stop.clone()));
        hls
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Arc<PerVhost<HlsConfig>> {
        self.settings.load_full()
    }

    /// Replaces the settings. Streams that are segmented have them from their next segment on.
    pub fn set_settings(&self, settings: PerVhost<HlsConfig>) {
        self.settings.store(Arc::new(settings));
    }

    /// Those of a stream's vhost.
    fn settings_of(&self, key: &StreamKey) -> Arc<HlsConfig> {
        Arc::clone(self.settings.load().get(key.vhost()))
    }

    /// Sets who is told of finished segments. Only the first call counts.
    pub fn set_watch(&self, watch: Arc<dyn SegmentWatch>) {
        let _already_set = self.watch.set(watch);
    }

    /// Whether [`Hls::playlist`] can find the stream: somebody publishes it, or its last segments are
    /// still held.
    pub fn has(&self, key: &StreamKey) -> bool {
        if !self.settings_of(key).enabled {
            return false;
        }
        let is_held = self.streams.lock().contains_key(key);
        is_held || self.hub.get(key).is_some_and(|source| source.publisher_lane().is_some())
    }

    /// The stream's playlist, a media playlist whose segments are named relative to it. The first
    /// request starts the segmenter and waits for two segments, or for one if the second is late.
    /// A name that nobody publishes leaves no trace.
    pub async fn playlist(self: &Arc<Self>, key: &StreamKey) -> Result<Bytes, HlsError> {
        let stream = self.open(key)?;
        let snapshot = stream.snapshot();
        if snapshot.is_enough() { Ok(snapshot.playlist.clone()) } else { self.first_playlist(&stream).await }
    }

    /// A segment by its exact name as the playlist gave it.
    pub fn segment(&self, key: &StreamKey, name: &str) -> Option<Bytes> {
        let stream = self.streams.lock().get(key).cloned()?;
        let segment = stream.snapshot().segments.get(name).cloned()?;
        stream.touch(self.now_ms());
        Some(segment)
    }

    /// What it holds and has done.
    pub fn stats(&self) -> HlsStats {
        let (streams, bytes) = {
            let streams = self.streams.lock();
            (streams.len(), streams.values().map(|stream| stream.bytes.load(Ordering::Relaxed)).sum())
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HlsStats {
            streams,
            bytes,
            waiters: self.waiters.load(Ordering::Relaxed),
            segments: count(&self.counters.segments),
            forced: count(&self.counters.forced),
            discontinuities: count(&self.counters.discontinuities),
            segments_dropped: count(&self.counters.segments_dropped),
            frames_dropped: count(&self.counters.frames_dropped),
            timeouts: count(&self.counters.timeouts),
            refused: count(&self.counters.refused),
        }
    }

    /// Ends all segmenters; the registry starts none any more.
    pub fn close(&self) {
        self.stop.cancel();
    }

    /// The stream's entry, touched; made and its segmenter started if somebody publishes it.
    fn open(self: &Arc<Self>, key: &StreamKey) -> Result<Arc<Stream>, HlsError> {
        if !self.settings_of(key).enabled {
            return Err(HlsError::Off);
        }
        let mut streams = self.streams.lock();
        if let Some(stream) = streams.get(key) {
            stream.touch(self.now_ms());
            return Ok(Arc::clone(stream));
        }
        let published = self.hub.get(key).is_some_and(|source| source.publisher_lane().is_some());
        if !published || self.stop.is_cancelled() {
            return Err(HlsError::NotFound);
        }
        if streams.len() >= STREAMS_MAX {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return Err(HlsError::Busy);
        }
        let stream = Stream::new(key.clone(), self.now_ms());
        streams.insert(key.clone(), Arc::clone(&stream));
        drop(streams);
        self.runtime.spawn(stream::run(Arc::clone(self), Arc::clone(&stream)));
        Ok(stream)
    }

    async fn first_playlist(&self, stream: &Stream) -> Result<Bytes, HlsError> {
        let Some(_waiter) = Waiter::enter(&self.waiters) else {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            return Err(HlsError::Busy);
        };
        let first = async {
            loop {
                // Taken before the look, so that what comes in between wakes it.
                let changed = stream.changed.notified();
                let snapshot = stream.snapshot();
                if snapshot.is_enough() {
                    return Ok(snapshot.playlist.clone());
                }
                if stream.is_over() {
                    return Err(HlsError::NotFound);
                }
                changed.await;
            }
        };
        tokio::time::timeout(self.settings_of(stream.key()).wait, first).await.unwrap_or_else(|_elapsed| {
            let playlist = stream.snapshot().playlist.clone();
            if !playlist.is_empty() {
                return Ok(playlist);
            }
            self.counters.timeouts.fetch_add(1, Ordering::Relaxed);
            Err(HlsError::Timeout)
        })
    }

    /// Under the lock, so that a request either finds the stream alive or starts it anew.
    fn forget_if_idle(&self, stream: &Stream, idle: Duration) -> bool {
        let mut streams = self.streams.lock();
        let idle_ms = u128::from(stream.idle_ms(self.now_ms()));
        if idle_ms < idle.as_millis() {
            return false;
        }
        if streams.get(stream.key()).is_some_and(|held| std::ptr::eq(&**held, stream)) {
            streams.remove(stream.key());
        }
        true
    }

    fn forget(&self, stream: &Arc<Stream>) {
        {
            let mut streams = self.streams.lock();
            if streams.get(stream.key()).is_some_and(|held| Arc::ptr_eq(held, stream)) {
                streams.remove(stream.key());
            }
        }
        stream.end();
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Debug for Hls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hls").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Counters {
    fn count(&self, cut: &Cut) {
        self.segments.fetch_add(1, Ordering::Relaxed);
        self.forced.fetch_add(u64::from(cut.forced), Ordering::Relaxed);
        self.discontinuities.fetch_add(u64::from(cut.discontinuity), Ordering::Relaxed);
    }

    fn add(&self, tally: Tally) {
        self.segments_dropped.fetch_add(tally.segments_dropped, Ordering::Relaxed);
        self.frames_dropped.fetch_add(tally.frames_dropped, Ordering::Relaxed);
    }
}

/// One of the requests that may wait.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let waiter = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < WAITERS_MAX).then_some(waiter)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts a segmenter for every stream that is published in a vhost with [`HlsConfig::always`].
async fn follow_publishers(hls: Weak<Hls>, stop: CancellationToken) {
    let mut look = tokio::time::interval(PUBLISHERS_LOOK);
    while stop.run_until_cancelled(look.tick()).await.is_some() {
        let Some(hls) = hls.upgrade() else { return };
        let settings = hls.settings();
        for source in hls.hub.list() {
            if !settings.get(source.key().vhost()).always {
                continue;
            }
            // A name that is not published or one too many is no concern here.
            let _started = hls.open(source.key());
        }
    }
}
