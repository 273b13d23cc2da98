//! Decoders: one coded frame in, interleaved stereo samples out.

use symphonia_codec_aac::AacDecoder;
use symphonia_core::{
    codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_AAC},
    packet::PacketRef,
    units::{Duration, Timestamp},
};

use super::{CHANNELS, RATE};
use crate::remux::aac::AudioSpecificConfig;

/// The longest Opus packet in samples per channel: 120 ms (RFC 6716 3.2.5).
const OPUS_SAMPLES_MAX: usize = 5_760;
/// The most samples per channel that an AAC frame can give: two with spectral band replication
/// times 1,024, doubled once more for the extended types that the decoder knows.
#[cfg(feature = "aac")]
const AAC_SAMPLES_MAX: usize = 4_096;
/// Up to this output rate AAC streams may carry spectral band replication without saying so.
#[cfg(feature = "aac")]
const HIDDEN_SBR_RATE_MAX: u32 = 24_000;

/// By how many output samples spectral band replication is late in every decoder. Encoders count
/// it as theirs when they stamp frames.
#[cfg(feature = "aac")]
const SBR_DELAY: i64 = 962;

/// The frame could not be decoded, or the codec is not there. The text is the codec's own.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DecodeError(pub(super) String);

/// A decoder of one stream.
pub(super) enum Decoder {
    /// AAC-LC.
    Aac(Box<AacDecoder>),
    /// AAC with everything.
    #[cfg(feature = "aac")]
    Fdk(Box<Fdk>),
    /// Opus.
    Opus(Box<opus_rs::OpusDecoder>, Vec<f32>),
}

/// The FDK decoder and its output.
#[cfg(feature = "aac")]
pub(super) struct Fdk {
    decoder: fdk_aac::dec::Decoder,
    pcm: Vec<i16>,
}

impl Decoder {
    /// For AAC with this AudioSpecificConfig.
    pub(super) fn aac(config: &[u8]) -> Result<Self, DecodeError> {
        let parsed = AudioSpecificConfig::parse(config)
            .ok_or_else(|| DecodeError("the AudioSpecificConfig is malformed or uses reserved values".into()))?;
        #[cfg(feature = "aac")]
        if !parsed.is_simple() || parsed.sample_rate <= HIDDEN_SBR_RATE_MAX {
            return Fdk::new(config).map(|fdk| Self::Fdk(Box::new(fdk)));
        }
        if !parsed.is_simple() {
            return Err(DecodeError("only AAC-LC in one or two channels can be decoded by this build".into()));
        }
        let mut parameters = AudioCodecParameters::new();
        parameters.for_codec(CODEC_ID_AAC).with_extra_data(config.into());
        let decoder = AacDecoder::try_new(&parameters, &AudioDecoderOptions::default());
        decoder.map(|decoder| Self::Aac(Box::new(decoder))).map_err(|error| DecodeError(error.to_string()))
    }

    /// For Opus.
    pub(super) fn opus() -> Result<Self, DecodeError> {
        let decoder = opus_rs::OpusDecoder::new(RATE.cast_signed(), CHANNELS).map_err(|error| DecodeError(error.into()))?;
        Ok(Self::Opus(Box::new(decoder), vec![0.0; OPUS_SAMPLES_MAX * CHANNELS]))
    }

    /// Decodes one frame to the end of `out`; returns the sampling rate.
    pub(super) fn decode(&mut self, data: &[u8], out: &mut Vec<f32>) -> Result<u32, DecodeError> {
        match self {
            Self::Aac(decoder) => decode_aac(decoder, data, out),
            #[cfg(feature = "aac")]
            Self::Fdk(fdk) => fdk.decode(data, out),
            Self::Opus(decoder, pcm) => {
                let samples =
                    decoder.decode(data, OPUS_SAMPLES_MAX, pcm.as_mut_slice()).map_err(|error| DecodeError(error.into()))?;
                out.extend_from_slice(pcm.get(..samples * CHANNELS).unwrap_or_default());
                Ok(RATE)
            }
        }
    }

    /// Appends `samples` per channel (a multiple of 2.5 ms) that hide a loss, or nothing where the
    /// codec cannot.
    pub(super) fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) {
        if let Self::Opus(decoder, pcm) = self
            && samples <= OPUS_SAMPLES_MAX
            && let Ok(samples) = decoder.decode(&[], samples, pcm.as_mut_slice())
        {
            out.extend_from_slice(pcm.get(..samples * CHANNELS).unwrap_or_default());
        }
    }

    /// By how many samples of its own rate the output is late.
    pub(super) fn delay(&self) -> i64 {
        match self {
            #[cfg(feature = "aac")]
            Self::Fdk(fdk) => fdk.delay(),
            _ => 0,
        }
    }
}

fn decode_aac(decoder: &mut AacDecoder, data: &[u8], out: &mut Vec<f32>) -> Result<u32, DecodeError> {
    let packet = PacketRef::new(0, Timestamp::new(0), Duration::new(1_024), data);
    let decoded = decoder.decode_ref(&packet).map_err(|error| DecodeError(error.to_string()))?;
    let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
    let start = out.len();
    if channels == CHANNELS {
        let mut pcm = Vec::new();
        decoded.copy_to_vec_interleaved::<f32>(&mut pcm);
        out.append(&mut pcm);
    } else {
        let mut mono = Vec::new();
        decoded.copy_to_vec_interleaved::<f32>(&mut mono);
        out.extend(mono.iter().flat_map(|sample| [*sample; CHANNELS]));
    }
    if out.len() == start {
        return Err(DecodeError("the frame is empty".into()));
    }
    Ok(rate)
}

#[cfg(feature = "aac")]
impl Fdk {
    fn new(config: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = fdk_aac::dec::Decoder::new(fdk_aac::dec::Transport::Raw);
        let error = |error: fdk_aac::dec::DecoderError| DecodeError(error.to_string());
        decoder.config_raw(config).map_err(error)?;
        decoder.set_min_output_channels(CHANNELS).map_err(error)?;
        decoder.set_max_output_channels(CHANNELS).map_err(error)?;
        Ok(Self { decoder, pcm: vec![0; AAC_SAMPLES_MAX * CHANNELS] })
    }

    fn delay(&self) -> i64 {
        let info = self.decoder.stream_info();
        let sbr = if info.sampleRate == info.aacSampleRate { 0 } else { SBR_DELAY };
        i64::from(info.outputDelay) - sbr
    }

    fn decode(&mut self, data: &[u8], out: &mut Vec<f32>) -> Result<u32, DecodeError> {
        let error = |error: fdk_aac::dec::DecoderError| DecodeError(error.to_string());
        self.decoder.fill(data).map_err(error)?;
        self.decoder.decode_frame(&mut self.pcm).map_err(error)?;
        let info = self.decoder.stream_info();
        let rate = u32::try_from(info.sampleRate).map_err(|_| DecodeError("no sampling rate".into()))?;
        let length = self.decoder.decoded_frame_size();
        if info.numChannels.cast_unsigned() as usize != CHANNELS || length == 0 {
            return Err(DecodeError("the frame is not stereo after mixing".into()));
        }
        let pcm = self.pcm.get(..length).ok_or_else(|| DecodeError("the frame is too long".into()))?;
        out.extend(pcm.iter().map(|sample| f32::from(*sample) / 32_768.0));
        Ok(rate)
    }
}

/// Samples per channel at 48 kHz of an Opus packet (RFC 6716 3.1 and 3.2); `None` if malformed.
pub(crate) fn opus_samples(packet: &[u8]) -> Option<usize> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (samples > 0 && samples <= OPUS_SAMPLES_MAX).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opus_durations_are_those_of_the_table() {
        assert_eq!(opus_samples(&[31 << 3]), Some(960));
        assert_eq!(opus_samples(&[3 << 3 | 1]), Some(5_760));
        assert_eq!(opus_samples(&[16 << 3 | 3, 4]), Some(480));
        assert_eq!(opus_samples(&[31 << 3 | 3, 7]), None, "140 ms");
        assert_eq!(opus_samples(&[31 << 3 | 3]), None);
        assert_eq!(opus_samples(&[]), None);
    }

    #[test]
    fn hostile_configurations_are_refused() {
        for config in [&[][..], &[0x11], &[0x16, 0x90], &[0xff; 8]] {
            assert!(Decoder::aac(config).is_err());
        }
    }

    proptest! {
        #[test]
        fn opus_durations_of_any_bytes_are_bounded(packet in proptest::collection::vec(any::<u8>(), 0..4)) {
            prop_assert!(opus_samples(&packet).is_none_or(|samples| samples <= OPUS_SAMPLES_MAX));
        }
    }
}
