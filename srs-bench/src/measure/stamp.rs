//! The mark inside each synthetic frame by which latency, loss and order are known at the far end.
//!
//! It is an SEI message of "user data unregistered" (H.264 D.1.7): servers hand it on unchanged over
//! every protocol. Numbers are written in groups of seven bits with the top bit set: no byte is zero,
//! so a stamp has one length and needs no emulation prevention.

use std::time::{SystemTime, UNIX_EPOCH};

/// Whose user data it is; like the rest of a stamp without zero bytes.
const UUID: [u8; 16] = [0xb7, 0x5e, 0xc1, 0x4a, 0x93, 0x2d, 0x4f, 0x61, 0xa8, 0x77, 0x1c, 0xe5, 0x39, 0xd2, 0x46, 0x8b];
/// NAL unit type 6 (H.264 table 7-1), nal_ref_idc 0.
const SEI: u8 = 6;
/// Payload type of user_data_unregistered (H.264 D.1.1).
const USER_DATA_UNREGISTERED: u8 = 5;
/// Seven bits in each.
const NUMBER_LEN: usize = 10;
const PAYLOAD_LEN: usize = UUID.len() + 2 * NUMBER_LEN;
/// rbsp_trailing_bits of a byte-aligned message.
const TRAILING: u8 = 0x80;
/// A NAL unit that is longer is looked through only so far.
const SEARCHED_MAX: usize = 512;

/// What the synthetic source writes into each frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// One more with each frame of the stream.
    pub counter: u64,
    /// When the frame was made, in microseconds since the Unix epoch.
    pub sent_micros: u64,
}

impl Stamp {
    /// Bytes of a stamp's NAL unit.
    pub const LEN: usize = 1 + 2 + PAYLOAD_LEN + 1;

    /// A frame made at this moment.
    pub fn now(counter: u64) -> Self {
        Self { counter, sent_micros: micros(SystemTime::now()) }
    }

    /// The NAL unit, without start code or length.
    pub fn write(&self) -> [u8; Self::LEN] {
        let mut unit = [0; Self::LEN];
        let numbers = [self.counter, self.sent_micros].into_iter().flat_map(groups);
        let head = [SEI, USER_DATA_UNREGISTERED, PAYLOAD_LEN as u8];
        let bytes = head.into_iter().chain(UUID).chain(numbers).chain([TRAILING]);
        for (place, byte) in unit.iter_mut().zip(bytes) {
            *place = byte;
        }
        unit
    }

    /// The stamp in a NAL unit; none if it is another's SEI, or no SEI at all.
    pub fn find(unit: &[u8]) -> Option<Self> {
        let (&head, body) = unit.split_first()?;
        if head & 0x1f != SEI {
            return None;
        }
        let body = &body[..body.len().min(SEARCHED_MAX)];
        let message = body.windows(UUID.len()).position(|window| window == UUID)?;
        let numbers = body.get(message + UUID.len()..)?;
        Some(Self { counter: number(numbers)?, sent_micros: number(numbers.get(NUMBER_LEN..)?)? })
    }

    /// The stamp of a frame whose NAL units each have a length of four bytes before them.
    pub fn find_in_frame(mut frame: &[u8]) -> Option<Self> {
        while let Some((len, rest)) = frame.split_first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
            if let Some(stamp) = Self::find(rest.get(..len)?) {
                return Some(stamp);
            }
            frame = &rest[len..];
        }
        None
    }
}

/// Microseconds since the Unix epoch.
pub(crate) fn micros(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn groups(number: u64) -> [u8; NUMBER_LEN] {
    std::array::from_fn(|place| 0x80 | (number >> (7 * (NUMBER_LEN - 1 - place))) as u8 & 0x7f)
}

fn number(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.get(..NUMBER_LEN)?;
    bytes.iter().all(|byte| byte & 0x80 != 0).then(|| bytes.iter().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_again_whatever_its_numbers() {
        for (counter, sent_micros) in [(0, 0), (1, 1_790_000_000_000_000), (u64::MAX, u64::MAX), (3 << 16, 0x100)] {
            let stamp = Stamp { counter, sent_micros };
            let unit = stamp.write();
            assert_eq!(Stamp::find(&unit), Some(stamp));
            assert!(unit.iter().all(|byte| *byte != 0), "no emulation prevention is ever needed: {unit:x?}");
        }
    }

    #[test]
    fn a_stamp_is_found_behind_another_message_and_among_other_units() {
        let stamp = Stamp { counter: 7, sent_micros: 8 };
        let mut unit = vec![SEI, 1, 2, 0xaa, 0xbb];
        unit.extend(&stamp.write()[1..]);
        assert_eq!(Stamp::find(&unit), Some(stamp));
        let mut frame = Vec::new();
        for unit in [&[0x09, 0x10][..], &unit, &[0x65, 1, 2, 3]] {
            frame.extend((unit.len() as u32).to_be_bytes());
            frame.extend(unit);
        }
        assert_eq!(Stamp::find_in_frame(&frame), Some(stamp));
        assert_eq!(Stamp::find_in_frame(&frame[..20]), None);
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        let unit = Stamp { counter: 7, sent_micros: 8 }.write();
        assert_eq!(Stamp::find(&[]), None);
        assert_eq!(Stamp::find(&unit[..30]), None);
        let mut slice = unit;
        slice[0] = 0x65;
        assert_eq!(Stamp::find(&slice), None);
    }
}
