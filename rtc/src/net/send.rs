//! Batches out: packets are written into one arena, consecutive ones to the same peer become one
//! message that the kernel cuts up (UDP_SEGMENT), and sendmmsg takes many of these at once.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ptr,
};

use super::{
    DATAGRAM_MAX, Socket, addr,
    control::{self, Control},
    recv::last_error,
};

/// Bytes written before they must be flushed: 200 packets, so that what was just sealed is still in
/// the second-level cache when the kernel copies it.
const ARENA_BYTES: usize = 256 * 1_024;
/// Messages gathered before they must be flushed; an arena of short audio packets holds about so
/// many.
const MESSAGES_MAX: usize = 1_024;
/// Messages per system call; more gain nothing (measured: 16 to 64 are all the same).
const BATCH: usize = 64;
/// Segments of one message (UDP_MAX_SEGMENTS of older kernels; newer take 128).
const SEGMENTS_MAX: u32 = 64;
/// The longest payload of one UDP message over IPv4, segmented or not.
const MESSAGE_BYTES_MAX: usize = 65_507;
/// After so many refusals without one success segmentation is held to be unavailable …
const REFUSALS_MAX: u32 = 8;
/// … for so many messages, then it is tried again: routes change.
const PAUSE_MESSAGES: u32 = 100_000;

/// Where a packet goes, and which of our addresses it leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The peer.
    pub remote: SocketAddr,
    /// Ours; an unspecified one leaves the choice to the kernel.
    pub local: IpAddr,
}

/// Counters of a [`Sender`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendCounters {
    /// System calls.
    pub calls: u64,
    /// Messages that the kernel took, each one or more datagrams.
    pub messages: u64,
    /// Datagrams that the kernel took. Divided by `messages`: segments per send.
    pub datagrams: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Datagrams dropped because the send buffer was full (EAGAIN, ENOBUFS).
    pub full: u64,
    /// Datagrams dropped for another reason: no route, refused by a filter, too long.
    pub refused: u64,
    /// Messages that the kernel would not cut up and that were sent as single datagrams.
    pub unsegmented: u64,
}

impl SendCounters {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.messages = self.messages.saturating_add(other.messages);
        self.datagrams = self.datagrams.saturating_add(other.datagrams);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.full = self.full.saturating_add(other.full);
        self.refused = self.refused.saturating_add(other.refused);
        self.unsegmented = self.unsegmented.saturating_add(other.unsegmented);
    }
}

/// The arena and the messages in it. One per socket.
pub struct Sender {
    arena: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    scratch: Vec<Message>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    refusals: u32,
    pause: u32,
    counters: SendCounters,
}

/// A run of the arena for one target: segments of `segment` bytes, the last may be shorter.
#[derive(Clone, Copy, Debug)]
struct Message {
    target: Target,
    start: usize,
    len: usize,
    segment: usize,
    segments: u32,
}

impl Message {
    /// Whether a datagram of `len` bytes can ride on it.
    fn takes(&self, target: Target, len: usize) -> bool {
        let whole = self.len == self.segment.saturating_mul(self.segments as usize);
        let fits = self.segments < SEGMENTS_MAX && self.len + len <= MESSAGE_BYTES_MAX;
        self.target == target && whole && fits && len <= self.segment
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl Sender {
    /// An empty arena.
    pub fn new() -> Self {
        Self {
            arena: vec![0; ARENA_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(MESSAGES_MAX),
            scratch: Vec::with_capacity(SEGMENTS_MAX as usize),
            names: Box::new([addr::empty(); BATCH]),
            controls: Box::new([Control::EMPTY; BATCH]),
            refusals: 0,
            pause: 0,
            counters: SendCounters::default(),
        }
    }

    /// The counters so far.
    pub const fn counters(&self) -> SendCounters {
        self.counters
    }

    /// Nothing is waiting to be flushed.
    pub const fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Room for the next datagram, or `None` when the arena must be flushed first. What is written
    /// there counts once [`Sender::commit`] is called.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        if self.messages.len() >= MESSAGES_MAX {
            return None;
        }
        self.arena.get_mut(self.used..self.used.checked_add(DATAGRAM_MAX)?)
    }

    /// Queues the `len` bytes just written into [`Sender::room`]. Order is kept per target.
    pub fn commit(&mut self, target: Target, len: usize) {
        let len = len.min(DATAGRAM_MAX);
        if len == 0 {
            return;
        }
        let start = self.used;
        self.used += len;
        match self.messages.last_mut() {
            Some(last) if last.takes(target, len) => {
                last.len += len;
                last.segments += 1;
            }
            _ => self.messages.push(Message { target, start, len, segment: len, segments: 1 }),
        }
    }

    /// Queues a copy of `data`, flushing first if there is no room. Datagrams longer than
    /// [`DATAGRAM_MAX`] are dropped and counted.
    pub fn push(&mut self, socket: &Socket, target: Target, data: &[u8]) {
        if data.len() > DATAGRAM_MAX {
            self.counters.refused += 1;
            return;
        }
        if self.room().is_none() {
            self.flush(socket);
        }
        if let Some(room) = self.room().and_then(|room| room.get_mut(..data.len())) {
            room.copy_from_slice(data);
            self.commit(target, data.len());
        }
    }

    /// Sends everything queued. What the kernel does not take is dropped and counted; it never
    /// waits.
    pub fn flush(&mut self, socket: &Socket) {
        let messages = mem::take(&mut self.messages);
        self.send_all(socket, &messages);
        self.messages = messages;
        self.messages.clear();
        self.used = 0;
    }

    /// `false`: the send buffer is full, so that the rest was dropped.
    fn send_all(&mut self, socket: &Socket, messages: &[Message]) -> bool {
        let mut next = 0;
        while let Some(rest) = messages.get(next..).filter(|rest| !rest.is_empty()) {
            let batch = rest.get(..BATCH).unwrap_or(rest);
            match self.send_batch(socket, batch) {
                Ok(sent) => next += sent.max(1),
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN) => {
                    self.counters.full += datagrams(rest);
                    return false;
                }
                Err(error) => {
                    // The first message of the batch is at fault.
                    if let Some(first) = rest.first()
                        && !self.handle_refusal(socket, first, error)
                    {
                        self.counters.full += datagrams(rest.get(1..).unwrap_or_default());
                        return false;
                    }
                    next += 1;
                }
            }
        }
        true
    }

    /// One sendmmsg. Returns how many messages went, or why the first one did not.
    fn send_batch(&mut self, socket: &Socket, batch: &[Message]) -> Result<usize, i32> {
        // SAFETY: iovec and mmsghdr are plain integers and pointers, null is fine for both.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let mut filled = 0;
        let places = self.names.iter_mut().zip(self.controls.iter_mut()).zip(iovecs.iter_mut().zip(headers.iter_mut()));
        for (message, ((name, control), (iovec, header))) in batch.iter().zip(places) {
            if message.segments > 1 && self.pause > 0 {
                // While segmentation is paused the batch ends here; `flush` sends this one singly.
                break;
            }
            let data = self.arena.get(message.start..message.start + message.len).unwrap_or_default();
            iovec.iov_base = data.as_ptr().cast_mut().cast();
            iovec.iov_len = data.len();
            let segment = if message.segments > 1 { u16::try_from(message.segment).ok() } else { None };
            header.msg_hdr.msg_namelen = addr::encode(message.target.remote, name);
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_controllen = control::write(control, source(socket, message.target), segment) as _;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            filled += 1;
        }
        if filled == 0 {
            return Err(libc::EIO);
        }
        self.counters.calls += 1;
        // SAFETY: the first `filled` headers point to names, controls, iovecs and arena bytes that
        // all outlive the call.
        let sent = unsafe { libc::sendmmsg(socket.raw(), headers.as_mut_ptr(), filled, libc::MSG_DONTWAIT as _) };
        let Ok(sent) = usize::try_from(sent) else { return Err(last_error()) };
        for message in batch.iter().take(sent) {
            if message.segments > 1 {
                self.refusals = 0;
            }
            self.count_sent(message);
        }
        Ok(sent)
    }

    /// A message that the kernel refused: one that was to be cut up goes out in single datagrams
    /// (EIO: the card cannot checksum; EINVAL, EMSGSIZE: a segment exceeds the path's MTU), any
    /// other is lost. `false` as in `send_all`.
    fn handle_refusal(&mut self, socket: &Socket, message: &Message, error: i32) -> bool {
        let uncut = message.segments > 1 && matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE);
        if !uncut {
            let counter = if error == libc::ENOBUFS { &mut self.counters.full } else { &mut self.counters.refused };
            *counter += u64::from(message.segments);
            return true;
        }
        self.counters.unsegmented += 1;
        if self.pause > 0 {
            self.pause -= 1;
        } else {
            self.refusals += 1;
            if self.refusals >= REFUSALS_MAX {
                self.refusals = 0;
                self.pause = PAUSE_MESSAGES;
            }
        }
        let mut scratch = mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend(singles(message));
        let more = self.send_all(socket, &scratch);
        self.scratch = scratch;
        more
    }

    fn count_sent(&mut self, message: &Message) {
        self.counters.messages += 1;
        self.counters.datagrams += u64::from(message.segments);
        self.counters.bytes += message.len as u64;
    }
}

/// The address to ask for. A socket that is bound to it sends from there anyway: saying so costs the
/// kernel a twentieth of a message.
fn source(socket: &Socket, target: Target) -> IpAddr {
    if socket.local_addr().ip() != target.local {
        return target.local;
    }
    match target.local {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The message's segments as messages of their own.
fn singles(message: &Message) -> impl Iterator<Item = Message> {
    let (start, end, target) = (message.start, message.start + message.len, message.target);
    (start..end).step_by(message.segment.max(1)).zip(0..SEGMENTS_MAX).map(move |(at, _)| {
        let len = (end - at).min(message.segment);
        Message { target, start: at, len, segment: len, segments: 1 }
    })
}

fn datagrams(messages: &[Message]) -> u64 {
    messages.iter().map(|message| u64::from(message.segments)).sum()
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("counters", &self.counters).finish_non_exhaustive()
    }
}
