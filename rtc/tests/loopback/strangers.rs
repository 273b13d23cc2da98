//! Datagrams by hand: who is heard, who is answered, and who is not.

use std::{
    io::ErrorKind,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use weir_rtc::{
    Opened, RestartError, Traffic,
    sdp::{Direction, IceCredentials},
    wire::stun::{Class, IntegrityKey, Message, Request, Role, TransactionId},
};

use crate::{peer::Peer, server::Server};

/// A client that has an answer and can sign checks with it.
pub(crate) struct Checker {
    pub(crate) opened: Opened,
    pub(crate) pwd: String,
    pub(crate) server: SocketAddr,
}

impl Checker {
    pub(crate) fn open(server: &Server, name: &str) -> Self {
        Self::of(server, server.open_only(&mut Peer::publisher(), Direction::Publish, name))
    }

    pub(crate) fn of(server: &Server, opened: Opened) -> Self {
        let pwd = opened.answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a password").to_owned();
        Self { opened, pwd, server: server.rtc.candidates()[0] }
    }

    pub(crate) fn check(&self, username: &str, pwd: &str) -> Vec<u8> {
        check(username, pwd)
    }

    /// Whether a signed check from `socket` is answered, with the address it came from.
    pub(crate) fn is_answered(&self, socket: &UdpSocket) -> bool {
        send(socket, self.server, &self.check(&self.opened.username, &self.pwd));
        let Some(answer) = receive(socket) else { return false };
        let message = Message::parse(&answer).expect("STUN");
        message.class == Class::Success
            && message.mapped == socket.local_addr().ok()
            && message.verify(&IntegrityKey::new(&self.pwd))
    }
}

/// A check that nominates.
pub(crate) fn check(username: &str, pwd: &str) -> Vec<u8> {
    let request =
        Request { transaction: TransactionId([7; 12]), username, priority: 1, role: Role::Controlling(1), use_candidate: true };
    let mut out = [0; 600];
    let len = request.emit(&IntegrityKey::new(pwd), &mut out).expect("it fits");
    out[..len].to_vec()
}

pub(crate) fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    socket
}

pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, data: &[u8]) {
    socket.send_to(data, to).expect("loopback takes it");
}

pub(crate) fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 2_000];
    match socket.recv_from(&mut buffer) {
        Ok((len, _)) => Some(buffer[..len].to_vec()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Counters are published once a second.
pub(crate) fn counted(server: &Server, what: &str, enough: impl Fn(&Traffic) -> bool) {
    let limit = Instant::now() + Duration::from_secs(5);
    while !enough(&server.rtc.stats().traffic) {
        assert!(Instant::now() < limit, "{what}: {:?}", server.rtc.stats().traffic);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A DTLS record header and nothing sensible behind it.
const NOISE: [u8; 60] = {
    let mut noise = [0; 60];
    noise[0] = 22;
    noise[1] = 0xfe;
    noise[2] = 0xfd;
    noise
};

#[test]
fn a05_strangers_are_met_with_silence_and_counted() {
    let server = Server::start(2);
    let checker = Checker::open(&server, "a");
    let stranger = bind();
    let (username, pwd) = (checker.opened.username.as_str(), checker.pwd.as_str());
    let mut truncated = checker.check(username, pwd);
    truncated.truncate(60);
    let mut bare = checker.check("x:y", pwd);
    bare.truncate(20);
    bare[2..4].fill(0);
    let rtp = [&[0x80, 96][..], &[1; 98]].concat();
    for datagram in [
        checker.check(username, "another password, long enough"),
        checker.check(&format!("nobody:{username}"), pwd),
        truncated,
        bare,
        NOISE.to_vec(),
        rtp,
        vec![0xff; 100],
        vec![64],
    ] {
        send(&stranger, checker.server, &datagram);
    }
    assert_eq!(receive(&stranger), None);
    counted(&server, "each under its reason", |traffic| {
        (traffic.bad_mac, traffic.unknown_ufrag, traffic.unproven_tuple, traffic.unknown) == (1, 3, 2, 2)
    });
    assert_eq!(server.rtc.stats().waiting, 1, "the session still waits for its own client");
    assert!(checker.is_answered(&bind()));
    assert_eq!(server.rtc.stats().waiting, 0);
}

#[test]
fn every_worker_hears_a_peer_and_one_owns_it() {
    let server = Server::start(4);
    let checker = Checker::open(&server, "a");
    // The kernel spreads these over the four sockets by their ports.
    let sockets: Vec<UdpSocket> = (0..24).map(|_| bind()).collect();
    for socket in &sockets {
        assert!(checker.is_answered(socket), "whichever worker hears it");
    }
    counted(&server, "most were heard by others", |traffic| traffic.claimed == 1 && traffic.handed_over > 0);
    let before = server.rtc.stats().traffic.handed_over;
    // The address of the last check is where the peer is now; the others were forgotten or not, but
    // a stranger's datagrams are dropped by all workers.
    for socket in &sockets {
        send(socket, checker.server, &NOISE);
    }
    counted(&server, "what is not STUN follows", |traffic| traffic.handed_over > before);
    assert!(server.rtc.close(&checker.opened.session));
    server.wait_for_nobody();
    for socket in sockets.iter().take(4) {
        assert!(!checker.is_answered(socket), "its password has died with it");
    }
    assert_eq!(server.rtc.stats().traffic.panics, 0);
}

#[test]
fn a_restarted_session_answers_to_its_new_names_whatever_worker_hears_them() {
    for is_claimed in [true, false] {
        let server = Server::start(4);
        let checker = Checker::open(&server, "a");
        let session = checker.opened.session.clone();
        if is_claimed {
            assert!(checker.is_answered(&bind()));
        }
        let etag = checker.opened.etag.clone();
        let remote = IceCredentials { ufrag: "theirs".to_owned(), pwd: "P2uYro0UCOQ4zxjKXaWCBui1".to_owned() };
        let restarted = server.rtc.restart_ice(&session, Some(&etag), remote.clone()).expect("it lives");
        assert_eq!(server.rtc.restart_ice(&session, Some(&etag), remote), Err(RestartError::Changed));
        assert_eq!(server.rtc.info(&session).map(|info| info.etag), Some(restarted.etag));
        let line =
            |name: &str| restarted.fragment.lines().find_map(|line| line.strip_prefix(name)).expect("it is there").to_owned();
        let username = format!("{}:theirs", line("a=ice-ufrag:"));
        let renewed =
            Checker { opened: Opened { username, ..checker.opened.clone() }, pwd: line("a=ice-pwd:"), server: checker.server };
        for _ in 0..8 {
            assert!(renewed.is_answered(&bind()));
        }
        for _ in 0..3 {
            assert!(!checker.is_answered(&bind()), "the former names ended with the new nomination");
        }
        assert!(server.rtc.close(&session));
        server.wait_for_nobody();
        assert!(!renewed.is_answered(&bind()));
    }
}

#[test]
fn h46_a_peer_that_never_comes_frees_its_name_after_ten_seconds() {
    let server = Server::start(1);
    let checker = Checker::open(&server, "a");
    std::thread::sleep(Duration::from_secs(9));
    assert_eq!(server.gauges(), [1, 1, 1, 1]);
    server.wait_for_nobody();
    assert!(server.rtc.info(&checker.opened.session).is_none());
}

#[test]
fn random_datagrams_from_a_proven_address_do_no_harm() {
    let server = Server::start(2);
    let checker = Checker::open(&server, "a");
    let socket = bind();
    assert!(checker.is_answered(&socket));
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..6_000 {
        let len = (random() % 200) as usize;
        let mut datagram: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        // Every class of first byte (RFC 7983), lengths from nothing on.
        if let Some(first) = datagram.first_mut() {
            *first = [1, 22, 0x80, 0x90, 0xa0, 63, 20][round % 7];
        }
        send(&socket, checker.server, &datagram);
    }
    while receive(&socket).is_some() {}
    // What the server has not read yet it reads first.
    let limit = Instant::now() + Duration::from_secs(5);
    while !checker.is_answered(&socket) {
        assert!(Instant::now() < limit, "it is not there any more: {:?}", server.rtc.stats());
    }
    counted(&server, "all were read", |traffic| traffic.recv.datagrams > 1_000);
    assert_eq!(server.rtc.stats().traffic.panics, 0);
}
