//! Peers that come, wait, answer, leave and are forgotten.

use std::time::Duration;

use weir_source::{ClientInfo, ClientKind, Hub, Pass, Secret, StreamKey};

use super::*;
use crate::{
    record::Facts,
    sdp::{Direction, DtlsRole, IceCredentials},
    timeline::Named,
    worker::PeerWake,
};

const WAIT: Duration = Duration::from_secs(10);
const BOUNDS: Bounds = Bounds { sessions: 6, waiting: 4, waiting_per_ip: 2 };

struct Room {
    hub: Arc<Hub>,
    lobby: Lobby,
    now: Instant,
}

impl Room {
    fn new() -> Self {
        Self { hub: Hub::new(), lobby: Lobby::new(BOUNDS), now: Instant::now() }
    }

    fn peer(&self, name: &str, ip: [u8; 4]) -> Waiting {
        let key = StreamKey::new("live", name).expect("a name");
        let wake = Arc::new(PeerWake::default());
        let info = ClientInfo {
            id: name.to_owned(),
            kind: ClientKind::RtcPublish,
            key: key.clone(),
            ip: ip.into(),
            url: String::new(),
            page_url: String::new(),
            param: Secret::default(),
            since: self.now,
        };
        let guard = self.hub.clients().enter(Pass::free(info), Arc::clone(&wake) as Arc<dyn weir_source::Wake>);
        let publisher = self.hub.publish_packets(&key, name, Arc::clone(&wake) as Arc<dyn weir_source::Wake>, self.now);
        let ice = IceCredentials { ufrag: format!("ufrag-{name}"), pwd: format!("pwd-{name}") };
        let facts = Facts {
            session: format!("session-{name}"),
            etag: String::new(),
            fragment: String::new(),
            id: name.to_owned(),
            direction: Direction::Publish,
            key,
            client_ip: ip.into(),
            since: self.now,
            ice: ice.clone(),
            remote_ufrag: String::new(),
            codecs: Vec::new(),
            named: Named::default(),
            answered: self.now,
            unanswered: false,
        };
        let params = SessionParams {
            direction: Direction::Publish,
            remote_ice: ice.clone(),
            local_ice: ice,
            remote_fingerprints: Vec::new(),
            dtls_role: DtlsRole::Passive,
            cname: String::new(),
            media: Vec::new(),
            layer_max: None,
            terms: crate::sdp::Terms::default(),
        };
        let (record, publisher) = (Record::new(facts, wake), Some(publisher.expect("a free name")));
        Waiting { record, guard, params, publisher, expires: self.now + WAIT }
    }

    /// Sessions by name, waiting peers, clients, sources.
    fn gauges(&self) -> [usize; 4] {
        let (sessions, waiting) = self.lobby.sessions();
        [sessions.len(), waiting, self.hub.clients().count(), self.hub.list().len()]
    }
}

#[test]
fn one_worker_claims_a_peer_and_others_learn_whose_it_is() {
    let room = Room::new();
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    let (place, pwd) = room.lobby.find("ufrag-a").expect("it waits");
    assert!(matches!(place, Place::Waiting));
    assert_eq!(&*pwd, "pwd-a");
    let claimed = room.lobby.claim("ufrag-a", 3).expect("the first");
    assert!(room.lobby.claim("ufrag-a", 1).is_none());
    assert!(matches!(room.lobby.find("ufrag-a"), Some((Place::Owned(3), _))));
    assert_eq!(room.gauges(), [1, 0, 1, 1]);
    room.lobby.leave(&claimed.record);
    drop(claimed);
    assert_eq!(room.gauges(), [0; 4]);
    assert!(room.lobby.find("ufrag-a").is_none());
}

#[test]
fn a_peer_that_restarts_is_found_by_its_first_and_its_latest_names_until_it_leaves() {
    let room = Room::new();
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    let name = |n: u32| IceCredentials { ufrag: format!("later-{n}"), pwd: format!("pwd-{n}") };
    let record = room.lobby.session("session-a").expect("it is there");
    assert!(room.lobby.rename(&record, &name(0)));
    assert!(matches!(room.lobby.find("later-0"), Some((Place::Waiting, pwd)) if &*pwd == "pwd-0"));
    let claimed = room.lobby.claim("later-0", 3).expect("the first");
    for n in 1..5 {
        assert!(room.lobby.rename(&record, &name(n)));
    }
    assert!(!room.lobby.rename(&record, &name(4)), "taken");
    let known = ["ufrag-a", "later-2", "later-3", "later-4"].map(|ufrag| room.lobby.find(ufrag).is_some());
    assert_eq!(known, [true, false, true, true]);
    assert!(matches!(room.lobby.find("later-4"), Some((Place::Owned(3), pwd)) if &*pwd == "pwd-4"));
    room.lobby.leave(&claimed.record);
    assert!(room.lobby.state.lock().places.is_empty());

    room.lobby.enter(room.peer("b", [10, 0, 0, 1])).expect("room");
    let record = room.lobby.session("session-b").expect("it is there");
    assert!(room.lobby.rename(&record, &name(7)));
    drop(room.lobby.withdraw(&record));
    assert!(room.lobby.state.lock().places.is_empty());
}

#[test]
fn h46_who_does_not_come_in_ten_seconds_frees_the_stream_name() {
    let room = Room::new();
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    room.lobby.enter(room.peer("b", [10, 0, 0, 1])).expect("room");
    assert!(room.lobby.expire(room.now + Duration::from_millis(9_999)).is_empty());
    let claimed = room.lobby.claim("ufrag-b", 0);
    let gone = room.lobby.expire(room.now + WAIT);
    assert_eq!(gone.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [EndReason::NeverHeard]);
    drop(gone);
    assert_eq!(room.gauges(), [1, 0, 1, 1], "a claimed peer does not expire here");
    drop(claimed);
}

#[test]
fn a34_waiting_peers_are_bounded_in_all_and_by_address() {
    let room = Room::new();
    for name in ["a", "b"] {
        room.lobby.enter(room.peer(name, [10, 0, 0, 1])).expect("room");
    }
    assert_eq!(room.lobby.admits([10, 0, 0, 1].into()), Err(Refusal::Full));
    assert_eq!(room.lobby.enter(room.peer("c", [10, 0, 0, 1])).err(), Some(Refusal::Full));
    for name in ["d", "e"] {
        room.lobby.enter(room.peer(name, [127, 0, 0, 1])).expect("room");
    }
    assert_eq!(room.lobby.admits([10, 0, 0, 2].into()), Err(Refusal::Full), "four wait");
    assert_eq!(room.gauges(), [4, 4, 4, 4], "nothing is left of the refused");

    let claimed: Vec<_> = ["a", "b", "d", "e"].iter().map(|name| room.lobby.claim(&format!("ufrag-{name}"), 0)).collect();
    room.lobby.enter(room.peer("f", [127, 0, 0, 1])).expect("room");
    room.lobby.enter(room.peer("g", [127, 0, 0, 1])).expect("room");
    assert_eq!(room.lobby.admits([127, 0, 0, 1].into()), Err(Refusal::Full), "six sessions");
    drop(claimed);
}

#[test]
fn a_withdrawn_peer_leaves_nothing_and_a_claimed_one_is_not_withdrawn() {
    let room = Room::new();
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    let record = room.lobby.session("session-a").expect("it is there");
    drop(room.lobby.withdraw(&record));
    assert_eq!(room.gauges(), [0; 4]);
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    let claimed = room.lobby.claim("ufrag-a", 0);
    assert!(room.lobby.withdraw(&room.lobby.session("session-a").expect("it is there")).is_none());
    drop(claimed);
}

#[test]
fn kicked_and_replaced_peers_are_evicted() {
    let room = Room::new();
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    room.lobby.enter(room.peer("b", [10, 0, 0, 2])).expect("room");
    assert!(room.lobby.evict().is_empty());
    room.hub.clients().get("a").expect("a client").kick();
    let wake = Arc::new(PeerWake::default()) as Arc<dyn weir_source::Wake>;
    let key = StreamKey::new("live", "b").expect("a name");
    let other = room.hub.publish_packets(&key, "other", wake, room.now + Duration::from_secs(3));
    let gone = room.lobby.evict();
    assert_eq!(gone.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [EndReason::Kicked, EndReason::Replaced]);
    drop(gone);
    assert_eq!(room.gauges(), [0, 0, 0, 1]);
    drop(other);
}

#[test]
fn two_living_peers_never_share_a_fragment_and_a_closed_lobby_lets_nobody_in() {
    let room = Room::new();
    let mut first = room.peer("a", [10, 0, 0, 1]);
    first.expires = room.now;
    room.lobby.enter(first).expect("room");
    let mut twin = room.peer("b", [10, 0, 0, 2]);
    Arc::get_mut(&mut twin.record).expect("nobody else has it").ufrag = "ufrag-a".to_owned();
    assert_eq!(room.lobby.enter(twin).err(), Some(Refusal::UfragTaken));
    assert_eq!(room.lobby.close().len(), 1);
    assert_eq!(room.gauges(), [0; 4]);
    assert_eq!(room.lobby.admits([10, 0, 0, 3].into()), Err(Refusal::Closed));
}

#[test]
fn the_list_of_times_does_not_outgrow_who_waits() {
    let room = Room::new();
    for _ in 0..500 {
        room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
        drop(room.lobby.withdraw(&room.lobby.session("session-a").expect("it is there")));
    }
    room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
    drop(room.lobby.claim("ufrag-a", 0));
    assert!(room.lobby.state.lock().order.is_empty());
}

#[test]
fn who_has_not_answered_our_offer_is_not_claimed_and_has_its_own_time() {
    let room = Room::new();
    let mut first = room.peer("a", [10, 0, 0, 1]);
    let offered = Arc::get_mut(&mut first.record).expect("nobody else has it");
    offered.set_unanswered();
    first.expires = room.now + Duration::from_secs(30);
    let (record, params) = (Arc::clone(&first.record), first.params.clone());
    room.lobby.enter(first).expect("room");
    room.lobby.enter(room.peer("b", [10, 0, 0, 2])).expect("room");
    assert_eq!(room.lobby.expire(room.now + WAIT).len(), 1, "the other one's time is up first");
    assert!(room.lobby.claim("ufrag-a", 0).is_none());
    let later = room.now + Duration::from_secs(29);
    assert!(room.lobby.answer(&record, params.clone(), later + WAIT));
    assert!(!room.lobby.answer(&record, params, later + WAIT), "once");
    assert!(room.lobby.expire(room.now + Duration::from_secs(38)).is_empty());
    assert!(room.lobby.claim("ufrag-a", 0).is_some());

    let mut silent = room.peer("c", [10, 0, 0, 1]);
    Arc::get_mut(&mut silent.record).expect("nobody else has it").set_unanswered();
    room.lobby.enter(silent).expect("room");
    let gone = room.lobby.expire(later);
    assert_eq!(gone.iter().map(|(_, reason)| *reason).collect::<Vec<_>>(), [EndReason::NeverAnswered]);
}
