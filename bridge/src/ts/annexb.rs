//! H.264 access units in the byte stream format (ITU-T H.264 annex B).

use weir_source::Frame;

use super::MuxError;

const START: [u8; 4] = [0, 0, 0, 1];
/// An access unit delimiter that allows every slice type (H.264 7.4.2.4). Transport streams must
/// have one at the head of each access unit (H.222.0 2.14.1).
const DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];
const NAL_DELIMITER: u8 = 9;

/// Appends the delimiter, the parameter sets if the frame is a keyframe, and the frame's units.
pub(super) fn access_unit(frame: &Frame, out: &mut Vec<u8>) -> Result<(), MuxError> {
    out.extend_from_slice(&DELIMITER);
    if frame.keyframe {
        parameter_sets(&frame.track.config, out)?;
    }
    let mut rest = &frame.data[..];
    let mut units = 0;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(MuxError::BadFrame)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (unit, after) = after.split_at_checked(length).ok_or(MuxError::BadFrame)?;
        rest = after;
        // Empty units come from some encoders and mean nothing. A second delimiter would start
        // another access unit.
        if unit.first().is_some_and(|first| first & 0x1f != NAL_DELIMITER) {
            out.extend_from_slice(&START);
            out.extend_from_slice(unit);
            units += 1;
        }
    }
    if units == 0 { Err(MuxError::BadFrame) } else { Ok(()) }
}

/// Appends the parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1).
fn parameter_sets(config: &[u8], out: &mut Vec<u8>) -> Result<(), MuxError> {
    let mut rest = config.get(5..).ok_or(MuxError::BadConfig)?;
    let mut sets = 0;
    for mask in [0x1f, 0xff] {
        let (count, mut after) = rest.split_first().ok_or(MuxError::BadConfig)?;
        for _ in 0..count & mask {
            let (length, body) = after.split_first_chunk().ok_or(MuxError::BadConfig)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (set, next) = body.split_at_checked(length).ok_or(MuxError::BadConfig)?;
            out.extend_from_slice(&START);
            out.extend_from_slice(set);
            after = next;
            sets += 1;
        }
        rest = after;
    }
    if sets < 2 { Err(MuxError::BadConfig) } else { Ok(()) }
}
