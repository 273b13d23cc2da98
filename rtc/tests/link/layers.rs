//! Simulcast in virtual time: each viewer is on the layer that it should be on, and its decoder never
//! sees that there are several.

use std::time::Instant;

use super::{
    millis,
    parts::{
        netem::{Random, Weather},
        tape::Tape,
        world::World,
    },
    seconds,
};

const SEEDS: u64 = 100;

/// A publisher of three layers that has been sending for a while.
fn world() -> World {
    let mut world = World::new();
    world.publish_layers(Weather::FINE);
    world.run(seconds(4));
    world
}

fn tape(world: &World, viewer: usize) -> &Tape {
    world.viewers[viewer].tape.as_ref().unwrap()
}

fn rids(world: &World, viewer: usize) -> Vec<&'static str> {
    tape(world, viewer).layers().iter().map(|(rid, _)| *rid).collect()
}

/// When the viewer's last layer began, after `since`.
fn changed(world: &World, viewer: usize, since: Instant) -> std::time::Duration {
    tape(world, viewer).layers().last().unwrap().1.saturating_duration_since(since)
}

fn keyframes(world: &World) -> u64 {
    let camera = &world.publisher.as_ref().unwrap().camera;
    ["h", "m", "l"].iter().map(|rid| camera.keyframes_of(rid)).sum()
}

#[test]
fn each_viewer_gets_the_best_layer_or_the_best_that_it_asks_for() {
    let mut world = world();
    let before = keyframes(&world);
    let viewers = [None, Some("m"), Some("l"), Some("x")].map(|max| world.tape(Weather::FINE, max));
    world.run(seconds(6));
    for (viewer, rid) in viewers.into_iter().zip(["h", "m", "l", "h"]) {
        assert_eq!(rids(&world, viewer), [rid], "from its first picture on");
        tape(&world, viewer).check();
        assert_eq!(tape(&world, viewer).holes(), 0);
        assert!(tape(&world, viewer).pictures().len() > 200, "with what was cached");
        assert_eq!(tape(&world, viewer).pictures()[0].frame, 0);
        let stats = world.viewers[viewer].wire.session.stats().layer.unwrap();
        assert_eq!(stats.current.unwrap().rid, rid);
        assert_eq!(stats.reason.name(), if rid == "h" { "best" } else { "asked" });
    }
    assert_eq!(keyframes(&world), before, "all keyframes were cached");
}

#[test]
fn a_step_of_bandwidth_is_followed_within_three_seconds_and_without_a_freeze() {
    let mut world = world();
    let viewer = world.tape(Weather::FINE, None);
    world.run(seconds(3));
    let mut expected = vec!["h"];
    let started = world.now;
    for (budget, rid) in [(900_000, "m"), (350_000, "l"), (5_000_000, "h"), (350_000, "l"), (1_000_000, "m"), (9_000_000, "h")] {
        world.viewers[viewer].wire.session.set_budget(Some(budget));
        let step = world.now;
        world.run(seconds(6));
        expected.push(rid);
        assert_eq!(rids(&world, viewer), expected, "{budget}");
        assert!(changed(&world, viewer, step) < seconds(3), "{budget}: {:?}", changed(&world, viewer, step));
    }
    let tape = tape(&world, viewer);
    tape.check();
    assert_eq!(tape.holes(), 0);
    assert!(tape.freeze(started) < millis(130), "{:?}", tape.freeze(started));
    let mut sounds = tape.sounds.clone();
    sounds.dedup();
    assert!(sounds.windows(2).all(|pair| pair[1] == pair[0] + 1), "sound is never touched");
    assert!(keyframes(&world) < 3 + 2 * 6, "{} keyframes", keyframes(&world));
}

#[test]
fn when_the_best_layer_is_no_longer_sent_the_next_takes_its_place_until_it_returns() {
    let mut world = world();
    let (viewer, other) = (world.tape(Weather::FINE, None), world.tape(Weather::FINE, Some("l")));
    world.run(seconds(3));
    let started = world.now;
    world.publisher.as_mut().unwrap().camera.turn("h", false);
    world.run(seconds(5));
    assert_eq!(rids(&world, viewer), ["h", "m"]);
    world.publisher.as_mut().unwrap().camera.turn("h", true);
    world.run(seconds(5));
    assert_eq!(rids(&world, viewer), ["h", "m", "h"]);
    let tape = tape(&world, viewer);
    tape.check();
    assert_eq!(tape.holes(), 0);
    assert!(tape.freeze(started) < millis(1_500), "{:?}", tape.freeze(started));
    assert_eq!(rids(&world, other), ["l"]);
}

#[test]
fn a_line_below_the_least_layer_gets_every_other_picture_or_every_fourth() {
    let mut world = world();
    let viewer = world.tape(Weather::FINE, None);
    world.run(seconds(3));
    let session = |world: &mut World, budget| world.viewers[viewer].wire.session.set_budget(Some(budget));
    let temporal = |world: &World| world.viewers[viewer].wire.session.stats().layer.unwrap().temporal_max;
    let mut shown = Vec::new();
    // Of 190 kb/s on the wire, and the sound's 20.
    for (budget, max) in [(350_000, None), (170_000, Some(1)), (110_000, Some(0)), (60_000, Some(0)), (500_000, None)] {
        session(&mut world, budget);
        world.run(seconds(3));
        let from = tape(&world, viewer).pictures().len();
        world.run(seconds(4));
        shown.push(tape(&world, viewer).pictures().len() - from);
        assert_eq!(temporal(&world), max, "{budget}");
    }
    let tape = tape(&world, viewer);
    for (shown, expected) in shown.iter().zip([100, 50, 25, 25, 100]) {
        assert!(shown.abs_diff(expected) <= 2, "{shown} of {expected}");
    }
    tape.check();
    assert_eq!(tape.holes(), 0, "what is left out makes no hole");
}

#[test]
fn loss_on_both_lines_breaks_no_change_of_layers() {
    let mut world = World::new();
    world.publish_layers(Weather::rough(3, 10));
    let viewer = world.tape(Weather::rough(3, 10), None);
    world.run(seconds(4));
    for round in 0..10 {
        let budget = [900_000, 9_000_000, 350_000, 170_000][round % 4];
        world.viewers[viewer].wire.session.set_budget(Some(budget));
        world.run(seconds(4));
    }
    let tape = tape(&world, viewer);
    tape.check();
    let pictures = tape.pictures().len();
    assert!(pictures > 800, "{pictures}");
}

#[test]
fn a_publisher_that_returns_without_layers_is_gone_on_with() {
    let mut world = world();
    let viewer = world.tape(Weather::FINE, Some("l"));
    world.run(seconds(3));
    world.publisher = None;
    world.run(seconds(1));
    world.publish_layers(Weather::FINE).camera.labels_from = 1_000;
    world.run(seconds(4));
    assert_eq!(rids(&world, viewer).last(), Some(&"l"));
    tape(&world, viewer).check();
    assert_eq!(tape(&world, viewer).holes(), 0);
    assert!(tape(&world, viewer).pictures().last().unwrap().frame > 1_050);
}

#[test]
fn a_path_that_narrows_and_widens_is_followed_by_what_its_viewer_says_of_it() {
    let mut world = world();
    // Bytes a millisecond: 3.6 Mb/s, 1 Mb/s, 480 kb/s.
    let (wide, narrow, poor) = (450, 125, 60);
    let viewer = world.tape_with_feedback(Weather { rate: wide, ..Weather::FINE });
    world.run(seconds(6));
    assert_eq!(rids(&world, viewer).last(), Some(&"h"));
    let mut seen = Vec::new();
    for (rate, rid) in [(narrow, "m"), (wide, "h"), (poor, "l"), (wide, "h")] {
        world.viewers[viewer].wire.down.weather.rate = rate;
        let step = world.now;
        world.run(seconds(10));
        let last = *rids(&world, viewer).last().unwrap();
        seen.push((rate, rid, last, changed(&world, viewer, step), tape(&world, viewer).freeze(step)));
    }
    for (_, expected, last, took, _) in &seen {
        assert_eq!(last, expected, "{seen:#?}");
        assert!(*took < seconds(4), "{seen:#?}");
    }
    tape(&world, viewer).check();
}

/// By what the line carries then (500, 720 and 1,000 kb/s), its queue, its length and its loss.
#[test]
fn a_line_that_narrows_all_at_once_freezes_the_picture_for_less_than_two_seconds() {
    let mut freezes = Vec::new();
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let mut any = |of: &[u64]| of[random.below(of.len() as u64) as usize];
        let (rate, queue, delay) = (any(&[62, 90, 125]), millis(any(&[100, 250, 300, 500])), millis(any(&[5, 25, 75])));
        let (jitter, loss) = (millis(any(&[0, 3, 9])), any(&[0, 0, 5, 20]));
        let line = |rate| Weather { rate, queue, delay, jitter, loss, ..Weather::FINE };
        let mut world = world();
        let viewer = world.tape_with_feedback(line(375));
        world.run(seconds(5) + millis(any(&[0, 130, 410, 690])));
        let step = world.now;
        world.viewers[viewer].wire.down.weather = line(rate);
        world.run(seconds(10));
        let tape = tape(&world, viewer);
        tape.check();
        freezes.push((tape.longest_still(step), seed, line(rate), rids(&world, viewer)));
    }
    freezes.sort_by_key(|(freeze, ..)| *freeze);
    let (median, worst) = (freezes[freezes.len() / 2].0, freezes.last().unwrap());
    println!("median {median:?}, worst {worst:?}");
    // libwebrtc waits for three before it asks for a keyframe.
    assert!(worst.0 < seconds(2), "{worst:?}");
}
