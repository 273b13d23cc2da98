//! One connection in HTTP/1.1.

use std::sync::atomic::Ordering;

use axum::http::Request;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{BUFFER_BYTES, Ends, HEAD_BYTES_MAX, ServeLimits, head::Heads, requests::Requests};

/// Serves `stream` until one side ends it.
pub(super) async fn run<S>(stream: S, requests: Requests, limits: ServeLimits, ends: &Ends) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (stream, head_follows) = Heads::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        if request.body().is_end_stream() {
            head_follows.store(true, Ordering::Relaxed);
        }
        requests.clone().answer(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    if let Some(ended) = ends.run(connection.as_mut()).await {
        return ended;
    }
    connection.as_mut().graceful_shutdown();
    match ends.stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        // A live stream has no end of its own; it is cut.
        None => tokio::time::timeout(limits.grace, connection).await.unwrap_or(Ok(())),
    }
}
