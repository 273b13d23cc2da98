//! What every TLS listener has: `enabled`, `listen`, `key`, `cert`, `self_signed`.

use std::{net::SocketAddr, path::PathBuf};

use super::settings::View;

/// SRS's default for `key`.
pub(super) const KEY: &str = "./conf/server.key";
/// SRS's default for `cert`.
pub(super) const CERT: &str = "./conf/server.crt";

/// What `self_signed` is for.
pub(super) const SELF_SIGNED: &str = "Make a certificate at each start in the place of key and cert, for first steps";

/// A listener that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsListener {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The private key's file.
    pub key: PathBuf,
    /// The certificate's file.
    pub cert: PathBuf,
    /// The server makes a certificate for itself, and needs no files.
    pub self_signed: bool,
}

/// The listener of a block, if it is enabled.
pub(super) fn read(view: View<'_>) -> Option<TlsListener> {
    let listener = TlsListener {
        listen: view.listens("listen"),
        key: view.path("key"),
        cert: view.path("cert"),
        self_signed: view.flag("self_signed"),
    };
    view.flag("enabled").then_some(listener)
}
