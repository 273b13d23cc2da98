//! Consecutive packets of a source on their way to one viewer: the hot loop.

use std::{ops::Range, time::Instant};

use weir_source::{Packet, TrackId};

use super::{
    guarded,
    peers::Peer,
    plan::{Filling, Plan},
    ports::{Port, Ports},
};
use crate::{
    net::Target,
    session::{Fill, Session},
};

/// Consecutive packets of a ring.
pub(super) struct Batch<'a> {
    pub(super) now: Instant,
    /// The position of the first.
    pub(super) start: u64,
    pub(super) packets: &'a [Packet],
    pub(super) plan: &'a Plan,
}

/// The part of a batch that a viewer gets, by ring positions.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) pictures: Range<u64>,
    pub(super) sound: Range<u64>,
}

impl Share {
    /// Everything.
    pub(super) const ALL: Self = Self { pictures: 0..u64::MAX, sound: 0..u64::MAX };
    /// The sound alone.
    pub(super) const SOUND: Self = Self { pictures: 0..0, sound: 0..u64::MAX };

    fn has(&self, position: u64, packet: &Packet) -> bool {
        let range = if packet.track == TrackId::AUDIO { &self.sound } else { &self.pictures };
        range.contains(&position)
    }
}

impl Batch<'_> {
    /// The position of the first picture packet after `count` others, if there are so many.
    pub(super) fn after_pictures(&self, count: usize) -> Option<u64> {
        if self.packets.len() <= count {
            return None;
        }
        let mut pictures = (self.start..).zip(self.packets).filter(|(_, packet)| packet.track != TrackId::AUDIO);
        pictures.nth(count).map(|(position, _)| position)
    }

    /// Seals its share for one viewer, straight into the send arena. Equal packets of one viewer
    /// become one message. Whether anything was sent.
    fn to_viewer(&self, session: &mut Session, port: &mut Port, target: Target, share: &Share) -> bool {
        // A stream of bytes is cut anywhere: equal lengths gain nothing there.
        let is_stream = matches!(port, Port::Tcp(_));
        let mut filling = Filling::default();
        let mut sent = false;
        for step in self.plan.steps() {
            let Some(packet) = self.packets.get(step.index) else { continue };
            let position = self.start + step.index as u64;
            if !share.has(position, packet) {
                continue;
            }
            let fill = if is_stream { Fill::None } else { filling.next(step.size) };
            let len = port.write(target, |room| session.forward(self.now, position, packet, fill, room));
            if let Some(len) = len {
                filling.made(step.size, len);
                sent = true;
            }
        }
        sent
    }

    /// As above, for a peer. `None`: it panicked.
    pub(super) fn to_peer(&self, peer: &mut Peer, ports: &mut Ports, share: &Share) -> Option<()> {
        let Some((port, target)) = peer.target else { return Some(()) };
        let Some(port) = ports.get_mut(port) else { return Some(()) };
        let session = &mut peer.session;
        let sent = guarded(|| self.to_viewer(session, port, target, share))?;
        if sent && let Some(viewer) = peer.viewer_mut() {
            viewer.started = true;
        }
        Some(())
    }
}
