//! `/api/v1/summaries`: SRS's fields about the process, and this server's own counters.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{extract::State, response::Response};
use serde_json::{Value, json};
use weir_bridge::{hls::HlsStats, rtmp::RtmpStats};
use weir_rtc::RtcStats;

use super::{answer, rates::Total};
use crate::{
    HttpStats,
    machine::{Figures, share},
    router::AppState,
    serve,
};

pub(super) async fn summaries(State(state): State<AppState>) -> Response {
    answer(&state, 0, json!({"data": data(&state)}))
}

/// `self` and `system` are SRS's; `weir` has what SRS has no words for. SRS's `percent` is a share: 1 is
/// all.
pub(crate) fn data(state: &AppState) -> Value {
    let figures = state.machine.figures();
    let (totals, _) = state.rates.totals();
    json!({
        "ok": figures.ok,
        "now_ms": crate::ids::now_ms(),
        "self": of_self(state, &figures),
        "system": of_system(state, &figures, totals.bytes()),
        "weir": {
            "streams": state.hub.count(),
            "clients": state.hub.clients().count(),
            "rtc": state.rtc.as_ref().map(|rtc| of_rtc(&rtc.stats())),
            "rtmp": of_rtmp(&state.rtmp),
            "http": of_http(&state.http),
            "hls": state.hls.as_ref().map(|hls| of_hls(&hls.stats())),
        },
    })
}

fn of_self(state: &AppState, figures: &Figures) -> Value {
    let process = &figures.process;
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "ppid": process.field("ppid"),
        "argv": figures.facts.argv,
        "cwd": figures.facts.cwd,
        "mem_kbyte": process.resident_kbyte,
        "mem_percent": share(process.resident_kbyte, figures.memory.total),
        "cpu_percent": figures.process_share,
        "srs_uptime": state.ids.started.elapsed().as_secs(),
    })
}

fn of_system(state: &AppState, figures: &Figures, bytes: Total) -> Value {
    let (memory, devices, sockets) = (&figures.memory, &figures.devices, &figures.sockets);
    json!({
        "cpu_percent": figures.cpu_share,
        "disk_read_KBps": figures.disk_read_kbps,
        "disk_write_KBps": figures.disk_write_kbps,
        "disk_busy_percent": figures.disk_busy,
        "mem_ram_kbyte": memory.total,
        "mem_ram_percent": memory.ram_share(),
        "mem_swap_kbyte": memory.swap_total,
        "mem_swap_percent": memory.swap_share(),
        "cpus": figures.cpus,
        "cpus_online": figures.cpus_online,
        "uptime": figures.uptime.0,
        // SRS's spelling.
        "ilde_time": figures.uptime.1,
        "load_1m": figures.load[0],
        "load_5m": figures.load[1],
        "load_15m": figures.load[2],
        "net_sample_time": figures.taken_ms,
        "net_recv_bytes": devices.recv,
        "net_send_bytes": devices.send,
        "net_recvi_bytes": devices.inner_recv,
        "net_sendi_bytes": devices.inner_send,
        "srs_sample_time": figures.taken_ms,
        "srs_recv_bytes": bytes.recv,
        "srs_send_bytes": bytes.send,
        "conn_sys": sockets.tcp,
        "conn_sys_et": sockets.established,
        "conn_sys_tw": sockets.time_wait,
        "conn_sys_udp": sockets.udp,
        "conn_srs": state.hub.clients().count(),
    })
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
    json!({
        "answered": of(&stats.answered),
        "refused": of(&stats.refused),
        "failed": of(&stats.failed),
        "denied": of(&stats.denied),
        "connections_refused": serve::connections_refused().map(|(_, count)| count).sum::<u64>(),
        "connections_failed": serve::connections_failed(),
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
