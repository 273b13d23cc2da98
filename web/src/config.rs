//! The settings of this crate, each with the default that a server without a file runs on.

use std::{path::PathBuf, time::Duration};

use weir_bridge::Begin;
use weir_rtc::sdp::Terms;
use weir_source::PerVhost;

use crate::{
    ApiConfig, Content, Endpoints, HeartbeatConfig, ReachedConfig, WhipConfig,
    access::{AccessConfig, LimitConfig, Network},
};

/// Settings of the HTTP side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// The largest offer, fragment or JSON body taken, in bytes. Default 64 KiB: ten times the
    /// offer of a browser with every codec.
    pub body_bytes_max: usize,
    /// How long a client may take to send a body. Default 10 s.
    pub body_timeout: Duration,
    /// The API and the exporter.
    pub api: ApiConfig,
    /// Telling another server of this one.
    pub heartbeat: HeartbeatConfig,
    /// How long an HTTP-FLV viewer waits for a stream that nobody publishes yet. Default 5 min.
    pub first_publish_wait: Duration,
    /// How long an HTTP-FLV viewer waits for the publisher to come back. Default 30 s.
    pub republish_wait: Duration,
    /// Where RTMP listens, for the URLs that the pages show. Default 1935.
    pub rtmp_port: u16,
    /// Where the API listens, for the URLs that the pages show. Default 1985.
    pub api_port: u16,
    /// Where everything listens, for the heartbeat. Default empty.
    pub endpoints: Endpoints,
    /// A directory whose files the HTTP server's port serves besides streams and pages. Default none.
    pub dir: Option<PathBuf>,
    /// Pages of other origins may play over HTTP (`http_server { crossdomain }`). Default on.
    pub crossdomain: bool,
    /// How often one address may begin something.
    pub limits: LimitConfig,
    /// Proxies of ours, whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<Network>,
    /// Whether the API's host is told to WebRTC clients.
    pub reached: ReachedConfig,
    /// What differs by vhost.
    pub vhosts: PerVhost<VhostConfig>,
}

/// Settings of one vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostConfig {
    /// Serve HTTP-FLV (`http_remux`). Default on.
    pub flv: bool,
    /// Who may come in.
    pub access: AccessConfig,
    /// What of a stream its HTTP-FLV viewers get.
    pub content: Content,
    /// With what they begin (`gop_cache`).
    pub begin: Begin,
    /// How long frames are gathered before an HTTP-FLV viewer is sent them (`mw_latency`): it is later
    /// by as much, and costs as many system calls less. Default zero: never.
    pub gather: Duration,
    /// Answer the first request for an HLS playlist with one that names a session (`hls_ctx`), so that
    /// every player is a client of its own. Off: the playlist is answered at once, and players of one
    /// address and query are one client. Default on.
    pub hls_ctx: bool,
    /// Name the session in the URLs of segments too, so that their bytes are counted (`hls_ts_ctx`).
    /// Default on.
    pub hls_ts_ctx: bool,
    /// The target length of its HLS segments, for the API's list of vhosts; `None` where it has no HLS.
    /// Default none.
    pub hls_fragment: Option<Duration>,
    /// WHIP and WHEP (`rtc`).
    pub whip: WhipConfig,
    /// What its WebRTC sessions are granted.
    pub terms: Terms,
}

impl Default for VhostConfig {
    fn default() -> Self {
        Self {
            flv: true,
            access: AccessConfig::default(),
            content: Content::default(),
            begin: Begin::default(),
            gather: Duration::ZERO,
            hls_ctx: true,
            hls_ts_ctx: true,
            hls_fragment: None,
            whip: WhipConfig::default(),
            terms: Terms::default(),
        }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 10,
            body_timeout: Duration::from_secs(10),
            api: ApiConfig::default(),
            heartbeat: HeartbeatConfig::default(),
            first_publish_wait: Duration::from_secs(300),
            republish_wait: Duration::from_secs(30),
            rtmp_port: 1935,
            api_port: 1985,
            endpoints: Endpoints::default(),
            dir: None,
            crossdomain: true,
            limits: LimitConfig::default(),
            trusted_proxies: Vec::new(),
            reached: ReachedConfig::default(),
            vhosts: PerVhost::default(),
        }
    }
}
