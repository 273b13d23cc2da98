//! Why a session ended.

use crate::session::CloseReason;

/// Why a session ended, whoever ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// Its client deleted it by HTTP.
    Deleted,
    /// The API ended its client.
    Kicked,
    /// Another publisher took its seat.
    Replaced,
    /// The peer said goodbye (DTLS close_notify or a fatal alert).
    PeerClosed,
    /// No authenticated STUN for 30 s (RFC 7675 section 5.1).
    ConsentExpired,
    /// No check came after the answer.
    NeverHeard,
    /// The counter-offer was not answered.
    NeverAnswered,
    /// Checks came, but it was not connected in time.
    SetupTimeout,
    /// The peer's certificate is not the one of its SDP.
    BadFingerprint,
    /// The DTLS handshake failed.
    DtlsFailed,
    /// Its TCP connection took nothing any more.
    Stuck,
    /// The server ended.
    Shutdown,
    /// A bug.
    Panicked,
}

impl EndReason {
    /// One or two lower-case words, the same for ever.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Kicked => "kicked",
            Self::Replaced => "replaced",
            Self::PeerClosed => "close_notify",
            Self::ConsentExpired => "consent_expired",
            Self::NeverHeard => "never_heard",
            Self::NeverAnswered => "never_answered",
            Self::SetupTimeout => "setup_timeout",
            Self::BadFingerprint => "bad_fingerprint",
            Self::DtlsFailed => "dtls_failed",
            Self::Stuck => "stuck",
            Self::Shutdown => "shutdown",
            Self::Panicked => "panic",
        }
    }

    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Deleted => "the client ended it (DELETE)",
            Self::Kicked => "ended through the API",
            Self::Replaced => "another publisher took the stream over",
            Self::PeerClosed => "the client said goodbye (DTLS close_notify)",
            Self::ConsentExpired => "no sign of life: consent expired",
            Self::NeverHeard => "no check ever came",
            Self::NeverAnswered => "the counter-offer was never answered",
            Self::SetupTimeout => "not connected within 15 s",
            Self::BadFingerprint => "the certificate is not the one announced in the SDP",
            Self::DtlsFailed => "the DTLS handshake failed",
            Self::Stuck => "its TCP connection took nothing any more",
            Self::Shutdown => "the server ended",
            Self::Panicked => "a bug in the server",
        }
    }
}

impl From<CloseReason> for EndReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Local => Self::Deleted,
            CloseReason::PeerClosed => Self::PeerClosed,
            CloseReason::ConsentExpired => Self::ConsentExpired,
            CloseReason::SetupTimeout => Self::SetupTimeout,
            CloseReason::BadFingerprint => Self::BadFingerprint,
            CloseReason::DtlsFailed => Self::DtlsFailed,
        }
    }
}
