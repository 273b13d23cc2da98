//! The server: every part started in order, stopped in reverse.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weir_bridge::{
    hls::{Hls, HlsConfig},
    remux::RemuxBridge,
    rtmp::{self, RtmpConfig, RtmpVhost},
    transcode,
};
use weir_rtc::{RtcConfig, RtcServer};
use weir_source::{Bridge, DEFAULT_VHOST, Hub, Lane, PerVhost, RemuxJob};
use weir_web::{AppState, HlsSessions, Hooks, ServeLimits, ServerIds, VhostConfig, WebConfig};

use crate::{Config, config::Vhost, observed, pulse};

/// How long the tasks of closing connections may take; with WebRTC's half second it stays well
/// under the three seconds that a service manager is promised.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);
/// How long callback servers may take to hear that all clients have gone.
const DRAIN_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// All parts, running.
pub struct Server {
    rtc: Option<RtcServer>,
    hls_sessions: Arc<HlsSessions>,
    hooks: Arc<Hooks>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Server {
    /// Starts everything, waits for SIGINT or SIGTERM, stops everything.
    pub async fn run(config: Config) -> anyhow::Result<()> {
        let server = Self::start(&config).await?;
        print_urls(&config);
        let signal = termination().await?;
        tracing::info!(signal, "stopping");
        server.stop().await;
        tracing::info!("stopped");
        Ok(())
    }

    async fn start(config: &Config) -> anyhow::Result<Self> {
        let hub = Hub::new();
        hub.set_vhosts(config.names.clone());
        let runtime = tokio::runtime::Handle::current();
        let ids = Arc::<ServerIds>::default();
        let hooks = Hooks::new(Arc::clone(&ids), config.vhosts.map(|vhost| vhost.hooks.clone()), runtime.clone());
        hub.set_gatekeeper(hooks.clone());
        let remux = RemuxBridge::new(runtime.clone(), transcode::Pool::new(transcode_threads()));
        hub.set_bridge(Arc::new(Gate { vhosts: config.vhosts.clone(), remux: Arc::clone(&remux) }));

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let rtc = match config.rtc_server.listen.is_empty() {
            true => None,
            false => Some(RtcServer::start(rtc_config(config), Arc::clone(&hub)).context("WebRTC could not start")?),
        };
        // Until each vhost has its own: what the default one says.
        let vhost = config.vhosts.get(DEFAULT_VHOST);
        let hls_config = HlsConfig {
            fragment: vhost.hls.fragment,
            aof_ratio: vhost.hls.aof_ratio,
            window: vhost.hls.window,
            dispose: vhost.hls.dispose,
            always: hooks.wants_segments(),
            ..HlsConfig::default()
        };
        let hls = vhost.hls.enabled.then(|| Hls::new(Arc::clone(&hub), hls_config, runtime));
        if let Some(hls) = &hls {
            hls.set_watch(hooks.clone());
        }

        let rtmp_config = Arc::new(RtmpConfig {
            chunk_size_out: config.rtmp.chunk_size,
            connections_max: config.process.max_connections,
            first_media_timeout: vhost.publish.firstpkt_timeout,
            idle_timeout: vhost.publish.normal_timeout,
            vhosts: config.vhosts.map(|vhost| RtmpVhost { gather: vhost.play.gather }),
            ..RtmpConfig::default()
        });
        for addr in &config.rtmp.listen {
            let listener = bind(*addr, "RTMP").await?;
            tasks.spawn(rtmp::serve(listener, Arc::clone(&hub), Arc::clone(&rtmp_config), stop.clone()));
        }

        let port = |addrs: &[SocketAddr], default| addrs.first().map_or(default, SocketAddr::port);
        let mut web_config = WebConfig {
            vhosts: config.vhosts.map(|vhost| VhostConfig {
                flv: vhost.remux.enabled,
                gather: vhost.play.gather,
                hls_ctx: vhost.hls.ctx,
                hls_ts_ctx: vhost.hls.ts_ctx,
                hls_fragment: vhost.hls.enabled.then_some(vhost.hls.fragment),
            }),
            rtmp_port: port(&config.rtmp.listen, 1935),
            api_port: port(&config.http_api.listen, 1985),
            ..WebConfig::default()
        };
        observed::fill(&mut web_config, config);
        let mut state = AppState::new(hub, rtc.as_ref().map(RtcServer::handle), hls, web_config);
        state.rtmp = Arc::clone(&rtmp_config.stats);
        state.remux = Some(remux);
        state.hooks = Some(Arc::clone(&hooks));
        state.ids = ids;
        let hls_sessions = Arc::clone(&state.hls_sessions);
        let limits = ServeLimits { connections_max: config.process.max_connections, ..ServeLimits::default() };
        tasks.spawn(state.clone().run(stop.clone()));
        if let Some(rtc) = &rtc {
            tasks.spawn(pulse::run(rtc.handle(), stop.clone()));
        }
        for addr in &config.http_api.listen {
            let listener = bind(*addr, "the HTTP API").await?;
            tasks.spawn(weir_web::serve(listener, weir_web::api_router(state.clone()), limits, stop.clone()));
        }
        for addr in &config.http_server.listen {
            let listener = bind(*addr, "the HTTP server").await?;
            tasks.spawn(weir_web::serve(listener, weir_web::http_router(state.clone()), limits, stop.clone()));
        }
        // The API's port has the metrics as well.
        let metrics = config.exporter.iter().flat_map(|exporter| &exporter.listen);
        for addr in metrics.filter(|addr| !config.http_api.listen.contains(addr)) {
            let listener = bind(*addr, "the exporter").await?;
            tasks.spawn(weir_web::serve(listener, weir_web::exporter_router(state.clone()), limits, stop.clone()));
        }
        Ok(Self { rtc, hls_sessions, hooks, tasks, stop })
    }

    async fn stop(mut self) {
        self.stop.cancel();
        let drained = tokio::time::timeout(STOP_TIMEOUT, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("connections did not close in time; they are dropped");
        }
        if let Some(rtc) = self.rtc.take() {
            rtc.shutdown();
        }
        self.hls_sessions.close();
        let lost = self.hooks.drain(DRAIN_TIMEOUT).await;
        if lost > 0 {
            tracing::warn!(lost, "callback servers did not hear all in time");
        }
    }
}

/// Lets a remuxer run only in the directions that the configuration allows.
struct Gate {
    vhosts: PerVhost<Vhost>,
    remux: Arc<RemuxBridge>,
}

impl Bridge for Gate {
    fn remux(&self, job: RemuxJob) {
        let rtc = &self.vhosts.get(job.source().key().vhost()).rtc;
        let allowed = match job.lane() {
            Lane::Packets => rtc.rtmp_to_rtc,
            Lane::Frames => rtc.rtc_to_rtmp,
        };
        if allowed {
            self.remux.remux(job);
        }
    }
}

async fn bind(addr: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await.with_context(|| format!("{what} cannot listen on {addr}"))?;
    tracing::info!(%addr, "{what} listens");
    Ok(listener)
}

fn rtc_config(config: &Config) -> RtcConfig {
    let rtc = &config.rtc_server;
    RtcConfig {
        listen: rtc.listen.clone(),
        tcp: rtc.tcp.clone(),
        protocols: rtc.protocol,
        workers: rtc.workers,
        candidates: rtc.candidates.clone(),
        recv_buffer: rtc.buffer,
        send_buffer: rtc.buffer,
        coalesce_max: rtc.coalesce,
        ..RtcConfig::default()
    }
}

/// A bridged stream's sound costs about 0.4 % of a core: half of the cores transcode hundreds.
fn transcode_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

/// SIGINT or SIGTERM; the name of the one that came.
async fn termination() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    tokio::select! {
        _ = interrupt.recv() => Ok("SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
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
    if let Some(addr) = config.rtmp.listen.first() {
        println!("publish  rtmp://{}/live/livestream", host(addr));
    }
    if let Some(addr) = config.http_api.listen.first() {
        let host = host(addr);
        println!("publish  http://{host}/rtc/v1/whip/?app=live&stream=livestream");
        println!("play     http://{host}/rtc/v1/whep/?app=live&stream=livestream");
    }
}
