//! TLS of our own requests, to callback servers, heartbeat servers and trace collectors: whom they
//! believe to be who was asked for.

use std::{sync::Arc, time::Duration};

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};

use super::{TlsError, certificate::provider};

/// Connects by TCP, and speaks TLS where the URL says so.
pub type Connector = HttpsConnector<HttpConnector>;

/// A connector that believes `roots`, and waits this long for a TCP connection.
pub fn connector(roots: RootCertStore, patience: Duration) -> Result<Connector, TlsError> {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(patience));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    Ok(HttpsConnector::from((tcp, client_config(roots)?)))
}

/// Those whom this system believes. Reading them blocks for some milliseconds.
pub fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 { Err(TlsError::NoRoots) } else { Ok(roots) }
}

pub(super) fn client_config(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(provider())).with_safe_default_protocol_versions();
    Ok(config.map_err(TlsError::Unusable)?.with_root_certificates(roots).with_no_client_auth())
}
