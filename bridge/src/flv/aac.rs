//! AAC and MP3 as FLV brings them: the little that must be known of a sound's format.

use bytes::Bytes;
use weir_source::{Codec, Track, TrackId};

/// Sampling frequencies by index (ISO/IEC 14496-3, table 1.18).
const AAC_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Object types that announce an extension and are followed by a second frequency: SBR and PS.
const EXTENSION_TYPES: [u32; 2] = [5, 29];

/// The track of an AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), or `None` if it cannot be read.
/// The rate is that of the core coder: an access unit is 1,024 samples of it.
pub(crate) fn aac_track(config: Bytes) -> Option<Track> {
    let mut bits = Bits { bytes: &config, at: 0 };
    let object_type = bits.object_type()?;
    let rate = bits.rate()?;
    let channels = match bits.take(4)? {
        // The layout stands in a program config element; stereo is by far the most likely.
        0 => 2,
        7 => 8,
        count => u8::try_from(count).ok()?,
    };
    if EXTENSION_TYPES.contains(&object_type) {
        bits.rate()?;
        bits.object_type()?;
    }
    if rate == 0 || rate > 96_000 || channels > 8 {
        return None;
    }
    let mut track = Track::new(TrackId::AUDIO, Codec::Aac, rate, channels);
    track.config = config;
    Some(track)
}

/// The track of an MP3 frame by its header (ISO/IEC 11172-3, 2.4.1.3).
pub(crate) fn mp3_track(frame: &[u8]) -> Option<Track> {
    let [sync, version, rates, mode] = *frame.first_chunk::<4>()?;
    if sync != 0xff || version & 0xe0 != 0xe0 {
        return None;
    }
    let base = *[44_100, 48_000, 32_000].get(usize::from(rates >> 2 & 3))?;
    let rate = match version >> 3 & 3 {
        3 => base,
        2 => base / 2,
        0 => base / 4,
        _ => return None,
    };
    let channels = if mode >> 6 == 3 { 1 } else { 2 };
    Some(Track::new(TrackId::AUDIO, Codec::Mp3, rate, channels))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn object_type(&mut self) -> Option<u32> {
        match self.take(5)? {
            31 => Some(32 + self.take(6)?),
            plain => Some(plain),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => AAC_RATES.get(usize::try_from(index).ok()?).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(config: &'static [u8]) -> Option<(u32, u8)> {
        aac_track(Bytes::from_static(config)).map(|track| (track.clock_rate, track.channels))
    }

    #[test]
    fn reads_rate_and_channels() {
        assert_eq!(parsed(&[0x12, 0x10]), Some((44_100, 2)));
        assert_eq!(parsed(&[0x11, 0x88]), Some((48_000, 1)));
        // HE-AAC, told explicitly: 22,050 core, 44,100 extended.
        assert_eq!(parsed(&[0x2b, 0x92, 0x08]), Some((22_050, 2)));
        // A frequency written out: 15, then 24 bits.
        assert_eq!(parsed(&[0x17, 0x80, 0x5d, 0xc0, 0x10]), Some((48_000, 2)));
    }

    #[test]
    fn refuses_what_is_cut_off_or_reserved() {
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&[0x12]), None);
        assert_eq!(parsed(&[0x16, 0x90]), None, "index 13");
    }

    #[test]
    fn reads_an_mp3_header() {
        let track = mp3_track(&[0xff, 0xfb, 0x90, 0xc4]).unwrap();
        assert_eq!((track.clock_rate, track.channels), (44_100, 1));
        assert!(mp3_track(&[0xff, 0xfb, 0x9c, 0xc4]).is_none());
        assert!(mp3_track(&[0xff, 0xfb]).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = mp3_track(&bytes);
            let _ = aac_track(bytes.into());
        }
    }
}
