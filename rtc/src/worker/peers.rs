//! The peers of one worker, and the tables that find them.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use foldhash::quality::RandomState;
use slab::Slab;
use smallvec::SmallVec;
use weir_source::{ClientGuard, Packet, Publisher};

use super::{chronicle::Noted, sources::SourceKey};
use crate::{ice::ConnectionId, lobby::Lobby, net::Target, record::Record, sdp::IceCredentials, session::Session};

/// Proven addresses per peer. A browser checks from a handful of interfaces; the oldest is
/// forgotten for a new one, but neither where media goes nor where it came from last: the true
/// client must be heard when somebody takes its place by replaying its checks.
const ADDRESSES_MAX: usize = 8;

/// TCP connections per peer: a browser opens one from each of its addresses to each of ours that it
/// can reach, and keeps one.
const CONNECTIONS_MAX: usize = 8;
/// Forged packets from unknown addresses that a peer's keys are tried on, per second: 100 µs of
/// work. Its own do not count.
pub(super) const ROAMS_MAX: u32 = 100;
/// Peers at one IP address that are found by it: the office behind a NAT. In a larger one the others
/// are found by their checks only.
const AT_IP_MAX: usize = 64;
/// Names per peer: the one it came with, and those of its latest restarts.
pub(crate) const NAMES_MAX: usize = 3;

/// A peer's place and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerKey {
    index: usize,
    generation: u64,
}

/// Our credentials, the first ones first.
pub(super) type Names = SmallVec<[IceCredentials; 1]>;

/// One peer with everything that its worker knows of it.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) record: Arc<Record>,
    pub(super) guard: ClientGuard,
    pub(super) role: Role,
    /// Where media goes, and the port (an index) that it leaves by; `None` before ICE.
    pub(super) target: Option<(usize, Target)>,
    /// The earliest timer set for it.
    pub(super) timer: Option<Instant>,
    /// On the list of peers to be settled.
    pub(super) dirty: bool,
    pub(super) connected: bool,
    /// When it last published its figures, and the bytes in and out by then.
    pub(super) shown: (Instant, u64, u64),
    addresses: SmallVec<[SocketAddr; 2]>,
    /// The TCP connections that are its own. They end with it.
    pub(super) connections: SmallVec<[ConnectionId; 1]>,
    /// Of a publisher: the streams that it is known by where its address is not.
    pub(super) ssrcs: SmallVec<[u32; 2]>,
    /// Packets from unknown addresses that it may still be asked about in this second.
    pub(super) roams_left: u32,
    /// What proves STUN from a new address, the latest last: several once ICE was restarted.
    names: Names,
    /// What its timeline has already.
    pub(super) noted: Noted,
}

/// Which end of a source it is.
pub(super) enum Role {
    /// It fills the packets ring.
    Publisher(Publisher<Packet>),
    /// It reads it.
    Viewer(Viewer),
}

/// A viewer's place in its source.
#[derive(Clone, Copy)]
pub(super) struct Viewer {
    pub(super) source: SourceKey,
    /// Something was sent to it.
    pub(super) started: bool,
    /// Its pictures are not live.
    pub(super) catch_up: Option<CatchUp>,
    /// Not before then is it sent what it had once more.
    pub(super) rejoin_from: Instant,
}

/// Where a viewer is whose pictures are not live. Positions of the ring.
#[derive(Clone, Copy)]
pub(super) struct CatchUp {
    /// The next packet for it.
    pub(super) from: u64,
    /// Sound from here on it had with the live viewers.
    pub(super) sound_to: u64,
}

impl Peer {
    pub(super) fn new(session: Session, record: Arc<Record>, guard: ClientGuard, role: Role, names: Names, now: Instant) -> Self {
        Self {
            names,
            session,
            record,
            guard,
            role,
            target: None,
            timer: None,
            dirty: false,
            connected: false,
            shown: (now, 0, 0),
            addresses: SmallVec::new(),
            connections: SmallVec::new(),
            ssrcs: SmallVec::new(),
            roams_left: ROAMS_MAX,
            noted: Noted::default(),
        }
    }

    pub(super) fn viewer(&self) -> Option<&Viewer> {
        match &self.role {
            Role::Viewer(viewer) => Some(viewer),
            Role::Publisher(_) => None,
        }
    }

    pub(super) fn viewer_mut(&mut self) -> Option<&mut Viewer> {
        match &mut self.role {
            Role::Viewer(viewer) => Some(viewer),
            Role::Publisher(_) => None,
        }
    }
}

/// All peers of a worker. A peer may be taken out for its turn; its place is kept.
pub(super) struct Peers {
    lobby: Arc<Lobby>,
    worker: usize,
    slots: Slab<Slot>,
    generation: u64,
    by_address: HashMap<SocketAddr, PeerKey, RandomState>,
    by_ufrag: HashMap<String, PeerKey, RandomState>,
    by_ssrc: HashMap<u32, PeerKey, RandomState>,
    /// A peer is listed once for each of its addresses there.
    by_ip: HashMap<IpAddr, SmallVec<[PeerKey; 2]>, RandomState>,
}

struct Slot {
    generation: u64,
    /// `None` during its turn.
    peer: Option<Box<Peer>>,
}

impl Peers {
    pub(super) fn new(lobby: Arc<Lobby>, worker: usize) -> Self {
        Self {
            lobby,
            worker,
            slots: Slab::new(),
            generation: 0,
            by_address: HashMap::default(),
            by_ufrag: HashMap::default(),
            by_ssrc: HashMap::default(),
            by_ip: HashMap::default(),
        }
    }

    pub(super) fn insert(&mut self, peer: Peer) -> PeerKey {
        self.generation += 1;
        let generation = self.generation;
        let ufrags: SmallVec<[String; 1]> = peer.names.iter().map(|name| name.ufrag.clone()).collect();
        let key = PeerKey { index: self.slots.insert(Slot { generation, peer: Some(Box::new(peer)) }), generation };
        self.by_ufrag.extend(ufrags.into_iter().map(|ufrag| (ufrag, key)));
        key
    }

    fn slot(&mut self, key: PeerKey) -> Option<&mut Slot> {
        self.slots.get_mut(key.index).filter(|slot| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.slot(key)?.peer.as_deref_mut()
    }

    /// Takes a peer out for its turn: [`Peers::put`] it back or [`Peers::release`] its place.
    pub(super) fn take(&mut self, key: PeerKey) -> Option<Box<Peer>> {
        self.slot(key)?.peer.take()
    }

    pub(super) fn put(&mut self, key: PeerKey, peer: Box<Peer>) {
        if let Some(slot) = self.slot(key) {
            slot.peer = Some(peer);
        }
    }

    /// Frees the place of a peer that was taken out, and forgets its addresses and its name.
    pub(super) fn release(&mut self, key: PeerKey, peer: &Peer) {
        if self.slot(key).is_some() {
            self.slots.remove(key.index);
        }
        for address in &peer.addresses {
            self.unlist(key, address);
        }
        for name in &peer.names {
            self.forget_name(key, &name.ufrag);
        }
        for ssrc in &peer.ssrcs {
            self.by_ssrc.remove(ssrc);
        }
    }

    pub(super) fn by_ssrc(&self, ssrc: u32) -> Option<PeerKey> {
        self.by_ssrc.get(&ssrc).copied()
    }

    /// A publisher is known by these streams from now on, as far as `claim` lets it be; no longer by
    /// those that `release` gets.
    pub(super) fn name_streams(
        &mut self,
        key: PeerKey,
        ssrcs: SmallVec<[u32; 2]>,
        claim: impl Fn(u32) -> bool,
        release: impl Fn(u32),
    ) {
        let Some(peer) = self.get_mut(key) else { return };
        let former = std::mem::take(&mut peer.ssrcs);
        for ssrc in former.iter().filter(|ssrc| !ssrcs.contains(ssrc)) {
            self.by_ssrc.remove(ssrc);
            release(*ssrc);
        }
        let mut named: SmallVec<[u32; 2]> = former.into_iter().filter(|ssrc| ssrcs.contains(ssrc)).collect();
        for ssrc in ssrcs {
            if !named.contains(&ssrc) && !self.by_ssrc.contains_key(&ssrc) && claim(ssrc) {
                self.by_ssrc.insert(ssrc, key);
                named.push(ssrc);
            }
        }
        if let Some(peer) = self.get_mut(key) {
            peer.ssrcs = named;
        }
    }

    fn forget_name(&mut self, key: PeerKey, ufrag: &str) {
        if self.by_ufrag.get(ufrag) == Some(&key) {
            self.by_ufrag.remove(ufrag);
        }
    }

    /// A peer has restarted ICE: it is known by another name as well. The first name and the latest
    /// ones are kept.
    pub(super) fn rename(&mut self, key: PeerKey, name: IceCredentials) {
        let Some(peer) = self.get_mut(key) else { return };
        let ufrag = name.ufrag.clone();
        let forgotten = (peer.names.len() >= NAMES_MAX).then(|| peer.names.remove(1));
        peer.names.push(name);
        if let Some(forgotten) = forgotten {
            self.forget_name(key, &forgotten.ufrag);
        }
        self.by_ufrag.insert(ufrag, key);
    }

    /// Whether `ufrag` is one of the peer's names.
    pub(super) fn is_named(&mut self, key: PeerKey, ufrag: &str) -> bool {
        self.pwd(key, ufrag).is_some()
    }

    /// The password that goes with one of the peer's names.
    pub(super) fn pwd(&mut self, key: PeerKey, ufrag: &str) -> Option<&str> {
        let name = self.get_mut(key)?.names.iter().find(|name| name.ufrag == ufrag)?;
        Some(name.pwd.as_str())
    }

    /// A connection has proven to be the peer's. Returns one that has to go for it.
    pub(super) fn connect(&mut self, key: PeerKey, id: ConnectionId) -> Option<ConnectionId> {
        let peer = self.get_mut(key)?;
        let in_use = [peer.session.path(), peer.session.home()].map(|path| path.and_then(|path| path.connection));
        let oldest = peer.connections.iter().find(|other| !in_use.contains(&Some(**other))).copied();
        peer.connections.push(id);
        oldest.filter(|_| peer.connections.len() > CONNECTIONS_MAX)
    }

    pub(super) fn by_address(&self, remote: &SocketAddr) -> Option<PeerKey> {
        self.by_address.get(remote).copied()
    }

    pub(super) fn by_ufrag(&self, ufrag: &str) -> Option<PeerKey> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// ICE has proven that the peer is at `remote`. Whoever was there before is no longer.
    pub(super) fn prove(&mut self, key: PeerKey, remote: SocketAddr) {
        if self.by_address(&remote) == Some(key) {
            return;
        }
        self.forget_address(&remote);
        let Some(peer) = self.get_mut(key) else { return };
        let in_use = [peer.target.map(|(_, target)| target.remote), peer.session.home().map(|home| home.remote)];
        let oldest = peer.addresses.iter().position(|address| !in_use.contains(&Some(*address)));
        let evicted = match oldest {
            Some(oldest) if peer.addresses.len() >= ADDRESSES_MAX => Some(peer.addresses.remove(oldest)),
            _ => None,
        };
        peer.addresses.push(remote);
        if let Some(evicted) = evicted {
            self.unlist(key, &evicted);
        }
        self.list(key, remote);
    }

    /// The address belongs to nobody here any longer.
    pub(super) fn forget_address(&mut self, remote: &SocketAddr) {
        let Some(former) = self.by_address(remote) else { return };
        self.unlist(former, remote);
        if let Some(peer) = self.get_mut(former) {
            peer.addresses.retain(|address| address != remote);
        }
    }

    /// Forgets the addresses that a connected peer has left: who gets its former port is a stranger.
    pub(super) fn forget_left(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.get_mut(key).filter(|peer| peer.connected && peer.addresses.len() > 1) else { return };
        peer.session.forget_left(now);
        let left: SmallVec<[SocketAddr; 2]> =
            peer.addresses.iter().filter(|address| !peer.session.is_around(now, address)).copied().collect();
        peer.addresses.retain(|address| !left.contains(address));
        for address in left {
            self.unlist(key, &address);
        }
    }

    /// Peers with an address at `ip`. One with several may come several times.
    pub(super) fn at_ip(&self, ip: IpAddr) -> SmallVec<[PeerKey; 2]> {
        self.by_ip.get(&ip).cloned().unwrap_or_default()
    }

    fn list(&mut self, key: PeerKey, remote: SocketAddr) {
        self.by_address.insert(remote, key);
        let listed = self.by_ip.entry(remote.ip()).or_default();
        if listed.len() < AT_IP_MAX {
            listed.push(key);
        }
        self.lobby.homes.enter(remote.ip(), self.worker);
    }

    fn unlist(&mut self, key: PeerKey, remote: &SocketAddr) {
        if self.by_address(remote) != Some(key) {
            return;
        }
        self.by_address.remove(remote);
        if let Some(listed) = self.by_ip.get_mut(&remote.ip()) {
            if let Some(at) = listed.iter().position(|other| *other == key) {
                listed.swap_remove(at);
            }
            if listed.is_empty() {
                self.by_ip.remove(&remote.ip());
            }
        }
        self.lobby.homes.leave(remote.ip(), self.worker);
    }

    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.slots.iter().map(|(index, slot)| PeerKey { index, generation: slot.generation }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
