//! MP4 (H.264, AAC) and Ogg (Opus), by the crates that know them.

use std::{io::Cursor, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use ogg::PacketReader;
use re_mp4::{Mp4, StsdBoxContent, Track as Mp4Track};

use super::{Held, Taken, Tracks};
use crate::media::{Codec, Format, h264};

/// Opus counts in 48 kHz whatever was recorded (RFC 7845 4).
const OPUS_CLOCK: u64 = 48_000;

pub(super) fn mp4(bytes: &Bytes) -> anyhow::Result<Tracks> {
    let mp4 = Mp4::read_bytes(bytes).context("cannot be read as MP4")?;
    let mut tracks: Tracks = [None, None];
    for track in mp4.tracks().values() {
        let (place, format) = match &track.trak(&mp4).mdia.minf.stbl.stsd.contents {
            StsdBoxContent::Avc1(sample) => {
                let record = sample.avcc.raw.clone();
                if h264::parameter_sets(&record).is_none() {
                    bail!("its H.264 has no parameter sets, or NAL units with lengths of other than four bytes");
                }
                (0, Format { codec: Codec::H264, config: record.into() })
            }
            StsdBoxContent::Mp4a(sample) => {
                let Some(esds) = &sample.esds else { continue };
                let aac = &esds.es_desc.dec_config.dec_specific;
                // AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1): five, four and four bits.
                let bits = u16::from(aac.profile) << 11 | u16::from(aac.freq_index) << 7 | u16::from(aac.chan_conf) << 3;
                (1, Format { codec: Codec::Aac, config: Bytes::copy_from_slice(&bits.to_be_bytes()) })
            }
            _ => continue,
        };
        if tracks[place].is_none() && !track.samples.is_empty() {
            tracks[place] = Some(Held { format, frames: samples(track, bytes)? });
        }
    }
    Ok(tracks)
}

fn samples(track: &Mp4Track, bytes: &Bytes) -> anyhow::Result<Vec<Taken>> {
    let mut frames = Vec::with_capacity(track.samples.len());
    let first = track.samples.iter().map(|sample| sample.decode_timestamp).min().unwrap_or(0);
    for sample in &track.samples {
        let at = |ticks: i64| {
            let ticks = u64::try_from(ticks.saturating_sub(first)).unwrap_or(0);
            Duration::from_micros(ticks.saturating_mul(1_000_000) / sample.timescale.max(1))
        };
        let start = usize::try_from(sample.offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(usize::try_from(sample.size).ok()?)?));
        let data = range.filter(|range| range.end <= bytes.len()).map(|range| bytes.slice(range)).context("a cut sample")?;
        let (dts, pts) = (at(sample.decode_timestamp), at(sample.composition_timestamp));
        frames.push(Taken { dts, pts: pts.max(dts), keyframe: sample.is_sync, data });
    }
    Ok(frames)
}

pub(super) fn ogg(bytes: &Bytes) -> anyhow::Result<Held> {
    let mut reader = PacketReader::new(Cursor::new(bytes.clone()));
    let (mut frames, mut samples, mut heads) = (Vec::new(), 0, 0);
    while let Some(packet) = reader.read_packet().context("cannot be read as Ogg")? {
        // RFC 7845 3: two packets of headers.
        if heads < 2 {
            if heads == 0 && !packet.data.starts_with(b"OpusHead") {
                bail!("of Ogg only Opus can be sent");
            }
            heads += 1;
            continue;
        }
        let at = Duration::from_micros(samples * 1_000_000 / OPUS_CLOCK);
        samples += opus_samples(&packet.data);
        frames.push(Taken { dts: at, pts: at, keyframe: true, data: packet.data.into() });
    }
    Ok(Held { format: Format { codec: Codec::Opus, config: Bytes::new() }, frames })
}

/// How long a packet is, at 48 kHz (RFC 6716 3.1 and 3.2).
fn opus_samples(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let each = match config {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(config & 3)],
        12..=15 => [480, 960][usize::from(config & 1)],
        _ => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(1, |count| u64::from(count & 0x3f)),
    };
    each * frames
}
