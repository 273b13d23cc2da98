//! Publishers and viewers of another make: every packet, in order, from the first keyframe on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_rtc::{OpenError, Opened, sdp::Direction};

use crate::{
    peer::{Peer, run_for, run_until},
    server::Server,
};

/// A stream: frame 0, 30, 60 … are keyframes of a STAP-A and three fragments, others two packets;
/// an audio packet follows each. Every packet carries its frame's number.
pub(crate) struct Stream {
    pub(crate) frame: u32,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self { frame: 0 }
    }

    pub(crate) fn send_frame(&mut self, peer: &mut Peer) {
        let number = self.frame.to_be_bytes();
        let timestamp = 1_000_000_u32.wrapping_add(self.frame * 3_000);
        let keyframe = self.frame.is_multiple_of(30);
        if keyframe {
            // RFC 6184 section 5.7.1: SPS (7) and PPS (8) in one STAP-A (24).
            let sps = [0x67, 0x42, 0xe0, 0x1f, number[0], number[1], number[2], number[3]];
            let pps = [0x68, 0xce, 0x3c, 0x80];
            let stap = [&[24, 0, 8][..], &sps, &[0, 4], &pps].concat();
            peer.send(true, timestamp, false, stap.into());
        }
        let (kind, count) = if keyframe { (5, 3) } else { (1, 2) };
        for part in 0..count {
            let (start, end) = (part == 0, part == count - 1);
            let header = [0x7c, u8::from(start) << 7 | u8::from(end) << 6 | kind];
            let payload = [&header[..], &number, &[part; 1_000]].concat();
            peer.send(true, timestamp, end, payload.into());
        }
        let audio = [&[0xfc_u8][..], &number, &[7; 60]].concat();
        peer.send(false, 500_000_u32.wrapping_add(self.frame * 1_600), true, audio.into());
        self.frame += 1;
    }

    /// Runs all peers in real time while the first one publishes `frames` frames.
    pub(crate) fn run(&mut self, peers: &mut [&mut Peer], frames: u32) {
        let end = self.frame + frames;
        while self.frame < end {
            self.send_frame(peers[0]);
            run_for(peers, Duration::from_millis(33));
        }
    }
}

pub(crate) fn frame_of(payload: &Bytes) -> u32 {
    let at = match payload[0] & 0x1f {
        24 => 7,
        _ if payload[0] == 0xfc => 1,
        _ => 2,
    };
    u32::from_be_bytes(payload[at..at + 4].try_into().expect("four bytes"))
}

/// Video from a keyframe on, without a hole, in order; the number of its packets.
pub(crate) fn check_video(peer: &Peer, from_frame: u32) -> usize {
    let video: Vec<_> = peer.got.iter().filter(|got| got.payload_type == 125).collect();
    let first = video.first().expect("there is video");
    assert_eq!(first.payload[0] & 0x1f, 24, "it begins with the parameter sets");
    assert_eq!(frame_of(&first.payload), from_frame);
    assert!(first.sequence < 1 << 15, "the roll-over counter starts at 0 for sure");
    for pair in video.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "no hole, nothing twice");
        let step = frame_of(&pair[1].payload) - frame_of(&pair[0].payload);
        assert_eq!(step, u32::from(pair[0].marker), "frames in order");
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 1 << 31, "time goes on");
    }
    video.len()
}

#[test]
fn viewers_get_every_packet_from_the_cached_keyframe_on() {
    let server = Server::start(2);
    let (mut publisher, _) = server.publish("a");
    let mut stream = Stream::new();
    let (mut early, _) = server.play("a");
    run_until(&mut [&mut early], "the early viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut early], 45);
    let (mut late, _) = server.play("a");
    run_until(&mut [&mut publisher, &mut early, &mut late], "the late viewer gets media", |peers| !peers[2].got.is_empty());
    stream.run(&mut [&mut publisher, &mut early, &mut late], 40);
    run_for(&mut [&mut publisher, &mut early, &mut late], Duration::from_millis(200));

    let early_count = check_video(&early, 0);
    assert_eq!(early_count, 85 * 2 + 3 * 2, "all frames");
    let late_count = check_video(&late, 30);
    assert_eq!(late_count, 55 * 2 + 2 * 2, "from the last keyframe on");
    let audio = early.got.iter().filter(|got| got.payload_type == 111).count();
    assert!(audio >= 84, "sound too: {audio}");
    let stats = server.rtc.stats();
    assert_eq!((stats.publishers, stats.players, stats.connected, stats.waiting), (1, 2, 3, 0));
    assert_eq!((stats.traffic.panics, stats.traffic.kernel_drops), (0, 0));
    server.shutdown();
    server.wait_for_nobody();
}

#[test]
fn sessions_that_are_deleted_or_closed_leave_nothing_behind() {
    let server = Server::start(2);
    let (mut publisher, published) = server.publish("a");
    let mut viewers: Vec<(Peer, Opened)> = (0..6).map(|_| server.play("a")).collect();
    {
        let mut all: Vec<&mut Peer> = viewers.iter_mut().map(|(peer, _)| peer).collect();
        run_until(&mut all, "all connect", |peers| peers.iter().all(|peer| peer.is_connected()));
    }
    let info = server.rtc.info(&published.session).expect("it lives");
    assert_eq!(info.direction, Direction::Publish);
    for (_, opened) in viewers.iter().take(3) {
        assert!(server.rtc.close(&opened.session));
        assert!(!server.rtc.close(&opened.session), "it has gone");
        assert!(server.rtc.info(&opened.session).is_none());
    }
    for (peer, _) in viewers.iter_mut().skip(3) {
        peer.close();
    }
    assert!(server.rtc.close(&published.session));
    // The name is free at once.
    let mut next = Peer::publisher();
    let opened = server.open(&mut next, Direction::Publish, "a").expect("a free name");
    assert!(server.rtc.close(&opened.session));
    server.wait_for_nobody();
    run_until(&mut [&mut publisher], "the publisher is told", |peers| !peers[0].is_connected());
}

#[test]
fn a_second_publisher_is_refused_and_viewers_survive_a_new_one() {
    let server = Server::start(1);
    let (mut first, opened) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, _) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut first, &mut viewer], 10);
    let refused = server.open(&mut Peer::publisher(), Direction::Publish, "a");
    assert!(matches!(refused, Err(OpenError::StreamBusy)));
    assert!(server.rtc.close(&opened.session));

    let (mut second, _) = server.publish("a");
    stream.frame = 30;
    stream.run(&mut [&mut second, &mut viewer], 20);
    run_for(&mut [&mut second, &mut viewer], Duration::from_millis(100));
    let video: Vec<_> = viewer.got.iter().filter(|got| got.payload_type == 125).collect();
    assert!(video.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)), "one unbroken stream");
    assert_eq!(video.len(), 2 * 30 + 2 * 2, "all of the first and all of the second");
}

#[test]
fn a_viewer_that_joins_without_a_keyframe_makes_the_publisher_send_one() {
    let server = Server::start(2);
    let (mut publisher, published) = server.publish("a");
    let mut stream = Stream::new();
    stream.frame = 1;
    let (mut viewer, _) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 10);
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(800));
    let asked = server.rtc.info(&published.session).map(|info| info.stats.pli_sent);
    assert!((1..=3).contains(&asked.unwrap_or(0)), "asked, but not all the time: {asked:?}");
    assert!(viewer.got.iter().all(|got| got.payload_type == 111), "pictures without a keyframe are of no use");
    stream.frame = 30;
    stream.run(&mut [&mut publisher, &mut viewer], 3);
    run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(100));
    check_video(&viewer, 30);
}

#[test]
fn peers_whose_port_changes_go_on_within_a_second_of_their_first_check_whatever_worker_hears_it() {
    let server = Server::start(4);
    let (mut publisher, published) = server.publish("a");
    let mut stream = Stream::new();
    let (mut viewer, opened) = server.play("a");
    run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
    stream.run(&mut [&mut publisher, &mut viewer], 5);
    publisher.nominate_no_more(&published);
    viewer.nominate_no_more(&opened);
    for moves_publisher in [false, true] {
        if moves_publisher {
            publisher.move_away();
        } else {
            viewer.move_away();
        }
        viewer.got.clear();
        let limit = Instant::now() + Duration::from_secs(10);
        let checked = |publisher: &Peer, viewer: &Peer| if moves_publisher { publisher.checked } else { viewer.checked };
        while viewer.got.is_empty() {
            assert!(Instant::now() < limit, "media goes on");
            stream.run(&mut [&mut publisher, &mut viewer], 1);
            if checked(&publisher, &viewer).is_none() {
                // What the way still held of the time before.
                viewer.got.clear();
            }
        }
        let took = checked(&publisher, &viewer).expect("nobody moves unproven").elapsed();
        assert!(took < Duration::from_secs(1), "{took:?} after the first check");
    }
    assert!(server.rtc.info(&opened.session).is_some_and(|info| info.connected));
    assert_eq!(server.rtc.stats().players, 1);
}

#[test]
fn a19_a_publisher_whose_nat_forgot_it_is_heard_before_its_next_check_and_forgers_are_not() {
    for workers in [1, 4] {
        let server = Server::start(workers);
        let (mut publisher, published) = server.publish("a");
        let mut stream = Stream::new();
        let (mut viewer, _) = server.play("a");
        run_until(&mut [&mut viewer], "the viewer connects", |peers| peers[0].is_connected());
        // Streams are known by their names after a second.
        stream.run(&mut [&mut publisher, &mut viewer], 70);
        let place = server.rtc.info(&published.session).and_then(|info| info.remote);
        for _ in 0..3 {
            (publisher.is_mute, publisher.is_deaf) = (true, true);
            publisher.move_away();
            viewer.got.clear();
            stream.run(&mut [&mut publisher, &mut viewer], 10);
            run_for(&mut [&mut publisher, &mut viewer], Duration::from_millis(50));
            let pictures = viewer.got.iter().filter(|got| got.payload_type == 125 && got.marker).count();
            assert_eq!(pictures, 10, "with {workers} workers");
        }
        let forger = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let mut forged = vec![0x80, 125, 0, 1, 0, 0, 0, 0];
        forged.extend(2_222_u32.to_be_bytes());
        forged.extend([7; 100]);
        for _ in 0..400 {
            forger.send_to(&forged, server.rtc.candidates()[0]).expect("loopback takes it");
        }
        stream.run(&mut [&mut publisher, &mut viewer], 40);
        let info = server.rtc.info(&published.session).expect("it lives");
        assert!(info.stats.roamed >= 80 && info.stats.drops.unproven <= 300, "{:?}", info.stats);
        assert_eq!(info.remote, place, "nothing is sent where nobody answered");
        assert!(server.rtc.stats().traffic.unproven_tuple >= 300);
    }
}

#[test]
fn an_ended_server_says_goodbye_and_takes_nobody() {
    let server = Server::start(2);
    let (mut publisher, _) = server.publish("a");
    let began = Instant::now();
    server.shutdown();
    assert!(began.elapsed() < Duration::from_secs(1));
    run_until(&mut [&mut publisher], "the publisher is told", |peers| !peers[0].is_connected());
    let late = server.open(&mut Peer::viewer(), Direction::Play, "a");
    assert!(matches!(late, Err(OpenError::ShuttingDown)));
    assert_eq!(server.gauges(), [0; 4]);
}
