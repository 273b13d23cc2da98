//! Checks that are answered, checks that are not, and where media goes, in virtual time.

use proptest::prelude::*;
use rtc::crypto::providers::AwsLcRsCrypto;

use super::*;
use crate::wire::stun::{Request, Role, TransactionId};

mod moves;

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
fn a01_a03_a05_what_is_not_the_peers_gets_no_answer() {
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

/// The MAC is that of the right password over what stands before it; around it all is odd.
#[test]
fn a02_a_check_whose_mac_or_fingerprint_is_odd_gets_no_answer() {
    let good = check("evtj:h6vY", LOCAL_PWD, true);
    let (mac_at, fingerprint_at) = (good.len() - 32, good.len() - 8);
    let mac = &good[mac_at..fingerprint_at];
    assert_eq!((&mac[..4], &good[fingerprint_at..][..4]), (&[0, 8, 0, 20][..], &[0x80, 0x28, 0, 4][..]));
    let with_length = |mut data: Vec<u8>| {
        let length = (data.len() - 20) as u16;
        data[2..4].copy_from_slice(&length.to_be_bytes());
        data
    };
    let mut scene = Scene::new();
    for len in 0..20_u8 {
        let mut short = [&good[..mac_at], &[0, 8, 0, len], &mac[4..4 + usize::from(len)]].concat();
        short.resize(short.len().next_multiple_of(4), 0);
        let alone = with_length(short.clone());
        scene.assert_silent("a short MAC at the end", &alone);
        scene.assert_silent("a short MAC", &with_length([&short, &good[fingerprint_at..]].concat()));
    }
    scene.assert_silent("the MAC first", &with_length([&good[..20], mac, &good[20..mac_at], &good[fingerprint_at..]].concat()));
    scene.assert_silent("the MAC twice", &with_length([&good[..fingerprint_at], mac, &good[fingerprint_at..]].concat()));
    scene.assert_silent("the fingerprint before the MAC", &[&good[..mac_at], &good[fingerprint_at..], mac].concat());
    scene.assert_silent("no MAC", &with_length([&good[..mac_at], &good[fingerprint_at..]].concat()));
    scene.assert_silent("no fingerprint", &with_length(good[..fingerprint_at].to_vec()));
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    scene.assert_silent("a wrong fingerprint", &wrong);
    assert_eq!(scene.ice.stats().answered, 0);
    assert!(scene.hear(path(1), &good).reply.is_some(), "the whole one is answered");
}

#[test]
fn a08_five_hundred_proven_ports_are_sixteen_pairs_at_the_most() {
    let mut scene = Scene::new();
    for port in 1..=500 {
        scene.check(port, false);
    }
    let proven = (1..=500).filter(|port| scene.ice.is_proven(&path(*port))).count();
    assert!(proven <= 16, "{proven}");
    assert!(scene.ice.is_proven(&path(1)), "the one that is used is kept");
    assert_eq!(scene.ice.selected(), Some(path(1)));
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
fn a07_h12_consent_ends_thirty_seconds_after_the_last_check_on_the_selected_pair() {
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
fn h26_after_a_restart_both_names_are_honoured_until_the_peer_nominates_under_the_new() {
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

#[test]
fn h29_a_restart_that_comes_to_nothing_does_not_prolong_consent() {
    let mut scene = Scene::new();
    assert!(scene.check(1, true).is_some());
    scene.wait(10);
    let credentials = |ufrag: &str, pwd: &str| IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
    scene.ice.restart(credentials("newL", "another password of ours"), credentials("newR", "another password of theirs"));
    scene.wait(19);
    assert!(!scene.ice.expired(scene.now));
    scene.wait(1);
    assert!(scene.ice.expired(scene.now), "30 s after the last check, whatever was asked for since");
}

#[test]
fn consent_lasts_as_long_as_is_set_within_bounds() {
    for (set, lasts) in [(20, 20), (1, 13), (3_600, 30)] {
        let mut scene = Scene::new();
        scene.ice.set_consent(Duration::from_secs(set));
        scene.check(1, true);
        assert_eq!(scene.ice.expires_at(), scene.now + Duration::from_secs(lasts), "{set}");
    }
}
