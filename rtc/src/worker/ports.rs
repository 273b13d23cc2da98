//! The sockets of one worker, each with what waits to be sent by it.

use std::net::IpAddr;

use crate::net::{DropCount, Receiver, SendCounters, Sender, Socket, Target};

/// One socket and its send arena.
pub(super) struct Port {
    socket: Socket,
    sender: Sender,
    drops: DropCount,
}

impl Port {
    /// Queues what `write` writes, if it writes anything. Its length.
    #[inline]
    pub(super) fn write(&mut self, target: Target, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<usize> {
        if self.sender.room().is_none() {
            self.sender.flush(&self.socket);
        }
        let len = self.sender.room().and_then(write)?;
        self.sender.commit(target, len);
        Some(len)
    }
}

/// One to four.
pub(super) struct Ports {
    list: Vec<Port>,
}

impl Ports {
    pub(super) fn new(sockets: Vec<Socket>) -> Self {
        let port = |socket| Port { socket, sender: Sender::new(), drops: DropCount::default() };
        Self { list: sockets.into_iter().map(port).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.list.iter().map(|port| &port.socket)
    }

    /// The socket that datagrams to `local` come in by, and answers leave by.
    pub(super) fn find(&self, local: IpAddr) -> Option<usize> {
        let bound = |port: &Port| port.socket.local_addr().ip();
        let exact = self.list.iter().position(|port| bound(port) == local);
        exact.or_else(|| {
            self.list.iter().position(|port| bound(port).is_unspecified() && bound(port).is_ipv4() == local.is_ipv4())
        })
    }

    /// As [`Receiver::recv`].
    pub(super) fn recv(&mut self, port: usize, receiver: &mut Receiver) -> bool {
        let Some(port) = self.list.get_mut(port) else { return false };
        let more = receiver.recv(&port.socket);
        if let Some(drops) = receiver.drops() {
            port.drops.note(drops);
        }
        more
    }

    /// Queues a copy of `data`.
    pub(super) fn push(&mut self, port: usize, target: Target, data: &[u8]) {
        if let Some(port) = self.list.get_mut(port) {
            port.sender.push(&port.socket, target, data);
        }
    }

    pub(super) fn get_mut(&mut self, port: usize) -> Option<&mut Port> {
        self.list.get_mut(port)
    }

    pub(super) fn flush(&mut self) {
        for port in &mut self.list {
            if !port.sender.is_empty() {
                port.sender.flush(&port.socket);
            }
        }
    }

    pub(super) fn counters(&self) -> SendCounters {
        let mut all = SendCounters::default();
        self.list.iter().for_each(|port| all.add(&port.sender.counters()));
        all
    }

    /// Datagrams dropped by the kernel so far, by all sockets.
    pub(super) fn kernel_drops(&mut self) -> u64 {
        for port in &mut self.list {
            if let Some(drops) = port.socket.kernel_drops() {
                port.drops.note(drops);
            }
        }
        self.list.iter().map(|port| port.drops.total()).sum()
    }
}
