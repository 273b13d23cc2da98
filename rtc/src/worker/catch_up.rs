//! Viewers whose pictures are not live: those that have just joined and are sent what is cached
//! since the last keyframe, and those to which a large frame leaves in parts. A leaky bucket each,
//! whose store is the source's ring. Sound does not pass it: a viewer's sound is always live.

use std::time::{Duration, Instant};

use super::{
    Worker,
    batch::{Batch, Share},
    guarded,
    peers::{CatchUp, PeerKey},
    sources::SourceKey,
};
use crate::session::Session;

/// How often a bucket leaks.
pub(super) const EVERY: Duration = Duration::from_millis(5);
/// What leaves at a time at most, and where nothing is known of the path: 60 Mb/s, so that a cached
/// group of pictures does not overrun a browser's socket buffer of 200 kB.
const BURST_MAX: usize = 32;
/// What leaves at a time at least: a frame of a poor stream.
pub(super) const BURST_MIN: usize = 4;
/// A path is sent this many times what it is thought to carry, over the length of a keyframe: more
/// queues in it, less shows the keyframe late (libwebrtc paces so, too).
const PACE: f64 = 2.5;
/// The size of a packet, for that.
const PACKET_BITS: f64 = 9_600.0;
/// A long backlog is sent in at most so many parts, or a fast stream would never be caught up with:
/// nothing is later than a third of a second, unless a TCP connection is full.
const PARTS_MAX: u64 = 64;

/// How many packets of the ring a viewer may be given at once: of those of several simulcast layers it
/// is sent its own.
pub(super) fn burst(session: &Session) -> usize {
    let packets = session.estimate().map_or(BURST_MAX, |rate| (rate as f64 * PACE * EVERY.as_secs_f64() / PACKET_BITS) as usize);
    (packets.clamp(BURST_MIN, BURST_MAX) as f64 / session.picture_part()) as usize
}

impl Worker {
    /// Sends every viewer that catches up its next packets.
    pub(super) fn catch_up(&mut self, now: Instant) {
        let mut viewers = std::mem::take(&mut self.sources.catching_up);
        viewers.retain(|key| self.catch_up_one(now, *key));
        self.sources.catch_up_at = (!viewers.is_empty()).then(|| now + EVERY);
        self.sources.catching_up = viewers;
    }

    /// `false`: it is live now, or gone.
    fn catch_up_one(&mut self, now: Instant, key: PeerKey) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let Some(viewer) = peer.viewer().copied() else { return false };
        let (Some(watched), Some(place)) = (self.sources.get_mut(viewer.source), viewer.catch_up) else { return false };
        if peer.target.is_some_and(|(port, _)| !self.ports.has_room(port)) {
            return self.wait_for_room(key, viewer.source, place);
        }
        let mut cursor = place.from;
        if let Some(behind) = watched.next.checked_sub(place.from).filter(|behind| *behind > 0) {
            let part = behind.min((burst(&peer.session) as u64).max(behind / PARTS_MAX));
            let part = usize::try_from(part).unwrap_or(usize::MAX);
            self.packets.clear();
            let lost = watched.subscriber.source().packets().read(&mut cursor, &mut self.packets, part);
            let start = cursor.saturating_sub(self.packets.len() as u64);
            // Where its place was overwritten reading goes on at a later keyframe, maybe beyond what
            // live viewers have: it gets that with them.
            let before_live = usize::try_from(watched.next.saturating_sub(start)).unwrap_or(usize::MAX);
            self.packets.truncate(before_live);
            self.plan.make(&self.packets);
            let batch = Batch { now, start, packets: &self.packets, plan: &self.plan };
            let share = Share { sound: 0..place.sound_to, ..Share::ALL };
            let skipped = lost == 0 || guarded(|| peer.session.skip_to_keyframe()).is_some();
            let sent = batch.to_peer(peer, &mut self.ports, &share).is_some();
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
            viewer.catch_up = (!is_live).then_some(CatchUp { from: cursor, ..place });
        }
        !is_live
    }

    /// Its connection is full. Where a newer keyframe has come meanwhile, the viewer goes on from
    /// there: whole pictures are left out, and it is never further behind than that. `false`: it
    /// panicked.
    fn wait_for_room(&mut self, key: PeerKey, source: SourceKey, place: CatchUp) -> bool {
        let (Some(peer), Some(watched)) = (self.peers.get_mut(key), self.sources.get(source)) else { return false };
        let newer = watched.subscriber.source().packets().join().filter(|join| (place.from + 1..watched.next).contains(join));
        let Some(from) = newer else { return true };
        if guarded(|| peer.session.skip_to_keyframe()).is_none() {
            self.fallen.push(key);
            return false;
        }
        if let Some(viewer) = peer.viewer_mut() {
            viewer.catch_up = Some(CatchUp { from, ..place });
        }
        if let Some(streams) = self.ports.streams() {
            streams.note_skipped(from - place.from);
        }
        true
    }
}
