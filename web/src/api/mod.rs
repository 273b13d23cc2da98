//! SRS's HTTP API, and what stands beside it.
//!
//! Field names, the envelope and the numbers in `code` are SRS's. `routes` is the one table of what
//! there is; `guard` says who may use it. An answer is a script only where JSONP is configured (A40).

mod clients;
mod clusters;
mod config;
mod features;
pub(crate) mod guard;
mod index;
mod jsonp;
mod meter;
mod mirrors;
mod openapi;
mod probes;
mod rates;
mod raw;
mod routes;
mod schema;
mod streams;
mod summaries;
#[cfg(test)]
mod tests;
mod vhosts;
mod webrtc;
mod webrtc_sessions;

use axum::{
    Json,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use crate::{Problem, query::Params, router::AppState};

pub use config::{ApiConfig, ApiToken, BasicAuth, Endpoints, ExporterConfig, HeartbeatConfig, RawApi, Role, StatsConfig};
pub(crate) use meter::Kbps;
pub use rates::Rates;
pub(crate) use rates::protocol_and_role;
pub(crate) use routes::router;
pub(crate) use summaries::data as summaries_data;

/// SRS's number for an unknown vhost.
const ERROR_VHOST_NOT_FOUND: u16 = 2014;
/// SRS's number for an unknown stream.
const ERROR_STREAM_NOT_FOUND: u16 = 2048;
/// SRS's number for an unknown client.
const ERROR_CLIENT_NOT_FOUND: u16 = 2049;
/// Rows of a list that gives no `count`, as with SRS.
const COUNT_DEFAULT: usize = 10;
/// The most rows of one answer: a megabyte of JSON.
const COUNT_MAX: usize = 2_000;

/// What every answer starts with.
#[derive(Serialize)]
struct Envelope<T> {
    code: u16,
    server: String,
    service: String,
    pid: String,
    #[serde(flatten)]
    fields: T,
}

/// An answer with `code` 0.
pub(crate) fn envelope(state: &AppState, fields: impl Serialize) -> impl IntoResponse {
    answer(state, 0, fields)
}

fn answer(state: &AppState, code: u16, fields: impl Serialize) -> Response {
    let ids = &state.ids;
    let envelope = Envelope { code, server: ids.server.clone(), service: ids.service.clone(), pid: ids.pid.clone(), fields };
    let mut response = Json(envelope).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// SRS's failures are 200 with a `code`.
fn failure(state: &AppState, code: u16) -> Response {
    answer(state, code, json!({}))
}

/// `start` and `count` of a list's query.
struct Page {
    start: usize,
    count: usize,
}

impl Page {
    fn of(uri: &Uri) -> Result<Self, Problem> {
        let params = Params::of(uri)?;
        let count = params.number("count", COUNT_DEFAULT).clamp(1, COUNT_MAX);
        Ok(Self { start: params.number("start", 0), count })
    }

    fn cut<T>(&self, rows: Vec<T>) -> impl Iterator<Item = T> + use<T> {
        rows.into_iter().skip(self.start).take(self.count)
    }
}
