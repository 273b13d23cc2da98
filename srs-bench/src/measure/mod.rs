//! What the clients see, counted: sessions, packets, frames, latency.
//!
//! An engine's thread has one [`Recorder`], locks it once a turn and notes into the [`Tally`] inside;
//! each media stream of a client has one [`StreamMeter`]. The [`Collector`] adds all tallies up into a
//! [`Snapshot`]. Clients never keep what they received: memory grows with threads and streams only.
//!
//! Latency compares the sender's clock with the receiver's: it is true where both are one machine's,
//! or are kept equal to well within the latency.

mod stamp;
mod stream;
mod tally;

pub use self::{
    stamp::Stamp,
    stream::StreamMeter,
    tally::{Collector, Count, Failure, Recorder, Snapshot, Tally, Times},
};

/// How far a session had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The host's name has no address.
    Resolve,
    /// No TCP connection.
    Connect,
    /// The HTTP request had no answer, or an odd one.
    Http,
    /// The server's session description cannot be used.
    Sdp,
    /// No answer to the connectivity checks.
    Ice,
    /// The DTLS handshake failed.
    Dtls,
    /// The RTMP handshake failed.
    Handshake,
    /// The server said no.
    Refused,
    /// Connected, but no media came in time.
    FirstMedia,
    /// The server ended it in mid-run.
    Ended,
    /// Media stopped coming in mid-run.
    Stalled,
}

impl Stage {
    /// All of them, in the order in which a session goes through them.
    pub const ALL: [Self; 11] = [
        Self::Resolve,
        Self::Connect,
        Self::Http,
        Self::Sdp,
        Self::Ice,
        Self::Dtls,
        Self::Handshake,
        Self::Refused,
        Self::FirstMedia,
        Self::Ended,
        Self::Stalled,
    ];

    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Sdp => "sdp",
            Self::Ice => "ice",
            Self::Dtls => "dtls",
            Self::Handshake => "handshake",
            Self::Refused => "refused",
            Self::FirstMedia => "first-media",
            Self::Ended => "ended",
            Self::Stalled => "stalled",
        }
    }

    /// Whether the session had been connected by then.
    pub const fn after_connected(self) -> bool {
        matches!(self, Self::FirstMedia | Self::Ended | Self::Stalled)
    }
}
