//! Figures by stream: the busiest by name, all others as one, so that names cannot make series (A72).

use std::{collections::HashMap, sync::atomic::Ordering, time::Instant};

use weir_source::{Lane, Source, StreamKey};

use super::text::{Exposition, Kind};
use crate::{api::Kbps, router::AppState};

/// Streams with series of their own: a hundred times six lines are 60 KB of text.
const NAMED_MAX: usize = 100;
/// The name of the others. No stream has it: names have no brackets.
const OTHERS: &str = "(other)";

/// A name, what it means, and a line's value.
type Family = (&'static str, &'static str, fn(&Line) -> Option<f64>);

/// One line of each family.
#[derive(Default)]
struct Line {
    vhost: String,
    name: String,
    clients: u64,
    recv_bps: u64,
    send_bps: u64,
    frames: Option<u64>,
    lagged: Option<u64>,
    keyframe_age: Option<f64>,
}

impl Line {
    fn of(kbps: Kbps) -> Self {
        let bits = |kilobits: u64| kilobits.saturating_mul(1_000);
        Self { recv_bps: bits(kbps.recv_30s), send_bps: bits(kbps.send_30s), ..Self::default() }
    }
}

pub(super) fn write(state: &AppState, by_stream: bool, now: Instant, out: &mut Exposition) {
    let lines = if by_stream { lines(state, now) } else { Vec::new() };
    let families: [Family; 5] = [
        ("weir_stream_clients", "Clients, the publisher among them.", |line| Some(line.clients as f64)),
        ("weir_stream_receive_bits_per_second", "What its publisher sends, over 30 seconds.", |line| Some(line.recv_bps as f64)),
        ("weir_stream_send_bits_per_second", "What its players are sent, over 30 seconds.", |line| Some(line.send_bps as f64)),
        ("weir_stream_keyframe_age_seconds", "Since its last keyframe, while it is published.", |line| line.keyframe_age),
        ("weir_stream_lagged", "What its readers have lost by falling behind.", |line| Some(line.lagged? as f64)),
    ];
    for (name, help, value) in families {
        out.family(Kind::Gauge, name, help);
        for line in &lines {
            if let Some(value) = value(line) {
                out.sample(&[("vhost", &line.vhost), ("stream", &line.name)], value);
            }
        }
    }
    // A stream that is published anew begins at zero, as a counter may.
    out.family(Kind::Counter, "weir_stream_frames_total", "Pictures from its publishers.");
    for line in &lines {
        if let Some(frames) = line.frames {
            out.whole(&[("vhost", &line.vhost), ("stream", &line.name)], frames);
        }
    }
}

fn lines(state: &AppState, now: Instant) -> Vec<Line> {
    let mut clients = HashMap::<StreamKey, u64>::new();
    for client in state.hub.clients().list() {
        *clients.entry(client.info.key.clone()).or_default() += 1;
    }
    let (busiest, others) = state.rates.busiest(NAMED_MAX);
    let mut lines = Vec::with_capacity(NAMED_MAX + 1);
    for (key, kbps) in busiest {
        let Some(source) = state.hub.get(&key) else { continue };
        let stats = source.stats();
        lines.push(Line {
            vhost: key.vhost().to_owned(),
            name: format!("{}/{}", key.app(), key.stream()),
            clients: clients.remove(&key).unwrap_or(0),
            frames: Some(stats.video.load(Ordering::Relaxed)),
            lagged: Some(stats.lagged.load(Ordering::Relaxed)),
            keyframe_age: keyframe_age(&source, now),
            ..Line::of(kbps)
        });
    }
    if let Some(kbps) = others {
        lines.push(Line { name: OTHERS.to_owned(), clients: clients.values().sum(), ..Line::of(kbps) });
    }
    lines
}

fn keyframe_age(source: &Source, now: Instant) -> Option<f64> {
    let lane = source.publisher_lane()?;
    source.tracks(lane).video()?;
    let last = match lane {
        Lane::Packets => source.packets().joined(),
        Lane::Frames => source.frames().joined(),
    };
    Some(source.media_time(now).saturating_since(last?).as_secs_f64())
}
