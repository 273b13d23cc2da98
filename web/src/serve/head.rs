//! Request heads of HTTP/1.1 that a proxy before us could read differently (A45).
//!
//! hyper is lenient where the standards let it be: it takes a bare LF for a line's end (RFC 9112
//! section 2.2), and of `Transfer-Encoding` and `Content-Length` together the former (6.3). Who
//! sends that to us through a proxy may want the two of us to disagree on where a request ends. So
//! lines are looked at before hyper sees them, on the connection's start and after each request
//! without a body. What comes after a body, or together with the request before it, is hyper's alone
//! to judge.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper is given in the place of an ambiguous head: it answers 400 and closes.
const NO_HTTP: &[u8] = b"\0\r\n\r\n";
/// Longer than the two names that count.
const NAME_BYTES_MAX: usize = 20;

/// A stream whose reads are looked at while they are of a head.
pub(super) struct Heads<S> {
    stream: S,
    /// The next bytes are a head's: set by whoever got a request without a body.
    next: Arc<AtomicBool>,
    scan: Option<Scan>,
    /// More than a head was read at once: a body's beginning, or the next request's.
    read_on: bool,
}

impl<S> Heads<S> {
    /// The flag says, once set, that the next bytes to be read begin a head.
    pub(super) fn new(stream: S) -> (Self, Arc<AtomicBool>) {
        let next = Arc::new(AtomicBool::new(true));
        (Self { stream, next: Arc::clone(&next), scan: None, read_on: false }, next)
    }
}

/// What is known of the head so far.
#[derive(Default)]
struct Scan {
    /// The beginning of the line, in lower case, as far as it may be a name that counts.
    name: [u8; NAME_BYTES_MAX],
    /// Bytes of the line so far.
    len: usize,
    after_cr: bool,
    is_name_over: bool,
    has_line: bool,
    lengths: usize,
    codings: usize,
}

enum Verdict {
    More,
    Whole,
    Ambiguous,
}

impl Scan {
    /// The verdict, and how many bytes it took.
    fn take(&mut self, bytes: &[u8]) -> (Verdict, usize) {
        for (n, byte) in bytes.iter().enumerate() {
            match self.byte(*byte) {
                Verdict::More => {}
                verdict => return (verdict, n + 1),
            }
        }
        (Verdict::More, bytes.len())
    }

    fn byte(&mut self, byte: u8) -> Verdict {
        if byte == b'\n' {
            if !self.after_cr {
                return Verdict::Ambiguous;
            }
            let is_empty = self.len == 1;
            (self.len, self.after_cr, self.is_name_over) = (0, false, false);
            // Empty lines before a request are read over (RFC 9112 section 2.2).
            let is_end = is_empty && self.has_line;
            self.has_line |= !is_empty;
            return if is_end { Verdict::Whole } else { Verdict::More };
        }
        self.after_cr = byte == b'\r';
        if byte == b':' && !self.is_name_over {
            self.is_name_over = true;
            match self.name.get(..self.len) {
                Some(b"content-length") => self.lengths += 1,
                Some(b"transfer-encoding") => self.codings += 1,
                _ => {}
            }
            if self.lengths + self.codings > 1 {
                return Verdict::Ambiguous;
            }
        }
        if let Some(slot) = self.name.get_mut(self.len) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(1);
        Verdict::More
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heads<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        // Of a head that was begun before its turn we would see the rest only.
        if this.next.swap(false, Ordering::Relaxed) && !this.read_on {
            this.scan = Some(Scan::default());
        }
        let Some(scan) = &mut this.scan else { return Poll::Ready(Ok(())) };
        let read = buf.filled().get(before..).unwrap_or_default();
        match scan.take(read) {
            (Verdict::More, _) => {}
            (Verdict::Whole, taken) => {
                this.read_on = taken < read.len();
                this.scan = None;
            }
            (Verdict::Ambiguous, _) => {
                buf.set_filled(before);
                let room = NO_HTTP.len().min(buf.remaining());
                buf.put_slice(NO_HTTP.get(..room).unwrap_or_default());
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on `text`, whole and byte by byte.
    fn judge(text: &str) -> &'static str {
        let name = |verdict: &Verdict| match verdict {
            Verdict::More => "more",
            Verdict::Whole => "whole",
            Verdict::Ambiguous => "ambiguous",
        };
        let whole = name(&Scan::default().take(text.as_bytes()).0);
        let mut scan = Scan::default();
        let verdicts = text.bytes().map(|byte| scan.byte(byte));
        let single = verdicts.map(|verdict| name(&verdict)).find(|verdict| *verdict != "more");
        assert_eq!(single.unwrap_or("more"), whole, "{text:?}");
        whole
    }

    #[test]
    fn a45_heads_that_two_readers_may_read_differently_are_told() {
        let head = |lines: &str| judge(&format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n"));
        assert_eq!(head("Content-Length: 3\r\n"), "whole");
        assert_eq!(head("transfer-encoding: chunked\r\n"), "whole");
        assert_eq!(judge("\r\nGET / HTTP/1.1\r\n\r\nnot looked\nat"), "whole");
        assert_eq!(head("X: content-length: 1, transfer-encoding: 2\r\n"), "whole");
        assert_eq!(judge("GET / HTTP/1.1\r\nHost:"), "more");
        assert_eq!(head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), "ambiguous");
        assert_eq!(head("Transfer-Encoding: chunked\r\ncontent-LENGTH: 3\r\n"), "ambiguous");
        assert_eq!(head("Content-Length: 3\r\nContent-Length: 3\r\n"), "ambiguous");
        assert_eq!(head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "ambiguous");
        assert_eq!(head("X: a\nTransfer-Encoding: chunked\r\n"), "ambiguous");
        assert_eq!(judge("GET / HTTP/1.1\n\n"), "ambiguous");
    }
}
