//! HTTP byte by byte: requests that no library would send, and what comes back.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Longer than any of the server's own time limits: a test that waits so long has found a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The most that is read of an answer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A response, read to the end of its connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("the port takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
    stream
}

/// Sends `bytes` as they are and reads until the server closes; `None` if it said nothing that is
/// HTTP. Panics if it does not close.
pub(crate) fn exchange(addr: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(addr);
    // A server that has heard enough may close before all is written.
    let _best_effort = stream.write_all(bytes);
    Answer::parse(&read_to_end(stream))
}

/// The same, but our side ends after `bytes`, as if the client had died there.
pub(crate) fn exchange_cut(addr: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(addr);
    let _best_effort = stream.write_all(bytes);
    let _best_effort = stream.shutdown(std::net::Shutdown::Write);
    Answer::parse(&read_to_end(stream))
}

pub(crate) fn read_to_end(stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
            panic!("the connection was left open; so far: {:?}", String::from_utf8_lossy(&bytes));
        }
        // A reset is an end too.
        _ => bytes,
    }
}

pub(crate) fn get(addr: SocketAddr, target: &str) -> Option<Answer> {
    exchange(addr, format!("GET {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n").as_bytes())
}

/// A request with a body and its length.
pub(crate) fn request(addr: SocketAddr, method: &str, target: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub(crate) fn post_sdp(addr: SocketAddr, target: &str, body: &[u8]) -> Answer {
    exchange(addr, &request(addr, "POST", target, "application/sdp", body)).expect("an answer")
}
