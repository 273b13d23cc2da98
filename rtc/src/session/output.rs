//! What a session wants done, and the queue it waits in.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_source::{TrackId, Tracks};

use crate::ice::Path;

/// Outputs that wait to be drained. The largest honest burst is a NACK for the whole history's
/// credit (some hundred small packets); beyond this outputs are dropped and counted.
const OUTPUTS_MAX: usize = 1_024;

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
    /// Player: the viewer cannot go on without a keyframe of this track, or wants to change to it. Call
    /// `Source::request_keyframe_of`.
    KeyframeWanted(TrackId),
    /// Player: a packet is asked for again. Fetch the ring's item at its position and hand both to
    /// [`Session::resend`](super::Session::resend).
    Resend(Resend),
    /// Publisher: the tracks became known, or changed. Apply before the next
    /// [`Session::take_packets`](super::Session::take_packets).
    Tracks(Tracks),
    /// The session is over; nothing follows. Once per session.
    Closed(CloseReason),
}

/// An order to send a packet of the ring again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Where the packet was in the ring, as given to [`Session::forward`](super::Session::forward).
    pub position: u64,
    /// Its track.
    pub track: TrackId,
    /// The extended sequence number under which the viewer knows it.
    pub(crate) out_seq: u64,
    /// Nobody asked for it: it shows what the path carries.
    pub(crate) probe: bool,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// [`Session::close`](super::Session::close) was called.
    #[error("closed by the server")]
    Local,
    /// The peer said goodbye (DTLS close_notify or a fatal alert).
    #[error("closed by the peer")]
    PeerClosed,
    /// No authenticated STUN for as long as consent lasts (RFC 7675 5.1).
    #[error("no sign of life")]
    ConsentExpired,
    /// Not connected 15 s after it was made.
    #[error("not connected within 15 s")]
    SetupTimeout,
    /// The peer's certificate is not the one that its SDP announced (RFC 8122 6.2).
    #[error("the certificate is not the one announced in the SDP")]
    BadFingerprint,
    /// The DTLS handshake failed, or gave keys that cannot be used.
    #[error("the DTLS handshake failed")]
    DtlsFailed,
}

/// Plain compound RTCP packets on their way to be sealed, back to back in one buffer.
#[derive(Debug, Default)]
pub(super) struct Compounds {
    /// Write packets here, then call [`Compounds::end`].
    pub(super) data: Vec<u8>,
    ends: Vec<usize>,
}

impl Compounds {
    /// What was written since the last end is one compound packet. Nothing is none.
    pub(super) fn end(&mut self) {
        if self.data.len() > self.ends.last().copied().unwrap_or(0) {
            self.ends.push(self.data.len());
        }
    }

    /// Takes back what was written since the last end.
    pub(super) fn discard(&mut self) {
        self.data.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// The packets in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.data.get(start..*end))
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    dropped: u64,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        // The end must be heard whatever else is.
        if self.queue.len() >= OUTPUTS_MAX && !matches!(output, Output::Closed(_)) {
            self.dropped += 1;
            return;
        }
        self.queue.push_back(output);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// How many were dropped since the session was made.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}
