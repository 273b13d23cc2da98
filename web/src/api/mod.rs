//! SRS's HTTP API as far as it is served: versions, streams, clients, and the kick.
//!
//! Field names and the envelope are SRS's. There is no JSONP: an answer is never a script (A40).

mod clients;
mod rates;
mod streams;
mod summaries;
#[cfg(test)]
mod tests;
mod webrtc;
mod webrtc_sessions;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use serde_json::json;

use crate::{Problem, query::Params, router::AppState};

pub use rates::Rates;

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

/// What may be read. With `kicks`, clients can be ended too.
pub(crate) fn routes(kicks: bool) -> Router<AppState> {
    let client = if kicks { get(clients::one).delete(clients::kick) } else { get(clients::one) };
    [
        ("/api/v1/versions", get(versions)),
        ("/api/v1/streams", get(streams::list)),
        ("/api/v1/clients", get(clients::list)),
        ("/api/v1/summaries", get(summaries::summaries)),
        ("/api/v1/webrtc/sessions", get(webrtc_sessions::list)),
    ]
    .into_iter()
    .fold(Router::new(), |router, (path, methods)| router.route(path, methods.clone()).route(&format!("{path}/"), methods))
    .route("/api/v1/streams/{id}", get(streams::one))
    .route("/api/v1/clients/{id}", client)
    .route("/api/v1/webrtc/sessions/{id}", get(webrtc_sessions::one))
}

/// The lists of what is below `/`, `/api` and `/api/v1`.
pub(crate) fn indexes() -> Router<AppState> {
    [("", root as fn(&AppState) -> Response), ("/api", api), ("/api/v1", v1)].into_iter().fold(
        Router::new(),
        |router, (path, list)| {
            let methods = get(move |State(state): State<AppState>| async move { list(&state) });
            let router = if path.is_empty() { router } else { router.route(path, methods.clone()) };
            router.route(&format!("{path}/"), methods)
        },
    )
}

fn root(state: &AppState) -> Response {
    answer(state, 0, json!({"urls": {"api": "the api root", "rtc": "the WebRTC signalling: whip, whep, publish, play"}}))
}

fn api(state: &AppState) -> Response {
    answer(state, 0, json!({"urls": {"v1": "the api version 1.0"}}))
}

fn v1(state: &AppState) -> Response {
    let urls = json!({
        "versions": "the version of the server",
        "summaries": "the process and its counters",
        "streams": "the streams, or one with its id",
        "clients": "the clients, or one with its id; DELETE ends it",
    });
    answer(state, 0, json!({"urls": urls}))
}

async fn versions(State(state): State<AppState>) -> Response {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    let data = json!({
        "major": part(env!("CARGO_PKG_VERSION_MAJOR")),
        "minor": part(env!("CARGO_PKG_VERSION_MINOR")),
        "revision": part(env!("CARGO_PKG_VERSION_PATCH")),
        "version": env!("CARGO_PKG_VERSION"),
    });
    answer(&state, 0, json!({"data": data}))
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
