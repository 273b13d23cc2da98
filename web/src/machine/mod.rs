//! What this machine and this process do, read from `/proc` every few seconds by one task, so that
//! asking costs nothing however often it is done.

mod lag;
mod proc;
mod reading;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

pub(crate) use lag::{BUCKETS_US, Lag};
pub(crate) use proc::{
    CPU_FIELDS, Cpu, Devices, Disk, Memory, PROCESS_FIELDS, Process, Sockets, USAGE_FIELDS, Udp, Usage, share,
};
use reading::Reader;

/// From one reading to the next. A reading takes about a millisecond.
const EVERY: Duration = Duration::from_secs(3);

/// The latest reading.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    latest: ArcSwap<Figures>,
    lag: Arc<Lag>,
}

/// One reading.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// All that was asked for could be read.
    pub(crate) ok: bool,
    /// Milliseconds of Unix time.
    pub(crate) taken_ms: u64,
    pub(crate) process: Process,
    /// Its share of one processor since the reading before: 1.5 is one and a half.
    pub(crate) process_share: f64,
    /// Open descriptors, and the most that may be.
    pub(crate) descriptors: (u64, u64),
    /// When the process was started, in seconds of Unix time.
    pub(crate) started_s: f64,
    pub(crate) usage: Usage,
    pub(crate) cpu: Cpu,
    /// The share of all processors that was not idle since the reading before.
    pub(crate) cpu_share: f64,
    pub(crate) cpus: usize,
    pub(crate) cpus_online: usize,
    pub(crate) memory: Memory,
    pub(crate) disk: Disk,
    /// Kilobytes per second since the reading before.
    pub(crate) disk_read_kbps: u64,
    pub(crate) disk_write_kbps: u64,
    /// The busiest device's share of the time.
    pub(crate) disk_busy: f64,
    pub(crate) devices: Devices,
    pub(crate) sockets: Sockets,
    pub(crate) udp: Udp,
    /// Seconds since the machine was started, and of these the ones that it was idle, processors summed.
    pub(crate) uptime: (f64, f64),
    pub(crate) load: [f64; 3],
    pub(crate) facts: Arc<Facts>,
}

/// What does not change while the process lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) argv: String,
    pub(crate) cwd: String,
    pub(crate) system: String,
    pub(crate) node: String,
    pub(crate) release: String,
    pub(crate) version: String,
    /// When the program's file was made, in seconds of Unix time.
    pub(crate) built_s: u64,
}

impl Machine {
    /// Reads every three seconds until `stop`. `disks` are the names of the block devices to count; none
    /// for all whole ones.
    pub(crate) async fn run(&self, disks: Vec<String>, stop: CancellationToken) {
        let lag = tokio::spawn(lag::watch(Arc::clone(&self.lag), stop.clone()));
        let mut reader = Reader::new(disks);
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // Files of /proc are made while they are read, which may take the kernel a while.
            let read = tokio::task::spawn_blocking(move || {
                let figures = reader.read();
                (reader, figures)
            });
            let Ok((same, figures)) = read.await else { break };
            reader = same;
            self.latest.store(Arc::new(figures));
        }
        lag.abort();
    }

    /// One reading, now.
    #[cfg(test)]
    pub(crate) fn read_once(&self) {
        self.latest.store(Arc::new(Reader::new(Vec::new()).read()));
    }

    pub(crate) fn figures(&self) -> Arc<Figures> {
        self.latest.load_full()
    }

    /// How late tasks are.
    pub(crate) fn lag(&self) -> &Lag {
        &self.lag
    }
}
