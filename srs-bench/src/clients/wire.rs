//! A TCP connection of a client, in TLS where its URL says so. Reads go through the caller's buffer, so
//! that a connection without TLS keeps nothing.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

/// See the module.
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
}

struct Tls {
    session: ClientConnection,
    /// The last read filled its buffer: there may be more that the socket does not tell of.
    more: bool,
}

impl Wire {
    pub(super) const fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Shakes hands with `host`.
    pub(super) async fn secure(socket: TcpStream, config: &Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut wire = Self { socket, tls: Some(Box::new(Tls { session, more: false })) };
        while wire.tls.as_ref().is_some_and(|tls| tls.session.is_handshaking()) {
            wire.flush().await?;
            wire.socket.readable().await?;
            match wire.tls.as_mut().map_or(Ok(0), |tls| tls.pull(&mut Through(&wire.socket))) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        wire.flush().await?;
        Ok(wire)
    }

    /// It is looked at when its time has come, and says nothing by itself any more.
    pub(super) fn unwatch(self) -> io::Result<Unwatched> {
        Ok(Unwatched { socket: self.socket.into_std()?, tls: self.tls })
    }

    /// Something may have come.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match &self.tls {
            Some(tls) if tls.more => Ok(()),
            _ => self.socket.readable().await,
        }
    }

    /// What has come by now; 0 at the end.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.try_read(buffer),
            Some(tls) => tls.try_read(Through(&self.socket), buffer),
        }
    }

    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable().await?,
                read => return read,
            }
        }
    }

    /// Sends a few bytes, or fails if the kernel has no room for them.
    pub(super) fn try_write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.try_write(data).map(|_| ()),
            Some(tls) => {
                tls.session.writer().write_all(data)?;
                tls.push(&mut Through(&self.socket))
            }
        }
    }

    pub(super) async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        if self.tls.is_none() {
            return self.socket.write_all(data).await;
        }
        while let (Some(tls), false) = (&mut self.tls, data.is_empty()) {
            // As much as the session has room for.
            let len = tls.session.writer().write(data)?;
            data = data.get(len..).unwrap_or_default();
            self.flush().await?;
        }
        Ok(())
    }

    /// Everything is with the kernel.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        loop {
            match tls.push(&mut Through(&self.socket)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.socket.writable().await?,
                pushed => return pushed,
            }
        }
    }
}

/// A connection that the kernel's readiness queue does not know of: what comes costs nothing before it is looked at.
pub(super) struct Unwatched {
    socket: std::net::TcpStream,
    tls: Option<Box<Tls>>,
}

impl Unwatched {
    /// As [`Wire::try_read`].
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => (&self.socket).read(buffer),
            Some(tls) => tls.try_read(&self.socket, buffer),
        }
    }

    /// Whether a read of `len` bytes into a buffer of `room` may have left something.
    pub(super) const fn has_more(&self, len: usize, room: usize) -> bool {
        self.tls.is_some() || len == room
    }

    /// As [`Wire::try_write`].
    pub(super) fn try_write(&mut self, data: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => (&self.socket).write(data).map(|_| ()),
            Some(tls) => {
                tls.session.writer().write_all(data)?;
                tls.push(&mut &self.socket)
            }
        }
    }
}

impl Tls {
    fn try_read(&mut self, mut socket: impl io::Read + io::Write, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.more = false;
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => {
                    self.more = matches!(read, Ok(len) if len == buffer.len());
                    return read;
                }
            }
            if self.pull(&mut socket)? == 0 {
                return Ok(0);
            }
            // Answers of TLS itself can wait for what is written next.
            let _pushed = self.push(&mut socket);
        }
    }

    /// Takes what the socket has.
    fn pull(&mut self, socket: &mut (impl io::Read + io::Write)) -> io::Result<usize> {
        let len = self.session.read_tls(socket)?;
        if let Err(error) = self.session.process_new_packets() {
            // The server is told why.
            let _told = self.push(socket);
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(len)
    }

    fn push(&mut self, socket: &mut impl io::Write) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(socket)?;
        }
        Ok(())
    }
}

/// The socket as far as it goes without waiting.
struct Through<'a>(&'a TcpStream);

impl io::Read for Through<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Through<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.try_write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
