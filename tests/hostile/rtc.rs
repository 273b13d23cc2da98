//! A WebRTC peer made of the server's own parts, which can be told to lie.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use weir_rtc::{
    dtls::{Dtls, DtlsError, DtlsEvent, Identity, KeyingMaterial},
    sdp::{DtlsRole, Fingerprint, HashAlgorithm},
    srtp::Unprotect,
    wire::{
        demux::{Class, classify},
        stun::{self, IntegrityKey, Message, Role, TransactionId},
    },
};

use super::{
    Arena,
    http::{exchange, post_sdp, request},
    offers,
};

/// How long each stage of a connection may take here.
const STAGE: Duration = Duration::from_secs(8);
const UFRAG: &str = "player01";
const PWD: &str = "playerplayerplayer012345";

/// One end of a session, and what the answer told.
pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    pub(crate) server: SocketAddr,
    /// `theirs:ours`.
    pub(crate) username: String,
    /// Theirs.
    pub(crate) pwd: String,
    identity: Identity,
    fingerprint: Fingerprint,
    api: SocketAddr,
    /// The path of the session's resource.
    resource: String,
}

/// What a handshake came to.
#[derive(Debug)]
pub(crate) enum Handshake {
    Connected(KeyingMaterial),
    /// The server ended it.
    Refused,
}

impl Peer {
    /// Opens a player's session for `live/stream` whose offer has `announced` as its fingerprint, or
    /// our own.
    pub(crate) fn play(arena: &Arena<'_>, stream: &str, announced: Option<&Identity>) -> Self {
        Self::open(arena, "whep", "recvonly", stream, announced)
    }

    /// Opens a publisher's session for `live/stream`.
    pub(crate) fn publish(arena: &Arena<'_>, stream: &str) -> Self {
        Self::open(arena, "whip", "sendonly", stream, None)
    }

    fn open(arena: &Arena<'_>, endpoint: &str, direction: &str, stream: &str, announced: Option<&Identity>) -> Self {
        let identity = Identity::generate().expect("a certificate");
        let fingerprint = announced.unwrap_or(&identity).fingerprint_sha256();
        let offer = offers::offer(direction, UFRAG, PWD, &format!("sha-256 {fingerprint}"));
        let answer = post_sdp(arena.server.api, &format!("/rtc/v1/{endpoint}/?app=live&stream={stream}"), offer.as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
        let line = |start: &str| {
            let value = answer.body.lines().find_map(|line| line.strip_prefix(start));
            value.unwrap_or_else(|| panic!("{start} in {}", answer.body)).to_owned()
        };
        let digest = line("a=fingerprint:sha-256 ").split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
        Self {
            socket: quiet_socket(),
            server: arena.server.rtc,
            username: format!("{}:{UFRAG}", line("a=ice-ufrag:")),
            pwd: line("a=ice-pwd:"),
            identity,
            fingerprint: Fingerprint { algorithm: HashAlgorithm::Sha256, digest },
            api: arena.server.api,
            resource: answer.header("location").expect("a location").to_owned(),
        }
    }

    /// A nominating Binding request, signed with `pwd`.
    pub(crate) fn check(&self, pwd: &str) -> Vec<u8> {
        let request = stun::Request {
            transaction: TransactionId(*b"hostile-test"),
            username: &self.username,
            priority: 1,
            role: Role::Controlling(1),
            use_candidate: true,
        };
        let mut bytes = vec![0; 512];
        let len = request.emit(&IntegrityKey::new(pwd), &mut bytes).expect("room");
        bytes.truncate(len);
        bytes
    }

    /// Proves our address, as an honest client does.
    pub(crate) fn prove(&self) {
        let deadline = Instant::now() + STAGE;
        let key = IntegrityKey::new(&self.pwd);
        while Instant::now() < deadline {
            self.socket.send_to(&self.check(&self.pwd), self.server).expect("it is sent");
            for datagram in self.hear(Duration::from_millis(200)) {
                let message = Message::parse(&datagram);
                if message.is_ok_and(|message| message.class == stun::Class::Success && message.verify(&key)) {
                    return;
                }
            }
        }
        panic!("a right check is not answered");
    }

    /// The keys of a handshake that must work.
    pub(crate) fn connect(&self) -> KeyingMaterial {
        self.prove();
        match self.shake_hands() {
            Handshake::Connected(keys) => keys,
            Handshake::Refused => panic!("a right peer is refused"),
        }
    }

    /// Shakes hands as the DTLS client. Media that comes meanwhile is an error.
    pub(crate) fn shake_hands(&self) -> Handshake {
        let mut dtls = Dtls::new(&self.identity, DtlsRole::Active, vec![self.fingerprint.clone()], Instant::now());
        let deadline = Instant::now() + STAGE;
        while Instant::now() < deadline {
            while let Some(datagram) = dtls.poll_transmit() {
                self.socket.send_to(&datagram, self.server).expect("it is sent");
            }
            match dtls.poll_event() {
                None => {}
                Some(DtlsEvent::Connected(keys)) => return Handshake::Connected(keys),
                Some(DtlsEvent::Closed) => return Handshake::Refused,
                Some(DtlsEvent::Failed(DtlsError::BadFingerprint)) => panic!("the server's own fingerprint is wrong"),
                Some(DtlsEvent::Failed(error)) => panic!("the handshake fails: {error}"),
            }
            let mut buffer = [0; 2_048];
            if let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                match classify(&buffer[..len]) {
                    Class::Dtls => dtls.handle_datagram(Instant::now(), &buffer[..len]),
                    Class::Stun => {}
                    other => panic!("{other:?} before the keys"),
                }
            }
            if dtls.poll_timeout().is_some_and(|due| due <= Instant::now()) {
                dtls.handle_timeout(Instant::now());
            }
        }
        panic!("the handshake has no end");
    }

    /// How many RTP packets come in `time` that `keys` open.
    pub(crate) fn watch(&self, keys: &KeyingMaterial, time: Duration) -> usize {
        let mut unprotect = Unprotect::new(keys.profile, &keys.remote_key, &keys.remote_salt).expect("keys");
        let media = self.hear(time).into_iter().filter(|datagram| classify(datagram) == Class::Rtp);
        media.filter_map(|mut packet| unprotect.rtp(&mut packet).ok()).count()
    }

    /// Ends the session by HTTP, as a player does that leaves.
    pub(crate) fn leave(self) {
        let answer = exchange(self.api, &request(self.api, "DELETE", &self.resource, "application/sdp", b""));
        assert_eq!(answer.expect("an answer").status, 200);
    }

    /// Every datagram of `time`.
    pub(crate) fn hear(&self, time: Duration) -> Vec<Vec<u8>> {
        hear(&self.socket, time)
    }
}

/// Connects and watches `live/stream`, whatever comes of it.
pub(crate) fn watch(arena: &Arena<'_>, stream: &str, time: Duration) {
    let player = Peer::play(arena, stream, None);
    let keys = player.connect();
    player.watch(&keys, time);
    player.leave();
}

/// A UDP socket of loopback that waits 50 ms at a time.
pub(crate) fn quiet_socket() -> UdpSocket {
    let socket = UdpSocket::bind((IpAddr::from(Ipv4Addr::LOCALHOST), 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
    socket
}

pub(crate) fn hear(socket: &UdpSocket, time: Duration) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + time;
    let mut heard = Vec::new();
    let mut buffer = [0; 2_048];
    while Instant::now() < deadline {
        if let Ok((len, _)) = socket.recv_from(&mut buffer) {
            heard.push(buffer[..len].to_vec());
        }
    }
    heard
}
