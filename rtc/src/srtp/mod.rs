//! SRTP and SRTCP (RFC 3711, RFC 7714): seals what we send, opens and proves what comes.
//!
//! One [`Protect`] and one [`Unprotect`] per peer, keyed by its DTLS handshake (RFC 5764). We do
//! not do: MKI, re-keying, a key derivation rate other than 0, unencrypted or unauthenticated
//! streams, the 32-bit tag.

mod cipher;
mod derive;
mod protect;
mod replay;
mod unprotect;

pub use protect::Protect;
pub use unprotect::{Unprotect, UnprotectError, Unprotected, UnprotectedRtcp};

/// A protection profile that DTLS may negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// AES-128-GCM (RFC 7714): the cheaper one by five times, and so the one we prefer.
    AeadAes128Gcm,
    /// AES-128 in counter mode and HMAC-SHA1 cut to 80 bits (RFC 3711): what everybody has.
    AesCm128HmacSha1_80,
}

/// Keying material of a wrong length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key or the salt does not have the length that the profile wants.
    #[error("SRTP key or salt of a wrong length for {0:?}")]
    Length(SrtpProfile),
    /// The crypto library refused the key.
    #[error("SRTP key refused by the crypto library")]
    Refused,
}

impl SrtpProfile {
    /// The name that DTLS gives it (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        }
    }

    /// The profile of an identifier in `use_srtp` (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
    #[must_use]
    pub fn from_id(id: u16) -> Option<Self> {
        match id {
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0001 => Some(Self::AesCm128HmacSha1_80),
            _ => None,
        }
    }

    /// The identifier in `use_srtp`.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 0x0007,
            Self::AesCm128HmacSha1_80 => 0x0001,
        }
    }

    /// Bytes of a master key.
    #[must_use]
    pub fn key_len(self) -> usize {
        16
    }

    /// Bytes of a master salt.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::AesCm128HmacSha1_80 => 14,
        }
    }

    /// Bytes that sealing adds to an RTP packet.
    #[must_use]
    pub fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::AesCm128HmacSha1_80 => 10,
        }
    }

    /// Bytes that sealing adds to an RTCP packet: the tag and the index.
    #[must_use]
    pub fn rtcp_overhead(self) -> usize {
        self.tag_len() + 4
    }
}

#[cfg(test)]
mod tests;
