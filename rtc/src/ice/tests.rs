//! Checks that are answered, checks that are not, and where media goes, in virtual time.

use proptest::prelude::*;
use rtc::crypto::providers::AwsLcRsCrypto;

use super::*;
use crate::wire::stun::{Request, Role, TransactionId};

const LOCAL_PWD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const REMOTE_PWD: &str = "the password of the peer";

fn agent(now: Instant) -> IceLite {
    let credentials = |ufrag: &str, pwd: &str| IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
    IceLite::new(credentials("evtj", LOCAL_PWD), credentials("h6vY", REMOTE_PWD), now)
}

fn path(port: u16) -> Path {
    Path::udp(SocketAddr::new([192, 0, 2, 1].into(), port), [198, 51, 100, 1].into())
}

fn check(username: &str, pwd: &str, use_candidate: bool) -> Vec<u8> {
    let role = Role::Controlling(1);
    let request = Request { transaction: TransactionId([7; 12]), username, priority: 1, role, use_candidate };
    let mut out = vec![0; 600];
    let len = request.emit(&IntegrityKey::new(pwd), &mut out).unwrap();
    out.truncate(len);
    out
}

/// An agent and its clock.
struct Scene {
    now: Instant,
    ice: IceLite,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self { now, ice: agent(now) }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn hear(&mut self, path: Path, data: &[u8]) -> IceReply {
        self.ice.handle_stun(self.now, path, data)
    }

    /// A good check from `port`.
    fn check(&mut self, port: u16, use_candidate: bool) -> Option<IceEvent> {
        let reply = self.hear(path(port), &check("evtj:h6vY", LOCAL_PWD, use_candidate));
        assert!(reply.reply.is_some());
        reply.event
    }

    /// Asserts that `data` gets no answer and changes nothing.
    fn assert_silent(&mut self, name: &str, data: &[u8]) {
        let (selected, consent) = (self.ice.selected(), self.ice.expires_at());
        let reply = self.hear(path(66), data);
        assert!(reply.reply.is_none() && reply.event.is_none(), "{name}");
        assert_eq!((self.ice.selected(), self.ice.expires_at()), (selected, consent), "{name}");
    }
}

fn moved(from: u16, to: u16) -> Option<IceEvent> {
    Some(IceEvent::Moved { from: path(from), to: path(to) })
}

#[test]
fn a_check_is_answered_with_the_address_it_came_from() {
    let mut scene = Scene::new();
    let request = check("evtj:h6vY", LOCAL_PWD, true);
    for remote in ["192.0.2.7:1000", "[2001:db8::7]:2000"] {
        let remote = remote.parse().unwrap();
        let reply = scene.ice.handle_stun(scene.now, Path { remote, ..path(1) }, &request).reply.unwrap();
        let answer = Message::parse(&reply).unwrap();
        assert_eq!((answer.class, answer.transaction), (Class::Success, TransactionId([7; 12])));
        assert_eq!(answer.mapped, Some(remote));
        assert!(answer.fingerprint && answer.verify(&IntegrityKey::new(LOCAL_PWD)));
        assert!(reply.len() <= request.len(), "no amplification");
    }
}

#[test]
fn an_ipv4_peer_of_a_dual_stack_socket_is_told_its_ipv4_address() {
    let mut scene = Scene::new();
    let remote = "[::ffff:192.0.2.7]:1000".parse().unwrap();
    let reply = scene.ice.handle_stun(scene.now, Path { remote, ..path(1) }, &check("evtj:h6vY", LOCAL_PWD, false));
    let mapped = Message::parse(&reply.reply.unwrap()).unwrap().mapped;
    assert_eq!(mapped, Some("192.0.2.7:1000".parse().unwrap()));
    assert_eq!(scene.ice.selected().unwrap().remote, remote, "but is sent to as it came");
}

#[test]
fn what_is_not_the_peers_gets_no_answer() {
    let good = check("evtj:h6vY", LOCAL_PWD, true);
    let mut scene = Scene::new();
    scene.assert_silent("another password", &check("evtj:h6vY", "another password", true));
    scene.assert_silent("another peer", &check("evtj:XXXX", LOCAL_PWD, true));
    scene.assert_silent("for somebody else", &check("XXXX:h6vY", LOCAL_PWD, true));
    scene.assert_silent("fragments swapped", &check("h6vY:evtj", LOCAL_PWD, true));
    scene.assert_silent("one fragment", &check("evtj", LOCAL_PWD, true));
    scene.assert_silent("three fragments", &check("evtj:h6vY:x", LOCAL_PWD, true));
    scene.assert_silent("no user name", &check("", LOCAL_PWD, true));
    let mut bare = good[..20].to_vec();
    bare[2..4].fill(0);
    scene.assert_silent("no attributes", &bare);
    let mut without_fingerprint = good[..good.len() - 8].to_vec();
    without_fingerprint[3] -= 8;
    scene.assert_silent("no fingerprint", &without_fingerprint);
    for (class, high, low) in [("indication", 0x00, 0x11), ("success", 0x01, 0x01), ("error", 0x01, 0x11)] {
        let mut other = good.clone();
        other[..2].copy_from_slice(&[high, low]);
        scene.assert_silent(class, &other);
    }
    for len in 0..good.len() {
        scene.assert_silent("cut short", &good[..len]);
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        scene.assert_silent("one bit wrong", &flipped);
    }
    let stats = scene.ice.stats();
    assert_eq!(stats.answered, 0);
    assert!(stats.malformed > 0 && stats.bad_integrity == 1 && stats.bad_username == 6, "{stats:?}");
}

#[test]
fn a_signed_check_with_an_attribute_we_must_know_gets_an_error() {
    let key = IntegrityKey::new(LOCAL_PWD);
    let mut message = rtc::stun::message::Message::new();
    let username = rtc::stun::textattrs::TextAttribute::new(rtc::stun::attributes::ATTR_USERNAME, "evtj:h6vY".to_owned());
    let unknown =
        rtc::stun::attributes::RawAttribute { typ: rtc::stun::attributes::AttrType(0x7fff), length: 4, value: vec![0; 4] };
    let integrity = rtc::stun::integrity::MessageIntegrity::new_raw_integrity_with_provider(LOCAL_PWD, &AwsLcRsCrypto);
    message
        .build(&[
            Box::new(rtc::stun::message::BINDING_REQUEST),
            Box::new(username),
            Box::new(unknown),
            Box::new(integrity),
            Box::new(rtc::stun::fingerprint::FINGERPRINT),
        ])
        .unwrap();
    let mut scene = Scene::new();
    let reply = scene.hear(path(1), &message.raw);
    assert_eq!(reply.event, None);
    let reply = reply.reply.unwrap();
    let answer = Message::parse(&reply).unwrap();
    assert_eq!((answer.class, answer.error_code), (Class::Error, Some(400)));
    assert!(answer.verify(&key));
    assert_eq!(scene.ice.selected(), None);
}

#[test]
fn the_first_pair_is_kept_until_one_is_nominated() {
    let mut scene = Scene::new();
    assert_eq!(scene.check(1, false), Some(IceEvent::Selected(path(1))));
    assert_eq!(scene.check(2, false), None);
    assert_eq!(scene.ice.selected(), Some(path(1)));
    assert!(!scene.ice.is_nominated());
    assert_eq!(scene.check(2, true), moved(1, 2));
    assert!(scene.ice.is_nominated());
    assert_eq!(scene.check(1, false), None);
    assert_eq!(scene.ice.selected(), Some(path(2)));
}

#[test]
fn a_nominated_pair_yields_to_one_nominated_later() {
    let mut scene = Scene::new();
    assert_eq!(scene.check(1, true), Some(IceEvent::Selected(path(1))));
    assert_eq!(scene.check(1, true), None);
    assert_eq!(scene.check(2, true), moved(1, 2));
    assert_eq!(scene.check(1, true), moved(2, 1));
}

#[test]
fn another_address_of_ours_is_another_pair() {
    let mut scene = Scene::new();
    scene.check(1, true);
    let elsewhere = Path { local: [198, 51, 100, 2].into(), ..path(1) };
    let event = scene.hear(elsewhere, &check("evtj:h6vY", LOCAL_PWD, true)).event;
    assert_eq!(event, Some(IceEvent::Moved { from: path(1), to: elsewhere }));
}

#[test]
fn a_peer_that_goes_on_from_another_address_without_nominating_is_followed_once_the_old_one_is_silent() {
    let mut scene = Scene::new();
    scene.check(1, true);
    scene.wait(6);
    assert_eq!(scene.check(2, false), None);
    scene.wait(1);
    assert_eq!(scene.check(2, false), moved(1, 2));
}

#[test]
fn consent_ends_thirty_seconds_after_the_last_check_on_the_selected_pair() {
    let mut scene = Scene::new();
    scene.wait(29);
    assert!(!scene.ice.expired(scene.now), "counts from the start of the session");
    scene.check(1, true);
    for _ in 0..10 {
        scene.wait(5);
        scene.check(1, false);
        scene.assert_silent("forged consent", &check("evtj:h6vY", "forged", true));
    }
    assert_eq!(scene.ice.expires_at(), scene.now + CONSENT_TIMEOUT);
    scene.wait(29);
    assert!(!scene.ice.expired(scene.now));
    scene.wait(1);
    assert!(scene.ice.expired(scene.now));
}

#[test]
fn a_peer_is_found_by_the_fragment_that_its_check_names() {
    assert_eq!(username_local_ufrag(&check("evtj:h6vY", "whatever", true)), Some("evtj"));
    assert_eq!(username_local_ufrag(&check("evtj", "whatever", true)), None);
    assert_eq!(username_local_ufrag(&check(":h6vY", "whatever", true)), None);
    assert_eq!(username_local_ufrag(&check(&format!("{}:x", "u".repeat(257)), "whatever", true)), None);
    assert_eq!(username_local_ufrag(b"no STUN"), None);
}

/// RFC 5769 section 2.1: a check whose sender believes to be controlled. Its role is of no interest.
#[test]
fn the_check_of_rfc_5769_is_answered_whatever_its_role() {
    let hex = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
        80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
        80280004e57a3bcf";
    let data: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut scene = Scene::new();
    let reply = scene.hear(path(1), &data);
    assert_eq!(reply.event, Some(IceEvent::Selected(path(1))));
    let mut answer = rtc::stun::message::Message::new();
    answer.unmarshal_binary(&reply.reply.unwrap()).unwrap();
    rtc::stun::integrity::MessageIntegrity::check(&mut answer, LOCAL_PWD.as_bytes(), &AwsLcRsCrypto).unwrap();
    rtc::stun::fingerprint::FINGERPRINT.check(&answer).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_are_answered(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut scene = Scene::new();
        scene.assert_silent("random", &data);
        let _ = username_local_ufrag(&data);
    }
}

#[test]
fn after_a_restart_both_names_are_honoured_until_the_peer_nominates_under_the_new() {
    let mut scene = Scene::new();
    assert!(scene.check(1, true).is_some());
    let credentials = |ufrag: &str, pwd: &str| IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
    let pwd = "another password of ours";
    scene.ice.restart(credentials("newL", pwd), credentials("newR", "another password of theirs"));
    let (new, nominating) = (check("newL:newR", pwd, false), check("newL:newR", pwd, true));
    assert!(scene.check(1, true).is_none(), "consent on the pair of before");
    assert!(scene.hear(path(2), &new).reply.is_some());
    assert_eq!(scene.ice.selected(), Some(path(1)), "media stays where it is");
    for (username, pwd) in [("newL:newR", LOCAL_PWD), ("evtj:h6vY", pwd), ("evtj:newR", LOCAL_PWD), ("newL:h6vY", pwd)] {
        scene.assert_silent(username, &check(username, pwd, true));
    }
    assert!(scene.hear(path(2), &nominating).event.is_some());
    assert_eq!(scene.ice.selected(), Some(path(2)));
    scene.assert_silent("the former names", &check("evtj:h6vY", LOCAL_PWD, true));
}

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
fn whoever_does_not_answer_gets_three_checks_and_no_media() {
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
fn many_forged_addresses_get_little_and_do_not_keep_the_peer_from_moving() {
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
