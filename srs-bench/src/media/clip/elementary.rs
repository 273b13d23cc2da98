//! Files of pictures alone: H.264 as a byte stream (H.264 annex B), and IVF.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;

use super::{Held, Taken};
use crate::media::{Codec, Format, h264};

/// NAL unit types of H.264 table 7-1.
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

/// A byte stream, its pictures `fps` a second.
pub(super) fn annex_b(bytes: &[u8], fps: u32) -> anyhow::Result<Held> {
    let (mut sps, mut pps) = (None, None);
    let mut frames: Vec<Taken> = Vec::new();
    let (mut frame, mut keyframe, mut has_slice) = (Vec::new(), false, false);
    let mut end = |frame: &mut Vec<u8>, keyframe: bool| {
        let at = Duration::from_micros(frames.len() as u64 * 1_000_000 / u64::from(fps.max(1)));
        frames.push(Taken { dts: at, pts: at, keyframe, data: std::mem::take(frame).into() });
    };
    for unit in byte_stream_units(bytes) {
        let Some((head, body)) = unit.split_first() else { continue };
        let kind = head & 0x1f;
        // 7.4.1.2.3: what begins the next picture. first_mb_in_slice 0 is a leading one.
        let begins = match kind {
            SLICE..=IDR => body.first().is_some_and(|first| first & 0x80 != 0),
            6..=9 | 14..=18 => true,
            _ => false,
        };
        if begins && has_slice {
            end(&mut frame, keyframe);
            (keyframe, has_slice) = (false, false);
        }
        match kind {
            SPS => sps = sps.or_else(|| Some(unit.to_vec())),
            PPS => pps = pps.or_else(|| Some(unit.to_vec())),
            DELIMITER => {}
            _ => h264::put_unit(&mut frame, unit),
        }
        has_slice |= (SLICE..=IDR).contains(&kind);
        keyframe |= kind == IDR;
    }
    if has_slice {
        end(&mut frame, keyframe);
    }
    let (sps, pps) = (sps.context("no SPS")?, pps.context("no PPS")?);
    ensure!(sps.len() >= 4, "a broken SPS");
    let config = h264::configuration(&sps, &pps).into();
    Ok(Held { format: Format { codec: Codec::H264, config }, frames })
}

/// The NAL units between start codes, without trailing zeros (B.1.1).
fn byte_stream_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(bytes);
    std::iter::from_fn(move || {
        let unit = rest?;
        let end = unit.windows(3).position(|code| code == [0, 0, 1]).unwrap_or(unit.len());
        rest = after_start_code(&unit[end..]);
        let unit = &unit[..end];
        let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(&unit[..len])
    })
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    bytes.windows(3).position(|code| code == [0, 0, 1]).map(|at| &bytes[at + 3..])
}

/// IVF: a head of 32 bytes with the time base, then frames with their size and time.
pub(super) fn ivf(bytes: &Bytes) -> anyhow::Result<Held> {
    let head = bytes.get(..32).filter(|head| head.starts_with(b"DKIF")).context("no IVF file")?;
    let word = |at: usize| head.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if &head[8..12] != b"VP80" {
        bail!("coded as {}: of IVF only VP8 can be sent", String::from_utf8_lossy(&head[8..12]));
    }
    let (rate, scale) = (u64::from(word(16)).max(1), u64::from(word(20)).max(1));
    let mut at = usize::from(u16::from_le_bytes([head[6], head[7]])).max(32);
    let mut frames = Vec::new();
    while let Some(frame) = bytes.get(at..at + 12) {
        let len = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        let ticks = frame[4..12].iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        at += 12;
        let end = at.checked_add(len).filter(|end| *end <= bytes.len()).context("a cut frame")?;
        let data = bytes.slice(at..end);
        at = end;
        let dts = Duration::from_micros(ticks.saturating_mul(scale).saturating_mul(1_000_000) / rate);
        // RFC 6386 9.1: the first bit is 0 in key frames.
        let keyframe = data.first().is_some_and(|first| first & 1 == 0);
        frames.push(Taken { dts, pts: dts, keyframe, data });
    }
    Ok(Held { format: Format { codec: Codec::Vp8, config: Bytes::new() }, frames })
}
