//! ICE over TCP (RFC 6544): the connections of one worker. They are accepted by whichever worker the
//! kernel chooses, and belong to the one that owns their peer: what comes first on a connection must
//! be a signed check, and says whose it is.

use std::time::Instant;

use slab::Slab;

use super::{
    Worker,
    connection::{Connection, Fault},
    guarded,
    input::Whose,
    mailbox::HandedStream,
    peers::PeerKey,
    ports::Port,
    settle::End,
};
use crate::{
    gate::Gate,
    ice::{self, ConnectionId, Path},
    net::{Event, Listener, Poller, Stream},
    stats::StreamCounters,
    wire::demux::{Class, classify},
};

use std::{io, sync::Arc};

/// Bytes read from one connection before others get their turn; whole datagrams are taken from here
/// without a copy.
const READ_BYTES: usize = 64 * 1_024;
/// Connections accepted per turn and listener.
const ACCEPTS_PER_TURN: usize = 64;
/// Connections from other workers per turn.
const HANDED_OVER_PER_TURN: usize = 16;
/// Tokens from here on are listeners; a generation never gets there.
const LISTENERS: u64 = u64::MAX - 255;

/// What listens, what is connected, and what tells of both.
pub(super) struct Streams {
    poller: Poller,
    listeners: Vec<Listener>,
    /// A shortage of descriptors: nothing is accepted until the next second.
    paused: bool,
    gate: Arc<Gate>,
    slots: Slab<Slot>,
    generation: u32,
    /// Those with something to be flushed.
    dirty: Vec<usize>,
    events: Vec<Event>,
    buffer: Vec<u8>,
    counters: StreamCounters,
}

struct Slot {
    generation: u32,
    port: Port,
}

/// What is to become of a connection after one of its datagrams.
enum Verdict {
    GoOn,
    Close,
    /// To the worker with this index.
    HandOver(usize),
}

impl Streams {
    pub(super) fn new(listeners: Vec<Listener>, gate: Arc<Gate>) -> io::Result<Self> {
        let poller = Poller::new()?;
        for (listener, token) in listeners.iter().zip(LISTENERS..) {
            poller.add_listener(listener, token)?;
        }
        Ok(Self {
            poller,
            listeners,
            paused: false,
            gate,
            slots: Slab::new(),
            generation: 0,
            dirty: Vec::new(),
            events: Vec::new(),
            buffer: vec![0; READ_BYTES],
            counters: StreamCounters::default(),
        })
    }

    pub(super) const fn poller(&self) -> &Poller {
        &self.poller
    }

    fn insert(&mut self, now: Instant, stream: Stream, pass: crate::gate::Pass) -> Option<ConnectionId> {
        self.generation = self.generation.wrapping_add(1) & (u32::MAX >> 1);
        let generation = self.generation;
        let entry = self.slots.vacant_entry();
        let id = ConnectionId(u64::from(generation) << 32 | u64::from(u32::try_from(entry.key()).ok()?));
        self.poller.add(&stream, id.0).ok()?;
        entry.insert(Slot { generation, port: Port::Tcp(Box::new(Connection::new(stream, pass, id, now))) });
        Some(id)
    }

    /// The place of a connection that is still there.
    pub(super) fn find(&self, id: ConnectionId) -> Option<usize> {
        let index = usize::try_from(id.0 & u64::from(u32::MAX)).ok()?;
        let slot = self.slots.get(index)?;
        (u64::from(slot.generation) == id.0 >> 32).then_some(index)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let index = self.find(id)?;
        match &mut self.slots.get_mut(index)?.port {
            Port::Tcp(connection) => Some(connection),
            Port::Udp(_) => None,
        }
    }

    /// See [`Connection::has_room`].
    pub(super) fn has_room(&self, index: usize) -> bool {
        let port = self.slots.get(index).map(|slot| &slot.port);
        if let Some(Port::Tcp(connection)) = port { connection.has_room() } else { true }
    }

    /// Packets that a viewer was not given because its connection was full.
    pub(super) fn note_skipped(&mut self, count: u64) {
        self.counters.dropped += count;
    }

    /// A connection's port, to be written to: it is flushed at the end of the turn.
    #[inline]
    pub(super) fn port_mut(&mut self, index: usize) -> Option<&mut Port> {
        let slot = self.slots.get_mut(index)?;
        if let Port::Tcp(connection) = &mut slot.port
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(index);
        }
        Some(&mut slot.port)
    }

    pub(super) fn flush(&mut self) {
        for index in self.dirty.drain(..) {
            if let Some(Slot { port: Port::Tcp(connection), .. }) = self.slots.get_mut(index) {
                connection.flush(&self.poller);
            }
        }
    }

    /// Takes a connection out. What waits is sent as far as the kernel takes it.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        let index = self.find(id)?;
        let Port::Tcp(mut connection) = self.slots.remove(index).port else { return None };
        connection.flush(&self.poller);
        self.counters.add(&connection.take_counters());
        Some(connection)
    }

    fn accept(&mut self, now: Instant, token: u64) {
        let listener = usize::try_from(token - LISTENERS).ok().and_then(|index| self.listeners.get(index));
        let Some(listener) = listener else { return };
        let mut accepted = Vec::new();
        for _ in 0..ACCEPTS_PER_TURN {
            match listener.accept() {
                Ok(Some(stream)) => accepted.push(stream),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!("no TCP connections are accepted for a second: {error}");
                    self.pause();
                    break;
                }
            }
        }
        for stream in accepted {
            let pass = self.gate.admit(stream.remote().ip());
            match pass.and_then(|pass| self.insert(now, stream, pass)) {
                Some(_) => self.counters.accepted += 1,
                None => self.counters.refused += 1,
            }
        }
    }

    /// The listeners would be readable all the time.
    fn pause(&mut self) {
        self.paused = self.listeners.iter().all(|listener| self.poller.remove_listener(listener).is_ok());
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.paused) {
            for (listener, token) in self.listeners.iter().zip(LISTENERS..) {
                self.paused |= self.poller.add_listener(listener, token).is_err();
            }
        }
    }

    fn ids(&self) -> Vec<ConnectionId> {
        let id = |(index, slot): (usize, &Slot)| ConnectionId(u64::from(slot.generation) << 32 | index as u64);
        self.slots.iter().map(id).collect()
    }

    /// Counters so far.
    pub(super) fn counters(&mut self) -> StreamCounters {
        for (_, slot) in &mut self.slots {
            if let Port::Tcp(connection) = &mut slot.port {
                self.counters.add(&connection.take_counters());
            }
        }
        StreamCounters { open: self.slots.len() as u64, ..self.counters }
    }
}

impl Worker {
    /// Accepts, reads and writes as far as it goes without waiting.
    pub(super) fn handle_streams(&mut self, now: Instant) {
        let Some(streams) = self.ports.streams() else { return };
        let mut events = std::mem::take(&mut streams.events);
        streams.poller.poll(&mut events);
        for event in &events {
            if event.token >= LISTENERS {
                if let Some(streams) = self.ports.streams() {
                    streams.accept(now, event.token);
                }
                continue;
            }
            let id = ConnectionId(event.token);
            if event.writable
                && let Some(streams) = self.ports.streams()
                && let Some(index) = streams.find(id)
            {
                let _flushed_at_the_end_of_the_turn = streams.port_mut(index);
            }
            if event.readable {
                self.read_stream(now, id);
            }
        }
        if let Some(streams) = self.ports.streams() {
            streams.events = events;
        }
    }

    /// Takes over what other workers accepted.
    pub(super) fn handle_handed_streams(&mut self, now: Instant) {
        for _ in 0..HANDED_OVER_PER_TURN {
            let Ok(HandedStream { stream, pass, mut data }) = self.inbox.streams.try_recv() else { return };
            let Some(streams) = self.ports.streams() else { return };
            if let Some(id) = streams.insert(now, stream, pass) {
                self.feed_stream(now, id, &mut data);
            }
        }
        // There may be more, and nobody will say so.
        self.inbox.mailbox.waker().wake();
    }

    fn read_stream(&mut self, now: Instant, id: ConnectionId) {
        let Some(streams) = self.ports.streams() else { return };
        let mut buffer = std::mem::take(&mut streams.buffer);
        let read = streams.get_mut(id).map(|connection| connection.read(&mut buffer));
        match read {
            Some(Ok(Some(0)) | Err(_)) => self.close_stream(now, id),
            Some(Ok(Some(count))) => {
                if let Some(data) = buffer.get_mut(..count) {
                    self.feed_stream(now, id, data);
                }
            }
            Some(Ok(None)) | None => {}
        }
        if let Some(streams) = self.ports.streams() {
            streams.buffer = buffer;
        }
        // A publisher's packets must not pile up in its session.
        self.settle_dirty(now);
    }

    fn feed_stream(&mut self, now: Instant, id: ConnectionId, data: &mut [u8]) {
        let connection = self.ports.streams().and_then(|streams| streams.get_mut(id));
        let Some(mut deframer) = connection.map(|connection| std::mem::take(&mut connection.deframer)) else { return };
        let (mut verdict, mut frames, mut first) = (Verdict::GoOn, 0, Vec::new());
        let used = deframer.feed(data, |frame| {
            frames += 1;
            verdict = self.handle_frame(now, id, frame);
            if matches!(verdict, Verdict::HandOver(_)) {
                first = frame.to_vec();
            }
            matches!(verdict, Verdict::GoOn)
        });
        let Some(streams) = self.ports.streams() else { return };
        streams.counters.frames_in += frames;
        match (used, verdict) {
            (Ok(_), Verdict::GoOn) => {
                // Unless it went with its peer meanwhile.
                if let Some(connection) = streams.get_mut(id) {
                    connection.deframer = deframer;
                }
            }
            (Ok(used), Verdict::HandOver(owner)) => {
                self.hand_over_stream(id, owner, &first, data.get(used..).unwrap_or_default());
            }
            (Err(_), _) => {
                streams.counters.too_long += 1;
                self.close_stream(now, id);
            }
            (Ok(_), Verdict::Close) => {
                streams.counters.unproven += 1;
                self.close_stream(now, id);
            }
        }
    }

    fn handle_frame(&mut self, now: Instant, id: ConnectionId, frame: &mut [u8]) -> Verdict {
        let connection = self.ports.streams().and_then(|streams| streams.get_mut(id));
        let Some(connection) = connection else { return Verdict::Close };
        let (path, owner) = (connection.path(), connection.owner);
        let class = classify(frame);
        let ufrag = if class == Class::Stun { ice::username_local_ufrag(frame) } else { None };
        match owner {
            Some(key) if ufrag.is_none_or(|ufrag| self.peers.is_named(key, ufrag)) => {
                self.input(now, key, path, frame);
                Verdict::GoOn
            }
            // A connection is one peer's for life.
            Some(_) => Verdict::Close,
            // What comes first is to prove whose it is.
            None if class != Class::Stun => Verdict::Close,
            None => match self.whose(now, path.remote, frame) {
                Whose::Ours(key) => {
                    self.settle_stream(now, id, key);
                    self.input(now, key, path, frame);
                    Verdict::GoOn
                }
                Whose::Other(owner) => Verdict::HandOver(owner),
                Whose::Nobodys => Verdict::Close,
            },
        }
    }

    /// The connection is the peer's from now on.
    fn settle_stream(&mut self, now: Instant, id: ConnectionId, key: PeerKey) {
        if let Some(connection) = self.ports.streams().and_then(|streams| streams.get_mut(id)) {
            connection.owner = Some(key);
        }
        if let Some(evicted) = self.peers.connect(key, id) {
            self.close_stream(now, evicted);
        }
    }

    fn hand_over_stream(&mut self, id: ConnectionId, owner: usize, first: &[u8], rest: &[u8]) {
        let Some(streams) = self.ports.streams() else { return };
        let Some(connection) = streams.remove(id) else { return };
        let _watched_no_more = streams.poller.remove(connection.stream());
        let (stream, pass) = connection.into_parts();
        let header = u16::try_from(first.len()).unwrap_or(0).to_be_bytes();
        let data = [&header, first, rest].concat();
        // Never to ourselves: a peer of ours that has just ended is still named for a moment.
        let mailbox = self.mailboxes.get(owner).filter(|_| owner != self.index);
        let sent = mailbox.is_some_and(|mailbox| mailbox.hand_over_stream(HandedStream { stream, pass, data }));
        let counter = if sent { &mut streams.counters.handed_over } else { &mut streams.counters.refused };
        *counter += 1;
    }

    /// Closes a connection. Its peer, if it had one, may have others or come back.
    pub(super) fn close_stream(&mut self, now: Instant, id: ConnectionId) {
        let connection = self.ports.streams().and_then(|streams| streams.remove(id));
        let Some(connection) = connection else { return };
        if let Some(key) = connection.owner {
            self.lose_path(now, key, id, connection.path());
        }
    }

    fn lose_path(&mut self, now: Instant, key: PeerKey, id: ConnectionId, path: Path) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.connections.retain(|other| *other != id);
        tracing::debug!(id = %peer.record.id, remote = %path.remote, "TCP connection ended");
        match guarded(|| peer.session.handle_lost(now, path)) {
            Some(()) => self.mark_dirty(key),
            None => self.end(now, key, End::Panicked),
        }
    }

    /// Once a second: ends what nobody claims and what does not move.
    pub(super) fn look_at_streams(&mut self, now: Instant) {
        let Some(streams) = self.ports.streams() else { return };
        streams.resume();
        for id in streams.ids() {
            let Some(streams) = self.ports.streams() else { return };
            let Some(connection) = streams.get_mut(id) else { continue };
            let (owner, path) = (connection.owner, connection.path());
            match connection.look(now) {
                None => {}
                Some(Fault::Unproven) => {
                    streams.counters.unproven += 1;
                    self.close_stream(now, id);
                }
                Some(Fault::Stuck) => {
                    streams.counters.stuck += 1;
                    let carries_media =
                        |key: &PeerKey| self.peers.get_mut(*key).is_some_and(|peer| peer.session.path() == Some(path));
                    match owner.filter(carries_media) {
                        Some(key) => self.end(now, key, End::Stuck),
                        None => self.close_stream(now, id),
                    }
                }
            }
        }
    }
}
