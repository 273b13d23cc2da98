//! One source, many viewers: what is cached, what comes in bursts, and how it is gathered. The
//! source is filled from here, as a bridge fills it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_rtc::Opened;
use weir_source::{Codec, MediaTime, Packet, PacketExtensions, Publisher, StreamKey, Track, TrackId, Tracks, Wake};

use crate::{
    peer::{Got, Peer, run_for, run_until},
    server::Server,
};

struct Deaf;

impl Wake for Deaf {
    fn wake(&self) {}
}

/// Writes H.264 packets of 1,000 bytes straight into the ring, four to a frame of 33 ms, a keyframe
/// every `group` frames.
struct Filler {
    publisher: Publisher<Packet>,
    group: u64,
    frame: u64,
}

const PER_FRAME: u64 = 4;

impl Filler {
    fn new(server: &Server, name: &str, group: u64) -> Self {
        let key = StreamKey::new("live", name).expect("a name");
        let publisher = server.hub.publish_packets(&key, "filler", Arc::new(Deaf), Instant::now()).expect("a free name");
        let track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
        assert!(publisher.set_tracks(Tracks { list: vec![Arc::new(track)], ..Tracks::default() }));
        Self { publisher, group, frame: 0 }
    }

    /// Pushes frames as one batch; the last one is captured now.
    fn push(&mut self, frames: u64) {
        let now = self.publisher.source().media_time(Instant::now());
        let end = self.frame + frames;
        let mut batch: Vec<Packet> = (self.frame..end)
            .flat_map(|frame| (0..PER_FRAME).map(move |part| (frame, part)))
            .map(|(frame, part)| {
                packet(frame, part, frame % self.group == 0, now.offset((frame as i64 + 1 - end as i64) * 33_000))
            })
            .collect();
        self.frame = end;
        assert!(self.publisher.push(&mut batch, Instant::now()));
    }

    /// In real time, frame by frame.
    fn run(&mut self, peers: &mut [&mut Peer], frames: u64) {
        for _ in 0..frames {
            self.push(1);
            run_for(peers, Duration::from_millis(33));
        }
    }
}

fn packet(frame: u64, part: u64, keyframe: bool, capture: MediaTime) -> Packet {
    let kind = if keyframe { 5 } else { 1 };
    let header = [0x7c, u8::from(part == 0) << 7 | u8::from(part == PER_FRAME - 1) << 6 | kind];
    let number = frame * PER_FRAME + part;
    Packet {
        track: TrackId::VIDEO,
        epoch: 0,
        seq: number,
        timestamp: u64::try_from(capture.to_ticks(90_000)).unwrap_or(0),
        capture,
        marker: part == PER_FRAME - 1,
        keyframe: keyframe && part == 0,
        extensions: PacketExtensions::default(),
        payload: [&header[..], &number.to_be_bytes(), &[0; 990]].concat().into(),
    }
}

fn numbers(got: &[Got]) -> Vec<u64> {
    let number = |payload: &Bytes| u64::from_be_bytes(payload[2..10].try_into().expect("eight bytes"));
    got.iter().map(|got| number(&got.payload)).collect()
}

fn connected_viewer(server: &Server, name: &str) -> (Peer, Opened) {
    let (mut peer, opened) = server.play(name);
    run_until(&mut [&mut peer], "the viewer connects", |peers| peers[0].is_connected());
    (peer, opened)
}

#[test]
fn a_long_cached_group_is_sent_whole_and_at_a_pace() {
    let server = Server::start(1);
    let mut filler = Filler::new(&server, "a", 1_000);
    filler.push(200);
    let (mut viewer, _) = connected_viewer(&server, "a");
    let began = Instant::now();
    // The stream goes on while the viewer catches up.
    filler.run(&mut [&mut viewer], 10);
    run_until(&mut [&mut viewer], "all has come", |peers| peers[0].got.len() >= 840);
    assert_eq!(numbers(&viewer.got), (0..840).collect::<Vec<_>>(), "nothing twice, nothing missing, in order");
    assert!(viewer.got.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    // 800 packets, 32 every 5 ms: never all at once.
    assert!(began.elapsed() > Duration::from_millis(100));
    let first = viewer.got.first().map_or(0, |got| got.timestamp);
    let live = viewer.got.iter().skip(800).map(|got| got.timestamp.wrapping_sub(first)).next().unwrap_or(0);
    assert!(live < 90_000, "fast-forwarded: six seconds of pictures in less than one");
}

#[test]
fn a_viewer_that_came_before_the_remuxer_does_not_get_its_first_burst_as_live() {
    let server = Server::start(1);
    let mut filler = Filler::new(&server, "a", 60);
    let (mut viewer, _) = connected_viewer(&server, "a");
    filler.push(100);
    filler.run(&mut [&mut viewer], 5);
    run_until(&mut [&mut viewer], "all has come", |peers| peers[0].got.len() >= 45 * 4);
    assert_eq!(numbers(&viewer.got), (240..420).collect::<Vec<_>>(), "from the last keyframe on");
}

#[test]
fn a_frame_that_comes_whole_leaves_as_one_message_for_each_viewer() {
    let server = Server::start(1);
    let mut filler = Filler::new(&server, "a", 30);
    let mut viewers: Vec<Peer> = (0..24).map(|_| connected_viewer(&server, "a").0).collect();
    let mut all: Vec<&mut Peer> = viewers.iter_mut().collect();
    // Let the workers publish what connecting cost.
    run_for(&mut all, Duration::from_millis(1_100));
    let before = server.rtc.stats().traffic.send;
    for _ in 0..30 {
        filler.push(1);
        run_for(&mut all, Duration::from_millis(20));
    }
    run_for(&mut all, Duration::from_millis(1_100));
    for viewer in &all {
        assert_eq!(numbers(&viewer.got), (0..120).collect::<Vec<_>>());
    }
    let after = server.rtc.stats().traffic.send;
    let (datagrams, messages) = (after.datagrams - before.datagrams, after.messages - before.messages);
    assert!(datagrams >= 24 * 120);
    assert!(datagrams > messages * 2, "{datagrams} datagrams in {messages} messages");
    assert_eq!((after.full, after.refused, after.unsegmented), (0, 0, 0));
}
