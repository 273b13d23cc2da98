//! One certificate with its key, ready for handshakes, and what an operator wants to know of it.

use std::{
    fmt::Write as _,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::aws_lc_rs::digest;
use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

/// The largest PEM file that is read: a hundred times a usual chain.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long a self-signed certificate is valid. Browsers refuse longer than 398 days.
const SELF_SIGNED_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);
/// How much earlier than its making it begins: for clients whose clock is slow.
const SELF_SIGNED_SLACK: Duration = Duration::from_secs(24 * 3_600);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of the kind that is asked for.
    #[error("{path} holds no PEM {what}: {source}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// "certificate" or "private key".
        what: &'static str,
        /// The reason.
        source: pem::Error,
    },
    /// The key is of a kind that cannot sign, or belongs to another certificate.
    #[error("the certificate {cert} and the key {key} do not go together: {source}")]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// What stands in the PEM is no X.509 certificate.
    #[error("the certificate cannot be read")]
    NoX509,
    /// The folder for ACME's account and certificate cannot be written to.
    #[error("{path} cannot be written to: {source}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Nobody can be believed to be another server.
    #[error("this system trusts no certificates (package ca-certificates)")]
    NoRoots,
    /// No certificate could be made.
    #[error("no self-signed certificate could be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// The certificate that was made cannot be used.
    #[error("the self-signed certificate cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
}

/// What an operator wants to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the certificate, as browsers and `openssl x509 -fingerprint` show it.
    pub fingerprint: String,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it stops being valid.
    pub not_after: SystemTime,
}

impl CertificateFacts {
    fn of(der: &[u8]) -> Result<Self, TlsError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| TlsError::NoX509)?;
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let validity = parsed.validity();
        let [not_before, not_after] = [validity.not_before, validity.not_after].map(|time| at(time.timestamp()));
        let fingerprint = hex(digest::digest(&digest::SHA256, der).as_ref(), ":");
        Ok(Self { fingerprint, not_before, not_after })
    }

    /// How long until the last third of its life; zero once that has begun.
    pub(super) fn until_renewal(&self, now: SystemTime) -> Duration {
        let third = self.not_after.duration_since(self.not_before).unwrap_or_default() / 3;
        self.remaining(now).saturating_sub(third)
    }

    /// How long it is still valid; zero once it is not.
    pub fn remaining(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: CertificateFacts,
}

impl Certificate {
    /// Reads a pair of files; one that does not go together is an error.
    pub(super) fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::of_pem(&bytes(cert)?, &bytes(key)?, [cert, key])
    }

    /// Reads what stands, or is to stand, in these two files; they may be one.
    pub(super) fn of_pem(cert_text: &[u8], key_text: &[u8], [cert, key]: [&Path; 2]) -> Result<Self, TlsError> {
        let fail = |path: &Path, what| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, what, source }
        };
        let chain = CertificateDer::pem_slice_iter(cert_text).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(fail(cert, "certificate"))?;
        let Some(first) = chain.first() else { return Err(fail(cert, "certificate")(pem::Error::NoItemsFound)) };
        let facts = CertificateFacts::of(first)?;
        let private = PrivateKeyDer::from_pem_slice(key_text).map_err(fail(key, "private key"))?;
        let certified = CertifiedKey::from_der(chain, private, &provider());
        let certified = certified.map_err(|source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source })?;
        Ok(Self { key: Arc::new(certified), facts })
    }

    /// Makes one for this machine's own names.
    pub(super) fn make(now: SystemTime) -> Result<Self, TlsError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names)?;
        params.distinguished_name.push(rcgen::DnType::CommonName, "Weir, self-signed");
        params.not_before = (now - SELF_SIGNED_SLACK).into();
        params.not_after = (now + SELF_SIGNED_LIFE).into();
        let key = rcgen::KeyPair::generate()?;
        let der = params.self_signed(&key)?.der().clone();
        let facts = CertificateFacts::of(&der)?;
        let private = PrivatePkcs8KeyDer::from(key.serialize_der());
        let certified = CertifiedKey::from_der(vec![der], private.into(), &provider()).map_err(TlsError::Unusable)?;
        Ok(Self { key: Arc::new(certified), facts })
    }
}

pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_file(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// In hexadecimal, with something between the bytes.
pub(super) fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().enumerate().fold(String::new(), |mut text, (n, byte)| {
        let _infallible = write!(text, "{}{byte:02X}", if n == 0 { "" } else { between });
        text
    })
}

/// The one crypto library of the house.
pub(super) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
