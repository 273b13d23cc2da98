//! The sources that a worker's viewers watch: one cursor per source, shared by all of them.
//!
//! Packets up to a source's `next` were given to its live viewers. A viewer that joins is first sent
//! what is cached from the last keyframe up to there, at a pace, and then its pictures become live:
//! no packet comes twice and none is missed.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;
use weir_source::{Hub, MediaTime, Packet, PacketSubscriber, Source, StreamKey, TrackId, Tracks};

use super::{
    catch_up,
    load::Gather,
    mailbox::{Mailbox, SourceWake},
    peers::{CatchUp, Peer, PeerKey},
};

/// Gathered packets that are forwarded though they might wait: one message's segments.
const GATHER_PACKETS: usize = 48;
/// A batch that spans more media time than this is not live: a remuxer has just begun.
const BURST_US: i64 = 300_000;

/// A viewer is sent the last keyframe again at most this often.
const REJOIN_EVERY: Duration = Duration::from_secs(1);

/// A source's place and which of its tenants is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SourceKey {
    index: usize,
    generation: u64,
}

/// One source as a worker watches it.
pub(super) struct Watched {
    generation: u64,
    pub(super) subscriber: PacketSubscriber,
    wake: Arc<SourceWake>,
    pub(super) tracks: Arc<Tracks>,
    /// Read, and not yet given to the live viewers.
    pub(super) pending: Vec<Packet>,
    /// The position of the first of these, or of the next to be read.
    pub(super) next: u64,
    /// When the first of `pending` was read.
    pub(super) gathered_at: Option<Instant>,
    /// `pending` waits for company until then.
    pub(super) gather_until: Option<Instant>,
    /// Those that are connected: their sound is live, and most have live pictures.
    pub(super) viewers: Vec<PeerKey>,
    /// All peers that watch it, connected or not.
    pub(super) members: Vec<PeerKey>,
    pub(super) marked: bool,
    /// When its viewers choose their layers anew.
    pub(super) layers_at: Option<Instant>,
}

/// All sources of a worker.
#[derive(Default)]
pub(super) struct Sources {
    slots: Slab<Watched>,
    generation: u64,
    by_name: HashMap<StreamKey, SourceKey, foldhash::quality::RandomState>,
    /// Those that may have something new.
    pub(super) marked: Vec<SourceKey>,
    /// Those with packets that wait for company.
    pub(super) gathering: Vec<SourceKey>,
    /// Viewers whose pictures are not live.
    pub(super) catching_up: Vec<PeerKey>,
    /// When these get their next packets.
    pub(super) catch_up_at: Option<Instant>,
}

impl Sources {
    /// Watches a source, which it may already do. A peer must [enroll](Sources::enroll) with it.
    pub(super) fn open(
        &mut self,
        hub: &Arc<Hub>,
        mailbox: &Arc<Mailbox>,
        name: &StreamKey,
        now: Instant,
    ) -> (SourceKey, Arc<Source>) {
        if let Some(key) = self.by_name.get(name).copied()
            && let Some(watched) = self.get_mut(key)
        {
            return (key, Arc::clone(watched.subscriber.source()));
        }
        self.generation += 1;
        let entry = self.slots.vacant_entry();
        let key = SourceKey { index: entry.key(), generation: self.generation };
        let wake = SourceWake::new(Arc::clone(mailbox), key);
        let mut subscriber = hub.subscribe_packets(name, now);
        // What is cached is each joiner's own matter.
        subscriber.seek_live();
        subscriber.watch(Arc::clone(&wake) as Arc<dyn weir_source::Wake>);
        let source = Arc::clone(subscriber.source());
        entry.insert(Watched {
            generation: key.generation,
            wake,
            tracks: subscriber.tracks(),
            pending: Vec::new(),
            next: subscriber.position(),
            subscriber,
            gathered_at: None,
            gather_until: None,
            viewers: Vec::new(),
            members: Vec::new(),
            marked: false,
            layers_at: None,
        });
        self.by_name.insert(name.clone(), key);
        (key, source)
    }

    /// A peer watches the source until it [leaves](Sources::leave).
    pub(super) fn enroll(&mut self, peer: PeerKey, key: SourceKey) {
        if let Some(watched) = self.get_mut(key) {
            watched.members.push(peer);
        }
    }

    pub(super) fn get(&self, key: SourceKey) -> Option<&Watched> {
        self.slots.get(key.index).filter(|watched| watched.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: SourceKey) -> Option<&mut Watched> {
        self.slots.get_mut(key.index).filter(|watched| watched.generation == key.generation)
    }

    pub(super) fn source(&self, key: SourceKey) -> Option<&Arc<Source>> {
        Some(self.get(key)?.subscriber.source())
    }

    /// A peer has left. With the last one the source is left too.
    pub(super) fn leave(&mut self, peer: PeerKey, key: SourceKey) {
        self.catching_up.retain(|other| *other != peer);
        let Some(watched) = self.get_mut(key) else { return };
        watched.viewers.retain(|other| *other != peer);
        watched.members.retain(|other| *other != peer);
        if watched.members.is_empty() {
            let watched = self.slots.remove(key.index);
            self.by_name.remove(watched.subscriber.source().key());
        }
    }

    /// A viewer is connected: it catches up if something is cached, else it is live at once.
    pub(super) fn join(&mut self, now: Instant, key: PeerKey, peer: &mut Peer) {
        let Some(place) = peer.viewer().map(|viewer| viewer.source) else { return };
        let Some(watched) = self.get_mut(place) else { return };
        peer.session.set_tracks(&watched.tracks);
        watched.viewers.push(key);
        if let Some((from, live)) = watched.backlog() {
            self.start_catch_up(now, key, peer, from, live);
        }
    }

    /// `from`: the position of a cached keyframe; `live`: the time of the newest packet.
    pub(super) fn start_catch_up(&mut self, now: Instant, key: PeerKey, peer: &mut Peer, from: u64, live: MediaTime) {
        let Some(viewer) = peer.viewer_mut() else { return };
        let sound_to = self.get(viewer.source).map_or(from, |watched| watched.next);
        viewer.catch_up = Some(CatchUp { from, sound_to });
        viewer.started = true;
        let source = viewer.source;
        if let Some(source) = self.source(source) {
            peer.session.join(live, source.packets().join_tracks());
        }
        self.catching_up.push(key);
        self.catch_up_at.get_or_insert(now);
    }

    /// A viewer has lost its picture: it gets all since the last keyframe once more. `false`: there is
    /// none, it is being sent already, or it was a moment ago.
    pub(super) fn rejoin(&mut self, now: Instant, key: PeerKey, peer: &mut Peer) -> bool {
        let Some(viewer) = peer.viewer_mut().filter(|viewer| viewer.started && viewer.catch_up.is_none()) else { return false };
        let Some((from, live)) = self.get(viewer.source).and_then(Watched::backlog) else { return false };
        let since = self.source(viewer.source).and_then(|source| source.packets().get(from)).map(|packet| packet.capture);
        if now < viewer.rejoin_from {
            return false;
        }
        // A viewer that asks without end has its stream twice, and no more.
        let length = since.map_or(Duration::ZERO, |since| live.saturating_since(since));
        viewer.rejoin_from = now + length.max(REJOIN_EVERY);
        // Its sound is live as it was.
        viewer.catch_up = Some(CatchUp { from, sound_to: from });
        peer.session.rejoin(live);
        self.catching_up.push(key);
        self.catch_up_at.get_or_insert(now);
        true
    }

    /// These get the rest of what was sent to them in parts.
    pub(super) fn pace(&mut self, now: Instant, viewers: &mut Vec<PeerKey>) {
        if !viewers.is_empty() {
            self.catching_up.append(viewers);
            self.catch_up_at.get_or_insert(now + catch_up::EVERY);
        }
    }

    pub(super) fn mark(&mut self, key: SourceKey) {
        let Some(watched) = self.get_mut(key) else { return };
        watched.wake.clear();
        if !watched.marked {
            watched.marked = true;
            self.marked.push(key);
        }
    }

    pub(super) fn mark_all(&mut self) {
        let all = self.slots.iter().map(|(index, watched)| SourceKey { index, generation: watched.generation });
        for key in all.collect::<Vec<_>>() {
            self.mark(key);
        }
    }

    /// When the worker must look at its sources next, marked or not.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let gathered = self.gathering.iter().filter_map(|key| self.get(*key)?.gather_until).min();
        gathered.into_iter().chain(self.catch_up_at).min()
    }
}

impl Watched {
    /// Where a joiner starts and up to which time it is behind, unless nothing is cached before
    /// `next`.
    fn backlog(&self) -> Option<(u64, MediaTime)> {
        let ring = self.subscriber.source().packets();
        let from = ring.join().filter(|from| *from < self.next)?;
        let newest = ring.get(ring.live().checked_sub(1)?)?;
        Some((from, newest.capture))
    }

    /// What was just read came all at once: a remuxer has begun with what it found cached. Where
    /// its last keyframe is, and the time of its newest packet.
    pub(super) fn burst(&self) -> Option<(u64, MediaTime)> {
        let (first, last) = (self.pending.first()?, self.pending.last()?);
        if last.capture - first.capture < BURST_US {
            return None;
        }
        Some((self.subscriber.source().packets().join()?, last.capture))
    }

    /// The packets that wait go out now: there is time for it, the frame is whole, there are enough
    /// of them, or their time is up.
    pub(super) fn is_due(&mut self, now: Instant, gather: Gather) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        let since = *self.gathered_at.get_or_insert(now);
        let until = since + gather.window;
        self.gather_until = Some(until);
        let whole = is_whole(&self.pending, gather);
        whole || self.pending.len() >= GATHER_PACKETS || now >= until
    }
}

/// A frame is there, and the sound that it waits for.
fn is_whole(pending: &[Packet], gather: Gather) -> bool {
    let frame = pending.iter().any(|packet| packet.marker && packet.track != TrackId::AUDIO);
    frame && (!gather.for_sound || pending.iter().any(|packet| packet.track == TrackId::AUDIO))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_source::PacketExtensions;

    use super::*;

    fn packet(track: TrackId, marker: bool) -> Packet {
        Packet {
            track,
            epoch: 1,
            seq: 0,
            timestamp: 0,
            capture: MediaTime::ZERO,
            marker,
            keyframe: false,
            extensions: PacketExtensions::default(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn packets_wait_for_their_frame_and_a_busy_workers_frame_for_sound() {
        let gather = |for_sound| Gather { window: Duration::from_millis(20), for_sound };
        let (part, end) = (packet(TrackId::VIDEO, false), packet(TrackId::VIDEO, true));
        let sound = packet(TrackId::AUDIO, true);
        assert!(!is_whole(&[part.clone(), sound.clone()], gather(false)));
        assert!(is_whole(&[part.clone(), end.clone()], gather(false)));
        assert!(!is_whole(&[part.clone(), end.clone()], gather(true)));
        assert!(is_whole(&[sound, part, end], gather(true)));
    }
}
