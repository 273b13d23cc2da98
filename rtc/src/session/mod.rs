//! One peer, sans-IO: ICE, DTLS, SRTP, RTP and RTCP of a publisher or a player.
//!
//! [`Session`] owns all protocol state of one WebRTC peer. It takes datagrams and instants and
//! returns [`Output`]s; it never reads a clock, opens a socket, spawns, locks or logs per packet.
//! Contract: one mutation (`handle_*`, `forward`, `resend`, `request_keyframe`, `close`), then
//! drain [`Session::poll_output`], then sleep until [`Session::poll_timeout`].

mod arrival;
mod clock;
mod config;
mod gaps;
mod history;
mod keyframe;
mod reception;
mod rewrite;
mod stats;

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;
use weir_source::{MediaTime, Packet, TrackId, Tracks};

pub use config::SessionConfig;
pub use stats::{Drops, SessionStats};

use crate::{dtls::Identity, ice::Path, sdp::SessionParams};

/// What a session wants done. Drain after each input.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram from `path.local` to `path.remote`.
    Transmit {
        /// Where it goes, and the local address it goes from.
        path: Path,
        /// The datagram.
        data: Bytes,
    },
    /// ICE and DTLS are done and the keys are there: media may flow. Once per session.
    Connected,
    /// Player: the viewer cannot go on without a keyframe. Call `Source::request_keyframe`.
    KeyframeWanted,
    /// Player: a packet is asked for again. Fetch the ring's item at its position and hand both to
    /// [`Session::resend`].
    Resend(Resend),
    /// Publisher: the tracks became known, or changed. Comes before the packets that need it.
    Tracks(Tracks),
    /// The session is over; nothing follows. Once per session.
    Closed(CloseReason),
}

/// An order to send a packet of the ring again. Made by [`Session::poll_output`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Where the packet was in the ring, as given to [`Session::forward`].
    pub position: u64,
    /// Its track.
    pub track: TrackId,
    /// The sequence number under which the viewer knows it.
    pub(crate) out_seq: u64,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`Session::close`] was called.
    Local,
    /// The peer said goodbye (DTLS close_notify or a fatal alert).
    PeerClosed,
    /// No authenticated STUN for 30 s (RFC 7675 5.1).
    ConsentExpired,
    /// Not connected 15 s after it was made.
    SetupTimeout,
    /// The peer's certificate is not the one that its SDP announced (RFC 8122 6.2).
    BadFingerprint,
    /// The DTLS handshake failed.
    DtlsFailed,
}

/// One WebRTC peer. See the module for the contract of its calls.
pub struct Session {}

impl Session {
    /// A session as negotiated. `made` is `Source::made()`, the zero of the clock on which packets
    /// are stamped; `id` is the peer's trace id, for its log lines.
    pub fn new(_params: SessionParams, _identity: &Identity, _config: &SessionConfig, _now: Instant, _made: Instant, _id: &str) -> Self {
        Self {}
    }

    /// Publisher: the source's timeline already stands at `floor` (`Source::floor()`): the first
    /// packet is stamped after it. Call before the first datagram.
    pub fn set_floor(&mut self, _floor: MediaTime) {}

    /// Player: the tracks of the packets lane as they stand now, and whenever they change: it
    /// chooses payload types by them. Call before the packets that need it.
    pub fn set_tracks(&mut self, _tracks: &Tracks) {}

    /// Player: what follows in `forward` up to `live` (`capture` of the newest packet in the ring)
    /// is backlog, kept since the last keyframe. The viewer gets its pictures fast-forwarded and
    /// its sound from `live` on. Without this call all packets count as live.
    pub fn join(&mut self, _live: MediaTime) {}

    /// Player: the reader of the ring lost packets (`Read::Lagged`): go on at the next keyframe.
    pub fn skip_to_keyframe(&mut self) {}

    /// One datagram from the network. Whatever is bad is counted and dropped. `data` is decrypted
    /// in place.
    pub fn handle_datagram(&mut self, _now: Instant, _remote: SocketAddr, _local: IpAddr, _data: &mut [u8]) {}

    /// Does what has become due by `now`.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Session::handle_timeout`] is wanted next. `None` once closed.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next thing to do, or `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// Publisher: moves what came in since the last call to the end of `out`, ready for
    /// `Publisher::push`.
    pub fn take_packets(&mut self, _out: &mut Vec<Packet>) {}

    /// Publisher: asks the peer for a keyframe (PLI), at most once in 500 ms; wishes in between are
    /// one wish, granted at the end of that time.
    pub fn request_keyframe(&mut self, _now: Instant) {}

    /// Player, the hot path: writes `packet`, which is at `position` of the ring, as SRTP for this
    /// viewer into `out` and returns its length. `None`: not for this viewer. `out` should hold
    /// 1,500 bytes.
    pub fn forward(&mut self, _now: Instant, _position: u64, _packet: &Packet, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// Player: writes a packet again. `packet` is the ring's item at `resend.position`; `None` if it
    /// is another than was sent.
    pub fn resend(&mut self, _resend: &Resend, _packet: &Packet, _out: &mut [u8]) -> Option<usize> {
        None
    }

    /// Where media goes, once ICE has chosen.
    pub fn path(&self) -> Option<Path> {
        None
    }

    /// ICE and DTLS are done, and the session is not over.
    pub fn is_connected(&self) -> bool {
        false
    }

    /// The session is over.
    pub fn is_closed(&self) -> bool {
        false
    }

    /// Ends it: queues close_notify and `Closed(Local)`.
    pub fn close(&mut self, _now: Instant) {}

    /// The counters.
    pub fn stats(&self) -> SessionStats {
        SessionStats::default()
    }
}
