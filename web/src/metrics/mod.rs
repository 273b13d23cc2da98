//! `/metrics`: all counters in Prometheus's text form. SRS's ten names first, then ours.
//!
//! Series by stream are bounded: the busiest ones by name, the rest as one. Nothing here is counted by
//! client. The text is made at most twice a second, however often it is asked for.

mod doors;
mod hooks;
mod machine;
mod outputs;
mod srs;
mod streams;
mod text;
mod tls;
mod traces;
mod webrtc;

use std::time::{Duration, Instant};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Fault, Problem, api::guard::may_read, router::AppState};
use text::Exposition;

/// The version of the text form.
const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How old a text may be that is given again.
const FRESH: Duration = Duration::from_millis(500);

/// The last texts: without and with series by stream.
#[derive(Debug, Default)]
pub(crate) struct Scrapes([Mutex<Option<(Instant, Bytes)>>; 2]);

/// The exporter's own port.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/metrics", get(of_api)).route("/metrics/", get(of_api))
}

/// Figures for whoever asks. Names of streams are for those who may read the API.
pub(crate) async fn of_api(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let config = state.config();
    if !config.api.exporter.enabled {
        return Problem::new(Fault::NotFound, "the exporter is off").into_response();
    }
    let text = scrape(&state, may_read(&config.api, &headers), Instant::now());
    ([(header::CONTENT_TYPE, TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

fn scrape(state: &AppState, by_stream: bool, now: Instant) -> Bytes {
    // Who asks meanwhile waits for the one that is being made.
    let [without, with] = &state.scrapes.0;
    let mut kept = if by_stream { with } else { without }.lock();
    if let Some((made, text)) = &*kept
        && now.saturating_duration_since(*made) < FRESH
    {
        return text.clone();
    }
    let text = Bytes::from(make(state, by_stream, now));
    *kept = Some((now, text.clone()));
    text
}

fn make(state: &AppState, by_stream: bool, now: Instant) -> String {
    let mut out = Exposition::default();
    srs::write(state, &mut out);
    machine::write(state, &mut out);
    outputs::write(state, &mut out);
    doors::write(state, &mut out);
    tls::write(state, &mut out);
    hooks::write(state, &mut out);
    webrtc::write(state, &mut out);
    traces::write(state, &mut out);
    streams::write(state, by_stream, now, &mut out);
    out.finish()
}

#[cfg(test)]
mod tests;
