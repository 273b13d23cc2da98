//! What an accepted connection goes through before RTMP is spoken on it.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// Makes a stream of an accepted connection: by a TLS handshake, for RTMPS.
pub trait Door: Clone + Send + Sync + 'static {
    /// What RTMP is spoken on.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Whether what is behind it is RTMPS.
    const IS_TLS: bool;

    /// Lets the peer in. It runs in the connection's own task, so that accepting never waits for
    /// it, and must end in bounded time; an error closes the connection.
    fn open(&self, stream: TcpStream, peer: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Nothing to go through: RTMP on TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenDoor;

impl Door for OpenDoor {
    type Stream = TcpStream;
    const IS_TLS: bool = false;

    async fn open(&self, stream: TcpStream, _peer: SocketAddr) -> io::Result<TcpStream> {
        Ok(stream)
    }
}
