//! Where a client is believed to be, step by step.

use std::net::SocketAddr;

use super::*;
use crate::ice::ConnectionId;

/// Whereabouts and their clock.
struct Scene {
    now: Instant,
    place: Whereabouts,
}

fn path(port: u16) -> Path {
    Path::udp(SocketAddr::new([192, 0, 2, 1].into(), port), [198, 51, 100, 1].into())
}

impl Scene {
    /// A connected client at port 1, nominated, that has sent media.
    fn new() -> Self {
        let now = Instant::now();
        let mut scene = Self { now, place: Whereabouts::new(now) };
        scene.check(1, true);
        scene.place.handle_spoken();
        scene.place.handle_connected(now);
        scene.media(1);
        scene
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.place.handle_timeout(self.now);
        self.answer();
    }

    /// The client is below port 50 and answers what we ask.
    fn answer(&mut self) {
        while let Some(check) = self.place.poll_check(self.now) {
            if check.path.remote.port() < 50 {
                self.place.handle_answer(self.now, check.path);
            }
        }
    }

    fn check(&mut self, port: u16, nominates: bool) {
        self.place.handle_check(self.now, path(port), nominates, false);
        self.answer();
    }

    fn media(&mut self, port: u16) {
        self.place.handle_media(self.now, path(port), true);
        self.answer();
    }

    fn port(&self) -> u16 {
        self.place.path().unwrap().remote.port()
    }
}

#[test]
fn media_from_a_checked_address_moves_the_peer_at_once() {
    let mut scene = Scene::new();
    scene.check(2, false);
    assert_eq!(scene.port(), 1, "a check alone does not: browsers keep spare pairs alive");
    scene.media(2);
    assert_eq!(scene.port(), 2);
    assert!(scene.place.is_nominated(), "to the client it is the same pair");
    scene.check(3, false);
    scene.media(3);
    assert_eq!(scene.port(), 3, "and again");
    scene.media(4);
    assert_eq!(scene.port(), 4, "without a check too");
}

#[test]
fn media_from_an_address_that_does_not_answer_moves_nothing() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.wait(100);
        scene.media(66);
        scene.media(1);
    }
    assert_eq!(scene.place.path(), Some(path(1)));
    assert_eq!(scene.place.home(), Some(path(1)));
}

#[test]
fn an_answer_wears_off() {
    let mut scene = Scene::new();
    scene.media(2);
    scene.media(1);
    assert_eq!(scene.port(), 1);
    for _ in 0..31 {
        scene.wait(1_000);
        scene.check(1, true);
        scene.media(1);
    }
    scene.place.handle_media(scene.now, path(2), true);
    assert_eq!(scene.port(), 1, "RFC 7675: 30 s");
    scene.answer();
    assert_eq!(scene.port(), 2);
}

#[test]
fn stragglers_from_the_former_address_pull_nothing_back() {
    let mut scene = Scene::new();
    scene.check(2, false);
    scene.media(2);
    scene.place.handle_media(scene.now, path(1), false);
    assert_eq!(scene.port(), 2);
}

#[test]
fn a_quiet_client_is_followed_within_a_second_of_its_first_check() {
    let mut scene = Scene::new();
    scene.wait(2_000);
    scene.check(2, false);
    assert_eq!(scene.place.poll_timeout(), Some(scene.now + QUIET));
    scene.wait(799);
    assert_eq!(scene.port(), 1);
    scene.wait(1);
    assert_eq!(scene.port(), 2);
    assert_eq!(scene.place.poll_timeout(), None);
    scene.wait(30_000);
    scene.check(3, false);
    assert_eq!(scene.port(), 3, "silent for longer than any client is: at once");
}

#[test]
fn a_client_that_lives_where_it_was_stays_there() {
    for life in [|scene: &mut Scene| scene.media(1), |scene: &mut Scene| scene.check(1, false)] {
        let mut scene = Scene::new();
        for _ in 0..20 {
            scene.check(2, false);
            scene.wait(700);
            life(&mut scene);
        }
        assert_eq!(scene.port(), 1);
    }
}

#[test]
fn a_browser_that_repeats_its_nomination_moves_when_it_says_so() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.check(2, false);
    scene.wait(2_400);
    assert_eq!(scene.port(), 1, "a spare pair, while reports are far between");
    scene.check(2, true);
    assert_eq!(scene.port(), 2);
}

#[test]
fn replayed_checks_gain_nothing() {
    let mut scene = Scene::new();
    for port in 66..200 {
        scene.check(port, true);
        assert_eq!(scene.port(), 1);
        scene.wait(1_500);
        scene.media(1);
        scene.check(1, true);
        assert_eq!(scene.port(), 1);
    }
    assert!(scene.place.proven.len() <= PROVEN_MAX && scene.place.is_proven(&path(1)));
    scene.check(2, true);
    scene.media(2);
    assert_eq!(scene.port(), 2, "the client itself is followed still");
}

#[test]
fn a_client_that_nominates_elsewhere_than_it_sends_from_does_not_flap() {
    let mut scene = Scene::new();
    let mut moves = 0;
    for _ in 0..20 {
        let before = scene.port();
        scene.check(2, true);
        scene.media(1);
        moves += u32::from(scene.port() != before);
        scene.wait(1_000);
    }
    assert_eq!((scene.port(), moves), (1, 0), "media wins");
}

#[test]
fn consent_is_that_of_the_pair_moved_to() {
    let mut scene = Scene::new();
    scene.media(2);
    scene.media(1);
    let checked = scene.now;
    scene.wait(500);
    scene.check(1, false);
    scene.wait(500);
    scene.media(2);
    assert_eq!((scene.port(), scene.place.consent_until()), (2, checked + CONSENT_TIMEOUT));
}

#[test]
fn a_connection_is_a_place_of_its_own() {
    let mut scene = Scene::new();
    let over_tcp = |id| Path { connection: Some(ConnectionId(id)), ..path(1) };
    assert!(!scene.place.is_proven(&over_tcp(1)), "the same ports, another protocol");
    scene.place.handle_check(scene.now, over_tcp(1), true, false);
    assert_eq!(scene.place.selected(), Some(over_tcp(1)));
    assert!(scene.place.is_proven(&over_tcp(1)) && !scene.place.is_proven(&over_tcp(2)));
    scene.place.handle_lost(scene.now, over_tcp(1));
    assert_eq!(scene.place.selected(), Some(path(1)), "the pair that is left");
    assert!(!scene.place.is_proven(&over_tcp(1)));
}

#[test]
fn a_peer_whose_only_connection_ended_has_seconds_to_come_back() {
    let over_tcp = |id| Path { connection: Some(ConnectionId(id)), ..path(1) };
    let now = Instant::now();
    let mut scene = Scene { now, place: Whereabouts::new(now) };
    scene.place.handle_check(now, over_tcp(1), true, false);
    scene.place.handle_connected(now);
    scene.place.handle_media(now, over_tcp(1), true);
    scene.wait(1_000);
    scene.place.handle_lost(scene.now, over_tcp(1));
    assert_eq!(scene.place.consent_until(), scene.now + LOST_MAX);
    scene.wait(3_000);
    scene.place.handle_check(scene.now, over_tcp(2), false, false);
    assert_eq!(scene.place.selected(), Some(over_tcp(2)), "at once");
    assert_eq!(scene.place.consent_until(), scene.now + CONSENT_TIMEOUT);
}
