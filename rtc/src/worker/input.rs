//! Whose a datagram is. STUN finds its peer by the user name it carries and proves its address by
//! the password (over TCP that is the first thing a connection must say); everything else comes from an
//! address that was proven, or is a stranger's (`strangers`).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use smallvec::SmallVec;

use super::{
    Worker, guarded,
    mailbox::{HandedOver, Home},
    peers::{Peer, PeerKey, Role, Viewer},
    settle::End,
    strangers::Heard,
};
use crate::{
    ice::{self, Path},
    lobby::{Place, Waiting},
    session::Session,
    wire::{
        demux::{Class, classify},
        stun,
    },
};

/// Whose a check is, by the name it carries and the password it is signed with.
pub(super) enum Whose {
    /// A peer's of this worker, maybe since now.
    Ours(PeerKey),
    /// A peer's of the worker with this index.
    Other(usize),
    /// Nobody's who lives. Counted.
    Nobodys,
}

impl Worker {
    /// One datagram, from a socket of this worker or handed over by another.
    pub(super) fn handle_datagram(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &mut [u8], heard: Heard) {
        match classify(data) {
            Class::Stun => self.handle_stun(now, remote, local, data, heard),
            Class::Dtls | Class::Rtp | Class::Rtcp => {
                if let Some(key) = self.peers.by_address(&remote) {
                    self.input(now, key, Path::udp(remote, local), data);
                } else if let Some(owner) = self.foreign.find(&remote) {
                    self.hand_over(owner, remote, local, data);
                } else {
                    self.handle_stranger(now, remote, local, data, heard);
                }
            }
            Class::Unknown => self.traffic.unknown += 1,
        }
    }

    fn handle_stun(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &mut [u8], heard: Heard) {
        if let Some(key) = self.peers.by_address(&remote) {
            let ufrag = ice::username_local_ufrag(data);
            if ufrag.is_none_or(|ufrag| self.peers.is_named(key, ufrag)) {
                self.input(now, key, Path::udp(remote, local), data);
                return;
            }
            // The address serves another session now, or pretends to: that is to be proven below.
        }
        // Answers carry no name: they are their address's, and its session knows what it asked.
        if stun::peek_class(data).is_some_and(|class| class != stun::Class::Request) {
            self.handle_stray_answer(remote, local, data, heard);
            return;
        }
        match self.whose(now, remote, data) {
            Whose::Ours(key) => {
                self.foreign.forget(&remote);
                self.peers.prove(key, remote);
                self.input(now, key, Path::udp(remote, local), data);
            }
            Whose::Other(owner) => {
                self.peers.forget_address(&remote);
                self.foreign.learn(remote, owner);
                self.hand_over(owner, remote, local, data);
            }
            Whose::Nobodys => {}
        }
    }

    /// Whose `data` is, a check from where nothing was proven yet. Claims its peer from the lobby if
    /// it waits there.
    pub(super) fn whose(&mut self, now: Instant, remote: SocketAddr, data: &[u8]) -> Whose {
        let Some(ufrag) = ice::username_local_ufrag(data) else {
            self.traffic.unknown_ufrag += 1;
            return Whose::Nobodys;
        };
        if let Some(key) = self.peers.by_ufrag(ufrag) {
            if self.peers.pwd(key, ufrag).is_some_and(|pwd| is_proof(data, pwd)) {
                return Whose::Ours(key);
            }
            self.traffic.bad_mac += 1;
            if let Some(peer) = self.peers.get_mut(key) {
                peer.record.note_bad_check(now, remote);
            }
            return Whose::Nobodys;
        }
        let Some((place, pwd)) = self.lobby.find(ufrag) else {
            self.traffic.unknown_ufrag += 1;
            return Whose::Nobodys;
        };
        if !is_proof(data, &pwd) {
            self.traffic.bad_mac += 1;
            self.lobby.misnamed(ufrag, now, remote);
            return Whose::Nobodys;
        }
        if let Place::Owned(owner) = place {
            let ours = if owner == self.index { self.newly_named(now, ufrag) } else { None };
            return ours.map_or(Whose::Other(owner), Whose::Ours);
        }
        if let Some(waiting) = self.lobby.claim(ufrag, self.index) {
            return Whose::Ours(self.admit(now, *waiting));
        }
        // Another worker was quicker, or it has left this moment.
        if let Some((Place::Owned(owner), _)) = self.lobby.find(ufrag) {
            return Whose::Other(owner);
        }
        self.traffic.unknown_ufrag += 1;
        Whose::Nobodys
    }

    /// A peer of ours whose ICE restart we had not looked at yet: its check was quicker.
    fn newly_named(&mut self, now: Instant, ufrag: &str) -> Option<PeerKey> {
        let first = self.lobby.first_name(ufrag)?;
        let key = self.peers.by_ufrag(&first)?;
        self.look_at_peer(now, key);
        self.peers.by_ufrag(ufrag)
    }

    /// Makes a peer of one that waited in the lobby.
    fn admit(&mut self, now: Instant, waiting: Waiting) -> PeerKey {
        let Waiting { record, guard, params, publisher, .. } = waiting;
        self.traffic.claimed += 1;
        let (role, source) = match publisher {
            Some(publisher) => {
                let source = Arc::clone(publisher.source());
                (Role::Publisher(publisher), source)
            }
            None => {
                // From here on, so that a remuxer starts while the handshake goes on.
                let (key, source) = self.sources.open(&self.hub, &self.inbox.mailbox, &record.key, now);
                (Role::Viewer(Viewer { source: key, started: false, catch_up: None, rejoin_from: now }), source)
            }
        };
        let mut names = SmallVec::from_iter([params.local_ice.clone()]);
        let mut session = Session::new(params, &self.identity, &self.session, now, source.made(), &record.id);
        match &role {
            Role::Publisher(_) => session.set_floor(source.floor()),
            Role::Viewer(_) => session.set_tracks(&source.tracks(weir_source::Lane::Packets)),
        }
        // A client that nobody heard may have restarted ICE for that very reason.
        if let Some(restart) = record.take_restart() {
            names.push(restart.local.clone());
            session.restart_ice(restart.local, restart.remote);
        }
        tracing::debug!(id = %record.id, key = %record.key, worker = self.index, "session claimed");
        let place = if let Role::Viewer(viewer) = &role { Some(viewer.source) } else { None };
        let key = self.peers.insert(Peer::new(session, Arc::clone(&record), guard, role, names, now));
        if let Some(place) = place {
            self.sources.enroll(key, place);
        }
        record.settle_in(Home { mailbox: Arc::clone(&self.inbox.mailbox), key });
        key
    }

    /// Gives a datagram to the peer's session. The peer is settled at the end of the batch.
    pub(super) fn input(&mut self, now: Instant, key: PeerKey, path: Path, data: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let session = &mut peer.session;
        match guarded(|| session.handle_input(now, path, data)) {
            Some(()) => self.mark_dirty(key),
            None => self.end(now, key, End::Panicked),
        }
    }

    pub(super) fn hand_over(&mut self, owner: usize, remote: SocketAddr, local: IpAddr, data: &[u8]) {
        // Never to ourselves: a peer of ours that has just ended is still named for a moment.
        let Some(mailbox) = self.mailboxes.get(owner).filter(|_| owner != self.index) else {
            self.traffic.unproven_tuple += 1;
            return;
        };
        if mailbox.hand_over(HandedOver { remote, local, data: data.into() }) {
            self.traffic.handed_over += 1;
        } else {
            self.traffic.inbox_full += 1;
        }
    }
}

/// Whether `data` is a Binding request that only somebody who was told `pwd` can have written.
fn is_proof(data: &[u8], pwd: &str) -> bool {
    let key = stun::IntegrityKey::new(pwd);
    stun::Message::parse(data).is_ok_and(|message| message.class == stun::Class::Request && message.verify(&key))
}
