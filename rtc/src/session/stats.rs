//! What a session counts. Plain integers, copied out whole; a session never logs per packet.

use std::time::Duration;

use weir_source::Layer;

use super::Milestones;
use crate::srtp::SrtpProfile;

/// Counters and gauges of one session since it was made. Publisher and player count the same
/// things from their own side: what does not apply stays zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionStats {
    /// RTP packets that passed authentication.
    pub packets_in: u64,
    /// Bytes of all datagrams handed in.
    pub bytes_in: u64,
    /// RTP packets sealed, retransmissions among them.
    pub packets_out: u64,
    /// Bytes of RTP and RTCP made to be sent.
    pub bytes_out: u64,
    /// Padding among these: what makes packets equally long for UDP_SEGMENT.
    pub padding_out: u64,
    /// Publisher: packets that never came (RFC 3550 6.4.1, cumulative, all streams). Player: the
    /// sum of its last receiver reports.
    pub lost: u64,
    /// Sequence numbers asked for again.
    pub nack_sent: u64,
    /// Sequence numbers that the viewer asked for again.
    pub nack_received: u64,
    /// Of those, the ones handed out as [`Output::Resend`](super::Output::Resend) and sent.
    pub nack_served: u64,
    /// Of those, the ones that went on the retransmission stream (RFC 4588); the others went under
    /// their own number once more.
    pub nack_served_rtx: u64,
    /// Packets sent again unasked, to find out what the path carries.
    pub probes_sent: u64,
    /// What the viewer's path carries, in bits per second, where it is being found out.
    pub estimate: Option<u64>,
    /// Of the numbers asked for again, the ones no longer (or never) in the history, or asked for again too soon.
    pub nack_refused: u64,
    /// Publisher: packets that a NACK brought back.
    pub recovered: u64,
    /// Keyframe requests sent to the publisher.
    pub pli_sent: u64,
    /// Keyframe requests (PLI, FIR) from the viewer.
    pub pli_received: u64,
    /// Transport-wide feedback sent to the publisher.
    pub twcc_sent: u64,
    /// Receiver reports sent to the publisher.
    pub reports_sent: u64,
    /// STUN messages from the peer.
    pub stun_in: u64,
    /// STUN messages made for it: answers, and checks of our own.
    pub stun_out: u64,
    /// Compound RTCP packets that passed authentication.
    pub rtcp_in: u64,
    /// Compound RTCP packets sealed.
    pub rtcp_out: u64,
    /// Round trip, once known: a player's by RTCP, a publisher's guessed from its retransmissions.
    pub rtt: Option<Duration>,
    /// Interarrival jitter: our own measure of a publisher's video (else audio), or what the viewer
    /// last reported.
    pub jitter: Duration,
    /// Packets taken from an address that no check had come from yet: a publisher's media, a viewer's
    /// reports.
    pub roamed: u64,
    /// Checks of our own that asked an address whether the peer is there.
    pub checks_sent: u64,
    /// How often the peer was followed to another address.
    pub moves: u64,
    /// Its media goes over a TCP connection.
    pub over_tcp: bool,
    /// Datagrams and packets thrown away, by reason.
    pub drops: Drops,
    /// SRTP profile in use, once DTLS is done.
    pub profile: Option<SrtpProfile>,
    /// Player of a simulcast picture: which layer it gets.
    pub layer: Option<LayerStats>,
    /// When what happened first.
    pub milestones: Milestones,
}

/// Which simulcast layer a viewer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerStats {
    /// What it is being sent; `None` while it waits for a keyframe.
    pub current: Option<Layer>,
    /// The name of the layer that it should get: it begins with the next keyframe.
    pub wanted: String,
    /// Why that one.
    pub reason: LayerReason,
    /// Bits per second that its line carries of video, as far as is known.
    pub budget_bps: Option<u64>,
    /// The highest temporal layer sent, where not all are.
    pub temporal_max: Option<u8>,
}

/// Why a viewer gets the simulcast layer that it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerReason {
    /// There is no other.
    Only,
    /// It is the best.
    Best,
    /// The viewer asked for none better.
    Asked,
    /// Its line does not carry a better one.
    Bandwidth,
    /// The publisher sends no better one now.
    Missing,
}

impl LayerReason {
    /// One lower-case word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Best => "best",
            Self::Asked => "asked",
            Self::Bandwidth => "bandwidth",
            Self::Missing => "missing",
        }
    }
}

/// Why something was thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Neither STUN, DTLS, RTP nor RTCP.
    pub unknown: u64,
    /// STUN that was malformed, or failed authentication.
    pub stun: u64,
    /// DTLS, RTP or RTCP from an address that ICE has not proven.
    pub unproven: u64,
    /// RTP or RTCP before the keys were there.
    pub early: u64,
    /// SRTP or SRTCP that failed authentication.
    pub srtp: u64,
    /// RTP or RTCP that did not parse.
    pub malformed: u64,
    /// RTP whose SSRC and payload type belong to no media section, or one SSRC too many.
    pub unbound: u64,
    /// RTP or RTCP seen before, or too old to be of use.
    pub duplicate: u64,
    /// RTP without payload (probing). Counted, of no further use.
    pub padding: u64,
    /// Received packets that the owner did not take in time.
    pub overflow: u64,
    /// Player: packets of a codec that was not negotiated.
    pub codec: u64,
    /// Player: packets before the first keyframe (or the first one of a new publisher).
    pub waiting: u64,
    /// Player: packets too large for the buffer given.
    pub too_large: u64,
    /// Outputs that did not fit the session's queue.
    pub output: u64,
}

impl Drops {
    /// All reasons with their names.
    pub const fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("unknown", self.unknown),
            ("stun", self.stun),
            ("unproven", self.unproven),
            ("early", self.early),
            ("srtp", self.srtp),
            ("malformed", self.malformed),
            ("unbound", self.unbound),
            ("duplicate", self.duplicate),
            ("padding", self.padding),
            ("overflow", self.overflow),
            ("codec", self.codec),
            ("waiting", self.waiting),
            ("too_large", self.too_large),
            ("output", self.output),
        ]
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.named().into_iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Adds another's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        let mine = [
            &mut self.unknown,
            &mut self.stun,
            &mut self.unproven,
            &mut self.early,
            &mut self.srtp,
            &mut self.malformed,
            &mut self.unbound,
            &mut self.duplicate,
            &mut self.padding,
            &mut self.overflow,
            &mut self.codec,
            &mut self.waiting,
            &mut self.too_large,
            &mut self.output,
        ];
        for (mine, (_, theirs)) in mine.into_iter().zip(other.named()) {
            *mine = mine.saturating_add(theirs);
        }
    }
}
