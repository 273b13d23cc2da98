//! The peers of one worker, and the tables that find them.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Instant};

use foldhash::quality::RandomState;
use slab::Slab;
use smallvec::SmallVec;
use weir_source::{ClientGuard, Packet, Publisher};

use super::sources::SourceKey;
use crate::{net::Target, record::Record, session::Session};

/// Proven addresses per peer. A browser checks from a handful of interfaces; the oldest is
/// forgotten for a new one, but neither where media goes nor where it came from last: the true
/// client must be heard when somebody takes its place by replaying its checks.
const ADDRESSES_MAX: usize = 8;

/// A peer's place and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PeerKey {
    index: usize,
    generation: u64,
}

/// One peer with everything that its worker knows of it.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) record: Arc<Record>,
    pub(super) guard: ClientGuard,
    pub(super) role: Role,
    /// The password of our side, which proves STUN from a new address.
    pub(super) pwd: String,
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
    pub(super) fn new(session: Session, record: Arc<Record>, guard: ClientGuard, role: Role, pwd: String, now: Instant) -> Self {
        Self {
            session,
            record,
            guard,
            role,
            pwd,
            target: None,
            timer: None,
            dirty: false,
            connected: false,
            shown: (now, 0, 0),
            addresses: SmallVec::new(),
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
#[derive(Default)]
pub(super) struct Peers {
    slots: Slab<Slot>,
    generation: u64,
    by_address: HashMap<SocketAddr, PeerKey, RandomState>,
    by_ufrag: HashMap<String, PeerKey, RandomState>,
}

struct Slot {
    generation: u64,
    /// `None` during its turn.
    peer: Option<Box<Peer>>,
}

impl Peers {
    pub(super) fn insert(&mut self, peer: Peer) -> PeerKey {
        self.generation += 1;
        let generation = self.generation;
        let ufrag = peer.record.ufrag.clone();
        let key = PeerKey { index: self.slots.insert(Slot { generation, peer: Some(Box::new(peer)) }), generation };
        self.by_ufrag.insert(ufrag, key);
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
            if self.by_address.get(address) == Some(&key) {
                self.by_address.remove(address);
            }
        }
        if self.by_ufrag.get(&peer.record.ufrag) == Some(&key) {
            self.by_ufrag.remove(&peer.record.ufrag);
        }
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
            self.by_address.remove(&evicted);
        }
        self.by_address.insert(remote, key);
    }

    /// The address belongs to nobody here any longer.
    pub(super) fn forget_address(&mut self, remote: &SocketAddr) {
        if let Some(former) = self.by_address.remove(remote)
            && let Some(peer) = self.get_mut(former)
        {
            peer.addresses.retain(|address| address != remote);
        }
    }

    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.slots.iter().map(|(index, slot)| PeerKey { index, generation: slot.generation }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
