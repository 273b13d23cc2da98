//! What datagrams leave by: the sockets of one worker, each with what waits to be sent by it, and its
//! TCP connections.

use std::net::IpAddr;

use super::{connection::Connection, streams::Streams};
use crate::{
    ice::Path,
    net::{DropCount, Poller, Receiver, SendCounters, Sender, Socket, Target},
};

/// One way out.
pub(super) enum Port {
    /// A socket, for all peers.
    Udp(Box<Outlet>),
    /// A connection, for the one at its end.
    Tcp(Box<Connection>),
}

/// One socket and its send arena.
pub(super) struct Outlet {
    socket: Socket,
    sender: Sender,
    drops: DropCount,
}

impl Port {
    /// Queues what `write` writes, if it writes anything. Its length.
    #[inline]
    pub(super) fn write(&mut self, target: Target, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        match self {
            Self::Udp(outlet) => outlet.write(target, write),
            Self::Tcp(connection) => connection.write(write),
        }
    }
}

impl Outlet {
    #[inline]
    fn write(&mut self, target: Target, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        if self.sender.room().is_none() {
            self.sender.flush(&self.socket);
        }
        let len = self.sender.room().and_then(write)?;
        self.sender.commit(target, len);
        Some(len)
    }
}

/// One to four sockets, and connections if it has listeners. An index names either.
pub(super) struct Ports {
    list: Vec<Port>,
    streams: Option<Box<Streams>>,
}

impl Ports {
    pub(super) fn new(sockets: Vec<Socket>, streams: Option<Streams>) -> Self {
        let port = |socket| Port::Udp(Box::new(Outlet { socket, sender: Sender::new(), drops: DropCount::default() }));
        Self { list: sockets.into_iter().map(port).collect(), streams: streams.map(Box::new) }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.outlets().map(|outlet| &outlet.socket)
    }

    pub(super) fn poller(&self) -> Option<&Poller> {
        self.streams.as_ref().map(|streams| streams.poller())
    }

    pub(super) fn streams(&mut self) -> Option<&mut Streams> {
        self.streams.as_deref_mut()
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        self.list.iter().filter_map(|port| if let Port::Udp(outlet) = port { Some(&**outlet) } else { None })
    }

    fn outlets_mut(&mut self) -> impl Iterator<Item = &mut Outlet> {
        self.list.iter_mut().filter_map(|port| if let Port::Udp(outlet) = port { Some(&mut **outlet) } else { None })
    }

    fn outlet_mut(&mut self, port: usize) -> Option<&mut Outlet> {
        if let Port::Udp(outlet) = self.list.get_mut(port)? { Some(outlet) } else { None }
    }

    /// What leads to the other end of `path`: its connection while it lasts, or the socket that its
    /// datagrams come in by.
    pub(super) fn find(&self, path: &Path) -> Option<usize> {
        match path.connection {
            Some(id) => Some(self.list.len() + self.streams.as_ref()?.find(id)?),
            None => self.find_socket(path.local),
        }
    }

    fn find_socket(&self, local: IpAddr) -> Option<usize> {
        let bound = |outlet: &Outlet| outlet.socket.local_addr().ip();
        let exact = self.outlets().position(|outlet| bound(outlet) == local);
        exact.or_else(|| {
            self.outlets().position(|outlet| bound(outlet).is_unspecified() && bound(outlet).is_ipv4() == local.is_ipv4())
        })
    }

    /// As [`Receiver::recv`].
    pub(super) fn recv(&mut self, port: usize, receiver: &mut Receiver) -> bool {
        let Some(outlet) = self.outlet_mut(port) else { return false };
        let more = receiver.recv(&outlet.socket);
        if let Some(drops) = receiver.drops() {
            outlet.drops.note(drops);
        }
        more
    }

    /// Queues a copy of `data`, which is not media.
    pub(super) fn push(&mut self, port: usize, target: Target, data: &[u8]) {
        match self.get_mut(port) {
            Some(Port::Udp(outlet)) => outlet.sender.push(&outlet.socket, target, data),
            Some(Port::Tcp(connection)) => connection.push(data),
            None => {}
        }
    }

    /// More pictures may be given to it. A socket drops what the line does not take, a connection
    /// would keep it and show it late.
    #[inline]
    pub(super) fn has_room(&self, port: usize) -> bool {
        port < self.list.len() || self.streams.as_ref().is_none_or(|streams| streams.has_room(port - self.list.len()))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, port: usize) -> Option<&mut Port> {
        let sockets = self.list.len();
        if port < sockets {
            return self.list.get_mut(port);
        }
        self.streams.as_mut()?.port_mut(port - sockets)
    }

    pub(super) fn flush(&mut self) {
        for outlet in self.outlets_mut() {
            if !outlet.sender.is_empty() {
                outlet.sender.flush(&outlet.socket);
            }
        }
        if let Some(streams) = &mut self.streams {
            streams.flush();
        }
    }

    pub(super) fn counters(&self) -> SendCounters {
        let mut all = SendCounters::default();
        self.outlets().for_each(|outlet| all.add(&outlet.sender.counters()));
        all
    }

    /// Datagrams dropped by the kernel so far, by all sockets.
    pub(super) fn kernel_drops(&mut self) -> u64 {
        let mut all = 0;
        for outlet in self.outlets_mut() {
            if let Some(drops) = outlet.socket.kernel_drops() {
                outlet.drops.note(drops);
            }
            all += outlet.drops.total();
        }
        all
    }
}
