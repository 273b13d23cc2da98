//! The hot path takes no memory: not one allocation for a packet to a viewer.
//!
//! Alone in its program: the allocator counts what all threads take.

use std::{
    alloc::System,
    time::{Duration, Instant},
};

use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use weir_rtc::session::Fill;
use weir_source::{LayerState, MediaTime, Packet, PacketExtensions, TrackId};

use crate::parts::{netem::Weather, world::World};

#[path = "link/parts.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod parts;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// After these the history that answers NACKs has grown to its size.
const WARM_UP: u64 = 10_000;
/// Two roll-overs of the sequence number.
const PACKETS: u64 = 140_000;

fn packet(n: u64, payload: &Bytes) -> Packet {
    Packet {
        track: if n.is_multiple_of(5) && n > 0 { TrackId::AUDIO } else { TrackId::VIDEO },
        epoch: 77,
        seq: 1_000_000 + n,
        timestamp: 90_000_000 + n * 900,
        capture: MediaTime::from_millis(1_000_000 + n as i64 * 10),
        marker: n.is_multiple_of(3),
        keyframe: n == 0,
        extensions: PacketExtensions::default(),
        payload: payload.clone(),
    }
}

/// Packets of a layered picture between two choices of a layer.
const BETWEEN: u64 = 300;

/// One packet each of three layers in turn, with three temporal layers each; all have their keyframes
/// together.
fn layered(n: u64, payloads: &[Bytes]) -> Packet {
    let (layer, frame) = (n % 3, n / 3);
    let keyframe = frame.is_multiple_of(20);
    Packet {
        track: TrackId::new(1 + layer as u8).expect("three layers"),
        seq: 1_000_000 + frame,
        timestamp: 90_000_000 + layer * 7_777_777 + frame * 3_600,
        capture: MediaTime::from_millis(1_000_000 + frame as i64 * 40),
        marker: true,
        keyframe,
        ..packet(0, &payloads[if keyframe { 4 } else { frame as usize % 4 }])
    }
}

/// Budgets at which the viewer changes from layer to layer and leaves temporal layers out.
fn change_layers(world: &mut World) {
    world.publish_layers(Weather::FINE);
    let viewer = world.tape(Weather::FINE, None);
    world.run(Duration::from_secs(2));
    let start = world.now;
    let session = &mut world.viewers[viewer].wire.session;
    // RFC 7741 4.2: temporal layers 0, 2 (Y), 1 (Y), 2 of the pictures between keyframes.
    let descriptor = |last: u8, tag: u8| Bytes::from([&[0x90, 0xf0, 0x81, 0x02, 7, last, tag][..], &[0xab; 900]].concat());
    let payloads = [(0x05, 1), (0xa5, 1), (0x65, 1), (0x85, 1), (0x05, 0)].map(|(last, tag)| descriptor(last, tag));
    let state = |(n, bits_per_second): (u8, u64)| LayerState {
        track: TrackId::new(n).expect("three layers"),
        bits_per_second,
        flowing: Some(Duration::from_secs(60)),
    };
    let states = [(2, 2_000_000), (1, 500_000), (3, 150_000)].map(state);
    let mut out = [0; 1_500];
    let (mut sent, mut allocated) = (0, 0);
    for round in 0..200 {
        let now = start + Duration::from_secs(round);
        session.set_budget([None, Some(800_000), Some(80_000), Some(120_000)][round as usize % 4]);
        session.set_layers(now, &states);
        let counted = Region::new(ALLOCATOR);
        for n in round * BETWEEN..(round + 1) * BETWEEN {
            let packet = layered(n, &payloads);
            sent += u64::from(session.forward(now, 2_000_000 + n, &packet, Fill::Payload(920), &mut out).is_some());
        }
        let change = counted.change();
        // Its tables grow while it is young.
        allocated += if round < 20 { 0 } else { change.allocations + change.reallocations };
    }
    let all = 200 * BETWEEN / 3;
    assert!(sent > all / 2 && sent < all * 9 / 10, "some are left out: {sent} of {all}");
    assert_eq!(allocated, 0);
}

#[test]
fn forwarding_a_packet_to_a_viewer_allocates_nothing() {
    change_layers(&mut World::new());
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(Duration::from_secs(2));
    let session = &mut world.viewers[0].wire.session;
    assert!(session.is_connected());
    let payload = Bytes::from(vec![0xab; 1_100]);
    let mut out = [0; 1_500];
    let now = Instant::now();
    let mut send = |n: u64| {
        session.forward(now, 1_000_000 + n, &packet(n, &payload), Fill::Payload(1_100 + n as usize % 3), &mut out).is_some()
    };

    assert!((0..WARM_UP).all(&mut send), "it begins with a keyframe and takes all");
    let counted = Region::new(ALLOCATOR);
    let all = (WARM_UP..PACKETS).all(&mut send);
    let change = counted.change();
    assert!(all);
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
}
