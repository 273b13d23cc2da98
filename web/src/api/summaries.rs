//! `/api/v1/summaries`: SRS's fields about the process, and this server's own counters.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{extract::State, response::Response};
use serde_json::{Value, json};
use weir_bridge::{hls::HlsStats, rtmp::RtmpStats};
use weir_rtc::RtcStats;

use super::answer;
use crate::{HttpStats, router::AppState, serve};

/// `data.self` is SRS's; `data.weir` has what SRS has no words for.
pub(super) async fn summaries(State(state): State<AppState>) -> Response {
    let data = json!({
        "ok": true,
        "now_ms": crate::ids::now_ms(),
        "self": {
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "mem_kbyte": resident_kbyte(),
            "srs_uptime": state.ids.started.elapsed().as_secs(),
        },
        "weir": {
            "streams": state.hub.list().len(),
            "clients": state.hub.clients().count(),
            "rtc": state.rtc.as_ref().map(|rtc| of_rtc(&rtc.stats())),
            "rtmp": of_rtmp(&state.rtmp),
            "http": of_http(&state.http),
            "hls": state.hls.as_ref().map(|hls| of_hls(&hls.stats())),
        },
    });
    answer(&state, 0, json!({"data": data}))
}

fn of_rtc(stats: &RtcStats) -> Value {
    let (recv, send) = (&stats.traffic.recv, &stats.traffic.send);
    let (traffic, tcp) = (&stats.traffic, &stats.traffic.tcp);
    json!({
        "workers": stats.workers,
        "publishers": stats.publishers,
        "players": stats.players,
        "waiting": stats.waiting,
        "connected": stats.connected,
        "panics": traffic.panics,
        "ended": {"bad_fingerprint": traffic.bad_fingerprint, "dtls_failed": traffic.dtls_failed},
        "recv": {"calls": recv.calls, "messages": recv.messages, "datagrams": recv.datagrams, "bytes": recv.bytes},
        "send": {
            "calls": send.calls,
            "messages": send.messages,
            "datagrams": send.datagrams,
            "bytes": send.bytes,
            "unsegmented": send.unsegmented,
        },
        "tcp": {
            "open": tcp.open,
            "accepted": tcp.accepted,
            "refused": tcp.refused,
            "unproven": tcp.unproven,
            "too_long": tcp.too_long,
            "stuck": tcp.stuck,
            "handed_over": tcp.handed_over,
            "recv": {"datagrams": tcp.frames_in, "bytes": tcp.bytes_in},
            "send": {"writes": tcp.writes, "datagrams": tcp.frames_out, "bytes": tcp.bytes_out},
        },
        "load_permille": traffic.load_permille,
        "paced": traffic.paced,
        "rejoined": traffic.rejoined,
        "gathered": {
            "batches": traffic.gathered.count,
            "waited_us": traffic.gathered.total_us,
            "longest_us": traffic.gathered.longest_us,
        },
        "dropped": {
            "kernel": traffic.kernel_drops,
            "bad_size": recv.bad_size,
            "unknown": traffic.unknown,
            "unproven_tuple": traffic.unproven_tuple,
            "unknown_ufrag": traffic.unknown_ufrag,
            "bad_mac": traffic.bad_mac,
            "stray_answers": traffic.stray_answers,
            "inbox_full": traffic.inbox_full,
            "lagged": traffic.lagged,
            "send_full": send.full,
            "send_refused": send.refused,
            "tcp_full": tcp.dropped,
        },
    })
}

fn of_rtmp(stats: &RtmpStats) -> Value {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    json!({
        "accepted": of(&stats.accepted),
        "refused": of(&stats.refused),
        "protocol_errors": of(&stats.protocol_errors),
        "too_slow": of(&stats.too_slow),
        "panics": of(&stats.panics),
        "writes": of(&stats.writes),
        "sent_bytes": of(&stats.sent_bytes),
        "dropped": of(&stats.dropped),
        "ignored": of(&stats.ignored),
    })
}

fn of_http(stats: &HttpStats) -> Value {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (connections_refused, connections_failed) = serve::connections();
    json!({
        "answered": of(&stats.answered),
        "refused": of(&stats.refused),
        "failed": of(&stats.failed),
        "connections_refused": connections_refused,
        "connections_failed": connections_failed,
    })
}

fn of_hls(stats: &HlsStats) -> Value {
    json!({
        "streams": stats.streams,
        "bytes": stats.bytes,
        "waiters": stats.waiters,
        "segments": stats.segments,
        "segments_dropped": stats.segments_dropped,
        "frames_dropped": stats.frames_dropped,
        "refused": stats.refused,
    })
}

/// Zero where the system does not say.
fn resident_kbyte() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}
