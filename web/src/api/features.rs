//! What the server can do, and whose it is.

use axum::{extract::State, response::Response};
use serde_json::json;

use super::answer;
use crate::router::AppState;

pub(super) async fn authors(State(state): State<AppState>) -> Response {
    answer(&state, 0, json!({"data": {"license": "MIT", "contributors": "the authors of Weir"}}))
}

/// SRS's names; what is on follows the configuration.
pub(super) async fn features(State(state): State<AppState>) -> Response {
    let (config, vhosts) = (state.config(), state.hub.vhosts());
    let httpd = vhosts.list().any(|vhost| config.vhosts.get(vhost).flv) || state.hls.is_some();
    let (rtc, hls) = (state.rtc.is_some(), state.hls.is_some());
    let built = state.machine.figures().facts.built_s;
    let word = |on: bool| if on { "on" } else { "off" };
    let options = format!("--rtc={} --hls={} --http-flv={}", word(rtc), word(hls), word(httpd));
    let data = json!({
        "options": options,
        "options2": options,
        "build": built.to_string(),
        "build2": built,
        "features": {
            "ssl": true,
            "hls": hls,
            "hds": false,
            "callback": true,
            "api": true,
            "httpd": httpd,
            "dvr": false,
            "transcode": false,
            "ingest": false,
            "stat": true,
            "caster": false,
            "complex_send": true,
            "tcp_nodelay": true,
            "so_sendbuf": true,
            "mr": false,
            "rtc": rtc,
        },
    });
    answer(&state, 0, json!({"data": data}))
}
