//! From the sources to the viewers: the hot path.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weir_source::{Packet, Read, Tracks};

use super::{
    Worker, guarded,
    peers::{Peer, PeerKey},
    plan::{Filling, Plan},
    ports::{Port, Ports},
    settle::End,
    sources::SourceKey,
};
use crate::{net::Target, session::Session};

/// Packets read from a source per turn; what is left is read in the next.
const READ_MAX: usize = 512;
/// What one viewer that catches up is sent at a time …
const CATCH_UP_PACKETS: u64 = 32;
/// … and how often: 60 Mb/s, so that a cached group of pictures does not overrun a browser's socket
/// buffer of 200 kB.
const CATCH_UP_EVERY: Duration = Duration::from_millis(5);
/// A long backlog is sent in at most so many parts, or a fast stream would never be caught up with.
const CATCH_UP_PARTS: u64 = 64;

/// Consecutive packets of a ring.
struct Batch<'a> {
    now: Instant,
    /// The position of the first.
    start: u64,
    packets: &'a [Packet],
    plan: &'a Plan,
}

/// Seals a batch for one viewer, straight into the send arena. Equal packets of one viewer become
/// one message. Whether anything was sent.
fn to_viewer(session: &mut Session, port: &mut Port, target: Target, batch: &Batch<'_>) -> bool {
    let mut filling = Filling::default();
    let mut sent = false;
    for step in batch.plan.steps() {
        let Some(packet) = batch.packets.get(step.index) else { continue };
        let position = batch.start + step.index as u64;
        let fill = filling.next(step.size);
        let len = port.write(target, |room| session.forward(batch.now, position, packet, fill, room));
        if let Some(len) = len {
            filling.made(step.size, len);
            sent = true;
        }
    }
    sent
}

/// As [`to_viewer`], for a peer. `None`: it panicked.
fn to_peer(peer: &mut Peer, ports: &mut Ports, batch: &Batch<'_>) -> Option<()> {
    let Some((port, target)) = peer.target else { return Some(()) };
    let Some(port) = ports.get_mut(port) else { return Some(()) };
    let session = &mut peer.session;
    let sent = guarded(|| to_viewer(session, port, target, batch))?;
    if sent && let Some(viewer) = peer.viewer_mut() {
        viewer.started = true;
    }
    Some(())
}

impl Worker {
    /// Reads the sources that have something new, and forwards what is due.
    pub(super) fn handle_sources(&mut self, now: Instant) {
        let mut marked = std::mem::take(&mut self.sources.marked);
        for key in marked.drain(..) {
            self.collect(now, key);
        }
        // Only what has more to read was marked meanwhile: it is the next turn's.
        marked.append(&mut self.sources.marked);
        self.sources.marked = marked;

        let mut gathering = std::mem::take(&mut self.sources.gathering);
        gathering.retain(|key| !self.forward_if_due(now, *key));
        self.sources.gathering = gathering;

        if self.sources.catch_up_at.is_some_and(|at| at <= now) {
            self.catch_up(now);
        }
        while let Some(key) = self.fallen.pop() {
            self.end(now, key, End::Panicked);
        }
    }

    /// Reads one source.
    fn collect(&mut self, now: Instant, key: SourceKey) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        watched.marked = false;
        let held = watched.pending.len();
        let read = watched.subscriber.read(&mut watched.pending, READ_MAX);
        let more = watched.subscriber.behind() > 0;
        // After the packets: those that need the new tracks come after these.
        let tracks = watched.subscriber.tracks();
        if !Arc::ptr_eq(&tracks, &watched.tracks) {
            self.handle_new_tracks(key, tracks);
        }
        if let Read::Lagged(lost) = read {
            self.handle_lag(now, key, held, lost);
        }
        self.send_newcomers_back(now, key);
        if !self.forward_if_due(now, key) && !self.sources.gathering.contains(&key) {
            self.sources.gathering.push(key);
        }
        if more {
            self.sources.mark(key);
            self.inbox.mailbox.waker().wake();
        }
    }

    fn handle_new_tracks(&mut self, key: SourceKey, tracks: Arc<Tracks>) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        for member in &watched.members {
            let Some(peer) = self.peers.get_mut(*member) else { continue };
            if guarded(|| peer.session.set_tracks(&tracks)).is_none() {
                self.fallen.push(*member);
            }
        }
        watched.tracks = tracks;
    }

    /// The worker has fallen behind the source: `held` packets are from before the hole.
    fn handle_lag(&mut self, now: Instant, key: SourceKey, held: usize, lost: u64) {
        self.forward(now, key, held);
        let Some(watched) = self.sources.get_mut(key) else { return };
        watched.next = watched.subscriber.position().saturating_sub(watched.pending.len() as u64);
        self.traffic.lagged = self.traffic.lagged.saturating_add(lost.saturating_mul(watched.viewers.len() as u64));
        for viewer in &watched.viewers {
            let Some(peer) = self.peers.get_mut(*viewer) else { continue };
            if guarded(|| peer.session.skip_to_keyframe()).is_none() {
                self.fallen.push(*viewer);
            }
        }
        tracing::debug!(source = ?watched.subscriber.source(), lost, "worker fell behind a source");
    }

    /// Viewers that have seen nothing yet do not begin with a burst of old packets: they catch up
    /// from its last keyframe.
    fn send_newcomers_back(&mut self, now: Instant, key: SourceKey) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        let Some((from, live)) = watched.burst() else { return };
        let peers = &mut self.peers;
        let mut is_new =
            |key: &PeerKey| peers.get_mut(*key).is_some_and(|peer| peer.viewer().is_some_and(|viewer| !viewer.started));
        let newcomers: Vec<PeerKey> = watched.viewers.extract_if(.., |key| is_new(key)).collect();
        for key in newcomers {
            if let Some(peer) = self.peers.get_mut(key) {
                self.sources.start_catch_up(now, key, peer, from, live);
            }
        }
    }

    /// `false`: packets still wait for company.
    fn forward_if_due(&mut self, now: Instant, key: SourceKey) -> bool {
        let Some(watched) = self.sources.get_mut(key) else { return true };
        if watched.pending.is_empty() {
            return true;
        }
        if !watched.is_due(now, self.load.gather()) {
            return false;
        }
        let count = watched.pending.len();
        self.forward(now, key, count);
        true
    }

    /// Gives the first `count` of the packets that wait to all live viewers, viewer by viewer.
    fn forward(&mut self, now: Instant, key: SourceKey, count: usize) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        let packets = watched.pending.get(..count).unwrap_or_default();
        self.plan.make(packets);
        let batch = Batch { now, start: watched.next, packets, plan: &self.plan };
        for viewer in &watched.viewers {
            let Some(peer) = self.peers.get_mut(*viewer) else { continue };
            if to_peer(peer, &mut self.ports, &batch).is_none() {
                self.fallen.push(*viewer);
            } else if !peer.dirty {
                peer.dirty = true;
                self.dirty.push(*viewer);
            }
        }
        let (count, since) = (packets.len(), watched.gathered_at.take());
        watched.next += count as u64;
        watched.pending.drain(..count);
        watched.gather_until = None;
        if let Some(since) = since.filter(|_| !watched.viewers.is_empty()) {
            self.traffic.gathered.note(now.saturating_duration_since(since));
        }
    }

    /// Sends every viewer that catches up its next packets.
    fn catch_up(&mut self, now: Instant) {
        let mut viewers = std::mem::take(&mut self.sources.catching_up);
        viewers.retain(|key| self.catch_up_one(now, *key));
        self.sources.catch_up_at = (!viewers.is_empty()).then(|| now + CATCH_UP_EVERY);
        self.sources.catching_up = viewers;
    }

    /// `false`: it is live now, or gone.
    fn catch_up_one(&mut self, now: Instant, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let Some(viewer) = peer.viewer().copied() else { return false };
        let (Some(watched), Some(from)) = (self.sources.get_mut(viewer.source), viewer.catch_up) else { return false };
        let mut cursor = from;
        if let Some(behind) = watched.next.checked_sub(from).filter(|behind| *behind > 0) {
            let part = behind.min(CATCH_UP_PACKETS.max(behind / CATCH_UP_PARTS));
            let part = usize::try_from(part).unwrap_or(READ_MAX);
            self.packets.clear();
            let lost = watched.subscriber.source().packets().read(&mut cursor, &mut self.packets, part);
            let start = cursor.saturating_sub(self.packets.len() as u64);
            // Where its place was overwritten reading goes on at a later keyframe, maybe beyond what
            // live viewers have: it gets that with them.
            let before_live = usize::try_from(watched.next.saturating_sub(start)).unwrap_or(usize::MAX);
            self.packets.truncate(before_live);
            self.plan.make(&self.packets);
            let batch = Batch { now, start, packets: &self.packets, plan: &self.plan };
            let skipped = lost == 0 || guarded(|| peer.session.skip_to_keyframe()).is_some();
            let sent = to_peer(peer, &mut self.ports, &batch).is_some();
            self.packets.clear();
            if !(skipped && sent) {
                self.fallen.push(key);
                return false;
            }
            if !peer.dirty {
                peer.dirty = true;
                self.dirty.push(key);
            }
        }
        let is_live = cursor >= watched.next;
        if let Some(viewer) = peer.viewer_mut() {
            viewer.catch_up = (!is_live).then_some(cursor);
        }
        if is_live {
            watched.viewers.push(key);
        }
        !is_live
    }
}
