//! Sound: AAC from a second of it over and over again, Opus packets of any size.

use bytes::Bytes;

/// A second of noise with a tone in it: AAC-LC, 48 kHz, stereo, 64 kb/s, as an ADTS file. Over and
/// over again it is as large as sound, and costs the server's transcoder what sound costs.
const SOUND: &[u8] = include_bytes!("sound.aac");
pub(crate) const AAC_KBPS: u32 = 64;
/// AudioSpecificConfig: AAC-LC, 48 kHz, stereo.
pub(crate) const AAC_CONFIG: [u8; 2] = [0x11, 0x90];
/// Samples of a frame, at [`CLOCK`].
pub(crate) const AAC_SAMPLES: u64 = 1_024;
pub(crate) const OPUS_SAMPLES: u64 = 960;
pub(crate) const CLOCK: u64 = 48_000;
/// Without a checksum, as the file's are.
const ADTS_HEADER_LEN: usize = 7;
/// An Opus packet: 80 to 160 bytes, 120 on average.
pub(crate) const OPUS_KBPS: u32 = 48;

/// The sound, frame by frame.
#[derive(Clone, Debug)]
pub(crate) struct Aac {
    /// What is left of the second.
    rest: &'static [u8],
}

impl Aac {
    pub(crate) const fn new() -> Self {
        Self { rest: SOUND }
    }

    /// The next raw frame.
    pub(crate) fn next(&mut self) -> &'static [u8] {
        if self.rest.len() < ADTS_HEADER_LEN {
            self.rest = SOUND;
        }
        // ISO/IEC 14496-3 1.A.3.2: 13 bits of length, header included.
        let &[_, _, _, b3, b4, b5, ..] = self.rest else { return &[] };
        let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let (frame, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        frame.get(ADTS_HEADER_LEN..).unwrap_or_default()
    }
}

/// The `n`th Opus packet, of 80 to 160 bytes: 20 ms of full-band stereo silence in CELT (RFC 6716
/// 3.1), and padding (3.2.5), which decoders take out and servers do not.
pub(crate) fn opus(n: u64) -> Bytes {
    let spread = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 81;
    opus_of(80 + spread as usize)
}

/// A packet of so many bytes, 6 at least and 258 at most.
fn opus_of(len: usize) -> Bytes {
    /// Code 3: a count of frames; then one frame, and that there is padding.
    const HEAD: [u8; 2] = [0xfc | 3, 0x40 | 1];
    /// Silence, as libopus writes it.
    const SILENCE: [u8; 2] = [0xff, 0xfe];
    let padding = len.saturating_sub(HEAD.len() + 1 + SILENCE.len()).min(254);
    let mut packet = Vec::with_capacity(len);
    packet.extend(HEAD);
    packet.push(padding as u8);
    packet.extend(SILENCE);
    packet.resize(packet.len() + padding, 0);
    packet.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opus_packets_have_their_size_and_one_frame() {
        for n in 0..200 {
            let packet = opus(n);
            assert!((80..=160).contains(&packet.len()), "{}", packet.len());
            assert_eq!(packet.len(), 5 + usize::from(packet[2]));
        }
    }

    #[test]
    fn the_second_of_sound_begins_again() {
        let mut aac = Aac::new();
        let frames: Vec<_> = (0..96).map(|_| aac.next()).collect();
        assert!(frames.iter().all(|frame| !frame.is_empty()));
        assert!(frames[1..].contains(&frames[0]));
    }
}
