//! Certificates from an authority by ACME (RFC 8555), for listeners that name no files.
//!
//! The authority connects to one of our TLS listeners to see that the name is ours (tls-alpn-01,
//! RFC 8737). What it issues is kept on disk and shown by all listeners that ask for it. While there is
//! none, they show the one before or a self-signed one: nothing waits for an authority.

mod challenges;
mod client;
mod order;
mod store;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use ::aws_lc_rs::digest;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::{
    TlsError,
    certificate::{bytes, hex},
    outbound,
};

pub use challenges::Challenges;
pub(super) use client::Client;
use store::Store;

/// Hexadecimal digits of a digest in a file's name: two of one server's never meet by chance.
const NAME_DIGITS: usize = 16;

/// Which authority is asked, and for which names. Whoever turns it on agrees to its terms of service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcmeConfig {
    /// The names of the certificate, the first one its main name. They lead to this server's port 443.
    pub domains: Vec<String>,
    /// Where the authority writes to when something is wrong with the account or a certificate.
    pub email: Option<String>,
    /// The folder of account and certificate. Its files are readable by this process's user alone.
    pub cache: PathBuf,
    /// The authority's directory, an https URL.
    pub directory: String,
    /// PEM certificates to trust when talking to the authority, in the place of the system's: for one
    /// of an own network.
    pub ca: Option<PathBuf>,
}

/// What orders of a process count.
#[derive(Debug, Default)]
pub struct AcmeStats {
    /// Certificates that were obtained.
    pub obtained: AtomicU64,
    /// Orders that failed, and what else went wrong on the way; each is logged with its reason.
    pub failed: AtomicU64,
    /// Connections of the authority that were shown the proof.
    pub challenged: AtomicU64,
}

impl AcmeConfig {
    /// Whether it can be tried: the folder can be written to and the file of `ca` read.
    pub(super) fn check(&self) -> Result<(), TlsError> {
        Store::check(&self.cache)?;
        self.ca.as_deref().map_or(Ok(()), |ca| roots(ca).map(drop))
    }

    /// Where the certificate is kept, its key before it.
    pub(super) fn certificate_file(&self) -> PathBuf {
        let words = self.domains.iter().chain([&self.directory]);
        let main = self.domains.first().map_or("none", String::as_str);
        self.cache.join(format!("{main}-{}.pem", digits(words)))
    }

    /// Where the account's key is kept.
    fn account_file(&self) -> PathBuf {
        let words = self.email.iter().chain([&self.directory]);
        self.cache.join(format!("account-{}.der", digits(words)))
    }

    /// Whom to believe that it is the authority. Blocks for the reading of the system's certificates.
    fn trust(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = self.ca.as_deref().map_or_else(outbound::system_roots, roots)?;
        outbound::client_config(roots).map(Arc::new)
    }
}

fn roots(ca: &Path) -> Result<RootCertStore, TlsError> {
    let fail = |source| TlsError::Pem { path: ca.to_owned(), what: "certificate", source };
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(&bytes(ca)?) {
        roots.add(der.map_err(fail)?).map_err(|_| TlsError::NoX509)?;
    }
    if roots.is_empty() { Err(fail(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(roots) }
}

/// Tells one set of words from another in a file's name.
fn digits<'a>(words: impl Iterator<Item = &'a String>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for word in words {
        context.update(word.as_bytes());
        context.update(&[0]);
    }
    let mut digits = hex(context.finish().as_ref(), "").to_ascii_lowercase();
    digits.truncate(NAME_DIGITS);
    digits
}
