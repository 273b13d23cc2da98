//! RTP packets: a borrowed view of one that came, and the header of one that leaves (RFC 3550 section 5.1).
//!
//! The header view works on SRTP as well, since its header is in plain text; padding, which SRTP
//! encrypts, is looked at only by [`Packet`].

use super::ext::{self, ExtensionIds, Extensions};
use super::read::{u8_at, u16_at, u32_at};

/// The fixed part of a header, in bytes.
pub const FIXED_LEN: usize = 12;

/// Why bytes are not an RTP packet. It is the sender's fault always: count and drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// The datagram ends inside the header.
    #[error("RTP packet ends inside its header")]
    Short,
    /// The version is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// The padding count is zero, or longer than the payload.
    #[error("RTP padding does not fit")]
    Padding,
}

/// A parsed RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The fields of the fixed part.
    pub fields: Fields,
    /// The packet ends with padding.
    pub padding: bool,
    /// Contributing sources, 4 bytes each; at most 15.
    pub csrcs: &'a [u8],
    /// The extension block; empty when there is none.
    pub extensions: Extensions<'a>,
    /// Length of the whole header in bytes: where the payload starts.
    pub len: usize,
}

/// What a header says, of the parts that a sender chooses packet by packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The marker bit.
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Time stamp in the payload type's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl<'a> Header<'a> {
    /// Reads the header at the start of `data`, which may be RTP or SRTP.
    ///
    /// # Errors
    /// What makes `data` no RTP packet.
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        let (Some(first), Some(second)) = (u8_at(data, 0), u8_at(data, 1)) else { return Err(RtpError::Short) };
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let (Some(sequence), Some(timestamp), Some(ssrc)) = (u16_at(data, 2), u32_at(data, 4), u32_at(data, 8)) else {
            return Err(RtpError::Short);
        };
        let fields = Fields { marker: second & 0x80 != 0, payload_type: second & 0x7f, sequence, timestamp, ssrc };
        let mut len = FIXED_LEN + usize::from(first & 0x0f) * 4;
        let csrcs = data.get(FIXED_LEN..len).ok_or(RtpError::Short)?;
        let mut extensions = Extensions::EMPTY;
        if first & 0x10 != 0 {
            let (Some(profile), Some(words)) = (u16_at(data, len), u16_at(data, len + 2)) else {
                return Err(RtpError::Short);
            };
            let end = len + 4 + usize::from(words) * 4;
            extensions = Extensions::new(profile, data.get(len + 4..end).ok_or(RtpError::Short)?);
            len = end;
        }
        Ok(Self { fields, padding: first & 0x20 != 0, csrcs, extensions, len })
    }
}

/// A whole RTP packet in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header<'a>,
    /// Its payload, without padding. May be empty: a probe, or a keep-alive.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a decrypted packet and cuts its padding off.
    ///
    /// # Errors
    /// What makes `data` no RTP packet.
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        let header = Header::parse(data)?;
        let body = data.get(header.len..).ok_or(RtpError::Short)?;
        let mut payload_len = body.len();
        if header.padding {
            // RFC 3550 section 5.1: the last byte counts the padding, itself included.
            let count = usize::from(body.last().copied().ok_or(RtpError::Padding)?);
            if count == 0 {
                return Err(RtpError::Padding);
            }
            payload_len = body.len().checked_sub(count).ok_or(RtpError::Padding)?;
        }
        let payload = body.get(..payload_len).ok_or(RtpError::Padding)?;
        Ok(Self { header, payload })
    }
}

impl Fields {
    /// Writes a header without extensions; returns its length, or `None` if `out` is too small.
    #[must_use]
    pub fn emit(&self, padding: bool, out: &mut [u8]) -> Option<usize> {
        self.emit_first(0x80 | u8::from(padding) << 5, out)
    }

    /// Writes a header with the `values` that have an id in `ids`, in one extension block. Returns
    /// its length, or `None` if `out` is too small.
    #[must_use]
    pub fn emit_with(&self, padding: bool, values: &ext::Values<'_>, ids: &ExtensionIds, out: &mut [u8]) -> Option<usize> {
        let block = ext::emit(values, ids, out.get_mut(FIXED_LEN..)?)?;
        let extended = u8::from(block != 0) << 4;
        self.emit_first(0x80 | extended | u8::from(padding) << 5, out)?;
        Some(FIXED_LEN + block)
    }

    fn emit_first(&self, first: u8, out: &mut [u8]) -> Option<usize> {
        let fixed: &mut [u8; FIXED_LEN] = out.first_chunk_mut()?;
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [x0, x1, x2, x3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        *fixed = [first, second, s0, s1, t0, t1, t2, t3, x0, x1, x2, x3];
        Some(FIXED_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: Fields = Fields { marker: true, payload_type: 96, sequence: 0xfffe, timestamp: 0xdead_beef, ssrc: 0x0102_0304 };

    #[test]
    fn a_plain_packet_is_read_back_as_written() {
        let mut data = [0; 15];
        assert_eq!(FIELDS.emit(false, &mut data), Some(12));
        data[12..].copy_from_slice(b"abc");
        let packet = Packet::parse(&data).unwrap();
        assert_eq!(packet.header.fields, FIELDS);
        assert_eq!(packet.payload, b"abc");
        assert_eq!(packet.header.len, 12);
    }

    #[test]
    fn sources_and_extensions_are_stepped_over() {
        let mut data = vec![0x92, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
        data.extend([9; 8]);
        data.extend([0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
        data.extend(b"xy");
        let packet = Packet::parse(&data).unwrap();
        assert_eq!(packet.header.csrcs, [9; 8]);
        assert_eq!(packet.header.extensions.iter().collect::<Vec<_>>(), [(1, &[0xaa][..])]);
        assert_eq!(packet.payload, b"xy");
    }

    #[test]
    fn padding_is_cut_off() {
        let mut data = [0; 16];
        FIELDS.emit(true, &mut data).unwrap();
        data[12..].copy_from_slice(&[7, 0, 0, 3]);
        assert_eq!(Packet::parse(&data).unwrap().payload, [7]);
        data[15] = 4;
        assert_eq!(Packet::parse(&data).unwrap().payload, []);
    }

    #[test]
    fn a22_a23_impossible_headers_are_refused() {
        let padded = |last| [0xa0, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, last];
        assert_eq!(Packet::parse(&padded(0)), Err(RtpError::Padding));
        assert_eq!(Packet::parse(&padded(3)), Err(RtpError::Padding));
        assert_eq!(Packet::parse(&padded(2)[..12]), Err(RtpError::Padding));
        assert_eq!(Packet::parse(&[0x8f, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1]), Err(RtpError::Short));
        assert_eq!(Packet::parse(&[0x40; 40]), Err(RtpError::Version));
        let huge = [0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(Packet::parse(&huge), Err(RtpError::Short));
        for len in 0..12 {
            assert!(Packet::parse(&huge[..len]).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut data in proptest::collection::vec(any::<u8>(), 0..200), first in 0x80_u8..0xc0) {
            let _ = Packet::parse(&data);
            if let Some(byte) = data.first_mut() {
                *byte = first;
            }
            if let Ok(packet) = Packet::parse(&data) {
                packet.header.extensions.iter().for_each(drop);
            }
        }

        #[test]
        fn fields_round_trip(marker: bool, payload_type in 0_u8..128, sequence: u16, timestamp: u32, ssrc: u32, padding: bool) {
            let fields = Fields { marker, payload_type, sequence, timestamp, ssrc };
            let mut data = [0; FIXED_LEN];
            fields.emit(padding, &mut data).unwrap();
            let header = Header::parse(&data).unwrap();
            prop_assert_eq!(header.fields, fields);
            prop_assert_eq!(header.padding, padding);
        }
    }
}
