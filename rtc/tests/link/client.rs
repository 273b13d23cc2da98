//! The browser's end of a session: a full ICE agent with one address, the DTLS client, SRTP.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use weir_rtc::{
    dtls::{Dtls, DtlsEvent, Identity},
    sdp::{DtlsRole, Fingerprint, IceCredentials},
    srtp::{Protect, Unprotect},
    wire::{
        demux::{Class, classify},
        stun::{self, IntegrityKey, Message, Request, Role, TransactionId},
    },
};

use super::netem::Random;

/// Packets of media that are captured.
const CAPTURED_MAX: usize = 32;

/// What a datagram was.
pub(crate) enum Plain {
    Rtp { index: u64, data: Vec<u8> },
    Rtcp(Vec<u8>),
}

/// One browser's transport.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    username: String,
    key: IntegrityKey,
    /// What the server asks under.
    own: (String, IntegrityKey),
    /// It hears what is sent to its address but answers no checks: somebody else's address.
    pub(crate) is_deaf: bool,
    /// Checks of the server.
    pub(crate) asked: u32,
    dtls: Dtls,
    keys: Option<(Protect, Unprotect)>,
    pub(crate) next_check: Instant,
    answered: bool,
    random: Random,
    /// Nominates only until it is answered; browsers do so with every check.
    pub(crate) nominates_once: bool,
    /// The last check and the last report, as somebody might capture them.
    pub(crate) captured: (Vec<u8>, Vec<u8>),
    /// The newest packets of media, likewise.
    pub(crate) captured_media: VecDeque<Vec<u8>>,
    /// Stops checking: the peer's consent runs out.
    pub(crate) mute: bool,
    pub(crate) closed: bool,
    /// SRTP that did not open: replays of duplicates, or worse.
    pub(crate) rejected: u64,
    out: Vec<Vec<u8>>,
}

pub(crate) struct Ends<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) local: &'a IceCredentials,
    pub(crate) remote: &'a IceCredentials,
    pub(crate) fingerprint: Fingerprint,
}

impl Client {
    pub(crate) fn new(ends: &Ends<'_>, address: SocketAddr, now: Instant, seed: u64) -> Self {
        Self {
            address,
            username: format!("{}:{}", ends.remote.ufrag, ends.local.ufrag),
            key: IntegrityKey::new(&ends.remote.pwd),
            own: (format!("{}:{}", ends.local.ufrag, ends.remote.ufrag), IntegrityKey::new(&ends.local.pwd)),
            is_deaf: false,
            asked: 0,
            dtls: Dtls::new(ends.identity, DtlsRole::Active, vec![ends.fingerprint.clone()], now),
            keys: None,
            next_check: now,
            answered: false,
            random: Random(seed),
            nominates_once: false,
            captured: (Vec::new(), Vec::new()),
            captured_media: VecDeque::new(),
            mute: false,
            closed: false,
            rejected: 0,
            out: Vec::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.keys.is_some()
    }

    pub(crate) fn poll(&mut self, now: Instant) {
        if now >= self.next_check && !self.mute {
            let mut transaction = [0; 12];
            transaction[..8].copy_from_slice(&self.random.next().to_be_bytes());
            let request = Request {
                transaction: TransactionId(transaction),
                username: &self.username,
                priority: 1,
                role: Role::Controlling(7),
                use_candidate: !(self.nominates_once && self.answered),
            };
            let mut data = [0; 512];
            let len = request.emit(&self.key, &mut data).expect("a request fits");
            self.captured.0 = data[..len].to_vec();
            self.out.push(data[..len].to_vec());
            self.next_check = now + Duration::from_millis(if self.answered { 2_500 } else { 50 });
        }
        if self.answered {
            self.dtls.handle_timeout(now);
        }
        self.drain();
    }

    pub(crate) fn take_out(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub(crate) fn handle(&mut self, now: Instant, mut data: Vec<u8>) -> Option<Plain> {
        match classify(&data) {
            Class::Stun => {
                let message = Message::parse(&data).expect("the server writes well");
                if message.class == stun::Class::Request {
                    self.answer(&message);
                    return None;
                }
                assert!(message.verify(&self.key));
                self.answered = true;
                None
            }
            Class::Dtls => {
                self.dtls.handle_datagram(now, &data);
                self.drain();
                None
            }
            class @ (Class::Rtp | Class::Rtcp) => {
                let (_, unprotect) = self.keys.as_mut()?;
                let plain = if class == Class::Rtp {
                    unprotect.rtp(&mut data).map(|opened| (Some(opened.index), opened.plain_len))
                } else {
                    unprotect.rtcp(&mut data).map(|opened| (None, opened.plain_len))
                };
                let Ok((index, len)) = plain else {
                    self.rejected += 1;
                    return None;
                };
                data.truncate(len);
                Some(index.map_or_else(|| Plain::Rtcp(data.clone()), |index| Plain::Rtp { index, data: data.clone() }))
            }
            Class::Unknown => panic!("the server sent noise"),
        }
    }

    /// RFC 8445 section 7.3: a full agent answers whoever knows its password.
    fn answer(&mut self, message: &Message<'_>) {
        assert_eq!(message.username, Some(self.own.0.as_str()));
        assert!(message.verify(&self.own.1) && matches!(message.role, Some(Role::Controlled(_))));
        self.asked += 1;
        if !self.is_deaf {
            let mut out = [0; stun::REPLY_LEN_MAX];
            let server = SocketAddr::new(SERVER, 8_000);
            let len = stun::emit_success(&message.transaction, server, &self.own.1, &mut out).expect("it fits");
            self.out.push(out[..len].to_vec());
        }
    }

    pub(crate) fn send_rtp(&mut self, index: u64, header: &[u8], payload: &[u8]) {
        let Some((protect, _)) = &self.keys else { return };
        let mut out = [0; 1_500];
        let len = protect.rtp_into((index >> 16) as u32, header, payload, &mut out).expect("it fits");
        if self.captured_media.len() == CAPTURED_MAX {
            self.captured_media.pop_front();
        }
        self.captured_media.push_back(out[..len].to_vec());
        self.out.push(out[..len].to_vec());
    }

    pub(crate) fn send_rtcp(&mut self, plain: &[u8]) {
        let Some((protect, _)) = &mut self.keys else { return };
        let mut out = Vec::new();
        assert!(protect.rtcp(plain, &mut out));
        self.captured.1.clone_from(&out);
        self.out.push(out);
    }

    pub(crate) fn close(&mut self, now: Instant) {
        self.dtls.close(now);
        self.drain();
        self.mute = true;
    }

    fn drain(&mut self) {
        while let Some(data) = self.dtls.poll_transmit() {
            self.out.push(data.to_vec());
        }
        while let Some(event) = self.dtls.poll_event() {
            match event {
                DtlsEvent::Connected(keys) => {
                    let protect = Protect::new(keys.profile, &keys.local_key, &keys.local_salt).expect("good keys");
                    let unprotect = Unprotect::new(keys.profile, &keys.remote_key, &keys.remote_salt).expect("good keys");
                    self.keys = Some((protect, unprotect));
                }
                DtlsEvent::Closed => self.closed = true,
                DtlsEvent::Failed(error) => panic!("{error}"),
            }
        }
    }
}

/// The address of the server's one port.
pub(crate) const SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
