//! Peers whose address changes, on good lines and bad.
//!
//! What must hold whatever is lost: media goes nowhere but to an address that has answered a
//! check of ours (the world drops what goes elsewhere, and these tests count it); an address that does not
//! answer gets three checks, and answers to what was sent in its name; a peer that answers is found by
//! its next packet of any kind, in a second plus the way there and back twice; nobody loses the session.

use std::{net::SocketAddr, time::Duration};

use weir_rtc::session::Output;

use crate::{
    millis,
    parts::{client::SERVER, netem::Weather, world::World},
    seconds,
};

fn moved_viewer(world: &World) -> (u16, u64) {
    let wire = &world.viewers[0].wire;
    (wire.session.path().unwrap().remote.port(), wire.session.stats().moves)
}

#[test]
fn a_viewer_whose_nat_forgot_it_is_found_by_its_next_report() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(4));
    for round in 1..=5 {
        let port = 20_000 + round as u16;
        let client = &mut world.viewers[0].wire.client;
        client.address.set_port(port);
        // Only its reports can tell.
        client.next_check = world.now + seconds(60);
        let before = world.viewers[0].screen.frames_shown;
        world.run(millis(1_700));
        assert_eq!(moved_viewer(&world), (port, round));
        world.viewers[0].wire.client.next_check = world.now;
        world.run(seconds(2));
        assert!(world.viewers[0].screen.frames_shown > before + 50, "the picture goes on");
    }
    assert_eq!(world.viewers[0].wire.session.stats().checks_sent, 5, "one each on a good line");
}

#[test]
fn a_publisher_whose_nat_forgot_it_is_heard_all_along_and_followed_in_two_ways() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.run(seconds(4));
    let now = world.now;
    let wire = &mut world.publisher.as_mut().unwrap().wire;
    wire.client.address.set_port(20_000);
    wire.client.next_check = now + seconds(60);
    let before = wire.session.stats();
    world.run(millis(150));
    let wire = &world.publisher.as_ref().unwrap().wire;
    let stats = wire.session.stats();
    assert_eq!((wire.session.path().unwrap().remote.port(), stats.moves), (20_000, 1));
    assert!(stats.roamed > 0 && stats.lost == before.lost, "{stats:?}");
}

#[test]
fn movement_survives_loss() {
    for (percent, jitter) in [(5, 10), (10, 20), (20, 30)] {
        let mut world = World::new();
        let weather = Weather::rough(percent, jitter);
        world.publish(weather);
        world.view(weather);
        world.run(seconds(5));
        for round in 1..=8_u16 {
            world.viewers[0].wire.client.address.set_port(20_000 + round);
            world.publisher.as_mut().unwrap().wire.client.address.set_port(30_000 + round);
            world.run(seconds(12));
        }
        let (publisher, viewer) = (&world.publisher.as_ref().unwrap().wire, &world.viewers[0].wire);
        for (name, wire, port) in [("publisher", publisher, 30_008), ("viewer", viewer, 20_008)] {
            let stats = wire.session.stats();
            let case = format!("{name} at {percent} %: {stats:?}");
            assert_eq!((wire.closed, wire.session.path().map(|path| path.remote.port())), (None, Some(port)), "{case}");
            assert!(stats.moves >= 8 && stats.checks_sent <= 3 * 8, "{case}");
        }
    }
}

#[test]
fn a06_a_peer_that_forges_its_address_turns_nothing_onto_a_victim() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(4));
    let victim: SocketAddr = "127.0.0.66:66".parse().unwrap();
    let home = world.viewers[0].wire.client.address;
    let mut to_victim = [0_usize; 2];
    for _ in 0..280 {
        world.run(millis(100));
        let now = world.now;
        let wire = &mut world.viewers[0].wire;
        // Its own checks and reports, with the victim's source address.
        let (check, mut report) = wire.client.captured.clone();
        for data in [&mut check.clone(), &mut report] {
            wire.session.handle_datagram(now, victim, SERVER, data);
        }
        let before = wire.session.stats().checks_sent;
        while let Some(output) = wire.session.poll_output() {
            if let Output::Transmit { path, data } = output
                && path.remote == victim
            {
                to_victim[0] += data.len();
                to_victim[1] += 1;
            }
        }
        assert!(before <= 3);
        assert_eq!(wire.session.path().unwrap().remote, home);
    }
    // The second and third check leave by the timer, which the world drains.
    assert_eq!(world.viewers[0].wire.session.stats().checks_sent, 3);
    let [bytes, datagrams] = to_victim;
    assert!(datagrams <= 280 + 3 && bytes <= datagrams * 110, "{to_victim:?}");
    assert_eq!(world.viewers[0].wire.session.stats().moves, 0);
}

#[test]
fn a06_an_address_that_takes_media_but_answers_nothing_is_not_followed() {
    let mut world = World::new();
    world.publish(Weather::FINE);
    world.view(Weather::FINE);
    world.run(seconds(4));
    let client = &mut world.viewers[0].wire.client;
    client.address.set_port(20_000);
    client.is_deaf = true;
    world.run(Duration::from_secs(6));
    assert_eq!(moved_viewer(&world), (10_002, 0));
    assert_eq!(world.viewers[0].wire.client.asked, 3);
    world.viewers[0].wire.client.is_deaf = false;
    world.run(seconds(14));
    assert_eq!(moved_viewer(&world), (20_000, 1), "while nothing else is heard of it, it is asked again after ten seconds");
}
