//! What a server grants to a session, whatever its peer offers.

use std::time::Duration;

use super::DtlsRole;

/// Settings of a session, by its vhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Lost packets are asked for and sent again (RFC 4585 section 6.2.1), where the peer does so too.
    /// Default on.
    pub nack: bool,
    /// Transport-wide feedback, where the peer has it. Default on. Without it a publisher finds its rate
    /// by receiver reports, and a viewer's is found out by REMB if it has that.
    pub transport_cc: bool,
    /// Our side of the handshake where the peer leaves the choice. Default passive, which saves it a
    /// round trip.
    pub dtls_role: DtlsRole,
    /// How long a peer that checks nothing any more is sent to, [`CONSENT_MIN`](crate::CONSENT_MIN) to
    /// [`CONSENT_TIMEOUT`](crate::CONSENT_TIMEOUT); others count as the nearer of the two. Default
    /// 30 s.
    pub consent: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { nack: true, transport_cc: true, dtls_role: DtlsRole::Passive, consent: crate::CONSENT_TIMEOUT }
    }
}
