//! The proof that an authority asks for at this moment, for whichever listener it comes to.

use std::sync::{Arc, Weak, atomic::Ordering};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_acme::{ResolvesServerCertAcme, acme::ACME_TLS_ALPN_NAME, is_tls_alpn_challenge};

use super::{super::certificate::provider, AcmeStats, TlsError};

/// Where all doors of a process find the proof of the order that is under way, if there is one.
#[derive(Debug, Default)]
pub struct Challenges {
    order: Mutex<Weak<ResolvesServerCertAcme>>,
    stats: Arc<AcmeStats>,
}

impl Challenges {
    /// Without an order.
    pub(in crate::tls) fn new(stats: Arc<AcmeStats>) -> Arc<Self> {
        Arc::new(Self { order: Mutex::default(), stats })
    }

    /// Shows the proofs of this order from now on, for as long as it lives.
    pub(super) fn set(&self, order: &Arc<ResolvesServerCertAcme>) {
        *self.order.lock() = Arc::downgrade(order);
    }

    /// Whether a handshake is an authority's. It offers that protocol and no other (RFC 8737
    /// section 3), so that nobody else's is taken for one.
    pub(in crate::tls) fn is_one(hello: &ClientHello<'_>) -> bool {
        is_tls_alpn_challenge(hello)
    }

    /// What such a handshake is answered with.
    pub(in crate::tls) fn handshakes(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
        let config = config.map_err(TlsError::Unusable)?.with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ACME_TLS_ALPN_NAME.to_vec()];
        Ok(Arc::new(config))
    }

    /// An authority was shown what it asked for.
    pub(in crate::tls) fn note_shown(&self) {
        self.stats.challenged.fetch_add(1, Ordering::Relaxed);
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let order = self.order.lock().upgrade()?;
        order.resolve(hello)
    }
}
