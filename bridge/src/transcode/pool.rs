//! The threads: each takes the next stream that has input and works on it for a turn.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use weir_source::Wake;

use super::{
    chain::Recipe,
    encode::Bitrates,
    job::{Job, Transcoder},
};

/// The most streams at once. One costs about half a percent of a core, so this is more than forty
/// threads can do; memory is about 200 kB each.
const JOBS_MAX: usize = 8_192;
/// The most threads: beyond the cores they only queue elsewhere.
const THREADS_MAX: usize = 64;

/// Why a stream cannot be transcoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The codec or its configuration is not supported; the text says what.
    #[error("unsupported audio: {0}")]
    Unsupported(String),
    /// Too many streams are being transcoded.
    #[error("too many streams are being transcoded")]
    Full,
}

/// Counters of a pool.
#[derive(Debug, Default)]
pub struct PoolStats {
    /// Streams being transcoded now.
    pub jobs: AtomicUsize,
    /// Frames transcoded.
    pub frames_in: AtomicU64,
    /// Frames that came out.
    pub frames_out: AtomicU64,
    /// Input frames dropped because the threads could not keep up.
    pub input_dropped: AtomicU64,
    /// Output frames dropped because nobody fetched them.
    pub output_dropped: AtomicU64,
    /// Frames that a codec refused.
    pub errors: AtomicU64,
    /// Panics inside a codec, each of which cost one stream its codec state.
    pub panics: AtomicU64,
}

/// What threads and handles share.
#[derive(Default)]
pub(super) struct Queue {
    /// Streams with input; each is in here at most once, so [`JOBS_MAX`] bounds it.
    ready: Mutex<Ready>,
    signal: Condvar,
    pub(super) stats: PoolStats,
}

#[derive(Default)]
struct Ready {
    jobs: VecDeque<Arc<Job>>,
    closed: bool,
}

impl Queue {
    pub(super) fn push(&self, job: Arc<Job>) {
        self.ready.lock().jobs.push_back(job);
        self.signal.notify_one();
    }

    /// The next stream; `None` when the pool is gone.
    fn pop(&self) -> Option<Arc<Job>> {
        let mut ready = self.ready.lock();
        loop {
            if ready.closed {
                return None;
            }
            if let Some(job) = ready.jobs.pop_front() {
                return Some(job);
            }
            self.signal.wait(&mut ready);
        }
    }

    fn close(&self) {
        let mut ready = self.ready.lock();
        ready.closed = true;
        ready.jobs.clear();
        drop(ready);
        self.signal.notify_all();
    }
}

/// Threads that transcode sound. Cloning shares them; they end with the last clone.
#[derive(Clone)]
pub struct Pool(Arc<Threads>);

struct Threads {
    queue: Arc<Queue>,
    handles: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads (0: one per two cores, at least one).
    pub fn new(threads: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores / 2 } else { threads };
        let queue = Arc::new(Queue::default());
        let spawn = |index| {
            let queue = Arc::clone(&queue);
            let run = move || {
                while let Some(job) = queue.pop() {
                    job.turn(&queue);
                }
            };
            let spawned = std::thread::Builder::new().name(format!("transcode-{index}")).spawn(run);
            spawned.inspect_err(|error| tracing::warn!(%error, "a transcoding thread could not be started")).ok()
        };
        let handles = (0..threads.clamp(1, THREADS_MAX)).filter_map(spawn).collect();
        Self(Arc::new(Threads { queue, handles }))
    }

    /// The counters.
    pub fn stats(&self) -> &PoolStats {
        &self.0.queue.stats
    }

    /// Opens a way from AAC with AudioSpecificConfig `config` to Opus at 48 kHz in stereo. `wake`
    /// is called when frames have come out.
    pub fn aac_to_opus(&self, config: Bytes, bitrates: Bitrates, wake: Arc<dyn Wake>) -> Result<Transcoder, OpenError> {
        self.open(Recipe::AacToOpus(config, bitrates.opus), wake)
    }

    /// Opens a way from Opus to AAC-LC at 48 kHz in stereo.
    pub fn opus_to_aac(&self, bitrates: Bitrates, wake: Arc<dyn Wake>) -> Result<Transcoder, OpenError> {
        self.open(Recipe::OpusToAac(bitrates.aac), wake)
    }

    fn open(&self, recipe: Recipe, wake: Arc<dyn Wake>) -> Result<Transcoder, OpenError> {
        let queue = &self.0.queue;
        if queue.stats.jobs.load(Ordering::Relaxed) >= JOBS_MAX {
            return Err(OpenError::Full);
        }
        let chain = recipe.build().map_err(|error| OpenError::Unsupported(error.to_string()))?;
        Ok(Transcoder::new(Arc::clone(queue), recipe, chain, wake))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.queue.close();
        for handle in self.handles.drain(..) {
            // The turns catch panics, so there is nothing to learn from the result.
            let _ended = handle.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.0.handles.len()).finish_non_exhaustive()
    }
}
