//! Clients of all protocols, and what serves them besides WebRTC.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::text::{Exposition, Kind};
use crate::{api::protocol_and_role, router::AppState, serve};

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    clients(state, out);
    http(state, out);
    rtmp(state, out);
    hls(state, out);
    transcode(state, out);
    panics(state, out);
}

fn clients(state: &AppState, out: &mut Exposition) {
    // Those that can be are named even while there is none.
    let mut sessions = BTreeMap::<(&str, &str, &str), u64>::new();
    for (protocol, role) in
        [("webrtc", "publish"), ("webrtc", "play"), ("rtmp", "publish"), ("rtmp", "play"), ("flv", "play"), ("hls", "play")]
    {
        sessions.insert((protocol, role, "connected"), 0);
    }
    for client in state.hub.clients().list() {
        let (protocol, role) = protocol_and_role(client.info.kind);
        *sessions.entry((protocol, role, "connected")).or_default() += 1;
    }
    // WebRTC's are on the list from the answer on; what is missing to be connected shows in the sessions.
    for info in state.rtc.iter().flat_map(weir_rtc::RtcHandle::list).filter(|info| !info.connected) {
        let role = if info.direction == weir_rtc::sdp::Direction::Publish { "publish" } else { "play" };
        *sessions.entry(("webrtc", role, "waiting")).or_default() += 1;
        let connected = sessions.entry(("webrtc", role, "connected")).or_default();
        *connected = connected.saturating_sub(1);
    }
    out.family(Kind::Gauge, "weir_sessions", "Clients that there are.");
    for ((protocol, role, stage), count) in sessions {
        out.whole(&[("protocol", protocol), ("role", role), ("state", stage)], count);
    }
    let denials = state.hub.denials();
    out.counters(
        "weir_clients_denied_total",
        "Clients that were not let in.",
        "reason",
        [
            ("unauthorized", of(&denials.unauthorized)),
            ("forbidden", of(&denials.forbidden)),
            ("too_many", of(&denials.too_many)),
            ("unavailable", of(&denials.unavailable)),
            ("busy", of(&denials.busy)),
        ],
    );
    let (totals, kbps) = state.rates.totals();
    out.family(Kind::Counter, "weir_bytes_total", "Bytes of clients, by their kind.");
    for (kind, total) in &totals.kinds {
        out.whole(&[("kind", kind), ("direction", "in")], total.recv);
        out.whole(&[("kind", kind), ("direction", "out")], total.send);
    }
    out.family(Kind::Gauge, "weir_bitrate_bits_per_second", "Over the last 30 seconds.");
    out.whole(&[("direction", "in")], kbps.recv_30s.saturating_mul(1_000));
    out.whole(&[("direction", "out")], kbps.send_30s.saturating_mul(1_000));
    out.counter("weir_published_total", "Streams that began to be published.", totals.published);
    out.counter("weir_ring_lagged_total", "Packets and frames that readers lost by falling behind.", totals.lagged);
    out.counter("weir_publisher_refused_total", "Batches of publishers that had been replaced.", totals.refused);
    out.counter("weir_keyframe_requests_total", "Wishes for a keyframe that reached a publisher.", totals.keyframe_requests);
}

fn http(state: &AppState, out: &mut Exposition) {
    let stats = &state.http;
    let (answered, refused, failed) = (of(&stats.answered), of(&stats.refused), of(&stats.failed));
    let fine = answered.saturating_sub(refused).saturating_sub(failed);
    out.counters(
        "weir_http_answers_total",
        "HTTP answers, by whose fault they are.",
        "result",
        [("ok", fine), ("client_error", refused), ("server_error", failed)],
    );
    out.counters(
        "weir_http_refusals_total",
        "Refused requests, by the problem that they were told.",
        "problem",
        stats.refusals(),
    );
    out.counter("weir_api_denied_total", "API requests without the credentials that they need.", of(&stats.denied));
    out.counters(
        "weir_http_connections_lost_total",
        "HTTP connections that were refused, or ended in an error.",
        "reason",
        serve::connections_refused().chain([("failed", serve::connections_failed())]),
    );
}

fn rtmp(state: &AppState, out: &mut Exposition) {
    let stats = &state.rtmp;
    out.counter("weir_rtmp_connections_total", "RTMP connections taken.", of(&stats.accepted));
    out.counters(
        "weir_rtmp_connections_lost_total",
        "RTMP connections that were refused or ended by the server.",
        "reason",
        [("full", of(&stats.refused)), ("protocol", of(&stats.protocol_errors)), ("too_slow", of(&stats.too_slow))],
    );
    out.counter("weir_rtmp_sent_bytes_total", "Bytes written to RTMP clients.", of(&stats.sent_bytes));
    out.counter("weir_rtmp_writes_total", "Writes to RTMP clients.", of(&stats.writes));
    out.counter("weir_rtmp_dropped_total", "Malformed media messages of RTMP publishers.", of(&stats.dropped));
    out.counter("weir_rtmp_ignored_total", "RTMP messages that were read over.", of(&stats.ignored));
}

fn hls(state: &AppState, out: &mut Exposition) {
    let stats = state.hls.as_ref().map(|hls| hls.stats()).unwrap_or_default();
    out.gauge("weir_hls_streams", "Streams being segmented.", stats.streams as f64);
    out.gauge("weir_hls_bytes", "Bytes of segments in memory.", stats.bytes as f64);
    out.gauge("weir_hls_waiters", "Requests that wait for a first segment.", stats.waiters as f64);
    out.counters(
        "weir_hls_segments_total",
        "Segments, by how they were cut.",
        "cut",
        [
            ("keyframe", stats.segments.saturating_sub(stats.forced)),
            ("length", stats.forced),
            ("dropped", stats.segments_dropped),
        ],
    );
    out.gauge("weir_hls_sessions", "Viewers of HLS.", state.hls_sessions.count() as f64);
    let (refused, evicted) = state.hls_sessions.overflow();
    out.counters(
        "weir_hls_sessions_overflow_total",
        "Viewers of HLS refused because there were too many, and sessions that nobody had played ended for others.",
        "what",
        [("refused", refused), ("evicted", evicted)],
    );
    out.counter("weir_hls_discontinuities_total", "Segments marked as a discontinuity.", stats.discontinuities);
    out.counter("weir_hls_frames_dropped_total", "Frames that HLS left out.", stats.frames_dropped);
    out.counters(
        "weir_hls_refused_total",
        "HLS requests without a playlist.",
        "reason",
        [("timeout", stats.timeouts), ("full", stats.refused)],
    );
}

fn transcode(state: &AppState, out: &mut Exposition) {
    let pool = state.remux.as_ref().map(|remux| remux.pool().stats());
    let of = |get: fn(&weir_bridge::transcode::PoolStats) -> u64| pool.map_or(0, get);
    out.gauge(
        "weir_transcode_jobs",
        "Streams whose sound is being transcoded.",
        of(|s| s.jobs.load(Ordering::Relaxed) as u64) as f64,
    );
    out.counters(
        "weir_transcode_frames_total",
        "Frames of sound.",
        "direction",
        [("in", of(|s| s.frames_in.load(Ordering::Relaxed))), ("out", of(|s| s.frames_out.load(Ordering::Relaxed)))],
    );
    out.counters(
        "weir_transcode_dropped_total",
        "Frames of sound that were lost.",
        "reason",
        [
            ("input_full", of(|s| s.input_dropped.load(Ordering::Relaxed))),
            ("output_full", of(|s| s.output_dropped.load(Ordering::Relaxed))),
            ("codec", of(|s| s.errors.load(Ordering::Relaxed))),
        ],
    );
    let remux = state.remux.as_ref().map(|remux| remux.stats());
    out.gauge("weir_remux_running", "Remuxers that run.", remux.map_or(0, |stats| stats.running()) as f64);
    out.counters(
        "weir_remux_dropped_total",
        "Frames that remuxers left out.",
        "reason",
        [
            ("b_frame", remux.map_or(0, |stats| stats.reordered())),
            ("no_keyframe", remux.map_or(0, |stats| stats.undecodable())),
            ("hole", remux.map_or(0, |stats| stats.holes())),
            ("damaged", remux.map_or(0, |stats| stats.damaged())),
        ],
    );
}

fn panics(state: &AppState, out: &mut Exposition) {
    let transcode = state.remux.as_ref().map_or(0, |remux| of(&remux.pool().stats().panics));
    let rtc = state.rtc.as_ref().map_or(0, |rtc| rtc.stats().traffic.panics);
    out.counters(
        "weir_panics_total",
        "Panics that cost one client or stream. Each is a bug.",
        "room",
        [("webrtc", rtc), ("rtmp", of(&state.rtmp.panics)), ("transcode", transcode)],
    );
}
