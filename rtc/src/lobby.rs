//! Negotiated peers that have not been heard by UDP yet, and who owns those that have.
//!
//! One lock, taken when a session comes or goes and at the first STUN of an unknown address; never
//! per packet, but that packets from strangers look into one table of publishers' streams. Nothing that can take long happens under it: passwords are checked outside, and what
//! is removed is dropped outside.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use foldhash::quality::RandomState;
use parking_lot::{Mutex, RwLock};
use weir_source::{ClientGuard, Packet, Publisher};

use crate::{
    SessionTotals,
    homes::Homes,
    past::Past,
    record::Record,
    sdp::{IceCredentials, SessionParams},
    timeline::EndReason,
    worker::NAMES_MAX,
};

/// A peer with an answer (or with an offer of ours) but without an address.
pub(crate) struct Waiting {
    pub(crate) record: Arc<Record>,
    pub(crate) guard: ClientGuard,
    pub(crate) params: SessionParams,
    /// The seat of a publisher, taken already.
    pub(crate) publisher: Option<Publisher<Packet>>,
    pub(crate) expires: Instant,
}

impl Waiting {
    /// Why it ends if its time is up.
    fn overdue(&self) -> EndReason {
        if self.record.is_unanswered() { EndReason::NeverAnswered } else { EndReason::NeverHeard }
    }

    /// Whether somebody wants it to end.
    fn unwanted(&self) -> Option<EndReason> {
        let replaced = self.publisher.as_ref().is_some_and(Publisher::is_replaced);
        self.guard.is_kicked().then_some(EndReason::Kicked).or_else(|| replaced.then_some(EndReason::Replaced))
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
    /// Those that have ended.
    pub(crate) past: Past,
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
    /// When the time of those who wait is up.
    order: BTreeSet<(Instant, Arc<str>)>,
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
        Self { homes: Homes::default(), past: Past::default(), bounds, state: Mutex::default(), ssrcs: RwLock::default() }
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
        state.order.insert((waiting.expires, Arc::clone(&ufrag)));
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

    /// Gives a waiting peer to a worker for life. `None`: it has left, another was first, or it has
    /// not answered our offer yet: its next check will do.
    pub(crate) fn claim(&self, ufrag: &str, worker: usize) -> Option<Box<Waiting>> {
        let mut state = self.state.lock();
        let first = state.places.get(ufrag)?.first.clone();
        let entry = state.places.get_mut(first.as_deref().unwrap_or(ufrag))?;
        let waiting = entry.waiting.take_if(|waiting| !waiting.record.is_unanswered())?;
        entry.owner = Some(worker);
        state.forget_waiting(&waiting);
        Some(waiting)
    }

    /// What a peer that has not answered our offer was offered.
    pub(crate) fn offered(&self, record: &Record) -> Option<SessionParams> {
        let state = self.state.lock();
        let waiting = state.places.get(&*record.ufrag)?.waiting.as_ref()?;
        (std::ptr::eq(&*waiting.record, record) && record.is_unanswered()).then(|| waiting.params.clone())
    }

    /// A peer answers our offer: it waits for its first packet from now on, until `expires`. `false`:
    /// there is no such peer, or it has answered.
    pub(crate) fn answer(&self, record: &Record, params: SessionParams, expires: Instant) -> bool {
        let mut state = self.state.lock();
        let Some((ufrag, entry)) = state.places.get_key_value(&*record.ufrag) else { return false };
        let ufrag = Arc::clone(ufrag);
        let is_meant = |waiting: &Waiting| std::ptr::eq(&*waiting.record, record) && record.is_unanswered();
        let Some(before) = entry.waiting.as_ref().filter(|waiting| is_meant(waiting)).map(|waiting| waiting.expires) else {
            return false;
        };
        state.order.remove(&(before, Arc::clone(&ufrag)));
        state.order.insert((expires, Arc::clone(&ufrag)));
        let waiting = state.places.get_mut(&ufrag).and_then(|entry| entry.waiting.as_mut());
        if let Some(waiting) = waiting {
            let codecs = params.first_codecs();
            record.answer(&params.remote_ice.ufrag, codecs);
            waiting.params = params;
            waiting.expires = expires;
        }
        true
    }

    /// A check that names this peer is signed with another password.
    pub(crate) fn misnamed(&self, ufrag: &str, now: Instant, remote: SocketAddr) {
        let record = {
            let state = self.state.lock();
            let waiting = state.places.get(ufrag).and_then(|entry| entry.waiting.as_ref());
            waiting.map(|waiting| Arc::clone(&waiting.record))
        };
        if let Some(record) = record {
            record.note_bad_check(now, remote);
        }
    }

    /// A session has ended, and all that it held is released.
    pub(crate) fn bury(&self, record: Arc<Record>, now: Instant, reason: EndReason) {
        self.past.keep(now, Arc::clone(&record));
        record.end(now, reason);
    }

    /// Ends a peer that waited.
    pub(crate) fn bury_waiting(&self, waiting: Waiting, now: Instant, reason: EndReason) {
        let record = Arc::clone(&waiting.record);
        // The seat first, then the word that it is free.
        drop(waiting);
        self.bury(record, now, reason);
    }

    /// Takes a peer that still waits out of the lobby. It is released when what is returned is
    /// dropped.
    pub(crate) fn withdraw(&self, record: &Record) -> Option<Box<Waiting>> {
        let mut state = self.state.lock();
        state.take_if(&record.ufrag, |waiting| std::ptr::eq(&*waiting.record, record))
    }

    /// Takes out the peers whose time is up.
    pub(crate) fn expire(&self, now: Instant) -> Vec<(Waiting, EndReason)> {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        while let Some((_, ufrag)) = state.order.first().filter(|(at, _)| *at <= now).cloned() {
            let Some(waiting) = state.take_if(&ufrag, |_| true) else { break };
            gone.push((waiting.overdue(), waiting));
        }
        gone.into_iter().map(|(reason, waiting)| (*waiting, reason)).collect()
    }

    /// Takes out the peers that were kicked, and publishers whose seat another has taken.
    pub(crate) fn evict(&self) -> Vec<(Waiting, EndReason)> {
        let mut state = self.state.lock();
        let order: Vec<Arc<str>> = state.order.iter().map(|(_, ufrag)| Arc::clone(ufrag)).collect();
        let mut gone = Vec::new();
        for ufrag in order {
            let mut reason = None;
            let taken = state.take_if(&ufrag, |waiting| {
                reason = waiting.unwanted();
                reason.is_some()
            });
            gone.extend(taken.zip(reason).map(|(waiting, reason)| (*waiting, reason)));
        }
        gone
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
        self.forget_waiting(&waiting);
        Some(waiting)
    }

    /// Removes a first name and those that came after it.
    fn remove(&mut self, ufrag: &str) {
        let later = self.places.remove(ufrag).map(|entry| entry.later).unwrap_or_default();
        for ufrag in later {
            self.places.remove(&ufrag);
        }
    }

    fn forget_waiting(&mut self, waiting: &Waiting) {
        self.waiting = self.waiting.saturating_sub(1);
        self.order.remove(&(waiting.expires, waiting.record.ufrag.as_str().into()));
        let ip = waiting.record.client_ip;
        if let Some(count) = self.per_ip.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests;
