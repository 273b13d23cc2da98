//! The lists of what is below `/`, `/api` and `/api/v1`, and the version.

use axum::{extract::State, response::Response};
use serde_json::{Map, Value, json};

use super::{answer, routes::ROUTES};
use crate::router::AppState;

pub(super) async fn root(State(state): State<AppState>) -> Response {
    let urls = json!({
        "api": "the api root",
        "rtc": "the WebRTC signalling: whip, whep, publish, play",
    });
    answer(&state, 0, json!({"urls": urls}))
}

pub(super) async fn api(State(state): State<AppState>) -> Response {
    answer(&state, 0, json!({"urls": {"v1": "the api version 1.0"}}))
}

/// `urls` and `tests` are SRS's; what stands in them is what there is.
pub(super) async fn v1(State(state): State<AppState>) -> Response {
    let (mut urls, mut tests) = (Map::new(), Map::new());
    for route in ROUTES {
        let Some(rest) = route.path.strip_prefix("/api/v1/").filter(|rest| !rest.contains('{')) else { continue };
        let (list, name) = match rest.strip_prefix("tests/") {
            Some(test) => (&mut tests, test),
            None => (&mut urls, rest),
        };
        list.insert(name.to_owned(), Value::from(route.summary));
    }
    answer(&state, 0, json!({"urls": urls, "tests": tests}))
}

pub(super) async fn versions(State(state): State<AppState>) -> Response {
    let part = |text: &str| text.parse::<u32>().unwrap_or(0);
    let data = json!({
        "major": part(env!("CARGO_PKG_VERSION_MAJOR")),
        "minor": part(env!("CARGO_PKG_VERSION_MINOR")),
        "revision": part(env!("CARGO_PKG_VERSION_PATCH")),
        "version": env!("CARGO_PKG_VERSION"),
    });
    answer(&state, 0, json!({"data": data}))
}
