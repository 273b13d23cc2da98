//! What every TLS listener has: `enabled`, `listen`, `key`, `cert`.

use std::{net::SocketAddr, path::PathBuf};

use super::settings::View;

/// SRS's default for `key`.
pub(super) const KEY: &str = "./conf/server.key";
/// SRS's default for `cert`.
pub(super) const CERT: &str = "./conf/server.crt";

/// A listener that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsListener {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The private key's file.
    pub key: PathBuf,
    /// The certificate's file.
    pub cert: PathBuf,
}

/// The listener of a block, if it is enabled.
pub(super) fn read(view: View<'_>) -> Option<TlsListener> {
    let listener = TlsListener { listen: view.listens("listen"), key: view.path("key"), cert: view.path("cert") };
    view.flag("enabled").then_some(listener)
}
