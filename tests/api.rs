//! The API and the metrics of the real server, with real publishers and players of every protocol.
//!
//! Needs what `tests/run install` installs.

mod support;

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{
    Weir, eventually,
    media::{self, USUAL, interpreter, python},
    process::Client,
    server::{free_tcp, http_get},
};

/// What a script prints.
fn run(name: &str, command: &mut Command) -> Value {
    let outcome = Client::start(name, command).finish(Duration::from_secs(60));
    assert!(outcome.status.success(), "{name}: {}\n{}", outcome.stdout, outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {}", outcome.stdout))
}

fn console(server: &Weir, more: &[&str]) -> Value {
    run("console", python("console.py").arg(format!("http://{}", server.api)).args(more))
}

/// A publisher by RTMP: 640x360, H.264 and AAC.
fn rtmp_publisher(server: &Weir, stream: &str) -> Client {
    media::publish_rtmp(&server.rtmp_url(stream), USUAL)
}

/// A publisher by WHIP: the same in H.264 and Opus.
fn whip_publisher(server: &Weir, stream: &str) -> Client {
    media::publish_whip(&server.whip_url(stream), USUAL)
}

fn player(server: &Weir, protocol: &str, stream: &str) -> Client {
    let discard = |url: &str| Client::ffmpeg("player", &["-i", url, "-c", "copy", "-f", "null", "-"]);
    match protocol {
        "rtmp" => discard(&server.rtmp_url(stream)),
        "flv" => discard(&server.http_url(&format!("{stream}.flv"))),
        "whep" => Client::start("whep", python("whep.py").args([&server.whep_url(stream), "--seconds", "40"])),
        _ => unreachable!("{protocol}"),
    }
}

fn rows<'a>(found: &'a Value, list: &str) -> &'a [Value] {
    found[list].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn counts_codecs_and_sizes_are_true_for_every_protocol_and_a_client_can_be_kicked() {
    let server = Weir::start();
    let publishers = [rtmp_publisher(&server, "rtmp"), whip_publisher(&server, "whip")];
    for stream in ["rtmp", "whip"] {
        server.wait_for_publisher(stream);
    }
    let players: Vec<Client> = ["rtmp", "flv", "whep"]
        .iter()
        .flat_map(|protocol| ["rtmp", "whip"].map(|stream| player(&server, protocol, stream)))
        .collect();
    let found = eventually("everybody is counted and measured", Duration::from_secs(40), || {
        let found = console(&server, &[]);
        let streams = rows(&found, "streams");
        let measured = |row: &Value| {
            row["clients"] == 4
                && row["kbps"]["recv_30s"].as_u64() > Some(100)
                && row["kbps"]["send_30s"].as_u64() > Some(100)
                && row["video"]["width"] != 0
                && row["send_bytes"].as_u64() > row["recv_bytes"].as_u64()
        };
        (streams.len() == 2 && streams.iter().all(measured)).then_some(found)
    });
    let stream = |name: &str| rows(&found, "streams").iter().find(|row| row["name"] == name).unwrap().clone();
    let (rtmp, whip) = (stream("rtmp"), stream("whip"));
    for (row, codec, rate) in [(&rtmp, "AAC", 44_100), (&whip, "Opus", 48_000)] {
        assert_eq!(
            (&row["video"]["codec"], &row["video"]["width"], &row["video"]["height"]),
            (&"H264".into(), &640.into(), &360.into())
        );
        assert_eq!(
            (&row["audio"]["codec"], &row["audio"]["sample_rate"], &row["audio"]["channel"]),
            (&codec.into(), &rate.into(), &2.into())
        );
        assert!(row["frames"].as_u64() > Some(25) && row["audio_frames"].as_u64() > Some(25), "{row}");
        assert_eq!(row["publish"]["active"], true);
        assert!(
            !row["video"]["profile"].as_str().unwrap().is_empty() && !row["video"]["level"].as_str().unwrap().is_empty(),
            "{row}"
        );
    }
    assert!(rtmp["tcUrl"].as_str().unwrap().starts_with("rtmp://") && whip["tcUrl"].as_str().unwrap().starts_with("webrtc://"));
    let mut kinds = BTreeMap::<String, usize>::new();
    for row in rows(&found, "clients") {
        *kinds.entry(row["type"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let wanted = [("flv-play", 2), ("fmle-publish", 1), ("rtc-play", 2), ("rtc-publish", 1), ("rtmp-play", 2)];
    assert_eq!(kinds, wanted.map(|(kind, count)| (kind.to_owned(), count)).into());
    let vhost = &rows(&found, "vhosts")[0];
    assert_eq!((&vhost["name"], &vhost["clients"], &vhost["streams"]), (&"__defaultVhost__".into(), &8.into(), &2.into()));
    assert!(vhost["kbps"]["send_30s"].as_u64() > Some(400), "{vhost}");
    // The machine is looked at every few seconds.
    eventually("the summaries tell of it", Duration::from_secs(20), || {
        let summaries = server.get("/api/v1/summaries")["data"].clone();
        let (system, own) = (&summaries["system"], &summaries["self"]);
        let is_true = system["conn_srs"] == 8 && system["srs_send_bytes"].as_u64() > Some(100_000);
        (is_true && own["cpu_percent"].as_f64() > Some(0.0)).then_some(())
    });

    for _ in 0..3 {
        console(&server, &["--kick", "whip"]);
    }
    let stream = eventually("the publisher is alone", Duration::from_secs(10), || {
        let list = server.get("/api/v1/streams/?count=100");
        list["streams"].as_array()?.iter().find(|row| row["name"] == "whip" && row["clients"] == 1).cloned()
    });
    assert_eq!(stream["publish"]["active"], true);
    drop(publishers);
    // A client that is killed says nothing: it is gone when its consent has run out.
    let ended = eventually("the stream is listed as ended", Duration::from_secs(40), || {
        let id = stream["id"].as_str()?;
        let row = server.get(&format!("/api/v1/streams/{id}"))["stream"].clone();
        (row["publish"]["active"] == false).then_some(row)
    });
    assert_eq!((&ended["video"], &ended["name"]), (&Value::Null, &"whip".into()));
    drop(players);
}

#[test]
fn an_inspector_of_apis_finds_nothing_against_the_document() {
    let server = Weir::start();
    let publisher = rtmp_publisher(&server, "inspected");
    server.wait_for_publisher("inspected");
    let mut command = Command::new(interpreter().with_file_name("schemathesis"));
    command
        .args([
            "run",
            &format!("http://{}/api/v1/openapi.json", server.api),
            "--max-examples",
            "10",
            "--seed",
            "7",
            "--workers",
            "2",
        ])
        .args(["--phases", "coverage,fuzzing", "--suppress-health-check", "all", "--no-color", "--request-timeout", "10"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"])
        // What is not built says so with a server's error.
        .args(["--exclude-path-regex", "record|reload"]);
    let outcome = Client::start("schemathesis", &mut command).finish(Duration::from_secs(100));
    assert!(outcome.status.success(), "{}\n{}", outcome.stdout, outcome.stderr);
    drop(publisher);
}

/// All samples of a scrape, read by Prometheus's own parser.
fn scrape(addr: std::net::SocketAddr) -> Vec<Value> {
    let (status, text) = http_get(addr, "/metrics").expect("the exporter answers");
    assert_eq!(status, 200, "{text}");
    let mut reader = python("exposition.py").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "{}\n{text}", String::from_utf8_lossy(&read.stderr));
    serde_json::from_slice::<Vec<Value>>(&read.stdout).unwrap()
}

#[test]
fn prometheus_reads_the_metrics_and_they_are_true() {
    let exporter = free_tcp();
    let server = Weir::start_global(&format!("exporter {{ enabled on; listen {exporter}; label here; }}"));
    let publishers = [rtmp_publisher(&server, "rtmp"), whip_publisher(&server, "whip")];
    for stream in ["rtmp", "whip"] {
        server.wait_for_publisher(stream);
    }
    let players = ["whep", "flv"].map(|protocol| player(&server, protocol, "whip"));
    let samples = eventually("the figures show it", Duration::from_secs(40), || {
        let samples = scrape(exporter);
        let of = |name: &str, label: &str, value: &str| {
            let found = samples.iter().find(|s| s["name"] == name && (label.is_empty() || s["labels"][label] == value));
            found.and_then(|sample| sample["value"].as_f64()).unwrap_or(-1.0)
        };
        let ready = of("srs_clients", "", "") == 4.0
            && of("srs_streams", "", "") == 2.0
            && of("srs_send_bytes_total", "", "") > 100_000.0
            && of("srs_cpu_percent", "", "") > 0.0
            && of("weir_rtc_packets_total", "direction", "in") > 50.0
            && of("weir_rtc_packets_total", "direction", "out") > 50.0
            && of("weir_rtc_sessions_by_cipher", "cipher", "AEAD_AES_128_GCM")
                + of("weir_rtc_sessions_by_cipher", "cipher", "AES128_CM_HMAC_SHA1_80")
                == 2.0
            && of("weir_transcode_jobs", "", "") == 1.0
            && of("weir_stream_keyframe_age_seconds", "stream", "live/whip") >= 0.0
            && of("weir_stream_receive_bits_per_second", "stream", "live/rtmp") > 100_000.0;
        ready.then_some(samples)
    });
    let sessions: BTreeMap<String, u64> = samples
        .iter()
        .filter(|sample| sample["name"] == "weir_sessions" && sample["labels"]["state"] == "connected")
        .map(|sample| {
            let label = |name: &str| sample["labels"][name].as_str().unwrap_or_default().to_owned();
            (format!("{} {}", label("protocol"), label("role")), sample["value"].as_f64().unwrap_or(0.0) as u64)
        })
        .filter(|(_, count)| *count > 0)
        .collect();
    let wanted = ["flv play", "rtmp publish", "webrtc play", "webrtc publish"].map(|what| (what.to_owned(), 1));
    assert_eq!(sessions, wanted.into());
    assert!(!scrape(server.api).is_empty(), "the API's port has it too");
    drop((publishers, players));
}
