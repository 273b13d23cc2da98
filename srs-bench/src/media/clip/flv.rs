//! FLV files: tags of H.264 and AAC (Adobe FLV 10.1, annex E).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, Bytes};

use super::{Held, Taken, Tracks};
use crate::media::{Codec, Format};

const AUDIO_TAG: u8 = 8;
const VIDEO_TAG: u8 = 9;
const TAG_HEAD_LEN: usize = 11;
/// AVCPacketType and AACPacketType.
const CONFIG: u8 = 0;
const DATA: u8 = 1;

/// What was found of one track.
#[derive(Default)]
struct Found {
    config: Option<Bytes>,
    frames: Vec<Taken>,
}

impl Found {
    fn held(self, codec: Codec) -> Option<Held> {
        let config = self.config.filter(|_| !self.frames.is_empty())?;
        Some(Held { format: Format { codec, config }, frames: self.frames })
    }
}

pub(super) fn read(bytes: &Bytes) -> anyhow::Result<Tracks> {
    ensure!(bytes.starts_with(b"FLV"), "no FLV file");
    let head = bytes.get(5..9).context("a cut head")?;
    let start = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    // The head is followed, as each tag is, by the length of what came before.
    let mut rest = bytes.get(start.saturating_add(4)..).map(|rest| bytes.slice_ref(rest)).context("a cut head")?;
    let (mut video, mut audio) = (Found::default(), Found::default());
    while rest.len() > TAG_HEAD_LEN {
        let kind = rest[0] & 0x1f;
        let len = rest[1..4].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        // The upper eight bits of the time stand behind the lower ones.
        let ms = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
        rest.advance(TAG_HEAD_LEN);
        if rest.len() < len {
            break;
        }
        let body = rest.split_to(len);
        let dts = Duration::from_millis(ms.into());
        match kind {
            VIDEO_TAG => picture(&mut video, body, dts),
            AUDIO_TAG => sound(&mut audio, body, dts),
            _ => {}
        }
        rest.advance(rest.len().min(4));
    }
    Ok([video.held(Codec::H264), audio.held(Codec::Aac)])
}

fn picture(found: &mut Found, mut body: Bytes, dts: Duration) {
    let Some(&[head, kind, c0, c1, c2]) = body.first_chunk::<5>() else { return };
    // CodecID 7 is AVC; the top bit would be Enhanced RTMP.
    if head & 0x8f != 7 {
        return;
    }
    body.advance(5);
    match kind {
        CONFIG => found.config = found.config.take().or(Some(body)),
        DATA => {
            let later = Duration::from_millis(u32::from_be_bytes([0, c0 & 0x7f, c1, c2]).into());
            found.frames.push(Taken { dts, pts: dts + later, keyframe: head >> 4 == 1, data: body });
        }
        _ => {}
    }
}

fn sound(found: &mut Found, mut body: Bytes, dts: Duration) {
    let Some(&[head, kind]) = body.first_chunk::<2>() else { return };
    // SoundFormat 10 is AAC.
    if head >> 4 != 10 {
        return;
    }
    body.advance(2);
    match kind {
        CONFIG => found.config = found.config.take().or(Some(body)),
        DATA => found.frames.push(Taken { dts, pts: dts, keyframe: true, data: body }),
        _ => {}
    }
}
