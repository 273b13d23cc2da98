//! The server: every part started in order, changed while it runs, stopped in reverse.

mod door;
mod idle;
mod listeners;
mod reload;
mod remuxers;
mod settings;
mod signals;
#[cfg(test)]
mod tests;
#[cfg(feature = "otel")]
mod traced;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use weir_bridge::{hls::Hls, remux::RemuxBridge, rtmp::RtmpStats, transcode};
use weir_rtc::{RtcServer, StartError};
use weir_source::Hub;
use weir_web::{AppState, Hooks, ServerIds, access::Access};

use self::{
    door::Door,
    idle::Idle,
    listeners::{Listeners, Services},
    reload::{Reloader, Request, Watch},
    remuxers::Remuxers,
    settings::{Live, Settings},
    signals::{Ending, Sent, Signals},
};
use crate::{
    Config,
    log::{Log, Tank},
    process::{self, Process},
    pulse,
};

pub use reload::ConfigSource;

/// What a configuration means to each part.
#[cfg(test)]
pub(crate) fn settings_of(config: &Config) -> Settings {
    Settings::of(config, &Arc::default())
}

/// How long a stop may take, whoever is slow. With what the runtime and the log may take after it
/// (half a second) it stays under the three seconds that are promised.
const STOP_WITHIN: Duration = Duration::from_millis(2_300);
/// How long of it connections may take to close: twice the grace of HTTP's. What they leave is for
/// callback servers to hear that all clients have gone.
const CLOSE_WITHIN: Duration = Duration::from_millis(1_400);
/// How often a draining server counts its clients.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// All parts, running.
pub struct Server {
    source: ConfigSource,
    config: Config,
    settings: Settings,
    live: Live,
    rtmp_stats: Arc<RtmpStats>,
    state: AppState,
    reloader: Reloader,
    requests: mpsc::Receiver<Request>,
    rtc: Option<RtcServer>,
    listeners: Listeners,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// What a server is started with.
pub struct Start {
    /// Where the configuration came from.
    pub source: ConfigSource,
    /// The configuration itself.
    pub config: Config,
    /// The process that it runs in.
    pub process: Process,
    /// The running log.
    pub log: Log,
}

/// All that the main loop waits for.
enum Event {
    Signal(Sent),
    Asked(Request),
    FileChanged,
}

impl Server {
    /// Starts everything, obeys signals, and returns when everything has stopped.
    pub async fn run(start: Start) -> anyhow::Result<()> {
        let Start { source, config, process, log } = start;
        let mut signals = Signals::catch()?;
        let mut watch = Watch::new(source.files(&config));
        let mut server = Self::start(config, source, Some(log.clone())).await?;
        print_urls(&server.config);
        process.is_ready(match &log.config().tank {
            Tank::File(path) => Some(path),
            Tank::Console => None,
        });
        let ending = server.serve(&mut signals, &mut watch).await;
        if ending.is_graceful || server.config.process.force_grace_quit {
            tracing::info!(signal = ending.signal, "draining");
            tokio::select! {
                () = server.drain() => {}
                again = ended(&mut signals, &log) => tracing::info!(signal = again.signal, "not waiting any longer"),
            }
        }
        tracing::info!(signal = ending.signal, "stopping");
        server.stop().await;
        tracing::info!("stopped");
        Ok(())
    }

    async fn start(config: Config, source: ConfigSource, log: Option<Log>) -> anyhow::Result<Self> {
        let rtmp_stats = Arc::<RtmpStats>::default();
        let settings = Settings::of(&config, &rtmp_stats);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();

        let hub = Hub::new();
        hub.set_vhosts(settings.vhosts.clone());
        let runtime = tokio::runtime::Handle::current();
        let ids = Arc::<ServerIds>::default();
        let hooks = Hooks::new(Arc::clone(&ids), settings.hooks.clone(), runtime.clone());
        let door = Door::new(settings.clients_max, settings.webrtc.clone(), Arc::clone(&hooks) as _);
        let remux = RemuxBridge::new(runtime.clone(), transcode::Pool::new(transcode_threads()));
        remux.set_settings(settings.remux.clone());
        let remuxers = Remuxers::new(settings.directions.clone(), Arc::clone(&remux));
        hub.set_bridge(Arc::clone(&remuxers) as _);

        let rtc =
            settings.rtc.clone().map(|config| RtcServer::start(config, Arc::clone(&hub)).map_err(rtc_failed)).transpose()?;
        let hls = Hls::new(Arc::clone(&hub), settings.hls.clone(), runtime);

        hls.set_watch(Arc::clone(&hooks) as _);

        let (reloader, requests) = Reloader::new();
        let handle = rtc.as_ref().map(RtcServer::handle);
        let mut state = AppState::new(Arc::clone(&hub), handle.clone(), Arc::clone(&hls), settings.web.clone());
        state.rtmp = Arc::clone(&rtmp_stats);
        state.ids = ids;
        state.remux = Some(remux);
        state.hooks = Some(Arc::clone(&hooks));
        state.reload = Some(Arc::new(reloader.clone()));
        #[cfg(feature = "otel")]
        {
            state.traces = log.as_ref().and_then(Log::trace_stats);
        }
        state.certificates.set(&settings.certificates)?;
        // The chain of those who decide about clients, before anything listens: the rules first, so that
        // who may not come in learns nothing; then the door; callbacks last.
        let keeper = Access::new(&state, Some(Arc::clone(&door) as _));
        #[cfg(feature = "otel")]
        let keeper = traced::Traced::new(keeper);
        hub.set_gatekeeper(keeper);
        spawn_tasks(&mut tasks, &state, &stop);
        let idle = Idle::new(Arc::clone(&hub), settings.idle.clone());
        tasks.spawn(Arc::clone(&idle).run(stop.clone()));

        let live = Live {
            hub: Arc::clone(&hub),
            rtmp: Arc::new(ArcSwap::from_pointee(settings.rtmp.clone())),
            hls,
            remuxers,
            hooks,
            web: Arc::clone(&state.settings),
            limits: Arc::new(ArcSwap::from_pointee(settings.limits)),
            certificates: Arc::clone(&state.certificates),
            door,
            idle,
            rtc: handle,
            log,
        };
        let services = Services { hub, rtmp: Arc::clone(&live.rtmp), limits: Arc::clone(&live.limits), state: state.clone() };
        let mut listeners = Listeners::new(services, stop.clone());
        let bound = listeners.bind(&settings.listen).await?;
        listeners.change(bound, &settings.listen)?;
        Ok(Self { source, config, settings, live, rtmp_stats, state, reloader, requests, rtc, listeners, tasks, stop })
    }

    /// Until an end is asked for.
    async fn serve(&mut self, signals: &mut Signals, watch: &mut Watch) -> Ending {
        loop {
            let event = tokio::select! {
                sent = signals.next() => Event::Signal(sent),
                Some(request) = self.requests.recv() => Event::Asked(request),
                () = watch.changed(), if self.config.process.watches_file() => Event::FileChanged,
            };
            match event {
                Event::Signal(Sent::End(ending)) => return ending,
                Event::Signal(Sent::Reload) => {
                    watch.look();
                    let _logged = self.reload("SIGHUP").await;
                    watch.follow(self.files());
                }
                Event::Signal(Sent::ReopenLog) => self.live.log.iter().for_each(Log::reopen),
                Event::FileChanged => {
                    let _logged = self.reload("a file has changed").await;
                    watch.follow(self.files());
                }
                Event::Asked(request) => {
                    watch.look();
                    let outcome = self.reload("asked for by the API").await;
                    watch.follow(self.files());
                    let _asker_gone = request.send(outcome);
                }
            }
        }
    }

    /// The files that a reload would read.
    fn files(&self) -> Vec<PathBuf> {
        self.source.files(&self.config)
    }

    /// Takes nobody new, and waits until those who are there have gone or their time is over.
    async fn drain(&mut self) {
        let (grace, max) = (self.config.process.clone(), self.config.process.grace_drain_max);
        self.state.readiness.drain();
        self.requests.close();
        sleep(grace.grace_start_wait).await;
        self.live.door.close();
        self.listeners.drain();
        let clients = self.live.hub.clients();
        tracing::info!(clients = clients.count(), "no new clients are taken");
        let deadline = (!max.is_zero()).then(|| Instant::now() + max);
        while clients.count() > 0 && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            sleep(DRAIN_LOOK).await;
        }
        tracing::info!(clients = clients.count(), "drained");
        sleep(grace.grace_final_wait).await;
    }

    async fn stop(self) {
        let began = Instant::now();
        self.state.readiness.drain();
        self.stop.cancel();
        let Self { mut tasks, listeners, rtc, live, state, .. } = self;
        let drained = tokio::time::timeout_at(began + CLOSE_WITHIN, async {
            listeners.finish().await;
            while tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!("connections did not close in time; they are dropped");
        }
        if let Some(rtc) = rtc {
            rtc.shutdown();
        }
        state.hls_sessions.close();
        let lost = live.hooks.drain(STOP_WITHIN.saturating_sub(began.elapsed())).await;
        if lost > 0 {
            tracing::warn!(lost, "callback servers did not hear all in time");
        }
    }
}

/// What runs beside the listeners until the stop.
fn spawn_tasks(tasks: &mut JoinSet<()>, state: &AppState, stop: &CancellationToken) {
    tasks.spawn(state.clone().run(stop.clone()));
    tasks.spawn(pulse::run(state.rtc.clone(), stop.clone()));
}

/// The next signal that ends the server; it drains already.
async fn ended(signals: &mut Signals, log: &Log) -> Ending {
    loop {
        match signals.next().await {
            Sent::End(ending) => return ending,
            Sent::ReopenLog => log.reopen(),
            Sent::Reload => tracing::warn!("no reload: the server is going down"),
        }
    }
}

fn rtc_failed(error: StartError) -> anyhow::Error {
    let hint = match &error {
        StartError::AddressInUse(addr) | StartError::TcpInUse(addr) => Some(process::in_use(*addr)),
        _ => None,
    };
    let error = anyhow::Error::new(error);
    match hint {
        Some(hint) => error.context(hint),
        None => error,
    }
    .context("WebRTC could not start")
}

/// A bridged stream's sound costs about 0.4 % of a core: half of the cores transcode hundreds.
fn transcode_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// The URLs to open, for somebody who starts the server by hand.
fn print_urls(config: &Config) {
    let host = |addr: &SocketAddr| {
        let name =
            if addr.ip().is_unspecified() || addr.ip().is_loopback() { "localhost".to_owned() } else { addr.ip().to_string() };
        format!("{name}:{}", addr.port())
    };
    if let Some(addr) = config.http_server.listen.first() {
        let host = host(addr);
        println!("open     http://{host}/");
        println!("play     http://{host}/live/livestream.flv  http://{host}/live/livestream.m3u8");
    }
    if let Some(addr) = config.http_server.https.iter().find_map(|https| https.listen.first()) {
        println!("open     https://{}/", host(addr));
    }
    if let Some(addr) = config.rtmp.listen.first() {
        println!("publish  rtmp://{}/live/livestream", host(addr));
    }
    if let Some(addr) = config.rtmp.tls.iter().find_map(|rtmps| rtmps.listen.first()) {
        println!("publish  rtmps://{}/live/livestream", host(addr));
    }
    if let Some(addr) = config.http_api.listen.first() {
        let host = host(addr);
        println!("publish  http://{host}/rtc/v1/whip/?app=live&stream=livestream");
        println!("play     http://{host}/rtc/v1/whep/?app=live&stream=livestream");
    }
}
