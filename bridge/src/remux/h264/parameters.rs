//! Parameter sets: as the AVCDecoderConfigurationRecord of the frames lane and as NAL units in
//! the packets lane.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    nal::{PPS, SPS, kind},
    sps,
};
use crate::remux::bits::{BitReader, unescape};

/// Streams have one sequence parameter set; two are kept for an encoder that alternates.
const SPS_MAX: usize = 2;
/// Encoders use one to four picture parameter sets (one per slice type or entropy mode).
const PPS_MAX: usize = 16;
/// Real sets have 10 to 100 bytes; one with full scaling lists has under 1 kB.
const SET_BYTES_MAX: usize = 4_096;

/// Why a decoder configuration was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum ConfigError {
    /// It ends early or its counts lie.
    #[error("the decoder configuration record is truncated")]
    Truncated,
    /// The first byte is not 1.
    #[error("unknown version of the decoder configuration record")]
    Version,
    /// It holds no usable parameter sets.
    #[error("the decoder configuration record has no parameter sets")]
    Empty,
}

/// The parameter sets of a stream, each kind in the order of its ids, at most a few of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    sps: Vec<(u32, Bytes)>,
    pps: Vec<(u32, Bytes)>,
}

impl ParameterSets {
    /// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1.2).
    pub fn parse(record: &Bytes) -> Result<Self, ConfigError> {
        let mut rest = record.clone();
        let head = take(&mut rest, 6)?;
        if head.first() != Some(&1) {
            return Err(ConfigError::Version);
        }
        let mut sets = Self::default();
        let sequence_sets = head.get(5).map_or(0, |count| count & 0x1f);
        for _ in 0..sequence_sets {
            let set = take_set(&mut rest)?;
            sets.store(&set);
        }
        let picture_sets = take(&mut rest, 1)?.first().copied().unwrap_or(0);
        for _ in 0..picture_sets {
            let set = take_set(&mut rest)?;
            sets.store(&set);
        }
        if sets.is_complete() { Ok(sets) } else { Err(ConfigError::Empty) }
    }

    /// Takes a parameter set NAL unit in, in the place of the one with its id. `true` if anything
    /// changed.
    pub fn store(&mut self, nal: &Bytes) -> bool {
        if nal.len() > SET_BYTES_MAX {
            return false;
        }
        let (list, id, max) = match nal.first().map(|header| kind(*header)) {
            Some(SPS) => (&mut self.sps, sps::id(nal), SPS_MAX),
            Some(PPS) => (&mut self.pps, picture_set_id(nal), PPS_MAX),
            _ => return false,
        };
        let Some(id) = id else { return false };
        let has_room = list.len() < max;
        match list.iter_mut().find(|(other, _)| *other == id) {
            Some((_, held)) if held == nal => false,
            Some((_, held)) => {
                // A copy of its own: a slice would keep a whole datagram alive with the track.
                *held = Bytes::copy_from_slice(nal);
                true
            }
            None if has_room => {
                list.push((id, Bytes::copy_from_slice(nal)));
                list.sort_by_key(|(id, _)| *id);
                true
            }
            None => false,
        }
    }

    /// A sequence and a picture parameter set are there.
    pub fn is_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The sets as an AVCDecoderConfigurationRecord with four-byte lengths; `None` while
    /// incomplete.
    pub fn record(&self) -> Option<Bytes> {
        let first = self.first_sps()?;
        let (profile, constraints, level) = (*first.get(1)?, *first.get(2)?, *first.get(3)?);
        if self.pps.is_empty() {
            return None;
        }
        let mut out = BytesMut::with_capacity(64 + self.nals().map(Bytes::len).sum::<usize>());
        out.put_slice(&[1, profile, constraints, level, 0xff, 0xe0 | u8::try_from(self.sps.len()).ok()?]);
        put_sets(&mut out, &self.sps)?;
        out.put_u8(u8::try_from(self.pps.len()).ok()?);
        put_sets(&mut out, &self.pps)?;
        if let Some([format, luma, chroma]) = sps::chroma(first) {
            out.put_slice(&[0xfc | format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
        Some(out.freeze())
    }

    /// `profile-level-id` of RFC 6184 8.1: six hexadecimal digits; `None` while incomplete.
    pub fn profile_level_id(&self) -> Option<String> {
        let first = self.first_sps()?;
        Some(format!("{:02x}{:02x}{:02x}", first.get(1)?, first.get(2)?, first.get(3)?))
    }

    /// All sets, sequence parameter sets first.
    pub fn nals(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.iter().chain(&self.pps).map(|(_, nal)| nal)
    }

    /// The first sequence parameter set.
    pub fn first_sps(&self) -> Option<&Bytes> {
        self.sps.first().map(|(_, nal)| nal)
    }

    /// Lets decoders take missing reference pictures for intended (see
    /// [`sps::allow_frame_num_gaps`]).
    pub(super) fn allow_frame_num_gaps(&mut self) {
        for (_, nal) in &mut self.sps {
            *nal = sps::allow_frame_num_gaps(nal);
        }
    }
}

fn put_sets(out: &mut BytesMut, sets: &[(u32, Bytes)]) -> Option<()> {
    for (_, nal) in sets {
        out.put_u16(u16::try_from(nal.len()).ok()?);
        out.put_slice(nal);
    }
    Some(())
}

fn take(rest: &mut Bytes, count: usize) -> Result<Bytes, ConfigError> {
    if count > rest.len() {
        return Err(ConfigError::Truncated);
    }
    Ok(rest.split_to(count))
}

fn take_set(rest: &mut Bytes) -> Result<Bytes, ConfigError> {
    let length = take(rest, 2)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    take(rest, length)
}

/// `pic_parameter_set_id` (ITU-T H.264 7.3.2.2).
fn picture_set_id(nal: &[u8]) -> Option<u32> {
    let body = nal.get(1..)?;
    let head = unescape(body.get(..8).unwrap_or(body));
    BitReader::new(&head).exp_golomb().filter(|id| *id < 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPS_NAL: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
        0x00, 0x3c, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const PPS_NAL: &[u8] = &[0x68, 0xef, 0x8f, 0xcb];

    fn sets() -> ParameterSets {
        let mut sets = ParameterSets::default();
        assert!(sets.store(&Bytes::from_static(PPS_NAL)));
        assert!(sets.record().is_none());
        assert!(sets.store(&Bytes::from_static(SPS_NAL)));
        sets
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let record = sets().record().expect("complete");
        assert_eq!(ParameterSets::parse(&record), Ok(sets()));
        assert_eq!(sets().profile_level_id().as_deref(), Some("64001e"));
        assert_eq!(&record[..6], [1, 0x64, 0, 0x1e, 0xff, 0xe1]);
        assert_eq!(&record[record.len() - 4..], [0xfd, 0xf8, 0xf8, 0], "4:2:0 at eight bits");
    }

    #[test]
    fn a_repeated_set_is_no_change_and_another_with_its_id_replaces_it() {
        let mut sets = sets();
        assert!(!sets.store(&Bytes::from_static(SPS_NAL)));
        assert!(sets.store(&Bytes::from_static(&[0x68, 0xee, 0x8f, 0xcb])));
        assert_eq!(sets.nals().count(), 2);
    }

    #[test]
    fn counts_that_lie_are_refused() {
        let record = sets().record().expect("complete");
        for length in 0..record.len() - 4 {
            assert!(ParameterSets::parse(&record.slice(..length)).is_err());
        }
        let mut lying = record.to_vec();
        lying[7] = 0xff;
        assert_eq!(ParameterSets::parse(&lying.into()), Err(ConfigError::Truncated));
        assert_eq!(ParameterSets::parse(&Bytes::from_static(&[1, 2, 3, 4, 0xff, 0xe0, 0])), Err(ConfigError::Empty));
    }

    proptest! {
        #[test]
        fn hostile_records_never_panic(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _error = ParameterSets::parse(&data.into());
        }

        #[test]
        fn the_number_of_sets_is_bounded(ids in proptest::collection::vec(any::<u16>(), 0..200)) {
            let mut sets = ParameterSets::default();
            for id in ids {
                let [a, b] = id.to_be_bytes();
                sets.store(&Bytes::from(vec![0x68, a, b, 0x80]));
                sets.store(&Bytes::from(vec![0x67, 66, 0, 30, a, b, 0x80]));
            }
            prop_assert!(sets.nals().count() <= SPS_MAX + PPS_MAX);
            let _record = sets.record();
        }
    }
}
