//! From the sources to the viewers: the hot path.

use std::{sync::Arc, time::Instant};

use weir_source::{Read, Tracks};

use super::{
    Worker,
    batch::{Batch, Share},
    catch_up::{BURST_MIN, burst},
    guarded,
    peers::{CatchUp, Peer, PeerKey},
    ports::Ports,
    settle::End,
    sources::SourceKey,
};

/// Packets read from a source per turn; what is left is read in the next.
const READ_MAX: usize = 512;

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
        self.choose_layers(now, key);
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
            // Who catches up reads with a cursor of its own.
            if peer.viewer().is_some_and(|viewer| viewer.catch_up.is_some()) {
                continue;
            }
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
        let newcomers: Vec<PeerKey> = watched.viewers.iter().copied().filter(|key| is_new(key)).collect();
        for key in newcomers {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if guarded(|| self.sources.start_catch_up(now, key, peer, from, live)).is_none() {
                self.fallen.push(key);
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
            let (share, rest) = share(peer, &self.ports, &batch);
            if batch.to_peer(peer, &mut self.ports, &share).is_none() {
                self.fallen.push(*viewer);
                continue;
            }
            if let (Some(from), Some(state)) = (rest, peer.viewer_mut()) {
                state.catch_up = Some(CatchUp { from, sound_to: from });
                self.paced.push(*viewer);
            }
            if !peer.dirty {
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
        self.traffic.paced += self.paced.len() as u64;
        self.sources.pace(now, &mut self.paced);
    }
}

/// What a live viewer gets of a batch, and from where on its pictures are paced.
fn share(peer: &Peer, ports: &Ports, batch: &Batch<'_>) -> (Share, Option<u64>) {
    if peer.viewer().is_some_and(|viewer| viewer.catch_up.is_some()) {
        return (Share::SOUND, None);
    }
    // The usual batch needs no look at what the path carries.
    let has_room = peer.target.is_none_or(|(port, _)| ports.has_room(port));
    if has_room && batch.packets.len() <= BURST_MIN {
        return (Share::ALL, None);
    }
    match batch.after_pictures(if has_room { burst(&peer.session) } else { 0 }) {
        Some(from) => (Share { pictures: 0..from, ..Share::ALL }, Some(from)),
        None => (Share::ALL, None),
    }
}
