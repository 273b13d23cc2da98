//! Peers that are elsewhere, and peers that only say so.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use weir_rtc::{
    Opened,
    wire::{
        demux::{Class, classify},
        stun,
    },
};

use crate::{
    media::Stream,
    peer::run_until,
    server::Server,
    strangers::{check, counted},
};

#[test]
fn peers_whose_nat_forgot_them_are_followed_without_a_check_of_theirs_whatever_worker_hears_them() {
    for workers in [1, 4] {
        let server = Server::start(workers);
        let (mut publisher, published) = server.publish("a");
        let mut stream = Stream::new();
        let (mut viewer, opened) = server.play("a");
        run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
        // Streams are known by their names after a second, reports once there was one.
        stream.run(&mut [&mut publisher, &mut viewer], 70);
        (publisher.is_mute, viewer.is_mute) = (true, true);
        let remote = |opened: &Opened| server.rtc.info(&opened.session).and_then(|info| info.remote);
        for round in 1..=3 {
            let places = [remote(&published), remote(&opened)];
            publisher.move_away();
            viewer.move_away();
            let began = Instant::now();
            let moves = |opened: &Opened| server.rtc.info(&opened.session).map_or(0, |info| info.stats.moves);
            while moves(&published) < round || moves(&opened) < round {
                assert!(began.elapsed() < Duration::from_secs(4), "round {round} with {workers} workers");
                stream.run(&mut [&mut publisher, &mut viewer], 1);
            }
            let now = [remote(&published), remote(&opened)];
            assert!(now[0] != places[0] && now[1] != places[1], "{places:?} {now:?}");
            viewer.got.clear();
            stream.run(&mut [&mut publisher, &mut viewer], 5);
            assert!(!viewer.got.is_empty(), "media goes on");
        }
        let asked = [&published, &opened].map(|opened| server.rtc.info(&opened.session).map_or(0, |info| info.stats.checks_sent));
        assert!(asked.iter().all(|asked| (3..=6).contains(asked)), "{asked:?}");
    }
}

/// RFC 8826's voice hammer. That the checks come from the victim's own socket here, which then keeps quiet,
/// is the same to the server.
#[test]
fn a06_a_viewer_that_forges_its_address_turns_nothing_onto_a_victim() {
    let server = Server::start(2);
    let (mut publisher, _) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    let pwd = opened.answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a password");
    let forged = check(&opened.username, pwd);
    let victim = UdpSocket::bind("127.0.0.2:0").expect("a free port");
    victim.set_nonblocking(true).expect("non-blocking");
    let (mut sent, mut answers, mut requests) = (0, 0, 0);
    for _ in 0..100 {
        victim.send_to(&forged, server.rtc.candidates()[0]).expect("loopback takes it");
        sent += 1;
        stream.run(&mut [&mut publisher, &mut viewer], 1);
        let mut buffer = [0; 2_000];
        while let Ok((len, _)) = victim.recv_from(&mut buffer) {
            assert_eq!((classify(&buffer[..len]), len <= 110), (Class::Stun, true));
            match stun::peek_class(&buffer[..len]) {
                Some(stun::Class::Request) => requests += 1,
                class => {
                    assert_eq!(class, Some(stun::Class::Success));
                    answers += 1;
                }
            }
        }
    }
    assert!(answers <= sent && requests == 3, "{answers} answers, {requests} checks");
    let info = server.rtc.info(&opened.session).expect("it lives");
    assert_eq!((info.stats.moves, info.stats.checks_sent), (0, 3));
    let pictures = viewer.got.iter().filter(|got| got.payload_type == 125 && got.marker).count();
    assert!(pictures >= 95, "the viewer itself misses nothing: {pictures}");
}

#[test]
fn the_address_that_a_peer_has_left_is_a_strangers_after_five_seconds() {
    let server = Server::start(1);
    let (mut publisher, _) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 5);
    let mut old = viewer.move_away();
    let moves = || server.rtc.info(&opened.session).map_or(0, |info| info.stats.moves);
    let limit = Instant::now() + Duration::from_secs(10);
    while moves() == 0 {
        assert!(Instant::now() < limit, "it is followed");
        stream.run(&mut [&mut publisher, &mut viewer], 1);
    }
    stream.run(&mut [&mut publisher, &mut viewer], 5 * 31);
    let before = server.rtc.stats().traffic.unproven_tuple;
    // Looks like DTLS, which is heard from a peer's own addresses only.
    old.send_to(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], server.rtc.candidates()[0]);
    counted(&server, "nobody's any more", |traffic| traffic.unproven_tuple == before + 1);
    assert_eq!(server.rtc.stats().players, 1);
}
