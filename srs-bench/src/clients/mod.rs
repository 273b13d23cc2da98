//! The clients of a load: so many of one kind against one address, started over a ramp and ended
//! together, with what happens to them told to a [`Collector`].
//!
//! [`start`] is all that a scenario needs. `crew` is the life of each client (ramp, churn, end),
//! `webrtc` the light WebRTC engine, `rtmp`, `flv` and `hls` the TCP kinds, `reading` how the
//! first two of these are read.

mod crew;
mod descriptors;
mod flv;
mod hls;
mod options;
mod player;
mod reading;
mod request;
mod rtmp;
mod target;
mod tls;
pub mod webrtc;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::watch;

pub use options::{Churn, Cipher, Feedback, Options, PROMPT_MAX, Prompt, READ_EVERY_MAX, Stack, Verify};
pub use target::{Kind, Target};

use crate::measure::Collector;

/// Starts [`Options::count`] clients of `kind` against `url` and returns at once.
///
/// In the URL, `{n}` (or SRS's `[s]`) stands for the number of the stream: the client's own, modulo
/// [`Options::streams`]. How each session goes is told to `collector`, a failed one by stage and reason; an error here
/// is only what concerns them all: a URL that makes no sense, or no thread or certificate to be had.
///
/// | kind | URL |
/// |---|---|
/// | WebRTC | `http(s)://…` of a WHIP or WHEP endpoint, `webrtc://host[:1985]/app/stream` for SRS's JSON API, or `janus://host:8088/janus?room=1&feed=1` for Janus's VideoRoom |
/// | RTMP | `rtmp://host[:1935]/app/stream[?params]`, `rtmps://host[:443]/…` in TLS |
/// | HTTP-FLV | `http(s)://host/app/stream.flv` |
/// | HLS | `http(s)://host/app/stream.m3u8` |
///
/// # Errors
///
/// The URL does not suit the kind, or the system refused a thread, a socket or randomness.
pub fn start(kind: Kind, url: &str, options: &Options, collector: &Collector) -> anyhow::Result<Handle> {
    let target = Target::parse(kind, url).with_context(|| format!("cannot use {url:?}"))?;
    let can_be_independent = kind == Kind::WebrtcPlay && target.url(0)?.scheme() != "janus";
    anyhow::ensure!(options.stack == Stack::Light || can_be_independent, "no client on an independent stack for {url:?}");
    descriptors::make_room(options.count)?;
    let (stop, stopping) = watch::channel(false);
    let counts = Arc::new(Counts::default());
    let threads = crew::start(&target, options, collector, &counts, &stopping)?;
    Ok(Handle { stop, threads, counts })
}

/// How far the clients are, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Sessions asked for so far; more than there are clients where they churn.
    pub asked: usize,
    /// Sessions that are set up and run now.
    pub running: usize,
    /// Sessions that have received media, or as publishers have sent some.
    pub media: usize,
    /// Sessions that failed, in set-up or later.
    pub failed: usize,
    /// Clients that will do nothing more.
    pub over: usize,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicUsize,
    running: AtomicUsize,
    media: AtomicUsize,
    failed: AtomicUsize,
    over: AtomicUsize,
}

/// Clients that run. They leave when this is stopped or dropped.
#[derive(Debug)]
pub struct Handle {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

impl Handle {
    /// How far they are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        Progress {
            asked: of(&counts.asked),
            running: of(&counts.running),
            media: of(&counts.media),
            failed: of(&counts.failed),
            over: of(&counts.over),
        }
    }

    /// Waits until `enough` of the progress, or until `patience` is over; which of the two.
    pub fn wait_until(&self, patience: Duration, enough: impl Fn(Progress) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !enough(self.progress()) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Has every client leave as a good one does (close_notify, DELETE, deleteStream), and waits for
    /// that some seconds at most.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            let _joined = thread.join();
        }
    }
}
