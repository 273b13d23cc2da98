//! AAC frames in ADTS: the header that each carries in a transport stream (ISO/IEC 14496-3 1.A.2).

use super::MuxError;

/// Sampling frequencies by index (ISO/IEC 14496-3 table 1.18).
const FREQUENCIES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
/// Bytes of a header without a checksum.
const HEADER_BYTES: usize = 7;
/// The 13 bits of `aac_frame_length`, which count the header too.
const FRAME_BYTES_MAX: usize = (1 << 13) - 1;
/// Samples in an AAC frame, the common case.
const SAMPLES: i64 = 1_024;

/// What an ADTS header repeats of the decoder configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    profile: u8,
    frequency_index: u8,
    channels: u8,
}

impl Header {
    /// Reads an AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1). Channel layouts that need a program
    /// config element, and object types beyond the four that ADTS has bits for, are refused.
    pub(crate) fn from_config(config: &[u8]) -> Result<Self, MuxError> {
        let mut bits = Bits { bytes: config, at: 0 };
        let object = bits.object_type()?;
        let frequency_index = bits.frequency_index()?;
        let channels = bits.take(4)? as u8;
        // SBR or PS told beforehand: the layer below it is what the frames are coded in.
        let object = if object == 5 || object == 29 {
            bits.frequency_index()?;
            bits.object_type()?
        } else {
            object
        };
        if !(1..=4).contains(&object) || !(1..=7).contains(&channels) {
            return Err(MuxError::BadConfig);
        }
        Ok(Self { profile: object - 1, frequency_index, channels })
    }

    /// The header of a frame of `data` bytes.
    pub(crate) fn bytes(self, data: usize) -> Result<[u8; HEADER_BYTES], MuxError> {
        let length = data + HEADER_BYTES;
        if data == 0 || length > FRAME_BYTES_MAX {
            return Err(MuxError::BadFrame);
        }
        Ok([
            0xff,
            // MPEG-4, layer 0, no checksum.
            0xf1,
            self.profile << 6 | self.frequency_index << 2 | self.channels >> 2,
            (self.channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            // Buffer fullness of all ones: variable bit rate. One raw data block.
            ((length & 7) << 5) as u8 | 0x1f,
            0xfc,
        ])
    }

    /// Microseconds of sound in a frame.
    pub(super) fn frame_us(self) -> i64 {
        let rate = FREQUENCIES.get(usize::from(self.frequency_index)).copied().unwrap_or(48_000);
        SAMPLES * 1_000_000 / i64::from(rate)
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<u32, MuxError> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(MuxError::BadConfig)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }

    fn object_type(&mut self) -> Result<u8, MuxError> {
        match self.take(5)? {
            31 => Ok(32 + self.take(6)? as u8),
            object => Ok(object as u8),
        }
    }

    fn frequency_index(&mut self) -> Result<u8, MuxError> {
        let index = match self.take(4)? {
            15 => {
                let hertz = self.take(24)?;
                FREQUENCIES.iter().position(|known| *known == hertz).ok_or(MuxError::BadConfig)? as u32
            }
            index => index,
        };
        if index as usize >= FREQUENCIES.len() {
            return Err(MuxError::BadConfig);
        }
        Ok(index as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_the_configuration() {
        let lc = Header::from_config(&[0x12, 0x10]).unwrap();
        assert_eq!(lc, Header { profile: 1, frequency_index: 4, channels: 2 });
        assert_eq!(lc.bytes(100).unwrap(), [0xff, 0xf1, 0x50, 0x80, 0x0d, 0x7f, 0xfc]);
        assert_eq!(Header::from_config(&[0x11, 0x90]).unwrap().frame_us(), 21_333);
    }

    #[test]
    fn names_the_layer_below_sbr() {
        // Object 5, 24 kHz, stereo, extended to 48 kHz, object 2.
        let he = Header::from_config(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!(he, Header { profile: 1, frequency_index: 6, channels: 2 });
    }

    #[test]
    fn reads_a_frequency_given_in_full() {
        // Object 2, escape, 48,000 Hz, mono.
        let bits = (2u64 << 32 | 15 << 28 | 48_000 << 4 | 1) << 3;
        let config = &bits.to_be_bytes()[3..];
        assert_eq!(Header::from_config(config).unwrap(), Header { profile: 1, frequency_index: 3, channels: 1 });
    }

    #[test]
    fn refuses_what_it_cannot_say() {
        for bad in [&[][..], &[0x12], &[0x16, 0x90], &[0x12, 0x00], &[0xff, 0xff, 0xff], &[0x16, 0xf0]] {
            assert_eq!(Header::from_config(bad), Err(MuxError::BadConfig), "{bad:02x?}");
        }
        let lc = Header::from_config(&[0x12, 0x10]).unwrap();
        assert_eq!(lc.bytes(0), Err(MuxError::BadFrame));
        assert_eq!(lc.bytes(8_185), Err(MuxError::BadFrame));
        assert!(lc.bytes(8_184).is_ok());
    }
}
