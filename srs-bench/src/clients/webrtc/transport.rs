//! The transport of one client: a socket with ICE, DTLS and SRTP.
//!
//! We are the controlling side and nominate with every check. Candidates are tried the best first, one
//! more with each round of checks, and the first that answers is the one. Once the keys are there the
//! DTLS engine goes: what it would say at the end is written beforehand.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_rtc::{
    dtls::{Dtls, DtlsEvent, Identity, KeyingMaterial},
    net::{Poller, Receiver, Sender, Socket, SocketOptions, Target},
    sdp::{DtlsRole, Fingerprint},
    srtp::{Protect, Unprotect},
    wire::stun::{self, IntegrityKey, Message, REPLY_LEN_MAX, Request, Role, TransactionId, emit_success},
};

use super::{
    answer::{Answer, Candidate},
    offer::Offer,
};
use crate::{clients::crew::Failure, measure::Stage};

/// Checks keep consent (RFC 7675 section 5.1: every 5 seconds); more often until connected.
const CHECK_EVERY: Duration = Duration::from_millis(2_500);
const CHECK_EVERY_AT_FIRST: Duration = Duration::from_millis(50);
/// Checks that bring no answer come less often: a server that is late is not helped by more of them.
const CHECK_EVERY_LATER: Duration = Duration::from_millis(500);
const FIRST_CHECKS: u32 = 20;
/// The candidates of one address family have so long to answer, then those of the other are tried.
const FAMILY_PATIENCE: Duration = Duration::from_secs(3);
/// A DTLS server's last flight may be lost, and the client asks for it again within that time
/// (RFC 6347 section 4.2.4); until then the engine stays.
const LAST_FLIGHT: Duration = Duration::from_secs(5);
/// Sending never waits for long, so this is a flight of media and no more.
const SEND_BUFFER: usize = 128 << 10;
/// The longest packet that a client seals.
const PACKET_MAX: usize = 1_500;

/// The system calls of a thread's clients.
pub(super) struct Io {
    pub(super) receiver: Receiver,
    pub(super) sender: Out,
}

impl Io {
    pub(super) fn new() -> Self {
        Self { receiver: Receiver::new(), sender: Out(Sender::new()) }
    }
}

/// The way out.
pub(super) struct Out(Sender);

impl Out {
    /// Each datagram by a system call of its own: a network has no segmentation for a server to
    /// profit from.
    fn send(&mut self, socket: &Socket, remote: SocketAddr, data: &[u8]) {
        self.0.push(socket, Target { remote, local: socket.local_addr().ip() }, data);
        self.0.flush(socket);
    }
}

/// Where the socket is opened and how large its buffer is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) source: Option<IpAddr>,
    pub(super) recv_buffer: usize,
}

/// See the module.
pub(super) struct Transport {
    pub(super) socket: Socket,
    place: Place,
    identity: Identity,
    role: DtlsRole,
    fingerprints: Vec<Fingerprint>,
    candidates: Vec<Candidate>,
    /// What answered, or what is tried first.
    remote: SocketAddr,
    phase: Phase,
    username: String,
    /// The server's password signs what we ask, ours what it asks.
    key: IntegrityKey,
    own_key: IntegrityKey,
    checks: u32,
    next_check: Instant,
    family_since: Instant,
    /// When the server last answered a check.
    answered: Instant,
    dtls: Option<Box<Dtls>>,
    dtls_until: Option<Instant>,
    goodbye: Vec<Bytes>,
    protect: Option<Protect>,
    pub(super) unprotect: Option<Unprotect>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Checking,
    Handshaking,
    Connected,
}

impl Transport {
    pub(super) fn new(identity: &Identity, offer: &Offer, answer: &Answer, place: Place, now: Instant) -> io::Result<Self> {
        let best = answer.candidates.first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self {
            socket: place.open(best.addr)?,
            place,
            identity: identity.clone(),
            role: answer.role,
            fingerprints: answer.fingerprints.clone(),
            candidates: answer.candidates.clone(),
            remote: best.addr,
            phase: Phase::Checking,
            username: format!("{}:{}", answer.ufrag, offer.ufrag),
            key: IntegrityKey::new(&answer.pwd),
            own_key: IntegrityKey::new(&offer.pwd),
            checks: 0,
            next_check: now,
            family_since: now,
            answered: now,
            dtls: None,
            dtls_until: None,
            goodbye: Vec::new(),
            protect: None,
            unprotect: None,
            closed: false,
        })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// Bytes that SRTP adds to a packet.
    pub(super) fn tag_len(&self) -> usize {
        self.unprotect.as_ref().map_or(0, |unprotect| unprotect.profile().tag_len())
    }

    /// The server ended the session by DTLS.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Has the next check come soon: there is reason to ask.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.next_check = self.next_check.min(now + CHECK_EVERY_LATER);
    }

    /// How long no check has been answered.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.answered)
    }

    /// What it waits for, should it wait no longer.
    pub(super) fn lateness(&self) -> Failure {
        match self.phase {
            Phase::Checking => {
                let tried: Vec<String> = self.candidates.iter().map(|candidate| candidate.addr.to_string()).collect();
                Failure::new(Stage::Ice, format!("no answer from {}", tried.join(", ")))
            }
            Phase::Handshaking => Failure::new(Stage::Dtls, "the handshake did not end"),
            Phase::Connected => Failure::new(Stage::Ended, "no answer to checks"),
        }
    }

    /// A STUN message from the server.
    pub(super) fn handle_stun(&mut self, now: Instant, remote: SocketAddr, data: &[u8], io: &mut Out) {
        let Ok(message) = Message::parse(data) else { return };
        match message.class {
            stun::Class::Success if message.verify(&self.key) => {
                self.answered = now;
                if self.phase == Phase::Checking {
                    self.remote = remote;
                    self.phase = Phase::Handshaking;
                    self.next_check = now;
                    self.dtls = Some(Box::new(Dtls::new(&self.identity, self.role, self.fingerprints.clone(), now)));
                    self.flush_dtls(io);
                }
            }
            // A server that is no ICE lite checks the way back (RFC 8445 section 7.3).
            stun::Class::Request if message.verify(&self.own_key) => {
                let mut reply = [0; REPLY_LEN_MAX];
                if let Some(len) = emit_success(&message.transaction, remote, &self.own_key, &mut reply) {
                    io.send(&self.socket, remote, reply.get(..len).unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    /// A DTLS record from the server.
    pub(super) fn handle_dtls(&mut self, now: Instant, data: &[u8], io: &mut Out) -> Result<(), Failure> {
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_datagram(now, data);
            return self.follow_dtls(now, io);
        }
        // RFC 6347 section 4.1: an alert. After the handshake, what can it be but the end?
        self.closed |= self.phase == Phase::Connected && data.first() == Some(&ALERT);
        Ok(())
    }

    /// Checks and the handshake's clock.
    pub(super) fn handle_timeout(&mut self, now: Instant, io: &mut Out, poller: &Poller, token: u64) -> Result<(), Failure> {
        if now >= self.next_check {
            self.check(now, io);
        }
        if self.phase == Phase::Checking && now.saturating_duration_since(self.family_since) > FAMILY_PATIENCE {
            self.family_since = now;
            self.try_other_family(poller, token);
        }
        if self.phase == Phase::Handshaking
            && let Some(dtls) = &mut self.dtls
        {
            dtls.handle_timeout(now);
            return self.follow_dtls(now, io);
        }
        if self.dtls_until.is_some_and(|until| now >= until) {
            self.drop_dtls(now);
        }
        Ok(())
    }

    /// When [`Transport::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        let dtls = self.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
        [dtls, self.dtls_until].into_iter().flatten().fold(self.next_check, Instant::min)
    }

    fn follow_dtls(&mut self, now: Instant, io: &mut Out) -> Result<(), Failure> {
        self.flush_dtls(io);
        while let Some(event) = self.dtls.as_mut().and_then(|dtls| dtls.poll_event()) {
            match event {
                DtlsEvent::Connected(keys) => self.connect(now, &keys)?,
                DtlsEvent::Closed if self.phase == Phase::Connected => self.closed = true,
                DtlsEvent::Closed => return Err(Failure::new(Stage::Dtls, "the server ended the handshake")),
                DtlsEvent::Failed(error) => return Err(Failure::new(Stage::Dtls, error.to_string())),
            }
        }
        Ok(())
    }

    fn connect(&mut self, now: Instant, keys: &KeyingMaterial) -> Result<(), Failure> {
        let bad = |_| Failure::new(Stage::Dtls, "keys that SRTP cannot use");
        self.protect = Some(Protect::new(keys.profile, &keys.local_key, &keys.local_salt).map_err(bad)?);
        self.unprotect = Some(Unprotect::new(keys.profile, &keys.remote_key, &keys.remote_salt).map_err(bad)?);
        self.phase = Phase::Connected;
        self.next_check = now + CHECK_EVERY;
        self.answered = now;
        self.candidates = Vec::new();
        self.fingerprints = Vec::new();
        match self.role {
            // The server has had our last flight: it has sent its own.
            DtlsRole::Active => self.drop_dtls(now),
            DtlsRole::Passive => self.dtls_until = Some(now + LAST_FLIGHT),
        }
        Ok(())
    }

    fn drop_dtls(&mut self, now: Instant) {
        self.dtls_until = None;
        if let Some(mut dtls) = self.dtls.take() {
            dtls.close(now);
            self.goodbye = std::iter::from_fn(|| dtls.poll_transmit()).collect();
        }
    }

    fn check(&mut self, now: Instant, io: &mut Out) {
        let every = match self.phase {
            Phase::Checking | Phase::Handshaking if self.checks < FIRST_CHECKS => CHECK_EVERY_AT_FIRST,
            Phase::Checking | Phase::Handshaking => CHECK_EVERY_LATER,
            Phase::Connected => CHECK_EVERY,
        };
        self.checks = self.checks.saturating_add(1);
        self.next_check = now + every;
        let request = Request {
            transaction: TransactionId(rand::random()),
            username: &self.username,
            priority: HOST_PRIORITY,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let mut out = [0; 600];
        let Some(len) = request.emit(&self.key, &mut out) else { return };
        let request = out.get(..len).unwrap_or_default();
        if self.phase != Phase::Checking {
            return io.send(&self.socket, self.remote, request);
        }
        let family = self.remote.is_ipv4();
        let same = self.candidates.iter().filter(|candidate| candidate.addr.is_ipv4() == family);
        for candidate in same.take(self.checks as usize) {
            io.send(&self.socket, candidate.addr, request);
        }
    }

    /// A socket is of one family.
    fn try_other_family(&mut self, poller: &Poller, token: u64) {
        let family = self.remote.is_ipv4();
        let Some(other) = self.candidates.iter().find(|candidate| candidate.addr.is_ipv4() != family) else { return };
        let Ok(socket) = self.place.open(other.addr) else { return };
        if poller.add_socket(&socket, token).is_ok() {
            self.remote = other.addr;
            self.socket = socket;
            self.checks = 0;
        }
    }

    /// Seals and sends an RTP packet, after [`Transport::is_connected`].
    pub(super) fn send_rtp(&self, io: &mut Out, index: u64, header: &[u8], payload: &[u8]) {
        let Some(protect) = &self.protect else { return };
        let mut out = [0; PACKET_MAX];
        if let Some(len) = protect.rtp_into((index >> 16) as u32, header, payload, &mut out) {
            io.send(&self.socket, self.remote, out.get(..len).unwrap_or_default());
        }
    }

    /// As [`Transport::send_rtp`] of a compound RTCP packet.
    pub(super) fn send_rtcp(&mut self, io: &mut Out, plain: &[u8]) {
        let Some(protect) = &mut self.protect else { return };
        let mut sealed = Vec::with_capacity(plain.len() + 32);
        if protect.rtcp(plain, &mut sealed) {
            io.send(&self.socket, self.remote, &sealed);
        }
    }

    fn flush_dtls(&mut self, io: &mut Out) {
        while let Some(flight) = self.dtls.as_mut().and_then(|dtls| dtls.poll_transmit()) {
            io.send(&self.socket, self.remote, &flight);
        }
    }

    /// Says goodbye.
    pub(super) fn leave(&mut self, now: Instant, io: &mut Out) {
        self.drop_dtls(now);
        for goodbye in std::mem::take(&mut self.goodbye) {
            io.send(&self.socket, self.remote, &goodbye);
        }
    }
}

impl Place {
    fn open(self, remote: SocketAddr) -> io::Result<Socket> {
        let any = if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let source = self.source.filter(|source| source.is_ipv4() == remote.is_ipv4()).unwrap_or(any);
        let options = SocketOptions { reuse_port: false, recv_buffer: self.recv_buffer, send_buffer: SEND_BUFFER };
        Socket::bind(SocketAddr::new(source, 0), &options)
    }
}

/// Of a host candidate (RFC 8445 section 5.1.2.1), which is what a check would find.
const HOST_PRIORITY: u32 = 2_130_706_431;
/// RFC 5246 section 6.2.1: the content type of alerts.
const ALERT: u8 = 21;
