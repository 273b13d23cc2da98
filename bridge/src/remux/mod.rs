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
mod opus;
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

use parking_lot::RwLock;
use tokio::runtime::Handle;
use tracing::Instrument as _;
use weir_source::{Bridge, Lane, PerVhost, RemuxJob};

use self::{to_frames::ToFrames, to_packets::ToPackets};
use crate::{
    FrameReader, NotifyWake, PacketReader,
    transcode::{Bitrates, Pool},
};

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

/// How the streams of a vhost are remuxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemuxConfig {
    /// How often a WebRTC publisher is asked for a keyframe while its frames are read
    /// (`pli_for_rtmp`). Default [`KEYFRAME_INTERVAL`].
    pub keyframe_interval: Duration,
    /// Of the sound (`opus_bitrate`, `aac_bitrate`).
    pub bitrates: Bitrates,
    /// WebRTC viewers get Opus of 40 ms a packet instead of 20 (`opus_frame`). Default `false`: each
    /// packet costs a viewer's share of a socket call, but not every receiver decodes two frames.
    pub opus_pairs: bool,
    /// WebRTC viewers get what an RTMP publisher says beside its pictures (`keep_avc_nalu_sei`):
    /// captions, times, marks. Default `true`.
    pub keep_sei: bool,
}

impl Default for RemuxConfig {
    fn default() -> Self {
        Self { keyframe_interval: KEYFRAME_INTERVAL, bitrates: Bitrates::default(), opus_pairs: false, keep_sei: true }
    }
}

/// Runs remuxers as tasks of a runtime.
#[derive(Debug)]
pub struct RemuxBridge {
    runtime: Handle,
    pool: Pool,
    /// Read when a remuxer starts.
    settings: RwLock<PerVhost<RemuxConfig>>,
    stats: Arc<RemuxStats>,
}

impl RemuxBridge {
    /// Tasks run on `runtime`, sound goes through `pool`.
    pub fn new(runtime: Handle, pool: Pool) -> Arc<Self> {
        Arc::new(Self { runtime, pool, settings: RwLock::default(), stats: Arc::default() })
    }

    /// The settings as they are now.
    pub fn settings(&self) -> PerVhost<RemuxConfig> {
        self.settings.read().clone()
    }

    /// Replaces the settings. Remuxers that run keep theirs.
    pub fn set_settings(&self, settings: PerVhost<RemuxConfig>) {
        *self.settings.write() = settings;
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
        let (pool, stats) = (self.pool.clone(), Arc::clone(&self.stats));
        let config = **self.settings.read().get(job.source().key().vhost());
        let span = tracing::debug_span!("remux", stream = %job.source().key(), lane = ?job.lane());
        let running = Running::new(Arc::clone(&stats));
        // Made here, not in the task: what comes until that runs is not missed.
        let wake = NotifyWake::new();
        match job.lane() {
            Lane::Packets => {
                let reader = FrameReader::new(job.reader(), Arc::clone(&wake));
                let task = async move {
                    let _running = running;
                    ToPackets::new(pool, config, wake, stats).run(reader, &job).await;
                };
                self.runtime.spawn(task.instrument(span));
            }
            Lane::Frames => {
                let reader = PacketReader::new(job.reader(), Arc::clone(&wake));
                let task = async move {
                    let _running = running;
                    ToFrames::new(pool, config, wake, stats).run(reader, &job).await;
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
