//! The client half of WebRTC: one socket with ICE, DTLS and SRTP, no codecs behind it.
//!
//! `viewers` and `publishers` put their media on it; `fleet` runs many of either on one thread.

mod fleet;
pub(crate) mod publishers;
pub(crate) mod sdp;
pub(crate) mod viewers;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_rtc::{
    dtls::{Dtls, DtlsEvent, Identity, KeyingMaterial},
    net::{Receiver, Sender, Socket, SocketOptions, Target},
    sdp::DtlsRole,
    srtp::{Protect, SrtpProfile, Unprotect},
    wire::{
        demux::{Class, classify},
        rtp,
        stun::{IntegrityKey, Request, Role, TransactionId},
    },
};

/// Checks keep consent (RFC 7675 section 5.1: every 5 seconds); more often until connected.
const CHECK_EVERY: Duration = Duration::from_millis(2_500);
const CHECK_EVERY_AT_FIRST: Duration = Duration::from_millis(100);
/// Handshakes under way at a time: a server frees seats that are not taken within some seconds, and
/// all at once would take longer where the cores are busy.
const HANDSHAKES_MAX: usize = 32;
const ADMIT_PATIENCE: Duration = Duration::from_secs(10);
/// The longest packet that a client seals.
const PACKET_MAX: usize = 1_500;

/// Which SRTP profile the clients offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cipher {
    /// AEAD_AES_128_GCM
    Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80
    Cm80,
}

impl Cipher {
    /// A client's certificate, which offers this profile only.
    pub(crate) fn identity(self) -> anyhow::Result<Identity> {
        Identity::offering(&[self.profile()]).map_err(|error| anyhow::anyhow!("certificate: {error}"))
    }

    fn profile(self) -> SrtpProfile {
        match self {
            Self::Gcm => SrtpProfile::AeadAes128Gcm,
            Self::Cm80 => SrtpProfile::AesCm128HmacSha1_80,
        }
    }
}

/// How the handshakes of many clients went, and what of the server's packets did not pass its check.
#[derive(Debug, Default)]
pub(crate) struct Security {
    gcm: AtomicUsize,
    cm80: AtomicUsize,
    bad: AtomicU64,
}

impl Security {
    fn note(&self, profile: SrtpProfile) {
        let counter = if profile == SrtpProfile::AeadAes128Gcm { &self.gcm } else { &self.cm80 };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until no more than [`HANDSHAKES_MAX`] of the `asked` are still connecting.
    fn admit(&self, asked: usize) {
        let deadline = Instant::now() + ADMIT_PATIENCE;
        while asked.saturating_sub(self.connected()) > HANDSHAKES_MAX && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn connected(&self) -> usize {
        self.gcm.load(Ordering::Relaxed) + self.cm80.load(Ordering::Relaxed)
    }

    /// What was negotiated, in words.
    pub(crate) fn describe(&self, wanted: usize) -> String {
        let (gcm, cm80) = (self.gcm.load(Ordering::Relaxed), self.cm80.load(Ordering::Relaxed));
        let name = if cm80 == 0 { "AEAD_AES_128_GCM" } else { "AES_CM_128_HMAC_SHA1_80" };
        let bad = self.bad.load(Ordering::Relaxed);
        format!("{} of {wanted} on {name}, {bad} packets failed their check", gcm.max(cm80))
    }
}

/// The system calls of a thread's clients.
pub(crate) struct Io {
    receiver: Receiver,
    sender: Sender,
}

impl Io {
    fn new() -> Self {
        Self { receiver: Receiver::new(), sender: Sender::new() }
    }
}

/// What a datagram was.
enum Plain<'a> {
    Rtp { index: u64, ssrc: u32, len: usize },
    Rtcp(&'a [u8]),
}

/// One client's transport.
struct Client {
    socket: Socket,
    target: Target,
    key: IntegrityKey,
    username: String,
    dtls: Dtls,
    keys: Option<(Protect, Unprotect)>,
    next_check: Instant,
    answered: bool,
    sealed: Vec<u8>,
}

impl Client {
    fn new(identity: &Identity, ufrag: &str, answer: &sdp::Answer) -> anyhow::Result<Self> {
        let options = SocketOptions { reuse_port: false, recv_buffer: 1 << 20, send_buffer: 128 << 10 };
        let socket = Socket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options)?;
        let now = Instant::now();
        Ok(Self {
            target: Target { remote: answer.candidate, local: IpAddr::V4(Ipv4Addr::LOCALHOST) },
            socket,
            key: IntegrityKey::new(&answer.pwd),
            username: format!("{}:{ufrag}", answer.ufrag),
            dtls: Dtls::new(identity, DtlsRole::Active, vec![answer.fingerprint.clone()], now),
            keys: None,
            next_check: now,
            answered: false,
            sealed: Vec::new(),
        })
    }

    fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    /// The kernel coalesces what comes in (UDP_GRO).
    fn coalesces(&self) -> bool {
        self.socket.coalesces()
    }

    /// Reads all that has come, answers what the transport must, and hands on what is opened.
    fn receive(&mut self, now: Instant, io: &mut Io, security: &Security, mut take: impl FnMut(Plain<'_>)) {
        loop {
            let more = io.receiver.recv(&self.socket);
            for datagram in io.receiver.datagrams() {
                match classify(datagram.data) {
                    Class::Stun => self.answered = true,
                    Class::Dtls => self.dtls.handle_datagram(now, datagram.data),
                    class @ (Class::Rtp | Class::Rtcp) => {
                        let Some((_, unprotect)) = &mut self.keys else { continue };
                        match open(unprotect, class, datagram.data) {
                            Some(plain) => take(plain),
                            None => {
                                security.bad.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                    Class::Unknown => {}
                }
            }
            if !more {
                break;
            }
        }
        self.keep_up(now, io, security);
    }

    /// Checks and the handshake.
    fn keep_up(&mut self, now: Instant, io: &mut Io, security: &Security) {
        if now >= self.next_check {
            self.next_check = now + if self.keys.is_some() { CHECK_EVERY } else { CHECK_EVERY_AT_FIRST };
            self.check(io);
        }
        if self.answered && self.keys.is_none() {
            self.dtls.handle_timeout(now);
            self.flush_dtls(io);
            while let Some(event) = self.dtls.poll_event() {
                if let DtlsEvent::Connected(keys) = event {
                    security.note(keys.profile);
                    self.keys = pair(&keys);
                }
            }
        }
    }

    fn check(&self, io: &mut Io) {
        let request = Request {
            transaction: TransactionId(rand::random()),
            username: &self.username,
            priority: 2_130_706_431,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let mut out = [0; 256];
        if let Some(len) = request.emit(&self.key, &mut out) {
            self.send(io, &out[..len]);
        }
    }

    fn send_rtp(&self, io: &mut Io, index: u64, header: &[u8], payload: &[u8]) {
        let Some((protect, _)) = &self.keys else { return };
        let mut out = [0; PACKET_MAX];
        if let Some(len) = protect.rtp_into((index >> 16) as u32, header, payload, &mut out) {
            self.send(io, &out[..len]);
        }
    }

    fn send_rtcp(&mut self, io: &mut Io, plain: &[u8]) {
        let Some((protect, _)) = &mut self.keys else { return };
        self.sealed.clear();
        if protect.rtcp(plain, &mut self.sealed) {
            self.send(io, &self.sealed);
        }
    }

    /// Each datagram by a system call of its own: a network has no segmentation for a server to
    /// profit from.
    fn send(&self, io: &mut Io, data: &[u8]) {
        io.sender.push(&self.socket, self.target, data);
        io.sender.flush(&self.socket);
    }

    fn flush_dtls(&mut self, io: &mut Io) {
        while let Some(flight) = self.dtls.poll_transmit() {
            self.send(io, &flight);
        }
    }

    fn leave(&mut self, now: Instant, io: &mut Io) {
        self.dtls.close(now);
        self.flush_dtls(io);
    }
}

fn pair(keys: &KeyingMaterial) -> Option<(Protect, Unprotect)> {
    let protect = Protect::new(keys.profile, &keys.local_key, &keys.local_salt).ok()?;
    let unprotect = Unprotect::new(keys.profile, &keys.remote_key, &keys.remote_salt).ok()?;
    Some((protect, unprotect))
}

fn open<'a>(unprotect: &mut Unprotect, class: Class, data: &'a mut [u8]) -> Option<Plain<'a>> {
    if class == Class::Rtcp {
        let opened = unprotect.rtcp(data).ok()?;
        return Some(Plain::Rtcp(data.get(..opened.plain_len)?));
    }
    let ssrc = rtp::Header::parse(data).ok()?.fields.ssrc;
    let opened = unprotect.rtp(data).ok()?;
    Some(Plain::Rtp { index: opened.index, ssrc, len: data.len() })
}
