//! How other threads reach a worker: bounded inboxes of datagrams and of connections, a list of what is ready, a wish
//! to stop. All of it wakes the one waker.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::Mutex;
use weir_source::Wake;

use super::{peers::PeerKey, sources::SourceKey};
use crate::{
    gate::Pass,
    net::{Stream, Waker},
    stats::Traffic,
};

/// Datagrams from other workers that wait to be taken: 1.5 MiB at the most, a tenth of a second of
/// one 100 Mb/s publisher whose packets the kernel gives to the wrong thread.
const INBOX: usize = 1_024;

/// Connections from other workers that wait to be taken: with more, the clients connect again.
const STREAMS: usize = 64;

/// A datagram that another worker received.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) remote: SocketAddr,
    pub(crate) local: IpAddr,
    pub(crate) data: Box<[u8]>,
}

/// A TCP connection that another worker accepted, and what it brought so far.
pub(crate) struct HandedStream {
    pub(crate) stream: Stream,
    pub(crate) pass: Pass,
    pub(crate) data: Vec<u8>,
}

/// What has something to look at. Each peer and each source is on the list at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A publisher is wished a keyframe or was replaced; a client was kicked or deleted.
    Peer(PeerKey),
    /// A source has new packets or new tracks, or its publisher came or went.
    Source(SourceKey),
}

/// The senders' side, shared.
pub(crate) struct Mailbox {
    waker: Waker,
    inbox: Sender<HandedOver>,
    streams: Sender<HandedStream>,
    ready: Sender<Ready>,
    /// The list of what is ready has overflowed: look at everything.
    overflow: AtomicBool,
    stop: AtomicBool,
    published: Mutex<Traffic>,
}

/// The worker's side.
pub(crate) struct Inbox {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) datagrams: Receiver<HandedOver>,
    pub(crate) streams: Receiver<HandedStream>,
    pub(crate) ready: Receiver<Ready>,
}

impl Mailbox {
    /// For a worker that may own up to `sessions` peers.
    pub(crate) fn new(sessions: usize) -> io::Result<(Arc<Self>, Inbox)> {
        let (inbox, datagrams) = bounded(INBOX);
        let (streams, streams_in) = bounded(STREAMS);
        // A peer and a source for each session; what overflows costs one look at everything.
        let (ready, ready_list) = bounded(sessions.saturating_mul(2).clamp(64, 65_536));
        let mailbox = Arc::new(Self {
            waker: Waker::new()?,
            inbox,
            streams,
            ready,
            overflow: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            published: Mutex::default(),
        });
        Ok((Arc::clone(&mailbox), Inbox { mailbox, datagrams, streams: streams_in, ready: ready_list }))
    }

    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// `false`: the inbox is full and the datagram lost.
    pub(crate) fn hand_over(&self, datagram: HandedOver) -> bool {
        let sent = self.inbox.try_send(datagram).is_ok();
        self.waker.wake();
        sent
    }

    /// `false`: too many wait already, and the connection is closed.
    pub(crate) fn hand_over_stream(&self, stream: HandedStream) -> bool {
        let sent = self.streams.try_send(stream).is_ok();
        self.waker.wake();
        sent
    }

    pub(crate) fn ready(&self, what: Ready) {
        if let Err(TrySendError::Full(_)) = self.ready.try_send(what) {
            self.overflow.store(true, Ordering::Release);
        }
        self.waker.wake();
    }

    pub(crate) fn take_overflow(&self) -> bool {
        self.overflow.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn publish(&self, traffic: Traffic) {
        *self.published.lock() = traffic;
    }

    pub(crate) fn published(&self) -> Traffic {
        *self.published.lock()
    }
}

/// Where a peer lives for the rest of its life.
pub(crate) struct Home {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) key: PeerKey,
}

/// Wakes the worker that owns a peer, once there is one. Calls coalesce until it has looked.
#[derive(Default)]
pub(crate) struct PeerWake {
    home: OnceLock<Home>,
    flagged: AtomicBool,
}

impl PeerWake {
    /// The peer is owned from now on. Whoever called before was not heard: look once.
    pub(crate) fn settle_in(&self, home: Home) {
        let _second = self.home.set(home);
        self.wake();
    }

    /// The worker looks now; the next call counts again.
    pub(crate) fn clear(&self) {
        self.flagged.store(false, Ordering::Release);
    }
}

impl Wake for PeerWake {
    fn wake(&self) {
        if let Some(home) = self.home.get()
            && !self.flagged.swap(true, Ordering::AcqRel)
        {
            home.mailbox.ready(Ready::Peer(home.key));
        }
    }
}

/// Wakes the worker that reads a source. Calls coalesce until it has looked.
pub(crate) struct SourceWake {
    mailbox: Arc<Mailbox>,
    key: SourceKey,
    flagged: AtomicBool,
}

impl SourceWake {
    pub(crate) fn new(mailbox: Arc<Mailbox>, key: SourceKey) -> Arc<Self> {
        Arc::new(Self { mailbox, key, flagged: AtomicBool::new(false) })
    }

    /// As [`PeerWake::clear`].
    pub(crate) fn clear(&self) {
        self.flagged.store(false, Ordering::Release);
    }
}

impl Wake for SourceWake {
    fn wake(&self) {
        if !self.flagged.swap(true, Ordering::AcqRel) {
            self.mailbox.ready(Ready::Source(self.key));
        }
    }
}
