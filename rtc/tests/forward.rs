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
use weir_source::{MediaTime, Packet, PacketExtensions, TrackId};

use crate::{netem::Weather, world::World};

#[path = "link/camera.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod camera;
#[path = "link/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod client;
#[path = "link/netem.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod netem;
#[path = "link/screen.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod screen;
#[path = "link/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the link")]
mod world;

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

#[test]
fn forwarding_a_packet_to_a_viewer_allocates_nothing() {
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
