//! What is asked to see whether the server answers, and how: health, readiness, SRS's `tests`.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use super::{answer, failure};
use crate::{ids, router::AppState};

/// SRS's number for a failure that is meant.
const ERROR_MEANT: u16 = 100;
/// A request's headers that are told back, at most: hyper takes as many.
const HEADERS_MAX: usize = 100;
/// What a request may hold that must not get into somebody's log of answers.
const HIDDEN: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// The process turns.
pub(super) async fn healthz() -> Response {
    ([(header::CACHE_CONTROL, "no-store")], "ok\n").into_response()
}

/// New clients are taken.
pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    let (status, word) =
        if state.readiness.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") };
    (status, [(header::CACHE_CONTROL, "no-store")], word).into_response()
}

/// The request as it came. SRS writes `headers` twice, the second time with the server's own facts,
/// which are in `server` here.
pub(super) async fn requests(State(state): State<AppState>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let shown = |name: &HeaderName, value: &axum::http::HeaderValue| {
        let hidden = HIDDEN.contains(name);
        Value::from(if hidden { "…".to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() })
    };
    let told: Map<String, Value> =
        headers.iter().take(HEADERS_MAX).map(|(name, value)| (name.as_str().to_owned(), shown(name, value))).collect();
    let data = json!({
        "uri": uri.to_string(),
        "path": uri.path(),
        "METHOD": method.as_str(),
        "headers": told,
        "server": {
            "sigature": "weir",
            "version": env!("CARGO_PKG_VERSION"),
            "link": "",
            "time": ids::now_ms(),
        },
    });
    answer(&state, 0, json!({"data": data}))
}

pub(super) async fn errors(State(state): State<AppState>) -> Response {
    failure(&state, ERROR_MEANT)
}

pub(super) async fn redirects() -> Response {
    // 301 as with SRS rather than 308.
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, "/api/v1/tests/errors")]).into_response()
}
