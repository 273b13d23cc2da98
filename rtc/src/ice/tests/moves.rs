//! Our own checks: who is asked, what counts as an answer, where media goes.

use super::*;

/// What a peer with this password says to a check of ours.
fn answer(check: &[u8], pwd: &str) -> Vec<u8> {
    let transaction = Message::parse(check).unwrap().transaction;
    let mut out = [0; REPLY_LEN_MAX];
    let len = stun::emit_success(&transaction, "198.51.100.1:8000".parse().unwrap(), &IntegrityKey::new(pwd), &mut out).unwrap();
    out[..len].to_vec()
}

impl Scene {
    /// One whose handshake was spoken with port 1.
    fn connected() -> Self {
        let mut scene = Self::new();
        scene.check(1, true);
        scene.ice.handle_spoken();
        assert_eq!(scene.ice.handle_connected(scene.now), None);
        scene
    }

    /// The check that is sent to `port` now.
    fn asked(&mut self, port: u16) -> Vec<u8> {
        let (to, data) = self.ice.poll_check(self.now).expect("it is asked");
        assert_eq!((to, self.ice.poll_check(self.now)), (path(port), None));
        data
    }
}

#[test]
fn a_connected_peer_is_followed_to_where_it_answers_and_our_check_is_as_rfc_8445_has_it() {
    let mut scene = Scene::connected();
    assert_eq!(scene.check(2, true), None, "a nomination alone moves nothing");
    let check = scene.asked(2);
    let message = Message::parse(&check).unwrap();
    assert_eq!((message.class, message.username), (Class::Request, Some("h6vY:evtj")));
    assert!(message.verify(&IntegrityKey::new(REMOTE_PWD)) && message.fingerprint && !message.use_candidate);
    assert!(matches!(message.role, Some(Role::Controlled(_))) && message.priority.is_some());
    let good = answer(&check, REMOTE_PWD);
    scene.assert_silent("from elsewhere", &good);
    for (name, bad) in [
        ("our own password", answer(&check, LOCAL_PWD)),
        ("another transaction", {
            let mut other = good.clone();
            other[19] ^= 1;
            other
        }),
    ] {
        let reply = scene.hear(path(2), &bad);
        assert!(reply.reply.is_none() && reply.event.is_none() && !reply.is_answer, "{name}");
    }
    let reply = scene.hear(path(2), &good);
    assert!(reply.is_answer && reply.reply.is_none());
    assert_eq!(reply.event, moved(1, 2));
    assert!(!scene.hear(path(2), &good).is_answer, "once");
    assert_eq!(scene.check(1, true), moved(2, 1), "it has answered there lately");
    let stats = scene.ice.stats();
    assert_eq!((stats.asked, stats.answers), (1, 1));
}

#[test]
fn a06_whoever_does_not_answer_gets_three_checks_and_no_media() {
    let mut scene = Scene::connected();
    let mut sent = Vec::new();
    let began = scene.now;
    while scene.now - began < CONSENT_TIMEOUT {
        scene.check(1, true);
        // What the victim gets besides: the answers to what was sent in its name.
        scene.check(2, true);
        while let Some((to, data)) = scene.ice.poll_check(scene.now) {
            assert_eq!(to, path(2));
            sent.push((scene.now - began, data));
        }
        assert_eq!(scene.ice.path(), Some(path(1)));
        scene.now += Duration::from_millis(50);
    }
    let times: Vec<_> = sent.iter().map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 250, 1_250]);
    assert!(sent.iter().all(|(_, data)| data.len() <= 110));
    assert!(!scene.hear(path(2), &answer(&sent[0].1, REMOTE_PWD)).is_answer, "too late");
}

#[test]
fn a06_many_forged_addresses_get_little_and_do_not_keep_the_peer_from_moving() {
    let mut scene = Scene::connected();
    let mut count = 0;
    for port in 100..1_100 {
        scene.check(port, true);
        count += std::iter::from_fn(|| scene.ice.poll_check(scene.now)).count();
        scene.now += Duration::from_millis(10);
    }
    assert!(count <= 24, "{count}");
    assert_eq!(scene.ice.path(), Some(path(1)));
    scene.ice.handle_media(scene.now, path(2), true);
    let check = scene.asked(2);
    assert_eq!(scene.hear(path(2), &answer(&check, REMOTE_PWD)).event, moved(1, 2));
}

#[test]
fn fresh_media_from_an_address_without_a_check_is_followed_once_it_answers() {
    let mut scene = Scene::connected();
    assert_eq!(scene.ice.handle_media(scene.now, path(2), false), None);
    assert_eq!(scene.ice.poll_check(scene.now), None, "a straggler");
    assert_eq!(scene.ice.handle_media(scene.now, path(2), true), None);
    let first = scene.asked(2);
    scene.now += Duration::from_millis(250);
    assert_eq!(scene.ice.poll_timeout(), Some(scene.now));
    scene.asked(2);
    assert_eq!(scene.hear(path(2), &answer(&first, REMOTE_PWD)).event, moved(1, 2), "any of them counts");
    assert_eq!(scene.ice.expires_at(), scene.now + CONSENT_TIMEOUT, "an answer is consent");
    assert_eq!(scene.ice.poll_timeout(), None);
}

#[test]
fn a_peer_that_forges_its_address_while_it_shakes_hands_gets_media_where_it_shook_them() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.ice.handle_spoken();
    assert_eq!(scene.check(66, true), moved(1, 66), "until the keys are there the peer says where it is");
    assert_eq!(scene.ice.handle_connected(scene.now), moved(66, 1));
    assert_eq!(scene.ice.path(), Some(path(1)));
    scene.asked(66);
}

#[test]
fn a_handshake_in_two_places_says_nothing_of_either() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.ice.handle_spoken();
    scene.check(2, true);
    scene.ice.handle_spoken();
    let check = scene.asked(2);
    assert_eq!(scene.ice.handle_connected(scene.now), None);
    assert_eq!((scene.ice.selected(), scene.ice.path()), (Some(path(2)), None));
    assert_eq!(scene.hear(path(2), &answer(&check, REMOTE_PWD)).event, None);
    assert_eq!(scene.ice.path(), Some(path(2)));
}

#[test]
fn our_checks_are_signed_as_the_peer_knows_itself_before_and_after_a_restart() {
    let credentials = |ufrag: &str, pwd: &str| IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
    let (ours, theirs) = ("another password of ours", "another password of theirs");
    let is_of = |check: &[u8], username: &str, pwd: &str| {
        let message = Message::parse(check).unwrap();
        message.username == Some(username) && message.verify(&IntegrityKey::new(pwd))
    };
    let mut scene = Scene::connected();
    scene.ice.restart(credentials("newL", ours), credentials("newR", theirs));
    assert!(scene.hear(path(2), &check("evtj:h6vY", LOCAL_PWD, true)).reply.is_some());
    let former = scene.asked(2);
    assert!(is_of(&former, "h6vY:evtj", REMOTE_PWD), "its pairs of before know no other");
    assert!(scene.hear(path(3), &check("newL:newR", ours, true)).reply.is_some());
    let new = scene.asked(3);
    assert!(is_of(&new, "newR:newL", theirs));
    assert_eq!(scene.hear(path(3), &answer(&new, theirs)).event, moved(1, 3));

    let mut scene = Scene::connected();
    scene.ice.restart(credentials("newL", ours), credentials("newR", theirs));
    scene.ice.handle_media(scene.now, path(2), true);
    assert!(is_of(&scene.asked(2), "h6vY:evtj", REMOTE_PWD));
    scene.now += Duration::from_millis(250);
    assert!(is_of(&scene.asked(2), "newR:newL", theirs), "which one it uses there nobody said");
}

#[test]
fn addresses_that_the_peer_has_left_are_forgotten_in_five_seconds() {
    let mut scene = Scene::connected();
    scene.ice.handle_media(scene.now, path(1), true);
    scene.check(2, true);
    let check = scene.asked(2);
    scene.hear(path(2), &answer(&check, REMOTE_PWD));
    scene.ice.handle_media(scene.now, path(2), true);
    let old = path(1).remote;
    for _ in 0..4 {
        assert!(scene.ice.is_proven(&path(1)) && scene.ice.is_around(scene.now, &old));
        scene.wait(1);
        scene.ice.forget_left(scene.now);
    }
    assert!(!scene.ice.is_proven(&path(1)) && !scene.ice.is_around(scene.now, &old));
    assert!(scene.ice.is_around(scene.now, &path(2).remote));
    assert_eq!(scene.check(1, true), None, "and is asked again when it comes back");
    scene.asked(1);
}
