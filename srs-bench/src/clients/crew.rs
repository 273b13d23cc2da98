//! The life of the clients: each is started in its turn of the ramp, has a session, leaves, and comes
//! back if it churns. One thread carries thousands of them; WebRTC's media is on the fleets' threads.

use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

use super::{Counts, Kind, Options, Stack, Target, flv, hls, request::Http, rtmp, tls, webrtc};
use crate::measure::{Collector, Count, Recorder, Stage, Tally};

/// How long the clients have to leave.
const LEAVE_PATIENCE: Duration = Duration::from_secs(8);
/// Events that the kernel hands over at a time: with fewer than clients, a thread that is late would
/// look again and again.
const EVENTS_MAX: usize = 16_384;
/// A thread of TCP clients reads no more often than once in so long for each of them: what comes in
/// between is read together, as a player's buffer would not notice.
const TURN_EACH: Duration = Duration::from_micros(4);
const TURN_MAX: Duration = Duration::from_millis(40);
/// Below this a thread has time to read each message as it comes.
const TURN_MIN: Duration = Duration::from_micros(500);
/// Bytes read at a time, into one buffer that all clients of a thread share.
const BUFFER_BYTES: usize = 256 << 10;

/// Starts the threads.
pub(super) fn start(
    target: &Target,
    options: &Options,
    collector: &Collector,
    counts: &Arc<Counts>,
    stopping: &watch::Receiver<bool>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let threads = options.threads.clamp(1, options.count.max(1));
    let fleets = match target.kind() {
        kind if kind.is_webrtc() && options.stack == Stack::Light => Some(webrtc::Fleets::start(threads, options, collector)?),
        _ => None,
    };
    let crews = if fleets.is_some() { 1 } else { threads };
    let setups_max = (options.setups_max / crews).max(1);
    let tls = tls::config(options.insecure)?;
    let start = |share: usize| {
        let builder = Builder::new_current_thread().enable_all().max_io_events_per_tick(EVENTS_MAX).build();
        let runtime = builder.context("no runtime")?;
        let hiring = Hiring {
            target: target.clone(),
            options: options.clone(),
            recorder: collector.recorder(),
            counts: Arc::clone(counts),
            stop: Stop(stopping.clone()),
            setups: Arc::new(Semaphore::new(setups_max)),
            share: (share, crews),
            fleets: fleets.clone(),
            http: Http::new(options, &tls)?,
            tls: Arc::clone(&tls),
        };
        let name = if options.stack == Stack::Light { "crew" } else { "sample" };
        let thread = thread::Builder::new().name(format!("{name}-{share}"));
        thread.spawn(move || hiring.run(&runtime)).context("no thread")
    };
    (0..crews).map(start).collect()
}

/// Says when the clients are to leave.
#[derive(Clone, Debug)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(super) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub(super) async fn wait(&mut self) {
        // The sender lives as long as the handle; without it there is nothing to go on for.
        let _gone = self.0.wait_for(|stop| *stop).await;
    }
}

/// What a thread needs to make a crew.
struct Hiring {
    target: Target,
    options: Options,
    recorder: Recorder,
    counts: Arc<Counts>,
    stop: Stop,
    setups: Arc<Semaphore>,
    /// Which of how many threads: it has every so-manieth client.
    share: (usize, usize),
    fleets: Option<webrtc::Fleets>,
    http: Http,
    tls: Arc<ClientConfig>,
}

impl Hiring {
    fn run(self, runtime: &Runtime) {
        let buffer = std::cell::RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
        let (share, stop) = (self.share.0, self.stop.clone());
        let crew = Rc::new(Crew {
            target: self.target,
            options: self.options,
            recorder: self.recorder,
            counts: self.counts,
            setups: self.setups,
            fleets: self.fleets,
            http: self.http,
            tls: self.tls,
            shares: self.share.1,
            began: Instant::now(),
            lazy: std::cell::Cell::new(0),
            buffer,
        });
        LocalSet::new().block_on(runtime, lead(crew, share, stop));
    }
}

/// What the clients of a thread share.
pub(super) struct Crew {
    pub(super) target: Target,
    pub(super) options: Options,
    pub(super) recorder: Recorder,
    pub(super) counts: Arc<Counts>,
    setups: Arc<Semaphore>,
    pub(super) fleets: Option<webrtc::Fleets>,
    pub(super) http: Http,
    pub(super) tls: Arc<ClientConfig>,
    /// Threads that share the clients.
    shares: usize,
    pub(super) began: Instant,
    /// Clients of this thread that are not read at once.
    pub(super) lazy: std::cell::Cell<usize>,
    /// What is read goes through here and is not kept.
    pub(super) buffer: std::cell::RefCell<Box<[u8]>>,
}

/// Starts the clients over the ramp, and waits for them.
async fn lead(crew: Rc<Crew>, share: usize, mut stop: Stop) {
    let (mut lives, began) = (JoinSet::new(), Instant::now());
    let count = crew.options.count;
    let pace = (!crew.target.kind().is_webrtc()).then(|| tokio::task::spawn_local(pace(Rc::clone(&crew))));
    for n in (share..count).step_by(crew.shares) {
        let due = began + crew.options.ramp.mul_f64(n as f64 / count as f64);
        tokio::select! {
            biased;
            () = stop.wait() => break,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        lives.spawn_local(live(Rc::clone(&crew), n, stop.clone()));
    }
    while !lives.is_empty() && !stop.is_set() {
        tokio::select! {
            () = stop.wait() => {}
            _ = lives.join_next() => {}
        }
    }
    let all_left = async { while lives.join_next().await.is_some() {} };
    let _in_time = timeout(LEAVE_PATIENCE, all_left).await;
    if let Some(pace) = pace {
        pace.abort();
    }
}

/// Holds the thread up between two looks at the sockets that are read at once, the longer the more of these there are:
/// one read then brings what many would have brought.
async fn pace(crew: Rc<Crew>) {
    loop {
        let clients = (crew.counts.running.load(Ordering::Relaxed) / crew.shares).saturating_sub(crew.lazy.get());
        let turn = TURN_EACH.saturating_mul(u32::try_from(clients).unwrap_or(u32::MAX)).min(TURN_MAX);
        if turn < TURN_MIN {
            sleep(Duration::from_millis(50)).await;
        } else {
            thread::sleep(turn);
            tokio::task::yield_now().await;
        }
    }
}

/// One client, from its turn in the ramp to the end.
async fn live(crew: Rc<Crew>, n: usize, mut stop: Stop) {
    while !stop.is_set() {
        let permit = tokio::select! {
            biased;
            () = stop.wait() => break,
            permit = Arc::clone(&crew.setups).acquire_owned() => permit.ok(),
        };
        let report = Report::ask(&crew, n, permit);
        let number = crew.options.first + n;
        match crew.target.kind() {
            Kind::WebrtcPlay | Kind::WebrtcPublish => webrtc::session(&crew, number, report, &mut stop).await,
            Kind::RtmpPlay => rtmp::play(&crew, number, report, &mut stop).await,
            Kind::RtmpPublish => rtmp::publish(&crew, number, report, &mut stop).await,
            Kind::FlvPlay => flv::play(&crew, number, report, &mut stop).await,
            Kind::HlsPlay => hls::play(&crew, number, report, &mut stop).await,
        }
        let Some(churn) = crew.options.churn else { break };
        tokio::select! {
            () = stop.wait() => {}
            () = sleep(churn.pause) => {}
        }
    }
    crew.counts.over.fetch_add(1, Ordering::Relaxed);
}

impl Crew {
    /// Whether the thread's client `n` is read now and then only.
    fn is_lazy(&self, n: usize) -> bool {
        let step = self.options.prompt.step(self.options.count);
        let can_wait = matches!(self.target.kind(), Kind::RtmpPlay | Kind::FlvPlay);
        // By its place among the clients of its thread, so that each thread has its part of the sample.
        can_wait && !(step > 0 && (n / self.shares).is_multiple_of(step))
    }

    /// The URL of client number `number`.
    pub(super) fn url(&self, number: usize) -> anyhow::Result<reqwest::Url> {
        let stream = if self.options.streams == 0 { number } else { number % self.options.streams };
        self.target.url(stream)
    }

    /// The address that client number `number` sends from, if it is to have one of its own.
    pub(super) fn source(&self, number: usize) -> Option<std::net::IpAddr> {
        self.options.spread_sources.then(|| source(number))
    }
}

/// `127.0.(n/250).(n%250+1)`, over and over after 62,500.
pub(super) fn source(number: usize) -> std::net::IpAddr {
    let (third, fourth) = (number / 250 % 250, number % 250 + 1);
    std::net::Ipv4Addr::new(127, 0, third as u8, fourth as u8).into()
}

/// Why a session failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn new(stage: Stage, reason: impl Into<String>) -> Self {
        Self { stage, reason: reason.into() }
    }

    /// As [`Failure::new`] of an error with all that caused it.
    pub(super) fn of(stage: Stage, error: &anyhow::Error) -> Self {
        Self { stage, reason: format!("{error:#}") }
    }
}

/// What one session comes to, told once each. Dropped without an end it has been cut off, and ends
/// as planned.
#[derive(Debug)]
pub(super) struct Report {
    recorder: Recorder,
    counts: Arc<Counts>,
    asked: Instant,
    /// Held until the session is set up or has failed.
    permit: Option<OwnedSemaphorePermit>,
    lazy: bool,
    connected: bool,
    media: bool,
    keyframe: bool,
    ended: bool,
}

impl Report {
    fn ask(crew: &Crew, n: usize, permit: Option<OwnedSemaphorePermit>) -> Self {
        crew.recorder.lock().asked();
        crew.counts.asked.fetch_add(1, Ordering::Relaxed);
        Self {
            recorder: crew.recorder.clone(),
            counts: Arc::clone(&crew.counts),
            asked: Instant::now(),
            permit,
            lazy: crew.is_lazy(n),
            connected: false,
            media: false,
            keyframe: false,
            ended: false,
        }
    }

    /// When the session was asked for.
    pub(super) const fn asked(&self) -> Instant {
        self.asked
    }

    pub(super) const fn has_media(&self) -> bool {
        self.media
    }

    pub(super) const fn has_keyframe(&self) -> bool {
        self.keyframe
    }

    /// Whether it is read now and then only, once it has joined.
    pub(super) const fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// It is set up.
    pub(super) fn connected(&mut self, tally: &mut Tally, now: Instant) {
        if !self.connected {
            self.connected = true;
            self.permit = None;
            self.counts.running.fetch_add(1, Ordering::Relaxed);
            tally.connected(now.saturating_duration_since(self.asked));
            tally.add(Count::Lazy, self.lazy.into());
        }
    }

    /// Media came, or was sent.
    pub(super) fn media(&mut self, tally: &mut Tally, now: Instant) {
        if !self.media {
            self.media = true;
            self.counts.media.fetch_add(1, Ordering::Relaxed);
            tally.first_packet(now.saturating_duration_since(self.asked));
        }
    }

    /// A keyframe came whole.
    pub(super) fn keyframe(&mut self, tally: &mut Tally, now: Instant) {
        if !self.keyframe {
            self.keyframe = true;
            tally.first_keyframe(now.saturating_duration_since(self.asked));
        }
    }

    /// It has failed, at any time.
    pub(super) fn failed(&mut self, tally: &mut Tally, failure: &Failure) {
        if self.end() {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            // What breaks a session that runs is its end, whatever broke.
            let runs = self.connected && !failure.stage.after_connected();
            tally.failed(if runs { Stage::Ended } else { failure.stage }, &failure.reason);
            tally.add(Count::LazyOver, (self.lazy && self.connected).into());
        }
    }

    /// It has ended as planned.
    pub(super) fn left(&mut self, tally: &mut Tally) {
        if self.end() && self.connected {
            tally.left();
            tally.add(Count::LazyOver, self.lazy.into());
        }
    }

    /// The end of a session whose thread does not hold the tally: `None` is as planned.
    pub(super) fn finish(mut self, failure: Option<&Failure>) {
        let recorder = self.recorder.clone();
        let tally = &mut *recorder.lock();
        match failure {
            Some(failure) => self.failed(tally, failure),
            None => self.left(tally),
        }
    }

    fn end(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.ended, true);
        if first {
            // The next one may be set up.
            self.permit = None;
            if self.connected {
                self.counts.running.fetch_sub(1, Ordering::Relaxed);
            }
        }
        first
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // A task that was cut off; the tally hears of it if nobody holds it just now.
        let _first = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_differ_and_stay_on_loopback() {
        assert_eq!(source(0).to_string(), "127.0.0.1");
        assert_eq!(source(249).to_string(), "127.0.0.250");
        assert_eq!(source(250).to_string(), "127.0.1.1");
        assert_eq!(source(62_500), source(0));
        assert!((0..70_000).step_by(77).all(|n| source(n).is_loopback()));
    }
}
