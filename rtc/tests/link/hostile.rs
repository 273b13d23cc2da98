//! Floods and lies in virtual time: of strangers, of whoever can write the peer's address, and of peers
//! that have keys. The names begin with the rows of the threat catalogue.
//!
//! What must hold: nobody but the liar notices, nothing is sent that was not asked for by who it is sent to,
//! and what is kept of it has a bound.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use weir_rtc::{session::Output, wire::rtcp};
use weir_source::TrackId;

use crate::{
    hello::hellos,
    millis,
    parts::{
        camera::{FPS, VIDEO_PT},
        client::SERVER,
        netem::{Random, Weather},
        screen::VIDEO_SSRC,
        world::{Wire, World},
    },
    seconds,
};

/// A publisher and `viewers` viewers that see it.
fn on_air(viewers: usize) -> World {
    let mut world = World::new();
    world.publish(Weather::FINE);
    for _ in 0..viewers {
        world.view_with_rtx(Weather::FINE);
    }
    world.run(seconds(3));
    world
}

fn stranger() -> SocketAddr {
    "203.0.113.9:4000".parse().unwrap()
}

/// Gives a datagram to the session as from `from`; how many go back there.
fn inject(world_now: std::time::Instant, wire: &mut Wire, from: SocketAddr, data: &[u8]) -> usize {
    wire.session.handle_datagram(world_now, from, SERVER, &mut data.to_vec());
    let mut back = 0;
    while let Some(output) = wire.session.poll_output() {
        match output {
            Output::Transmit { path, data } => {
                back += usize::from(path.remote == from);
                if path.remote == wire.client.address {
                    wire.down.send(world_now, data.to_vec());
                }
            }
            other => panic!("a datagram from {from} leads to {other:?}"),
        }
    }
    back
}

/// All viewers are there, have seen every picture since `frames` each, and nothing was skipped.
fn assert_undisturbed(world: &World, frames: &[u64], time: Duration) {
    for (viewer, before) in world.viewers.iter().zip(frames) {
        let shown = viewer.screen.frames_shown - before;
        assert_eq!((viewer.wire.closed, viewer.screen.skips), (None, 0));
        assert!(shown + 3 >= FPS * time.as_millis() as u64 / 1_000, "{shown} pictures in {time:?}");
    }
    assert_eq!(world.publisher.as_ref().unwrap().wire.closed, None);
}

fn shown(world: &World) -> Vec<u64> {
    world.viewers.iter().map(|viewer| viewer.screen.frames_shown).collect()
}

/// RTP and RTCP in shape, of every length and first byte but DTLS's, with `second` as their type.
fn shapes(second: u8) -> impl Iterator<Item = Vec<u8>> {
    let firsts = (0..=19_u8).chain(64..=255);
    firsts.flat_map(move |first| {
        (0..=64).map(move |len| {
            let mut data = vec![0x5a; len];
            data.iter_mut().zip([first, second]).for_each(|(byte, value)| *byte = value);
            data
        })
    })
}

#[test]
fn a11_hellos_from_a_peers_own_address_concern_nobody_else() {
    let mut world = on_air(2);
    let before = shown(&world);
    let hellos = hellos(world.now);
    for _ in 0..1_000 {
        let now = world.now;
        let wire = &mut world.viewers[0].wire;
        let home = wire.client.address;
        for data in &hellos {
            assert_eq!(inject(now, wire, home, data), 0, "a session has one handshake");
        }
        world.run(millis(1));
    }
    world.run(seconds(1));
    assert_undisturbed(&world, &before, seconds(2));
}

#[test]
fn a17_media_in_shape_is_dropped_at_every_length_before_and_after_the_keys() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    // Nobody has checked; checked; connected.
    for (stage, run) in [millis(0), millis(30), seconds(3)].into_iter().enumerate() {
        world.run(run);
        let now = world.now;
        let publisher = &mut world.publisher.as_mut().unwrap().wire;
        for wire in [publisher, &mut world.viewers[0].wire] {
            let is_checked = wire.session.path().is_some();
            assert_eq!((is_checked, wire.connected_at.is_some()), (stage >= 1, stage == 2), "the stage {stage}");
            let (home, before) = (wire.client.address, wire.session.stats());
            let mut sent = 0;
            for second in [0, VIDEO_PT, 200, 201, 205, 206, 255] {
                for data in shapes(second) {
                    assert_eq!(inject(now, wire, home, &data), 0, "{data:?}");
                    sent += 1;
                }
            }
            let stats = wire.session.stats();
            assert_eq!(stats.drops.total() - before.drops.total(), sent, "each is counted");
            assert_eq!((stats.packets_in, stats.rtcp_in), (before.packets_in, before.rtcp_in));
        }
    }
    let before = shown(&world);
    world.run(seconds(2));
    assert_undisturbed(&world, &before, seconds(2));
}

/// Counts the lines of the log.
struct Lines(Arc<AtomicU32>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a18_twenty_thousand_bad_tags_a_second_cost_the_publisher_nothing() {
    let mut world = on_air(1);
    let before = shown(&world);
    let lines = Arc::new(AtomicU32::new(0));
    let dropped = world.publisher.as_ref().unwrap().wire.session.stats().drops.srtp;
    tracing::subscriber::with_default(Lines(Arc::clone(&lines)), || {
        for round in 0..1_000_u16 {
            let now = world.now;
            let wire = &mut world.publisher.as_mut().unwrap().wire;
            let (home, real) = (wire.client.address, wire.client.captured_media.back().unwrap().clone());
            for ahead in 0..20_u16 {
                let mut forged = real.clone();
                // Its own streams' next numbers, and ones far off.
                let number = u16::from_be_bytes([real[2], real[3]]).wrapping_add(ahead * (1 + round % 3_000));
                forged[2..4].copy_from_slice(&number.to_be_bytes());
                *forged.last_mut().unwrap() ^= 1;
                assert_eq!(inject(now, wire, home, &forged), 0);
            }
            world.run(millis(1));
        }
    });
    assert_eq!(world.publisher.as_ref().unwrap().wire.session.stats().drops.srtp - dropped, 20_000);
    assert!(lines.load(Ordering::Relaxed) <= 1, "{lines:?} lines");
    world.run(seconds(1));
    assert_undisturbed(&world, &before, seconds(2));
}

#[test]
fn a19_strangers_neither_put_media_in_nor_get_any() {
    let mut world = on_air(1);
    let reports = [&world.publisher.as_ref().unwrap().wire, &world.viewers[0].wire].map(|wire| wire.client.captured.1.clone());
    world.run(millis(30));
    let before = shown(&world);
    let mut random = Random(19);
    for _ in 0..2_000 {
        let now = world.now;
        let publisher = &mut world.publisher.as_mut().unwrap().wire;
        // What a recorder on the way has, and what it makes of it. What has not come yet is no replay:
        // whoever brings it, it is the publisher's.
        let real = publisher.client.captured_media.front().unwrap().clone();
        let mut forged = real.clone();
        forged[2] = forged[2].wrapping_add(1);
        for (wire, report) in [publisher, &mut world.viewers[0].wire].into_iter().zip(&reports) {
            for mut data in [real.clone(), forged.clone(), report.clone()] {
                assert_eq!(inject(now, wire, stranger(), &data), 0, "nothing goes to a stranger");
                let at = random.below(data.len().max(1) as u64) as usize;
                data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10);
                assert_eq!(inject(now, wire, stranger(), &data), 0);
            }
            assert_eq!(wire.session.path().map(|path| path.remote), Some(wire.client.address));
        }
        world.run(millis(1));
    }
    let publisher = &world.publisher.as_ref().unwrap().wire;
    assert!(publisher.session.stats().drops.unproven >= 2_000 * 4, "{:?}", publisher.session.stats().drops);
    assert_undisturbed(&world, &before, seconds(2));
}

#[test]
fn a20_ten_thousand_replays_show_nothing_to_anybody() {
    let mut world = on_air(1);
    let old: Vec<_> = world.publisher.as_ref().unwrap().wire.client.captured_media.iter().cloned().collect();
    // Further than the window is wide.
    world.publisher.as_mut().unwrap().camera.delta_packets = 60;
    world.run(seconds(2));
    let new: Vec<_> = world.publisher.as_ref().unwrap().wire.client.captured_media.iter().cloned().collect();
    world.run(millis(30));
    let before = shown(&world);
    let wire = &mut world.publisher.as_mut().unwrap().wire;
    let was = wire.session.stats();
    let (now, home) = (world.now, wire.client.address);
    let rounds = 10_000_usize.div_ceil(old.len() + new.len());
    for _ in 0..rounds {
        for data in old.iter().chain(&new) {
            inject(now, wire, home, data);
        }
    }
    // The same numbers once more with another payload, by who has the keys: the roll-over counter of
    // pictures is 1 by now, that of sound is 0.
    for real in &new {
        let sequence = u16::from_be_bytes([real[2], real[3]]);
        let roc = u64::from(real[1] & 0x7f == VIDEO_PT && sequence < 0x8000);
        let header = [&[0x80], &real[1..12]].concat();
        wire.client.send_rtp(roc << 16 | u64::from(sequence), &header, b"another payload");
    }
    for data in wire.client.take_out() {
        inject(now, wire, home, &data);
    }
    let stats = wire.session.stats();
    let replays = rounds * (old.len() + new.len()) + new.len();
    assert_eq!(stats.drops.duplicate - was.drops.duplicate, replays as u64, "{:?}", stats.drops);
    assert_eq!(stats.packets_in, was.packets_in, "not one of them counts");
    let mut passed_on = Vec::new();
    wire.session.take_packets(&mut passed_on);
    assert!(passed_on.is_empty());
    world.run(seconds(2));
    assert_eq!(world.viewers[0].screen.holes(), 0);
    assert_undisturbed(&world, &before, seconds(2));
}

#[test]
fn a21_a_hundred_thousand_streams_are_a_dozen_at_the_most() {
    let mut world = on_air(1);
    let before = shown(&world);
    let wire = &mut world.publisher.as_mut().unwrap().wire;
    let (now, home) = (world.now, wire.client.address);
    let (was, streams) = (wire.session.stats(), wire.session.ssrcs().count());
    let mut forged = wire.client.captured_media.back().unwrap().clone();
    for ssrc in 0..100_000_u32 {
        forged[8..12].copy_from_slice(&ssrc.wrapping_mul(40_503).to_be_bytes());
        inject(now, wire, home, &forged);
    }
    let stats = wire.session.stats();
    assert_eq!((stats.drops.srtp - was.drops.srtp, wire.session.ssrcs().count()), (100_000, streams), "with a bad tag: nothing");
    // With keys.
    for ssrc in 0..20_000_u32 {
        let mut header = vec![0x80, VIDEO_PT, 0, 7, 0, 0, 0, 1];
        header.extend((0x4000_0000 + ssrc).to_be_bytes());
        wire.client.send_rtp(7, &header, &[0x65, 1, 2, 3]);
        if ssrc % 1_000 == 0 {
            for data in wire.client.take_out() {
                inject(now, wire, home, &data);
            }
        }
    }
    for data in wire.client.take_out() {
        inject(now, wire, home, &data);
    }
    let stats = wire.session.stats();
    // RFC 3711 keeps state for each stream that it has opened: 32 of them, of which two are real.
    assert!(stats.packets_in - was.packets_in <= 30, "{} streams were opened", stats.packets_in - was.packets_in);
    assert!(wire.session.ssrcs().count() <= 12, "{}", wire.session.ssrcs().count());
    world.run(seconds(2));
    assert_undisturbed(&world, &before, seconds(2));
}

#[test]
fn a28_a_viewer_that_asks_for_everything_again_gets_a_quarter_more_and_others_what_they_would() {
    let mut world = on_air(3);
    let before = shown(&world);
    let bytes = |world: &World, n: usize| world.viewers[n].wire.session.stats().bytes_out;
    let was = [bytes(&world, 0), bytes(&world, 1), bytes(&world, 2)];
    let refused = world.viewers[0].wire.session.stats().nack_refused;
    for _ in 0..2_000 {
        let viewer = &mut world.viewers[0];
        let newest = viewer.screen.newest().unwrap();
        let window = (newest.saturating_sub(1_000)..=newest).map(|number| number as u16);
        let mut data = Vec::new();
        rtcp::emit_nack(9, VIDEO_SSRC, window, &mut data);
        viewer.wire.client.send_rtcp(&data);
        world.run(millis(5));
    }
    let gained = |n: usize| bytes(&world, n) - was[n];
    let (greedy, honest) = (gained(0), gained(1));
    // And 48 KiB that were saved up.
    assert!(greedy <= honest * 5 / 4 + (50 << 10), "{greedy} bytes instead of {honest}");
    assert!(honest.abs_diff(gained(2)) * 50 < honest, "{honest} and {}", gained(2));
    let stats = world.viewers[0].wire.session.stats();
    assert!(stats.nack_refused - refused > 100_000, "{stats:?}");
    assert_undisturbed(&world, &before, seconds(10));
}

#[test]
fn a29_however_many_ask_the_publisher_makes_one_keyframe_a_second() {
    let mut world = on_air(12);
    let before = shown(&world);
    let camera = &world.publisher.as_ref().unwrap().camera;
    let (asked, keyframes) = (camera.plis, camera.keyframes);
    for tick in 0..2_000_u32 {
        // One asks a hundred times a second, by turns with PLI and FIR; ten others once a second each.
        for (n, viewer) in world.viewers.iter_mut().enumerate().take(11) {
            let mut data = Vec::new();
            match n {
                0 if tick % 2 == 0 => rtcp::emit_fir(9, VIDEO_SSRC, tick as u8, &mut data),
                0 => rtcp::emit_pli(9, VIDEO_SSRC, &mut data),
                _ if tick % 100 == n as u32 * 9 => rtcp::emit_pli(9, VIDEO_SSRC, &mut data),
                _ => continue,
            }
            viewer.wire.client.send_rtcp(&data);
        }
        // Those of three hundred more come to the source as this.
        let source = world.publisher.as_ref().unwrap().handle.source();
        (0..3).for_each(|_| source.request_keyframe_of(TrackId::VIDEO));
        world.run(millis(10));
    }
    let camera = &world.publisher.as_ref().unwrap().camera;
    let (asked, keyframes) = (camera.plis - asked, camera.keyframes - keyframes);
    // Three more at the beginning, as loss may need them.
    assert!((18..=23).contains(&asked), "{asked} requests in twenty seconds");
    // Twelve packets each, other pictures three.
    let share = keyframes * 12 * 100 / (keyframes * 12 + (20 * FPS - keyframes) * 3);
    assert!(share <= 20, "{keyframes} keyframes are {share} % of the stream");
    assert_undisturbed(&world, &before, seconds(20));
}

#[test]
fn a30_a_viewer_that_lies_about_its_line_changes_its_own_layer_only() {
    let mut world = World::new();
    world.publish_layers(Weather::FINE);
    let (liar, honest) = (world.tape_with_feedback(Weather::FINE), world.tape_with_feedback(Weather::FINE));
    world.run(seconds(8));
    let bytes = |world: &World, n: usize| world.viewers[n].wire.session.stats().bytes_out;
    let was = [bytes(&world, liar), bytes(&world, honest)];
    let began = world.now;
    let mut random = Random(30);
    for round in 0..400_u32 {
        let client = &mut world.viewers[liar].wire.client;
        let mut data = Vec::new();
        rtcp::emit_rr(9, &[], &mut data);
        let rate = [0, 10_000_000_000, u64::MAX, 1][round as usize % 4];
        rtcp::emit_remb(9, rate, &[VIDEO_SSRC], &mut data);
        // Exponent and mantissa at their ends: behind RR (8 bytes), header, two SSRCs, name and count.
        data[8 + 17..8 + 20].fill([0xff, 0xfc, 0][round as usize % 3]);
        let base = random.next() as u16;
        // Arrivals that go back, and far away.
        let at = |n: u64| Duration::from_millis(2_000_000_u64.wrapping_sub(n * 31 + u64::from(round) * 7_919) % 4_000_000);
        let lies: Vec<_> = (0..40).map(|n| (base.wrapping_add(n as u16), Some(at(n)))).collect();
        rtcp::emit_transport_feedback(9, VIDEO_SSRC, round as u8, &lies, &mut data);
        client.send_rtcp(&data);
        world.run(millis(25));
    }
    let gained = |n: usize| bytes(&world, n) - was[n];
    assert!(gained(liar) * 2 <= gained(honest) * 5, "{} bytes instead of {}", gained(liar), gained(honest));
    let stats = world.viewers[liar].wire.session.stats();
    assert!(world.viewers[liar].wire.closed.is_none() && stats.drops.output == 0, "{stats:?}");
    let tape = world.viewers[honest].tape.as_ref().unwrap();
    tape.check();
    let (rid, since) = *tape.layers().last().unwrap();
    assert!(rid == "h" && since < began, "the other has kept the best layer: {rid}");
    assert!(tape.freeze(began) < millis(100), "{:?}", tape.freeze(began));
}
