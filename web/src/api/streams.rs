//! `/api/v1/streams`: what is published or waited for.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::Serialize;
use serde_json::json;
use weir_source::{Codec, Source, StreamKey, Track};

use super::{ERROR_STREAM_NOT_FOUND, Page, answer, failure, rates::Kbps};
use crate::{Problem, router::AppState};

#[derive(Serialize)]
struct Row {
    id: String,
    name: String,
    vhost: String,
    app: String,
    #[serde(rename = "tcUrl")]
    tc_url: String,
    url: String,
    live_ms: u64,
    clients: usize,
    frames: u64,
    audio_frames: u64,
    video_frames: u64,
    send_bytes: u64,
    recv_bytes: u64,
    kbps: Kbps,
    publish: Publish,
    video: Option<Video>,
    audio: Option<Audio>,
}

#[derive(Serialize)]
struct Publish {
    active: bool,
    cid: String,
}

#[derive(Serialize, Debug, PartialEq)]
struct Video {
    codec: &'static str,
    profile: String,
    level: String,
    width: u32,
    height: u32,
}

#[derive(Serialize, Debug, PartialEq)]
struct Audio {
    codec: &'static str,
    sample_rate: u32,
    channel: u8,
    profile: &'static str,
}

pub(super) async fn list(State(state): State<AppState>, uri: Uri) -> Result<Response, Problem> {
    let page = Page::of(&uri)?;
    let sources = state.hub.list();
    let total = sources.len();
    let counts = Counts::of(&state);
    let now = Instant::now();
    let rows: Vec<Row> = page.cut(sources).map(|source| row(&state, &source, &counts, now)).collect();
    Ok(answer(&state, 0, json!({"streams": rows, "total": total})))
}

pub(super) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match state.hub.list().iter().find(|source| state.ids.stream(source.key()) == id) {
        Some(source) => answer(&state, 0, json!({"stream": row(&state, source, &Counts::of(&state), Instant::now())})),
        None => failure(&state, ERROR_STREAM_NOT_FOUND),
    }
}

/// How many clients each stream has, publishers included.
struct Counts(HashMap<StreamKey, usize>);

impl Counts {
    fn of(state: &AppState) -> Self {
        let mut counts = HashMap::new();
        for client in state.hub.clients().list() {
            *counts.entry(client.info.key.clone()).or_default() += 1;
        }
        Self(counts)
    }
}

fn row(state: &AppState, source: &Arc<Source>, counts: &Counts, now: Instant) -> Row {
    let key = source.key();
    let publisher = source.publisher(now).map(|(client, _since)| client);
    let client = publisher.as_deref().and_then(|id| state.hub.clients().get(id));
    let rate = state.rates.stream(key);
    let stats = source.stats();
    let video_frames = stats.video.load(Ordering::Relaxed);
    Row {
        id: state.ids.stream(key),
        name: key.stream().to_owned(),
        vhost: state.ids.vhost(key.vhost()),
        app: key.app().to_owned(),
        tc_url: client.map_or_else(String::new, |client| client.info.url.clone()),
        url: format!("/{}/{}", key.app(), key.stream()),
        live_ms: unix_millis(),
        clients: counts.0.get(key).copied().unwrap_or(0),
        frames: video_frames,
        audio_frames: stats.audio.load(Ordering::Relaxed),
        video_frames,
        send_bytes: rate.send_bytes,
        recv_bytes: stats.recv_bytes.load(Ordering::Relaxed),
        kbps: rate.kbps,
        publish: Publish { active: publisher.is_some(), cid: publisher.unwrap_or_default() },
        video: video(source),
        audio: audio(source),
    }
}

/// SRS gives its own clock here rather than the stream's age.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The picture as the publisher's own lane tells it, else as a remuxer has found out.
fn video(source: &Source) -> Option<Video> {
    let native = source.publisher_lane()?;
    let track = Arc::clone(source.tracks(native).video()?);
    let known = track.video.clone().or_else(|| source.tracks(native.other()).video()?.video.clone());
    let (profile, level) = h264_profile(&track.fmtp).unwrap_or_default();
    let known = known.unwrap_or_else(|| weir_source::VideoInfo { profile, level, ..Default::default() });
    Some(Video {
        codec: track.codec.name(),
        profile: known.profile,
        level: known.level,
        width: known.width,
        height: known.height,
    })
}

/// Profile and level of `profile-level-id` (RFC 6184 section 8.1).
fn h264_profile(fmtp: &str) -> Option<(String, String)> {
    let id = fmtp.split(';').find_map(|pair| pair.trim().strip_prefix("profile-level-id="))?;
    let byte = |range| u8::from_str_radix(id.get(range)?, 16).ok();
    let profile = match byte(0..2)? {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        _ => "Other",
    };
    let level = byte(4..6)?;
    Some((profile.to_owned(), format!("{}.{}", level / 10, level % 10)))
}

fn audio(source: &Source) -> Option<Audio> {
    let track = Arc::clone(source.tracks(source.publisher_lane()?).audio()?);
    Some(Audio {
        codec: track.codec.name(),
        sample_rate: track.clock_rate,
        channel: track.channels,
        profile: aac_profile(&track),
    })
}

/// The audio object type that an AudioSpecificConfig starts with (ISO/IEC 14496-3 section 1.6.2.1),
/// in SRS's words.
fn aac_profile(track: &Track) -> &'static str {
    if track.codec != Codec::Aac {
        return "";
    }
    match track.config.first().map(|byte| byte >> 3) {
        Some(1) => "Main",
        Some(2) => "LC",
        Some(3) => "SSR",
        Some(5) => "HE",
        Some(29) => "HEv2",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_profile_of_a_webrtc_publisher() {
        let fmtp = "level-asymmetry-allowed=1;packetization-mode=1; profile-level-id=42e01f";
        assert_eq!(h264_profile(fmtp), Some(("Baseline".to_owned(), "3.1".to_owned())));
        assert_eq!(h264_profile("profile-level-id=640"), None);
        assert_eq!(h264_profile("profile-level-id=ééé"), None);
        assert_eq!(h264_profile(""), None);
    }
}
