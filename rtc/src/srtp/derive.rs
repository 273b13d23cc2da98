//! Session keys from the master key (RFC 3711 section 4.3), with a key derivation rate of 0.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::KeyError;

/// What a session key is for (RFC 3711 section 4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// An AES-128 key for counter mode.
pub(super) fn counter_key(key: &[u8]) -> Result<EncryptingKey, KeyError> {
    let key = UnboundCipherKey::new(&AES_128, key).map_err(|_| KeyError::Refused)?;
    EncryptingKey::ctr(key).map_err(|_| KeyError::Refused)
}

/// The first `N` bytes of the session key for `label`.
///
/// A salt of 12 bytes, as RFC 7714 section 11 has it, counts as one of 14 that ends in zeros.
pub(super) fn derive<const N: usize>(master: &EncryptingKey, salt: &[u8], label: Label) -> Result<[u8; N], KeyError> {
    let mut iv = [0; 16];
    iv.iter_mut().zip(salt).for_each(|(slot, byte)| *slot = *byte);
    iv[7] ^= label as u8;
    let mut key = [0; N];
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    master.less_safe_encrypt(&mut key, context).map_err(|_| KeyError::Refused)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 appendix B.3.
    #[test]
    fn the_session_keys_of_rfc_3711_come_out() {
        let master = counter_key(&0xE1F97A0D3E018BE0D64FA32C06DE4139_u128.to_be_bytes()).unwrap();
        let salt = &0x0EC675AD498AFEEBB6960B3AABE6_u128.to_be_bytes()[2..];
        let key: [u8; 16] = derive(&master, salt, Label::RtpEncryption).unwrap();
        assert_eq!(key, 0xC61E7A93744F39EE10734AFE3FF7A087_u128.to_be_bytes());
        let session_salt: [u8; 14] = derive(&master, salt, Label::RtpSalt).unwrap();
        assert_eq!(session_salt, 0x30CBBC08863D8C85D49DB34A9AE1_u128.to_be_bytes()[2..]);
        let auth: [u8; 94] = derive(&master, salt, Label::RtpAuthentication).unwrap();
        assert_eq!(auth[..16], 0xCEBE321F6FF7716B6FD4AB49AF256A15_u128.to_be_bytes());
        assert_eq!(auth[16..32], 0x6D38BAA48F0A0ACF3C34E2359E6CDBCE_u128.to_be_bytes());
        assert_eq!(auth[80..94], 0x6B68642C59BBFC2F34DB60DBDFB2_u128.to_be_bytes()[2..]);
    }

    /// RFC 3711 appendix B.2: the key stream that the session key and salt give.
    #[test]
    fn the_key_stream_of_rfc_3711_comes_out() {
        let key = counter_key(&0x2B7E151628AED2A6ABF7158809CF4F3C_u128.to_be_bytes()).unwrap();
        let iv = 0xF0F1F2F3F4F5F6F7F8F9FAFBFCFD0000_u128.to_be_bytes();
        let mut stream = [0; 0xff02 * 16];
        key.less_safe_encrypt(&mut stream, EncryptionContext::Iv128(FixedLength::from(iv))).unwrap();
        assert_eq!(stream[..16], 0xE03EAD0935C95E80E166B16DD92B4EB4_u128.to_be_bytes());
        assert_eq!(stream[16..32], 0xD23513162B02D0F72A43A2FE4A5F97AB_u128.to_be_bytes());
        assert_eq!(stream[0xff01 * 16..], 0x6A2CC3787889374FBEB4C81B17BA6C44_u128.to_be_bytes());
    }
}
