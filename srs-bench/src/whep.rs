//! Light WHEP viewers: real ICE, DTLS and SRTP, one socket each, all on one thread.
//!
//! They check and decrypt every packet, count it and the holes in the sequence numbers, and report
//! reception once a second as a browser does. There is no decoder behind them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use weir_rtc::{
    dtls::{Dtls, DtlsEvent, Identity},
    net::{Receiver, Sender, Socket, SocketOptions, Target},
    sdp::{DtlsRole, Fingerprint, HashAlgorithm},
    srtp::{Protect, Unprotect},
    wire::{
        demux::{Class, classify},
        rtcp::{self, ReportBlock},
        rtp,
        stun::{IntegrityKey, Request, Role, TransactionId},
    },
};

use crate::http;

/// How often all sockets are looked at: packets of a frame come together, and a jitter buffer
/// would not notice.
const TURN: Duration = Duration::from_millis(4);
/// Checks keep consent (RFC 7675 section 5.1: every 5 seconds); more often until connected.
const CHECK_EVERY: Duration = Duration::from_millis(2_500);
const CHECK_EVERY_AT_FIRST: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What all viewers together have received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
}

impl Counted {
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            lost: self.lost.saturating_sub(earlier.lost),
        }
    }
}

#[derive(Default)]
struct Shared {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    receiving: AtomicUsize,
    bad: AtomicU64,
    gcm: AtomicUsize,
    stop: AtomicBool,
}

/// The viewers, on a thread of their own; they leave when dropped.
pub(crate) struct Viewers {
    shared: Arc<Shared>,
    wanted: usize,
    thread: Option<JoinHandle<()>>,
}

impl Viewers {
    /// Opens `count` WHEP sessions and starts receiving.
    pub(crate) fn connect(api: SocketAddr, app: &str, stream: &str, count: usize) -> anyhow::Result<Self> {
        let identity = Identity::generate().map_err(|e| anyhow::anyhow!("certificate: {e}"))?;
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::new();
        let mut viewers = Vec::with_capacity(count);
        for index in 0..count {
            let (ufrag, offer) = offer(index, &identity.fingerprint_sha256());
            let answer = runtime.block_on(http::whep(&client, api, app, stream, offer))?;
            viewers.push(Viewer::new(&identity, &ufrag, &Answer::read(&answer)?)?);
        }
        let (counted, first) = (Arc::clone(&shared), Instant::now());
        let thread = thread::spawn(move || turn(&mut viewers, &counted, first));
        Ok(Self { shared, wanted: count, thread: Some(thread) })
    }

    /// Waits until each viewer has had media.
    pub(crate) fn wait_until_all_receive(&self, timeout: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + timeout;
        while self.shared.receiving.load(Ordering::Relaxed) < self.wanted {
            if Instant::now() > deadline {
                bail!("only {} of {} viewers received media", self.shared.receiving.load(Ordering::Relaxed), self.wanted);
            }
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    pub(crate) fn counted(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted { packets: of(&self.shared.packets), bytes: of(&self.shared.bytes), lost: of(&self.shared.lost) }
    }

    /// Which SRTP profile was negotiated, and how many packets did not pass it.
    pub(crate) fn cipher(&self) -> String {
        let gcm = self.shared.gcm.load(Ordering::Relaxed);
        format!(
            "{gcm} of {} viewers on AEAD_AES_128_GCM, {} packets failed their check",
            self.wanted,
            self.shared.bad.load(Ordering::Relaxed)
        )
    }
}

impl Drop for Viewers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

fn turn(viewers: &mut [Viewer], shared: &Shared, start: Instant) {
    let (mut receiver, mut sender) = (Receiver::new(), Sender::new());
    while !shared.stop.load(Ordering::Relaxed) {
        let turn = Instant::now();
        for viewer in viewers.iter_mut() {
            viewer.work(turn, start, &mut receiver, &mut sender, shared);
        }
        thread::sleep(TURN.saturating_sub(turn.elapsed()));
    }
    for viewer in viewers {
        viewer.dtls.close(Instant::now());
        viewer.flush_dtls(&mut sender);
    }
}

struct Viewer {
    socket: Socket,
    target: Target,
    key: IntegrityKey,
    username: String,
    dtls: Dtls,
    keys: Option<(Protect, Unprotect)>,
    streams: Vec<(u32, u64, u64)>,
    next_check: Duration,
    next_report: Duration,
    checks: u64,
    answered: bool,
    receiving: bool,
}

impl Viewer {
    fn new(identity: &Identity, ufrag: &str, answer: &Answer) -> anyhow::Result<Self> {
        let options = SocketOptions { reuse_port: false, recv_buffer: 1 << 20, send_buffer: 128 << 10 };
        let socket = Socket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options)?;
        Ok(Self {
            target: Target { remote: answer.candidate, local: IpAddr::V4(Ipv4Addr::LOCALHOST) },
            socket,
            key: IntegrityKey::new(&answer.pwd),
            username: format!("{}:{ufrag}", answer.ufrag),
            dtls: Dtls::new(identity, DtlsRole::Active, vec![answer.fingerprint.clone()], Instant::now()),
            keys: None,
            streams: Vec::new(),
            next_check: Duration::ZERO,
            next_report: Duration::ZERO,
            checks: 0,
            answered: false,
            receiving: false,
        })
    }

    fn work(&mut self, now: Instant, start: Instant, receiver: &mut Receiver, sender: &mut Sender, shared: &Shared) {
        let elapsed = now.duration_since(start);
        loop {
            let more = receiver.recv(&self.socket);
            for datagram in receiver.datagrams() {
                self.take(now, datagram.data, shared);
            }
            if !more {
                break;
            }
        }
        if elapsed >= self.next_check {
            self.next_check = elapsed + if self.keys.is_some() { CHECK_EVERY } else { CHECK_EVERY_AT_FIRST };
            self.check(sender);
        }
        if self.answered && self.keys.is_none() {
            self.dtls.handle_timeout(now);
            self.flush_dtls(sender);
            while let Some(event) = self.dtls.poll_event() {
                if let DtlsEvent::Connected(keys) = event {
                    self.connected(&keys, shared);
                }
            }
        }
        if elapsed >= self.next_report && self.keys.is_some() {
            self.next_report = elapsed + REPORT_EVERY;
            self.report(sender);
        }
        sender.flush(&self.socket);
    }

    fn connected(&mut self, keys: &weir_rtc::dtls::KeyingMaterial, shared: &Shared) {
        if keys.profile == weir_rtc::srtp::SrtpProfile::AeadAes128Gcm {
            shared.gcm.fetch_add(1, Ordering::Relaxed);
        }
        let protect = Protect::new(keys.profile, &keys.local_key, &keys.local_salt);
        let unprotect = Unprotect::new(keys.profile, &keys.remote_key, &keys.remote_salt);
        self.keys = protect.ok().zip(unprotect.ok());
    }

    fn take(&mut self, now: Instant, data: &mut [u8], shared: &Shared) {
        match classify(data) {
            Class::Stun => self.answered = true,
            Class::Dtls => self.dtls.handle_datagram(now, data),
            Class::Rtp => self.media(data, shared),
            _ => {}
        }
    }

    fn media(&mut self, data: &mut [u8], shared: &Shared) {
        let Some((_, unprotect)) = &mut self.keys else { return };
        let Ok(ssrc) = rtp::Header::parse(data).map(|header| header.fields.ssrc) else { return };
        let Ok(plain) = unprotect.rtp(data) else {
            shared.bad.fetch_add(1, Ordering::Relaxed);
            return;
        };
        shared.packets.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        if !self.receiving {
            self.receiving = true;
            shared.receiving.fetch_add(1, Ordering::Relaxed);
        }
        match self.streams.iter_mut().find(|(known, ..)| *known == ssrc) {
            Some((_, highest, received)) => {
                *received += 1;
                if plain.index > *highest {
                    shared.lost.fetch_add(plain.index - *highest - 1, Ordering::Relaxed);
                    *highest = plain.index;
                } else {
                    shared.lost.fetch_sub(1, Ordering::Relaxed);
                }
            }
            None => self.streams.push((ssrc, plain.index, 1)),
        }
    }

    fn check(&mut self, sender: &mut Sender) {
        self.checks += 1;
        let mut id = [0; 12];
        id[..8].copy_from_slice(&rand::random::<[u8; 8]>());
        id[8..].copy_from_slice(&(self.checks as u32).to_be_bytes());
        let request = Request {
            transaction: TransactionId(id),
            username: &self.username,
            priority: 2_130_706_431,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let mut out = [0; 256];
        if let Some(len) = request.emit(&self.key, &mut out) {
            sender.push(&self.socket, self.target, &out[..len]);
        }
    }

    fn flush_dtls(&mut self, sender: &mut Sender) {
        while let Some(flight) = self.dtls.poll_transmit() {
            sender.push(&self.socket, self.target, &flight);
        }
        sender.flush(&self.socket);
    }

    fn report(&mut self, sender: &mut Sender) {
        let Some((protect, _)) = &mut self.keys else { return };
        let blocks: Vec<ReportBlock> = self
            .streams
            .iter()
            .map(|(ssrc, highest, _)| ReportBlock { ssrc: *ssrc, highest_sequence: *highest as u32, ..ReportBlock::default() })
            .collect();
        let (mut plain, mut sealed) = (Vec::new(), Vec::new());
        rtcp::emit_rr(1, &blocks, &mut plain);
        protect.rtcp(&plain, &mut sealed);
        sender.push(&self.socket, self.target, &sealed);
    }
}

/// What a viewer needs of an answer.
struct Answer {
    ufrag: String,
    pwd: String,
    fingerprint: Fingerprint,
    candidate: SocketAddr,
}

impl Answer {
    fn read(sdp: &str) -> anyhow::Result<Self> {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
        let fingerprint = value("a=fingerprint:sha-256 ").context("no SHA-256 fingerprint in the answer")?;
        let digest = fingerprint.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>()?;
        let candidate = value("a=candidate:").context("no candidate in the answer")?;
        let fields: Vec<&str> = candidate.split(' ').collect();
        let (ip, port) = fields.get(4).zip(fields.get(5)).context("an odd candidate")?;
        Ok(Self {
            ufrag: value("a=ice-ufrag:").context("no ufrag in the answer")?,
            pwd: value("a=ice-pwd:").context("no password in the answer")?,
            fingerprint: Fingerprint { algorithm: HashAlgorithm::Sha256, digest },
            candidate: SocketAddr::new(ip.parse()?, port.parse()?),
        })
    }
}

fn offer(index: usize, fingerprint: &str) -> (String, String) {
    let ufrag = format!("b{index:05}x");
    let transport = format!(
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:benchbenchbenchbenchbench{index:05}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:active\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize\r\n"
    );
    let sdp = format!(
        "v=0\r\no=- {index} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}a=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 106\r\n{transport}a=mid:1\r\na=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\n\
         a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
    );
    (ufrag, sdp)
}
