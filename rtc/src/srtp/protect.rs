//! Our side of SRTP: seals what we send.

use std::fmt;

use super::cipher::{Cipher, ENCRYPTED, RTCP_CLEAR_LEN};
use super::{KeyError, SrtpProfile};
use crate::wire::read::{u16_at, u32_at};

/// Seals outgoing RTP and RTCP with our keys.
///
/// Under one key a pair of SSRC and packet index must never be used for two different packets: the
/// caller, who numbers RTP packets, guarantees it. The SRTCP index is counted here.
pub struct Protect {
    cipher: Cipher,
    /// Index of the last RTCP packet, 31 bits.
    rtcp_index: u32,
}

impl Protect {
    /// Derives the session keys from our master key and salt.
    ///
    /// # Errors
    /// The lengths are not the profile's.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { cipher: Cipher::new(profile, key, salt)?, rtcp_index: 0 })
    }

    /// The negotiated profile.
    #[must_use]
    pub fn profile(&self) -> SrtpProfile {
        self.cipher.profile()
    }

    /// Seals an RTP packet into the start of `out`, without allocating; returns its length. `header`
    /// is the whole RTP header with its extensions, `roc` the roll-over count of its sequence number.
    /// `None` if `out` is too small or `header` is no header.
    pub fn rtp_into(&self, roc: u32, header: &[u8], payload: &[u8], out: &mut [u8]) -> Option<usize> {
        self.rtp_parts_into(roc, header, [payload, &[]], out)
    }

    /// As [`Self::rtp_into`], with RTP padding behind the payload: the padding bit of `header` is set
    /// and the last byte of `padding` is its length. For packets that must be of one size.
    pub fn rtp_padded_into(&self, roc: u32, header: &[u8], payload: &[u8], padding: &[u8], out: &mut [u8]) -> Option<usize> {
        self.rtp_parts_into(roc, header, [payload, padding], out)
    }

    /// As [`Self::rtp_into`], with a payload that lies in two places: its start, such as the header
    /// of a payload format, and the rest.
    pub fn rtp_parts_into(&self, roc: u32, header: &[u8], parts: [&[u8]; 2], out: &mut [u8]) -> Option<usize> {
        let (sequence, ssrc) = (u16_at(header, 2)?, u32_at(header, 8)?);
        let index = u64::from(roc) << 16 | u64::from(sequence);
        let [start, rest] = parts;
        let len = header.len() + start.len() + rest.len() + self.profile().tag_len();
        self.cipher.seal_rtp(ssrc, index, header, parts, out.get_mut(..len)?)?;
        Some(len)
    }

    /// Appends the sealed form of an RTCP packet (compound or not) to `out`. False, and nothing
    /// appended, if `packet` is too short to be one, or after 2^31 of them: RFC 3711 section 9.2
    /// wants new keys then.
    pub fn rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> bool {
        let (Some(ssrc), Some(index)) = (u32_at(packet, 4), self.rtcp_index.checked_add(1)) else { return false };
        if packet.len() < RTCP_CLEAR_LEN || index >= ENCRYPTED {
            return false;
        }
        let start = out.len();
        out.resize(start + packet.len() + self.profile().rtcp_overhead(), 0);
        let sealed = out.get_mut(start..).and_then(|slot| self.cipher.seal_rtcp(ssrc, index, packet, slot));
        if sealed.is_none() {
            out.truncate(start);
            return false;
        }
        self.rtcp_index = index;
        true
    }
}

impl fmt::Debug for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protect").field("profile", &self.profile()).finish_non_exhaustive()
    }
}
