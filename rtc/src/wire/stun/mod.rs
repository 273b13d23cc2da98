//! STUN messages as ICE uses them (RFC 8489, RFC 8445 section 16.1).
//!
//! [`Message::parse`] borrows and checks the form, FINGERPRINT included; [`Message::verify`] checks
//! who wrote it. What comes after MESSAGE-INTEGRITY is not protected by it and is not read.

mod crc32;
mod write;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::{constant_time, hmac};

use super::read::{u8_at, u16_at, u32_at, u64_at};
pub use write::{REPLY_LEN_MAX, Request, emit_error, emit_success};

/// Bytes of the header.
pub const HEADER_LEN: usize = 20;
/// Marks a message as STUN (RFC 8489 section 5).
const MAGIC_COOKIE: u32 = 0x2112_a442;
/// What FINGERPRINT's CRC is masked with.
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// The one method there is.
const BINDING: u16 = 0x0001;
/// The longest USERNAME: 508 bytes and a zero (RFC 8489 section 14.3).
const USERNAME_LEN_MAX: usize = 508;

/// Attribute types (RFC 8489 section 18.3, RFC 8445 section 16.1).
mod attribute {
    pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(super) const REALM: u16 = 0x0014;
    pub(super) const NONCE: u16 = 0x0015;
    pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802a;
}

/// Why bytes are not a STUN message. Count and drop: nobody is owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StunError {
    /// Not the header of a STUN message: bits, cookie, or a length that is not the datagram's.
    #[error("not a STUN header")]
    Header,
    /// A method other than Binding.
    #[error("not a Binding message")]
    Method,
    /// An attribute runs past the end, or its value has an impossible length.
    #[error("STUN attribute {0:#06x} is malformed")]
    Attribute(u16),
    /// FINGERPRINT does not match, or is not last.
    #[error("STUN fingerprint is wrong")]
    Fingerprint,
}

/// What kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none: a keep-alive.
    Indication,
    /// The good answer.
    Success,
    /// The other answer.
    Error,
}

/// Ties an answer to its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Which ICE role the writer believes to have, with its tie-breaker (RFC 8445 section 7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It nominates.
    Controlling(u64),
    /// It follows.
    Controlled(u64),
}

/// A key for MESSAGE-INTEGRITY: the password of short-term credentials.
#[derive(Clone, Debug)]
pub struct IntegrityKey(hmac::Key);

impl IntegrityKey {
    /// The key that `password` is. ICE passwords are ASCII, on which SASLprep changes nothing.
    #[must_use]
    pub fn new(password: &str) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()))
    }

    /// The MAC over `covered`, whose length field is taken to be `length`.
    fn sign(&self, covered: &[u8], length: u16) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        let (class, rest) = covered.split_at_checked(2).unwrap_or((covered, &[]));
        context.update(class);
        context.update(&length.to_be_bytes());
        context.update(rest.get(2..).unwrap_or(&[]));
        context.sign()
    }
}

/// A Binding message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Request, answer or indication.
    pub class: Class,
    /// Ties request and answer.
    pub transaction: TransactionId,
    /// `receiver's ufrag:sender's ufrag`.
    pub username: Option<&'a str>,
    /// Of the candidate that a check would find (RFC 8445 section 7.1.1).
    pub priority: Option<u32>,
    /// Nominates the pair.
    pub use_candidate: bool,
    /// The sender's role.
    pub role: Option<Role>,
    /// The address that a request was seen to come from.
    pub mapped: Option<SocketAddr>,
    /// Of an error: 300 to 699.
    pub error_code: Option<u16>,
    /// An attribute that must be understood is not.
    pub unknown_required: bool,
    /// It ends with a FINGERPRINT, which is right.
    pub fingerprint: bool,
    /// The protected part and its MAC.
    integrity: Option<(&'a [u8], &'a [u8; 20])>,
}

impl<'a> Message<'a> {
    /// Reads a datagram that is exactly one message.
    ///
    /// # Errors
    /// What makes `data` no well-formed Binding message.
    pub fn parse(data: &'a [u8]) -> Result<Self, StunError> {
        let (class, transaction) = parse_header(data)?;
        let mut message = Self {
            class,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped: None,
            error_code: None,
            unknown_required: false,
            fingerprint: false,
            integrity: None,
        };
        let mut at = HEADER_LEN;
        while at < data.len() {
            let (kind, value, next) = attribute_at(data, at)?;
            if message.fingerprint {
                return Err(StunError::Fingerprint);
            }
            if kind == attribute::FINGERPRINT {
                let covered = data.get(..at).ok_or(StunError::Header)?;
                if value.len() != 4 || u32_at(value, 0) != Some(crc32::crc32(covered) ^ FINGERPRINT_XOR) {
                    return Err(StunError::Fingerprint);
                }
                message.fingerprint = true;
            } else {
                message.set(kind, value, data.get(..at).ok_or(StunError::Header)?).ok_or(StunError::Attribute(kind))?;
            }
            at = next;
        }
        Ok(message)
    }

    fn set(&mut self, kind: u16, value: &'a [u8], before: &'a [u8]) -> Option<()> {
        if self.integrity.is_some() {
            // RFC 8489 section 14.5: what follows is ignored; but a second MAC is nobody's honest message.
            return (kind != attribute::MESSAGE_INTEGRITY).then_some(());
        }
        match kind {
            attribute::MESSAGE_INTEGRITY => self.integrity = Some((before, value.try_into().ok()?)),
            // RFC 8489 section 14: of attributes that come twice the first counts.
            attribute::USERNAME => {
                let username = str::from_utf8(value).ok().filter(|name| name.len() <= USERNAME_LEN_MAX)?;
                self.username = self.username.or(Some(username));
            }
            attribute::PRIORITY => {
                let priority = u32_at(value, 0).filter(|_| value.len() == 4)?;
                self.priority = self.priority.or(Some(priority));
            }
            attribute::USE_CANDIDATE => {
                self.use_candidate = true;
                return value.is_empty().then_some(());
            }
            attribute::ICE_CONTROLLING | attribute::ICE_CONTROLLED => {
                let tie_breaker = u64_at(value, 0).filter(|_| value.len() == 8)?;
                let controlling = kind == attribute::ICE_CONTROLLING;
                let role = if controlling { Role::Controlling(tie_breaker) } else { Role::Controlled(tie_breaker) };
                self.role = self.role.or(Some(role));
            }
            attribute::XOR_MAPPED_ADDRESS => self.mapped = Some(read_xor_address(value, &self.transaction)?),
            attribute::ERROR_CODE => {
                // RFC 8489 section 14.8: the hundreds in 3 bits, then the rest.
                let (hundreds, rest) = (u8_at(value, 2)? & 7, u8_at(value, 3)?);
                if !(3..=6).contains(&hundreds) || rest > 99 {
                    return None;
                }
                self.error_code = Some(u16::from(hundreds) * 100 + u16::from(rest));
            }
            attribute::MAPPED_ADDRESS
            | attribute::UNKNOWN_ATTRIBUTES
            | attribute::REALM
            | attribute::NONCE
            | attribute::MESSAGE_INTEGRITY_SHA256 => {}
            // RFC 8489 section 14: the lower half of the types must be understood.
            _ => self.unknown_required |= kind < 0x8000,
        }
        Some(())
    }

    /// Whether the message carries MESSAGE-INTEGRITY at all.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether the message carries a MESSAGE-INTEGRITY made with `key`; takes the same time for any
    /// wrong one.
    #[must_use]
    pub fn verify(&self, key: &IntegrityKey) -> bool {
        let Some((covered, mac)) = self.integrity else { return false };
        // RFC 8489 section 14.5: the length counts up to the end of MESSAGE-INTEGRITY.
        let Ok(length) = u16::try_from(covered.len() + 24 - HEADER_LEN) else { return false };
        let expected = key.sign(covered, length);
        constant_time::verify_slices_are_equal(expected.as_ref(), mac).is_ok()
    }
}

fn parse_header(data: &[u8]) -> Result<(Class, TransactionId), StunError> {
    let (Some(kind), Some(length)) = (u16_at(data, 0), u16_at(data, 2)) else { return Err(StunError::Header) };
    let id = data.get(8..).and_then(<[u8]>::first_chunk).ok_or(StunError::Header)?;
    let fits = length % 4 == 0 && usize::from(length) + HEADER_LEN == data.len();
    if kind >> 14 != 0 || !fits || u32_at(data, 4) != Some(MAGIC_COOKIE) {
        return Err(StunError::Header);
    }
    // RFC 8489 section 5: the class is bits 4 and 8 of the type.
    let class = match kind & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    };
    if kind & !0x0110 != BINDING {
        return Err(StunError::Method);
    }
    Ok((class, TransactionId(*id)))
}

/// The attribute at `at`: type, value, and where the next one starts.
fn attribute_at(data: &[u8], at: usize) -> Result<(u16, &[u8], usize), StunError> {
    let (Some(kind), Some(len)) = (u16_at(data, at), u16_at(data, at + 2)) else { return Err(StunError::Header) };
    let end = at + 4 + usize::from(len);
    // RFC 8489 section 14: values are padded to whole words, and the padding may be anything.
    let next = end.next_multiple_of(4);
    let value = data.get(at + 4..end).filter(|_| next <= data.len()).ok_or(StunError::Attribute(kind))?;
    Ok((kind, value, next))
}

/// What kind of Binding message it is, from its header alone.
#[must_use]
pub fn peek_class(data: &[u8]) -> Option<Class> {
    parse_header(data).ok().map(|(class, _)| class)
}

/// The USERNAME of a Binding request, from its form alone: nothing is proven. For finding the peer
/// whose key proves it.
#[must_use]
pub fn peek_username(data: &[u8]) -> Option<&str> {
    let (Class::Request, _) = parse_header(data).ok()? else { return None };
    let mut at = HEADER_LEN;
    while at < data.len() {
        let (kind, value, next) = attribute_at(data, at).ok()?;
        match kind {
            attribute::USERNAME => return str::from_utf8(value).ok().filter(|name| name.len() <= USERNAME_LEN_MAX),
            attribute::MESSAGE_INTEGRITY => return None,
            _ => at = next,
        }
    }
    None
}

fn read_xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let port = u16_at(value, 2)? ^ (MAGIC_COOKIE >> 16) as u16;
    let ip = match (u8_at(value, 1)?, value.len()) {
        (1, 8) => IpAddr::V4(Ipv4Addr::from_bits(u32_at(value, 4)? ^ MAGIC_COOKIE)),
        (2, 20) => {
            let bits = u128::from_be_bytes(*value.get(4..)?.first_chunk()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ address_mask(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// What IPv6 addresses are masked with (RFC 8489 section 14.2): the cookie and the transaction id.
fn address_mask(transaction: &TransactionId) -> u128 {
    let low = transaction.0.iter().fold(0_u128, |mask, byte| mask << 8 | u128::from(*byte));
    u128::from(MAGIC_COOKIE) << 96 | low
}

#[cfg(test)]
mod tests;
