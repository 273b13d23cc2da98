//! Two hundred evenings: a publisher and two viewers on lines whose weather is drawn by a seed.
//!
//! Each seed draws, for each of the six directions, loss of 0 to 20 %, for half of them in bursts
//! of up to 50 ms (at less than 7 %), jitter of 0 to 60 ms (which reorders), duplicates and for some a narrow pipe; and a moment
//! at which a viewer's address changes. After seven seconds the weather clears. What must hold:
//!
//! - what a viewer shows is in order and decodable (`Screen` checks each frame), and no number is
//!   used twice (`World` checks each packet);
//! - in fine weather every viewer is soon where the publisher is: nothing stays stuck;
//! - a frame is shown or skipped to a later keyframe: none is forgotten;
//! - no storm: keyframe requests and NACKs are bounded by the time and by what was lost;
//! - nothing that the server made was refused by the other side or by its own queues.

use std::time::Duration;

use super::parts::{
    netem::{Random, Weather},
    world::{ViewerEnd, World},
};

const SEEDS: u64 = 200;
const FOUL: Duration = Duration::from_secs(7);
const CLEAR: Duration = Duration::from_secs(4);
/// Frames that a viewer may be behind at the end: the delay of both lines, and a frame in the make.
const BEHIND_MAX: u64 = 12;

/// What an evening was like for its viewers.
#[derive(Debug, Default)]
struct Seen {
    lost: u64,
    skips: u64,
    repeated: u64,
}

fn weather(random: &mut Random) -> Weather {
    let bursts = random.below(2) == 0;
    Weather {
        loss: random.below(if bursts { 70 } else { 201 }),
        burst: Duration::from_millis(if bursts { random.below(51) } else { 0 }),
        duplicates: random.below(20),
        delay: Duration::from_millis(5 + random.below(96)),
        jitter: Duration::from_millis(random.below(61)),
        // From a quarter over what the stream needs.
        rate: if random.below(4) == 0 { 100 + random.below(400) } else { 0 },
        ..Weather::FINE
    }
}

fn evening(seed: u64) -> Seen {
    let mut random = Random(seed);
    let mut world = World::new();
    let publisher = world.publish(Weather::FINE);
    (publisher.wire.up.weather, publisher.wire.down.weather) = (weather(&mut random), weather(&mut random));
    for rtx in [true, false] {
        let index = if rtx { world.view_with_rtx(Weather::FINE) } else { world.view(Weather::FINE) };
        let wire = &mut world.viewers[index].wire;
        (wire.up.weather, wire.down.weather) = (weather(&mut random), weather(&mut random));
    }
    let drawn: Vec<_> = world.viewers.iter().map(|viewer| (viewer.wire.up.weather, viewer.wire.down.weather)).collect();
    let moves_at = Duration::from_millis(random.below(FOUL.as_millis() as u64));
    world.run(moves_at);
    world.viewers[0].wire.client.address.set_port(20_000);
    world.run(FOUL - moves_at);

    let publisher = world.publisher.as_mut().expect("it publishes");
    (publisher.wire.up.weather, publisher.wire.down.weather) = (Weather::FINE, Weather::FINE);
    for viewer in &mut world.viewers {
        (viewer.wire.up.weather, viewer.wire.down.weather) = (Weather::FINE, Weather::FINE);
    }
    world.run(CLEAR);

    let publisher = world.publisher.as_ref().expect("it publishes");
    let (camera, stats) = (&publisher.camera, publisher.wire.session.stats());
    let case = format!("seed {seed}, moved at {moves_at:?}: {} frames, {stats:?}", camera.frames);
    assert!(publisher.wire.session.is_connected(), "{case}");
    let seconds = (FOUL + CLEAR).as_secs();
    assert!(camera.plis <= 2 * seconds + 2, "{} keyframe requests: {case}", camera.plis);
    assert!(stats.nack_sent <= 10 * publisher.wire.up.lost + 400, "lost {}: {case}", publisher.wire.up.lost);
    assert_eq!(stats.drops.output, 0, "{case}");
    for (viewer, drawn) in world.viewers.iter().zip(drawn) {
        check(viewer, camera.frames, &format!("{case}\n{drawn:?}"));
    }
    let sum = |of: fn(&ViewerEnd) -> u64| world.viewers.iter().map(of).sum();
    Seen {
        lost: sum(|viewer| viewer.wire.down.lost),
        skips: sum(|viewer| viewer.screen.skips),
        repeated: sum(|viewer| viewer.wire.session.stats().nack_served),
    }
}

fn check(viewer: &ViewerEnd, sent: u64, case: &str) {
    let (seen, stats) = (&viewer.screen, viewer.wire.session.stats());
    let case = format!("{case}\n{} shown, {} skips, {} holes, {stats:?}", seen.frames_shown, seen.skips, seen.holes());
    assert!(viewer.wire.session.is_connected() && viewer.wire.closed.is_none(), "{case}");
    let last = u64::from(seen.last_shown().expect("something was shown"));
    assert!(last + BEHIND_MAX >= sent, "the last shown is {last}: {case}");
    // What the line doubled, and what came late after its own repetition.
    let repeats = viewer.wire.down.doubled + stats.nack_served;
    assert!(viewer.wire.client.rejected <= repeats, "{} refused: {case}", viewer.wire.client.rejected);
    assert_eq!((stats.drops.output, stats.drops.too_large), (0, 0), "{case}");
    assert!(stats.nack_served <= stats.nack_received, "{case}");
}

#[test]
fn every_frame_is_shown_or_skipped_to_a_keyframe_whatever_the_weather() {
    let mut all = Seen::default();
    for seed in 0..SEEDS {
        let seen = evening(seed);
        all.lost += seen.lost;
        all.skips += seen.skips;
        all.repeated += seen.repeated;
    }
    // The weather was foul: or else nothing is proven.
    assert!(all.lost > 100 * SEEDS && all.skips > SEEDS / 2 && all.repeated > 50 * SEEDS, "{all:?}");
}
