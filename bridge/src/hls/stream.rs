//! One stream's segmenter task, and what the HTTP side shares with it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rand::Rng as _;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior},
};
use tracing::debug;
use weir_source::{Frame, Read, StreamKey};

use super::{
    Finished, Hls, HlsConfig,
    playlist::{Snapshot, Window},
    segmenter::{Cut, Rules, Segmenter},
};
use crate::{FrameReader, NotifyWake};

/// Frames muxed before the task looks at anything else: a few milliseconds of work.
const BATCH: usize = 64;
/// How often a task looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);
/// Characters of a run's id. A segment is had by its name alone: 103 bits, so that nobody finds one by trying.
const RUN_CHARS: usize = 20;

/// What the HTTP side and the task share.
#[derive(Debug)]
pub(super) struct Stream {
    key: StreamKey,
    snapshot: ArcSwap<Snapshot>,
    /// Tells waiting requests of the first segment, or that there will be none.
    pub(super) changed: Notify,
    /// The last request, in milliseconds after the registry was made.
    asked_ms: AtomicU64,
    over: AtomicBool,
    pub(super) bytes: AtomicU64,
}

impl Stream {
    pub(super) fn new(key: StreamKey, now_ms: u64) -> Arc<Self> {
        Arc::new(Self {
            key,
            snapshot: ArcSwap::default(),
            changed: Notify::new(),
            asked_ms: AtomicU64::new(now_ms),
            over: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
        })
    }

    pub(super) const fn key(&self) -> &StreamKey {
        &self.key
    }

    pub(super) fn touch(&self, now_ms: u64) {
        self.asked_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    pub(super) fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.asked_ms.load(Ordering::Relaxed))
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Its task has ended: no segment will come.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }
}

/// Takes the stream off the registry when its task ends, in whatever way.
struct Entry {
    hls: Arc<Hls>,
    stream: Arc<Stream>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.hls.forget(&self.stream);
        debug!(stream = %self.stream.key, "HLS segmenter ended");
    }
}

/// Reads the stream's frames and publishes segments until nobody wants them.
pub(super) async fn run(hls: Arc<Hls>, stream: Arc<Stream>) {
    let entry = Entry { hls, stream };
    let (hls, stream) = (&entry.hls, &entry.stream);
    debug!(stream = %stream.key, "HLS segmenter started");
    let subscriber = hls.hub.subscribe_frames(&stream.key, Instant::now().into_std());
    let config = hls.settings_of(&stream.key);
    let mut task = Task {
        hls,
        stream,
        reader: FrameReader::new(subscriber, NotifyWake::new()),
        segmenter: Segmenter::new(config.rules()),
        window: new_window(&config, stream),
        config,
        batch: Vec::with_capacity(BATCH),
        cuts: Vec::new(),
        absent_since: None,
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let read = tokio::select! {
            biased;
            () = hls.stop.cancelled() => break,
            read = task.reader.read(&mut task.batch, BATCH) => read,
            _ = look.tick() => Read::Ok,
        };
        task.handle_frames(read);
        if task.is_unwanted() {
            break;
        }
    }
}

/// The task's own things.
struct Task<'a> {
    hls: &'a Hls,
    stream: &'a Stream,
    reader: FrameReader,
    segmenter: Segmenter,
    window: Window,
    config: Arc<HlsConfig>,
    batch: Vec<Frame>,
    cuts: Vec<Cut>,
    absent_since: Option<Instant>,
}

impl Task<'_> {
    fn handle_frames(&mut self, read: Read) {
        if let Read::Lagged(frames) = read {
            debug!(stream = %self.stream.key, frames, "HLS segmenter fell behind");
            self.segmenter.handle_lag(&mut self.cuts);
        }
        let tracks = self.reader.subscriber().tracks();
        for frame in self.batch.drain(..) {
            self.segmenter.push(&frame, &tracks, &mut self.cuts);
        }
        self.handle_absence();
        if self.segmenter.take_keyframe_wish() {
            self.reader.subscriber().source().request_keyframe();
        }
        self.publish();
        self.hls.counters.add(self.segmenter.take_tally());
    }

    /// Once the publisher has left and all it sent is read, what is open is the last segment.
    fn handle_absence(&mut self) {
        let subscriber = self.reader.subscriber();
        if subscriber.source().publisher_lane().is_some() {
            self.absent_since = None;
        } else if subscriber.behind() == 0 && self.absent_since.is_none() {
            self.absent_since = Some(Instant::now());
            self.segmenter.finish(&mut self.cuts);
        }
    }

    fn publish(&mut self) {
        if self.cuts.is_empty() {
            return;
        }
        self.follow_settings();
        let mut finished = Vec::new();
        for cut in self.cuts.drain(..) {
            self.hls.counters.count(&cut);
            let duration = cut.duration;
            finished.push((self.window.push(cut), duration));
        }
        self.stream.bytes.store(self.window.bytes() as u64, Ordering::Relaxed);
        self.stream.snapshot.store(Arc::new(self.window.snapshot()));
        self.stream.changed.notify_waiters();
        // Once players can get them: whoever is told may fetch them at once.
        let Some(watch) = self.hls.watch.get() else { return };
        for ((name, seq), duration) in &finished {
            watch.finished(&self.stream.key, Finished { name, seq: *seq, duration: *duration });
        }
    }

    /// At the end of a segment, so that one is not cut by two rules.
    fn follow_settings(&mut self) {
        let now = self.hls.settings_of(&self.stream.key);
        if *now != *self.config {
            self.segmenter.set_rules(now.rules());
            self.window.set_span(now.window);
            self.window.set_entry(now.entry_of(&self.stream.key));
            self.config = now;
        }
    }

    fn is_unwanted(&self) -> bool {
        let now = self.hls.settings_of(&self.stream.key);
        if !now.enabled {
            return true;
        }
        let absent = self.absent_since.map(|since| since.elapsed());
        let nothing_to_show = self.stream.snapshot.load().playlist.is_empty();
        if absent.is_some_and(|absent| nothing_to_show || absent >= now.dispose) {
            return true;
        }
        !now.always && self.hls.forget_if_idle(self.stream, now.idle)
    }
}

fn new_window(config: &HlsConfig, stream: &Stream) -> Window {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    let run: String = (0..RUN_CHARS).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
    // A later run starts above an earlier one's numbers, as segments are longer than a second.
    let first_seq = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut window = Window::new(format!("{}-{run}", stream.key.stream()), first_seq, config.fragment, config.window);
    window.set_entry(config.entry_of(&stream.key));
    window
}

/// When the configuration has segments cut.
impl HlsConfig {
    /// What stands before the names of a stream's segments.
    fn entry_of(&self, key: &StreamKey) -> String {
        match self.entry_prefix.as_str() {
            "" => String::new(),
            whole if whole.ends_with('/') => whole.to_owned(),
            host => format!("{host}/{}/", key.app()),
        }
    }

    fn rules(&self) -> Rules {
        Rules { fragment: self.fragment, forced: self.fragment.mul_f64(self.aof_ratio.max(1.0)) }
    }
}
