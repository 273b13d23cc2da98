//! What carries a peer's datagrams: a socket, or a TCP connection with framing (RFC 4571).

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
};

/// How a peer's datagrams go.
pub(crate) enum Wire {
    Udp(UdpSocket),
    /// By TCP, once the answer has said where to.
    Unconnected,
    Tcp(Box<Tcp>),
}

/// A connection with framing of the test's own.
pub(crate) struct Tcp {
    stream: TcpStream,
    pub(crate) server: SocketAddr,
    held: Vec<u8>,
    /// Something has come.
    is_proven: bool,
    pub(crate) is_over: bool,
}

impl Wire {
    /// To the first TCP candidate of an answer.
    pub(crate) fn connect(answer: &str) -> Self {
        let line =
            answer.lines().find(|line| line.starts_with("a=candidate:") && line.contains(" tcp ")).expect("a TCP candidate");
        assert!(line.contains(" typ host tcptype passive"), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        Self::Tcp(Box::new(Tcp::to(format!("{}:{}", words[4], words[5]).parse().expect("an address"))))
    }

    pub(crate) fn send_to(&mut self, data: &[u8], to: SocketAddr) {
        match self {
            Self::Udp(socket) => {
                socket.send_to(data, to).expect("loopback takes it");
            }
            // A connection says first whose it is (RFC 6544 section 10.1 lets nothing else through
            // before a check succeeded).
            Self::Tcp(tcp) if tcp.is_proven || data.starts_with(&[0, 1]) => tcp.send(data),
            Self::Tcp(_) => {}
            Self::Unconnected => {}
        }
    }

    pub(crate) fn recv_from(&mut self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        match self {
            Self::Udp(socket) => match socket.recv_from(buffer) {
                Ok(got) => Some(got),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => panic!("{error}"),
            },
            Self::Tcp(tcp) => {
                let frame = tcp.recv()?;
                buffer[..frame.len()].copy_from_slice(&frame);
                Some((frame.len(), tcp.server))
            }
            Self::Unconnected => None,
        }
    }
}

impl Tcp {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("it listens");
        stream.set_nonblocking(true).expect("non-blocking");
        stream.set_nodelay(true).expect("no delay");
        Self { stream, server, held: Vec::new(), is_proven: false, is_over: false }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// Sends a datagram; what the kernel does not take is lost, as the connection then is.
    pub(crate) fn send(&mut self, data: &[u8]) {
        let framed = [&u16::try_from(data.len()).expect("short").to_be_bytes()[..], data].concat();
        self.write(&framed);
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.is_over |= self.stream.write_all(bytes).is_err();
    }

    /// The next datagram, if it has come whole.
    pub(crate) fn recv(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; 65_536];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.is_over = true,
            Ok(count) => self.held.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.is_over = true,
        }
        let len = usize::from(u16::from_be_bytes(*self.held.first_chunk()?));
        if self.held.len() < 2 + len {
            return None;
        }
        let frame = self.held[2..2 + len].to_vec();
        self.held.drain(..2 + len);
        self.is_proven = true;
        Some(frame)
    }
}
