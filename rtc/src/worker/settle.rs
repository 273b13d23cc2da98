//! A peer's turn: after it was touched its outputs are drained, its packets published, its timer
//! set. And how a peer ends.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use weir_source::{Lane, MediaKind, TrackId, Tracks};

use super::{
    Worker,
    chronicle::Place,
    guarded,
    peers::{Peer, PeerKey, ROAMS_MAX, Role},
    sources::Sources,
    strangers::LOOKS_MAX,
};
use crate::{
    ice::Path,
    net::Target,
    session::{CloseReason, Output, Resend},
    timeline::EndReason,
};

/// Why a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its session is over.
    Closed(CloseReason),
    /// The API ended it.
    Deleted,
    /// The API ended its client.
    Kicked,
    /// Another publisher took its seat.
    Replaced,
    /// Its TCP connection takes nothing any more.
    Stuck,
    /// The server ends.
    Stopped,
    /// A bug.
    Panicked,
}

impl From<End> for EndReason {
    fn from(end: End) -> Self {
        match end {
            End::Closed(reason) => reason.into(),
            End::Deleted => Self::Deleted,
            End::Kicked => Self::Kicked,
            End::Replaced => Self::Replaced,
            End::Stuck => Self::Stuck,
            End::Stopped => Self::Shutdown,
            End::Panicked => Self::Panicked,
        }
    }
}

/// A timer is never set closer than this, whatever a session says: no peer keeps the loop spinning.
const TIMER_MIN: Duration = Duration::from_millis(1);

impl Worker {
    /// Gives a touched peer its turn.
    pub(super) fn settle(&mut self, now: Instant, key: PeerKey) {
        let Some(mut peer) = self.peers.take(key) else { return };
        peer.dirty = false;
        match guarded(|| self.drain(now, key, &mut peer)) {
            Some(ControlFlow::Continue(())) => {
                self.set_timer(now, key, &mut peer);
                self.peers.put(key, peer);
            }
            Some(ControlFlow::Break(end)) => self.bury(now, key, peer, end),
            None => self.bury(now, key, peer, End::Panicked),
        }
    }

    fn drain(&mut self, now: Instant, key: PeerKey, peer: &mut Peer) -> ControlFlow<End> {
        let mut closed = None;
        while let Some(output) = peer.session.poll_output() {
            match output {
                Output::Transmit { path, data } => {
                    if let Some(port) = self.ports.find(&path) {
                        self.ports.push(port, target_of(&path), &data);
                    }
                }
                Output::Connected => self.handle_connected(now, key, peer),
                Output::KeyframeWanted(track) => self.request_keyframe(now, key, peer, track),
                Output::Resend(resend) => self.resend(now, peer, &resend),
                Output::Tracks(tracks) => handle_tracks(peer, tracks)?,
                Output::Closed(reason) => closed = Some(End::Closed(reason)),
            }
        }
        let path = peer.session.path();
        let (was, is) = (peer.target.map(|(_, target)| target.remote), path.map(|path| path.remote));
        if was.is_some() && was != is {
            tracing::debug!(id = %peer.record.id, from = ?was, to = ?is, "peer moved");
        }
        peer.target = path.and_then(|path| Some((self.ports.find(&path)?, target_of(&path))));
        if let Role::Publisher(publisher) = &peer.role {
            peer.session.take_packets(&mut self.packets);
            peer.noted.hear(&peer.record, &self.packets, now);
            if !publisher.push(&mut self.packets, now) {
                closed = closed.or(Some(End::Replaced));
            }
        }
        closed.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }

    fn handle_connected(&mut self, now: Instant, key: PeerKey, peer: &mut Peer) {
        peer.connected = true;
        let path = peer.session.path();
        let over_tcp = path.is_some_and(|path| path.connection.is_some());
        tracing::info!(id = %peer.record.id, key = %peer.record.key, direction = ?peer.record.direction,
            remote = ?path.map(|path| path.remote), over_tcp, "session connected");
        if let Role::Viewer(viewer) = peer.role {
            if let Some(source) = self.sources.source(viewer.source) {
                peer.session.set_layers(now, &source.layers());
            }
            self.sources.join(now, key, peer);
        }
        show(peer, &self.sources, now);
    }

    /// A publisher by WebRTC is asked. Others make keyframes as they please: the viewer gets the last
    /// one again, and what followed.
    fn request_keyframe(&mut self, now: Instant, key: PeerKey, peer: &mut Peer, track: TrackId) {
        let Some(source) = peer.viewer().and_then(|viewer| self.sources.source(viewer.source)) else { return };
        source.request_keyframe_of(track);
        if source.publisher_lane() == Some(Lane::Frames) && self.sources.rejoin(now, key, peer) {
            self.traffic.rejoined += 1;
        }
    }

    fn resend(&mut self, now: Instant, peer: &mut Peer, resend: &Resend) {
        let Some((port, target)) = peer.target else { return };
        let source = peer.viewer().and_then(|viewer| self.sources.source(viewer.source));
        let Some(packet) = source.and_then(|source| source.packets().get(resend.position)) else { return };
        if let Some(port) = self.ports.get_mut(port) {
            port.write(target, |room| peer.session.resend(now, resend, &packet, room));
        }
    }

    fn set_timer(&mut self, now: Instant, key: PeerKey, peer: &mut Peer) {
        let Some(wanted) = peer.session.poll_timeout() else { return };
        let wanted = wanted.max(now + TIMER_MIN);
        // A timer that fires early looks again; only an earlier wish needs an entry of its own.
        if peer.timer.is_none_or(|timer| wanted < timer) {
            peer.timer = Some(wanted);
            self.timers.set(wanted, key);
        }
    }

    pub(super) fn fire_timer(&mut self, now: Instant, at: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.timer != Some(at) {
            return;
        }
        peer.timer = None;
        let due = |peer: &Peer| peer.session.poll_timeout().is_some_and(|wanted| wanted <= now);
        let turn = guarded(|| {
            if due(peer) {
                peer.session.handle_timeout(now);
            }
        });
        match turn {
            Some(()) => self.mark_dirty(key),
            None => self.end(now, key, End::Panicked),
        }
    }

    /// Somebody has flagged the peer: a wish for a keyframe, or for its end.
    pub(super) fn look_at_peer(&mut self, now: Instant, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.record.wake.clear();
        if let Some(end) = unwanted(peer) {
            self.end(now, key, end);
            return;
        }
        if let Some(restart) = peer.record.take_restart() {
            tracing::debug!(id = %peer.record.id, "ICE restarts");
            let local = restart.local.clone();
            if guarded(|| peer.session.restart_ice(local, restart.remote)).is_none() {
                self.end(now, key, End::Panicked);
                return;
            }
            self.peers.rename(key, restart.local);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Role::Publisher(publisher) = &peer.role else { return };
        let wanted = publisher.take_keyframe_requests();
        if !wanted.is_empty() {
            match guarded(|| wanted.iter().for_each(|track| peer.session.request_keyframe(now, track))) {
                Some(()) => self.mark_dirty(key),
                None => self.end(now, key, End::Panicked),
            }
        }
    }

    /// Once a second: publishes every peer's figures and ends those that nobody wants.
    pub(super) fn handle_tick(&mut self, now: Instant) {
        self.look_at_streams(now);
        self.looks_left = LOOKS_MAX;
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if let Some(end) = unwanted(peer) {
                self.end(now, key, end);
                continue;
            }
            show(peer, &self.sources, now);
            peer.roams_left = ROAMS_MAX;
            self.peers.forget_left(key, now);
            let Some(peer) = self.peers.get_mut(key) else { continue };
            let ssrcs: SmallVec<[u32; 2]> = peer.session.ssrcs().collect();
            if ssrcs != peer.ssrcs {
                let (lobby, index) = (&self.lobby, self.index);
                self.peers.name_streams(key, ssrcs, |ssrc| lobby.claim_ssrc(ssrc, index), |ssrc| lobby.release_ssrc(ssrc));
            }
        }
        if self.timers.is_bloated(self.peers.len()) {
            let peers = &mut self.peers;
            self.timers.retain(|at, key| peers.get_mut(key).is_some_and(|peer| peer.timer == Some(at)));
        }
        let mut gone = self.lobby.expire(now);
        gone.extend(self.lobby.evict());
        for (waiting, reason) in gone {
            tracing::debug!(id = %waiting.record.id, key = %waiting.record.key, ?reason, "session ended unheard");
            self.lobby.bury_waiting(waiting, now, reason);
        }
    }

    /// Ends a peer, telling it so.
    pub(super) fn end(&mut self, now: Instant, key: PeerKey, end: End) {
        if let Some(peer) = self.peers.take(key) {
            self.bury(now, key, peer, end);
        }
    }

    /// Ends a peer that was taken out for its turn. All that it held is released: its addresses, its
    /// seat or its place among the viewers, its entry in the list of clients.
    fn bury(&mut self, now: Instant, key: PeerKey, mut peer: Box<Peer>, end: End) {
        match end {
            End::Panicked => {
                self.traffic.panics += 1;
                tracing::warn!(id = %peer.record.id, key = %peer.record.key, "a panic in a session's turn has ended it: this is a bug");
            }
            End::Closed(CloseReason::BadFingerprint) => self.traffic.bad_fingerprint += 1,
            End::Closed(CloseReason::DtlsFailed) => self.traffic.dtls_failed += 1,
            End::Closed(_) => {}
            _ => self.say_goodbye(now, &mut peer),
        }
        self.peers.release(key, &peer);
        peer.ssrcs.iter().for_each(|ssrc| self.lobby.release_ssrc(*ssrc));
        for id in &peer.connections {
            if let Some(streams) = self.ports.streams() {
                let _closed = streams.remove(*id);
            }
        }
        show(&mut peer, &self.sources, now);
        if let Some(viewer) = peer.viewer() {
            self.sources.leave(key, viewer.source);
        }
        let record = Arc::clone(&peer.record);
        tracing::debug!(id = %record.id, stats = ?peer.session.stats(), "session's figures");
        tracing::info!(id = %record.id, key = %record.key, direction = ?record.direction, reason = ?end, "session ended");
        // The seat first, then the word that it is free.
        drop(peer);
        self.lobby.leave(&record);
        self.lobby.bury(record, now, end.into());
    }

    fn say_goodbye(&mut self, now: Instant, peer: &mut Peer) {
        let ports = &mut self.ports;
        let said = guarded(|| {
            peer.session.close(now);
            while let Some(output) = peer.session.poll_output() {
                if let Output::Transmit { path, data } = output
                    && let Some(port) = ports.find(&path)
                {
                    ports.push(port, target_of(&path), &data);
                }
            }
        });
        if said.is_none() {
            self.traffic.panics += 1;
        }
    }
}

const fn target_of(path: &Path) -> Target {
    Target { remote: path.remote, local: path.local }
}

/// The publisher's tracks go before the packets that need them.
fn handle_tracks(peer: &Peer, tracks: Tracks) -> ControlFlow<End> {
    let Role::Publisher(publisher) = &peer.role else { return ControlFlow::Continue(()) };
    let kinds = [MediaKind::Audio, MediaKind::Video];
    let codecs = kinds.iter().filter_map(|kind| tracks.of_kind(*kind)).map(|track| track.codec).collect();
    peer.record.set_codecs(codecs);
    if publisher.set_tracks(tracks) { ControlFlow::Continue(()) } else { ControlFlow::Break(End::Replaced) }
}

fn unwanted(peer: &Peer) -> Option<End> {
    if peer.record.is_deleted() {
        return Some(End::Deleted);
    }
    if peer.guard.is_kicked() {
        return Some(End::Kicked);
    }
    match &peer.role {
        Role::Publisher(publisher) if publisher.is_replaced() => Some(End::Replaced),
        Role::Publisher(_) | Role::Viewer(_) => None,
    }
}

/// Publishes a peer's figures, and writes down what they tell.
fn show(peer: &mut Peer, sources: &Sources, now: Instant) {
    let stats = peer.session.stats();
    let (since, bytes_in, bytes_out) = peer.shown;
    let grown = |now: u64, then: u64| usize::try_from(now.saturating_sub(then)).unwrap_or(0);
    peer.guard.received(grown(stats.bytes_in, bytes_in));
    peer.guard.sent(grown(stats.bytes_out, bytes_out));
    peer.shown = (now, stats.bytes_in, stats.bytes_out);
    let remote = peer.target.map(|(_, target)| target.remote);
    let watched = peer.viewer().and_then(|viewer| sources.get(viewer.source));
    let place = Place { remote, stream: watched.map(|watched| !watched.tracks.list.is_empty()) };
    peer.noted.tell(&peer.record, &stats, &place, now);
    peer.record.publish(peer.connected, remote, stats, now.saturating_duration_since(since));
}
