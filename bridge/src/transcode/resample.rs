//! From any sampling rate to 48 kHz, and the small stretches that hold sound to its times.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

use super::{CHANNELS, RATE};

/// Samples per channel and call. Smaller blocks delay less; the transition band is then about a
/// kilohertz wide at the top, above what AAC keeps at these rates.
const BLOCK: usize = 512;

/// Resamples interleaved stereo to 48 kHz.
pub(super) struct Resampler {
    rate: u32,
    /// `None` at 48 kHz.
    fft: Option<Fft<f32>>,
    waiting: Vec<f32>,
    scratch: Vec<f32>,
}

impl Resampler {
    /// From `rate` Hz; `None` if there is no way from it.
    pub(super) fn new(rate: u32) -> Option<Self> {
        let fft = if rate == RATE {
            None
        } else {
            let (from, to) = (usize::try_from(rate).ok()?, usize::try_from(RATE).ok()?);
            Some(Fft::new(from, to, BLOCK, CHANNELS, FixedSync::Input).ok()?)
        };
        Some(Self { rate, fft, waiting: Vec::new(), scratch: Vec::new() })
    }

    /// The input rate in Hz.
    pub(super) const fn rate(&self) -> u32 {
        self.rate
    }

    /// By how many samples the output is late.
    pub(super) fn delay(&self) -> i64 {
        self.fft.as_ref().map_or(0, |fft| i64::try_from(fft.output_delay()).unwrap_or(0))
    }

    /// Appends what `pcm` gives to `out`; a rest of less than a block waits for more.
    pub(super) fn process(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        let Some(fft) = &mut self.fft else {
            out.extend_from_slice(pcm);
            return;
        };
        self.waiting.extend_from_slice(pcm);
        let mut used = 0;
        loop {
            let frames = fft.input_frames_next();
            let Some(block) = self.waiting.get(used..used + frames * CHANNELS) else { break };
            self.scratch.resize(fft.output_frames_max() * CHANNELS, 0.0);
            let capacity = self.scratch.len() / CHANNELS;
            let (Ok(input), Ok(mut output)) = (
                InterleavedSlice::new(block, CHANNELS, frames),
                InterleavedSlice::new_mut(&mut self.scratch, CHANNELS, capacity),
            ) else {
                break;
            };
            let Ok((_, made)) = fft.process_into_buffer(&input, &mut output, None) else { break };
            out.extend_from_slice(self.scratch.get(..made * CHANNELS).unwrap_or_default());
            used += frames * CHANNELS;
        }
        self.waiting.drain(..used);
    }
}

/// Makes interleaved stereo longer or shorter by `by` samples, evenly (cubic interpolation). The
/// pitch moves by a thousandth for a frame, which nobody hears.
pub(super) fn stretch(pcm: &[f32], by: i64, out: &mut Vec<f32>) {
    let frames = pcm.len() / CHANNELS;
    let wanted = i64::try_from(frames).unwrap_or(0) + by;
    let (Ok(wanted), false) = (usize::try_from(wanted), by == 0 || frames < 8) else {
        out.extend_from_slice(pcm);
        return;
    };
    let at = |index: i64, channel: usize| {
        let index = usize::try_from(index).unwrap_or(0).min(frames - 1);
        pcm.get(index * CHANNELS + channel).copied().unwrap_or(0.0)
    };
    for index in 0..wanted {
        let position = index as f64 * frames as f64 / wanted as f64;
        let (whole, part) = (position.floor() as i64, position.fract() as f32);
        for channel in 0..CHANNELS {
            let (a, b, c, d) = (at(whole - 1, channel), at(whole, channel), at(whole + 1, channel), at(whole + 2, channel));
            // Catmull-Rom.
            let (p, q, r) = (-a + 3.0 * b - 3.0 * c + d, 2.0 * a - 5.0 * b + 4.0 * c - d, c - a);
            out.push(b + 0.5 * part * (r + part * (q + part * p)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: f64, samples: usize) -> Vec<f32> {
        (0..samples).flat_map(|n| [(n as f64 * 440.0 * std::f64::consts::TAU / rate).sin() as f32 * 0.5; 2]).collect()
    }

    fn worst(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn the_usual_rates_keep_a_tone_and_its_place() {
        for rate in [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000] {
            let mut resampler = Resampler::new(rate).expect("possible");
            let input = tone(f64::from(rate), rate as usize);
            let mut out = Vec::new();
            input.chunks(2_048).for_each(|chunk| resampler.process(chunk, &mut out));
            let late = usize::try_from(resampler.delay()).unwrap() * CHANNELS;
            assert!(out.len() > 80_000, "{rate}: {}", out.len());
            let expected = tone(48_000.0, 48_000);
            let error = worst(&out[late + 9_600..80_000], &expected[9_600..]);
            assert!(error < 0.02, "{rate}: {error}");
        }
    }

    #[test]
    fn a_stretch_adds_or_takes_one_sample_and_keeps_the_tone() {
        let input = tone(48_000.0, 960);
        for by in [-1, 1] {
            let mut out = Vec::new();
            stretch(&input, by, &mut out);
            assert_eq!(out.len() as i64 / 2, 960 + by);
            let ratio = out.len() as f64 / input.len() as f64;
            let expected = tone(48_000.0 * ratio, out.len() / 2);
            assert!(worst(&out[..out.len() - 8], &expected) < 0.001);
        }
    }
}
