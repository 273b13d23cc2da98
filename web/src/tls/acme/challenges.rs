//! The proof that an authority asks for at this moment, for whichever listener it comes to.

use std::sync::{Arc, Weak, atomic::Ordering};

use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_acme::{acme::ACME_TLS_ALPN_NAME, is_tls_alpn_challenge};

use super::{super::certificate::provider, AcmeStats, TlsError};

/// Where all doors of a process find the proof of the order that is under way, if there is one.
#[derive(Debug, Default)]
pub struct Challenges {
    proof: Mutex<Weak<Proof>>,
    stats: Arc<AcmeStats>,
}

/// That a name is ours. It is shown for as long as the order keeps it.
#[derive(Debug)]
pub(super) struct Proof {
    name: String,
    key: Arc<CertifiedKey>,
}

impl Challenges {
    /// Without an order.
    pub(in crate::tls) fn new(stats: Arc<AcmeStats>) -> Arc<Self> {
        Arc::new(Self { proof: Mutex::default(), stats })
    }

    /// Shows this proof to whoever asks for `name`, in the place of one before.
    pub(super) fn show(&self, name: String, key: CertifiedKey) -> Arc<Proof> {
        let proof = Arc::new(Proof { name, key: Arc::new(key) });
        *self.proof.lock() = Arc::downgrade(&proof);
        proof
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
        let proof = self.proof.lock().upgrade()?;
        hello.server_name().is_some_and(|name| name.eq_ignore_ascii_case(&proof.name)).then(|| Arc::clone(&proof.key))
    }
}
