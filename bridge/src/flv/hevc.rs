//! H.265 as RTMP and FLV bring it: only as much as passing it on needs.

use bytes::Bytes;

use super::avc::{AvcError, split_lengths};

/// NAL unit types (ITU-T H.265 table 7-1).
mod nal_type {
    pub(super) const SLICES: std::ops::RangeInclusive<u8> = 0..=31;
    pub(super) const RANDOM_ACCESS: std::ops::RangeInclusive<u8> = 16..=23;
    pub(super) const ACCESS_UNIT_DELIMITER: u8 = 35;
    pub(super) const FILLER: u8 = 38;
}

/// Where the length size stands in the record (ISO/IEC 14496-15, 8.3.3.1), and its shortest length.
const LENGTH_SIZE_AT: usize = 21;
const RECORD_BYTES_MIN: usize = 23;

/// The record with NAL unit lengths of four bytes, and the publisher's length size.
pub(crate) fn parse_record(record: &Bytes) -> Result<(Bytes, usize), AvcError> {
    if record.len() < RECORD_BYTES_MIN || record.first() != Some(&1) {
        return Err(AvcError::BadConfig);
    }
    let size = record.get(LENGTH_SIZE_AT).map_or(3, |byte| byte & 3);
    if size == 3 {
        return Ok((record.clone(), 4));
    }
    let mut changed = record.to_vec();
    if let Some(byte) = changed.get_mut(LENGTH_SIZE_AT) {
        *byte |= 3;
    }
    Ok((changed.into(), usize::from(size) + 1))
}

/// An access unit with four-byte lengths, without delimiters, filler, empty units and those
/// parameter sets that `record` holds too; and whether it can be decoded on its own.
pub(crate) fn access_unit(body: &Bytes, length_size: usize, record: &[u8]) -> Result<(Bytes, bool), AvcError> {
    let nals = split_lengths(body, length_size).ok_or(AvcError::BadFraming)?;
    let mut out = Vec::new();
    let (mut has_slice, mut is_random_access) = (false, false);
    for range in nals {
        let Some(nal) = body.get(range) else { continue };
        let kind = nal.first().map_or(0, |first| first >> 1 & 0x3f);
        if matches!(kind, nal_type::ACCESS_UNIT_DELIMITER | nal_type::FILLER) {
            continue;
        }
        let is_set = (32..=34).contains(&kind);
        if is_set && record.windows(nal.len()).any(|held| held == nal) {
            continue;
        }
        has_slice |= nal_type::SLICES.contains(&kind);
        is_random_access |= nal_type::RANDOM_ACCESS.contains(&kind);
        out.extend_from_slice(&u32::try_from(nal.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(nal);
    }
    if !has_slice {
        return Err(AvcError::Empty);
    }
    let data = if out.len() == body.len() && length_size == 4 { body.clone() } else { out.into() };
    Ok((data, is_random_access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_of_the_record_are_left_out_and_others_kept() {
        let mut record = vec![0; RECORD_BYTES_MIN];
        record[0] = 1;
        record[LENGTH_SIZE_AT] = 1;
        record.extend([0x40, 1, 9, 9]);
        let (record, size) = parse_record(&record.into()).unwrap();
        assert_eq!((size, record[LENGTH_SIZE_AT] & 3), (2, 3));
        let body = Bytes::from_static(&[0, 4, 0x40, 1, 9, 9, 0, 4, 0x40, 1, 8, 8, 0, 2, 0x46, 1, 0, 3, 0x26, 1, 5]);
        let (data, key) = access_unit(&body, size, &record).unwrap();
        assert_eq!(&data[..], [0, 0, 0, 4, 0x40, 1, 8, 8, 0, 0, 0, 3, 0x26, 1, 5]);
        assert!(key);
    }
}
