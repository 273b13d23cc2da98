//! One stream's way: decode, fill gaps, resample, hold to the times, encode.

use bytes::Bytes;
use weir_source::MediaTime;

use super::{
    CHANNELS, RATE,
    clock::{Clock, Verdict, samples_us},
    decode::{DecodeError, Decoder, opus_samples},
    encode::Encoder,
    resample::{Resampler, stretch},
};

/// Lost Opus packets are guessed by the decoder for this long in samples (100 ms): a longer guess
/// is a drone. What is missing beyond is silent.
const CONCEAL_SAMPLES_MAX: u64 = 4_800;
/// A longer hole in the RTP timestamps (one second) is left to the clock, which starts anew.
const MISSING_SAMPLES_MAX: u64 = 48_000;
/// What the decoder conceals in one call: 20 ms.
const CONCEAL_STEP: u64 = 960;

/// A coded frame of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    /// When its first sample sounds, on the source's clock.
    pub time: MediaTime,
    /// Its extended RTP timestamp at 48 kHz, where it came by RTP: then missing packets are known
    /// to the sample.
    pub timestamp: Option<u64>,
    /// The coded bytes: one raw AAC access unit, or one Opus packet.
    pub data: Bytes,
}

/// What a stream is transcoded from and to.
#[derive(Clone, Debug)]
pub(super) enum Recipe {
    /// From AAC with this AudioSpecificConfig, to so many bits per second.
    AacToOpus(Bytes, u32),
    /// To so many bits per second.
    OpusToAac(u32),
}

impl Recipe {
    pub(super) fn build(&self) -> Result<Chain, DecodeError> {
        let (decoder, encoder) = match self {
            Self::AacToOpus(config, bitrate) => (Decoder::aac(config)?, Encoder::opus(*bitrate)?),
            Self::OpusToAac(bitrate) => (Decoder::opus()?, Encoder::aac(*bitrate)?),
        };
        Ok(Chain::new(decoder, encoder))
    }
}

/// The state of one stream.
pub(super) struct Chain {
    decoder: Decoder,
    encoder: Encoder,
    clock: Clock,
    resampler: Option<Resampler>,
    next_timestamp: Option<u64>,
    /// Decoded samples of this turn, at the input's rate; then at 48 kHz.
    decoded: Vec<f32>,
    resampled: Vec<f32>,
    /// Samples at 48 kHz that wait for a whole frame, and how many were taken since the anchor.
    pending: Vec<f32>,
    taken: i64,
    last_out: Option<MediaTime>,
    last_frame: usize,
    errors: u64,
}

impl Chain {
    fn new(decoder: Decoder, encoder: Encoder) -> Self {
        Self {
            decoder,
            encoder,
            clock: Clock::default(),
            resampler: None,
            next_timestamp: None,
            decoded: Vec::new(),
            resampled: Vec::new(),
            pending: Vec::new(),
            taken: 0,
            last_out: None,
            last_frame: 0,
            errors: 0,
        }
    }

    /// The decoder configuration of what comes out.
    pub(super) fn config(&self) -> Bytes {
        self.encoder.config()
    }

    /// Frames that could not be decoded or encoded so far.
    pub(super) const fn errors(&self) -> u64 {
        self.errors
    }

    /// Takes a frame and appends what it completes to `out`.
    pub(super) fn feed(&mut self, input: &Coded, out: &mut Vec<Coded>) {
        self.decoded.clear();
        let Some(concealed) = self.conceal_missing(input) else { return };
        let rate = match self.decoder.decode(&input.data, &mut self.decoded) {
            Ok(rate) => rate,
            Err(error) => {
                self.errors += 1;
                tracing::trace!(%error, "an audio frame was not decoded");
                // As long as the one before, so that the next is in its place.
                self.decoded.resize(self.decoded.len() + self.last_frame * CHANNELS, 0.0);
                self.resampler.as_ref().map_or(RATE, Resampler::rate)
            }
        };
        let samples = self.decoded.len() / CHANNELS;
        self.last_frame = samples - concealed.min(samples);
        let starts = input.time.offset(-MediaTime::from_ticks(i64::try_from(concealed).unwrap_or(0), rate).as_micros());
        if samples > 0 && self.prepare(rate) {
            self.place(starts, samples, rate);
            self.encode(out);
        }
    }

    /// Fills the hole before an Opus packet, as its timestamp tells; returns the samples appended.
    /// `None`: the packet is malformed, or belongs to what is already filled.
    fn conceal_missing(&mut self, input: &Coded) -> Option<usize> {
        let Some(timestamp) = input.timestamp else { return Some(0) };
        let Some(samples) = opus_samples(&input.data) else {
            self.errors += 1;
            return None;
        };
        let missing = timestamp.saturating_sub(self.next_timestamp.unwrap_or(timestamp));
        let late = self.next_timestamp.is_some_and(|next| timestamp < next && next - timestamp < MISSING_SAMPLES_MAX);
        if late {
            return None;
        }
        self.next_timestamp = Some(timestamp.saturating_add(samples as u64));
        if missing > MISSING_SAMPLES_MAX {
            return Some(0);
        }
        let mut left = missing.min(CONCEAL_SAMPLES_MAX);
        while left >= CONCEAL_STEP {
            self.decoder.conceal(CONCEAL_STEP as usize, &mut self.decoded);
            left -= CONCEAL_STEP;
        }
        let missing = usize::try_from(missing).unwrap_or(0);
        self.decoded.resize(missing * CHANNELS, 0.0);
        Some(missing)
    }

    /// The resampler for `rate`; `false` if there is none.
    fn prepare(&mut self, rate: u32) -> bool {
        if self.resampler.as_ref().is_none_or(|resampler| resampler.rate() != rate) {
            self.resampler = Resampler::new(rate);
        }
        self.resampler.is_some()
    }

    /// Brings the decoded samples to 48 kHz and to their place behind those that wait.
    fn place(&mut self, starts: MediaTime, samples: usize, rate: u32) {
        let verdict = self.clock.judge(starts);
        let extra = match verdict {
            Verdict::Drop => return,
            Verdict::Append(by) => by,
            Verdict::FillThenAppend(silence) => {
                let silence_samples = usize::try_from(silence).unwrap_or(0);
                self.pending.resize(self.pending.len() + silence_samples * CHANNELS, 0.0);
                self.clock.advance(samples, rate, silence);
                0
            }
            Verdict::Restart => {
                self.pending.clear();
                self.taken = 0;
                0
            }
        };
        if !matches!(verdict, Verdict::FillThenAppend(_)) {
            self.clock.advance(samples, rate, extra);
        }
        let Some(resampler) = &mut self.resampler else { return };
        self.resampled.clear();
        resampler.process(&self.decoded, &mut self.resampled);
        stretch(&self.resampled, extra, &mut self.pending);
    }

    fn encode(&mut self, out: &mut Vec<Coded>) {
        let frame = self.encoder.frame_samples();
        let Some(anchor) = self.clock.anchor() else { return };
        let mut used = 0;
        while let Some(pcm) = self.pending.get(used..used + frame * CHANNELS) {
            let time = anchor.offset(samples_us(self.taken - self.delay()));
            match self.encoder.encode(pcm) {
                Ok(data) if !data.is_empty() && self.is_due(time, anchor, frame) => {
                    self.last_out = Some(time);
                    out.push(Coded { time, timestamp: None, data });
                }
                Ok(_) => {}
                Err(error) => {
                    self.errors += 1;
                    tracing::debug!(%error, "an audio frame was not encoded");
                }
            }
            used += frame * CHANNELS;
            self.taken += i64::try_from(frame).unwrap_or(0);
        }
        self.pending.drain(..used);
    }

    /// By how many samples at 48 kHz what comes out sounds late.
    fn delay(&self) -> i64 {
        let Some(resampler) = &self.resampler else { return self.encoder.delay() };
        let decoder = self.decoder.delay() * i64::from(RATE) / i64::from(resampler.rate().max(1));
        decoder + resampler.delay() + self.encoder.delay()
    }

    /// Not before the first input (that is the encoder's own run-up), nor over what was sent.
    fn is_due(&self, time: MediaTime, anchor: MediaTime, frame: usize) -> bool {
        let duration = samples_us(i64::try_from(frame).unwrap_or(0));
        let begun = time.offset(duration) > anchor && time >= MediaTime::ZERO;
        // Half a frame of tolerance: the delay may be known only after the first frame.
        begun && self.last_out.is_none_or(|last| time - last > duration / 2)
    }
}

#[cfg(all(test, feature = "aac"))]
mod tests;
