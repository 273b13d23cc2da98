//! Why the server does not start or a session is not opened.

use std::{io, net::SocketAddr};

use crate::{dtls::IdentityError, sdp::NegotiateError};

/// Why [`RtcServer::start`](crate::RtcServer::start) failed. The operator is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No address, more than four, or one IP twice.
    #[error("rtc_server listens on 1 to 4 addresses, each IP once")]
    Listen,
    /// Another process (or another server in this one) holds the address.
    #[error("udp://{0} is in use by another program")]
    AddressInUse(SocketAddr),
    /// The kernel refused a socket.
    #[error("cannot open udp://{addr}: {error}")]
    Socket {
        /// Which.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Another process holds the TCP address.
    #[error("tcp://{0} is in use by another program")]
    TcpInUse(SocketAddr),
    /// The kernel refused a listener.
    #[error("cannot open tcp://{addr}: {error}")]
    Listener {
        /// Which.
        addr: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Answers are to name TCP candidates only, and nothing listens on TCP.
    #[error("rtc_server.protocol names TCP, so rtc_server.tcp must be enabled")]
    NoListener,
    /// A thread or an eventfd was refused.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    /// The interfaces could not be listed, or none is usable.
    #[error("no address to offer to clients; set a candidate: {0}")]
    Candidates(io::Error),
    /// No certificate.
    #[error("cannot make the DTLS certificate: {0}")]
    Identity(#[from] IdentityError),
}

/// Why [`RtcHandle::open`](crate::RtcHandle::open) refused. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The offer cannot be answered: the client's fault.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
    /// Another publisher holds the name and is sending: HTTP 409, SRS 1028.
    #[error("the stream is being published by another client")]
    StreamBusy,
    /// A limit of sessions is reached: HTTP 503, retry later.
    #[error("the server has as many sessions as it may")]
    TooManySessions,
    /// The ICE credentials asked for are malformed or belong to a living session.
    #[error("the ICE credentials asked for cannot be used")]
    BadIce,
    /// The server is about to end: HTTP 503.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Why [`RtcHandle::answer`](crate::RtcHandle::answer) refused. The offer stands as it did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// It has ended or never was.
    #[error("there is no such session")]
    NoSession,
    /// It was made no offer, or has answered it.
    #[error("no offer of this session waits for an answer")]
    NotAsked,
    /// The answer does not fit the offer: the client's fault.
    #[error(transparent)]
    Negotiate(#[from] NegotiateError),
}

/// Why [`RtcHandle::restart_ice`](crate::RtcHandle::restart_ice) refused. The session goes on as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// It has ended or never was.
    #[error("there is no such session")]
    NoSession,
    /// Another restart came in between.
    #[error("the session has another ETag by now")]
    Changed,
}
