//! Sound keeps its energy and its place through both ways.

use fdk_aac::enc::{AudioObjectType, BitRate, ChannelMode, EncoderParams, Transport};

use super::*;
use crate::transcode::Bitrates;

const CLICK_US: i64 = 700_000;
const START_US: i64 = 50_000_000;

fn us(micros: i64) -> MediaTime {
    MediaTime::from_micros(micros)
}

/// Two seconds of quiet noise with a loud burst of 4 ms at [`CLICK_US`], interleaved.
fn click(rate: u32, channels: usize) -> Vec<f32> {
    let samples = rate as usize * 2;
    let start = (i64::from(rate) * CLICK_US / 1_000_000) as usize;
    let mut noise = 1u32;
    let sample = |n: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let quiet = (noise >> 16) as f32 / 65_536.0 - 0.5;
        let loud = start..start + rate as usize / 250;
        quiet * if loud.contains(&n) { 1.6 } else { 0.002 }
    };
    (0..samples).map(sample).flat_map(|sample| std::iter::repeat_n(sample, channels)).collect()
}

/// AAC frames of `pcm` with the times of the first sample that each gives when decoded.
fn aac(pcm: &[f32], rate: u32, mono: bool, object: AudioObjectType) -> (Bytes, Vec<Coded>) {
    let parameters = EncoderParams {
        bit_rate: BitRate::Cbr(64_000),
        sample_rate: rate,
        transport: Transport::Raw,
        channels: if mono { ChannelMode::Mono } else { ChannelMode::Stereo },
        audio_object_type: object,
    };
    let encoder = fdk_aac::enc::Encoder::new(parameters).expect("parameters are fine");
    let info = encoder.info().expect("opened");
    let samples = info.frameLength as usize;
    let mut frames = Vec::new();
    let pcm: Vec<i16> = pcm.iter().map(|sample| (sample * 32_767.0) as i16).collect();
    for (index, chunk) in pcm.chunks_exact(samples * if mono { 1 } else { 2 }).enumerate() {
        let mut out = [0; 4_096];
        let length = encoder.encode(chunk, &mut out).expect("encodes").output_size;
        let at = (index * samples) as i64 - i64::from(info.nDelay);
        let time = us(START_US).offset(MediaTime::from_ticks(at, rate).as_micros());
        frames.push(Coded { time, timestamp: None, data: Bytes::copy_from_slice(&out[..length]) });
    }
    (Bytes::copy_from_slice(&info.confBuf[..info.confSize as usize]), frames)
}

/// Opus packets of `pcm` (48 kHz stereo), as a browser sends them: time and timestamp ignore the
/// encoder's delay, so it is made up for here.
fn opus(pcm: &[f32]) -> Vec<Coded> {
    let mut encoder = Encoder::opus(Bitrates::default().opus).expect("opens");
    let make = |(index, chunk): (usize, &[f32])| {
        let at = index as i64 * 960 - encoder.delay();
        let time = us(START_US).offset(samples_us(at));
        Coded { time, timestamp: Some(10_000 + index as u64 * 960), data: encoder.encode(chunk).expect("encodes") }
    };
    pcm.chunks_exact(1_920).enumerate().map(make).collect()
}

fn feed(chain: &mut Chain, frames: &[Coded]) -> Vec<Coded> {
    let mut out = Vec::new();
    frames.iter().for_each(|frame| chain.feed(frame, &mut out));
    out
}

/// Decodes what came out and lays it on a line from [`START_US`] by the frames' times.
fn line(frames: &[Coded], decoder: &mut Decoder) -> Vec<f32> {
    let mut line = vec![0.0f32; 48_000 * 4];
    for frame in frames {
        let mut pcm = Vec::new();
        decoder.decode(&frame.data, &mut pcm).expect("decodes");
        let at = (frame.time - us(START_US)) * 48 / 1_000;
        for (index, pair) in pcm.chunks_exact(2).enumerate() {
            if let Some(place) = usize::try_from(at + index as i64).ok().and_then(|at| line.get_mut(at)) {
                *place = pair[0];
            }
        }
    }
    line
}

/// Where the burst's energy lies, in microseconds after [`START_US`].
fn burst_us(line: &[f32]) -> i64 {
    let (mut weight, mut sum) = (0.0f64, 0.0f64);
    for (index, sample) in line.iter().enumerate() {
        let energy = f64::from(*sample).powi(2);
        weight += energy;
        sum += energy * index as f64;
    }
    (sum / weight / 48_000.0 * 1e6) as i64 - 2_000
}

fn energy(line: &[f32]) -> f64 {
    line.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / line.len() as f64
}

#[test]
fn a_click_in_aac_stays_in_its_place_in_opus() {
    use AudioObjectType::{Mpeg4HeAac, Mpeg4LowComplexity};
    let cases = [
        (48_000, false, Mpeg4LowComplexity),
        (44_100, false, Mpeg4LowComplexity),
        (44_100, true, Mpeg4LowComplexity),
        (22_050, true, Mpeg4LowComplexity),
        (32_000, false, Mpeg4LowComplexity),
        (48_000, false, Mpeg4HeAac),
    ];
    for (rate, mono, object) in cases {
        let (config, frames) = aac(&click(rate, if mono { 1 } else { 2 }), rate, mono, object);
        let mut chain = Recipe::AacToOpus(config, Bitrates::default().opus).build().expect("opens");
        let out = feed(&mut chain, &frames);
        assert_eq!(chain.errors(), 0);
        assert!(out.len() >= 90, "{}", out.len());
        for pair in out.windows(2) {
            assert_eq!(pair[1].time.to_ticks(RATE) - pair[0].time.to_ticks(RATE), 960);
        }
        let found = burst_us(&line(&out, &mut Decoder::opus().expect("opens")));
        assert!((found - CLICK_US).abs() < 3_000, "{rate} {mono} {object:?}: {found}");
    }
}

#[test]
fn a_click_in_opus_stays_in_its_place_in_aac() {
    let frames = opus(&click(48_000, 2));
    let mut chain = Recipe::OpusToAac(Bitrates::default().aac).build().expect("opens");
    let out = feed(&mut chain, &frames);
    assert!(out.len() >= 90, "{}", out.len());
    for pair in out.windows(2) {
        let step = pair[1].time.to_ticks(RATE) - pair[0].time.to_ticks(RATE);
        assert!((1_023..=1_025).contains(&step), "{step}");
    }
    let found = burst_us(&line(&out, &mut Decoder::aac(&chain.config()).expect("opens")));
    assert!((found - CLICK_US).abs() < 3_000, "{found}");
}

#[test]
fn what_comes_out_has_the_bitrate_that_was_asked_for() {
    let mut noise = 1u32;
    let samples = (0..192_000).map(|_| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 16) as f32 / 65_536.0 - 0.5
    });
    let frames = opus(&samples.collect::<Vec<f32>>());
    for bitrate in [32_000, 96_000, 192_000] {
        let mut chain = Recipe::OpusToAac(bitrate).build().expect("opens");
        let (to_aac, config) = (feed(&mut chain, &frames), chain.config());
        let mut chain = Recipe::AacToOpus(config, bitrate).build().expect("opens");
        for out in [&feed(&mut chain, &to_aac), &to_aac] {
            let span = out[out.len() - 1].time.as_micros() - out[10].time.as_micros();
            let bits = out[10..].iter().map(|frame| frame.data.len() * 8).sum::<usize>() as f64;
            let found = bits / span as f64 * 1e6;
            assert!((found / f64::from(bitrate) - 1.0).abs() < 0.3, "{found} rather than {bitrate}");
        }
    }
}

#[test]
fn a_tone_keeps_its_level_both_ways() {
    let tone: Vec<f32> =
        (0..96_000).flat_map(|n| [(n as f64 * 440.0 * std::f64::consts::TAU / 48_000.0).sin() as f32 * 0.5; 2]).collect();
    let mut chain = Recipe::OpusToAac(Bitrates::default().aac).build().expect("opens");
    let to_aac = feed(&mut chain, &opus(&tone));
    let mut back = Recipe::AacToOpus(chain.config(), Bitrates::default().opus).build().expect("opens");
    let to_opus = feed(&mut back, &to_aac);
    let line = line(&to_opus, &mut Decoder::opus().expect("opens"));
    let level = energy(&line[24_000..72_000]) / 0.125;
    assert!((0.9..1.1).contains(&level), "{level}");
}

#[test]
fn lost_packets_and_silent_periods_leave_the_rest_in_place() {
    let mut frames = opus(&click(48_000, 2));
    // A lost packet, three lost packets, and 400 ms without any (DTX), all before the click.
    for range in [23..24, 13..16, 5..8] {
        frames.drain(range);
    }
    frames.drain(30..40);
    let click_packet = frames.iter().position(|frame| frame.time > us(START_US + CLICK_US - 25_000));
    assert!(click_packet.is_some());
    let mut chain = Recipe::OpusToAac(Bitrates::default().aac).build().expect("opens");
    let out = feed(&mut chain, &frames);
    let span = out.last().expect("some").time - out[0].time;
    assert!(((out.len() as i64 - 1) * 1_024 - us(span).to_ticks(RATE)).abs() <= 2, "no holes in the times");
}

#[test]
fn a_gap_in_the_times_is_filled_and_a_long_one_jumped() {
    let (config, frames) = aac(&click(48_000, 2), 48_000, false, AudioObjectType::Mpeg4LowComplexity);
    for (gap, steady) in [(500_000, true), (5_000_000, false)] {
        let mut chain = Recipe::AacToOpus(config.clone(), Bitrates::default().opus).build().expect("opens");
        let shifted: Vec<_> = frames
            .iter()
            .enumerate()
            .map(|(index, frame)| Coded { time: frame.time.offset(if index < 50 { 0 } else { gap }), ..frame.clone() })
            .collect();
        let out = feed(&mut chain, &shifted);
        assert!(out.windows(2).all(|pair| pair[1].time > pair[0].time));
        assert_eq!(out.windows(2).all(|pair| pair[1].time - pair[0].time == 20_000), steady);
        let end = shifted.last().expect("some").time - out.last().expect("some").time;
        assert!(end.abs() < 50_000, "{end}");
    }
}

#[test]
fn times_never_go_back_whatever_comes() {
    let (config, frames) = aac(&click(48_000, 2), 48_000, false, AudioObjectType::Mpeg4LowComplexity);
    let mut chain = Recipe::AacToOpus(config, Bitrates::default().opus).build().expect("opens");
    let offsets = [0, -10_000_000, 400_000, -90_000, 3_600_000_000, 0, 7];
    let wild: Vec<_> = frames
        .iter()
        .enumerate()
        .map(|(index, frame)| Coded { time: frame.time.offset(offsets[index / 7 % 7]), ..frame.clone() })
        .collect();
    let out = feed(&mut chain, &wild);
    assert!(out.windows(2).all(|pair| pair[1].time - pair[0].time >= 19_000));
}

#[test]
fn garbage_is_counted_and_the_sound_goes_on() {
    // The two AAC decoders.
    for rate in [44_100, 22_050] {
        let (config, mut frames) = aac(&click(rate, 2), rate, false, AudioObjectType::Mpeg4LowComplexity);
        for index in [8, 9, 20] {
            frames[index].data = Bytes::from_static(&[0x4f; 90]);
        }
        let mut chain = Recipe::AacToOpus(config, Bitrates::default().opus).build().expect("opens");
        let out = feed(&mut chain, &frames);
        assert!(chain.errors() >= 3 && chain.errors() < 6, "{}", chain.errors());
        let found = burst_us(&line(&out, &mut Decoder::opus().expect("opens")));
        assert!((found - CLICK_US).abs() < 3_000, "{rate}: {found}");
    }

    let mut chain = Recipe::OpusToAac(Bitrates::default().aac).build().expect("opens");
    let mut packets = opus(&click(48_000, 2));
    packets[3].data = Bytes::new();
    packets[4].data = Bytes::from_static(&[0xff, 0xff, 1]);
    feed(&mut chain, &packets);
    assert!(chain.errors() >= 2);
}
