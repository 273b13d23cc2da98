//! Negotiated peers that have not been heard by UDP yet, and who owns those that have.
//!
//! One lock, taken when a session comes or goes and at the first STUN of an unknown address; never
//! per packet, but that packets from strangers look into one table of publishers' streams. Nothing that can take long happens under it: passwords are checked outside, and what
//! is removed is dropped outside.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, RwLock};
use weir_source::{ClientGuard, Packet, Publisher};

use crate::{
    SessionTotals,
    homes::Homes,
    record::Record,
    sdp::{IceCredentials, SessionParams},
    worker::NAMES_MAX,
};

/// How long a negotiated peer is waited for. A browser sends its first check within a second of
/// the answer; a stream name must not be held much longer by one that never comes.
const WAIT: Duration = Duration::from_secs(10);

/// A peer with an answer but without an address.
pub(crate) struct Waiting {
    pub(crate) record: Arc<Record>,
    pub(crate) guard: ClientGuard,
    pub(crate) params: SessionParams,
    /// The seat of a publisher, taken already.
    pub(crate) publisher: Option<Publisher<Packet>>,
    pub(crate) expires: Instant,
}

impl Waiting {
    pub(crate) fn new(
        record: Arc<Record>,
        guard: ClientGuard,
        params: SessionParams,
        publisher: Option<Publisher<Packet>>,
        now: Instant,
    ) -> Self {
        Self { record, guard, params, publisher, expires: now + WAIT }
    }
}

/// Whose peer it is that a user name fragment names.
pub(crate) enum Place {
    /// Nobody's yet.
    Waiting,
    /// The worker's with this index.
    Owned(usize),
}

/// Why a peer was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Full,
    UfragTaken,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) sessions: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_per_ip: usize,
}

/// All sessions by name, and the waiting ones in the order of their coming.
pub(crate) struct Lobby {
    /// Which workers' peers are where.
    pub(crate) homes: Homes,
    bounds: Bounds,
    state: Mutex<State>,
    /// Which worker's publisher sends this stream: for media from where nobody is known to be.
    ssrcs: RwLock<HashMap<u32, usize, RandomState>>,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// By our user name fragment.
    places: HashMap<Arc<str>, Entry, RandomState>,
    /// By session name.
    sessions: HashMap<String, Arc<Record>, RandomState>,
    /// By client address; an address leaves with its last waiting peer.
    per_ip: HashMap<IpAddr, usize, RandomState>,
    /// Fragments in the order in which they came. One that has left is skipped.
    order: VecDeque<(Instant, Arc<str>)>,
    waiting: usize,
    /// What those that have left had counted.
    totals: SessionTotals,
}

struct Entry {
    pwd: Arc<str>,
    owner: Option<usize>,
    waiting: Option<Box<Waiting>>,
    /// The names of later restarts, which have entries of their own and leave with this one.
    later: Vec<Arc<str>>,
    /// This is such an entry: the first name.
    first: Option<Arc<str>>,
}

impl Lobby {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { homes: Homes::default(), bounds, state: Mutex::default(), ssrcs: RwLock::default() }
    }

    /// Whether a session from `ip` would be let in now.
    pub(crate) fn admits(&self, ip: IpAddr) -> Result<(), Refusal> {
        self.check(&self.state.lock(), ip)
    }

    fn check(&self, state: &State, ip: IpAddr) -> Result<(), Refusal> {
        if state.closed {
            return Err(Refusal::Closed);
        }
        let same_ip = if ip.is_loopback() { 0 } else { state.per_ip.get(&ip).copied().unwrap_or(0) };
        let full = state.sessions.len() >= self.bounds.sessions
            || state.waiting >= self.bounds.waiting
            || same_ip >= self.bounds.waiting_per_ip;
        if full { Err(Refusal::Full) } else { Ok(()) }
    }

    /// Lets a peer in to wait.
    pub(crate) fn enter(&self, waiting: Waiting) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        let ip = waiting.record.client_ip;
        let refusal = self.check(&state, ip).err();
        let refusal = refusal.or_else(|| state.places.contains_key(&*waiting.record.ufrag).then_some(Refusal::UfragTaken));
        if let Some(refusal) = refusal {
            // Unlock before the peer is dropped: a publisher's seat is released by that.
            drop(state);
            return Err(refusal);
        }
        let ufrag: Arc<str> = waiting.record.ufrag.as_str().into();
        state.waiting += 1;
        *state.per_ip.entry(ip).or_default() += 1;
        state.order.push_back((waiting.expires, Arc::clone(&ufrag)));
        state.sessions.insert(waiting.record.session.clone(), Arc::clone(&waiting.record));
        let pwd = waiting.params.local_ice.pwd.as_str().into();
        state.places.insert(ufrag, Entry { pwd, owner: None, waiting: Some(Box::new(waiting)), later: Vec::new(), first: None });
        Ok(())
    }

    /// Whose peer `ufrag` names, and the password that proves a message to be meant for it.
    pub(crate) fn find(&self, ufrag: &str) -> Option<(Place, Arc<str>)> {
        let state = self.state.lock();
        let entry = state.places.get(ufrag)?;
        let owner = match &entry.first {
            Some(first) => state.places.get(first)?.owner,
            None => entry.owner,
        };
        Some((owner.map_or(Place::Waiting, Place::Owned), Arc::clone(&entry.pwd)))
    }

    /// The name that a peer of this later name came with.
    pub(crate) fn first_name(&self, ufrag: &str) -> Option<Arc<str>> {
        self.state.lock().places.get(ufrag)?.first.clone()
    }

    /// Gives a waiting peer to a worker for life. `None`: it has left, or another was first.
    pub(crate) fn claim(&self, ufrag: &str, worker: usize) -> Option<Box<Waiting>> {
        let mut state = self.state.lock();
        let first = state.places.get(ufrag)?.first.clone();
        let entry = state.places.get_mut(first.as_deref().unwrap_or(ufrag))?;
        let waiting = entry.waiting.take()?;
        entry.owner = Some(worker);
        state.forget_waiting(waiting.record.client_ip);
        Some(waiting)
    }

    /// Takes a peer that still waits out of the lobby. It is released when what is returned is
    /// dropped.
    pub(crate) fn withdraw(&self, record: &Record) -> Option<Box<Waiting>> {
        let mut state = self.state.lock();
        state.take_if(&record.ufrag, |waiting| std::ptr::eq(&*waiting.record, record))
    }

    /// Takes out the peers whose time is up.
    pub(crate) fn expire(&self, now: Instant) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while state.order.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, ufrag)) = state.order.pop_front() else { break };
            // A fragment may have been used again since: then its new peer has its own time.
            gone.extend(state.take_if(&ufrag, |waiting| waiting.expires <= now).map(|waiting| *waiting));
        }
        gone
    }

    /// Takes out the peers that were kicked, and publishers whose seat another has taken.
    pub(crate) fn evict(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let order: Vec<Arc<str>> = state.order.iter().map(|(_, ufrag)| Arc::clone(ufrag)).collect();
        let unwanted = |waiting: &Waiting| {
            let replaced = waiting.publisher.as_ref().is_some_and(Publisher::is_replaced);
            replaced || waiting.guard.is_kicked()
        };
        order.iter().filter_map(|ufrag| state.take_if(ufrag, unwanted)).map(|waiting| *waiting).collect()
    }

    /// A worker's peer has ended.
    pub(crate) fn leave(&self, record: &Record) {
        let mut state = self.state.lock();
        if state.sessions.remove(&record.session).is_some() {
            state.totals.ended = state.totals.ended.saturating_add(1);
            record.look(|_, stats| state.totals.add(stats));
        }
        if state.places.get(&*record.ufrag).is_some_and(|entry| entry.waiting.is_none()) {
            state.remove(&record.ufrag);
        }
    }

    /// A peer gets another name by an ICE restart; of those of its former restarts the oldest makes
    /// room. `false`: it has left, or the name is taken.
    pub(crate) fn rename(&self, record: &Record, name: &IceCredentials) -> bool {
        let mut state = self.state.lock();
        if state.places.contains_key(name.ufrag.as_str()) {
            return false;
        }
        let Some((first, entry)) = state.places.get_key_value(&*record.ufrag) else { return false };
        // The first name stays as well.
        let forgotten = entry.later.first().filter(|_| entry.later.len() + 1 >= NAMES_MAX).cloned();
        let (first, ufrag) = (Arc::clone(first), Arc::<str>::from(name.ufrag.as_str()));
        if let Some(entry) = state.places.get_mut(&first) {
            entry.later.retain(|later| Some(later) != forgotten.as_ref());
            entry.later.push(Arc::clone(&ufrag));
        }
        if let Some(forgotten) = forgotten {
            state.places.remove(&forgotten);
        }
        let pwd = name.pwd.as_str().into();
        state.places.insert(ufrag, Entry { pwd, owner: None, waiting: None, later: Vec::new(), first: Some(first) });
        true
    }

    /// A worker's publisher sends this stream. Of two that name theirs alike the first counts.
    pub(crate) fn claim_ssrc(&self, ssrc: u32, worker: usize) -> bool {
        let mut ssrcs = self.ssrcs.write();
        *ssrcs.entry(ssrc).or_insert(worker) == worker
    }

    pub(crate) fn release_ssrc(&self, ssrc: u32) {
        self.ssrcs.write().remove(&ssrc);
    }

    /// Whose publisher sends this stream.
    pub(crate) fn owner_of_ssrc(&self, ssrc: u32) -> Option<usize> {
        self.ssrcs.read().get(&ssrc).copied()
    }

    /// The session with this name.
    pub(crate) fn session(&self, session: &str) -> Option<Arc<Record>> {
        self.state.lock().sessions.get(session).cloned()
    }

    /// All sessions, waiting ones included, and how many wait.
    pub(crate) fn sessions(&self) -> (Vec<Arc<Record>>, usize) {
        let state = self.state.lock();
        (state.sessions.values().cloned().collect(), state.waiting)
    }

    /// What all sessions have counted. Under the lock, so that one which leaves meanwhile counts once.
    pub(crate) fn totals(&self) -> SessionTotals {
        let state = self.state.lock();
        state.sessions.values().fold(state.totals, |mut totals, record| {
            record.look(|_, stats| totals.add(stats));
            totals
        })
    }

    /// Lets nobody in any more and takes out all who wait.
    pub(crate) fn close(&self) -> Vec<Waiting> {
        let mut state = self.state.lock();
        state.closed = true;
        let gone: Vec<Waiting> =
            state.places.values_mut().filter_map(|entry| entry.waiting.take().map(|waiting| *waiting)).collect();
        for waiting in &gone {
            state.remove(&waiting.record.ufrag);
            state.sessions.remove(&waiting.record.session);
        }
        state.per_ip.clear();
        state.order.clear();
        state.waiting = 0;
        gone
    }
}

impl State {
    /// Takes out a waiting peer that is `due`, and everything that names it.
    fn take_if(&mut self, ufrag: &str, due: impl FnOnce(&Waiting) -> bool) -> Option<Box<Waiting>> {
        let waiting = self.places.get_mut(ufrag)?.waiting.take_if(|waiting| due(waiting))?;
        self.remove(ufrag);
        self.sessions.remove(&waiting.record.session);
        self.forget_waiting(waiting.record.client_ip);
        Some(waiting)
    }

    /// Removes a first name and those that came after it.
    fn remove(&mut self, ufrag: &str) {
        let later = self.places.remove(ufrag).map(|entry| entry.later).unwrap_or_default();
        for ufrag in later {
            self.places.remove(&ufrag);
        }
    }

    fn forget_waiting(&mut self, ip: IpAddr) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(count) = self.per_ip.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
        // Entries of those who left early are skipped when their time comes; where most have left,
        // they are cleared out so that the queue stays in step with who waits.
        if self.order.len() > 2 * self.waiting + 64 {
            let places = &self.places;
            self.order.retain(|(_, ufrag)| places.get(ufrag).is_some_and(|entry| entry.waiting.is_some()));
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_source::{ClientInfo, ClientKind, Hub, Pass, Secret, StreamKey};

    use super::*;
    use crate::{
        record::Facts,
        sdp::{Direction, DtlsRole, IceCredentials},
        worker::PeerWake,
    };

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
            };
            Waiting::new(Record::new(facts, wake), guard, params, Some(publisher.expect("a free name")), self.now)
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
    fn who_does_not_come_in_ten_seconds_frees_the_stream_name() {
        let room = Room::new();
        room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
        room.lobby.enter(room.peer("b", [10, 0, 0, 1])).expect("room");
        assert!(room.lobby.expire(room.now + Duration::from_millis(9_999)).is_empty());
        let claimed = room.lobby.claim("ufrag-b", 0);
        assert_eq!(room.lobby.expire(room.now + WAIT).len(), 1);
        assert_eq!(room.gauges(), [1, 0, 1, 1], "a claimed peer does not expire here");
        drop(claimed);
    }

    #[test]
    fn waiting_peers_are_bounded_in_all_and_by_address() {
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
        assert_eq!(room.lobby.evict().len(), 2);
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
    fn the_queue_of_times_does_not_outgrow_who_waits() {
        let room = Room::new();
        for _ in 0..500 {
            room.lobby.enter(room.peer("a", [10, 0, 0, 1])).expect("room");
            drop(room.lobby.withdraw(&room.lobby.session("session-a").expect("it is there")));
        }
        assert!(room.lobby.state.lock().order.len() <= 66);
        assert_eq!(room.gauges(), [0; 4]);
    }
}
