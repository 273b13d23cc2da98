//! One stream in the pool: its two queues and its codec state.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use weir_source::Wake;

use super::{
    chain::{Chain, Coded, Recipe},
    pool::Queue,
};

/// Frames that may wait for a thread: ten seconds. A remuxer that starts hands over what the ring
/// holds at once; in steady state one or two wait.
const INPUT_MAX: usize = 512;
/// Frames that may wait to be fetched: all that a full input queue gives, and a filled gap more.
const OUTPUT_MAX: usize = 1_024;
/// Frames of one stream per turn: about 2 ms of work, so that others are not kept waiting.
const TURN_FRAMES: usize = 16;
/// How often codec state is made anew after a panic before the stream's sound is given up.
const PANICS_MAX: u32 = 8;

/// A stream's state in the pool.
pub(super) struct Job {
    recipe: Recipe,
    input: Mutex<Input>,
    output: Mutex<VecDeque<Coded>>,
    /// Held by the one thread that has its turn; `None` once given up.
    work: Mutex<Option<Work>>,
    wake: Arc<dyn Wake>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Input {
    frames: VecDeque<Coded>,
    /// It is in the ready queue or has its turn.
    scheduled: bool,
}

struct Work {
    chain: Chain,
    panics: u32,
    errors: u64,
}

impl Job {
    /// Works off a few frames, and queues up again if there are more.
    pub(super) fn turn(self: Arc<Self>, queue: &Queue) {
        let mut frames = Vec::with_capacity(TURN_FRAMES);
        {
            let mut input = self.input.lock();
            let count = input.frames.len().min(TURN_FRAMES);
            frames.extend(input.frames.drain(..count));
        }
        let made = if self.closed.load(Ordering::Acquire) { Vec::new() } else { self.transcode(&frames, queue) };
        if !made.is_empty() {
            self.hand_over(made, queue);
            self.wake.wake();
        }
        let mut input = self.input.lock();
        input.scheduled = !input.frames.is_empty();
        if input.scheduled {
            drop(input);
            queue.push(self);
        }
    }

    fn transcode(&self, frames: &[Coded], queue: &Queue) -> Vec<Coded> {
        let mut made = Vec::new();
        let mut slot = self.work.lock();
        for frame in frames {
            let Some(work) = slot.as_mut() else { break };
            // After a panic the chain is thrown away: nobody sees its broken state.
            if catch_unwind(AssertUnwindSafe(|| work.chain.feed(frame, &mut made))).is_err() {
                queue.stats.panics.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(panics = work.panics + 1, "an audio codec panicked");
                *slot = self.rebuild(work.panics + 1);
                continue;
            }
            let errors = work.chain.errors();
            queue.stats.errors.fetch_add(errors - work.errors, Ordering::Relaxed);
            work.errors = errors;
        }
        queue.stats.frames_in.fetch_add(frames.len() as u64, Ordering::Relaxed);
        queue.stats.frames_out.fetch_add(made.len() as u64, Ordering::Relaxed);
        made
    }

    fn rebuild(&self, panics: u32) -> Option<Work> {
        if panics > PANICS_MAX {
            tracing::warn!("the stream's audio is given up");
            return None;
        }
        Some(Work { chain: self.recipe.build().ok()?, panics, errors: 0 })
    }

    fn hand_over(&self, made: Vec<Coded>, queue: &Queue) {
        let mut output = self.output.lock();
        output.extend(made);
        let over = output.len().saturating_sub(OUTPUT_MAX);
        if over > 0 {
            output.drain(..over);
            queue.stats.output_dropped.fetch_add(over as u64, Ordering::Relaxed);
        }
    }
}

/// A stream's handle. Dropping it ends the stream's work.
pub struct Transcoder {
    job: Arc<Job>,
    queue: Arc<Queue>,
    config: Bytes,
}

impl Transcoder {
    pub(super) fn new(queue: Arc<Queue>, recipe: Recipe, chain: Chain, wake: Arc<dyn Wake>) -> Self {
        queue.stats.jobs.fetch_add(1, Ordering::Relaxed);
        let config = chain.config();
        let job = Job {
            recipe,
            input: Mutex::default(),
            output: Mutex::default(),
            work: Mutex::new(Some(Work { chain, panics: 0, errors: 0 })),
            wake,
            closed: AtomicBool::new(false),
        };
        Self { job: Arc::new(job), queue, config }
    }

    /// The decoder configuration of what comes out: an AudioSpecificConfig, or empty for Opus.
    pub fn config(&self) -> &Bytes {
        &self.config
    }

    /// Hands a frame over. Never blocks: where the threads are ten seconds behind the oldest is
    /// dropped and counted.
    pub fn submit(&self, frame: Coded) {
        let mut input = self.job.input.lock();
        input.frames.push_back(frame);
        if input.frames.len() > INPUT_MAX {
            input.frames.pop_front();
            self.queue.stats.input_dropped.fetch_add(1, Ordering::Relaxed);
        }
        if !input.scheduled {
            input.scheduled = true;
            drop(input);
            self.queue.push(Arc::clone(&self.job));
        }
    }

    /// Moves what has come out to the end of `out`.
    pub fn take(&self, out: &mut Vec<Coded>) {
        out.extend(self.job.output.lock().drain(..));
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        self.job.closed.store(true, Ordering::Release);
        self.job.input.lock().frames.clear();
        self.queue.stats.jobs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder").field("recipe", &self.job.recipe).finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "aac"))]
mod tests;
