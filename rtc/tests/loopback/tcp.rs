//! ICE over TCP: media both ways, connections that move between workers, and those of nobody.

use std::{
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use weir_rtc::{
    Protocols, RtcConfig,
    sdp::Direction,
    wire::stun::{Class, IntegrityKey, Message},
};

use crate::{
    media::{Stream, check_video, frame_of},
    peer::{Peer, run_for, run_until},
    server::Server,
    strangers::{Checker, counted},
    wire::Tcp,
};

#[test]
fn media_goes_over_tcp_both_ways_whatever_worker_accepts() {
    for workers in [1, 4] {
        let server = Server::start_tcp(workers, Protocols::Tcp);
        let (mut publisher, published) = server.publish_from(Peer::tcp_publisher(), "a");
        let mut stream = Stream::new();
        let (mut early, played) = server.play_to(Peer::tcp_viewer(), "a");
        run_until(&mut [&mut early], "the early viewer connects", |peers| peers[0].is_connected());
        stream.run(&mut [&mut publisher, &mut early], 45);
        let (mut late, _) = server.play_to(Peer::tcp_viewer(), "a");
        run_until(&mut [&mut publisher, &mut early, &mut late], "the late viewer gets media", |peers| !peers[2].got.is_empty());
        stream.run(&mut [&mut publisher, &mut early, &mut late], 40);
        run_for(&mut [&mut publisher, &mut early, &mut late], Duration::from_millis(200));
        assert_eq!(check_video(&early, 0), 85 * 2 + 3 * 2, "all frames");
        assert_eq!(check_video(&late, 30), 55 * 2 + 2 * 2, "from the last keyframe on");
        run_for(&mut [&mut publisher, &mut early, &mut late], Duration::from_millis(1_100));
        let stats = server.rtc.info(&played.session).expect("it lives").stats;
        assert_eq!((stats.over_tcp, stats.padding_out), (true, 0), "equal lengths are for UDP");
        let traffic = server.rtc.stats().traffic;
        assert_eq!((traffic.tcp.open, traffic.tcp.accepted, traffic.tcp.dropped), (3, 3, 0));
        assert_eq!((traffic.recv.datagrams, traffic.send.datagrams), (0, 0), "nothing by UDP");
        assert!(traffic.tcp.frames_in > 200 && traffic.tcp.frames_out > 300, "{traffic:?}");
        assert!(server.rtc.close(&published.session));
        run_until(&mut [&mut publisher], "the publisher is told", |peers| !peers[0].is_connected());
        server.shutdown();
        server.wait_for_nobody();
        assert_eq!(server.rtc.stats().traffic.tcp.open, 0, "connections end with their sessions");
        assert_eq!(server.rtc.stats().traffic.panics, 0);
    }
}

#[test]
fn candidates_are_as_the_protocol_says() {
    for (protocols, udp, tcp) in [(Protocols::Udp, true, false), (Protocols::Tcp, false, true), (Protocols::All, true, true)] {
        let server = Server::start_tcp(1, protocols);
        let opened = server.open_only(&mut Peer::viewer(), Direction::Play, "a");
        let has = |word: &str| opened.answer.lines().any(|line| line.starts_with("a=candidate:") && line.contains(word));
        assert_eq!((has(" udp "), has(" tcp ")), (udp, tcp), "{protocols:?}");
    }
    let config = RtcConfig { protocols: Protocols::Tcp, listen: vec![([127, 0, 0, 1], 0).into()], ..RtcConfig::default() };
    let refused = weir_rtc::RtcServer::start(config, weir_source::Hub::new());
    assert!(matches!(refused, Err(weir_rtc::StartError::NoListener)));
}

#[test]
fn a_peer_whose_connection_ends_goes_on_over_another() {
    let server = Server::start_tcp(4, Protocols::Tcp);
    let (mut publisher, _) = server.publish_from(Peer::tcp_publisher(), "a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play_to(Peer::tcp_viewer(), "a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 5);
    for _ in 0..3 {
        viewer.move_away();
        viewer.got.clear();
        let limit = Instant::now() + Duration::from_secs(10);
        while viewer.got.is_empty() {
            assert!(Instant::now() < limit, "media goes on");
            stream.run(&mut [&mut publisher, &mut viewer], 1);
        }
        assert!(viewer.checked.is_some_and(|at| at.elapsed() < Duration::from_millis(500)), "at its first check");
    }
    counted(&server, "the former connections are gone", |traffic| traffic.tcp.open == 2);
    assert!(server.rtc.info(&opened.session).is_some_and(|info| info.connected));
}

/// Sends a check and waits for its answer.
fn is_answered(checker: &Checker, tcp: &mut Tcp) -> bool {
    tcp.send(&checker.check(&checker.opened.username, &checker.pwd));
    let limit = Instant::now() + Duration::from_millis(500);
    while Instant::now() < limit && !tcp.is_over {
        if let Some(answer) = tcp.recv() {
            let message = Message::parse(&answer).expect("STUN");
            assert_eq!((message.class, message.mapped), (Class::Success, Some(tcp.local())));
            return message.verify(&IntegrityKey::new(&checker.pwd));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn closes(tcp: &mut Tcp, within: Duration) -> bool {
    let limit = Instant::now() + within;
    while Instant::now() < limit {
        assert_eq!(tcp.recv(), None, "nothing is said");
        if tcp.is_over {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn what_comes_first_must_prove_whose_the_connection_is() {
    let server = Server::start_tcp(2, Protocols::Tcp);
    let checker = Checker::open(&server, "a");
    let addr = server.rtc.tcp_candidates()[0];
    let (username, pwd) = (checker.opened.username.as_str(), checker.pwd.as_str());
    let framed = |data: &[u8]| [&u16::try_from(data.len()).expect("short").to_be_bytes()[..], data].concat();
    let good = framed(&checker.check(username, pwd));
    let too_long = [&1_501_u16.to_be_bytes()[..], &[0; 1_501]].concat();
    for (name, bytes) in [
        ("another password", framed(&checker.check(username, "another password, long enough"))),
        ("nobody's name", framed(&checker.check(&format!("nobody:{username}"), pwd))),
        ("media", framed(&[&[0x80, 96][..], &[1; 98]].concat())),
        ("a hello", framed(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("too long a frame", too_long.clone()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ] {
        let mut tcp = Tcp::to(addr);
        tcp.write(&bytes);
        assert!(closes(&mut tcp, Duration::from_secs(2)), "{name}");
    }
    let mut silent = Tcp::to(addr);
    let mut slow = Tcp::to(addr);
    slow.write(&good[..30]);
    assert_eq!(server.rtc.stats().waiting, 1, "the session still waits for its own client");
    let mut own = Tcp::to(addr);
    assert!(is_answered(&checker, &mut own));
    // Damage in a frame is a datagram's matter, that of the framing the connection's.
    own.send(&[1; 100]);
    assert!(is_answered(&checker, &mut own));
    own.write(&too_long);
    assert!(closes(&mut own, Duration::from_secs(2)));
    assert!(closes(&mut silent, Duration::from_secs(7)) && closes(&mut slow, Duration::from_secs(2)), "five seconds");
    counted(&server, "each under its reason", |traffic| (traffic.tcp.too_long, traffic.tcp.unproven) == (3, 6));
    assert_eq!((server.rtc.stats().traffic.tcp.open, server.rtc.stats().traffic.panics), (0, 0));
}

#[test]
fn connections_are_counted_in_and_out() {
    let tcp = vec![([127, 0, 0, 1], 0).into()];
    let server = Server::with(RtcConfig { tcp, workers: 2, connections_max: 8, ..RtcConfig::default() });
    let addr = server.rtc.tcp_candidates()[0];
    let held: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(addr).expect("it listens")).collect();
    counted(&server, "all are let in", |traffic| traffic.tcp.accepted == 8);
    let mut ninth = Tcp::to(addr);
    assert!(closes(&mut ninth, Duration::from_secs(2)));
    drop(held);
    counted(&server, "all have left", |traffic| traffic.tcp.open == 0 && traffic.tcp.refused == 1);
    let mut next = TcpStream::connect(addr).expect("it listens");
    next.write_all(&[0]).expect("somebody is there");
    counted(&server, "there is room again", |traffic| traffic.tcp.open == 1);
}

#[test]
fn a_viewer_that_takes_nothing_ends_and_holds_nobody_up() {
    let server = Server::start_tcp(1, Protocols::Tcp);
    let (mut publisher, _) = server.publish_from(Peer::tcp_publisher(), "a");
    let mut stream = Stream::new();
    let (mut stuck, opened) = server.play_to(Peer::tcp_viewer(), "a");
    let (mut viewer, _) = server.play_to(Peer::tcp_viewer(), "a");
    run_until(&mut [&mut stuck, &mut viewer], "both connect", |peers| peers.iter().all(|peer| peer.is_connected()));
    stream.run(&mut [&mut publisher, &mut stuck, &mut viewer], 3);
    // It still sends its checks: only what it is sent is never read.
    let ended = Instant::now() + Duration::from_secs(40);
    let mut frames = 0;
    while server.rtc.info(&opened.session).is_some() {
        assert!(Instant::now() < ended, "it ends");
        for _ in 0..10 {
            stream.send_frame(&mut publisher);
            frames += 1;
        }
        run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(5));
        let signal = &checks(&opened);
        stuck.send_raw(signal);
    }
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(1_200));
    let traffic = server.rtc.stats().traffic;
    assert_eq!(traffic.tcp.stuck, 1);
    assert!(traffic.tcp.dropped > 0, "its queue has an end");
    assert!(viewer.got.len() > frames, "the other has it all: {} of {frames} frames", viewer.got.len());
    assert!(traffic.tcp.frames_out > 5 * traffic.tcp.writes, "many datagrams a write: {traffic:?}");
}

#[test]
fn a_viewer_that_cannot_follow_goes_on_at_a_keyframe_without_a_hole() {
    let server = Server::start_tcp(1, Protocols::Tcp);
    let (mut publisher, _) = server.publish_from(Peer::tcp_publisher(), "a");
    let mut stream = Stream::new();
    let (mut viewer, _) = server.play_to(Peer::tcp_viewer(), "a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 3);
    // For a second it reads nothing of 3 MB.
    for _ in 0..150 {
        for _ in 0..10 {
            stream.send_frame(&mut publisher);
        }
        run_for(&mut [&mut publisher], Duration::from_millis(6));
    }
    let newest = stream.frame;
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(700));
    stream.run(&mut [&mut publisher, &mut viewer], 10);
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(200));
    let video: Vec<_> = viewer.got.iter().filter(|got| got.payload_type == 125).collect();
    let mut jumps = 0;
    for pair in video.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "nothing to ask for again");
        let (before, after) = (frame_of(&pair[0].payload), frame_of(&pair[1].payload));
        if after != before + u32::from(pair[0].marker) {
            assert!(after > before && after % 30 == 0, "from {before} to {after}");
            jumps += 1;
        }
    }
    assert!(jumps > 0, "it was not given all");
    assert_eq!(video.last().map(|got| frame_of(&got.payload)), Some(newest + 9), "it is live again");
    counted(&server, "what was left out is counted", |traffic| traffic.tcp.dropped > 500);
    assert_eq!(server.rtc.stats().traffic.tcp.stuck, 0);
}

fn checks(opened: &weir_rtc::Opened) -> Vec<u8> {
    let pwd = opened.answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a password");
    crate::strangers::check(&opened.username, pwd)
}

#[test]
fn a_flood_of_connections_and_garbage_disturbs_nobody() {
    let server = Server::start_tcp(2, Protocols::Tcp);
    let (mut publisher, _) = server.publish_from(Peer::tcp_publisher(), "a");
    let mut stream = Stream::new();
    let (mut viewer, _) = server.play_to(Peer::tcp_viewer(), "a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    let addr = server.rtc.tcp_candidates()[0];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut held = Vec::new();
    for _ in 0..30 {
        for _ in 0..10 {
            let mut stranger = TcpStream::connect(addr).expect("it listens");
            let mut bytes: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
            // Some begin as a frame of a believable length.
            if let (true, Some(head)) = (random() % 2 == 0, bytes.first_chunk_mut::<2>()) {
                *head = [0, (random() % 200) as u8];
            }
            let _closed_already = stranger.write_all(&bytes);
            held.push(stranger);
        }
        stream.run(&mut [&mut publisher, &mut viewer], 1);
    }
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(200));
    assert_eq!(check_video(&viewer, 0), 30 * 2 + 2, "all frames, in order");
    counted(&server, "all strangers were let in", |traffic| traffic.tcp.accepted >= 302);
    counted(&server, "and shown out", |traffic| traffic.tcp.unproven + traffic.tcp.too_long > 200 && traffic.tcp.open < 100);
    drop(held);
    counted(&server, "the others with their ends", |traffic| traffic.tcp.open == 2);
    assert_eq!(server.rtc.stats().traffic.panics, 0);
}
