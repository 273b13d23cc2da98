//! Batches in: recvmmsg into a slab that is kept, coalesced datagrams split again.

use std::{
    io, mem,
    net::{IpAddr, SocketAddr},
    ptr,
};

use super::{
    DATAGRAM_MAX, Socket, addr,
    control::{self, Control},
};

/// Messages per system call: with more, the slab falls out of the second-level cache and nothing is
/// gained.
const BATCH: usize = 32;
/// Room for one message: coalesced datagrams come as one of up to 64 KiB. The odd rest keeps the
/// slots from falling into the same sets of the cache. The slab is 2.1 MiB of address space per
/// socket, of which only the pages that were ever written become memory: 32 pages for a server that
/// hears single datagrams.
const SLOT: usize = 65_536 + 1_088;

/// One datagram, to be changed in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub remote: SocketAddr,
    /// Which of our addresses it was sent to.
    pub local: IpAddr,
    /// Its bytes, 1 to [`DATAGRAM_MAX`].
    pub data: &'a mut [u8],
}

/// Counters of a [`Receiver`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvCounters {
    /// System calls that brought something.
    pub calls: u64,
    /// Messages, each one or more datagrams.
    pub messages: u64,
    /// Datagrams handed out.
    pub datagrams: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Datagrams dropped because they were longer than [`DATAGRAM_MAX`] or empty.
    pub bad_size: u64,
}

impl RecvCounters {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.messages = self.messages.saturating_add(other.messages);
        self.datagrams = self.datagrams.saturating_add(other.datagrams);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.bad_size = self.bad_size.saturating_add(other.bad_size);
    }
}

/// The slab and what is in it. One per worker, for all its sockets.
pub struct Receiver {
    slab: Box<[u8]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    controls: Box<[Control; BATCH]>,
    found: Vec<Message>,
    drops: Option<u32>,
    counters: RecvCounters,
}

/// One filled slot.
#[derive(Clone, Copy)]
struct Message {
    remote: SocketAddr,
    local: IpAddr,
    len: usize,
    segment: usize,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// An empty slab.
    pub fn new() -> Self {
        Self {
            slab: vec![0; BATCH * SLOT].into_boxed_slice(),
            names: Box::new([addr::empty(); BATCH]),
            controls: Box::new([Control::EMPTY; BATCH]),
            found: Vec::with_capacity(BATCH),
            drops: None,
            counters: RecvCounters::default(),
        }
    }

    /// The counters so far.
    pub const fn counters(&self) -> RecvCounters {
        self.counters
    }

    /// What the last batch said of drops: datagrams that its socket had dropped since it was opened
    /// when the batch's last datagram was queued; wraps at 2^32. `None`: none, or nothing was said.
    pub const fn drops(&self) -> Option<u32> {
        self.drops
    }

    /// Takes one batch from `socket` without waiting, forgetting the one before. `false`: the
    /// socket has no more for now.
    pub fn recv(&mut self, socket: &Socket) -> bool {
        self.found.clear();
        self.drops = None;
        // SAFETY: iovec and mmsghdr are plain integers and pointers, null is fine for both.
        let mut iovecs: [libc::iovec; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        let slots = self.slab.chunks_exact_mut(SLOT);
        let targets = slots.zip(self.names.iter_mut()).zip(self.controls.iter_mut());
        for (((slot, name), control), (iovec, header)) in targets.zip(iovecs.iter_mut().zip(headers.iter_mut())) {
            iovec.iov_base = slot.as_mut_ptr().cast();
            // A whole slot is 1,088 bytes more than any message, so none is ever cut short.
            iovec.iov_len = slot.len();
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len() as _;
        }
        // SAFETY: each header points to its own slot, name and control buffer, all of which outlive
        // the call; the timeout is null.
        let count = unsafe {
            libc::recvmmsg(socket.raw(), headers.as_mut_ptr(), BATCH as libc::c_uint, libc::MSG_DONTWAIT as _, ptr::null_mut())
        };
        let Ok(count) = usize::try_from(count) else {
            // EAGAIN: nothing there. EINTR and what the network reports late (ICMP errors): the
            // next wait brings us back.
            return false;
        };
        self.counters.calls += 1;
        for (index, header) in headers.iter().take(count).enumerate() {
            self.note(index, header, socket.local_addr().ip());
        }
        count == BATCH
    }

    fn note(&mut self, index: usize, header: &libc::mmsghdr, bound: IpAddr) {
        self.counters.messages += 1;
        // SAFETY: the kernel has filled the control buffer and set its length.
        let received = unsafe { control::read(&header.msg_hdr) };
        self.drops = received.drops.or(self.drops);
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let remote = self.names.get(index).and_then(addr::decode).unwrap_or(unknown);
        // A message without an address takes its slot all the same, empty: slots count in step.
        let len = if remote.port() == 0 { 0 } else { (header.msg_len as usize).min(SLOT) };
        let segment = received.segment.unwrap_or(len).max(1);
        self.found.push(Message { remote, local: received.local.unwrap_or(bound), len, segment });
    }

    /// The datagrams of the last batch, in the order in which they came.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let counters = &mut self.counters;
        let slots = self.slab.chunks_exact_mut(SLOT);
        let split = slots.zip(&self.found).flat_map(|(slot, message)| {
            let filled = slot.get_mut(..message.len).unwrap_or_default();
            filled.chunks_mut(message.segment).map(|data| Datagram { remote: message.remote, local: message.local, data })
        });
        split.filter(|datagram| {
            let fits = datagram.data.len() <= DATAGRAM_MAX;
            if fits {
                counters.datagrams += 1;
                counters.bytes += datagram.data.len() as u64;
            } else {
                counters.bad_size += 1;
            }
            fits
        })
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("counters", &self.counters).finish_non_exhaustive()
    }
}

/// The error of the last system call of this thread.
pub(super) fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}
