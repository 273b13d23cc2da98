//! Floods and peers that stop half way, against real sockets and workers. The names begin with the rows of
//! the threat catalogue.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_rtc::{CONSENT_MIN, EndReason, sdp::Direction};

use crate::{
    hello::hellos,
    media::Stream,
    peer::{Peer, run_until},
    server::Server,
    strangers::{Checker, bind, check, counted, receive, send},
};

/// A client's checks as somebody makes them who has seen its names: signed with another password, for another
/// peer, cut within the MAC, and nominating.
fn forged(username: &str) -> Vec<Vec<u8>> {
    let (ours, _) = username.split_once(':').expect("two names");
    let good = check(username, "another password, long enough");
    let cut = good[..good.len() - 20].to_vec();
    vec![good, check(&format!("{ours}:somebody"), "another password, long enough"), cut]
}

#[test]
fn a03_a10_two_hundred_clients_connect_whatever_strangers_send_in_their_names() {
    const BATCH: usize = 20;
    let server = Server::start(2);
    let to = server.rtc.candidates()[0];
    let (stranger, hellos) = (bind(), hellos(Instant::now()));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Five thousand hellos a second from eight places, before, during and after.
        scope.spawn(|| {
            let sockets: Vec<UdpSocket> = (0..8).map(|_| bind()).collect();
            while !is_over.load(Ordering::Relaxed) {
                for socket in &sockets {
                    hellos.iter().for_each(|hello| send(socket, to, hello));
                }
                thread::sleep(Duration::from_millis(3));
            }
            sockets.iter().for_each(|socket| assert_eq!(receive(socket), None, "a hello is answered"));
        });
        let mut peers: Vec<Peer> = Vec::new();
        for batch in 0..10 {
            let opened: Vec<_> = (0..BATCH).map(|_| server.play("a")).collect();
            let forged: Vec<_> = opened.iter().flat_map(|(_, opened)| forged(&opened.username)).collect();
            peers.extend(opened.into_iter().map(|(peer, _)| peer));
            let mut new: Vec<&mut Peer> = peers.iter_mut().skip(batch * BATCH).collect();
            let mut next = forged.iter().cycle();
            run_until(&mut new, "all connect", |peers| {
                next.by_ref().take(6).for_each(|data| send(&stranger, to, data));
                peers.iter().all(|peer| peer.is_connected())
            });
        }
        assert_eq!(peers.len(), 10 * BATCH);
        let limit = Instant::now() + Duration::from_secs(5);
        while server.rtc.stats().connected < peers.len() {
            assert!(Instant::now() < limit, "{:?}", server.rtc.stats());
            thread::sleep(Duration::from_millis(5));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(receive(&stranger), None, "a forged check is answered");
    counted(&server, "the floods were heard", |traffic| traffic.unproven_tuple > 2_000 && traffic.bad_mac > 300);
    assert_eq!(server.rtc.stats().traffic.panics, 0);
}

#[test]
fn a04_thirty_thousand_checks_for_nobody_leave_nothing_and_get_no_answer() {
    let server = Server::start(2);
    let to = server.rtc.candidates()[0];
    let checker = Checker::open(&server, "a");
    let mut names = (0_u32..).map(|n| check(&format!("{:08x}:{n}", n.wrapping_mul(2_654_435_761)), "no password of anybody"));
    let one = bind();
    for n in 0..15_000_u32 {
        send(&one, to, &names.next().expect("endless"));
        // What the receive buffer holds, so that all of them are read.
        if n % 500 == 499 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    for n in 0..5_000_u32 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        names.by_ref().take(3).for_each(|data| send(&socket, to, &data));
        if n % 200 == 199 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    counted(&server, "all were heard", |traffic| traffic.unknown_ufrag + traffic.kernel_drops >= 30_000);
    let traffic = server.rtc.stats().traffic;
    assert!(traffic.unknown_ufrag > 25_000, "{traffic:?}");
    assert_eq!((traffic.send.datagrams, traffic.claimed, traffic.handed_over), (0, 0, 0), "nobody is answered or remembered");
    assert_eq!(receive(&one), None);
    assert_eq!(server.gauges(), [1, 1, 1, 1], "whoever is waited for is waited for");
    assert!(checker.is_answered(&bind()));
}

#[test]
fn a07_a_peer_gone_dark_is_sent_to_no_longer_than_it_consented_and_is_freed() {
    let server = Server::start(1);
    let (mut publisher, published) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play_with_consent("a", CONSENT_MIN);
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 10);
    // Its line is down: it neither says anything nor refuses anything.
    let dark = Instant::now();
    while server.rtc.info(&opened.session).is_some() {
        assert!(dark.elapsed() < CONSENT_MIN + Duration::from_secs(4), "it is still there");
        stream.run(&mut [&mut publisher], 3);
    }
    assert!(dark.elapsed() > CONSENT_MIN - Duration::from_secs(4), "it was given its time");
    let stats = server.rtc.stats();
    assert_eq!((stats.players, stats.publishers, server.hub.clients().count()), (0, 1, 1));
    let ended = server.rtc.reports(0, 9).0.into_iter().find_map(|report| report.end);
    assert_eq!(ended.map(|(reason, _)| reason), Some(EndReason::ConsentExpired));
    let sent = stats.traffic.send.datagrams;
    stream.run(&mut [&mut publisher], 30);
    assert!(server.rtc.stats().traffic.send.datagrams < sent + 60, "nothing but the publisher's feedback leaves");
    assert!(server.rtc.close(&published.session));
    server.wait_for_nobody();
}

#[test]
fn a13_hundreds_that_stop_after_ice_keep_nobody_out_and_are_gone_in_fifteen_seconds() {
    const MANY: usize = 300;
    let server = Server::start(2);
    let offer = Peer::viewer().offer();
    let sockets: Vec<UdpSocket> = (0..MANY).map(|_| bind()).collect();
    let began = Instant::now();
    for socket in &sockets {
        let opened = server.post(offer.clone(), Direction::Play, "a", false).expect("it is answered");
        let checker = Checker::of(&server, opened);
        assert!(checker.is_answered(socket));
    }
    let all = Instant::now();
    assert_eq!(server.rtc.stats().players, MANY);
    let (mut viewer, _) = server.play("a");
    run_until(&mut [&mut viewer], "another connects", |peers| peers[0].is_connected());
    assert_eq!(server.rtc.stats().players, MANY + 1, "while all of them are there");
    while server.rtc.stats().players > 1 {
        assert!(all.elapsed() < Duration::from_secs(18), "{} are left", server.rtc.stats().players);
        viewer.step();
        thread::sleep(Duration::from_millis(5));
    }
    assert!(began.elapsed() > Duration::from_secs(14), "they had their time");
    assert_eq!(server.rtc.stats().connected, 1);
}
