//! `/api/v1/vhosts`: all that are configured, with what goes on in each.

use std::collections::HashMap;

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::Serialize;
use serde_json::json;

use super::{ERROR_VHOST_NOT_FOUND, Page, answer, failure, meter::Kbps};
use crate::{Problem, router::AppState};

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    enabled: bool,
    clients: usize,
    streams: usize,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: Kbps,
    hls: Hls,
}

#[derive(Serialize)]
struct Hls {
    enabled: bool,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<f64>,
}

pub(super) async fn list(State(state): State<AppState>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let rows = rows(&state);
    let total = rows.len();
    let rows: Vec<Row> = page.cut(rows).collect();
    Ok(answer(&state, 0, json!({"vhosts": rows, "total": total})))
}

pub(super) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match rows(&state).into_iter().find(|row| row.id == id) {
        Some(row) => answer(&state, 0, json!({"vhost": row})),
        None => failure(&state, ERROR_VHOST_NOT_FOUND),
    }
}

fn rows(state: &AppState) -> Vec<Row> {
    let mut counts = HashMap::<String, (usize, usize)>::new();
    for client in state.hub.clients().list() {
        counts.entry(client.info.key.vhost().to_owned()).or_default().0 += 1;
    }
    for source in state.hub.list() {
        counts.entry(source.key().vhost().to_owned()).or_default().1 += 1;
    }
    let config = state.config();
    let vhosts = state.hub.vhosts();
    let row = |name: &str| {
        let (clients, streams) = counts.get(name).copied().unwrap_or_default();
        let (total, kbps) = state.rates.vhost(name);
        let fragment = config.vhosts.get(name).hls_fragment.filter(|_| state.hls.is_some());
        Row {
            id: state.ids.vhost(name),
            name: name.to_owned(),
            enabled: true,
            clients,
            streams,
            send_bytes: total.send,
            recv_bytes: total.recv,
            kbps,
            hls: Hls { enabled: fragment.is_some(), fragment: fragment.map(|fragment| fragment.as_secs_f64()) },
        }
    };
    vhosts.list().map(row).collect()
}
