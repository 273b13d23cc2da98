//! TLS for HTTPS and RTMPS: rustls over aws-lc-rs, and a certificate that can be replaced while
//! connections last.
//!
//! A listener has a [`LiveCertificate`] and a [`TlsDoor`] made of it. Handshakes take the
//! certificate of their moment; connections keep the keys that they have agreed on, so replacing
//! the certificate ends nobody.

mod acme;
mod certificate;
mod certificates;
mod door;
mod live;
mod outbound;
mod stats;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

pub use acme::{AcmeConfig, AcmeStats, Challenges};
pub use certificate::{CertificateFacts, TlsError};
pub use certificates::{Certificates, Identities};
pub use door::TlsDoor;
pub use live::LiveCertificate;
pub use outbound::{Connector, connector, system_roots};
pub use stats::{TlsFailure, TlsStats};

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// PEM files.
    Files {
        /// The server's own certificate, then those that lead from it to a root.
        cert: PathBuf,
        /// Its key: PKCS#8, SEC1 or PKCS#1.
        key: PathBuf,
    },
    /// Made by the process for itself, for first steps: it encrypts, and proves nothing. All
    /// listeners share it.
    SelfSigned,
    /// Issued by an authority; until it is, the one issued before or a self-signed one. All listeners
    /// of a server that ask for it share one configuration and one certificate.
    Acme(Arc<AcmeConfig>),
}

impl Identity {
    fn acme(&self) -> Option<&Arc<AcmeConfig>> {
        match self {
            Self::Acme(config) => Some(config),
            Self::Files { .. } | Self::SelfSigned => None,
        }
    }
}
