//! What the HTTP side counts.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{extract::State, response::Response};
use parking_lot::Mutex;

use crate::{Fault, router::AppState};

/// Answers by whose fault they are, both ports together.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// All answers that a route, or the lack of one, has given.
    pub answered: AtomicU64,
    /// Of these, the ones that blame the client (4xx).
    pub refused: AtomicU64,
    /// Of these, the ones that do not (5xx).
    pub failed: AtomicU64,
    /// Requests to the API without the credentials that it needs, or from where it must not come.
    pub denied: AtomicU64,
    /// Refused requests, by the slug of their problem.
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl HttpStats {
    /// Refused requests, by the slug of their problem.
    pub(crate) fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refusals.lock().iter().map(|(slug, count)| (*slug, *count)).collect()
    }
}

/// Counts an answer on its way out.
pub(crate) async fn count(State(state): State<AppState>, response: Response) -> Response {
    let (stats, status) = (&state.http, response.status());
    stats.answered.fetch_add(1, Ordering::Relaxed);
    if let Some(fault) = response.extensions().get::<Fault>() {
        *stats.refusals.lock().entry(fault.slug()).or_default() += 1;
    }
    if status.is_client_error() {
        stats.refused.fetch_add(1, Ordering::Relaxed);
    } else if status.is_server_error() {
        stats.failed.fetch_add(1, Ordering::Relaxed);
    }
    response
}
