//! H.264 as RTMP and FLV bring it: the decoder configuration record (ISO/IEC 14496-15, 5.3.3.1)
//! and access units in any length size or start codes → the one form that frames have.

use std::ops::Range;

use bytes::Bytes;
use h264_reader::nal::{Nal, RefNal, sps::SeqParameterSet};
use weir_source::VideoInfo;

/// NAL units in one access unit. A picture has at most a slice per macroblock row in practice;
/// level 6.2 allows 600.
const NALS_MAX: usize = 4_096;
/// The widest or highest picture believed (ITU-T H.264 level 6.2 ends at 16,384).
const PIXELS_MAX: u32 = 16_384;
/// The most parameter sets of each kind that the record's five-bit count holds.
const SETS_MAX: usize = 31;

/// NAL unit types (ITU-T H.264 table 7-1).
mod nal_type {
    pub(super) const IDR: u8 = 5;
    pub(super) const SPS: u8 = 7;
    pub(super) const PPS: u8 = 8;
    pub(super) const ACCESS_UNIT_DELIMITER: u8 = 9;
    pub(super) const FILLER: u8 = 12;
}

/// Why H.264 bytes were dropped.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum AvcError {
    /// The configuration record is cut off, of another version, or without a parameter set.
    #[error("the decoder configuration record is not valid")]
    BadConfig,
    /// Neither length-prefixed NAL units nor start codes.
    #[error("the NAL units of a picture cannot be told apart")]
    BadFraming,
    /// No slice: nothing to show.
    #[error("a picture without slices")]
    Empty,
}

/// The parameter sets in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AvcConfig {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    /// Chroma format, bit depths and SPS extensions that follow the sets of high profiles.
    tail: Bytes,
    /// Bytes before each NAL unit of the publisher's pictures, 1 to 4.
    pub(crate) length_size: usize,
}

impl AvcConfig {
    /// Of a publisher that has sent no record: it may send its sets with the pictures.
    pub(crate) fn unknown() -> Self {
        Self { length_size: 4, ..Self::default() }
    }

    pub(crate) fn parse(record: &Bytes) -> Result<Self, AvcError> {
        let mut reader = Reader { bytes: record, at: 0 };
        let [version, _, _, _, size, sps_count] = reader.array().ok_or(AvcError::BadConfig)?;
        if version != 1 {
            return Err(AvcError::BadConfig);
        }
        let sps = reader.sets(sps_count & 0x1f).ok_or(AvcError::BadConfig)?;
        // Some encoders end the record after the SPS and send the PPS with the pictures.
        let pps = match reader.array() {
            Some([count]) => reader.sets(count).ok_or(AvcError::BadConfig)?,
            None => Vec::new(),
        };
        let tail = record.slice(reader.at.min(record.len())..);
        if sps.first().is_none_or(|sps| sps.len() < 4) {
            return Err(AvcError::BadConfig);
        }
        Ok(Self { sps, pps, tail, length_size: usize::from(size & 3) + 1 })
    }

    /// The record for readers of frames: NAL unit lengths of four bytes.
    pub(crate) fn record(&self) -> Option<Bytes> {
        let [_, profile, compatibility, level] = *self.sps.first()?.first_chunk::<4>()?;
        let count = |sets: &[Bytes]| u8::try_from(sets.len().min(SETS_MAX)).unwrap_or_default();
        let mut out = vec![1, profile, compatibility, level, 0xff, 0xe0 | count(&self.sps)];
        put_sets(&self.sps, &mut out);
        out.push(count(&self.pps));
        put_sets(&self.pps, &mut out);
        out.extend_from_slice(&self.tail);
        Some(out.into())
    }

    /// Takes in the parameter sets that came with a picture.
    pub(crate) fn update(&mut self, sets: InBand) {
        for sps in sets.sps {
            put_set(&mut self.sps, sps, |set| exp_golomb(set.get(4..)?));
        }
        for pps in sets.pps {
            put_set(&mut self.pps, pps, |set| exp_golomb(set.get(1..)?));
        }
    }

    /// What the first SPS says of the picture.
    pub(crate) fn info(&self) -> Option<VideoInfo> {
        video_info(self.sps.first()?)
    }
}

/// Parameter sets met within an access unit.
#[derive(Debug, Default)]
pub(crate) struct InBand {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
}

impl InBand {
    pub(crate) fn is_empty(&self) -> bool {
        self.sps.is_empty() && self.pps.is_empty()
    }
}

/// An access unit in the form that frames have.
#[derive(Debug)]
pub(crate) struct AccessUnit {
    pub(crate) data: Bytes,
    pub(crate) has_idr: bool,
    pub(crate) sets: InBand,
}

/// Brings an access unit to NAL units behind four-byte lengths, without parameter sets, access
/// unit delimiters, filler and empty units. Shares `body` where it already is like that.
pub(crate) fn access_unit(body: &Bytes, length_size: usize) -> Result<AccessUnit, AvcError> {
    let (nals, as_is) = match split_lengths(body, length_size) {
        Some(nals) => (nals, length_size == 4),
        None => (split_start_codes(body).ok_or(AvcError::BadFraming)?, false),
    };
    let mut unit = AccessUnit { data: Bytes::new(), has_idr: false, sets: InBand::default() };
    let (mut kept, mut kept_bytes, mut has_slice) = (Vec::with_capacity(nals.len()), 0, false);
    for range in &nals {
        let Some(first) = body.get(range.start) else { continue };
        match first & 0x1f {
            nal_type::SPS if range.len() >= 4 && unit.sets.sps.len() < SETS_MAX => {
                unit.sets.sps.push(Bytes::copy_from_slice(body.get(range.clone()).unwrap_or_default()));
            }
            nal_type::PPS if range.len() >= 2 && unit.sets.pps.len() < SETS_MAX => {
                unit.sets.pps.push(Bytes::copy_from_slice(body.get(range.clone()).unwrap_or_default()));
            }
            nal_type::SPS | nal_type::PPS | nal_type::ACCESS_UNIT_DELIMITER | nal_type::FILLER => {}
            kind => {
                has_slice |= (1..=nal_type::IDR).contains(&kind);
                unit.has_idr |= kind == nal_type::IDR;
                kept_bytes += 4 + range.len();
                kept.push(range.clone());
            }
        }
    }
    if !has_slice && unit.sets.is_empty() {
        return Err(AvcError::Empty);
    }
    if !has_slice {
        return Ok(unit);
    }
    unit.data = if as_is && kept_bytes == body.len() { body.clone() } else { join(body, &kept, kept_bytes) };
    Ok(unit)
}

/// The NAL units (non-empty ones) behind lengths, or `None` if the lengths do not add up.
pub(crate) fn split_lengths(body: &[u8], length_size: usize) -> Option<Vec<Range<usize>>> {
    let mut nals = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let prefix = body.get(at..at.checked_add(length_size)?)?;
        let length = prefix.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        at += length_size;
        let end = at.checked_add(length).filter(|end| *end <= body.len())?;
        if length > 0 {
            if nals.len() >= NALS_MAX {
                return None;
            }
            nals.push(at..end);
        }
        at = end;
    }
    Some(nals)
}

/// The NAL units between start codes (ITU-T H.264 annex B), or `None` if there is none at the
/// beginning.
fn split_start_codes(body: &[u8]) -> Option<Vec<Range<usize>>> {
    let leading = body.iter().take_while(|byte| **byte == 0).count();
    if leading < 2 || body.get(leading) != Some(&1) {
        return None;
    }
    let mut nals = Vec::new();
    let mut start = leading + 1;
    let mut at = start;
    while at < body.len() {
        let code_ahead = body.get(at..).is_some_and(|rest| rest.starts_with(&[0, 0, 1]));
        at += 1;
        if !code_ahead && at < body.len() {
            continue;
        }
        let mut end = if code_ahead { at - 1 } else { body.len() };
        // Trailing zeros belong to the next start code.
        while end > start && body.get(end - 1) == Some(&0) {
            end -= 1;
        }
        if end > start {
            if nals.len() >= NALS_MAX {
                return None;
            }
            nals.push(start..end);
        }
        if code_ahead {
            at += 2;
            start = at;
        }
    }
    Some(nals)
}

fn join(body: &[u8], nals: &[Range<usize>], bytes: usize) -> Bytes {
    let mut out = Vec::with_capacity(bytes);
    for range in nals {
        let nal = body.get(range.clone()).unwrap_or_default();
        out.extend_from_slice(&u32::try_from(nal.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(nal);
    }
    out.into()
}

/// What an SPS says of the picture; `None` if it cannot be read.
pub(crate) fn video_info(sps: &[u8]) -> Option<VideoInfo> {
    let end = sps.iter().rposition(|byte| *byte != 0)? + 1;
    let nal = RefNal::new(sps.get(..end)?, &[], true);
    let sps = SeqParameterSet::from_bits(nal.rbsp_bits()).ok()?;
    let (width, height) = sps.pixel_dimensions().ok()?;
    if width == 0 || height == 0 || width > PIXELS_MAX || height > PIXELS_MAX {
        return None;
    }
    let profile: u8 = sps.profile_idc.into();
    let level = sps.level_idc;
    Some(VideoInfo {
        width,
        height,
        fps: sps.fps().filter(|fps| fps.is_finite() && *fps > 0.0 && *fps < 1_000.0),
        profile: profile_name(profile).to_owned(),
        level: format!("{}.{}", level / 10, level % 10),
    })
}

const fn profile_name(idc: u8) -> &'static str {
    match idc {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High 10",
        122 => "High 4:2:2",
        244 => "High 4:4:4",
        _ => "Other",
    }
}

fn put_sets(sets: &[Bytes], out: &mut Vec<u8>) {
    for set in sets.iter().take(SETS_MAX) {
        let set = set.get(..usize::from(u16::MAX)).unwrap_or(set);
        out.extend_from_slice(&u16::try_from(set.len()).unwrap_or_default().to_be_bytes());
        out.extend_from_slice(set);
    }
}

/// Replaces the set with the same id, or adds it.
fn put_set(sets: &mut Vec<Bytes>, set: Bytes, id: impl Fn(&[u8]) -> Option<u32>) {
    if let Some(held) = sets.iter_mut().find(|held| id(held) == id(&set)) {
        *held = set;
    } else if sets.len() < SETS_MAX {
        sets.push(set);
    }
}

/// One ue(v) at the start of `bytes` (ITU-T H.264, 9.1), up to 16 leading zeros.
fn exp_golomb(bytes: &[u8]) -> Option<u32> {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| u32::from(byte >> (7 - at % 8) & 1));
    let zeros = (0..=16).find(|at| bit(*at) == Some(1))?;
    let mut value = 1;
    for at in zeros + 1..=zeros * 2 {
        value = value << 1 | bit(at)?;
    }
    Some(value - 1)
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*array)
    }

    /// Empty sets are left out.
    fn sets(&mut self, count: u8) -> Option<Vec<Bytes>> {
        let mut sets = Vec::new();
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes(self.array()?));
            let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
            if length > 0 {
                sets.push(self.bytes.slice(self.at..end));
            }
            self.at = end;
        }
        Some(sets)
    }
}

#[cfg(test)]
#[path = "avc_tests.rs"]
pub(crate) mod tests;
