//! One peer's handshake: roles, timers, and what comes out in the end.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use tracing::debug;

use super::hello::ClientHello;
use super::identity::FLIGHT_INTERVAL;
use super::intake::{Finding, Intake};
use super::keys::{self, EXPORTER_LABEL};
use super::record::{self, ALERT};
use super::{Identity, KeyingMaterial};
use crate::{
    sdp::{DtlsRole, Fingerprint},
    srtp::SrtpProfile,
};

/// What a peer's handshake comes to.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The peer proved to be the one of the offer; these are the SRTP keys. Comes at most once.
    Connected(KeyingMaterial),
    /// The peer is gone: close_notify or a fatal alert. The last event.
    Closed,
    /// There will be no keys. The last event.
    Failed(DtlsError),
}

/// Why a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DtlsError {
    /// The peer's certificate is not the one of its offer: somebody else, or a broken client.
    #[error("the peer's certificate does not match the fingerprint of its offer")]
    BadFingerprint,
    /// The peer and we could not agree, or it broke the protocol.
    #[error("DTLS handshake failed: {0}")]
    Handshake(String),
    /// Not finished within 15 s.
    #[error("DTLS handshake timed out")]
    Timeout,
}

/// One peer's DTLS. See the module for how to drive it.
///
/// Make it when ICE has proven a path to the peer, not before: the time allowed starts running,
/// and on the active side the first ClientHello is ready to be sent. That proof is also all the
/// protection against spoofed addresses that a handshake needs; the library still asks for a
/// cookie (RFC 6347 section 4.2.1), has no option against it, and so costs one round trip more.
pub struct Dtls {
    identity: Identity,
    role: DtlsRole,
    announced: Vec<Fingerprint>,
    phase: Phase,
    intake: Intake,
    /// `None` on the passive side until the first ClientHello is complete.
    endpoint: Option<Endpoint>,
    /// The handshake must be over by then.
    deadline: Instant,
    repeat: Option<Repeat>,
    transmits: VecDeque<Bytes>,
    events: VecDeque<DtlsEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Connected,
    Done,
}

/// When our last flight is due again. The library counts and rebuilds flights but knows only one
/// interval; the doubling (RFC 6347 section 4.2.4.1) is ours.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Instant,
    interval: Duration,
    left: u32,
}

impl Dtls {
    /// Starts a handshake with the peer whose certificate the offer announced as `remote`.
    pub fn new(identity: &Identity, role: DtlsRole, remote: Vec<Fingerprint>, now: Instant) -> Self {
        let mut dtls = Self {
            identity: identity.clone(),
            role,
            announced: remote,
            phase: Phase::Handshaking,
            intake: Intake::new(role),
            endpoint: None,
            deadline: now + HANDSHAKE_TIME_MAX,
            repeat: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        if role == DtlsRole::Active {
            dtls.start_active(now);
        }
        dtls
    }

    fn start_active(&mut self, now: Instant) {
        let mut endpoint = Endpoint::new(LOCAL, TransportProtocol::UDP, None);
        let started = endpoint.connect(now, REMOTE, self.identity.active(), None);
        self.endpoint = Some(endpoint);
        self.collect(now);
        if let Err(error) = started {
            self.fail(DtlsError::Handshake(error.to_string()), None);
        }
    }

    /// Takes a datagram that looks like DTLS. Bad ones are dropped and counted.
    pub fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        if self.phase == Phase::Done {
            return;
        }
        let mut ready = Vec::new();
        let mut findings = Vec::new();
        self.intake.handle_datagram(data, &mut ready, &mut findings);
        for finding in findings {
            self.handle_finding(finding);
            if self.phase == Phase::Done {
                return;
            }
        }
        if !ready.is_empty() {
            self.feed(now, &ready);
        }
    }

    fn handle_finding(&mut self, finding: Finding) {
        match finding {
            Finding::FirstHello(body) => self.handle_first_hello(&body),
            Finding::Certificate(certificate) => {
                if !keys::is_announced(&certificate, &self.announced) {
                    self.fail(DtlsError::BadFingerprint, Some(BAD_CERTIFICATE));
                }
            }
            Finding::Closed => self.finish(DtlsEvent::Closed),
            Finding::Malformed => self.fail(DtlsError::Handshake("malformed message".to_owned()), Some(DECODE_ERROR)),
        }
    }

    fn handle_first_hello(&mut self, body: &[u8]) {
        let Some(hello) = ClientHello::parse(body) else {
            return self.fail(DtlsError::Handshake("malformed ClientHello".to_owned()), Some(DECODE_ERROR));
        };
        if hello.resumes {
            return self.fail(DtlsError::Handshake("session resumption".to_owned()), Some(HANDSHAKE_FAILURE));
        }
        match self.identity.passive(&hello.profiles) {
            Ok(config) => self.endpoint = Some(Endpoint::new(LOCAL, TransportProtocol::UDP, Some(config))),
            Err(error) => self.fail(error, Some(HANDSHAKE_FAILURE)),
        }
    }

    fn feed(&mut self, now: Instant, records: &[u8]) {
        let Some(endpoint) = &mut self.endpoint else { return };
        let result = endpoint.read(now, REMOTE, None, BytesMut::from(records));
        let sent = self.collect(now);
        match result {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.connect(),
                        EndpointEvent::PeerClosed => self.finish(DtlsEvent::Closed),
                        // There is no data channel, and the intake lets no data through.
                        _ => {}
                    }
                }
            }
            Err(Error::ErrAlertFatalOrClose) => self.finish(DtlsEvent::Closed),
            // An authentic warning, or nothing to worry about: the keys are there.
            Err(error) if self.phase == Phase::Connected => debug!(%error, "DTLS record ignored"),
            Err(error) => {
                // The library has written an alert where the protocol asks for one.
                let alert = if sent { None } else { Some(HANDSHAKE_FAILURE) };
                self.fail(DtlsError::Handshake(error.to_string()), alert);
            }
        }
    }

    /// The library is satisfied; now the peer has to be the right one, and the keys usable.
    fn connect(&mut self) {
        match self.keying_material() {
            Ok(keys) => {
                debug!(profile = ?keys.profile, "DTLS connected");
                self.phase = Phase::Connected;
                self.repeat = None;
                self.intake.establish();
                self.events.push_back(DtlsEvent::Connected(keys));
            }
            Err(error) => self.fail(error, Some(BAD_CERTIFICATE)),
        }
    }

    fn keying_material(&self) -> Result<KeyingMaterial, DtlsError> {
        let failed = |text: &str| DtlsError::Handshake(text.to_owned());
        let state = self.endpoint.as_ref().and_then(|endpoint| endpoint.get_connection_state(REMOTE));
        let state = state.ok_or_else(|| failed("no state"))?;
        // Already seen by the intake. This is the certificate whose key was proven, which is what
        // counts (RFC 8122 section 6.2).
        let certificate = state.peer_certificates.first().ok_or(DtlsError::BadFingerprint)?;
        if !keys::is_announced(certificate, &self.announced) {
            return Err(DtlsError::BadFingerprint);
        }
        let profile = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => SrtpProfile::AeadAes128Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => SrtpProfile::AesCm128HmacSha1_80,
            _ => return Err(failed("no SRTP profile")),
        };
        let exported = state.export_keying_material(EXPORTER_LABEL, &[], KeyingMaterial::export_len(profile));
        let exported = exported.map_err(|error| DtlsError::Handshake(error.to_string()))?;
        KeyingMaterial::split(profile, self.role, &exported).ok_or_else(|| failed("short key export"))
    }

    /// The suite agreed on, by its IANA name, once connected.
    pub fn suite(&self) -> Option<String> {
        let state = self.endpoint.as_ref()?.get_connection_state(REMOTE)?;
        Some(state.cipher_suite()?.id().to_string())
    }

    /// Repeats a flight that is due, or gives up.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.phase != Phase::Handshaking {
            return;
        }
        if now >= self.deadline {
            return self.fail(DtlsError::Timeout, Some(HANDSHAKE_FAILURE));
        }
        let Some(due) = self.repeat.filter(|repeat| now >= repeat.at) else { return };
        let Some(endpoint) = &mut self.endpoint else { return };
        let result = endpoint.handle_timeout(REMOTE, now);
        self.collect(now);
        self.repeat = due.left.checked_sub(1).map(|left| {
            let interval = due.interval.saturating_mul(2);
            Repeat { at: now + interval, interval, left }
        });
        if let Err(error) = result {
            self.fail(DtlsError::Handshake(error.to_string()), None);
        }
    }

    /// When [`Dtls::handle_timeout`] has something to do; `None` once connected or over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.phase != Phase::Handshaking {
            return None;
        }
        Some(self.repeat.map_or(self.deadline, |repeat| repeat.at.min(self.deadline)))
    }

    /// The next datagram to send, at most 1,200 bytes.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Ends the session from our side: a close_notify waits in [`Dtls::poll_transmit`] and nothing
    /// is taken any more. Tells no event.
    pub fn close(&mut self, now: Instant) {
        if self.phase == Phase::Done {
            return;
        }
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.stop(now, REMOTE);
        }
        self.collect(now);
        self.end();
    }

    /// Datagrams and records that were dropped because they made no sense.
    pub const fn dropped(&self) -> u64 {
        self.intake.dropped()
    }

    /// Takes what the library wants to send. During the handshake that is a new flight, whose
    /// clock starts.
    fn collect(&mut self, now: Instant) -> bool {
        let Some(endpoint) = &mut self.endpoint else { return false };
        let mut sent = false;
        while let Some(transmit) = endpoint.poll_transmit() {
            sent = true;
            if self.transmits.len() < TRANSMITS_MAX {
                self.transmits.push_back(transmit.message.freeze());
            }
        }
        if sent && self.phase == Phase::Handshaking {
            self.repeat = Some(Repeat { at: now + FLIGHT_INTERVAL, interval: FLIGHT_INTERVAL, left: REPEATS_MAX - 1 });
        }
        sent
    }

    fn fail(&mut self, error: DtlsError, alert: Option<u8>) {
        if self.phase == Phase::Done {
            return;
        }
        if let Some(description) = alert {
            let mut record = Vec::new();
            record::write_record(&mut record, ALERT, ALERT_SEQUENCE, &[FATAL, description]);
            self.transmits.push_back(Bytes::from(record));
        }
        debug!(%error, "DTLS failed");
        self.finish(DtlsEvent::Failed(error));
    }

    fn finish(&mut self, event: DtlsEvent) {
        if self.phase != Phase::Done {
            self.events.push_back(event);
            self.end();
        }
    }

    fn end(&mut self) {
        self.phase = Phase::Done;
        self.repeat = None;
        self.endpoint = None;
    }
}

impl std::fmt::Debug for Dtls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dtls").field("role", &self.role).field("phase", &self.phase).finish_non_exhaustive()
    }
}

/// The library tells peers apart by address; there is one, and it may move (ICE decides that).
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
/// Never looked at.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 9);

/// Twice what the slowest usable path needs with every first flight lost; a peer that finished ICE
/// and falls silent holds its seat no longer than this.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(15);

/// The library fails a handshake at the eighth repeat of a flight. Seven, doubling from 50 ms,
/// last 6.35 s; after that the peer's own repeats have to do.
const REPEATS_MAX: u32 = 7;

/// Two flights of the largest size, should nobody drain in between.
const TRANSMITS_MAX: usize = 64;

/// Above any number that the library reaches in plaintext: a peer drops what looks replayed.
const ALERT_SEQUENCE: u64 = 0xffff;

/// RFC 5246 section 7.2: the level and the descriptions of the alerts that we write ourselves.
const FATAL: u8 = 2;
const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const DECODE_ERROR: u8 = 50;
