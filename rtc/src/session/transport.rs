//! ICE, DTLS and SRTP of one peer: datagrams in, plain RTP and RTCP out of them, and back.
//!
//! It owns all keys. Nothing but STUN is read before ICE has chosen a path, and DTLS is spoken on
//! that path only, so that nobody gets an answer who has not shown the ICE password. Media from an
//! address without a check is tried on the keys: what opens is the peer's, which has moved.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;

use super::{
    output::{CloseReason, Compounds, Output, Outputs},
    stats::SessionStats,
};
use crate::{
    dtls::{Dtls, DtlsError, DtlsEvent, Identity, KeyingMaterial},
    ice::{IceEvent, IceLite, Path},
    sdp::{Direction, DtlsRole, Fingerprint, IceCredentials, SessionParams},
    srtp::{KeyError, Protect, Unprotect, UnprotectError},
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
    /// The same, and nothing else has changed: neither the peer's place nor what is due.
    MoreRtp {
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
    dtls: Handshake,
    pub(super) keys: Option<Keys>,
    /// It publishes.
    may_roam: bool,
    sealed: Vec<u8>,
}

/// DTLS starts with the first proven path: its clock runs from there, and an active one speaks at once.
enum Handshake {
    Waiting { identity: Identity, role: DtlsRole, remote: Vec<Fingerprint> },
    Running(Box<Dtls>),
}

impl Handshake {
    fn start(&mut self, now: Instant) {
        if let Self::Waiting { identity, role, remote } = self {
            *self = Self::Running(Box::new(Dtls::new(identity, *role, std::mem::take(remote), now)));
        }
    }

    fn get(&mut self) -> Option<&mut Dtls> {
        if let Self::Running(dtls) = self { Some(dtls) } else { None }
    }
}

impl Transport {
    pub(super) fn new(params: &SessionParams, identity: &Identity, now: Instant) -> Self {
        let mut ice = IceLite::new(params.local_ice.clone(), params.remote_ice.clone(), now);
        ice.set_consent(params.terms.consent);
        Self {
            ice,
            dtls: Handshake::Waiting {
                identity: identity.clone(),
                role: params.dtls_role,
                remote: params.remote_fingerprints.clone(),
            },
            keys: None,
            may_roam: params.direction == Direction::Publish,
            sealed: Vec::new(),
        }
    }

    /// Where media goes.
    pub(super) fn path(&self) -> Option<Path> {
        self.ice.path()
    }

    /// Forgets the addresses that the peer has left.
    pub(super) fn forget_left(&mut self, now: Instant) {
        self.ice.forget_left(now);
    }

    /// See [`IceLite::is_around`].
    pub(super) fn is_around(&self, now: Instant, remote: &SocketAddr) -> bool {
        self.ice.is_around(now, remote)
    }

    /// Whether `data` looks like the peer's next report. Nothing is proven.
    pub(super) fn expects_report(&self, data: &[u8]) -> bool {
        self.keys.as_ref().is_some_and(|keys| keys.unprotect.expects_rtcp(data))
    }

    /// Where media came from last.
    pub(super) fn home(&self) -> Option<Path> {
        self.ice.home()
    }

    /// New ICE credentials of both sides.
    pub(super) fn restart_ice(&mut self, local: IceCredentials, remote: IceCredentials) {
        self.ice.restart(local, remote);
    }

    /// A connection has ended.
    pub(super) fn handle_lost(&mut self, now: Instant, path: Path, stats: &mut SessionStats) {
        moved(self.ice.handle_lost(now, path), stats);
    }

    /// When the peer's consent to hear from us ends (RFC 7675 5.1), unless it shows more of it.
    pub(super) fn consent_until(&self) -> Instant {
        self.ice.expires_at()
    }

    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        data: &mut [u8],
        outputs: &mut Outputs,
        stats: &mut SessionStats,
    ) -> Incoming {
        let class = classify(data);
        if class == Class::Rtp
            && self.ice.is_calm_on(&path)
            && let Some(keys) = &mut self.keys
        {
            return match keys.unprotect.rtp(data) {
                Ok(opened) => {
                    self.ice.handle_more_media(now);
                    Incoming::MoreRtp { index: opened.index, len: opened.plain_len }
                }
                Err(error) => refused(error, stats),
            };
        }
        let incoming = match class {
            Class::Stun => {
                self.handle_stun(now, path, data, outputs, stats);
                self.drain_dtls(now, outputs, stats)
            }
            class if !self.ice.is_proven(&path) => self.handle_roaming(now, path, class, data, stats),
            Class::Dtls => {
                if let Some(dtls) = self.dtls.get() {
                    stats.milestones.shaking.get_or_insert(now);
                    dtls.handle_datagram(now, data);
                }
                self.drain_dtls(now, outputs, stats)
            }
            Class::Rtp | Class::Rtcp if self.keys.is_none() => {
                stats.drops.early += 1;
                Incoming::Nothing
            }
            Class::Rtp => match self.keys.as_mut().map(|keys| keys.unprotect.rtp(data)) {
                Some(Ok(opened)) => {
                    moved(self.ice.handle_media(now, path, opened.newest), stats);
                    Incoming::Rtp { index: opened.index, len: opened.plain_len }
                }
                Some(Err(error)) => refused(error, stats),
                None => Incoming::Nothing,
            },
            Class::Rtcp => match self.keys.as_mut().map(|keys| keys.unprotect.rtcp(data)) {
                Some(Ok(opened)) => {
                    stats.rtcp_in += 1;
                    moved(self.ice.handle_media(now, path, opened.newest), stats);
                    Incoming::Rtcp { len: opened.plain_len }
                }
                Some(Err(error)) => refused(error, stats),
                None => Incoming::Nothing,
            },
            Class::Unknown => {
                stats.drops.unknown += 1;
                Incoming::Nothing
            }
        };
        self.send_checks(now, outputs, stats);
        incoming
    }

    /// Media from where no check came from: a NAT forgot its peer, whose next check may be seconds
    /// away. What authenticates is the peer's own, whoever sent it, and the address is asked; all else
    /// is not looked at.
    fn handle_roaming(&mut self, now: Instant, path: Path, class: Class, data: &mut [u8], stats: &mut SessionStats) -> Incoming {
        let opened = self.keys.as_mut().and_then(|keys| match class {
            Class::Rtp if self.may_roam => {
                let opened = keys.unprotect.rtp(data).ok()?;
                Some((Incoming::Rtp { index: opened.index, len: opened.plain_len }, opened.newest))
            }
            Class::Rtcp => {
                let opened = keys.unprotect.rtcp(data).ok()?;
                Some((Incoming::Rtcp { len: opened.plain_len }, opened.newest))
            }
            _ => None,
        });
        let Some((incoming, newest)) = opened else {
            stats.drops.unproven += 1;
            return Incoming::Nothing;
        };
        stats.roamed += 1;
        moved(self.ice.handle_media(now, path, newest), stats);
        incoming
    }

    /// Asks where the peer seems to be.
    #[inline]
    fn send_checks(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) {
        while let Some((path, data)) = self.ice.poll_check(now) {
            stats.checks_sent += 1;
            stats.stun_out += 1;
            outputs.push(Output::Transmit { path, data: data.into() });
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) -> Incoming {
        moved(self.ice.handle_timeout(now), stats);
        if let Some(dtls) = self.dtls.get() {
            dtls.handle_timeout(now);
        }
        let incoming = self.drain_dtls(now, outputs, stats);
        self.send_checks(now, outputs, stats);
        incoming
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let dtls = if let Handshake::Running(dtls) = &self.dtls { dtls.poll_timeout() } else { None };
        [dtls, self.ice.poll_timeout()].into_iter().flatten().min()
    }

    /// Says goodbye, if there is anybody to say it to.
    pub(super) fn close(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) {
        if let Some(dtls) = self.dtls.get() {
            dtls.close(now);
        }
        self.drain_dtls(now, outputs, stats);
    }

    fn handle_stun(&mut self, now: Instant, path: Path, data: &[u8], outputs: &mut Outputs, stats: &mut SessionStats) {
        let reply = self.ice.handle_stun(now, path, data);
        stats.stun_in += 1;
        match reply.reply {
            Some(reply) => {
                stats.stun_out += 1;
                outputs.push(Output::Transmit { path, data: Bytes::copy_from_slice(&reply) });
            }
            None => stats.drops.stun += u64::from(!reply.is_answer),
        }
        if let Some(IceEvent::Selected(path)) = reply.event {
            stats.milestones.checked.get_or_insert((now, path));
        }
        if reply.nominates {
            stats.milestones.nominated.get_or_insert((now, path));
        }
        moved(reply.event, stats);
        if self.ice.selected().is_some() {
            self.dtls.start(now);
        }
    }

    /// Seals compound RTCP packets and queues them.
    pub(super) fn send_rtcp(&mut self, compounds: &Compounds, outputs: &mut Outputs, stats: &mut SessionStats) {
        let (Some(path), Some(keys)) = (self.ice.path(), &mut self.keys) else { return };
        for plain in compounds.iter() {
            self.sealed.clear();
            if keys.protect.rtcp(plain, &mut self.sealed) {
                stats.rtcp_out += 1;
                stats.bytes_out += self.sealed.len() as u64;
                outputs.push(Output::Transmit { path, data: Bytes::copy_from_slice(&self.sealed) });
            }
        }
    }

    fn drain_dtls(&mut self, now: Instant, outputs: &mut Outputs, stats: &mut SessionStats) -> Incoming {
        let (Some(dtls), Some(path)) = (self.dtls.get(), self.ice.selected()) else { return Incoming::Nothing };
        while let Some(data) = dtls.poll_transmit() {
            stats.milestones.shaking.get_or_insert(now);
            stats.bytes_out += data.len() as u64;
            outputs.push(Output::Transmit { path, data });
            self.ice.handle_spoken();
        }
        let mut incoming = Incoming::Nothing;
        while let Some(event) = dtls.poll_event() {
            incoming = match event {
                DtlsEvent::Connected(material) => match Keys::new(&material) {
                    Ok(keys) => {
                        stats.profile = Some(material.profile);
                        stats.milestones.connected.get_or_insert(now);
                        stats.milestones.suite = dtls.suite();
                        self.keys = Some(keys);
                        moved(self.ice.handle_connected(now), stats);
                        Incoming::Connected
                    }
                    Err(_) => Incoming::Over(CloseReason::DtlsFailed),
                },
                DtlsEvent::Closed => Incoming::Over(CloseReason::PeerClosed),
                DtlsEvent::Failed(DtlsError::BadFingerprint) => Incoming::Over(CloseReason::BadFingerprint),
                DtlsEvent::Failed(error) => {
                    stats.milestones.failure = Some(error.to_string());
                    Incoming::Over(CloseReason::DtlsFailed)
                }
            };
            if matches!(incoming, Incoming::Over(_)) {
                break;
            }
        }
        incoming
    }
}

fn moved(event: Option<IceEvent>, stats: &mut SessionStats) {
    if let Some(IceEvent::Moved { .. }) = event {
        stats.moves += 1;
    }
}

/// What a NACK brought twice is the network's doing; all else is damage or an attack.
fn refused(error: UnprotectError, stats: &mut SessionStats) -> Incoming {
    match error {
        UnprotectError::Replayed => stats.drops.duplicate += 1,
        _ => stats.drops.srtp += 1,
    }
    Incoming::Nothing
}
