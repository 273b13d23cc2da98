//! `Session::forward`: a packet of the ring becomes a viewer's SRTP packet.

use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_rtc::{
    dtls::Identity,
    session::{Fill, Session},
    srtp::SrtpProfile,
};
use weir_source::{MediaTime, Packet, PacketExtensions, TrackId};

use super::{
    Scale, best_of,
    parts::{netem::Weather, world::World},
    thread_cpu,
};

/// Opus, a picture's share, a full packet.
const SIZES: [usize; 3] = [160, 600, 1_150];
/// Packets of a batch: a picture in three and its sound.
const BATCH: u64 = 4;
/// Between batches: 129 packets a second.
const BATCH_EVERY: Duration = Duration::from_millis(31);
/// As large as the send arena, so that what is written is as cold as there.
const ARENA_BYTES: usize = 256 * 1_024;
const ROOM_BYTES: usize = 2_048;

pub(super) fn table(scale: Scale) {
    println!("Session::forward, ns of CPU for a packet to a viewer\n");
    println!("| cipher | bytes | {} viewers, one after the other | one viewer |", scale.viewers);
    println!("|---|---|---|---|");
    for (name, profile) in [("GCM", SrtpProfile::AeadAes128Gcm), ("CM_80", SrtpProfile::AesCm128HmacSha1_80)] {
        let mut many = Room::new(profile, scale.viewers);
        let mut one = Room::new(profile, 1);
        for bytes in SIZES {
            let cold = many.measure(scale, scale.passes, bytes);
            let hot = one.measure(scale, scale.passes * scale.viewers, bytes);
            println!("| {name} | {bytes} | {cold:.0} | {hot:.0} |");
        }
    }
}

/// Connected viewers of one stream.
struct Room {
    world: World,
    arena: Vec<u8>,
    now: Instant,
    sent: u64,
}

impl Room {
    fn new(profile: SrtpProfile, viewers: usize) -> Self {
        let mut world = World::with_browsers(Identity::offering(&[profile]).expect("randomness"));
        for _ in 0..viewers {
            world.view(Weather::FINE);
        }
        world.run(Duration::from_secs(1));
        assert!(world.viewers.iter().all(|viewer| viewer.wire.session.is_connected()));
        let now = world.now;
        Self { world, arena: vec![0; ARENA_BYTES], now, sent: 0 }
    }

    /// Nanoseconds a packet.
    fn measure(&mut self, scale: Scale, passes: usize, bytes: usize) -> f64 {
        let packets = passes * self.world.viewers.len() * BATCH as usize;
        self.pass(bytes);
        best_of(scale.rounds, packets, || {
            let before = thread_cpu();
            for _ in 0..passes {
                self.pass(bytes);
            }
            thread_cpu().saturating_sub(before)
        })
    }

    /// One batch to every viewer.
    fn pass(&mut self, bytes: usize) {
        let payload = Bytes::from(vec![0xab; bytes]);
        let batch: Vec<Packet> = (self.sent..self.sent + BATCH).map(|n| packet(n, &payload)).collect();
        let mut used = 0;
        for viewer in &mut self.world.viewers {
            used = give(&mut viewer.wire.session, self.now, self.sent, &batch, &mut self.arena, used);
        }
        self.sent += BATCH;
        self.now += BATCH_EVERY;
    }
}

fn give(session: &mut Session, now: Instant, start: u64, batch: &[Packet], arena: &mut [u8], mut used: usize) -> usize {
    for (position, packet) in (start..).zip(batch) {
        if used + ROOM_BYTES > arena.len() {
            used = 0;
        }
        let len = session.forward(now, position, packet, Fill::None, &mut arena[used..used + ROOM_BYTES]);
        used += len.expect("it begins with a keyframe and takes all");
    }
    used
}

fn packet(n: u64, payload: &Bytes) -> Packet {
    let audio = n % BATCH == BATCH - 1;
    Packet {
        track: if audio { TrackId::AUDIO } else { TrackId::VIDEO },
        epoch: 1,
        seq: if audio { n / BATCH } else { n - n / BATCH },
        timestamp: 90_000_000 + n * 900,
        capture: MediaTime::from_millis(1_000_000 + n as i64 * 10),
        marker: n % BATCH == BATCH - 2,
        keyframe: n == 0,
        extensions: PacketExtensions::default(),
        payload: payload.clone(),
    }
}
