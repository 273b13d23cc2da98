//! Everything that accepts TCP connections: an entry for each kind and address, which can come and
//! go while the others serve.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir_bridge::rtmp::{self, RtmpConfig};
use weir_source::Hub;
use weir_web::{AppState, ServeLimits};

use crate::process;

/// What is served at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// RTMP.
    Rtmp,
    /// The same over TLS.
    Rtmps,
    /// The API, WHIP and WHEP.
    HttpApi,
    /// Streams, pages and files.
    HttpServer,
    /// Both, where they have one port.
    HttpBoth,
    /// The API over TLS.
    HttpsApi,
    /// Streams, pages and files over TLS.
    HttpsServer,
    /// Both over TLS, where they have one port.
    HttpsBoth,
    /// Metrics.
    Exporter,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "RTMP",
            Self::HttpApi => "the HTTP API",
            Self::HttpServer => "the HTTP server",
            Self::HttpBoth => "the HTTP API and server",
            Self::Rtmps => "RTMPS",
            Self::HttpsApi => "the HTTPS API",
            Self::HttpsServer => "the HTTPS server",
            Self::HttpsBoth => "the HTTPS API and server",
            Self::Exporter => "the exporter",
        }
    }

    /// Its clients come by connections of their own kind and by no other way: while the server drains
    /// it is closed. HTTP stays, to say that there is no room, and to serve those who are there.
    const fn closes_for_drain(self) -> bool {
        matches!(self, Self::Rtmp | Self::Rtmps)
    }
}

/// A kind at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Listen {
    pub(crate) kind: Kind,
    pub(crate) addr: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind.name(), self.addr)
    }
}

/// What the accept loops serve with.
pub(crate) struct Services {
    pub(crate) hub: Arc<Hub>,
    pub(crate) rtmp: Arc<ArcSwap<RtmpConfig>>,
    pub(crate) limits: Arc<ArcSwap<ServeLimits>>,
    pub(crate) state: AppState,
}

/// All of them.
pub(crate) struct Listeners {
    services: Services,
    live: BTreeMap<Listen, Entry>,
    /// Accept loops, those of retired listeners with connections left among them.
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Entry {
    /// Ends the accepting; connections stay.
    retire: CancellationToken,
    /// A second handle of the socket, for another kind that follows at this address.
    socket: StdListener,
}

/// Sockets that listen, with nobody accepting yet. Dropping them closes them.
pub(crate) struct Bound(Vec<(Listen, StdListener)>);

/// Why an address could not be listened at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("{} cannot listen on {}: {}", .0.kind.name(), .0.addr, process::in_use(.0.addr))]
    InUse(Listen),
    #[error("{} cannot listen on {}: this server listens on {by} (restart it for this change)", .listen.kind.name(), .listen.addr)]
    Ours { listen: Listen, by: SocketAddr },
    #[error("{} cannot listen on {}: {error}", .listen.kind.name(), .listen.addr)]
    Io { listen: Listen, error: io::Error },
}

impl Listeners {
    /// None yet. `stop` ends all and their connections.
    pub(crate) fn new(services: Services, stop: CancellationToken) -> Self {
        Self { services, live: BTreeMap::new(), tasks: TaskTracker::new(), stop }
    }

    /// Which there are.
    #[cfg(test)]
    pub(crate) fn list(&self) -> BTreeSet<Listen> {
        self.live.keys().copied().collect()
    }

    /// Binds those of `wanted` that are not there yet. All or none; nobody notices.
    pub(crate) async fn bind(&self, wanted: &BTreeSet<Listen>) -> Result<Bound, BindError> {
        let mut bound = Vec::new();
        for listen in wanted.iter().filter(|listen| !self.live.contains_key(*listen)) {
            bound.push((*listen, self.socket_for(*listen).await?));
        }
        Ok(Bound(bound))
    }

    async fn socket_for(&self, listen: Listen) -> Result<StdListener, BindError> {
        let failed = |error| BindError::Io { listen, error };
        if let Some((_, entry)) = self.live.iter().find(|(other, _)| other.addr == listen.addr) {
            return entry.socket.try_clone().map_err(failed);
        }
        match TcpListener::bind(listen.addr).await {
            Ok(listener) => listener.into_std().map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let ours = self.live.keys().find(|other| overlap(other.addr, listen.addr));
                Err(ours.map_or(BindError::InUse(listen), |other| BindError::Ours { listen, by: other.addr }))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Accepts at `bound`, and no longer where `wanted` does not say so.
    pub(crate) fn change(&mut self, bound: Bound, wanted: &BTreeSet<Listen>) -> io::Result<()> {
        let gone: Vec<Listen> = self.live.keys().filter(|listen| !wanted.contains(listen)).copied().collect();
        for listen in gone {
            let stays = bound.0.iter().any(|(other, _)| other.addr == listen.addr);
            self.retire(listen, stays);
        }
        for (listen, socket) in bound.0 {
            let listener = TcpListener::from_std(socket.try_clone()?)?;
            let retire = self.stop.child_token();
            self.serve(listen.kind, listener, retire.clone());
            tracing::info!("{listen} begins");
            self.live.insert(listen, Entry { retire, socket });
        }
        Ok(())
    }

    /// The one place where a kind of listener meets its protocol.
    fn serve(&self, kind: Kind, listener: TcpListener, retire: CancellationToken) {
        let Services { hub, rtmp, limits, state } = &self.services;
        let (hub, rtmp, limits, stop) = (Arc::clone(hub), Arc::clone(rtmp), Arc::clone(limits), self.stop.clone());
        let router = || match kind {
            Kind::HttpApi | Kind::HttpsApi => weir_web::api_router(state.clone()),
            Kind::HttpServer | Kind::HttpsServer => weir_web::http_router(state.clone()),
            Kind::Exporter => weir_web::exporter_router(state.clone()),
            _ => weir_web::combined_router(state.clone()),
        };
        // A listener that speaks TLS is wanted only together with its section's certificate.
        let certificates = &state.certificates;
        match kind {
            Kind::Rtmp => _ = self.tasks.spawn(rtmp::serve(listener, hub, rtmp, retire, stop)),
            Kind::Rtmps => {
                if let Some(door) = certificates.rtmp_door("rtmps") {
                    self.tasks.spawn(rtmp::serve_behind(door, listener, hub, rtmp, retire, stop));
                }
            }
            Kind::HttpApi | Kind::HttpServer | Kind::HttpBoth | Kind::Exporter => {
                self.tasks.spawn(weir_web::serve(listener, router(), limits, retire, stop));
            }
            Kind::HttpsApi | Kind::HttpsServer | Kind::HttpsBoth => {
                let section = if kind == Kind::HttpsApi { "http_api" } else { "http_server" };
                if let Some(door) = certificates.http_door(section) {
                    self.tasks.spawn(weir_web::serve_tls(listener, door, router(), limits, retire, stop));
                }
            }
        }
    }

    fn retire(&mut self, listen: Listen, stays: bool) {
        let Some(entry) = self.live.remove(&listen) else { return };
        tracing::info!("{listen} ends");
        entry.retire.cancel();
        if !stays {
            // The accept loop lets go of its handle a moment later, but the address is free now.
            let _is_closed_anyway = rustix::net::shutdown(&entry.socket, rustix::net::Shutdown::Both);
        }
    }

    /// Closes those that need not say why.
    pub(crate) fn drain(&mut self) {
        let closing: Vec<Listen> = self.live.keys().filter(|listen| listen.kind.closes_for_drain()).copied().collect();
        closing.into_iter().for_each(|listen| self.retire(listen, false));
    }

    /// Waits for all accept loops to end; `stop` must have been cancelled.
    pub(crate) async fn finish(mut self) {
        self.live.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Two addresses that one machine cannot listen at by two sockets.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (any || one.ip() == other.ip())
}
