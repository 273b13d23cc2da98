//! What the HTTP side counts.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{extract::State, response::Response};

use crate::router::AppState;

/// Answers by whose fault they are, both ports together.
#[derive(Debug, Default)]
pub struct HttpStats {
    /// All answers that a route, or the lack of one, has given.
    pub answered: AtomicU64,
    /// Of these, the ones that blame the client (4xx).
    pub refused: AtomicU64,
    /// Of these, the ones that do not (5xx).
    pub failed: AtomicU64,
}

/// Counts an answer on its way out.
pub(crate) async fn count(State(state): State<AppState>, response: Response) -> Response {
    let (stats, status) = (&state.http, response.status());
    stats.answered.fetch_add(1, Ordering::Relaxed);
    if status.is_client_error() {
        stats.refused.fetch_add(1, Ordering::Relaxed);
    } else if status.is_server_error() {
        stats.failed.fetch_add(1, Ordering::Relaxed);
    }
    response
}
