//! Who may come in. Every client of every protocol is asked about before it has a session, a
//! stream's name or a byte of media, and is told of when it has gone.
//!
//! [`Hub::admit`](crate::Hub::admit) asks the [`Gatekeeper`] and gives a [`Pass`]; only with one can a
//! client be entered on the list. The pass is dropped when the client has gone, wherever that
//! happens, and that is what tells the gatekeeper: for each one let in there is exactly one leaving.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Claim, ClientInfo, PublishError, Secret};

/// What a client asks, and what it shows for it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Who it is, and what it wants.
    pub info: Arc<ClientInfo>,
    /// The token of `Authorization: Bearer`, where there was one.
    pub bearer: Option<Secret>,
}

/// Why a client was not let in. The texts are for the client: they name no rule and no other stream.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum Denied {
    /// It showed nothing, or something that is not valid (HTTP: 401).
    #[error("credentials are missing or not valid")]
    Unauthorized,
    /// It may not do this (HTTP: 403).
    #[error("{0}")]
    Forbidden(String),
    /// Its address asked too often (HTTP: 429).
    #[error("too many requests from this address")]
    TooMany {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Whoever decides could not be asked (HTTP: 503).
    #[error("{0}")]
    Unavailable(String),
    /// It may publish, but another one does (HTTP: 409).
    #[error(transparent)]
    Busy(#[from] PublishError),
}

/// How many were not let in, by why.
#[derive(Debug, Default)]
pub struct Denials {
    /// [`Denied::Unauthorized`].
    pub unauthorized: AtomicU64,
    /// [`Denied::Forbidden`].
    pub forbidden: AtomicU64,
    /// [`Denied::TooMany`].
    pub too_many: AtomicU64,
    /// [`Denied::Unavailable`].
    pub unavailable: AtomicU64,
    /// [`Denied::Busy`].
    pub busy: AtomicU64,
}

impl Denials {
    pub(crate) fn note(&self, denied: &Denied) {
        let counter = match denied {
            Denied::Unauthorized => &self.unauthorized,
            Denied::Forbidden(_) => &self.forbidden,
            Denied::TooMany { .. } => &self.too_many,
            Denied::Unavailable(_) => &self.unavailable,
            Denied::Busy(_) => &self.busy,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The answer of a gatekeeper, in its own time.
pub type Verdict = Pin<Box<dyn Future<Output = Result<(), Denied>> + Send>>;

/// Lets clients in. Called from any thread; the `left` calls must not block.
pub trait Gatekeeper: Send + Sync {
    /// What fixed rules say of this client, at once. Asked before anything else, even before it is
    /// looked at whether another one publishes: who is not let in learns nothing of what is there.
    fn check(&self, _visit: &Visit) -> Result<Claim, Denied> {
        Ok(Claim::default())
    }

    /// May this client publish or play? Nothing of it exists yet but its connection, and the rules
    /// have let it pass.
    fn admit(&self, visit: Visit) -> Verdict;

    /// One that was let in has gone, or never got so far as to have media.
    fn left(&self, info: &Arc<ClientInfo>, traffic: &Traffic);

    /// May this RTMP connection go on? It has said `connect`, which names no stream.
    fn admit_connection(&self, _caller: Arc<Caller>) -> Verdict {
        Box::pin(std::future::ready(Ok(())))
    }

    /// An RTMP connection that was let in has been closed.
    fn closed(&self, _caller: &Arc<Caller>, _traffic: &Traffic) {}
}

/// An RTMP connection at its `connect`, before it asks for a stream.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The trace id, and the id of the client that the connection becomes.
    pub id: String,
    /// Its address.
    pub ip: std::net::IpAddr,
    /// The vhost it named, as this server knows it.
    pub vhost: String,
    /// The app it named.
    pub app: String,
    /// `tcUrl` without its query.
    pub url: String,
    /// `pageUrl` without its query.
    pub page_url: String,
    /// The query of `tcUrl` with its `?`; empty without one.
    pub param: Secret,
}

/// Bytes that went either way, as the server sees it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// To the client.
    pub sent: AtomicU64,
    /// From the client.
    pub received: AtomicU64,
}

impl Traffic {
    /// Bytes sent and received so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// The right of one client to come in. Dropped unused or when the client goes, it tells the
/// gatekeeper.
pub struct Pass {
    info: Arc<ClientInfo>,
    claim: Claim,
    traffic: Arc<Traffic>,
    keeper: Option<Arc<dyn Gatekeeper>>,
}

impl Pass {
    /// A pass of nobody's: for servers without a gatekeeper, and for tests.
    pub fn free(info: ClientInfo) -> Self {
        Self { info: Arc::new(info), claim: Claim::default(), traffic: Arc::default(), keeper: None }
    }

    pub(crate) async fn ask(keeper: Option<Arc<dyn Gatekeeper>>, visit: Visit, claim: Claim) -> Result<Self, Denied> {
        let info = Arc::clone(&visit.info);
        if let Some(keeper) = &keeper {
            keeper.admit(visit).await?;
        }
        Ok(Self { info, claim, traffic: Arc::default(), keeper })
    }

    /// Whose it is.
    pub fn info(&self) -> &Arc<ClientInfo> {
        &self.info
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.left(&self.info, &self.traffic);
        }
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("info", &self.info).finish_non_exhaustive()
    }
}

/// The right of one RTMP connection to go on. Dropped when it is closed.
pub struct ConnectionPass {
    caller: Arc<Caller>,
    traffic: Traffic,
    keeper: Option<Arc<dyn Gatekeeper>>,
}

impl ConnectionPass {
    pub(crate) async fn ask(keeper: Option<Arc<dyn Gatekeeper>>, caller: Caller) -> Result<Self, Denied> {
        let caller = Arc::new(caller);
        if let Some(keeper) = &keeper {
            keeper.admit_connection(Arc::clone(&caller)).await?;
        }
        Ok(Self { caller, traffic: Traffic::default(), keeper })
    }

    /// What the connection has carried, to be counted by its owner.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }
}

impl Drop for ConnectionPass {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.closed(&self.caller, &self.traffic);
        }
    }
}
