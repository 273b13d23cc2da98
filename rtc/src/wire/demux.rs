//! Which protocol a datagram of the one media port belongs to, from its first two bytes.
//!
//! A class is a guess worth one look: the parser behind it decides.

/// What a datagram looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A STUN message (RFC 8489).
    Stun,
    /// One or more DTLS records.
    Dtls,
    /// SRTP.
    Rtp,
    /// SRTCP.
    Rtcp,
    /// Nothing we speak: TURN channel data, ZRTP, noise.
    Unknown,
}

/// The smallest STUN message: a header without attributes (RFC 8489 section 5).
const STUN_LEN_MIN: usize = 20;
/// The smallest DTLS record: its header (RFC 6347 section 4.1).
const DTLS_LEN_MIN: usize = 13;
/// The smallest RTP packet: the fixed header (RFC 3550 section 5.1).
const RTP_LEN_MIN: usize = 12;
/// The smallest RTCP packet: header and one SSRC (RFC 3550 section 6.4.2).
const RTCP_LEN_MIN: usize = 8;

/// The class of `datagram`. What is too short for its protocol is [`Class::Unknown`].
#[must_use]
pub fn classify(datagram: &[u8]) -> Class {
    let [first, second, ..] = *datagram else { return Class::Unknown };
    let (class, len_min) = match first {
        // RFC 7983 section 7.
        0..=3 => (Class::Stun, STUN_LEN_MIN),
        20..=63 => (Class::Dtls, DTLS_LEN_MIN),
        // RFC 5761 section 4: with the marker bit cut off, RTCP packet types are the RTP payload
        // types 64 to 95, which nobody may use beside rtcp-mux.
        128..=191 if (192..=223).contains(&second) => (Class::Rtcp, RTCP_LEN_MIN),
        128..=191 => (Class::Rtp, RTP_LEN_MIN),
        _ => (Class::Unknown, 0),
    };
    if datagram.len() < len_min { Class::Unknown } else { class }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        for (slot, byte) in data.iter_mut().zip([first, second]) {
            *slot = byte;
        }
        data
    }

    #[test]
    fn every_first_byte_has_the_class_of_rfc_7983() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Unknown,
            };
            assert_eq!(classify(&datagram(first, 96, 64)), expected, "first byte {first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_the_packet_type() {
        for second in 0..=255 {
            let expected = if (192..=223).contains(&second) { Class::Rtcp } else { Class::Rtp };
            assert_eq!(classify(&datagram(0x80, second, 64)), expected, "second byte {second}");
        }
    }

    #[test]
    fn what_is_too_short_for_its_protocol_is_unknown() {
        for (first, second, len_min) in [(0, 1, 20), (22, 254, 13), (0x80, 96, 12), (0x80, 200, 8)] {
            for len in 0..len_min {
                assert_eq!(classify(&datagram(first, second, len)), Class::Unknown, "{first} at {len} bytes");
            }
            assert_ne!(classify(&datagram(first, second, len_min)), Class::Unknown);
        }
    }
}
