//! WebRTC: datagrams, packets, repair, drops.

use super::text::{Exposition, Kind};
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let stats = state.rtc.as_ref().map(|rtc| rtc.stats()).unwrap_or_default();
    let (traffic, sessions) = (&stats.traffic, &stats.sessions);
    let (recv, send, tcp) = (&traffic.recv, &traffic.send, &traffic.tcp);
    out.gauge("weir_rtc_workers", "Threads.", stats.workers as f64);
    out.gauge("weir_rtc_load_ratio", "The busiest worker's share of its processor.", f64::from(traffic.load_permille) / 1_000.0);
    out.counter("weir_rtc_turns_total", "Turns of the workers' loops.", traffic.turns);
    let both = |recv, send| [("in", recv), ("out", send)];
    let (name, help) = ("weir_rtc_datagrams_total", "UDP datagrams.");
    out.counters(name, help, "direction", both(recv.datagrams, send.datagrams));
    out.counters("weir_rtc_datagram_bytes_total", "Bytes of these.", "direction", both(recv.bytes, send.bytes));
    let (name, help) = ("weir_rtc_messages_total", "Messages with the kernel, each of one or more datagrams.");
    out.counters(name, help, "direction", both(recv.messages, send.messages));
    out.counters("weir_rtc_calls_total", "System calls with these.", "direction", both(recv.calls, send.calls));
    let segments = if send.messages == 0 { 0.0 } else { send.datagrams as f64 / send.messages as f64 };
    out.gauge("weir_rtc_segments_per_send", "Datagrams per message since the start.", segments);
    out.counter("weir_rtc_unsegmented_total", "Messages that the kernel would not cut up.", send.unsegmented);
    out.counter(
        "weir_rtc_kernel_drops_total",
        "Datagrams that the kernel dropped: a receive buffer was full.",
        traffic.kernel_drops,
    );
    drops(&stats, out);

    out.counters("weir_rtc_packets_total", "RTP packets.", "direction", both(sessions.packets_in, sessions.packets_out));
    out.counter("weir_rtc_padding_bytes_total", "Bytes that make packets equally long.", sessions.padding_out);
    out.counter("weir_rtc_lost_total", "Packets that never came, as both ends tell.", sessions.lost);
    out.counter("weir_rtc_recovered_total", "Publishers' packets that a request brought back.", sessions.recovered);
    out.counters(
        "weir_rtc_nack_total",
        "Packets asked for again.",
        "what",
        [
            ("asked_of_publishers", sessions.nack_sent),
            ("asked_by_viewers", sessions.nack_received),
            ("served", sessions.nack_served),
            ("served_by_rtx", sessions.nack_served_rtx),
            ("refused", sessions.nack_refused),
        ],
    );
    out.counters("weir_rtc_pli_total", "Keyframes asked for.", "direction", both(sessions.pli_received, sessions.pli_sent));
    out.counters("weir_rtc_stun_total", "STUN messages of sessions.", "direction", both(sessions.stun_in, sessions.stun_out));
    out.counters("weir_rtc_rtcp_total", "RTCP packets of sessions.", "direction", both(sessions.rtcp_in, sessions.rtcp_out));
    let (name, help) = ("weir_rtc_reports_total", "What publishers were told of what came.");
    out.counters(name, help, "kind", [("twcc", sessions.twcc_sent), ("receiver_report", sessions.reports_sent)]);
    out.counter("weir_rtc_probes_total", "Packets sent again to find out what a path carries.", sessions.probes_sent);
    out.counter("weir_rtc_moves_total", "Peers that were followed to another address.", sessions.moves);
    out.counter("weir_rtc_sessions_ended_total", "Sessions that have ended after they were heard.", sessions.ended);
    out.counters(
        "weir_rtc_sessions_failed_total",
        "Sessions that came to nothing.",
        "reason",
        [("fingerprint", traffic.bad_fingerprint), ("dtls", traffic.dtls_failed)],
    );
    out.family(Kind::Gauge, "weir_rtc_sessions_by_cipher", "Connected sessions.");
    out.whole(&[("cipher", "AEAD_AES_128_GCM")], stats.connected_gcm as u64);
    out.whole(&[("cipher", "AES128_CM_HMAC_SHA1_80")], stats.connected.saturating_sub(stats.connected_gcm) as u64);
    out.family(Kind::Gauge, "weir_rtc_sessions_by_transport", "Connected sessions.");
    out.whole(&[("transport", "tcp")], stats.connected_tcp as u64);
    out.whole(&[("transport", "udp")], stats.connected.saturating_sub(stats.connected_tcp) as u64);
    out.counter("weir_rtc_gathered_total", "Batches that waited for company.", traffic.gathered.count);
    let waited = traffic.gathered.total_us as f64 / 1e6;
    out.family(Kind::Counter, "weir_rtc_gathered_seconds_total", "How long, together.").sample(&[], waited);
    out.counter("weir_rtc_paced_total", "Frames too large to be sent to a viewer at once.", traffic.paced);
    out.counter("weir_rtc_rejoined_total", "Viewers that were sent the last keyframe again.", traffic.rejoined);
    out.counter("weir_rtc_handed_over_total", "Datagrams that went to another worker.", traffic.handed_over);
    out.gauge("weir_rtc_tcp_connections", "TCP connections open.", tcp.open as f64);
    let (name, help) = ("weir_rtc_tcp_datagrams_total", "Datagrams over TCP.");
    out.counters(name, help, "direction", both(tcp.frames_in, tcp.frames_out));
    out.counters("weir_rtc_tcp_bytes_total", "Bytes over TCP.", "direction", both(tcp.bytes_in, tcp.bytes_out));
    out.counters(
        "weir_rtc_tcp_lost_total",
        "TCP connections refused or closed by the server.",
        "reason",
        [("full", tcp.refused), ("unproven", tcp.unproven), ("too_long", tcp.too_long), ("stuck", tcp.stuck)],
    );
}

/// Of the sockets and of the sessions, which each count what the other does not see.
fn drops(stats: &weir_rtc::RtcStats, out: &mut Exposition) {
    let traffic = &stats.traffic;
    out.counters(
        "weir_rtc_dropped_total",
        "Datagrams that no session got, or that could not be sent.",
        "reason",
        [
            ("bad_size", traffic.recv.bad_size),
            ("unknown", traffic.unknown),
            ("unproven_tuple", traffic.unproven_tuple),
            ("unknown_ufrag", traffic.unknown_ufrag),
            ("bad_mac", traffic.bad_mac),
            ("stray_answer", traffic.stray_answers),
            ("inbox_full", traffic.inbox_full),
            ("lagged", traffic.lagged),
            ("send_full", traffic.send.full),
            ("send_refused", traffic.send.refused),
            ("tcp_full", traffic.tcp.dropped),
        ],
    );
    let (name, help) = ("weir_rtc_session_dropped_total", "Datagrams and packets that sessions threw away.");
    out.counters(name, help, "reason", stats.sessions.drops.named());
}
