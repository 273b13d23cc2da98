//! HTTP: WHIP, WHEP and SRS's JSON signalling, the API, live FLV and HLS, and the pages.
//!
//! This crate turns requests into calls on the hub, the WebRTC server and the HLS output, and
//! their answers into HTTP. It holds no media; it owns names, limits on requests, and the
//! connections.
#![forbid(unsafe_code)]

pub mod access;
mod api;
mod body;
mod config;
mod cors;
mod crowd;
mod error;
mod files;
mod heartbeat;
pub mod hooks;
mod ids;
mod live;
mod machine;
mod metrics;
mod pages;
mod peer;
mod process;
mod query;
mod reached;
mod router;
mod rtc_api;
mod serve;
mod signalling;
mod stats;
pub mod tls;
mod traces;
mod whip;

#[cfg(test)]
mod testing;

pub use api::{ApiConfig, ApiToken, BasicAuth, Endpoints, ExporterConfig, HeartbeatConfig, Rates, RawApi, Role, StatsConfig};
pub use config::{VhostConfig, WebConfig};
pub use error::{Fault, Problem};
pub use hooks::{Hooks, HooksConfig};
pub use ids::{ServerIds, trace_id};
pub use live::{Content, HlsSessions};
pub use process::{Readiness, Reload, ReloadOutcome, Reloaded};
pub use reached::ReachedConfig;
pub use router::{AppState, api_router, combined_router, exporter_router, http_router};
pub use serve::{ServeLimits, serve, serve_tls};
pub use stats::HttpStats;
pub use traces::{TRACES, TraceStats};
pub use whip::{IceLogin, IceServer, IceServerError, WhipConfig};
