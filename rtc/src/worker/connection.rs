//! One TCP connection: what it brings is cut into datagrams, what goes out is framed and gathered
//! (RFC 4571). It never blocks; what does not fit is dropped whole and counted.

use std::{
    io,
    time::{Duration, Instant},
};

use super::peers::PeerKey;
use crate::{
    gate::Pass,
    ice::{ConnectionId, Path},
    net::{DATAGRAM_MAX, Poller, Stream},
    stats::StreamCounters,
    wire::framing::{self, Deframer, HEADER_LEN},
};

/// Framed bytes of media that wait for the kernel to have room: two seconds of 2 Mb/s. A keyframe
/// fits many times; what a viewer is further behind would come too late to be of use.
const OUTBOX_MEDIA: usize = 512 * 1_024;
/// With more than that waiting the connection counts as full, and its viewer's pictures stay in the
/// ring: most of a second of 1 Mb/s.
const OUTBOX_FULL: usize = 96 * 1_024;
/// What is not media (checks, DTLS, reports) may fill this much more: a viewer who is slow is not
/// thereby silent.
const OUTBOX_MAX: usize = OUTBOX_MEDIA + 32 * 1_024;
/// What an empty outbox keeps of its memory from one second to the next.
const OUTBOX_IDLE: usize = 4 * 1_024;
/// How long a connection may take to say whose it is: a browser's first check follows the handshake
/// at once.
const PROOF_WAIT: Duration = Duration::from_secs(5);
/// Looks, a second apart, at which the kernel had taken nothing since the one before while something
/// waited; then nobody is there, or nobody who can follow.
const STALLS_MAX: u32 = 5;

/// A connection and all that belongs to it.
pub(super) struct Connection {
    stream: Stream,
    path: Path,
    _pass: Pass,
    /// Its peer, once it has proven to be the peer's.
    pub(super) owner: Option<PeerKey>,
    pub(super) deframer: Deframer,
    since: Instant,
    /// Framed datagrams; those before `sent` are gone.
    outbox: Vec<u8>,
    sent: usize,
    /// The poller tells when there is room.
    waits_for_room: bool,
    /// The kernel has taken something since the last look.
    progress: bool,
    stalls: u32,
    /// On the list of those to be flushed.
    pub(super) dirty: bool,
    broken: bool,
    counters: StreamCounters,
}

/// What is wrong with a connection, seen once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody proved that it is a peer's.
    Unproven,
    /// The other end takes nothing any more.
    Stuck,
}

impl Connection {
    pub(super) fn new(stream: Stream, pass: Pass, id: ConnectionId, now: Instant) -> Self {
        let path = Path { remote: stream.remote(), local: stream.local(), connection: Some(id) };
        Self {
            stream,
            path,
            _pass: pass,
            owner: None,
            deframer: Deframer::default(),
            since: now,
            outbox: Vec::new(),
            sent: 0,
            waits_for_room: false,
            progress: false,
            stalls: 0,
            dirty: false,
            broken: false,
            counters: StreamCounters::default(),
        }
    }

    pub(super) const fn path(&self) -> Path {
        self.path
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Parts it into what another worker can take over.
    pub(super) fn into_parts(self) -> (Stream, Pass) {
        (self.stream, self._pass)
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let read = self.stream.read(buffer);
        if let Ok(Some(count)) = &read {
            self.counters.bytes_in += *count as u64;
        }
        read
    }

    /// Pictures need not wait.
    pub(super) fn has_room(&self) -> bool {
        self.waiting() < OUTBOX_FULL
    }

    /// Queues what `write` writes, if it writes anything: media. Its length.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        if self.waiting() + HEADER_LEN + DATAGRAM_MAX > OUTBOX_MEDIA {
            self.counters.dropped += 1;
            return None;
        }
        self.frame(write)
    }

    /// Queues a copy of `data`, which is not media.
    pub(super) fn push(&mut self, data: &[u8]) {
        let fits = data.len() <= DATAGRAM_MAX && self.waiting() + HEADER_LEN + data.len() <= OUTBOX_MAX;
        let copy = |room: &mut [u8]| {
            room.get_mut(..data.len())?.copy_from_slice(data);
            Some(data.len())
        };
        let queued = if fits { self.frame(copy) } else { None };
        self.counters.dropped += u64::from(queued.is_none());
    }

    fn frame(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        if self.broken {
            return None;
        }
        self.compact();
        let start = self.outbox.len();
        self.outbox.resize(start + HEADER_LEN + DATAGRAM_MAX, 0);
        let len = self.outbox.get_mut(start + HEADER_LEN..).and_then(write).filter(|len| (1..=DATAGRAM_MAX).contains(len));
        let header = len.and_then(framing::header);
        let (Some(len), Some(header)) = (len, header) else {
            self.outbox.truncate(start);
            return None;
        };
        if let Some(place) = self.outbox.get_mut(start..start + HEADER_LEN) {
            place.copy_from_slice(&header);
        }
        self.outbox.truncate(start + HEADER_LEN + len);
        self.counters.frames_out += 1;
        Some(len)
    }

    /// Gives what waits to the kernel: many datagrams in one call.
    pub(super) fn flush(&mut self, poller: &Poller) {
        self.dirty = false;
        while self.waiting() > 0 && !self.broken {
            match self.stream.write(self.outbox.get(self.sent..).unwrap_or_default()) {
                Ok(Some(count)) => {
                    self.sent += count;
                    self.progress = true;
                    self.counters.bytes_out += count as u64;
                    self.counters.writes += 1;
                }
                Ok(None) => break,
                // The poller says so as well; it is closed then.
                Err(_) => self.broken = true,
            }
        }
        if self.waiting() == 0 || self.broken {
            self.outbox.clear();
            self.sent = 0;
        }
        let wants_room = !self.outbox.is_empty();
        if wants_room != self.waits_for_room && poller.want_room(&self.stream, token(self.path), wants_room).is_ok() {
            self.waits_for_room = wants_room;
        }
    }

    /// Once a second.
    pub(super) fn look(&mut self, now: Instant) -> Option<Fault> {
        if self.outbox.is_empty() {
            self.outbox.shrink_to(OUTBOX_IDLE);
        }
        let stalled = !self.outbox.is_empty() && !self.progress;
        self.stalls = if stalled { self.stalls + 1 } else { 0 };
        self.progress = false;
        if self.owner.is_none() && now.saturating_duration_since(self.since) >= PROOF_WAIT {
            return Some(Fault::Unproven);
        }
        (self.stalls >= STALLS_MAX).then_some(Fault::Stuck)
    }

    /// What it counted since the last call.
    pub(super) fn take_counters(&mut self) -> StreamCounters {
        std::mem::take(&mut self.counters)
    }

    fn waiting(&self) -> usize {
        self.outbox.len().saturating_sub(self.sent)
    }

    /// What was sent makes room once it is half of all, so that each byte is moved once at the most.
    fn compact(&mut self) {
        if self.sent > 0 && self.sent >= self.outbox.len() / 2 {
            self.outbox.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// The name under which the poller knows a connection.
pub(super) fn token(path: Path) -> u64 {
    path.connection.map_or(u64::MAX, |id| id.0)
}
