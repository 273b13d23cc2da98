//! The AudioSpecificConfig of AAC (ISO/IEC 14496-3 1.6.2.1).

use super::bits::BitReader;

/// `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Audio object types (ISO/IEC 14496-3 table 1.17).
const LOW_COMPLEXITY: u32 = 2;
const SPECTRAL_BAND_REPLICATION: u32 = 5;
const PARAMETRIC_STEREO: u32 = 29;

/// What an AudioSpecificConfig says, as far as decoding needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// The audio object type of the core: 2 is AAC-LC.
    pub object_type: u32,
    /// Sampling rate of the core in Hz; with spectral band replication the output has twice that.
    pub sample_rate: u32,
    /// Channels, 0 where the stream itself tells.
    pub channels: u8,
    /// Samples per frame and channel of the core: 1,024 or 960.
    pub frame_samples: u32,
    /// Spectral band replication is signalled (HE-AAC).
    pub sbr: bool,
}

impl AudioSpecificConfig {
    /// Reads one; `None` where it is truncated or uses reserved values.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut bits = BitReader::new(data);
        let mut object_type = object_type(&mut bits)?;
        let sample_rate = sample_rate(&mut bits)?;
        let channels = channels(bits.bits(4)?)?;
        let mut sbr = false;
        if matches!(object_type, SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            sbr = true;
            let _extension_rate = self::sample_rate(&mut bits)?;
            object_type = self::object_type(&mut bits)?;
        }
        let short = bits.bit().unwrap_or(false);
        Some(Self {
            object_type,
            sample_rate,
            channels,
            frame_samples: if short { 960 } else { 1_024 },
            sbr: sbr || implicit_sbr(data),
        })
    }

    /// Plain AAC-LC in at most two channels, which every decoder knows.
    pub const fn is_simple(&self) -> bool {
        self.object_type == LOW_COMPLEXITY
            && !self.sbr
            && self.frame_samples == 1_024
            && (self.channels == 1 || self.channels == 2)
    }
}

fn object_type(bits: &mut BitReader<'_>) -> Option<u32> {
    match bits.bits(5)? {
        31 => Some(32 + bits.bits(6)?),
        value => Some(value),
    }
}

fn sample_rate(bits: &mut BitReader<'_>) -> Option<u32> {
    let rate = match bits.bits(4)? {
        15 => bits.bits(24)?,
        index => *RATES.get(usize::try_from(index).ok()?)?,
    };
    (7_000..=96_000).contains(&rate).then_some(rate)
}

/// `channelConfiguration` (ISO/IEC 14496-3 table 1.19).
fn channels(configuration: u32) -> Option<u8> {
    match configuration {
        0..=6 => u8::try_from(configuration).ok(),
        7 | 12 | 14 => Some(8),
        11 => Some(7),
        _ => None,
    }
}

/// The sync extension behind an AAC-LC configuration (ISO/IEC 14496-3 1.6.6.1): eleven bits 0x2b7,
/// the type of the extension, and whether it is there.
fn implicit_sbr(data: &[u8]) -> bool {
    let mut bits = BitReader::new(data.get(2..).unwrap_or_default());
    bits.bits(11) == Some(0x2b7) && bits.bits(5) == Some(SPECTRAL_BAND_REPLICATION) && bits.bit() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_configurations_of_common_encoders_are_understood() {
        let stereo = AudioSpecificConfig::parse(&[0x11, 0x90]).expect("48 kHz stereo");
        let expected = AudioSpecificConfig { object_type: 2, sample_rate: 48_000, channels: 2, frame_samples: 1_024, sbr: false };
        assert_eq!(stereo, expected);
        let mono = AudioSpecificConfig::parse(&[0x12, 0x08, 0x56, 0xe5, 0x00]).expect("44.1 kHz mono by FFmpeg");
        assert_eq!((mono.sample_rate, mono.channels, mono.is_simple()), (44_100, 1, true));
        let he = AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).expect("HE-AAC, explicit");
        assert_eq!((he.object_type, he.sample_rate, he.sbr, he.is_simple()), (2, 24_000, true, false));
        let implicit = AudioSpecificConfig::parse(&[0x13, 0x10, 0x56, 0xe5, 0x98]).expect("HE-AAC, compatible");
        assert!(implicit.sbr);
    }

    #[test]
    fn reserved_and_truncated_values_are_refused() {
        assert_eq!(AudioSpecificConfig::parse(&[]), None);
        assert_eq!(AudioSpecificConfig::parse(&[0x11]), None);
        assert_eq!(AudioSpecificConfig::parse(&[0x16, 0x90]), None, "rate index 13");
        assert_eq!(AudioSpecificConfig::parse(&[0x17, 0x80, 0, 0, 0x10]), None, "a rate of zero");
    }

    proptest! {
        #[test]
        fn hostile_configurations_never_panic(data in proptest::collection::vec(any::<u8>(), 0..16)) {
            AudioSpecificConfig::parse(&data);
        }
    }
}
