//! One UDP socket with everything asked of the kernel that the batches need.

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, RawFd},
};

use socket2::{Domain, Protocol, SockAddr, Type};

/// How a socket is opened.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Several sockets share the address; the kernel spreads the senders over them (SO_REUSEPORT).
    pub reuse_port: bool,
    /// Bytes of receive buffer to ask for. The kernel charges about twice a datagram's length.
    pub recv_buffer: usize,
    /// Bytes of send buffer to ask for.
    pub send_buffer: usize,
}

/// Buffer sizes in bytes as the kernel granted them, in the measure in which they were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Of receiving.
    pub recv: usize,
    /// Of sending.
    pub send: usize,
}

/// A bound, non-blocking UDP socket that reports the local address of each datagram and lets the
/// kernel coalesce datagrams where it can.
#[derive(Debug)]
pub struct Socket {
    inner: socket2::Socket,
    local: SocketAddr,
    granted: Granted,
    coalesces: bool,
}

/// Whether nobody holds `addr` yet. A shared bind would succeed next to another server's and split
/// its clients between the two, so this is asked before the first one.
pub fn is_free(addr: SocketAddr) -> io::Result<()> {
    let socket = new_socket(addr)?;
    socket.bind(&SockAddr::from(addr))
}

impl Socket {
    /// Opens and binds. Port 0 lets the kernel choose. An IPv6 socket takes IPv6 only: IPv4 has
    /// its own.
    pub fn bind(addr: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let inner = new_socket(addr)?;
        inner.set_nonblocking(true)?;
        if options.reuse_port {
            inner.set_reuse_port(true)?;
        }
        let granted = Granted { recv: ask_recv(&inner, options.recv_buffer)?, send: ask_send(&inner, options.send_buffer)? };
        match addr {
            SocketAddr::V4(_) => set_int(&inner, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
            SocketAddr::V6(_) => set_int(&inner, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
        }
        // With each datagram the count of drops before it; `kernel_drops` is there without.
        let _counts = set_int(&inner, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        // Before Linux 5.0 there is none; then each datagram comes by itself.
        let coalesces = set_int(&inner, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        inner.bind(&SockAddr::from(addr))?;
        let local = inner.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(Self { inner, local, granted, coalesces })
    }

    /// Where it is bound, with the port that the kernel chose.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The buffers it got.
    pub const fn granted(&self) -> Granted {
        self.granted
    }

    /// The kernel coalesces datagrams for it (UDP_GRO).
    pub const fn coalesces(&self) -> bool {
        self.coalesces
    }

    /// Datagrams that the kernel dropped since the socket was opened because its receive buffer was
    /// full; wraps at 2^32. SO_MEMINFO is exact at any time, whereas the counter of SO_RXQ_OVFL
    /// ([`Receiver::drops`](super::Receiver::drops)) rides on the next datagram to be queued after a
    /// drop. Both show one counter of the kernel: [`DropCount`] takes whichever is ahead.
    pub fn kernel_drops(&self) -> Option<u32> {
        let mut info = [0u32; libc::SK_MEMINFO_DROPS as usize + 1];
        let mut len = mem::size_of_val(&info) as libc::socklen_t;
        // SAFETY: `info` is `len` writable bytes; the kernel writes no more and says how many.
        let done =
            unsafe { libc::getsockopt(self.raw(), libc::SOL_SOCKET, libc::SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut len) };
        (done == 0 && len as usize == mem::size_of_val(&info)).then(|| info[libc::SK_MEMINFO_DROPS as usize])
    }

    pub(super) fn raw(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Sends without checksums, which makes the kernel refuse UDP_SEGMENT with EIO as a card
    /// without checksum offload does.
    #[cfg(test)]
    pub(super) fn refuse_segmentation(&self) {
        set_int(&self.inner, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).expect("SO_NO_CHECK is always allowed");
    }
}

/// The drops of one socket, from two accounts of the same counter. Each has gaps: the one that rides
/// on datagrams says nothing while none comes, the one that is asked for is not there before Linux
/// 4.12 or where a sandbox refuses it. The larger counts, so nothing counts twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct DropCount {
    last: u32,
    total: u64,
}

impl DropCount {
    /// Takes what the kernel says now; it wraps at 2^32, and may be behind what the other account
    /// said before.
    pub fn note(&mut self, counter: u32) {
        let fresh = counter.wrapping_sub(self.last);
        if let Ok(fresh) = u32::try_from(fresh.cast_signed()) {
            self.total += u64::from(fresh);
            self.last = counter;
        }
    }

    /// Datagrams dropped so far.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}

fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Past the administrator's limit if we may (CAP_NET_ADMIN), else up to it. The kernel doubles what
/// is asked and reports the double.
fn ask_recv(socket: &socket2::Socket, bytes: usize) -> io::Result<usize> {
    let forced = set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, clamp(bytes));
    if forced.is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket.recv_buffer_size()? / 2)
}

fn ask_send(socket: &socket2::Socket, bytes: usize) -> io::Result<usize> {
    let forced = set_int(socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, clamp(bytes));
    if forced.is_err() {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(socket.send_buffer_size()? / 2)
}

/// Doubled, it must still be a positive `int`.
fn clamp(bytes: usize) -> libc::c_int {
    libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX).min(libc::c_int::MAX / 2)
}

fn set_int(socket: &socket2::Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is one int, alive for the call.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            mem::size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(reuse_port: bool) -> SocketOptions {
        SocketOptions { reuse_port, recv_buffer: 100_000, send_buffer: 100_000 }
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn workers_share_a_port_that_a_second_server_finds_taken() {
        let first = Socket::bind(loopback(), &options(true)).expect("a free port");
        let second = Socket::bind(first.local_addr(), &options(true)).expect("shared");
        assert_eq!(first.local_addr(), second.local_addr());
        assert_eq!(is_free(first.local_addr()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        is_free(loopback()).expect("any port");
    }

    #[test]
    fn buffers_are_read_back() {
        let socket = Socket::bind(loopback(), &options(false)).expect("a free port");
        assert_eq!(socket.granted(), Granted { recv: 100_000, send: 100_000 });
        assert_eq!(socket.kernel_drops(), Some(0));
    }

    #[test]
    fn two_accounts_of_one_counter_count_once() {
        let mut drops = DropCount::default();
        for (said, total) in [(0, 0), (5, 5), (5, 5), (3, 5), (9, 9), (7, 9)] {
            drops.note(said);
            assert_eq!(drops.total(), total);
        }
        drops.note(1 << 30);
        drops.note(u32::MAX - 1);
        assert_eq!(drops.total(), 1 << 30, "more than half of the way round is behind");
        for said in [1 << 31, 3 << 30, u32::MAX, 4, u32::MAX, 6] {
            drops.note(said);
        }
        assert_eq!(drops.total(), (1 << 32) + 6, "over the wrap, late news apart");
    }
}
