//! Writing of Binding requests and their answers into a caller's buffer, without allocation.

use std::net::{IpAddr, SocketAddr};

use super::{
    BINDING, FINGERPRINT_XOR, HEADER_LEN, IntegrityKey, MAGIC_COOKIE, Role, TransactionId, USERNAME_LEN_MAX, address_mask,
    attribute, crc32,
};

/// Room for any answer that is written here: 76 bytes are the success response to an IPv6 address,
/// and error reasons are cut at 24 bytes.
pub const REPLY_LEN_MAX: usize = 88;
/// An error's reason, in bytes.
const REASON_LEN_MAX: usize = 24;

/// A Binding request: an ICE connectivity check (RFC 8445 section 7.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Ties the answer to it.
    pub transaction: TransactionId,
    /// `receiver's ufrag:sender's ufrag`; at most 508 bytes.
    pub username: &'a str,
    /// Of a candidate learnt from this check.
    pub priority: u32,
    /// The sender's role.
    pub role: Role,
    /// Nominates the pair.
    pub use_candidate: bool,
}

impl Request<'_> {
    /// Writes the request, signed with the receiver's password; returns its length, or `None` if
    /// `out` is too small or the username too long.
    #[must_use]
    pub fn emit(&self, key: &IntegrityKey, out: &mut [u8]) -> Option<usize> {
        if self.username.len() > USERNAME_LEN_MAX {
            return None;
        }
        let mut writer = Writer::new(BINDING, &self.transaction, out)?;
        writer.put(attribute::USERNAME, self.username.as_bytes())?;
        writer.put(attribute::PRIORITY, &self.priority.to_be_bytes())?;
        let (role, tie_breaker) = match self.role {
            Role::Controlling(tie_breaker) => (attribute::ICE_CONTROLLING, tie_breaker),
            Role::Controlled(tie_breaker) => (attribute::ICE_CONTROLLED, tie_breaker),
        };
        writer.put(role, &tie_breaker.to_be_bytes())?;
        if self.use_candidate {
            writer.put(attribute::USE_CANDIDATE, &[])?;
        }
        writer.finish(key)
    }
}

/// Writes the success response to a request that came from `mapped`; returns its length, at most
/// [`REPLY_LEN_MAX`], or `None` if `out` is too small.
#[must_use]
pub fn emit_success(transaction: &TransactionId, mapped: SocketAddr, key: &IntegrityKey, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(BINDING | 0x0100, transaction, out)?;
    let [p0, p1] = (mapped.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes();
    let mut value = [0, 1, p0, p1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    match mapped.ip() {
        IpAddr::V4(ip) => {
            value[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
            writer.put(attribute::XOR_MAPPED_ADDRESS, &value[..8])?;
        }
        IpAddr::V6(ip) => {
            value[1] = 2;
            value[4..].copy_from_slice(&(ip.to_bits() ^ address_mask(transaction)).to_be_bytes());
            writer.put(attribute::XOR_MAPPED_ADDRESS, &value)?;
        }
    }
    writer.finish(key)
}

/// Writes the error response `code` (300 to 699) with the first 24 bytes of `reason`; returns its
/// length, at most [`REPLY_LEN_MAX`], or `None` if `out` is too small. It is signed, so it is only for
/// requests that were.
#[must_use]
pub fn emit_error(transaction: &TransactionId, code: u16, reason: &str, key: &IntegrityKey, out: &mut [u8]) -> Option<usize> {
    let mut writer = Writer::new(BINDING | 0x0110, transaction, out)?;
    let reason = reason.as_bytes();
    let reason = reason.get(..REASON_LEN_MAX).unwrap_or(reason);
    let mut value = [0; 4 + REASON_LEN_MAX];
    // RFC 8489 section 14.8: the hundreds in 3 bits, then the rest.
    value[2] = ((code / 100) & 7) as u8;
    value[3] = (code % 100) as u8;
    value.get_mut(4..4 + reason.len())?.copy_from_slice(reason);
    writer.put(attribute::ERROR_CODE, value.get(..4 + reason.len())?)?;
    writer.finish(key)
}

/// A message being written.
struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Writer<'o> {
    fn new(kind: u16, transaction: &TransactionId, out: &'o mut [u8]) -> Option<Self> {
        let header: &mut [u8; HEADER_LEN] = out.first_chunk_mut()?;
        header[..2].copy_from_slice(&kind.to_be_bytes());
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&transaction.0);
        Some(Self { out, len: HEADER_LEN })
    }

    fn put(&mut self, kind: u16, value: &[u8]) -> Option<()> {
        let end = self.len + 4 + value.len();
        let padded = end.next_multiple_of(4);
        let slot = self.out.get_mut(self.len..padded)?;
        let (head, body) = slot.split_at_mut_checked(4)?;
        head[..2].copy_from_slice(&kind.to_be_bytes());
        head[2..].copy_from_slice(&u16::try_from(value.len()).ok()?.to_be_bytes());
        let (body, padding) = body.split_at_mut_checked(value.len())?;
        body.copy_from_slice(value);
        padding.fill(0);
        self.len = padded;
        Some(())
    }

    /// Sets the length field as if the message were `upto` bytes long.
    fn set_length(&mut self, upto: usize) -> Option<u16> {
        let length = u16::try_from(upto.checked_sub(HEADER_LEN)?).ok()?;
        self.out.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
        Some(length)
    }

    /// Signs and ends the message: MESSAGE-INTEGRITY, FINGERPRINT.
    fn finish(mut self, key: &IntegrityKey) -> Option<usize> {
        // Each of the two covers a length field that already counts it (RFC 8489 sections 14.5, 14.7).
        let length = self.set_length(self.len + 24)?;
        let mac = key.sign(self.out.get(..self.len)?, length);
        self.put(attribute::MESSAGE_INTEGRITY, mac.as_ref())?;
        self.set_length(self.len + 8)?;
        let fingerprint = crc32::crc32(self.out.get(..self.len)?) ^ FINGERPRINT_XOR;
        self.put(attribute::FINGERPRINT, &fingerprint.to_be_bytes())?;
        Some(self.len)
    }
}
