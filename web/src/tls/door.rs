//! The TLS handshake in front of a connection: bounded in time and in number.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{ServerConfig, crypto::aws_lc_rs::Ticketer, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use weir_bridge::rtmp::Door;

use super::{Challenges, LiveCertificate, TlsError, TlsFailure, TlsStats, certificate::provider};
use crate::crowd::{Bounds, Crowd};

/// For the whole handshake. Its two or three flights take half a second on a bad line.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes under way at a time on one listener: 20 MiB of buffers, and half a second of work for
/// one core. Of these from one address: an office or a proxy in which all reload their page at once.
const HANDSHAKES_MAX: Bounds = Bounds { all: 2_048, per_address: 512 };

/// Takes a listener's connections into TLS 1.2 or 1.3. Cloning shares its limits.
#[derive(Clone)]
pub struct TlsDoor {
    handshakes: Arc<ServerConfig>,
    /// What ACME authorities get, and by which handshakes.
    proofs: Option<(Arc<Challenges>, Arc<ServerConfig>)>,
    under_way: Arc<Crowd>,
    timeout: Duration,
    stats: Arc<TlsStats>,
}

impl TlsDoor {
    /// For HTTP: HTTP/2 if the client knows it, HTTP/1.1 otherwise (RFC 7301).
    pub fn http(certificate: Arc<LiveCertificate>, stats: Arc<TlsStats>) -> Result<Self, TlsError> {
        Self::new(certificate, &[b"h2", b"http/1.1"], stats)
    }

    /// For RTMP, which has no ALPN name: what clients say there is not looked at.
    pub fn rtmp(certificate: Arc<LiveCertificate>, stats: Arc<TlsStats>) -> Result<Self, TlsError> {
        Self::new(certificate, &[], stats)
    }

    fn new(certificate: Arc<LiveCertificate>, protocols: &[&[u8]], stats: Arc<TlsStats>) -> Result<Self, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Unusable)?;
        let mut config = config.with_no_client_auth().with_cert_resolver(certificate);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A viewer that comes back resumes without a signature, and we keep nothing for it.
        config.ticketer = Ticketer::new().map_err(TlsError::Unusable)?;
        Ok(Self { handshakes: Arc::new(config), proofs: None, under_way: Arc::default(), timeout: HANDSHAKE_TIMEOUT, stats })
    }

    /// Shows ACME authorities that come to this listener the proofs that they ask for.
    pub(super) fn proving(mut self, challenges: &Arc<Challenges>) -> Result<Self, TlsError> {
        self.proofs = Some((Arc::clone(challenges), challenges.handshakes()?));
        Ok(self)
    }

    #[cfg(test)]
    pub(super) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// One handshake.
    pub(crate) async fn enter<S>(&self, stream: S, from: IpAddr) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let _place = self.under_way.enter(from, HANDSHAKES_MAX).map_err(|full| {
            self.stats.fail(full.into());
            io::Error::other("too many TLS handshakes are under way")
        })?;
        match tokio::time::timeout(self.timeout, self.shake(stream)).await {
            Ok(Ok(stream)) => {
                self.stats.complete();
                stream.ok_or_else(|| io::Error::new(io::ErrorKind::ConnectionAborted, "an ACME authority has seen its proof"))
            }
            Ok(Err(error)) => {
                self.stats.fail(TlsFailure::of(&error));
                Err(error)
            }
            Err(_elapsed) => {
                self.stats.fail(TlsFailure::Timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long"))
            }
        }
    }
}

impl TlsDoor {
    /// `None`: it was an ACME authority, which has what it came for.
    async fn shake<S>(&self, stream: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        match &self.proofs {
            Some((challenges, handshakes)) if Challenges::is_one(&begun.client_hello()) => {
                let mut proven = begun.into_stream(Arc::clone(handshakes)).await?;
                challenges.note_shown();
                // The handshake is all there is to it (RFC 8737 section 3).
                let _closed_by_either = proven.shutdown().await;
                Ok(None)
            }
            _ => begun.into_stream(Arc::clone(&self.handshakes)).await.map(Some),
        }
    }
}

impl Door for TlsDoor {
    type Stream = TlsStream<TcpStream>;
    const IS_TLS: bool = true;

    async fn open(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<Self::Stream> {
        self.enter(stream, peer.ip()).await
    }
}
