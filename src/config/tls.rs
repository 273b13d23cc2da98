//! What every TLS listener has: `enabled`, `listen`, `key`, `cert`, `self_signed`,
//! `acme`.

use std::{net::SocketAddr, path::PathBuf};

use super::settings::View;

/// SRS's default for `key`.
pub(super) const KEY: &str = "./conf/server.key";
/// SRS's default for `cert`.
pub(super) const CERT: &str = "./conf/server.crt";

/// What `self_signed` is for.
pub(super) const SELF_SIGNED: &str = "Make a certificate at each start in the place of key and cert, for first steps";

/// What `acme` is for.
pub(super) const ACME: &str = "Have the certificate issued as the block acme says, in the place of key and cert";

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
    /// An authority issues the certificate.
    pub acme: bool,
}

/// The listener of a block, if it is enabled.
pub(super) fn read(view: View<'_>) -> Option<TlsListener> {
    let listener = TlsListener {
        listen: view.listens("listen"),
        key: view.path("key"),
        cert: view.path("cert"),
        self_signed: view.flag("self_signed"),
        acme: view.flag("acme"),
    };
    view.flag("enabled").then_some(listener)
}
