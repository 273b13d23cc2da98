//! Encoders: a fixed number of interleaved stereo samples in, one coded frame out.

use bytes::Bytes;

#[cfg(feature = "aac")]
use super::RATE;
use super::{CHANNELS, decode::DecodeError};

/// 20 ms: what WebRTC receivers expect and encoders are tuned for (RFC 7587 4.2).
const OPUS_SAMPLES: usize = 960;
/// Half of what 10 costs less a tenth, for a difference that needs a trained ear.
const OPUS_COMPLEXITY: i32 = 5;
/// By how much Opus output is late: 4 ms of delay compensation and 2.5 ms of overlap.
const OPUS_DELAY: i64 = 312;
/// The largest Opus frame (RFC 6716 3.4 [R2]).
const OPUS_BYTES_MAX: usize = 1_276;

/// The most that an AAC frame may have: 6,144 bits per channel (ISO/IEC 14496-3 4.5.3.3).
#[cfg(feature = "aac")]
const AAC_BYTES_MAX: usize = 1_536;

/// Bits per second of what is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bitrates {
    /// Of Opus, 8,000 to 320,000. Default 96,000: stereo music in full band (RFC 6716 2.1.1 gives 64
    /// to 128 kb/s).
    pub opus: u32,
    /// Of AAC-LC, 8,000 to 320,000. Default 128,000.
    pub aac: u32,
}

impl Default for Bitrates {
    fn default() -> Self {
        Self { opus: 96_000, aac: 128_000 }
    }
}

/// What encoders take; beyond, stereo at 48 kHz has no room in a frame.
const BITRATE: std::ops::RangeInclusive<u32> = 8_000..=320_000;

/// An encoder of one stream.
pub(super) enum Encoder {
    /// Opus, 20 ms.
    Opus(Box<opus_rs::OpusEncoder>),
    /// AAC-LC.
    #[cfg(feature = "aac")]
    Aac(AacEncoder),
}

/// The FDK encoder and what it said about itself.
#[cfg(feature = "aac")]
pub(super) struct AacEncoder {
    encoder: fdk_aac::enc::Encoder,
    frame_samples: usize,
    delay: i64,
    config: Bytes,
}

impl Encoder {
    pub(super) fn opus(bitrate: u32) -> Result<Self, DecodeError> {
        let mut encoder = opus_rs::OpusEncoder::new(48_000, CHANNELS, opus_rs::Application::Audio)
            .map_err(|error| DecodeError(error.into()))?;
        encoder.bitrate_bps = within(bitrate).cast_signed();
        encoder.complexity = OPUS_COMPLEXITY;
        Ok(Self::Opus(Box::new(encoder)))
    }

    #[cfg(feature = "aac")]
    pub(super) fn aac(bitrate: u32) -> Result<Self, DecodeError> {
        use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, EncoderParams, Transport};
        let error = |error: fdk_aac::enc::EncoderError| DecodeError(error.to_string());
        let parameters = EncoderParams {
            bit_rate: BitRate::Cbr(within(bitrate)),
            sample_rate: RATE,
            transport: Transport::Raw,
            channels: ChannelMode::Stereo,
            audio_object_type: AudioObjectType::Mpeg4LowComplexity,
        };
        let encoder = fdk_aac::enc::Encoder::new(parameters).map_err(error)?;
        let info = encoder.info().map_err(error)?;
        let config = info.confBuf.get(..info.confSize as usize).unwrap_or_default();
        Ok(Self::Aac(AacEncoder {
            frame_samples: info.frameLength as usize,
            delay: i64::from(info.nDelay),
            config: Bytes::copy_from_slice(config),
            encoder,
        }))
    }

    #[cfg(not(feature = "aac"))]
    pub(super) fn aac(_bitrate: u32) -> Result<Self, DecodeError> {
        Err(DecodeError("this build has no AAC encoder".into()))
    }

    /// The decoder configuration, empty for Opus.
    pub(super) fn config(&self) -> Bytes {
        match self {
            Self::Opus(_) => Bytes::new(),
            #[cfg(feature = "aac")]
            Self::Aac(aac) => aac.config.clone(),
        }
    }

    /// Samples per channel of a frame.
    pub(super) const fn frame_samples(&self) -> usize {
        match self {
            Self::Opus(_) => OPUS_SAMPLES,
            #[cfg(feature = "aac")]
            Self::Aac(aac) => aac.frame_samples,
        }
    }

    /// By how many samples what a decoder gives for a frame is later than what went into it.
    pub(super) const fn delay(&self) -> i64 {
        match self {
            Self::Opus(_) => OPUS_DELAY,
            #[cfg(feature = "aac")]
            Self::Aac(aac) => aac.delay,
        }
    }

    /// Encodes one frame of interleaved samples; empty where the encoder first gathers.
    pub(super) fn encode(&mut self, pcm: &[f32]) -> Result<Bytes, DecodeError> {
        match self {
            Self::Opus(encoder) => {
                let mut out = [0; OPUS_BYTES_MAX];
                let length = encoder.encode(pcm, OPUS_SAMPLES, &mut out).map_err(|error| DecodeError(error.into()))?;
                Ok(Bytes::copy_from_slice(out.get(..length).unwrap_or_default()))
            }
            #[cfg(feature = "aac")]
            Self::Aac(aac) => {
                let mut out = [0; AAC_BYTES_MAX];
                let pcm: Vec<i16> = pcm.iter().map(|sample| (sample * 32_767.0) as i16).collect();
                let info = aac.encoder.encode(&pcm, &mut out).map_err(|error| DecodeError(error.to_string()))?;
                Ok(Bytes::copy_from_slice(out.get(..info.output_size).unwrap_or_default()))
            }
        }
    }
}

fn within(bitrate: u32) -> u32 {
    bitrate.clamp(*BITRATE.start(), *BITRATE.end())
}
