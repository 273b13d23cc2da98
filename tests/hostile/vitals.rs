//! What must be as before when the attacks are over: process, memory, gauges, log.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::bombs::{HLS_STREAM, HLS_STREAM_RTC};
use crate::support::Weir;

/// What the server may have grown by at its worst moment. The attacks announce more than 500 MB and
/// send some 40 MB, most of it thrown away at once; 50 MiB were measured.
const PEAK_GROWTH_KIB: u64 = 128 << 10;
/// What it may keep. The allocator holds on to most of what it once had: four rounds of all attacks
/// end where the first did.
const KEPT_GROWTH_KIB: u64 = 96 << 10;
/// Everything that a peer can leave hanging is freed within ten seconds, an offer of ours that nobody
/// answers and an HLS session that nobody plays within thirty; and a tick to notice.
const GAUGES_PATIENCE: Duration = Duration::from_secs(34);
/// At the debug level a connection has about three lines of 150 bytes, and there are some 600. A
/// line per bad packet would show.
const LOG_BYTES_MAX: usize = 2 << 20;

#[derive(Debug)]
pub(crate) struct Vitals {
    pid: u32,
    rss_kib: u64,
    clients: u64,
    streams: u64,
}

impl Vitals {
    pub(crate) fn of(server: &Weir) -> Self {
        let (clients, streams) = gauges(server);
        Self { pid: server.pid(), rss_kib: memory_kib(server.pid(), "VmRSS"), clients, streams }
    }

    /// Compares the server with what it was.
    pub(crate) fn check(&self, server: &mut Weir) {
        assert!(server.is_running(), "the server ended");
        assert_eq!(server.pid(), self.pid);
        let wanted = (self.clients, self.streams);
        let deadline = Instant::now() + GAUGES_PATIENCE;
        while gauges(server) != wanted && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(gauges(server), wanted, "clients and streams");
        for (field, allowed) in [("VmHWM", PEAK_GROWTH_KIB), ("VmRSS", KEPT_GROWTH_KIB)] {
            let now = memory_kib(self.pid, field);
            let grown = now.saturating_sub(self.rss_kib);
            println!("{field}: {} KiB before, {now} KiB now", self.rss_kib);
            assert!(grown <= allowed, "{field} is {now} KiB, {grown} KiB more than before; {allowed} KiB are allowed");
        }
        check_counters(&server.get("/api/v1/summaries")["data"]["weir"]);
        check_log(&server.log());
    }
}

/// What was dropped is counted under its reason. The figures are well below what is sent, as the
/// kernel may drop some of it before the server does.
fn check_counters(weir: &Value) {
    for (path, least) in [
        ("/rtc/dropped/unknown", 200),
        ("/rtc/dropped/unproven_tuple", 1_000),
        ("/rtc/dropped/unknown_ufrag", 2_500),
        ("/rtc/dropped/bad_mac", 80),
        ("/rtc/dropped/bad_size", 1),
        ("/rtc/ended/bad_fingerprint", 1),
        ("/rtmp/protocol_errors", 30),
        ("/rtmp/ignored", 60),
        ("/rtmp/dropped", 100),
        ("/http/refused", 400),
        ("/http/connections_failed", 200),
    ] {
        let counted = weir.pointer(path).and_then(Value::as_u64);
        assert!(counted >= Some(least), "{path} is {counted:?}, not {least} or more: {weir}");
    }
    for path in ["/rtc/panics", "/rtmp/panics"] {
        assert_eq!(weir.pointer(path), Some(&Value::from(0)), "{path}");
    }
}

/// The log tells of each kind of attack, of no panic, and is safe to show.
fn check_log(log: &str) {
    for word in ["panicked", "this is a bug", "a fault of the server"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(word)).collect();
        assert!(lines.is_empty(), "the log has {lines:#?}");
    }
    for reason in [
        "the peer does not speak RTMP: its first byte is 0x16",
        "the chunk size is not valid",
        "bytes is longer than the",
        "starts with a compressed header",
        "was broken off by another",
        "too many chunk streams",
        "the client was silent in its handshake",
        "BadFingerprint",
    ] {
        assert!(log.contains(reason), "the log does not tell: {reason}");
    }
    assert!(log.len() < LOG_BYTES_MAX, "the log has {} bytes", log.len());
    let odd = log.chars().find(|c| c.is_control() && *c != '\n' || ('\u{202a}'..='\u{202e}').contains(c));
    assert_eq!(odd, None, "a name has written to the console");
}

/// Clients and streams. A stream that nobody publishes or plays may stay for one reason only: it
/// was asked for by HLS, whose segmenter waits half a minute for its publisher.
fn gauges(server: &Weir) -> (u64, u64) {
    let clients = server.get("/api/v1/clients/")["total"].as_u64().expect("a total");
    let list = server.get("/api/v1/streams/?count=1000");
    let asked = |stream: &Value| stream["name"] == HLS_STREAM || stream["name"] == HLS_STREAM_RTC;
    let waits = |stream: &&Value| asked(stream) && stream["publish"]["active"] == false && stream["clients"] == 0;
    let waiting = list["streams"].as_array().expect("a list").iter().filter(waits).count() as u64;
    (clients, list["total"].as_u64().expect("a total") - waiting)
}

fn memory_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("a figure")
}
