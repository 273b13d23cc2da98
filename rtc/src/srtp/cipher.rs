//! The two profiles' ciphers: sealing and opening one packet whose index is already known.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

use super::derive::{Label, counter_key, derive};
use super::{KeyError, SrtpProfile};

/// The start of an RTCP packet that stays in plain text (RFC 3711 section 3.4).
pub(super) const RTCP_CLEAR_LEN: usize = 8;
/// The flag beside the SRTCP index: the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;
/// HMAC-SHA1 cut to 80 bits.
const CM_TAG_LEN: usize = 10;
/// AES-GCM's tag, whole.
const GCM_TAG_LEN: usize = 16;

/// Session keys of one direction.
pub(super) enum Cipher {
    /// RFC 7714.
    Gcm { rtp: GcmKeys, rtcp: GcmKeys },
    /// RFC 3711. Boxed: the key schedules take 3.5 KiB.
    Cm { rtp: Box<CmKeys>, rtcp: Box<CmKeys> },
}

impl Cipher {
    pub(super) fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(KeyError::Length(profile));
        }
        let master = counter_key(key)?;
        match profile {
            SrtpProfile::AeadAes128Gcm => Ok(Self::Gcm {
                rtp: GcmKeys::derive(&master, salt, Label::RtpEncryption, Label::RtpSalt)?,
                rtcp: GcmKeys::derive(&master, salt, Label::RtcpEncryption, Label::RtcpSalt)?,
            }),
            SrtpProfile::AesCm128HmacSha1_80 => {
                let rtp = [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt];
                let rtcp = [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt];
                Ok(Self::Cm {
                    rtp: Box::new(CmKeys::derive(&master, salt, rtp)?),
                    rtcp: Box::new(CmKeys::derive(&master, salt, rtcp)?),
                })
            }
        }
    }

    pub(super) fn profile(&self) -> SrtpProfile {
        match self {
            Self::Gcm { .. } => SrtpProfile::AeadAes128Gcm,
            Self::Cm { .. } => SrtpProfile::AesCm128HmacSha1_80,
        }
    }

    /// Seals `header | start | rest` with packet index `index` into `out`, which has exactly room for
    /// them and the tag. The payload comes in two parts: one may be padding, or a short prefix.
    pub(super) fn seal_rtp(&self, ssrc: u32, index: u64, header: &[u8], [start, rest]: [&[u8]; 2], out: &mut [u8]) -> Option<()> {
        let (head, body) = out.split_at_mut_checked(header.len())?;
        head.copy_from_slice(header);
        match self {
            Self::Gcm { rtp, .. } => {
                let (sealed, rest_and_tag) = body.split_at_mut_checked(start.len())?;
                let nonce = rtp.nonce(ssrc, index);
                let aad = Aad::from(header);
                rtp.key.seal_out_of_place_scatter(nonce, aad, start, sealed, rest, rest_and_tag).ok()
            }
            Self::Cm { rtp, .. } => {
                let (first, second) = body.split_at_mut_checked(start.len())?;
                first.copy_from_slice(start);
                second.get_mut(..rest.len())?.copy_from_slice(rest);
                let sealed_len = start.len() + rest.len();
                rtp.apply(ssrc, index, body.get_mut(..sealed_len)?)?;
                let (sealed, tag) = out.split_at_mut_checked(header.len() + sealed_len)?;
                let mac = rtp.mac(sealed, &roll_over(index));
                tag.copy_from_slice(mac.as_ref().get(..CM_TAG_LEN)?);
                Some(())
            }
        }
    }

    /// Opens a packet in place; `packet` is left in an undefined state when its tag is wrong.
    pub(super) fn open_rtp(&self, ssrc: u32, index: u64, packet: &mut [u8], header_len: usize) -> Option<()> {
        match self {
            Self::Gcm { rtp, .. } => {
                let (header, body) = packet.split_at_mut_checked(header_len)?;
                rtp.key.open_in_place(rtp.nonce(ssrc, index), Aad::from(&*header), body).ok().map(drop)
            }
            Self::Cm { rtp, .. } => {
                let tag_at = packet.len().checked_sub(CM_TAG_LEN)?;
                let (sealed, tag) = packet.split_at_mut_checked(tag_at)?;
                let mac = rtp.mac(sealed, &roll_over(index));
                constant_time::verify_slices_are_equal(mac.as_ref().get(..CM_TAG_LEN)?, tag).ok()?;
                rtp.apply(ssrc, index, sealed.get_mut(header_len..)?)
            }
        }
    }

    /// Seals an RTCP packet into `out`, which has exactly room for it, the tag and the index.
    pub(super) fn seal_rtcp(&self, ssrc: u32, index: u32, packet: &[u8], out: &mut [u8]) -> Option<()> {
        let trailer = (index | ENCRYPTED).to_be_bytes();
        match self {
            Self::Gcm { rtcp, .. } => {
                let (clear, plain) = packet.split_at_checked(RTCP_CLEAR_LEN)?;
                let (head, body) = out.split_at_mut_checked(RTCP_CLEAR_LEN)?;
                head.copy_from_slice(clear);
                let (sealed, rest) = body.split_at_mut_checked(plain.len())?;
                let (tag, last) = rest.split_at_mut_checked(GCM_TAG_LEN)?;
                last.copy_from_slice(&trailer);
                let aad = Aad::from(gcm_rtcp_aad(head, &trailer)?);
                rtcp.key.seal_out_of_place_scatter(rtcp.nonce(ssrc, index.into()), aad, plain, sealed, &[], tag).ok()
            }
            Self::Cm { rtcp, .. } => {
                let (covered, tag) = out.split_at_mut_checked(packet.len() + trailer.len())?;
                let (sealed, last) = covered.split_at_mut_checked(packet.len())?;
                sealed.copy_from_slice(packet);
                last.copy_from_slice(&trailer);
                rtcp.apply(ssrc, index.into(), sealed.get_mut(RTCP_CLEAR_LEN..)?)?;
                tag.copy_from_slice(rtcp.mac(covered, &[]).as_ref().get(..CM_TAG_LEN)?);
                Some(())
            }
        }
    }

    /// The four bytes of flag and index: last under GCM (RFC 7714 section 9.2), before the tag
    /// otherwise (RFC 3711 section 3.4).
    pub(super) fn rtcp_trailer(&self, packet: &[u8]) -> Option<u32> {
        let behind = match self {
            Self::Gcm { .. } => 0,
            Self::Cm { .. } => CM_TAG_LEN,
        };
        let at = packet.len().checked_sub(4 + behind)?;
        packet.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// Opens an RTCP packet in place; `trailer` is what [`Self::rtcp_trailer`] found.
    pub(super) fn open_rtcp(&self, ssrc: u32, trailer: u32, packet: &mut [u8]) -> Option<()> {
        let index = u64::from(trailer & !ENCRYPTED);
        match self {
            Self::Gcm { rtcp, .. } => {
                let sealed_len = packet.len().checked_sub(4)?;
                let (head, body) = packet.get_mut(..sealed_len)?.split_at_mut_checked(RTCP_CLEAR_LEN)?;
                let aad = Aad::from(gcm_rtcp_aad(head, &trailer.to_be_bytes())?);
                rtcp.key.open_in_place(rtcp.nonce(ssrc, index), aad, body).ok().map(drop)
            }
            Self::Cm { rtcp, .. } => {
                let tag_at = packet.len().checked_sub(CM_TAG_LEN)?;
                let (covered, tag) = packet.split_at_mut_checked(tag_at)?;
                let mac = rtcp.mac(covered, &[]);
                constant_time::verify_slices_are_equal(mac.as_ref().get(..CM_TAG_LEN)?, tag).ok()?;
                let sealed_len = covered.len().checked_sub(4)?;
                rtcp.apply(ssrc, index, covered.get_mut(RTCP_CLEAR_LEN..sealed_len)?)
            }
        }
    }
}

/// What RFC 7714 section 9.2 authenticates beside the sealed part of an RTCP packet.
fn gcm_rtcp_aad(head: &[u8], trailer: &[u8; 4]) -> Option<[u8; RTCP_CLEAR_LEN + 4]> {
    let mut aad = [0; RTCP_CLEAR_LEN + 4];
    let (start, end) = aad.split_at_mut(RTCP_CLEAR_LEN);
    start.copy_from_slice(head.get(..RTCP_CLEAR_LEN)?);
    end.copy_from_slice(trailer);
    Some(aad)
}

/// The roll-over counter of a packet index, as HMAC covers it (RFC 3711 section 4.2).
fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// AES-128-GCM for RTP or RTCP.
pub(super) struct GcmKeys {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl GcmKeys {
    fn derive(master: &EncryptingKey, salt: &[u8], encryption: Label, session_salt: Label) -> Result<Self, KeyError> {
        Self::new(&derive(master, salt, encryption)?, derive(master, salt, session_salt)?)
    }

    /// From session keys.
    pub(super) fn new(key: &[u8; 16], salt: [u8; 12]) -> Result<Self, KeyError> {
        let key = UnboundKey::new(&AES_128_GCM, key).map_err(|_| KeyError::Refused)?;
        Ok(Self { key: LessSafeKey::new(key), salt })
    }

    /// RFC 7714 sections 8.1 and 9.1: two zero bytes, SSRC, 48-bit index; masked by the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let [_, _, index @ ..] = index.to_be_bytes();
        let mut nonce = self.salt;
        nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(slot, byte)| *slot ^= byte);
        nonce[6..].iter_mut().zip(index).for_each(|(slot, byte)| *slot ^= byte);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// AES-128 in counter mode and HMAC-SHA1 for RTP or RTCP.
pub(super) struct CmKeys {
    key: EncryptingKey,
    authentication: hmac::Key,
    salt: [u8; 14],
}

impl CmKeys {
    fn derive(master: &EncryptingKey, salt: &[u8], labels: [Label; 3]) -> Result<Self, KeyError> {
        let [encryption, authentication, session_salt] = labels;
        let key: [u8; 16] = derive(master, salt, encryption)?;
        let authentication: [u8; 20] = derive(master, salt, authentication)?;
        Ok(Self {
            key: counter_key(&key)?,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
            salt: derive(master, salt, session_salt)?,
        })
    }

    /// Encrypts or decrypts (RFC 3711 section 4.1.1): the counter starts from SSRC and index masked
    /// by the salt.
    fn apply(&self, ssrc: u32, index: u64, body: &mut [u8]) -> Option<()> {
        let [_, _, index @ ..] = index.to_be_bytes();
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[4..8].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(slot, byte)| *slot ^= byte);
        iv[8..14].iter_mut().zip(index).for_each(|(slot, byte)| *slot ^= byte);
        self.key.less_safe_encrypt(body, EncryptionContext::Iv128(FixedLength::from(iv))).ok().map(drop)
    }

    fn mac(&self, covered: &[u8], more: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(covered);
        context.update(more);
        context.sign()
    }
}
