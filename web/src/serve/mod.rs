//! The accept loop: connections with limits on their number, their heads and their stalls.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::{Router, body::Body, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::Sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

/// What one listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at a time; another gets 503 and is closed. Default 10,000: at two descriptors
    /// each what a usual limit of 20,480 open files has.
    pub connections_max: usize,
    /// How long a request's head may take from the connection's start, or from the end of the
    /// request before it. Default 10 s.
    pub header_timeout: Duration,
    /// How long a client may leave us unable to write. Default 10 s.
    pub write_stall_timeout: Duration,
    /// How long connections may take to end at the stop. Default 700 ms.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(10),
            grace: Duration::from_millis(700),
        }
    }
}

/// What is read ahead of a request's body, and what is buffered of an answer before the socket is
/// waited for: a keyframe of a usual live stream.
const BUFFER_BYTES: usize = 64 << 10;
/// The largest head of a request; browsers send one or two KiB. hyper takes up to 100 headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long to leave the listener alone when no descriptor is free: until some connection ends.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(500);
/// A full server says so at most this often in the log.
const WARN_EVERY: Duration = Duration::from_secs(1);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves `router` on `listener` until `retire` or `stop`. After `retire` no connection is taken any
/// more, and those that there are end with the request that they serve: a live stream, with its
/// viewer. After `stop` they have [`ServeLimits::grace`] to end. A connection has the limits of its
/// beginning.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Arc<ArcSwap<ServeLimits>>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    let ends = Ends { retire, stop };
    let connections = TaskTracker::new();
    let mut refused = Refused::default();
    while let Some(accepted) = ends.run(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                refused.note(Instant::now(), &error);
                // A connection that cannot be accepted stays in the backlog: accepting again at
                // once would spin.
                if ends.run(tokio::time::sleep(EXHAUSTED_PAUSE)).await.is_none() {
                    break;
                }
                continue;
            }
        };
        let limits = **limits.load();
        if connections.len() >= limits.connections_max {
            refused.note(Instant::now(), &"all places are taken");
            // One attempt: who does not take it at once is closed all the same.
            let _sent = stream.try_write(FULL);
            continue;
        }
        connections.spawn(connection(stream, peer, router.clone(), limits, ends.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// What ends a listener and its connections.
#[derive(Clone)]
struct Ends {
    retire: CancellationToken,
    stop: CancellationToken,
}

impl Ends {
    /// `None`: an end came first.
    async fn run<F: Future>(&self, future: F) -> Option<F::Output> {
        self.retire.run_until_cancelled(self.stop.run_until_cancelled(future)).await.flatten()
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: ServeLimits, ends: Ends) {
    // Live frames are small and must not wait for each other.
    let _best_effort = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let guarded = Guarded { stream, timeout: limits.write_stall_timeout, stall: None };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(guarded), service);
    let mut connection = std::pin::pin!(connection);
    let ended = match ends.run(connection.as_mut()).await {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match ends.stop.run_until_cancelled(connection.as_mut()).await {
                Some(ended) => ended,
                // A live stream has no end of its own; it is cut.
                None => tokio::time::timeout(limits.grace, connection).await.unwrap_or(Ok(())),
            }
        }
    };
    if let Err(error) = ended {
        FAILED.fetch_add(1, Ordering::Relaxed);
        debug!(%peer, %error, "connection failed");
    }
}

/// Errors of the connection that was to be accepted rather than of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Counts connections that were not taken and says so now and then.
#[derive(Default)]
struct Refused {
    since_said: u64,
    said: Option<Instant>,
}

/// All connections that any listener has refused.
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// All connections that ended in an error: no HTTP, a slow head, a reset, a reader that stood still.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Connections refused and failed since the process started.
pub(crate) fn connections() -> (u64, u64) {
    (REFUSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed))
}

impl Refused {
    fn note(&mut self, now: Instant, why: &dyn std::fmt::Display) {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        self.since_said = self.since_said.saturating_add(1);
        if self.said.is_none_or(|said| now.saturating_duration_since(said) >= WARN_EVERY) {
            warn!(refused = self.since_said, %why, "HTTP connections refused");
            self.said = Some(now);
            self.since_said = 0;
        }
    }
}

/// A stream whose writes fail once the peer has taken nothing for too long.
struct Guarded {
    stream: TcpStream,
    timeout: Duration,
    stall: Option<Pin<Box<Sleep>>>,
}

impl Guarded {
    /// Lets a finished write through; of one that waits, starts or asks the clock.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let timeout = self.timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        // Reset it: a close would leave what is unsent with the kernel until the peer reads.
        let _best_effort = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.watch(written, cx)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
