//! Two browsers and the server's sessions between them, over a bad network, in virtual time.
//!
//! The browsers' ends are made of our own wire, SRTP and DTLS; what they check is behaviour: each
//! frame is shown or skipped to a keyframe, numbers are never used twice, requests do not storm.

mod hello;
mod hostile;
mod layers;
mod moves;
#[path = "parts.rs"]
mod parts;
mod seeds;

use std::time::Duration;

use parts::{netem::Weather, world::World};
use weir_rtc::{
    sdp::{Direction, HashAlgorithm},
    session::CloseReason,
    srtp::SrtpProfile,
};

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn on_a_fine_line_everything_arrives_once_and_nothing_is_asked_for() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(10));
    let publisher = world.publisher.as_ref().unwrap();
    let viewer = &world.viewers[0];
    let (sent, seen) = (&publisher.camera, &viewer.screen);
    assert!(viewer.wire.connected_at.unwrap() - world.start < millis(600));
    assert_eq!(publisher.wire.session.stats().profile, Some(SrtpProfile::AeadAes128Gcm));
    assert!(seen.frames_shown + 40 > sent.frames, "{} of {}", seen.frames_shown, sent.frames);
    assert_eq!((seen.skips, seen.nacks, seen.plis, seen.holes()), (0, 0, 0, 0));
    assert_eq!((sent.nacked, viewer.wire.client.rejected), (0, 0));
    assert!(sent.plis <= 1, "{} keyframe requests for one viewer", sent.plis);
    assert!(sent.reports.iter().all(|(_, fraction, lost)| (*fraction, *lost) == (0, 0)));
    assert!(sent.reports.len() >= 16 && sent.feedbacks >= 80, "{} {}", sent.reports.len(), sent.feedbacks);
    assert_eq!(seen.cnames.len(), 1);
    let of_publisher = publisher.wire.session.stats();
    // The last of them may be on its way.
    let nearly = |counted: u64, came: usize| (came as u64..came as u64 + 4).contains(&counted);
    assert!(nearly(of_publisher.twcc_sent, sent.feedbacks as usize), "{of_publisher:?}");
    // Each has a block for the picture and one for the sound.
    assert!(nearly(of_publisher.reports_sent, sent.reports.len() / 2), "{of_publisher:?}");
    assert!(of_publisher.rtcp_out >= of_publisher.twcc_sent + of_publisher.reports_sent, "{of_publisher:?}");
    assert!(of_publisher.stun_in > 0 && of_publisher.stun_out >= of_publisher.stun_in, "{of_publisher:?}");
    let stats = viewer.wire.session.stats();
    let rtt = stats.rtt.unwrap();
    assert!((millis(38)..millis(44)).contains(&rtt), "{rtt:?}");
    assert_eq!(stats.drops.srtp + stats.drops.malformed + stats.drops.output, 0);
    assert!(stats.rtcp_in > 0 && stats.rtcp_out > 0 && (stats.twcc_sent, stats.reports_sent) == (0, 0), "{stats:?}");
}

#[test]
fn loss_and_jitter_on_both_lines_are_repaired() {
    for (percent, jitter, least) in [(1, 5, 99), (3, 20, 97), (10, 30, 85)] {
        let mut world = World::new();
        world.publish(Weather::rough(percent, jitter));
        world.view(Weather::rough(percent, jitter));
        world.run(seconds(30));
        let publisher = world.publisher.as_ref().unwrap();
        let viewer = &world.viewers[0];
        let (sent, seen) = (&publisher.camera, &viewer.screen);
        let case = format!(
            "{percent} %: {} of {} frames, {} skips, nacked {} and {}, plis {} and {}, lost {} and {}",
            seen.frames_shown,
            sent.frames,
            seen.skips,
            sent.nacked,
            seen.nacks,
            sent.plis,
            seen.plis,
            publisher.wire.up.lost,
            viewer.wire.down.lost
        );
        let since_first = sent.frames - u64::from(seen.first_frame.unwrap());
        assert!(seen.first_frame.unwrap() <= 50 && seen.frames_shown * 100 >= since_first * least, "{case}");
        assert!(sent.plis <= 2 * 30, "{case}");
        let stats = publisher.wire.session.stats();
        assert!(stats.nack_sent <= 4 * publisher.wire.up.lost + 200, "{case}");
        // Sound is not asked for again: what it lost stays lost.
        let of_sound = sent.sounds * percent * 2 / 100 + 20;
        assert!(stats.recovered > 0 && stats.lost < of_sound, "{case}: {stats:?}");
        let served = viewer.wire.session.stats();
        assert!(served.nack_served > 0 && served.nack_served <= served.nack_received, "{case}");
        assert!(served.nack_received <= 5 * viewer.wire.down.lost + 3_000, "{case}");
    }
}

#[test]
fn a_viewer_on_a_lossy_line_gets_every_frame_with_rtx_and_without() {
    for (percent, jitter, rtx) in [(1, 5, true), (3, 20, true), (5, 20, true), (1, 5, false), (3, 20, false), (5, 20, false)] {
        let mut world = World::new();
        world.publish(Weather::FINE);
        let weather = Weather::rough(percent, jitter);
        if rtx {
            world.view_with_rtx(weather)
        } else {
            world.view(weather)
        };
        world.run(seconds(30));
        let (sent, viewer) = (&world.publisher.as_ref().unwrap().camera, &world.viewers[0]);
        let (seen, stats) = (&viewer.screen, viewer.wire.session.stats());
        let case = format!("{percent} %, rtx {rtx}: {} of {} frames, {stats:?}", seen.frames_shown, sent.frames);
        let since_first = sent.frames - u64::from(seen.first_frame.unwrap());
        assert_eq!((seen.skips, seen.plis), (0, 0), "{case}");
        assert!(seen.frames_shown + 10 > since_first, "{case}");
        assert!(stats.nack_served > 0 && stats.drops.too_large == 0, "{case}");
        assert_eq!(stats.nack_served_rtx, if rtx { stats.nack_served } else { 0 }, "{case}");
        assert_eq!(seen.rtx_packets > 0, rtx, "{case}");
        assert!(seen.rtx_packets <= stats.nack_served_rtx, "{case}");
    }
}

#[test]
fn a_viewer_who_comes_after_70000_packets_sees_at_once() {
    let mut world = World::new();
    world.publish(Weather::FINE).camera.delta_packets = 40;
    world.run(seconds(72));
    world.view(Weather::FINE);
    world.run(seconds(2));
    let publisher = world.publisher.as_ref().unwrap();
    assert!(publisher.wire.session.stats().packets_in > 70_000);
    let viewer = &world.viewers[0];
    assert_eq!(viewer.wire.client.rejected, 0, "all of it opens");
    assert!(viewer.screen.frames_shown >= 25 && viewer.screen.skips == 0);
}

#[test]
fn a_joining_viewer_starts_with_the_cached_keyframe_without_keeping_the_delay() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.run(millis(2_500));
    let keyframes = world.publisher.as_ref().unwrap().camera.keyframes;
    world.view(Weather::FINE);
    world.run(seconds(2));
    let (publisher, viewer) = (world.publisher.as_ref().unwrap(), &world.viewers[0]);
    let seen = &viewer.screen;
    assert_eq!(seen.first_frame, Some(0));
    assert!(seen.first_shown.unwrap() - viewer.wire.connected_at.unwrap() < millis(60));
    assert_eq!(publisher.camera.keyframes, keyframes, "nobody had to make another");
    let stamps: Vec<u32> = seen.stamps[0].values().copied().collect();
    let squeezed = stamps.windows(2).filter(|pair| pair[1].wrapping_sub(pair[0]) < 500).count();
    assert!(squeezed > 40, "the backlog is fast-forwarded: {squeezed}");
    assert!(stamps[stamps.len() - 1].wrapping_sub(stamps[stamps.len() - 2]) == 3_600);
    assert!(seen.sounds.first().is_some_and(|first| *first > 50), "sound starts live");
}

#[test]
fn a_viewer_who_comes_first_waits_and_then_sees_all() {
    let mut world = World::new();
    world.view(Weather::FINE);
    world.run(seconds(5));
    assert!(world.viewers[0].wire.connected_at.is_some());
    world.publish(Weather::FINE);
    world.run(seconds(5));
    let seen = &world.viewers[0].screen;
    assert_eq!((seen.first_frame, seen.skips), (Some(0), 0));
    assert!(seen.frames_shown > 100);
}

#[test]
fn viewers_go_on_by_themselves_when_the_publisher_comes_back() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(5));
    let before = world.viewers[0].screen.frames_shown;
    world.publisher = None;
    world.run(seconds(3));
    world.publish(Weather::FINE).camera.labels_from = 1_000;
    world.run(seconds(5));
    let viewer = &world.viewers[0];
    assert!(viewer.screen.frames_shown > before + 90, "{} then {}", before, viewer.screen.frames_shown);
    assert_eq!((viewer.screen.skips, viewer.screen.holes()), (1, 0), "one cut, and no hole in the numbers");
    assert_eq!(viewer.wire.client.rejected, 0);
}

#[test]
fn picture_and_sound_of_one_moment_are_reported_within_20_ms() {
    let mut world = World::new();
    world.publish(Weather::FINE).camera.video_delay = millis(150);
    world.view(Weather::FINE);
    world.run(seconds(20));
    let seen = &world.viewers[0].screen;
    // Frame 400 and sound packet 800 are both of second 16.
    let (picture, sound) = (seen.captured(0, 400), seen.captured(1, 800));
    let apart = picture.micros_since(sound);
    assert!(apart.abs() < 20_000, "{apart} us");
}

#[test]
fn a_peer_that_moves_is_followed() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(3));
    world.viewers[0].wire.client.address.set_port(20_000);
    world.run(seconds(6));
    let viewer = &world.viewers[0];
    assert_eq!(viewer.wire.session.path().unwrap().remote.port(), 20_000);
    let sent = world.publisher.as_ref().unwrap().camera.frames;
    assert!(viewer.screen.frames_shown + 100 > sent, "{} of {sent}", viewer.screen.frames_shown);
}

#[test]
fn a_peer_that_does_not_nominate_again_is_followed_too() {
    let mut world = World::new();
    world.publish(Weather::FINE).wire.client.nominates_once = true;
    world.view(Weather::FINE);
    world.viewers[0].wire.client.nominates_once = true;
    world.run(seconds(3));
    let next_check = world.now + seconds(2);
    let publisher = world.publisher.as_mut().unwrap();
    for (port, wire) in [(20_000, &mut publisher.wire), (20_001, &mut world.viewers[0].wire)] {
        wire.client.address.set_port(port);
        wire.client.next_check = next_check;
    }
    world.run(seconds(2));
    let wires = |world: &World| [world.publisher.as_ref().unwrap().wire.session.stats(), world.viewers[0].wire.session.stats()];
    assert!(wires(&world).iter().all(|stats| stats.moves == 1 && stats.drops.unproven == 0));
    let publisher = world.publisher.as_ref().unwrap();
    assert_eq!(publisher.wire.session.path().unwrap().remote.port(), 20_000);
    assert_eq!(world.viewers[0].wire.session.path().unwrap().remote.port(), 20_001);
}

#[test]
fn a19_captured_datagrams_from_elsewhere_gain_nothing() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(3));
    let thief = "127.0.0.9:9".parse().unwrap();
    for _ in 0..5 {
        let now = world.now;
        let wire = &mut world.viewers[0].wire;
        let (check, report) = wire.client.captured.clone();
        let home = wire.client.address;
        wire.session.handle_datagram(now, thief, parts::client::SERVER, &mut report.clone());
        assert_eq!(wire.session.path().unwrap().remote, home, "replayed media moves nothing");
        wire.session.handle_datagram(now, thief, parts::client::SERVER, &mut check.clone());
        wire.session.handle_datagram(now, thief, parts::client::SERVER, &mut report.clone());
        assert_eq!(wire.session.path().unwrap().remote, home, "nobody answers there");
        world.run(millis(1_600));
        assert_eq!(world.viewers[0].wire.session.path().unwrap().remote, home);
    }
    let stats = world.viewers[0].wire.session.stats();
    assert_eq!((stats.moves, stats.checks_sent), (0, 3));
}

#[test]
fn a07_h12_consent_runs_out_after_30_seconds_of_silence() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(3));
    world.viewers[0].wire.client.mute = true;
    world.run(seconds(27));
    assert_eq!(world.viewers[0].wire.closed, None);
    world.run(seconds(6));
    assert_eq!(world.viewers[0].wire.closed, Some(CloseReason::ConsentExpired));
    let sent = world.viewers[0].wire.session.stats().packets_out;
    world.run(seconds(2));
    assert_eq!(world.viewers[0].wire.session.stats().packets_out, sent, "nothing is sent any more");
    assert_eq!(world.viewers[0].wire.session.poll_timeout(), None);
}

#[test]
fn a_peer_that_never_comes_is_given_up_after_15_seconds() {
    let mut world = World::new();
    world.view(Weather { loss: 1_000, ..Weather::FINE });
    world.run(seconds(14));
    assert_eq!(world.viewers[0].wire.closed, None);
    world.run(seconds(2));
    assert_eq!(world.viewers[0].wire.closed, Some(CloseReason::SetupTimeout));
}

#[test]
fn h12_either_side_may_say_goodbye() {
    let mut world = World::new();
    world.view(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(1));
    let now = world.now;
    world.viewers[0].wire.session.close(now);
    world.viewers[1].wire.client.close(now);
    world.run(millis(200));
    assert_eq!(world.viewers[0].wire.closed, Some(CloseReason::Local));
    assert!(world.viewers[0].wire.client.closed, "close_notify came");
    assert_eq!(world.viewers[1].wire.closed, Some(CloseReason::PeerClosed));
}

#[test]
fn a14_another_certificate_than_announced_gets_nothing() {
    let mut world = World::new();
    let made = world.start;
    let mut wire = world.wire(Direction::Play, Weather::FINE, made, |params| {
        params.remote_fingerprints[0].digest = vec![7; HashAlgorithm::Sha256.len_bytes()];
    });
    for ms in 0..3_000 {
        let now = world.start + millis(ms);
        wire.tick(now, |_, _, output| panic!("unexpected {output:?}"));
        while let Some(data) = wire.down.receive(now) {
            assert!(wire.client.handle(now, data).is_none());
        }
    }
    assert_eq!((wire.closed, wire.connected_at), (Some(CloseReason::BadFingerprint), None));
}

#[test]
fn a18_noise_and_forgery_change_nothing() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    let mut random = parts::netem::Random(99);
    for step in 0..4_000u64 {
        world.run(millis(1));
        let now = world.now;
        let mut noise: Vec<u8> = (0..random.below(200)).map(|_| random.next() as u8).collect();
        if let Some(first) = noise.first_mut() {
            // Every kind of datagram in turn.
            *first = [0, 22, 128, 144, 200][step as usize % 5];
        }
        let publisher = world.publisher.as_mut().unwrap();
        let from = publisher.wire.client.address;
        publisher.wire.session.handle_datagram(now, from, parts::client::SERVER, &mut noise.clone());
        let stranger = "127.0.0.9:9".parse().unwrap();
        publisher.wire.session.handle_datagram(now, stranger, parts::client::SERVER, &mut noise);
    }
    let publisher = world.publisher.as_ref().unwrap();
    let viewer = &world.viewers[0];
    assert_eq!((publisher.wire.closed, viewer.wire.closed), (None, None));
    assert!(viewer.screen.frames_shown > 80 && viewer.screen.skips == 0);
    let drops = publisher.wire.session.stats().drops;
    assert!(drops.stun > 0 && drops.srtp > 0 && drops.unproven > 0 && drops.unknown > 0, "{drops:?}");
}
