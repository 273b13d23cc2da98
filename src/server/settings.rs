//! The one place where a [`Config`] becomes the settings of each part, and where a running server
//! keeps them.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use weir_bridge::{
    hls::{Hls, HlsConfig},
    rtmp::{RtmpConfig, RtmpStats},
};
use weir_rtc::{RtcConfig, RtcHandle};
use weir_source::{Hub, PerVhost, Vhosts};
use weir_web::{ServeLimits, VhostConfig, WebConfig};

use super::{
    door::Door,
    listeners::{Kind, Listen},
    remuxers::{Directions, Remuxers},
};
use crate::{
    Config,
    log::{Log, LogConfig},
    process::ProcessConfig,
};

/// What a configuration means to each part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) listen: BTreeSet<Listen>,
    pub(crate) vhosts: Vhosts,
    pub(crate) rtmp: RtmpConfig,
    pub(crate) hls: PerVhost<HlsConfig>,
    pub(crate) directions: PerVhost<Directions>,
    pub(crate) web: WebConfig,
    pub(crate) limits: ServeLimits,
    pub(crate) rtc: Option<RtcConfig>,
    pub(crate) clients_max: usize,
    pub(crate) log: LogConfig,
    pub(crate) process: ProcessConfig,
}

impl Settings {
    /// RTMP counts in `stats`.
    pub(crate) fn of(config: &Config, stats: &Arc<RtmpStats>) -> Self {
        let all = |kind, addrs: &[SocketAddr]| addrs.iter().map(move |addr| Listen { kind, addr: *addr }).collect::<Vec<_>>();
        let listen =
            [all(Kind::Rtmp, &config.rtmp), all(Kind::HttpApi, &config.http_api), all(Kind::HttpServer, &config.http_server)];
        let port = |addrs: &[SocketAddr], default| addrs.first().map_or(default, SocketAddr::port);
        Self {
            listen: listen.into_iter().flatten().collect(),
            vhosts: Vhosts::default(),
            rtmp: RtmpConfig {
                chunk_size_out: config.chunk_size,
                connections_max: config.max_connections,
                stats: Arc::clone(stats),
                ..RtmpConfig::default()
            },
            hls: PerVhost::all(HlsConfig {
                enabled: config.hls,
                fragment: config.hls_fragment,
                window: config.hls_window,
                ..HlsConfig::default()
            }),
            directions: PerVhost::all(Directions { to_packets: config.rtmp_to_rtc, to_frames: config.rtc_to_rtmp }),
            web: WebConfig {
                vhosts: PerVhost::all(VhostConfig { flv: config.flv }),
                rtmp_port: port(&config.rtmp, 1935),
                api_port: port(&config.http_api, 1985),
                ..WebConfig::default()
            },
            limits: ServeLimits { connections_max: config.max_connections, ..ServeLimits::default() },
            rtc: config.rtc.map(|listen| rtc(config, listen)),
            clients_max: config.max_connections,
            log: config.log.clone(),
            process: config.process.clone(),
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

    /// What differs, a line each.
    pub(crate) fn changes(&self, new: &Self) -> Vec<String> {
        let gone = self.listen.difference(&new.listen).map(|listen| format!("{listen} ends"));
        let come = new.listen.difference(&self.listen).map(|listen| format!("{listen} begins"));
        let sections = [
            ("vhosts", self.vhosts != new.vhosts),
            ("rtmp", self.rtmp != new.rtmp),
            ("hls", self.hls != new.hls),
            ("the bridge between rtmp and rtc", self.directions != new.directions),
            ("http", self.web != new.web),
            ("http limits", self.limits != new.limits),
            ("rtc_server", self.rtc != new.rtc),
            ("max_connections", self.clients_max != new.clients_max),
            ("log", self.log != new.log),
        ];
        let changed = sections.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| format!("{name} changed"));
        let later = (self.process != new.process).then(|| "the process: grace times now, the rest at the next start".to_owned());
        come.chain(gone).chain(changed).chain(later).collect()
    }
}

fn rtc(config: &Config, listen: SocketAddr) -> RtcConfig {
    RtcConfig {
        listen: vec![listen],
        tcp: config.rtc_tcp.into_iter().collect(),
        protocols: config.protocol,
        workers: config.workers,
        candidates: config.candidates.clone(),
        recv_buffer: config.rtc_buffer,
        send_buffer: config.rtc_buffer,
        coalesce_max: config.rtc_coalesce,
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
    pub(crate) limits: Arc<ArcSwap<ServeLimits>>,
    pub(crate) door: Arc<Door>,
    pub(crate) rtc: Option<RtcHandle>,
    pub(crate) log: Option<Log>,
}

impl Live {
    /// Whether [`Live::store`] can do it all.
    pub(crate) fn check(&self, new: &Settings) -> anyhow::Result<()> {
        if let (Some(rtc), Some(new)) = (&self.rtc, &new.rtc) {
            rtc.check(new)?;
        }
        Ok(())
    }

    /// Replaces all settings. What may fail comes first; nothing has changed then, but perhaps the
    /// log's.
    pub(crate) fn store(&self, new: &Settings) -> anyhow::Result<()> {
        if let Some(log) = &self.log {
            log.set(&new.log)?;
        }
        if let (Some(rtc), Some(new)) = (&self.rtc, &new.rtc) {
            rtc.reconfigure(new.clone())?;
        }
        self.hub.set_vhosts(new.vhosts.clone());
        self.rtmp.store(Arc::new(new.rtmp.clone()));
        self.hls.set_settings(new.hls.clone());
        self.web.store(Arc::new(new.web.clone()));
        self.limits.store(Arc::new(new.limits));
        self.door.set_clients_max(new.clients_max);
        self.remuxers.set_directions(new.directions.clone());
        self.hub.review_remuxers();
        Ok(())
    }

    /// The settings that the parts have, read back from each.
    #[cfg(test)]
    pub(crate) fn read(&self, listen: BTreeSet<Listen>, process: ProcessConfig) -> Settings {
        Settings {
            listen,
            vhosts: (*self.hub.vhosts()).clone(),
            rtmp: (**self.rtmp.load()).clone(),
            hls: (*self.hls.settings()).clone(),
            directions: (*self.remuxers.directions()).clone(),
            web: (**self.web.load()).clone(),
            limits: **self.limits.load(),
            rtc: self.rtc.as_ref().map(|rtc| (*rtc.config()).clone()),
            clients_max: self.door.clients_max(),
            log: self.log.as_ref().map_or_else(LogConfig::default, |log| (*log.config()).clone()),
            process,
        }
    }
}
