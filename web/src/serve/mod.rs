//! The accept loop: connections with limits on their number, their heads and their stalls, in the
//! clear or behind TLS, in HTTP/1.1 or HTTP/2.

mod guarded;
mod head;
mod http1;
mod http2;
mod line;
mod refused;
mod requests;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use self::{
    guarded::Guarded,
    line::{Guest, Line},
    refused::{Refused, Why},
    requests::Requests,
};
use crate::{
    crowd::{Bounds, Crowd, Full},
    peer::Scheme,
    tls::TlsDoor,
};

pub(crate) use refused::{connections_failed, connections_refused};

/// What one listener allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at a time; another gets 503 and is closed, unless one that has not asked for
    /// anything yet can be closed in its place. Default 10,000: at two descriptors each what a usual
    /// limit of 20,480 open files has.
    pub connections_max: usize,
    /// Of these, from one IPv4 address or IPv6 network of 64 bits. Default: as many, for viewers
    /// behind one proxy or one provider's address translation are many.
    pub address_connections_max: usize,
    /// How long a request's head may take from the connection's start, or from the end of the
    /// request before it. A connection in HTTP/2 may be without a request for twice as long.
    /// Default 10 s.
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
            address_connections_max: usize::MAX,
            header_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(10),
            grace: Duration::from_millis(700),
        }
    }
}

/// The largest head of a request; browsers send one or two KiB. hyper takes up to 100 headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// What is read ahead of a request's body, and what is buffered of an answer before the socket is
/// waited for: a keyframe of a usual live stream.
const BUFFER_BYTES: usize = 64 << 10;
/// How long to leave the listener alone when no descriptor is free: until some connection ends.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(500);

const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Serves `router` on `listener` until `retire` or `stop`. After `retire` no connection is taken any
/// more, and those that there are end with the requests that they serve: a live stream, with its
/// viewer. After `stop` they have [`ServeLimits::grace`] to end. A connection has the limits of its
/// beginning.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Arc<ArcSwap<ServeLimits>>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    accept_all(listener, None, router, limits, Ends { retire, stop }).await;
}

/// The same behind TLS: HTTPS.
pub async fn serve_tls(
    listener: TcpListener,
    door: TlsDoor,
    router: Router,
    limits: Arc<ArcSwap<ServeLimits>>,
    retire: CancellationToken,
    stop: CancellationToken,
) {
    accept_all(listener, Some(door), router, limits, Ends { retire, stop }).await;
}

async fn accept_all(listener: TcpListener, door: Option<TlsDoor>, router: Router, limits: Arc<ArcSwap<ServeLimits>>, ends: Ends) {
    let (crowd, line) = (Arc::new(Crowd::default()), Line::default());
    let connections = TaskTracker::new();
    let mut refused = Refused::default();
    while let Some(accepted) = ends.run(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                refused.note(Instant::now(), Why::Exhausted, &error);
                // A connection that cannot be accepted stays in the backlog: accepting again at
                // once would spin.
                if ends.run(tokio::time::sleep(EXHAUSTED_PAUSE)).await.is_none() {
                    break;
                }
                continue;
            }
        };
        let limits = **limits.load();
        let bounds = Bounds { all: limits.connections_max, per_address: limits.address_connections_max };
        if crowd.taken() >= bounds.all && line.send_away_oldest() {
            refused.note(
                Instant::now(),
                Why::Full,
                &"all places are taken: the oldest that has not asked for anything is closed",
            );
        }
        let place = match crowd.enter(peer.ip(), bounds) {
            Ok(place) => place,
            Err(full) => {
                let said = if full == Full::All { "all places are taken" } else { "an address has its share of the places" };
                refused.note(Instant::now(), full.into(), &said);
                if door.is_none() {
                    // One attempt: who does not take it at once is closed all the same.
                    let _sent = stream.try_write(FULL);
                }
                continue;
            }
        };
        let visit = Visit { peer, guest: line.join(place), router: router.clone(), limits, ends: ends.clone() };
        connections.spawn(visit.run(stream, door.clone()));
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

/// One connection.
struct Visit {
    peer: SocketAddr,
    guest: Arc<Guest>,
    router: Router,
    limits: ServeLimits,
    ends: Ends,
}

impl Visit {
    async fn run(self, stream: TcpStream, door: Option<TlsDoor>) {
        let (peer, guest) = (self.peer, Arc::clone(&self.guest));
        let ended = guest.run_until_sent_away(self.serve(stream, door)).await;
        guest.leave();
        if let Some(Err(error)) = ended {
            refused::note_failed();
            debug!(%peer, %error, "connection failed");
        }
    }

    async fn serve(self, stream: TcpStream, door: Option<TlsDoor>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Live frames are small and must not wait for each other.
        let _best_effort = stream.set_nodelay(true);
        let Self { peer, guest, router, limits, ends } = self;
        // Below TLS: a peer that takes nothing stalls whatever is written to it.
        let stream = Guarded::new(stream, limits.write_stall_timeout);
        let scheme = if door.is_some() { Scheme::Https } else { Scheme::Http };
        let requests = Requests { router, peer, scheme, guest };
        let Some(door) = door else {
            return Ok(http1::run(stream, requests, limits, &ends).await?);
        };
        let Some(entered) = ends.run(door.enter(stream, peer.ip())).await else { return Ok(()) };
        let stream = entered?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Ok(http2::run(stream, requests, limits, &ends).await?)
        } else {
            Ok(http1::run(stream, requests, limits, &ends).await?)
        }
    }
}

/// Errors of the connection that was to be accepted rather than of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
