//! ICE, DTLS and SRTP of one peer: datagrams in, plain RTP and RTCP out of them, and back.
//!
//! It owns all keys. Nothing but STUN is read before ICE has chosen a path, and DTLS is spoken on
//! that path only, so that nobody gets an answer who has not shown the ICE password.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;

use super::{
    output::{CloseReason, Compounds, Output, Outputs},
    stats::SessionStats,
};
use crate::{
    dtls::{Dtls, DtlsError, DtlsEvent, Identity, KeyingMaterial},
    ice::{IceLite, Path},
    sdp::SessionParams,
    srtp::{KeyError, Protect, Unprotect},
    wire::demux::{Class, classify},
};

/// What a datagram came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Its first `len` bytes are a plain RTP packet with this SRTP index.
    Rtp {
        /// Extended sequence number.
        index: u64,
        /// Length in bytes.
        len: usize,
    },
    /// Its first `len` bytes are a plain compound RTCP packet.
    Rtcp {
        /// Length in bytes.
        len: usize,
    },
    /// Keys were agreed.
    Connected,
    /// The session is over.
    Over(CloseReason),
    /// Nothing for the layers above.
    Nothing,
}

/// Session keys of both directions.
pub(super) struct Keys {
    pub(super) protect: Protect,
    unprotect: Unprotect,
}

impl Keys {
    fn new(material: &KeyingMaterial) -> Result<Self, KeyError> {
        Ok(Self {
            protect: Protect::new(material.profile, &material.local_key, &material.local_salt)?,
            unprotect: Unprotect::new(material.profile, &material.remote_key, &material.remote_salt)?,
        })
    }
}

/// One peer's transport.
pub(super) struct Transport {
    ice: IceLite,
    dtls: Dtls,
    pub(super) keys: Option<Keys>,
    sealed: Vec<u8>,
}

impl Transport {
    pub(super) fn new(params: &SessionParams, identity: &Identity, now: Instant) -> Self {
        Self {
            ice: IceLite::new(params.local_ice.clone(), params.remote_ice.clone(), now),
            dtls: Dtls::new(identity, params.dtls_role, params.remote_fingerprints.clone(), now),
            keys: None,
            sealed: Vec::new(),
        }
    }

    /// Where media goes.
    pub(super) fn path(&self) -> Option<Path> {
        self.ice.selected()
    }

    /// The peer has not shown for too long that it wants to hear from us (RFC 7675 5.1).
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.ice.expired(now)
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local: IpAddr,
        data: &mut [u8],
        outputs: &mut Outputs,
        stats: &mut SessionStats,
    ) -> Incoming {
        match classify(data) {
            Class::Stun => {
                let reply = self.ice.handle_request(now, remote, local, data);
                match reply.reply {
                    Some(data) => outputs.push(Output::Transmit { path: Path { remote, local }, data }),
                    None => stats.drops.stun += 1,
                }
                // A DTLS client's first flight has waited for the path.
                self.drain_dtls(outputs, stats)
            }
            _ if self.path().is_none() => {
                stats.drops.unproven += 1;
                Incoming::Nothing
            }
            Class::Dtls => {
                self.dtls.handle_datagram(now, data);
                self.drain_dtls(outputs, stats)
            }
            Class::Rtp | Class::Rtcp if self.keys.is_none() => {
                stats.drops.early += 1;
                Incoming::Nothing
            }
            Class::Rtp => match self.keys.as_mut().map(|keys| keys.unprotect.rtp(data)) {
                Some(Ok(opened)) => Incoming::Rtp { index: opened.index, len: opened.plain_len },
                _ => {
                    stats.drops.srtp += 1;
                    Incoming::Nothing
                }
            },
            Class::Rtcp => match self.keys.as_mut().map(|keys| keys.unprotect.rtcp(data)) {
                Some(Ok(len)) => Incoming::Rtcp { len },
                _ => {
                    stats.drops.srtp += 1;
                    Incoming::Nothing
                }
            },
            Class::Unknown => {
                stats.drops.unknown += 1;
                Incoming::Nothing
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) -> Incoming {
        if self.dtls.poll_timeout().is_some_and(|due| due <= now) {
            self.dtls.handle_timeout(now);
        }
        self.drain_dtls(outputs, stats)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.dtls.poll_timeout()
    }

    /// Says goodbye, if there is anybody to say it to.
    pub(super) fn close(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) {
        self.dtls.close(now);
        self.drain_dtls(outputs, stats);
    }

    /// Seals compound RTCP packets and queues them.
    pub(super) fn send_rtcp(&mut self, compounds: &Compounds, outputs: &mut Outputs, stats: &mut SessionStats) {
        let (Some(path), Some(keys)) = (self.ice.selected(), &mut self.keys) else { return };
        for plain in compounds.iter() {
            self.sealed.clear();
            if keys.protect.rtcp(plain, &mut self.sealed) {
                stats.bytes_out += self.sealed.len() as u64;
                outputs.push(Output::Transmit { path, data: Bytes::copy_from_slice(&self.sealed) });
            }
        }
    }

    fn drain_dtls(&mut self, outputs: &mut Outputs, stats: &mut SessionStats) -> Incoming {
        // Without a path the flight stays where it is.
        if let Some(path) = self.path() {
            while let Some(data) = self.dtls.poll_transmit() {
                stats.bytes_out += data.len() as u64;
                outputs.push(Output::Transmit { path, data });
            }
        }
        let mut incoming = Incoming::Nothing;
        while let Some(event) = self.dtls.poll_event() {
            incoming = match event {
                DtlsEvent::Connected(material) => match Keys::new(&material) {
                    Ok(keys) => {
                        stats.profile = Some(material.profile);
                        self.keys = Some(keys);
                        Incoming::Connected
                    }
                    Err(_) => Incoming::Over(CloseReason::DtlsFailed),
                },
                DtlsEvent::Closed => Incoming::Over(CloseReason::PeerClosed),
                DtlsEvent::Failed(DtlsError::BadFingerprint) => Incoming::Over(CloseReason::BadFingerprint),
                DtlsEvent::Failed(_) => Incoming::Over(CloseReason::DtlsFailed),
            };
            if matches!(incoming, Incoming::Over(_)) {
                break;
            }
        }
        incoming
    }
}
