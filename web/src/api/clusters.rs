//! `/api/v1/clusters`: SRS's origins ask one another who publishes a stream.

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use serde_json::{Value, json};

use super::answer;
use crate::{Problem, query::Params, router::AppState, signalling::host};

/// The query as it came, and this server where it has the stream's publisher. It has no coworkers of
/// its own, so none are named.
pub(super) async fn clusters(State(state): State<AppState>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let text = |name| params.get(name).unwrap_or_default();
    let origin = origin(&state, &params, host(&headers));
    let query = json!({"ip": text("ip"), "vhost": text("vhost"), "app": text("app"), "stream": text("stream")});
    Ok(answer(&state, 0, json!({"data": {"query": query, "origin": origin}})))
}

fn origin(state: &AppState, params: &Params, host: &str) -> Value {
    let text = |name| params.get(name).unwrap_or_default();
    let Ok(key) = state.hub.vhosts().key(text("vhost"), text("app"), text("stream")) else { return Value::Null };
    if state.hub.get(&key).and_then(|source| source.publisher_lane()).is_none() {
        return Value::Null;
    }
    let config = state.config();
    // The name by which the asker has reached us is the one by which others can.
    let named = params.get("coworker").unwrap_or(host);
    let ip = named.rsplit_once(':').map_or(named, |(name, _port)| name);
    json!({
        "ip": ip,
        "port": config.rtmp_port,
        "vhost": key.vhost(),
        "api": format!("{ip}:{}", config.api_port),
        "routers": [],
    })
}
