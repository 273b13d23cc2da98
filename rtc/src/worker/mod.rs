//! One thread: its sockets, its peers, its loop.
//!
//! A worker owns its peers for their whole life; nothing here is shared but the mailbox through
//! which others reach it. What can wake it, and nothing else: a datagram on a socket, a TCP connection
//! with something to read or room to write, a datagram or a connection from another worker, a peer or a source that is [ready](mailbox::Ready), the next deadline (a
//! peer's timer, a batch being gathered, a viewer catching up, the second's tick), the wish to stop.
//!
//! One turn: take datagrams, settle the peers they touched (publishers' packets enter the ring as
//! one batch), fire timers, look at what is ready, forward each source's new packets viewer by
//! viewer, flush. Per packet and viewer there is no lock, no allocation, no log line and no look-up.

mod batch;
mod catch_up;
mod chronicle;
mod connection;
mod foreign;
mod forward;
mod input;
mod layers;
mod load;
pub(crate) mod mailbox;
mod peers;
mod plan;
mod ports;
mod settle;
mod sources;
mod strangers;
mod streams;
mod timers;

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use weir_source::{Hub, Packet};

use self::{
    foreign::Foreign,
    load::Load,
    mailbox::{Inbox, Ready},
    peers::{PeerKey, Peers},
    plan::Plan,
    ports::Ports,
    settle::End,
    sources::Sources,
    strangers::{Heard, LOOKS_MAX},
    streams::Streams,
    timers::Timers,
};
use crate::{
    dtls::Identity,
    gate::Gate,
    live::CoalesceMax,
    lobby::Lobby,
    net::{Listener, Receiver, Socket, wait},
    session::SessionConfig,
    stats::Traffic,
};

pub(crate) use self::{
    mailbox::{Mailbox, PeerWake},
    peers::NAMES_MAX,
};

/// Figures are published and slow matters looked at this often.
const TICK: Duration = Duration::from_secs(1);
/// Batches of datagrams taken from one socket before others get their turn: 128 messages.
const BATCHES_PER_TURN: usize = 4;
/// Datagrams from other workers per turn.
const HANDED_OVER_PER_TURN: usize = 256;
/// Timers fired per turn. The rest fire in the next, which follows at once.
const TIMERS_PER_TURN: usize = 512;
/// Ready peers and sources looked at per turn.
const READY_PER_TURN: usize = 1_024;

/// What a worker is made of.
pub(crate) struct Parts {
    pub(crate) index: usize,
    pub(crate) sockets: Vec<Socket>,
    /// Empty: no ICE over TCP.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) inbox: Inbox,
    /// Those of all workers, in their order.
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) identity: Identity,
    pub(crate) session: Arc<SessionConfig>,
    /// The longest that packets wait for company.
    pub(crate) coalesce_max: CoalesceMax,
}

/// A worker, to be run on a thread of its own.
pub(crate) struct Worker {
    index: usize,
    inbox: Inbox,
    mailboxes: Vec<Arc<Mailbox>>,
    lobby: Arc<Lobby>,
    hub: Arc<Hub>,
    identity: Identity,
    session: Arc<SessionConfig>,
    ports: Ports,
    peers: Peers,
    sources: Sources,
    foreign: Foreign,
    /// Datagrams of strangers that may still be looked at in this second.
    looks_left: u32,
    timers: Timers,
    /// Peers that were touched and must be settled. Each at most once.
    dirty: Vec<PeerKey>,
    /// A publisher's packets on their way into the ring, or cached ones on theirs to a viewer.
    packets: Vec<Packet>,
    /// Viewers in whose turn the forwarding panicked.
    fallen: Vec<PeerKey>,
    /// Viewers to which the frame in hand leaves in parts. Empty between batches.
    paced: Vec<PeerKey>,
    plan: Plan,
    load: Load,
    traffic: Traffic,
    next_tick: Instant,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { index, sockets, listeners, gate, inbox, mailboxes, lobby, hub, identity, session, coalesce_max } = parts;
        let streams = if listeners.is_empty() { None } else { Some(Streams::new(listeners, gate)?) };
        let now = Instant::now();
        let peers = Peers::new(Arc::clone(&lobby), index);
        Ok(Self {
            index,
            inbox,
            mailboxes,
            lobby,
            hub,
            identity,
            session,
            ports: Ports::new(sockets, streams),
            peers,
            looks_left: LOOKS_MAX,
            sources: Sources::default(),
            foreign: Foreign::default(),
            timers: Timers::default(),
            dirty: Vec::new(),
            packets: Vec::new(),
            fallen: Vec::new(),
            paced: Vec::new(),
            plan: Plan::default(),
            load: Load::new(coalesce_max, now),
            traffic: Traffic::default(),
            next_tick: now + TICK,
        })
    }

    /// Runs until it is told to stop; then every peer is told goodbye.
    pub(crate) fn run(mut self) {
        let mut receiver = Receiver::new();
        while !self.inbox.mailbox.is_stopped() {
            let (began, before) = (Instant::now(), receiver.counters().messages);
            self.turn(&mut receiver, began);
            let ended = Instant::now();
            let received = receiver.counters().messages - before;
            self.load.note(began, ended, received);
            let pause = self.load.pause();
            if !pause.is_zero() {
                thread::sleep(pause);
                // Where something comes all the time it has come now: to ask first is one call more.
                if received > 0 {
                    continue;
                }
            }
            let timeout = self.next_deadline().saturating_duration_since(ended + pause);
            wait(self.ports.sockets(), self.ports.poller(), self.inbox.mailbox.waker(), Some(timeout));
        }
        let now = Instant::now();
        for key in self.peers.keys() {
            self.end(now, key, End::Stopped);
        }
        self.ports.flush();
        self.publish_traffic(&receiver);
    }

    fn turn(&mut self, receiver: &mut Receiver, now: Instant) {
        self.traffic.turns += 1;
        self.handle_sockets(receiver, now);
        self.handle_streams(now);
        self.handle_inbox(now);
        self.handle_timers(now);
        self.settle_dirty(now);
        self.handle_ready(now);
        self.handle_sources(now);
        self.settle_dirty(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.handle_tick(now);
            self.publish_traffic(receiver);
        }
        self.ports.flush();
    }

    fn next_deadline(&self) -> Instant {
        let deadlines = [Some(self.next_tick), self.timers.next(), self.sources.next_deadline()];
        deadlines.into_iter().flatten().min().unwrap_or(self.next_tick)
    }

    fn handle_sockets(&mut self, receiver: &mut Receiver, now: Instant) {
        for port in 0..self.ports.len() {
            for _ in 0..BATCHES_PER_TURN {
                let more = self.ports.recv(port, receiver);
                for datagram in receiver.datagrams() {
                    self.handle_datagram(now, datagram.remote, datagram.local, datagram.data, Heard::Here);
                }
                // Publishers' packets must not pile up in their sessions over several batches.
                self.settle_dirty(now);
                if !more {
                    break;
                }
            }
        }
    }

    fn handle_inbox(&mut self, now: Instant) {
        self.handle_handed_streams(now);
        for _ in 0..HANDED_OVER_PER_TURN {
            let Ok(mut datagram) = self.inbox.datagrams.try_recv() else { return };
            self.handle_datagram(now, datagram.remote, datagram.local, &mut datagram.data, Heard::Elsewhere);
        }
        // There may be more, and nobody will say so.
        self.inbox.mailbox.waker().wake();
    }

    fn handle_timers(&mut self, now: Instant) {
        for _ in 0..TIMERS_PER_TURN {
            let Some((at, key)) = self.timers.pop_due(now) else { return };
            self.fire_timer(now, at, key);
        }
    }

    fn handle_ready(&mut self, now: Instant) {
        if self.inbox.mailbox.take_overflow() {
            self.sources.mark_all();
            for key in self.peers.keys() {
                self.look_at_peer(now, key);
            }
        }
        for _ in 0..READY_PER_TURN {
            match self.inbox.ready.try_recv() {
                Ok(Ready::Peer(key)) => self.look_at_peer(now, key),
                Ok(Ready::Source(key)) => self.sources.mark(key),
                Err(_) => return,
            }
        }
        self.inbox.mailbox.waker().wake();
    }

    fn mark_dirty(&mut self, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(key)
            && !peer.dirty
        {
            peer.dirty = true;
            self.dirty.push(key);
        }
    }

    fn settle_dirty(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.settle(now, key);
        }
        // Settling marks nobody, so the list that was taken is the only one.
        self.dirty = dirty;
    }

    fn publish_traffic(&mut self, receiver: &Receiver) {
        self.traffic.recv = receiver.counters();
        self.traffic.send = self.ports.counters();
        if let Some(streams) = self.ports.streams() {
            self.traffic.tcp = streams.counters();
        }
        self.traffic.load_permille = (self.load.share() * 1_000.0) as u32;
        let drops = self.ports.kernel_drops();
        let fresh = drops.saturating_sub(self.traffic.kernel_drops);
        if fresh > 0 {
            tracing::warn!(
                worker = self.index,
                "the kernel dropped {fresh} datagrams in the last second, its receive buffer was \
                full: raise it (rtc_server, `sysctl -w net.core.rmem_max=…`) or give the server more cores"
            );
        }
        self.traffic.kernel_drops = drops;
        self.inbox.mailbox.publish(self.traffic);
    }
}

/// Runs a session's code. `None`: it panicked, and the peer must end; nothing else of the worker
/// was touched by it.
fn guarded<T>(turn: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(turn)).ok()
}
