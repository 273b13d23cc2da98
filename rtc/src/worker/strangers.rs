//! What comes from addresses where nobody is known to be. Nothing is said to them, and nothing is
//! believed but what a peer's own keys open: its NAT may have forgotten it.
//!
//! A publisher's media names its stream; a viewer's report names little, so it is tried on viewers of
//! the same IP address that expect one with its number. What opens makes the session ask the address
//! (`ice::checks`), and the answer names nobody at all: it goes to whoever has asked there.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use smallvec::SmallVec;

use super::{Worker, peers::PeerKey};
use crate::{
    ice::Path,
    net::DATAGRAM_MAX,
    wire::demux::{Class, classify},
};

/// Viewers of one IP address that a report is tried on.
const TRIED_MAX: usize = 4;
/// Reports and answers from strangers that a worker looks at or passes on, per second: 2 ms of work when
/// all of them are forged. Peers that really moved send a few each.
pub(super) const LOOKS_MAX: u32 = 1_000;

/// Who received a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A socket of this worker.
    Here,
    /// Another worker, which asks whether it is for one of our peers.
    Elsewhere,
}

impl Worker {
    /// Not STUN, and from an address where nobody is known to be.
    pub(super) fn handle_stranger(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &mut [u8], heard: Heard) {
        match classify(data) {
            Class::Rtp => self.handle_stray_media(now, remote, local, data),
            Class::Rtcp => self.handle_stray_report(now, remote, local, data, heard),
            _ => self.traffic.unproven_tuple += 1,
        }
    }

    fn handle_stray_media(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &mut [u8]) {
        let ssrc = rtp_ssrc(data);
        let Some(key) = ssrc.and_then(|ssrc| self.peers.by_ssrc(ssrc)) else {
            // Our own peers were looked for already.
            match ssrc.and_then(|ssrc| self.lobby.owner_of_ssrc(ssrc)).filter(|owner| *owner != self.index) {
                Some(owner) => self.hand_over(owner, remote, local, data),
                None => self.traffic.unproven_tuple += 1,
            }
            return;
        };
        if !self.is_opened_by(now, key, Path::udp(remote, local), data) {
            self.traffic.unproven_tuple += 1;
        }
    }

    fn handle_stray_report(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &[u8], heard: Heard) {
        let mut expected: SmallVec<[PeerKey; TRIED_MAX]> = SmallVec::new();
        for key in self.peers.at_ip(remote.ip()) {
            let expects = |peer: &super::peers::Peer| peer.viewer().is_some() && peer.session.expects_report(data);
            if expected.len() < TRIED_MAX && !expected.contains(&key) && self.peers.get_mut(key).is_some_and(|peer| expects(peer))
            {
                expected.push(key);
            }
        }
        let mut copy = [0; DATAGRAM_MAX];
        for key in expected {
            let Some(copy) = copy.get_mut(..data.len()).filter(|_| self.take_look()) else { break };
            copy.copy_from_slice(data);
            if self.is_opened_by(now, key, Path::udp(remote, local), copy) {
                return;
            }
        }
        self.ask_others(remote, local, data, heard);
        self.traffic.unproven_tuple += 1;
    }

    /// An answer to a check of ours, from where nobody is known to be on this worker.
    pub(super) fn handle_stray_answer(&mut self, remote: SocketAddr, local: IpAddr, data: &[u8], heard: Heard) {
        match self.foreign.find(&remote) {
            Some(owner) if heard == Heard::Here => self.hand_over(owner, remote, local, data),
            _ if self.ask_others(remote, local, data, heard) => {}
            _ => self.traffic.stray_answers += 1,
        }
    }

    /// Gives a datagram to the workers that have peers at its IP address. Whether there are any.
    fn ask_others(&mut self, remote: SocketAddr, local: IpAddr, data: &[u8], heard: Heard) -> bool {
        if heard == Heard::Elsewhere {
            return false;
        }
        let others = self.lobby.homes.others(remote.ip(), self.index);
        let mut asked = false;
        for owner in others {
            if self.take_look() {
                self.hand_over(owner, remote, local, data);
                asked = true;
            }
        }
        asked
    }

    fn take_look(&mut self) -> bool {
        let is_left = self.looks_left > 0;
        self.looks_left = self.looks_left.saturating_sub(1);
        is_left
    }

    /// Whether a datagram from an unknown address is the peer's, by its keys. If so it may be there.
    fn is_opened_by(&mut self, now: Instant, key: PeerKey, path: Path, data: &mut [u8]) -> bool {
        let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.roams_left > 0) else { return false };
        let before = peer.session.roamed();
        self.input(now, key, path, data);
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let is_opened = peer.session.roamed() != before;
        peer.roams_left = peer.roams_left.saturating_sub(u32::from(!is_opened));
        if is_opened && peer.session.is_around(now, &path.remote) {
            // Where an answer to our check comes from.
            self.peers.prove(key, path.remote);
        }
        is_opened
    }
}

/// The synchronisation source of what looks like an RTP packet.
fn rtp_ssrc(data: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*data.get(8..)?.first_chunk()?))
}
