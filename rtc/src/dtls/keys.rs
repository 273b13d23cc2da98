//! SRTP keys of a finished handshake, and the check that they are shared with the right peer.

use std::fmt;

use aws_lc_rs::digest;
use rtc::crypto::SecretVec;

use crate::{
    sdp::{DtlsRole, Fingerprint, HashAlgorithm},
    srtp::SrtpProfile,
};

/// SRTP master keys, already told apart by direction.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyingMaterial {
    /// What both sides agreed on.
    pub profile: SrtpProfile,
    /// We protect with it.
    pub local_key: Vec<u8>,
    /// We protect with it.
    pub local_salt: Vec<u8>,
    /// The peer protects with it.
    pub remote_key: Vec<u8>,
    /// The peer protects with it.
    pub remote_salt: Vec<u8>,
}

impl KeyingMaterial {
    /// Bytes to export from the handshake under [`EXPORTER_LABEL`].
    pub(super) fn export_len(profile: SrtpProfile) -> usize {
        2 * (profile.key_len() + profile.salt_len())
    }

    /// RFC 5764 section 4.2: both keys, then both salts, the client's first. `None` if `exported`
    /// is too short.
    pub(super) fn split(profile: SrtpProfile, role: DtlsRole, exported: &SecretVec) -> Option<Self> {
        let bytes = exported.as_ref();
        let (client_key, bytes) = bytes.split_at_checked(profile.key_len())?;
        let (server_key, bytes) = bytes.split_at_checked(profile.key_len())?;
        let (client_salt, bytes) = bytes.split_at_checked(profile.salt_len())?;
        let server_salt = bytes.get(..profile.salt_len())?;
        let client = (client_key.to_vec(), client_salt.to_vec());
        let server = (server_key.to_vec(), server_salt.to_vec());
        let (local, remote) = match role {
            DtlsRole::Active => (client, server),
            DtlsRole::Passive => (server, client),
        };
        Some(Self { profile, local_key: local.0, local_salt: local.1, remote_key: remote.0, remote_salt: remote.1 })
    }
}

impl fmt::Debug for KeyingMaterial {
    /// Keys do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyingMaterial").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Whether a certificate is the one that the offer announced.
///
/// RFC 8122 section 5: of several hashes the strongest counts, and one match under it is enough
/// (a peer may announce two certificates). SHA-1 alone never counts.
pub(super) fn is_announced(certificate: &[u8], announced: &[Fingerprint]) -> bool {
    let strongest = announced.iter().map(|fingerprint| fingerprint.algorithm).max();
    let Some(algorithm) = strongest.filter(|algorithm| *algorithm > HashAlgorithm::Sha1) else { return false };
    let digest = digest_of(certificate, algorithm);
    announced.iter().any(|fingerprint| fingerprint.algorithm == algorithm && fingerprint.digest == digest.as_ref())
}

pub(super) fn digest_of(certificate: &[u8], algorithm: HashAlgorithm) -> digest::Digest {
    let algorithm = match algorithm {
        HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        HashAlgorithm::Sha256 => &digest::SHA256,
        HashAlgorithm::Sha384 => &digest::SHA384,
        HashAlgorithm::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, certificate)
}

/// RFC 5764 section 4.2.
pub(super) const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";
