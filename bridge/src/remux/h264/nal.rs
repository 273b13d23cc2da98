//! NAL units: their types and the walk through an access unit of length-prefixed ones.

use bytes::Bytes;

use crate::remux::bits::{BitReader, unescape};

/// Coded slice of a picture that is not an IDR picture (ITU-T H.264 table 7-1).
pub(super) const SLICE: u8 = 1;
/// Coded slice of an IDR picture.
pub(super) const IDR: u8 = 5;
/// Sequence parameter set.
pub(super) const SPS: u8 = 7;
/// Picture parameter set.
pub(super) const PPS: u8 = 8;
/// Access unit delimiter.
pub(super) const DELIMITER: u8 = 9;
/// Supplemental enhancement information.
pub(super) const SEI: u8 = 6;
/// Single-time aggregation packet without decoding order number (RFC 6184 5.7.1).
pub(super) const STAP_A: u8 = 24;
/// Fragmentation unit without decoding order number (RFC 6184 5.8).
pub(super) const FU_A: u8 = 28;

/// Enough of a slice to read its first two Exp-Golomb values, escapes included.
const SLICE_HEAD: usize = 24;

/// `nal_unit_type` of a NAL unit header byte.
pub(super) const fn kind(header: u8) -> u8 {
    header & 0x1f
}

/// `nal_ref_idc` is not zero: later pictures may be predicted from this one.
pub(super) const fn is_reference(header: u8) -> bool {
    header & 0x60 != 0
}

/// A NAL unit with picture content: a slice or a partition of one.
pub(super) const fn is_picture(kind: u8) -> bool {
    kind >= SLICE && kind <= IDR
}

/// Whether a NAL unit stays in an access unit of the frames lane. Parameter sets are kept beside
/// it; delimiters, filler, ends and scalable extensions are of no use to any reader.
pub(super) const fn is_kept(kind: u8) -> bool {
    is_picture(kind) || kind == SEI
}

/// How the macroblocks of a slice are predicted (ITU-T H.264 7.4.3, `slice_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SliceKind {
    Predicted,
    Bidirectional,
    Intra,
}

/// The kind of a slice NAL unit, or `None` where it cannot be read.
pub(super) fn slice_kind(nal: &[u8]) -> Option<SliceKind> {
    let body = nal.get(1..)?;
    let head = unescape(body.get(..SLICE_HEAD).unwrap_or(body));
    let mut bits = BitReader::new(&head);
    let _first_macroblock = bits.exp_golomb()?;
    match bits.exp_golomb()? % 5 {
        0 | 3 => Some(SliceKind::Predicted),
        1 => Some(SliceKind::Bidirectional),
        _ => Some(SliceKind::Intra),
    }
}

/// The non-empty NAL units of an access unit with four-byte lengths. A length that lies ends the
/// walk: what is before it stays usable.
pub(super) fn units(data: &Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = data.clone();
    std::iter::from_fn(move || {
        loop {
            let length = usize::try_from(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?)).ok()?;
            let end = length.checked_add(4)?;
            if end > rest.len() {
                return None;
            }
            let unit = rest.split_to(end).slice(4..);
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_skips_empty_units_and_ends_at_a_length_that_lies() {
        let data = Bytes::from_static(&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x41, 0, 0, 1, 0, 9]);
        let found: Vec<_> = units(&data).collect();
        assert_eq!(found, [Bytes::from_static(&[0x65, 1]), Bytes::from_static(&[0x41])]);
        assert_eq!(units(&Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 1])).count(), 0);
    }

    #[test]
    fn slice_kinds_are_read_past_escapes() {
        // first_mb_in_slice 0 (1), slice_type 6 (00111): an all-B picture.
        assert_eq!(slice_kind(&[0x01, 0b1001_1100]), Some(SliceKind::Bidirectional));
        // first_mb_in_slice 0, slice_type 7 (0001000).
        assert_eq!(slice_kind(&[0x65, 0b1000_1000]), Some(SliceKind::Intra));
        assert_eq!(slice_kind(&[0x41]), None);
        assert_eq!(slice_kind(&[0x41, 0, 0, 3, 0, 0, 3, 0]), None);
    }
}
