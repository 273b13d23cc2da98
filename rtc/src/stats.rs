//! Gauges and counters of the whole server.

use std::time::Duration;

use crate::{
    net::{RecvCounters, SendCounters},
    session::{Drops, SessionStats},
};

/// How the server is.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RtcStats {
    /// Threads.
    pub workers: usize,
    /// Publishers, waiting ones included.
    pub publishers: usize,
    /// Players, waiting ones included.
    pub players: usize,
    /// Sessions that have an answer and have not been heard by UDP yet.
    pub waiting: usize,
    /// Sessions whose ICE and DTLS are done.
    pub connected: usize,
    /// Of these, those whose packets are protected by AES-GCM (RFC 7714); the others use AES-CM.
    pub connected_gcm: usize,
    /// Of these, those that come over TCP.
    pub connected_tcp: usize,
    /// What the workers counted, summed.
    pub traffic: Traffic,
    /// What the sessions counted, summed.
    pub sessions: SessionTotals,
}

/// What all sessions have counted since the server started, those that have ended among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionTotals {
    /// Sessions that have ended after they were heard.
    pub ended: u64,
    /// RTP packets that passed authentication.
    pub packets_in: u64,
    /// RTP packets sealed, retransmissions among them.
    pub packets_out: u64,
    /// Padding among these, in bytes.
    pub padding_out: u64,
    /// Packets that never came, as publishers' streams and viewers' reports tell.
    pub lost: u64,
    /// Publishers' packets that a request brought back.
    pub recovered: u64,
    /// Sequence numbers asked for again, of publishers.
    pub nack_sent: u64,
    /// The same by viewers.
    pub nack_received: u64,
    /// Of those, the ones sent again.
    pub nack_served: u64,
    /// Of those, the ones on the retransmission stream (RFC 4588).
    pub nack_served_rtx: u64,
    /// Those not sent again: too old, or asked for too soon.
    pub nack_refused: u64,
    /// Packets sent again unasked, to find out what a path carries.
    pub probes_sent: u64,
    /// Keyframe requests to publishers.
    pub pli_sent: u64,
    /// Keyframe requests of viewers.
    pub pli_received: u64,
    /// Transport-wide feedback to publishers.
    pub twcc_sent: u64,
    /// Receiver reports to publishers.
    pub reports_sent: u64,
    /// STUN messages of peers that are known.
    pub stun_in: u64,
    /// STUN messages to them.
    pub stun_out: u64,
    /// Compound RTCP packets that passed authentication.
    pub rtcp_in: u64,
    /// Compound RTCP packets sealed.
    pub rtcp_out: u64,
    /// How often a peer was followed to another address.
    pub moves: u64,
    /// Datagrams and packets thrown away, by reason.
    pub drops: Drops,
}

impl SessionTotals {
    /// Adds one session's counts.
    pub(crate) fn add(&mut self, stats: &SessionStats) {
        let pairs = [
            (&mut self.packets_in, stats.packets_in),
            (&mut self.packets_out, stats.packets_out),
            (&mut self.padding_out, stats.padding_out),
            (&mut self.lost, stats.lost),
            (&mut self.recovered, stats.recovered),
            (&mut self.nack_sent, stats.nack_sent),
            (&mut self.nack_received, stats.nack_received),
            (&mut self.nack_served, stats.nack_served),
            (&mut self.nack_served_rtx, stats.nack_served_rtx),
            (&mut self.nack_refused, stats.nack_refused),
            (&mut self.probes_sent, stats.probes_sent),
            (&mut self.pli_sent, stats.pli_sent),
            (&mut self.pli_received, stats.pli_received),
            (&mut self.twcc_sent, stats.twcc_sent),
            (&mut self.reports_sent, stats.reports_sent),
            (&mut self.stun_in, stats.stun_in),
            (&mut self.stun_out, stats.stun_out),
            (&mut self.rtcp_in, stats.rtcp_in),
            (&mut self.rtcp_out, stats.rtcp_out),
            (&mut self.moves, stats.moves),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.saturating_add(theirs);
        }
        self.drops.add(&stats.drops);
    }
}

/// What the workers count, since the server started. Every datagram that came in is handed to a
/// peer or counted under one reason.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Batches in.
    pub recv: RecvCounters,
    /// Batches out.
    pub send: SendCounters,
    /// ICE over TCP.
    pub tcp: StreamCounters,
    /// Datagrams that the kernel dropped because a receive buffer was full.
    pub kernel_drops: u64,
    /// Dropped: neither STUN, DTLS, RTP nor RTCP.
    pub unknown: u64,
    /// Dropped: not STUN, and from an address that ICE has not proven.
    pub unproven_tuple: u64,
    /// Dropped: STUN that names no session of ours, or none at all.
    pub unknown_ufrag: u64,
    /// Dropped: STUN from a new address that is malformed or not signed with the session's password.
    pub bad_mac: u64,
    /// Dropped: STUN answers from where nobody was asked.
    pub stray_answers: u64,
    /// Handed to the worker that owns the peer, because the kernel gave it to another.
    pub handed_over: u64,
    /// Dropped: that worker's inbox was full.
    pub inbox_full: u64,
    /// Packets that a worker lost by falling behind a source, times its viewers.
    pub lagged: u64,
    /// Sessions ended because the peer's certificate is not the one of its offer.
    pub bad_fingerprint: u64,
    /// Sessions ended because their DTLS handshake failed in another way.
    pub dtls_failed: u64,
    /// Sessions ended by a panic in their turn. Each is a bug.
    pub panics: u64,
    /// Sessions claimed from the lobby.
    pub claimed: u64,
    /// Turns of the loops.
    pub turns: u64,
    /// How long packets waited for others of their viewer.
    pub gathered: Waits,
    /// Viewers that were sent the last keyframe again, because the publisher makes none when asked.
    pub rejoined: u64,
    /// Frames too large to be sent to a viewer at once, times the viewers.
    pub paced: u64,
    /// The busiest worker's share of its core, in thousandths.
    pub load_permille: u32,
}

/// How long something waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How often.
    pub count: u64,
    /// Microseconds together.
    pub total_us: u64,
    /// The longest of all, in microseconds.
    pub longest_us: u64,
}

impl Waits {
    pub(crate) fn note(&mut self, waited: Duration) {
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.count = self.count.saturating_add(1);
        self.total_us = self.total_us.saturating_add(us);
        self.longest_us = self.longest_us.max(us);
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.total_us = self.total_us.saturating_add(other.total_us);
        self.longest_us = self.longest_us.max(other.longest_us);
    }
}

/// TCP connections and what they carried.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct StreamCounters {
    /// Open now.
    pub open: u64,
    /// Accepted.
    pub accepted: u64,
    /// Closed at once: there were too many, in all or from one address, or too many on their way from
    /// worker to worker.
    pub refused: u64,
    /// Closed: what came was not what a peer of ours says first, or nothing came for five seconds.
    pub unproven: u64,
    /// Closed: a frame longer than any datagram.
    pub too_long: u64,
    /// Closed, the viewer ended: it took nothing for five seconds.
    pub stuck: u64,
    /// Given to the worker that owns the peer.
    pub handed_over: u64,
    /// Datagrams that came in.
    pub frames_in: u64,
    /// Datagrams queued to go out.
    pub frames_out: u64,
    /// Datagrams dropped because the connection's queue was full.
    pub dropped: u64,
    /// Bytes that came in, framing included.
    pub bytes_in: u64,
    /// Bytes that the kernel took, framing included.
    pub bytes_out: u64,
    /// System calls that took something. `frames_out` divided by this: datagrams per write.
    pub writes: u64,
}

impl StreamCounters {
    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.open, other.open),
            (&mut self.accepted, other.accepted),
            (&mut self.refused, other.refused),
            (&mut self.unproven, other.unproven),
            (&mut self.too_long, other.too_long),
            (&mut self.stuck, other.stuck),
            (&mut self.handed_over, other.handed_over),
            (&mut self.frames_in, other.frames_in),
            (&mut self.frames_out, other.frames_out),
            (&mut self.dropped, other.dropped),
            (&mut self.bytes_in, other.bytes_in),
            (&mut self.bytes_out, other.bytes_out),
            (&mut self.writes, other.writes),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.saturating_add(theirs);
        }
    }
}

impl Traffic {
    pub(crate) fn add(&mut self, other: &Self) {
        self.recv.add(&other.recv);
        self.send.add(&other.send);
        self.tcp.add(&other.tcp);
        self.gathered.add(&other.gathered);
        self.load_permille = self.load_permille.max(other.load_permille);
        let pairs = [
            (&mut self.kernel_drops, other.kernel_drops),
            (&mut self.unknown, other.unknown),
            (&mut self.unproven_tuple, other.unproven_tuple),
            (&mut self.unknown_ufrag, other.unknown_ufrag),
            (&mut self.bad_mac, other.bad_mac),
            (&mut self.stray_answers, other.stray_answers),
            (&mut self.handed_over, other.handed_over),
            (&mut self.inbox_full, other.inbox_full),
            (&mut self.lagged, other.lagged),
            (&mut self.bad_fingerprint, other.bad_fingerprint),
            (&mut self.dtls_failed, other.dtls_failed),
            (&mut self.panics, other.panics),
            (&mut self.claimed, other.claimed),
            (&mut self.turns, other.turns),
            (&mut self.paced, other.paced),
            (&mut self.rejoined, other.rejoined),
        ];
        for (mine, theirs) in pairs {
            *mine = mine.saturating_add(theirs);
        }
    }
}
