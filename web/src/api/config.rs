//! What the API can be told: who may ask it, what is on, and what it says of this machine.

use std::time::Duration;

use weir_source::Secret;

/// Settings of the HTTP API (`http_api`) and of the exporter (`exporter`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// Let pages of any origin read `/api/v1` (`http_api.crossdomain`). Default off (SRS: on), for the
    /// lists name every stream and address. It never opens what changes something.
    pub crossdomain: bool,
    /// Answer `?callback=name` with a script (`http_api.jsonp`). Default off: any page may run a script.
    pub jsonp: bool,
    /// Who may ask by Basic authentication (`http_api.auth`). Default nobody in particular.
    pub basic: Option<BasicAuth>,
    /// Who may ask by a Bearer token (`http_api.auth.token`). With any of these or `basic`, everything
    /// under `/api/` needs one of them.
    pub tokens: Vec<ApiToken>,
    /// SRS's raw API (`http_api.raw_api`). Default off.
    pub raw: RawApi,
    /// Prometheus metrics (`exporter`). Default off.
    pub exporter: ExporterConfig,
    /// What to count of this machine (`stats`).
    pub stats: StatsConfig,
}

impl ApiConfig {
    /// Somebody in particular may ask.
    pub(crate) fn has_credentials(&self) -> bool {
        self.basic.is_some() || !self.tokens.is_empty()
    }
}

/// SRS's one user, who may do everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The name. It has no colon (RFC 7617 section 2).
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A token of `Authorization: Bearer` (RFC 6750).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// What the log calls it.
    pub name: String,
    /// The token.
    pub secret: Secret,
    /// What it opens.
    pub role: Role,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Look, end clients, reload.
    Operate,
}

/// `GET /api/v1/raw`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawApi {
    /// It is there at all.
    pub enabled: bool,
    /// `rpc=reload` is.
    pub allow_reload: bool,
}

/// `GET /metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExporterConfig {
    /// It is there.
    pub enabled: bool,
    /// The `label` of `srs_build_info`; empty for none.
    pub label: String,
    /// The `tag` of `srs_build_info`; empty for none.
    pub tag: String,
}

/// What is counted of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatsConfig {
    /// Which of this machine's addresses the heartbeat tells, counted from 0 over the usable interfaces
    /// in their order. Default 0.
    pub network: usize,
    /// The block devices to count, by name. Default all whole ones.
    pub disks: Vec<String>,
}

/// Telling another server that this one is there (`heartbeat`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Default off.
    pub enabled: bool,
    /// From one to the next. Default 10 s, never below one.
    pub interval: Duration,
    /// Where to. Default `http://127.0.0.1:8085/api/v1/servers`.
    pub url: String,
    /// What this server is called there.
    pub device_id: String,
    /// Tell what `/api/v1/summaries` tells.
    pub summaries: bool,
    /// Tell where everything listens.
    pub ports: bool,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            interval: Duration::from_secs(10),
            url: "http://127.0.0.1:8085/api/v1/servers".to_owned(),
            device_id: String::new(),
            summaries: false,
            ports: false,
        }
    }
}

/// Where everything listens, in SRS's words: a port, or `address:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// RTMP.
    pub rtmp: Vec<String>,
    /// HTTP-FLV, HLS and the pages.
    pub http: Vec<String>,
    /// This API.
    pub api: Vec<String>,
    /// WebRTC: `udp://…`, `tcp://…`.
    pub rtc: Vec<String>,
}
