//! Spans for whoever collects traces: of requests here, of callbacks where they are sent.
//!
//! They are at the lowest level under a target of their own, so that without a collector none is made.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, field::Empty, trace_span};

/// The target of all spans that are exported.
pub const TRACES: &str = "weir::traces";

/// What became of finished spans.
#[derive(Debug, Default)]
pub struct TraceStats {
    /// Those that wait for the collector.
    pub waiting: AtomicUsize,
    /// The collector took them.
    pub sent: AtomicU64,
    /// Lost: too many waited.
    pub queue_full: AtomicU64,
    /// Lost: the collector was not there, did not answer in time, or refused them.
    pub failed: AtomicU64,
}

/// A span for each request. It names the route and not the path, which holds names of streams; a
/// query holds tokens.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let span = trace_span!(
        target: TRACES, "http", otel.name = Empty, otel.kind = "server", otel.status_code = Empty,
        http.request.method = %request.method(), http.route = Empty, http.response.status_code = Empty,
    );
    if span.is_disabled() {
        return next.run(request).await;
    }
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    span.record("otel.name", format!("{} {route}", request.method())).record("http.route", route);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}
