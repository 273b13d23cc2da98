//! One connection in HTTP/2 (RFC 9113), and what keeps its streams within bounds.
//!
//! A connection whose peer takes nothing at all is [`super::guarded`]'s to end. Here are the
//! streams: one whose window the peer leaves shut, while it reads the others, is reset alone. And a
//! connection that carries no request is closed.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, http::Request};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tracing::debug;

use super::{BUFFER_BYTES, Ends, HEAD_BYTES_MAX, ServeLimits, requests::Requests};

/// Requests of one connection at a time: a page with a wall of players and its API calls.
const STREAMS_MAX: u32 = 100;
/// What a client may send ahead on one stream, in bytes: an offer is a tenth of it.
const STREAM_WINDOW: u32 = 64 << 10;
/// The same for the whole connection.
const CONNECTION_WINDOW: u32 = 256 << 10;
/// Streams that the peer has reset before they were looked at; more end the connection (rapid
/// reset, CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we have reset for the peer's mistakes; more end the connection.
const RESETS_BY_US_MAX: usize = 256;
/// How often a silent peer is asked whether it is there, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// Serves `stream` until one side ends it.
pub(super) async fn run<S>(stream: S, requests: Requests, limits: ServeLimits, ends: &Ends) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let streams = Streams::new(limits.write_stall_timeout);
    // Their tasks end with the connection.
    let _all = streams.guard();
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = requests.clone().answer(request);
        async move { answering.await.map(|response| response.map(Turns::body)) }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_BY_US_MAX)
        .max_send_buf_size(BUFFER_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let until = ends.run(async {
        tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = streams.idle(limits.header_timeout) => None,
        }
    });
    // GOAWAY: the streams that there are go on to their ends.
    let is_idle = match until.await {
        Some(Some(ended)) => return ended,
        Some(None) => true,
        None => false,
    };
    connection.as_mut().graceful_shutdown();
    if is_idle {
        return tokio::time::timeout(limits.header_timeout, connection).await.unwrap_or(Ok(()));
    }
    match ends.stop.run_until_cancelled(connection.as_mut()).await {
        Some(ended) => ended,
        None => tokio::time::timeout(limits.grace, connection).await.unwrap_or(Ok(())),
    }
}

/// The streams of one connection: hyper's executor.
#[derive(Clone)]
struct Streams {
    stall_timeout: Duration,
    active: Arc<AtomicUsize>,
    begun: Arc<AtomicU64>,
    gone: CancellationToken,
}

impl Streams {
    fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout, active: Arc::default(), begun: Arc::default(), gone: CancellationToken::new() }
    }

    fn guard(&self) -> DropGuard {
        self.gone.clone().drop_guard()
    }

    /// Waits until there was no stream for `time`, at least, and twice that at most.
    async fn idle(&self, time: Duration) {
        let mut begun = None;
        loop {
            tokio::time::sleep(time).await;
            let now = self.begun.load(Ordering::Relaxed);
            let is_quiet = self.active.load(Ordering::Relaxed) == 0;
            // Before the first request one look is enough: it has had its time.
            if is_quiet && (now == 0 || begun == Some(now)) {
                return;
            }
            begun = is_quiet.then_some(now);
        }
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(StreamTask {
            future: Box::pin(future),
            turn: Arc::default(),
            stall: None,
            gone: Box::pin(self.gone.clone().cancelled_owned()),
            streams: self.clone(),
        });
    }
}

tokio::task_local! {
    /// The stream whose task runs.
    static TURN: Arc<Turn>;
}

/// Whose turn it is on a stream: ours to give it bytes, or the peer's to make room for more.
#[derive(Debug, Default)]
struct Turn {
    is_peers: AtomicBool,
    /// Counts the times that it was ours: one who takes little, but takes, is no stall.
    moves: AtomicU64,
}

/// One stream's task: it ends early, and so resets its stream, when the peer lets it stall.
struct StreamTask<F> {
    future: Pin<Box<F>>,
    turn: Arc<Turn>,
    /// The clock, and the move at which it was started.
    stall: Option<(u64, Pin<Box<Sleep>>)>,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    streams: Streams,
}

impl<F: Future> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let future = this.future.as_mut();
        if TURN.sync_scope(Arc::clone(&this.turn), || future.poll(cx)).is_ready() || this.gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !this.turn.is_peers.load(Ordering::Relaxed) {
            this.stall = None;
            return Poll::Pending;
        }
        let (moves, timeout) = (this.turn.moves.load(Ordering::Relaxed), this.streams.stall_timeout);
        let (_, clock) = match &mut this.stall {
            Some(stall) if stall.0 == moves => stall,
            stall => stall.insert((moves, Box::pin(tokio::time::sleep(timeout)))),
        };
        if clock.as_mut().poll(cx).is_ready() {
            super::refused::note_failed();
            debug!("a stream was reset: the client does not read it");
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<F> Drop for StreamTask<F> {
    fn drop(&mut self) {
        self.streams.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that tells its stream's task whose turn it is.
struct Turns(Body);

impl Turns {
    fn body(inner: Body) -> Body {
        Body::new(Self(inner))
    }
}

impl http_body::Body for Turns {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.get_mut().0).poll_frame(cx);
        let _outside_of_a_stream = TURN.try_with(|turn| {
            turn.moves.fetch_add(1, Ordering::Relaxed);
            turn.is_peers.store(polled.is_ready(), Ordering::Relaxed);
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests;
