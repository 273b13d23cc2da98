//! What a scrape holds, and what it does not.

use std::{collections::HashSet, fmt::Write as _, sync::Arc, time::Instant};

use tokio::io::AsyncWriteExt as _;
use weir_source::{ClientKind, Secret, StreamKey};

use super::make;
use crate::{
    ApiConfig, ApiToken, ExporterConfig, Role, WebConfig,
    access::LimitConfig,
    testing::{self, NoWake, Server, ask},
    tls::{Identities, Identity},
};
use axum::{body::Body, http::Request};

fn exporting() -> WebConfig {
    let exporter = ExporterConfig { enabled: true, label: "a\"b".to_owned(), tag: String::new() };
    WebConfig { api: ApiConfig { exporter, ..ApiConfig::default() }, ..WebConfig::default() }
}

/// The names of all families in a text.
fn families(text: &str) -> HashSet<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

const SRS: [&str; 10] = [
    "srs_node_uname_info",
    "srs_build_info",
    "srs_cpu_percent",
    "srs_memory",
    "srs_send_bytes_total",
    "srs_receive_bytes_total",
    "srs_streams",
    "srs_clients",
    "srs_clients_total",
    "srs_clients_errs_total",
];

#[tokio::test]
async fn srs_ten_names_are_there_and_true() {
    let server = Server::with(exporting());
    server.state.machine.read_once();
    let key = StreamKey::new("live", "s").unwrap();
    let _publishing = testing::client(&server.state.hub, &key, "pub", ClientKind::RtmpPublish);
    let playing = testing::client(&server.state.hub, &key, "play", ClientKind::FlvPlay);
    playing.sent(500);
    drop(playing);
    server.state.rates.sample(&server.state.hub, Instant::now());
    let answer = ask(&server.api, "192.0.2.1:1", Request::get("/metrics").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, super::TYPE));
    let text = answer.text();
    let names = families(text);
    for name in SRS {
        assert!(names.contains(name), "{name}");
    }
    for line in ["srs_clients 1\n", "srs_clients_total 2\n", "srs_send_bytes_total 0\n", "label=\"a\\\"b\"} 1\n"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(text.contains("weir_sessions{protocol=\"rtmp\",role=\"publish\",state=\"connected\"} 1\n"));
    assert!(!text.contains("tag="), "an empty label is left out");
}

#[tokio::test]
async fn without_the_exporter_there_is_nothing() {
    let server = Server::new();
    assert_eq!(server.ask(Request::get("/metrics").body(Body::empty()).unwrap()).await.status, 404);
}

#[tokio::test]
async fn a72_a_hundred_thousand_names_make_a_hundred_series() {
    let server = Server::with(exporting());
    let hub = &server.state.hub;
    let keep: Vec<_> =
        (0..100_000).map(|n| hub.subscribe_frames(&StreamKey::new("live", &format!("s{n}")).unwrap(), Instant::now())).collect();
    server.state.rates.sample(hub, Instant::now());
    let began = Instant::now();
    let text = make(&server.state, true, began);
    // Hardly optimised, and beside other tests; a release needs a twentieth of it.
    assert!(began.elapsed().as_millis() < 1_000, "{:?}", began.elapsed());
    assert!(text.len() < 256 << 10, "{} bytes", text.len());
    let of_streams = text.lines().filter(|line| line.starts_with("weir_stream_clients{")).count();
    assert_eq!(of_streams, 101, "the last is all others");
    assert!(text.contains("stream=\"(other)\""));
    drop(keep);
}

#[tokio::test]
async fn names_of_streams_are_for_those_who_may_read() {
    let mut config = exporting();
    config.api.tokens = vec![ApiToken { name: "prometheus".into(), secret: Secret::new("t0ken"), role: Role::Read }];
    let server = Server::with(config);
    let key = StreamKey::new("live", "hidden").unwrap();
    let publisher = server.state.hub.publish_frames(&key, "pub", Arc::new(NoWake), Instant::now()).unwrap();
    server.state.rates.sample(&server.state.hub, Instant::now());
    let get = |token: Option<&'static str>| {
        let request = Request::get("/metrics");
        if let Some(token) = token { request.header("authorization", format!("Bearer {token}")) } else { request }
    };
    for (token, shown) in [(None, false), (Some("wrong"), false), (Some("t0ken"), true)] {
        let answer = server.ask(get(token).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.text().contains("hidden")), (200, shown), "{token:?}");
    }
    drop(publisher);
}

#[tokio::test]
async fn certificates_handshakes_and_refusals_by_the_rules_are_told() {
    let limits = LimitConfig { per_second: 1, burst: 1, exempt_loopback: false };
    let server = Server::with(WebConfig { limits, ..exporting() });
    let state = &server.state;
    state.certificates.set(&Identities::from([("http_api", Identity::SelfSigned), ("rtmps", Identity::SelfSigned)])).unwrap();
    let door = state.certificates.http_door("http_api").unwrap();
    let (mut near, far) = tokio::io::duplex(1 << 10);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(door.enter(far, [192, 0, 2, 1].into()).await.is_err());
    let statuses = [(); 2].map(async |()| {
        let request = Request::post("/rtc/v1/whip/?app=live&stream=s").body(Body::empty()).unwrap();
        ask(&server.api, "192.0.2.9:1", request).await.status
    });
    assert_eq!(futures_util::future::join_all(statuses).await[1], 429);
    let text = make(state, true, Instant::now());
    for role in ["http_api", "rtmps"] {
        let name = format!("weir_tls_certificate_expiry_timestamp_seconds{{section=\"{role}\"}} ");
        let end: u64 = text.lines().find_map(|line| line.strip_prefix(&name)).expect(role).parse().unwrap();
        let days = (end - crate::ids::now_ms() / 1_000) / 86_400;
        assert!((364..=365).contains(&days), "{days}");
    }
    for line in [
        "weir_tls_handshakes_total{result=\"ok\"} 0\n",
        "weir_tls_handshakes_total{result=\"no_tls\"} 1\n",
        "weir_tls_handshakes_total{result=\"alert\"} 0\n",
        "weir_door_refusals_total{reason=\"too-many\"} 1\n",
        "weir_door_refusals_total{reason=\"address\"} 0\n",
        "weir_door_addresses 1\n",
        "weir_http_connections_lost_total{reason=\"address\"} ",
        "weir_hls_sessions_overflow_total{what=\"refused\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// Every name in the dashboard and the alert rules is one that is exported.
#[tokio::test]
async fn dashboards_and_alerts_name_only_what_there_is() {
    let server = Server::with(exporting());
    let text = make(&server.state, true, Instant::now());
    let names = families(&text);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
    let mut missing = String::new();
    let mut found = 0;
    for file in ["grafana/weir.json", "prometheus/alerts.yml"] {
        let whole = std::fs::read_to_string(format!("{root}/{file}")).unwrap();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for word in whole.split(|c| !is_part(c)).filter(|word| word.starts_with("weir_") || word.starts_with("srs_")) {
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word);
            found += 1;
            if !names.contains(word) && !names.contains(family) {
                let _infallible = writeln!(missing, "{file}: {word}");
            }
        }
    }
    assert!(found > 30, "the files name metrics");
    assert_eq!(missing, "");
}
