//! TCP: a listener, connections that never block, and one descriptor that says which of them have
//! something to read or room to write (epoll).

use std::{
    io::{self, Read as _, Write as _},
    mem,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use socket2::{Domain, Protocol, SockAddr, Type};

use super::Socket;

/// Bytes that the kernel holds per connection and direction, as asked for (it takes about double).
/// A connection over 100 ms of way carries 20 Mb/s with it, and what a viewer who is too slow has
/// not been sent grows no older than that.
const KERNEL_BUFFER: usize = 256 * 1_024;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 1_024;
/// Events taken at a time.
const EVENTS_MAX: usize = 128;

/// A listening, non-blocking TCP socket.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    local: SocketAddr,
}

/// Whether nobody listens on `addr` yet: as [`is_free`](super::is_free), for TCP.
pub fn is_stream_free(addr: SocketAddr) -> io::Result<()> {
    let socket = new_socket(addr)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(1)
}

impl Listener {
    /// Opens, binds and listens; with `reuse_port` next to others of this process.
    pub fn bind(addr: SocketAddr, reuse_port: bool) -> io::Result<Self> {
        let socket = new_socket(addr)?;
        socket.set_nonblocking(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        // Before the handshake, which agrees on the window's scale; connections inherit both.
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        socket.bind(&SockAddr::from(addr))?;
        socket.listen(BACKLOG)?;
        let inner = TcpListener::from(socket);
        let local = inner.local_addr()?;
        Ok(Self { inner, local })
    }

    /// Where it listens, with the port that the kernel chose.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, if one waits. An error is the process's (no descriptors are left): the
    /// connection stays where it is.
    pub fn accept(&self) -> io::Result<Option<Stream>> {
        loop {
            match self.inner.accept() {
                Ok((inner, remote)) => match Stream::new(inner, remote) {
                    Ok(stream) => return Ok(Some(stream)),
                    // It has gone already.
                    Err(_) => continue,
                },
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(None),
                    // The next one may be better: accept(2) reports the network's errors too.
                    _ if is_shortage(&error) => return Err(error),
                    _ => continue,
                },
            }
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) | None)
}

fn new_socket(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    // Connections of a former run that linger (TIME_WAIT) are no reason not to start.
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    remote: SocketAddr,
    local: IpAddr,
}

impl Stream {
    fn new(inner: TcpStream, remote: SocketAddr) -> io::Result<Self> {
        inner.set_nonblocking(true)?;
        // Packets are gathered by us; one that is alone must not wait for an acknowledgement.
        inner.set_nodelay(true)?;
        let local = inner.local_addr()?.ip();
        Ok(Self { inner, remote, local })
    }

    /// The other end.
    pub const fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Which of our addresses it connected to.
    pub const fn local(&self) -> IpAddr {
        self.local
    }

    /// Reads what there is, at most `buffer.len()` bytes. `None`: nothing now. 0: the other end has
    /// said all that it will say.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        none_if_blocked(self.inner.read(buffer))
    }

    /// Writes as much as the kernel takes. `None`: nothing now.
    pub fn write(&mut self, data: &[u8]) -> io::Result<Option<usize>> {
        none_if_blocked(self.inner.write(data))
    }
}

fn none_if_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the kernel says of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name it was added under.
    pub token: u64,
    /// A read or an accept would bring something, the end or an error included.
    pub readable: bool,
    /// A write would be taken.
    pub writable: bool,
}

/// Watches any number of sockets at a constant cost; itself one descriptor that [`wait`](super::wait)
/// sleeps on. A source leaves when it is closed.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a fresh descriptor that nobody else owns.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Watches a listener for connections.
    pub fn add_listener(&self, listener: &Listener, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, listener.inner.as_raw_fd(), token, libc::EPOLLIN)
    }

    /// Watches a listener no more.
    pub fn remove_listener(&self, listener: &Listener) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, listener.inner.as_raw_fd(), 0, 0)
    }

    /// Watches a connection for what it brings.
    pub fn add(&self, stream: &Stream, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, stream.inner.as_raw_fd(), token, libc::EPOLLIN)
    }

    /// Watches a UDP socket for datagrams.
    pub fn add_socket(&self, socket: &Socket, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, socket.raw(), token, libc::EPOLLIN)
    }

    /// Watches a connection no more.
    pub fn remove(&self, stream: &Stream) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, stream.inner.as_raw_fd(), 0, 0)
    }

    /// Whether room to write is of interest too.
    pub fn want_room(&self, stream: &Stream, token: u64, wanted: bool) -> io::Result<()> {
        let room = if wanted { libc::EPOLLOUT } else { 0 };
        self.control(libc::EPOLL_CTL_MOD, stream.inner.as_raw_fd(), token, libc::EPOLLIN | room)
    }

    /// Replaces the contents of `events` by what there is, without waiting. What is not dealt with
    /// is said again.
    pub fn poll(&self, events: &mut Vec<Event>) {
        events.clear();
        let mut raw = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: `raw` is EVENTS_MAX writable events that outlive the call; the kernel says how
        // many it wrote.
        let count = unsafe { libc::epoll_wait(self.raw(), raw.as_mut_ptr(), EVENTS_MAX as libc::c_int, 0) };
        let ended = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
        for event in raw.iter().take(usize::try_from(count).unwrap_or(0)) {
            let has = |flags: u32| event.events & flags != 0;
            events.push(Event {
                token: event.u64,
                readable: has(libc::EPOLLIN as u32 | ended),
                writable: has(libc::EPOLLOUT as u32),
            });
        }
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: u64, interest: libc::c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: `event` outlives the call; the kernel copies it.
        let done = unsafe { libc::epoll_ctl(self.raw(), operation, fd, ptr::from_mut(&mut event)) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(super) fn raw(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }
}

const _: () = assert!(mem::size_of::<libc::epoll_event>() <= 16, "the events of one call fit on the stack");

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    /// What the poller says, as soon as it says something.
    fn said(poller: &Poller) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..5_000 {
            poller.poll(&mut events);
            if !events.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        events
    }

    #[test]
    fn a_connection_is_heard_read_and_written_without_blocking() {
        let listener = Listener::bind(loopback(), false).expect("a free port");
        let poller = Poller::new().expect("a descriptor");
        poller.add_listener(&listener, 1).expect("watched");
        assert!(listener.accept().expect("no error").is_none());
        let mut client = TcpStream::connect(listener.local_addr()).expect("it listens");
        assert_eq!(said(&poller), [Event { token: 1, readable: true, writable: false }]);
        let mut stream = listener.accept().expect("no error").expect("a connection");
        assert_eq!((stream.remote(), stream.local()), (client.local_addr().expect("bound"), loopback().ip()));
        poller.add(&stream, 2).expect("watched");
        let mut buffer = [0; 100];
        assert_eq!(stream.read(&mut buffer).expect("no error"), None);
        client.write_all(b"hello").expect("sent");
        assert_eq!(said(&poller), [Event { token: 2, readable: true, writable: false }]);
        assert_eq!(stream.read(&mut buffer).expect("no error"), Some(5));

        let block = [0; 65_536];
        let mut taken = 0;
        while let Some(count) = stream.write(&block).expect("no error") {
            taken += count;
        }
        // The receiving side of loopback holds as much again and more.
        assert!(taken < 40 << 20, "the kernel's buffers have an end: {taken}");
        poller.want_room(&stream, 2, true).expect("watched");
        let mut events = Vec::new();
        poller.poll(&mut events);
        assert_eq!(events, [], "no room");
        let mut sink = vec![0; taken];
        client.read_exact(&mut sink).expect("all of it");
        assert_eq!(said(&poller), [Event { token: 2, readable: false, writable: true }]);
        poller.want_room(&stream, 2, false).expect("watched");
        drop(client);
        assert_eq!(said(&poller), [Event { token: 2, readable: true, writable: false }]);
        assert_eq!(stream.read(&mut buffer).expect("no error"), Some(0), "the end");
    }

    #[test]
    fn workers_share_a_port_that_a_second_server_finds_taken() {
        let first = Listener::bind(loopback(), true).expect("a free port");
        let second = Listener::bind(first.local_addr(), true).expect("shared");
        assert_eq!(first.local_addr(), second.local_addr());
        assert_eq!(is_stream_free(first.local_addr()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        is_stream_free(loopback()).expect("any port");
    }
}
