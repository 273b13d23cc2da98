//! Remuxers between the packets lane and the frames lane.
//!
//! One [`RemuxBridge`] serves the whole server. For each source that somebody reads in the lane
//! that its publisher does not fill, it runs one task, which ends with the last such reader.
//! Pictures never wait for sound: that takes its way through [`crate::transcode`] beside them.

pub mod aac;
mod ahead;
pub(crate) mod bits;
pub mod h264;
mod layer;
mod reorder;
mod to_frames;
mod to_packets;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::runtime::Handle;
use tracing::Instrument as _;
use weir_source::{Bridge, Lane, RemuxJob};

use self::{to_frames::ToFrames, to_packets::ToPackets};
use crate::{FrameReader, NotifyWake, PacketReader, transcode::Pool};

/// How often a WebRTC publisher is asked for a keyframe while its frames are read, unless said
/// otherwise: the length of an HLS segment, and the longest that a player waits for a picture.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

/// Counters of all remuxers of a server.
#[derive(Debug, Default)]
pub struct RemuxStats {
    running: AtomicUsize,
    reordered: AtomicU64,
    undecodable: AtomicU64,
    holes: AtomicU64,
    damaged: AtomicU64,
}

impl RemuxStats {
    /// Remuxers that run now.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// B-frames left out on the way to WebRTC viewers.
    pub fn reordered(&self) -> u64 {
        self.reordered.load(Ordering::Relaxed)
    }

    /// Frames left out for want of a keyframe before them.
    pub fn undecodable(&self) -> u64 {
        self.undecodable.load(Ordering::Relaxed)
    }

    /// Holes in publishers' packets that were not repaired in time.
    pub fn holes(&self) -> u64 {
        self.holes.load(Ordering::Relaxed)
    }

    /// Frames from packets that were incomplete, malformed or too large.
    pub fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    fn add_reordered(&self, count: u64) {
        self.reordered.fetch_add(count, Ordering::Relaxed);
    }

    fn add_undecodable(&self, count: u64) {
        self.undecodable.fetch_add(count, Ordering::Relaxed);
    }

    fn add_holes(&self, count: u64) {
        self.holes.fetch_add(count, Ordering::Relaxed);
    }

    fn add_damaged(&self, count: u64) {
        self.damaged.fetch_add(count, Ordering::Relaxed);
    }
}

/// Runs remuxers as tasks of a runtime.
#[derive(Debug)]
pub struct RemuxBridge {
    runtime: Handle,
    pool: Pool,
    keyframe_interval: Duration,
    stats: Arc<RemuxStats>,
}

impl RemuxBridge {
    /// Tasks run on `runtime`, sound goes through `pool`.
    pub fn new(runtime: Handle, pool: Pool) -> Arc<Self> {
        Self::with_keyframe_interval(runtime, pool, KEYFRAME_INTERVAL)
    }

    /// As [`RemuxBridge::new`], asking WebRTC publishers for a keyframe at this interval.
    pub fn with_keyframe_interval(runtime: Handle, pool: Pool, keyframe_interval: Duration) -> Arc<Self> {
        Arc::new(Self { runtime, pool, keyframe_interval, stats: Arc::default() })
    }

    /// The counters.
    pub fn stats(&self) -> &Arc<RemuxStats> {
        &self.stats
    }

    /// The threads that transcode sound.
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Bridge for RemuxBridge {
    fn remux(&self, job: RemuxJob) {
        let (pool, stats, interval) = (self.pool.clone(), Arc::clone(&self.stats), self.keyframe_interval);
        let span = tracing::debug_span!("remux", stream = %job.source().key(), lane = ?job.lane());
        let running = Running::new(Arc::clone(&stats));
        // Made here, not in the task: what comes until that runs is not missed.
        let wake = NotifyWake::new();
        match job.lane() {
            Lane::Packets => {
                let reader = FrameReader::new(job.reader(), Arc::clone(&wake));
                let task = async move {
                    let _running = running;
                    ToPackets::new(pool, wake, stats).run(reader, &job).await;
                };
                self.runtime.spawn(task.instrument(span));
            }
            Lane::Frames => {
                let reader = PacketReader::new(job.reader(), Arc::clone(&wake));
                let task = async move {
                    let _running = running;
                    ToFrames::new(pool, wake, stats, interval).run(reader, &job).await;
                };
                self.runtime.spawn(task.instrument(span));
            }
        }
    }
}

/// Keeps the gauge right however a task ends.
struct Running(Arc<RemuxStats>);

impl Running {
    fn new(stats: Arc<RemuxStats>) -> Self {
        stats.running.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
