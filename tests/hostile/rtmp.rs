//! An RTMP client that says whatever it is told to.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::http::connect;

/// How long an answer, or the end of a bad connection, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Message types (RTMP 1.0, sections 5.4, 6.2 and 7.1).
pub(crate) const SET_CHUNK_SIZE: u8 = 1;
pub(crate) const USER_CONTROL: u8 = 4;
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
pub(crate) const DATA: u8 = 18;
pub(crate) const COMMAND: u8 = 20;
/// The size of the chunks we send.
const CHUNK_BYTES: usize = 128;
const HANDSHAKE_BYTES: usize = 1_536;

/// Whether a connection was ended by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Open,
}

pub(crate) struct Rtmp {
    stream: TcpStream,
    heard: Vec<u8>,
    over: bool,
}

impl Rtmp {
    /// A connection without a word said.
    pub(crate) fn silent(addr: SocketAddr) -> Self {
        let stream = connect(addr);
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        Self { stream, heard: Vec::new(), over: false }
    }

    /// A connection after the handshake.
    pub(crate) fn greeted(addr: SocketAddr) -> Self {
        let mut client = Self::silent(addr);
        client.send(&hello());
        let deadline = Instant::now() + PATIENCE;
        while client.heard.len() < 1 + 2 * HANDSHAKE_BYTES {
            client.listen();
            assert!(!client.over && Instant::now() < deadline, "the handshake is not answered");
        }
        client.heard.clear();
        client.send(&[0; HANDSHAKE_BYTES]);
        client
    }

    /// A connection with an app and message stream 1.
    pub(crate) fn opened(addr: SocketAddr, app: &str) -> Self {
        let mut client = Self::greeted(addr);
        client.send(&opening(app));
        assert!(client.hears(&result(2.0)), "createStream is not answered");
        client
    }

    /// A publisher of `live/stream`.
    pub(crate) fn publisher(addr: SocketAddr, stream: &str) -> Self {
        let mut client = Self::opened(addr, "live");
        client.publish(stream);
        assert!(client.hears(b"NetStream.Publish.Start"), "{stream} is not accepted");
        client
    }

    /// Writes bytes. That the server may have closed already is for the caller to find by listening.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.over = true;
        }
    }

    pub(crate) fn publish(&mut self, name: &str) {
        self.send(&message(3, COMMAND, 1, &[text("publish"), number(3.0), null(), text(name), text("live")].concat()));
    }

    pub(crate) fn play(&mut self, name: &str) {
        self.send(&message(3, COMMAND, 1, &[text("play"), number(3.0), null(), text(name)].concat()));
    }

    /// Whether `words` come before the end and the end of patience.
    pub(crate) fn hears(&mut self, words: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.heard.windows(words.len()).position(|window| window == words) {
                self.heard.drain(..at + words.len());
                return true;
            }
            if self.over || Instant::now() > deadline {
                return false;
            }
            self.listen();
        }
    }

    /// Sends `bytes`; whether `words` come back.
    pub(crate) fn answers(&mut self, bytes: &[u8], words: &[u8]) -> bool {
        self.send(bytes);
        self.hears(words)
    }

    /// Bytes that came and were not looked for.
    pub(crate) fn heard_bytes(&self) -> usize {
        self.heard.len()
    }

    /// Whether the server still works for this connection: it answers a ping.
    pub(crate) fn is_served(&mut self, stamp: u32) -> bool {
        let ping = [&6_u16.to_be_bytes()[..], &stamp.to_be_bytes()].concat();
        let pong = [&7_u16.to_be_bytes()[..], &stamp.to_be_bytes()].concat();
        self.send(&message(2, USER_CONTROL, 0, &ping));
        self.hears(&pong)
    }

    /// Waits for the server to close the connection.
    pub(crate) fn end(&mut self) -> End {
        self.end_within(PATIENCE)
    }

    pub(crate) fn end_within(&mut self, patience: Duration) -> End {
        let deadline = Instant::now() + patience;
        while !self.over && Instant::now() < deadline {
            self.listen();
        }
        if self.over { End::Closed } else { End::Open }
    }

    /// Ends our side, as if the client had died.
    pub(crate) fn hang_up(&self) {
        let _best_effort = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn listen(&mut self) {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.over = true,
            Ok(len) => self.heard.extend_from_slice(&buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => self.over = true,
        }
    }
}

/// C0 and C1 of the simple handshake.
pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = vec![0; 1 + HANDSHAKE_BYTES];
    bytes[0] = 3;
    bytes
}

/// `connect` and `createStream` with the transactions 1 and 2.
pub(crate) fn opening(app: &str) -> Vec<u8> {
    let create = [text("createStream"), number(2.0), null()].concat();
    [message(3, COMMAND, 0, &connect_command(app)), message(3, COMMAND, 0, &create)].concat()
}

pub(crate) fn connect_command(app: &str) -> Vec<u8> {
    let pairs = [key("app"), text(app), key("tcUrl"), text("rtmp://hostile.example/live"), vec![0, 0, 9]].concat();
    [text("connect"), number(1.0), vec![3], pairs].concat()
}

/// What the answer to `transaction` starts with.
pub(crate) fn result(transaction: f64) -> Vec<u8> {
    [text("_result"), number(transaction)].concat()
}

/// A message in chunks of 128 bytes, on a chunk stream from 2 to 63.
pub(crate) fn message(chunk_stream: u8, kind: u8, stream_id: u32, body: &[u8]) -> Vec<u8> {
    stamped(chunk_stream, kind, stream_id, 0, body)
}

/// The same with a timestamp, below 2^24 - 1.
pub(crate) fn stamped(chunk_stream: u8, kind: u8, stream_id: u32, timestamp: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(chunk_stream, kind, stream_id, timestamp, body.len());
    for (n, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        if n > 0 {
            bytes.push(0xc0 | chunk_stream);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

/// A type 0 header that announces `length` bytes.
pub(crate) fn header(chunk_stream: u8, kind: u8, stream_id: u32, timestamp: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![chunk_stream];
    bytes.extend_from_slice(&timestamp.to_be_bytes()[1..]);
    bytes.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend_from_slice(&stream_id.to_le_bytes());
    bytes
}

/// AMF0 values.
pub(crate) fn text(text: &str) -> Vec<u8> {
    match u16::try_from(text.len()) {
        Ok(len) => [&[2][..], &len.to_be_bytes(), text.as_bytes()].concat(),
        Err(_) => [&[12][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat(),
    }
}

pub(crate) fn number(number: f64) -> Vec<u8> {
    [&[0][..], &number.to_be_bytes()].concat()
}

pub(crate) fn null() -> Vec<u8> {
    vec![5]
}

fn key(name: &str) -> Vec<u8> {
    [&(name.len() as u16).to_be_bytes()[..], name.as_bytes()].concat()
}
