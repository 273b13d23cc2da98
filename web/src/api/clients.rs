//! `/api/v1/clients`: who is connected; DELETE ends one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::{
    extract::{Path, State},
    http::{HeaderMap, Uri},
    response::Response,
};
use serde::Serialize;
use serde_json::json;
use tracing::debug;
use weir_source::Client;

use super::{
    ERROR_CLIENT_NOT_FOUND, Page, answer, failure, guard,
    meter::Kbps,
    webrtc::{Sessions, WebRtc},
};
use crate::{
    Problem,
    peer::{Peer, Scheme},
    query::Params,
    router::AppState,
};

#[derive(Serialize)]
struct Row {
    id: String,
    vhost: String,
    stream: String,
    ip: String,
    #[serde(rename = "pageUrl")]
    page_url: String,
    #[serde(rename = "swfUrl")]
    swf_url: &'static str,
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    publish: bool,
    /// Seconds.
    alive: f64,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: Kbps,
    /// Not in SRS: the session's own statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    webrtc: Option<WebRtc>,
}

pub(super) async fn list(State(state): State<AppState>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let clients = state.hub.clients().list();
    let total = clients.len();
    let (mut sessions, now) = (Sessions::of(&state), Instant::now());
    let rows: Vec<Row> = page.cut(clients).map(|client| row(&state, &client, &mut sessions, now)).collect();
    Ok(answer(&state, 0, json!({"clients": rows, "total": total})))
}

/// One client. Where answers may be scripts, `method=DELETE` ends it, as with SRS: a script element can
/// send nothing but GET.
pub(super) async fn one(
    State(state): State<AppState>,
    peer: Peer,
    scheme: Scheme,
    uri: Uri,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let config = state.config();
    if config.api.jsonp {
        let params = Params::of(&uri)?;
        if params.get("callback").is_some() && params.get("method") == Some("DELETE") {
            guard::may_operate_by_get(&config.api, scheme, &headers)?;
            return Ok(end(&state, peer, &id));
        }
    }
    Ok(match state.hub.clients().get(&id) {
        Some(client) => {
            let row = row(&state, &client, &mut Sessions::of(&state), Instant::now());
            answer(&state, 0, json!({"client": row}))
        }
        None => failure(&state, ERROR_CLIENT_NOT_FOUND),
    })
}

/// Ends a client.
pub(super) async fn kick(State(state): State<AppState>, peer: Peer, Path(id): Path<String>) -> Response {
    end(&state, peer, &id)
}

fn end(state: &AppState, peer: Peer, id: &str) -> Response {
    let Some(client) = state.hub.clients().get(id) else {
        return failure(state, ERROR_CLIENT_NOT_FOUND);
    };
    debug!(id = %client.info.id, by = %peer.0, "client kicked");
    client.kick();
    answer(state, 0, json!({}))
}

fn row(state: &AppState, client: &Arc<Client>, sessions: &mut Sessions, now: Instant) -> Row {
    let info = &client.info;
    Row {
        id: info.id.clone(),
        vhost: state.ids.vhost(info.key.vhost()),
        stream: state.ids.stream(&info.key),
        ip: info.ip.to_string(),
        page_url: info.page_url.clone(),
        swf_url: "",
        tc_url: info.url.clone(),
        url: format!("/{}/{}", info.key.app(), info.key.stream()),
        name: info.key.stream().to_owned(),
        kind: info.kind.name(),
        publish: info.kind.is_publisher(),
        alive: now.saturating_duration_since(info.since).as_secs_f64(),
        send_bytes: client.traffic.sent.load(Ordering::Relaxed),
        recv_bytes: client.traffic.received.load(Ordering::Relaxed),
        kbps: state.rates.client(&info.id),
        webrtc: sessions.take(state, &info.id),
    }
}
