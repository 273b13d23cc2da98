//! `/api/v1/streams`: what is published or waited for.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::{
    extract::{Path, State},
    http::Uri,
    response::Response,
};
use serde::Serialize;
use serde_json::json;
use weir_source::{Codec, Source, StreamKey, Track};

use super::{ERROR_STREAM_NOT_FOUND, Page, answer, failure, meter::Kbps, rates::Departed};
use crate::{Problem, ids, router::AppState};

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
    let entries = entries(&state);
    let total = entries.len();
    let counts = Counts::of(&state);
    let now = Instant::now();
    let rows: Vec<Row> = page.cut(entries).map(|entry| entry.row(&state, &counts, now)).collect();
    Ok(answer(&state, 0, json!({"streams": rows, "total": total})))
}

pub(super) async fn one(State(state): State<AppState>, Path(id): Path<String>) -> Response {
    match entries(&state).into_iter().find(|entry| state.ids.stream(entry.key()) == id) {
        Some(entry) => answer(&state, 0, json!({"stream": entry.row(&state, &Counts::of(&state), Instant::now())})),
        None => failure(&state, ERROR_STREAM_NOT_FOUND),
    }
}

/// A stream that there is, or one that was published until lately.
enum Entry {
    Present(Arc<Source>),
    Departed(StreamKey, Departed),
}

/// All of them in the order of their names.
fn entries(state: &AppState) -> Vec<Entry> {
    // In this order: one that ends in between is listed once or twice rather than not at all.
    let mut all: Vec<Entry> = state.hub.list().into_iter().map(Entry::Present).collect();
    all.extend(state.rates.departed(&state.hub).into_iter().map(|(key, last)| Entry::Departed(key, last)));
    all.sort_by(|a, b| a.key().cmp(b.key()));
    all.dedup_by(|b, a| a.key() == b.key());
    all
}

impl Entry {
    fn key(&self) -> &StreamKey {
        match self {
            Self::Present(source) => source.key(),
            Self::Departed(key, _) => key,
        }
    }

    fn row(&self, state: &AppState, counts: &Counts, now: Instant) -> Row {
        match self {
            Self::Present(source) => row(state, source, counts, now),
            Self::Departed(key, last) => Row {
                tc_url: last.tc_url.clone(),
                frames: last.video_frames,
                audio_frames: last.audio_frames,
                video_frames: last.video_frames,
                send_bytes: last.send_bytes,
                recv_bytes: last.recv_bytes,
                kbps: state.rates.stream(key).kbps,
                ..Row::of(state, key, counts)
            },
        }
    }
}

impl Row {
    /// What its name tells.
    fn of(state: &AppState, key: &StreamKey, counts: &Counts) -> Self {
        Self {
            id: state.ids.stream(key),
            name: key.stream().to_owned(),
            vhost: state.ids.vhost(key.vhost()),
            app: key.app().to_owned(),
            tc_url: String::new(),
            url: format!("/{}/{}", key.app(), key.stream()),
            live_ms: ids::now_ms(),
            clients: counts.0.get(key).copied().unwrap_or(0),
            frames: 0,
            audio_frames: 0,
            video_frames: 0,
            send_bytes: 0,
            recv_bytes: 0,
            kbps: Kbps::default(),
            publish: Publish { active: false, cid: String::new() },
            video: None,
            audio: None,
        }
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
        tc_url: client.map_or_else(String::new, |client| client.info.url.clone()),
        frames: video_frames,
        audio_frames: stats.audio.load(Ordering::Relaxed),
        video_frames,
        send_bytes: rate.send_bytes,
        recv_bytes: stats.recv_bytes.load(Ordering::Relaxed),
        kbps: rate.kbps,
        publish: Publish { active: publisher.is_some(), cid: publisher.unwrap_or_default() },
        video: video(source),
        audio: audio(source),
        // SRS gives its own clock in `live_ms` rather than the stream's age.
        ..Row::of(state, key, counts)
    }
}

/// The picture as the publisher's own lane tells it, else as a remuxer has found out.
fn video(source: &Source) -> Option<Video> {
    let native = source.publisher_lane()?;
    let track = Arc::clone(source.tracks(native).video()?);
    let known = track.video.clone().or_else(|| source.tracks(native.other()).video()?.video.clone());
    let (profile, level) = h264_profile(&track.fmtp).unwrap_or_default();
    let known = known.unwrap_or_default();
    let or = |known: String, agreed| if known.is_empty() { agreed } else { known };
    Some(Video {
        codec: track.codec.name(),
        profile: or(known.profile, profile),
        // SRS writes a whole one without its zero.
        level: or(known.level, level).trim_end_matches(".0").to_owned(),
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
