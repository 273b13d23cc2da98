//! Callbacks, end to end: a real server, real clients of every protocol, and a callback server that
//! writes down what it is told.
#![allow(unreachable_pub, reason = "a test program has no outside")]

#[path = "hooks/listener.rs"]
mod listener;
mod support;

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use listener::{Listener, action};
use serde_json::Value;
use support::{Weir, eventually, process::Client};

const PATIENCE: Duration = Duration::from_secs(60);

/// A small picture and a tone, encoded as it goes.
const SOURCE: [&str; 8] = ["-re", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15", "-f", "lavfi", "-i"];
const ENCODED: [&str; 12] = [
    "sine=frequency=440:sample_rate=48000",
    "-c:v",
    "libx264",
    "-profile:v",
    "baseline",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "15",
    "-bf",
];

fn publish_rtmp(server: &Weir, stream: &str) -> Client {
    let url = server.rtmp_url(stream);
    Client::ffmpeg("publisher", &[&SOURCE[..], &ENCODED, &["0", "-c:a", "aac", "-f", "flv", &url]].concat())
}

/// The newer ffmpeg of the test environment, which speaks WHIP.
fn publish_whip(server: &Weir, stream: &str) -> Client {
    let find = ["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"];
    let found = Command::new(python()).args(find).output().expect("Python runs");
    let url = server.whip_url(stream);
    let mut command = Command::new(String::from_utf8_lossy(&found.stdout).trim());
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error"]).args(SOURCE).args(ENCODED);
    Client::start("whip publisher", command.args(["0", "-c:a", "libopus", "-ac", "2", "-f", "whip", &url]))
}

fn play(name: &str, url: &str) -> Client {
    Client::ffmpeg(name, &["-i", url, "-c", "copy", "-f", "null", "-"])
}

fn play_whep(server: &Weir, stream: &str) -> Client {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/whep.py");
    Client::start("whep player", Command::new(python()).arg(script).args([&server.whep_url(stream), "--seconds", "600"]))
}

fn python() -> PathBuf {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/python");
    match std::env::var_os("WEIR_TEST_PYTHON") {
        Some(path) => path.into(),
        None if venv.exists() => venv,
        None => "python3".into(),
    }
}

fn id(fields: &Value) -> &str {
    fields["client_id"].as_str().expect("a client id")
}

/// Waits until the client's last action was told; all of them but those of its segments.
fn life(hooks: &Listener, begun: &Value, last: &str) -> Vec<String> {
    let id = id(begun);
    hooks.wait_for(&format!("{last} of {id}"), |fields| action(fields) == last && fields["client_id"] == id);
    hooks.of(id).into_iter().filter(|action| action != "on_hls").collect()
}

/// Ends a client by API.
fn kick(server: &Weir, id: &str) {
    let url = format!("http://{}/api/v1/clients/{id}", server.api);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let status = runtime.block_on(async { reqwest::Client::new().delete(url).send().await.map(|answer| answer.status()) });
    assert_eq!(status.expect("an answer").as_u16(), 200);
}

/// What stands in every callback about a client.
fn check_fields(fields: &Value, stream: &str, tc_url: &str, param: &str) {
    for (name, expected) in [
        ("vhost", "__defaultVhost__"),
        ("app", "live"),
        ("stream", stream),
        ("ip", "127.0.0.1"),
        ("tcUrl", tc_url),
        ("param", param),
        ("stream_url", &format!("/live/{stream}")),
    ] {
        assert_eq!(fields[name], expected, "{name} of {fields}");
    }
    for name in ["server_id", "stream_id"] {
        assert!(fields[name].as_str().is_some_and(|id| id.starts_with("vid-") && id.len() == 11), "{name} of {fields}");
    }
}

#[test]
fn rtmp_and_http_clients_are_told_of_from_their_begin_to_their_end() {
    let hooks = Listener::agreeing();
    let server = Weir::start_with(&hooks.directives());
    let publisher = publish_rtmp(&server, "s");
    let published = hooks.wait_for_nth("on_publish", "s", 1);
    server.wait_for_publisher("s");
    check_fields(&published, "s", &format!("rtmp://{}/live", server.rtmp), "");

    let http = format!("http://{}/live", server.http);
    let rtmp = play("rtmp player", &server.rtmp_url("s"));
    let played = hooks.wait_for_nth("on_play", "s", 1);
    check_fields(&played, "s", &format!("rtmp://{}/live", server.rtmp), "");
    let flv = play("flv player", &server.http_url("s.flv?token=1"));
    let flv_played = hooks.wait_for_nth("on_play", "s", 2);
    check_fields(&flv_played, "s", &http, "?token=1");
    let hls = play("hls player", &server.http_url("s.m3u8?token=2"));
    let hls_played = hooks.wait_for_nth("on_play", "s", 3);
    check_fields(&hls_played, "s", &http, "?token=2");
    let segment = hooks.wait_for_nth("on_hls", "s", 2);
    assert_eq!((&segment["client_id"], &segment["m3u8_url"]), (&published["client_id"], &"live/s.m3u8".into()));
    let url = format!("/{}", segment["url"].as_str().expect("a URL"));
    assert_eq!(support::server::http_get(server.http, &url).expect("an answer").0, 200, "the segment is there");

    // One is killed, one is kicked, one ends well.
    drop(flv);
    assert_eq!(life(&hooks, &flv_played, "on_stop"), ["on_play", "on_stop"]);
    kick(&server, id(&played));
    assert_eq!(life(&hooks, &played, "on_close"), ["on_connect", "on_play", "on_stop", "on_close"]);
    drop(rtmp);
    let kicked_hls = Instant::now();
    kick(&server, id(&hls_played));
    assert_eq!(life(&hooks, &hls_played, "on_stop"), ["on_play", "on_stop"]);
    assert!(kicked_hls.elapsed() < Duration::from_secs(5), "a kick ends it at once");
    drop(hls);
    publisher.interrupt(PATIENCE);
    assert_eq!(life(&hooks, &published, "on_close"), ["on_connect", "on_publish", "on_unpublish", "on_close"]);
    let closed = hooks.wait_for("on_close", |fields| action(fields) == "on_close" && fields["client_id"] == id(&published));
    assert!(closed["recv_bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{closed}");
    assert!(closed.get("stream").is_none() && closed["send_bytes"].as_u64().is_some_and(|bytes| bytes > 3_000), "{closed}");
}

#[test]
fn a_publisher_that_is_killed_and_comes_back_is_told_in_order() {
    let hooks = Listener::agreeing();
    let server = Weir::start_with(&hooks.directives());
    for number in 1..=3 {
        let publisher = publish_rtmp(&server, "again");
        hooks.wait_for_nth("on_publish", "again", number);
        server.wait_for_publisher("again");
        drop(publisher);
    }
    hooks.wait_for_nth("on_unpublish", "again", 3);
    let heard = hooks.heard();
    let told: Vec<_> = heard.iter().map(action).filter(|action| action.ends_with("publish")).collect();
    assert_eq!(told, ["on_publish", "on_unpublish"].repeat(3));
}

#[test]
fn webrtc_clients_are_told_of_when_they_end_are_kicked_and_killed() {
    let hooks = Listener::agreeing();
    let server = Weir::start_with(&hooks.directives());
    let publisher = publish_whip(&server, "w");
    let published = hooks.wait_for_nth("on_publish", "w", 1);
    let param = "?app=live&stream=w&upstream=rtc";
    check_fields(&published, "w", &format!("webrtc://{}/live", server.api), param);
    server.wait_for_publisher("w");
    let kicked = play_whep(&server, "w");
    let kicked_played = hooks.wait_for_nth("on_play", "w", 1);
    check_fields(&kicked_played, "w", &format!("webrtc://{}/live", server.api), param);
    let killed = play_whep(&server, "w");
    let killed_played = hooks.wait_for_nth("on_play", "w", 2);
    kick(&server, id(&kicked_played));
    assert_eq!(life(&hooks, &kicked_played, "on_stop"), ["on_play", "on_stop"]);
    drop((kicked, killed));
    assert_eq!(life(&hooks, &killed_played, "on_stop"), ["on_play", "on_stop"]);
    publisher.interrupt(PATIENCE);
    assert_eq!(life(&hooks, &published, "on_unpublish"), ["on_publish", "on_unpublish"]);
}

#[test]
fn f47_a_server_that_is_down_refuses_new_clients_and_harms_no_live_stream() {
    let hooks = Listener::agreeing();
    let server = Weir::start_with(&hooks.directives());
    let mut publisher = publish_rtmp(&server, "live");
    server.wait_for_publisher("live");
    let mut viewer = play("viewer", &server.http_url("live.flv"));
    hooks.wait_for_nth("on_play", "live", 1);
    hooks.stop();

    let began = Instant::now();
    let refused = Client::ffmpeg("refused", &["-i", &server.http_url("live.flv"), "-f", "null", "-"]).finish(PATIENCE);
    assert!(!refused.status.success() && refused.stderr.contains("503"), "{refused:?}");
    let (status, body) = support::server::http_get(server.http, "/live/live.m3u8").expect("an answer");
    assert!(status == 503 && body.contains("could not be reached"), "{status} {body}");
    let refused = publish_rtmp(&server, "other").finish(PATIENCE);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    eventually("the reason is in the log", PATIENCE, || server.log().contains("could not be reached").then_some(()));
    assert!(publisher.is_running() && viewer.is_running(), "what was live is live");
    server.wait_for_publisher("live");
}

#[test]
fn f48_a_late_decision_poisons_nothing_for_those_that_wait_for_the_stream() {
    let hooks = Listener::start(|fields| {
        if fields["action"] == "on_publish" {
            std::thread::sleep(Duration::from_secs(2));
        }
        "0"
    });
    let server = Weir::start_with(&hooks.directives());
    let flv = Client::ffmpeg("flv", &["-t", "3", "-i", &server.http_url("late.flv"), "-f", "null", "-"]);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients/whep.py");
    let mut whep = Command::new(python());
    let whep = Client::start("whep", whep.arg(script).args([&server.whep_url("late"), "--seconds", "2", "--patience", "40"]));
    hooks.wait_for_nth("on_play", "late", 2);
    let _publisher = publish_rtmp(&server, "late");
    hooks.wait_for_nth("on_publish", "late", 1);
    let (flv, whep) = (flv.finish(PATIENCE), whep.finish(PATIENCE));
    assert!(flv.status.success() && flv.stderr.is_empty(), "{flv:?}");
    assert!(whep.status.success(), "{whep:?}");
}

#[test]
fn f44_what_is_live_at_the_end_of_the_server_is_told_to_have_left() {
    let hooks = Listener::agreeing();
    let server = Weir::start_with(&hooks.directives());
    let _publisher = publish_rtmp(&server, "end");
    server.wait_for_publisher("end");
    let _flv = play("flv", &server.http_url("end.flv"));
    let _hls = play("hls", &server.http_url("end.m3u8"));
    let _whep = play_whep(&server, "end");
    hooks.wait_for_nth("on_play", "end", 3);
    let (status, took, log) = server.stop("TERM");
    assert!(status.success() && took < Duration::from_secs(4), "{took:?}:\n{log}");
    let heard = hooks.heard();
    let count = |wanted: &str| heard.iter().filter(|fields| action(fields) == wanted).count();
    assert_eq!([count("on_unpublish"), count("on_stop"), count("on_close")], [1, 3, 1], "{heard:?}");
}

#[test]
fn a_connection_that_is_refused_is_told_so_by_rtmp() {
    let hooks = Listener::start(|fields| if fields["action"] == "on_connect" { r#"{"code":1}"# } else { "0" });
    let server = Weir::start_with(&hooks.directives());
    let url = server.rtmp_url("s");
    let args = ["-loglevel", "debug", "-i", &url, "-f", "null", "-"];
    let refused = Client::ffmpeg("refused", &args).finish(PATIENCE);
    assert!(!refused.status.success() && refused.stderr.contains("refused it: it answered code 1"), "{}", refused.stderr);
    assert_eq!(hooks.heard().iter().map(action).collect::<Vec<_>>(), ["on_connect"]);
}
