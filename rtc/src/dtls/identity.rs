//! Our certificate, made at start, and the handshake configurations that carry it.

use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::AwsLcRsProvider;
use rtc::dtls::cipher_suite::CipherSuiteId;
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;

use super::DtlsError;
use super::keys::digest_of;
use crate::{sdp::HashAlgorithm, srtp::SrtpProfile};

/// The server's self-signed ECDSA P-256 certificate. Cheap to clone.
///
/// One for the life of the process: peers learn its fingerprint from each answer, so nothing is
/// gained by keeping it longer.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    fingerprint: String,
    passive_gcm: Arc<HandshakeConfig>,
    passive_cm: Arc<HandshakeConfig>,
    active: Arc<HandshakeConfig>,
}

/// No certificate could be made: the environment's fault (no randomness).
#[derive(Debug, thiserror::Error)]
#[error("cannot make a DTLS certificate: {0}")]
pub struct IdentityError(String);

impl Identity {
    /// Makes a key and a certificate.
    ///
    /// # Errors
    ///
    /// If the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::offering(&[SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80])
    }

    /// As [`Identity::generate`]; on the active side it offers these profiles only, the preferred
    /// first. The passive side takes the better one of what it is offered all the same.
    ///
    /// # Errors
    ///
    /// If the system gives no randomness.
    pub fn offering(profiles: &[SrtpProfile]) -> Result<Self, IdentityError> {
        let failed = |error: rtc::shared::error::Error| IdentityError(error.to_string());
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["weir".to_owned()], provider.crypto()).map_err(failed)?;
        let der = certificate.certificate.first().ok_or_else(|| IdentityError("no certificate".to_owned()))?;
        let fingerprint = hex(digest_of(der, HashAlgorithm::Sha256).as_ref());
        let build = |is_client: bool, suites: &[CipherSuiteId], profiles: &[SrtpProtectionProfile]| {
            let builder = ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_cipher_suites(suites.to_vec())
                .with_srtp_protection_profiles(profiles.to_vec())
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                // No authority signs these certificates: the fingerprint is the proof, and this
                // module checks it (RFC 8827 section 6.5).
                .with_insecure_skip_verify(true)
                .with_extended_master_secret(ExtendedMasterSecretType::Request)
                .with_flight_interval(FLIGHT_INTERVAL)
                .with_server_name("weir".to_owned())
                .with_mtu(MTU_BYTES);
            builder.build(is_client, None).map(Arc::new).map_err(failed)
        };
        let gcm = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
        let cm = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
        let offered: Vec<_> =
            profiles.iter().map(|profile| if *profile == SrtpProfile::AeadAes128Gcm { gcm } else { cm }).collect();
        Ok(Self {
            inner: Arc::new(Inner {
                fingerprint,
                passive_gcm: build(false, &SUITES_ECDSA, &[gcm])?,
                passive_cm: build(false, &SUITES_ECDSA, &[cm])?,
                active: build(true, &SUITES_ALL, &offered)?,
            }),
        })
    }

    /// SHA-256 of the certificate as `a=fingerprint` writes it: upper-case hex with colons.
    pub fn fingerprint_sha256(&self) -> String {
        self.inner.fingerprint.clone()
    }

    pub(super) fn active(&self) -> Arc<HandshakeConfig> {
        self.inner.active.clone()
    }

    /// The library takes the first profile of the client's list that the configuration knows, and
    /// browsers put the dear one first. A configuration that knows one only makes it our choice.
    pub(super) fn passive(&self, offered: &[SrtpProfile]) -> Result<Arc<HandshakeConfig>, DtlsError> {
        if offered.contains(&SrtpProfile::AeadAes128Gcm) {
            Ok(self.inner.passive_gcm.clone())
        } else if offered.contains(&SrtpProfile::AesCm128HmacSha1_80) {
            Ok(self.inner.passive_cm.clone())
        } else {
            Err(DtlsError::Handshake("no common SRTP profile".to_owned()))
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("fingerprint", &self.inner.fingerprint).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Every flight is due again this long after it was sent, as far as the library goes; the engine
/// decides when it really is.
pub(super) const FLIGHT_INTERVAL: Duration = Duration::from_millis(50);

/// The library cuts handshake messages at this size and adds up to 50 bytes of headers and
/// protection; datagrams stay within 1,200 bytes, which every path carries.
const MTU_BYTES: usize = 1_150;

/// RFC 8827 section 6.5 makes the first mandatory. No CBC: all peers know an AEAD.
const SUITES_ECDSA: [CipherSuiteId; 2] =
    [CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256, CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256];

/// As a client, RSA too: the certificate is the peer's.
const SUITES_ALL: [CipherSuiteId; 4] = [
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Ecdsa_With_ChaCha20_Poly1305_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_Aes_128_Gcm_Sha256,
    CipherSuiteId::Tls_Ecdhe_Rsa_With_ChaCha20_Poly1305_Sha256,
];
