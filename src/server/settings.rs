//! The one place where a [`Config`] becomes the settings of each part, and where a running server
//! keeps them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use weir_bridge::{
    hls::{Hls, HlsConfig},
    remux::RemuxConfig,
    rtmp::{RtmpConfig, RtmpStats, RtmpVhost},
    transcode::Bitrates,
};
use weir_rtc::{RtcConfig, RtcHandle};
use weir_source::{Hub, PerVhost, Vhosts};
use weir_web::{
    Hooks, HooksConfig, ServeLimits, VhostConfig, WebConfig,
    tls::{AcmeConfig, Certificates, Identities, Identity},
};

use super::{
    door::Door,
    idle::Idle,
    listeners::{Kind, Listen},
    remuxers::{Directions, Remuxers},
};
use crate::{
    Config, config,
    log::{Log, LogConfig},
    observed,
};

/// What a configuration means to each part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: BTreeSet<Listen>,
    pub(crate) certificates: Identities,
    pub(crate) vhosts: Vhosts,
    pub(crate) rtmp: RtmpConfig,
    pub(crate) hls: PerVhost<HlsConfig>,
    pub(crate) directions: PerVhost<Directions>,
    pub(crate) remux: PerVhost<RemuxConfig>,
    pub(crate) web: WebConfig,
    pub(crate) hooks: PerVhost<HooksConfig>,
    pub(crate) limits: ServeLimits,
    pub(crate) rtc: Option<RtcConfig>,
    pub(crate) clients_max: usize,
    /// Which vhosts take WebRTC clients.
    pub(crate) webrtc: PerVhost<bool>,
    /// How long publishers stay without a player.
    pub(crate) idle: PerVhost<Duration>,
    pub(crate) log: LogConfig,
}

impl Settings {
    /// RTMP counts in `stats`.
    pub(crate) fn of(config: &Config, stats: &Arc<RtmpStats>) -> Self {
        let connections_max = config.process.max_connections;
        Self {
            listen: listen(config),
            certificates: certificates(config),
            vhosts: config.names.clone(),
            rtmp: rtmp(config, stats),
            hls: config.vhosts.map(hls),
            directions: config
                .vhosts
                .map(|vhost| Directions { to_packets: vhost.rtc.rtmp_to_rtc, to_frames: vhost.rtc.rtc_to_rtmp }),
            remux: config.vhosts.map(remux),
            web: web(config),
            hooks: config.vhosts.map(|vhost| vhost.hooks.clone()),
            limits: ServeLimits { connections_max, address_connections_max: config.limits.connections, ..ServeLimits::default() },
            rtc: (!config.rtc_server.listen.is_empty()).then(|| rtc(&config.rtc_server)),
            clients_max: connections_max,
            webrtc: config.vhosts.map(|vhost| vhost.rtc.enabled),
            idle: config.vhosts.map(|vhost| vhost.publish.kickoff_for_idle),
            log: (&config.log).into(),
        }
    }

    /// What cannot change while the server runs and would: a whole reload is refused for it, so that
    /// what runs is always what one file says.
    pub(crate) fn fixed_differences(&self, new: &Self) -> Vec<String> {
        match (&self.rtc, &new.rtc) {
            (Some(old), Some(new)) => old.fixed_differences(new).into_iter().map(|name| format!("rtc_server: {name}")).collect(),
            (None, None) => Vec::new(),
            _ => vec!["rtc_server: enabled".to_owned()],
        }
    }
}

fn listen(config: &Config) -> BTreeSet<Listen> {
    let tls = |listener: &Option<config::TlsListener>| listener.as_ref().map(|tls| tls.listen.clone()).unwrap_or_default();
    let both = |api: &[SocketAddr], server: &[SocketAddr], kinds: [Kind; 3]| {
        let [api_only, server_only, shared] = kinds;
        let of_api = api.iter().map(|addr| (if server.contains(addr) { shared } else { api_only }, *addr));
        let of_server = server.iter().filter(|addr| !api.contains(addr)).map(|addr| (server_only, *addr));
        of_api.chain(of_server).collect::<Vec<_>>()
    };
    let (api, server) = (&config.http_api, &config.http_server);
    let http = both(&api.listen, &server.listen, [Kind::HttpApi, Kind::HttpServer, Kind::HttpBoth]);
    let https = both(&tls(&api.https), &tls(&server.https), [Kind::HttpsApi, Kind::HttpsServer, Kind::HttpsBoth]);
    let rtmp = config.rtmp.listen.iter().map(|addr| (Kind::Rtmp, *addr));
    let rtmps = tls(&config.rtmp.tls).into_iter().map(|addr| (Kind::Rtmps, addr));
    // The API's port has the metrics as well.
    let metrics = config.exporter.iter().flat_map(|exporter| &exporter.listen);
    let metrics = metrics.filter(|addr| !api.listen.contains(addr)).map(|addr| (Kind::Exporter, *addr));
    rtmp.chain(rtmps).chain(http).chain(https).chain(metrics).map(|(kind, addr)| Listen { kind, addr }).collect()
}

fn certificates(config: &Config) -> Identities {
    let sections =
        [("http_api", &config.http_api.https), ("http_server", &config.http_server.https), ("rtmps", &config.rtmp.tls)];
    let acme = Arc::new(acme(&config.acme));
    let identity = |tls: &config::TlsListener| match (tls.acme, tls.self_signed) {
        (true, _) => Identity::Acme(Arc::clone(&acme)),
        (false, true) => Identity::SelfSigned,
        (false, false) => Identity::Files { cert: tls.cert.clone(), key: tls.key.clone() },
    };
    sections.into_iter().filter_map(|(section, tls)| tls.as_ref().map(|tls| (section, identity(tls)))).collect()
}

fn acme(acme: &config::Acme) -> AcmeConfig {
    let config::Acme { domains, email, cache, directory, ca } = acme.clone();
    AcmeConfig { domains, email, cache, directory, ca }
}

/// What an RTMP client waits longer than callback servers may think.
const DECISION_SLACK: Duration = Duration::from_secs(1);

fn rtmp(config: &Config, stats: &Arc<RtmpStats>) -> RtmpConfig {
    let defaults = RtmpConfig::default();
    // Callback servers have their own time, and say no themselves when it is over.
    let longest = config.vhosts.values().map(|vhost| vhost.hooks.decision_timeout).max().unwrap_or_default();
    RtmpConfig {
        connections_max: config.process.max_connections,
        decision_timeout: defaults.decision_timeout.max(longest + DECISION_SLACK),
        vhosts: config.vhosts.map(|vhost| RtmpVhost {
            chunk_size_out: vhost.chunk_size,
            ack_window_in: vhost.ack_sizes[0],
            ack_window_out: vhost.ack_sizes[1],
            first_media_timeout: vhost.publish.firstpkt_timeout,
            idle_timeout: vhost.publish.normal_timeout,
            begin: vhost.play.begin,
            gather: vhost.play.gather,
        }),
        stats: Arc::clone(stats),
        ..defaults
    }
}

fn hls(vhost: &config::Vhost) -> HlsConfig {
    let hls = &vhost.hls;
    HlsConfig {
        always: vhost.hooks.wants_segments(),
        enabled: hls.enabled,
        fragment: hls.fragment,
        aof_ratio: hls.aof_ratio,
        window: hls.window,
        entry_prefix: hls.entry_prefix.clone(),
        dispose: hls.dispose,
        ..HlsConfig::default()
    }
}

fn remux(vhost: &config::Vhost) -> RemuxConfig {
    RemuxConfig {
        keyframe_interval: vhost.rtc.pli_for_rtmp,
        bitrates: Bitrates { opus: vhost.rtc.opus_bitrate, aac: vhost.rtc.aac_bitrate },
        opus_pairs: vhost.rtc.opus_pairs,
        keep_sei: vhost.rtc.keep_sei,
    }
}

fn web(config: &Config) -> WebConfig {
    let port = |addrs: &[SocketAddr], default| addrs.first().map_or(default, SocketAddr::port);
    let server = &config.http_server;
    let mut web = WebConfig {
        // Named, it may come later; SRS's default is used where SRS was.
        dir: (server.dir_is_set || server.dir.is_dir()).then(|| server.dir.clone()),
        crossdomain: server.crossdomain,
        limits: config.limits.addresses,
        trusted_proxies: config.limits.trusted_proxies.clone(),
        reached: config.rtc_server.reached,
        vhosts: config.vhosts.map(|vhost| VhostConfig {
            flv: vhost.remux.enabled,
            access: vhost.access(),
            content: vhost.remux.content,
            begin: vhost.play.begin,
            gather: vhost.play.gather,
            hls_ctx: vhost.hls.ctx,
            hls_ts_ctx: vhost.hls.ts_ctx,
            hls_fragment: vhost.hls.enabled.then_some(vhost.hls.fragment),
            whip: vhost.rtc.whip.clone(),
            terms: vhost.rtc.terms,
        }),
        rtmp_port: port(&config.rtmp.listen, 1935),
        api_port: port(&config.http_api.listen, 1985),
        ..WebConfig::default()
    };
    observed::fill(&mut web, config);
    web
}

fn rtc(rtc: &config::RtcServer) -> RtcConfig {
    RtcConfig {
        listen: rtc.listen.clone(),
        tcp: rtc.tcp.clone(),
        protocols: rtc.protocol,
        workers: rtc.workers,
        candidates: rtc.candidates.clone(),
        own: rtc.own,
        recv_buffer: rtc.buffer,
        send_buffer: rtc.buffer,
        coalesce_max: rtc.coalesce,
        ..RtcConfig::default()
    }
}

/// Where the running parts have their settings from.
pub(crate) struct Live {
    pub(crate) hub: Arc<Hub>,
    pub(crate) rtmp: Arc<ArcSwap<RtmpConfig>>,
    pub(crate) hls: Arc<Hls>,
    pub(crate) remuxers: Arc<Remuxers>,
    pub(crate) web: Arc<ArcSwap<WebConfig>>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) limits: Arc<ArcSwap<ServeLimits>>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) door: Arc<Door>,
    pub(crate) idle: Arc<Idle>,
    pub(crate) rtc: Option<RtcHandle>,
    pub(crate) log: Option<Log>,
}

impl Live {
    /// Whether [`Live::store`] can do it all.
    pub(crate) fn check(&self, new: &Settings) -> anyhow::Result<()> {
        if let (Some(rtc), Some(new)) = (&self.rtc, &new.rtc) {
            rtc.check(new)?;
        }
        Certificates::check(&new.certificates)?;
        Ok(())
    }

    /// Replaces all settings. What may fail comes first; nothing has changed then, but perhaps the
    /// log's.
    pub(crate) fn store(&self, new: &Settings) -> anyhow::Result<()> {
        if let Some(log) = &self.log {
            log.set(&new.log)?;
        }
        self.certificates.set(&new.certificates)?;
        if let (Some(rtc), Some(new)) = (&self.rtc, &new.rtc) {
            rtc.reconfigure(new.clone())?;
        }
        self.hub.set_vhosts(new.vhosts.clone());
        self.rtmp.store(Arc::new(new.rtmp.clone()));
        self.hls.set_settings(new.hls.clone());
        self.hooks.set_config(new.hooks.clone());
        self.web.store(Arc::new(new.web.clone()));
        self.limits.store(Arc::new(new.limits));
        self.door.set_clients_max(new.clients_max);
        self.remuxers.set_settings(new.remux.clone());
        self.door.set_webrtc(new.webrtc.clone());
        self.idle.set_patience(new.idle.clone());
        self.remuxers.set_directions(new.directions.clone());
        self.hub.review_remuxers();
        Ok(())
    }

    /// The settings that the parts have, read back from each.
    #[cfg(test)]
    pub(crate) fn read(&self, listen: BTreeSet<Listen>, log: &LogConfig) -> Settings {
        Settings {
            listen,
            certificates: self.certificates.identities(),
            vhosts: (*self.hub.vhosts()).clone(),
            rtmp: (**self.rtmp.load()).clone(),
            hls: (*self.hls.settings()).clone(),
            directions: (*self.remuxers.directions()).clone(),
            remux: self.remuxers.settings(),
            web: (**self.web.load()).clone(),
            hooks: (*self.hooks.config()).clone(),
            limits: **self.limits.load(),
            rtc: self.rtc.as_ref().map(|rtc| (*rtc.config()).clone()),
            clients_max: self.door.clients_max(),
            webrtc: (*self.door.webrtc()).clone(),
            idle: (*self.idle.patience()).clone(),
            log: self.log.as_ref().map_or_else(|| log.clone(), |log| (*log.config()).clone()),
        }
    }
}
