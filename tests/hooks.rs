//! Callbacks, end to end: a real server, real clients of every protocol, and a callback server that
//! writes down what it is told.
#![allow(unreachable_pub, reason = "a test program has no outside")]

#[path = "hooks/listener.rs"]
mod listener;
mod support;

use std::{
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use listener::{Listener, action};
use serde_json::Value;
use support::{
    Weir, eventually,
    media::{self, SMALL, python},
    process::Client,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn publish_rtmp(server: &Weir, stream: &str) -> Client {
    media::publish_rtmp(&server.rtmp_url(stream), SMALL)
}

fn publish_whip(server: &Weir, stream: &str) -> Client {
    media::publish_whip(&server.whip_url(stream), SMALL)
}

fn play(name: &str, url: &str) -> Client {
    Client::ffmpeg(name, &["-i", url, "-c", "copy", "-f", "null", "-"])
}

fn play_whep(server: &Weir, stream: &str) -> Client {
    Client::start("whep player", python("whep.py").args([&server.whep_url(stream), "--seconds", "600"]))
}

/// A callback server that answers these only when it is told to by `answer`.
fn hanging(actions: &'static [&'static str], answer: mpsc::Receiver<()>) -> Listener {
    let answer = Mutex::new(answer);
    Listener::start(move |fields| {
        if actions.contains(&action(fields).as_str()) {
            let _sender_gone = answer.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        "0"
    })
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

    // Some are killed, some are kicked, one ends well.
    let killed_hls = play("killed hls player", &server.http_url("s.m3u8?token=3"));
    let killed_played = hooks.wait_for_nth("on_play", "s", 4);
    drop((flv, killed_hls));
    assert_eq!(life(&hooks, &flv_played, "on_stop"), ["on_play", "on_stop"]);
    kick(&server, id(&played));
    assert_eq!(life(&hooks, &played, "on_close"), ["on_connect", "on_play", "on_stop", "on_close"]);
    drop(rtmp);
    let kicked_hls = Instant::now();
    kick(&server, id(&hls_played));
    assert_eq!(life(&hooks, &hls_played, "on_stop"), ["on_play", "on_stop"]);
    assert!(kicked_hls.elapsed() < Duration::from_secs(5), "a kick ends it at once");
    drop(hls);
    assert_eq!(life(&hooks, &killed_played, "on_stop"), ["on_play", "on_stop"], "after two windows");
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
    let killed_publisher = publish_whip(&server, "k");
    let killed_published = hooks.wait_for_nth("on_publish", "k", 1);
    server.wait_for_publisher("k");
    drop(killed_publisher);
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
    for published in [&published, &killed_published] {
        assert_eq!(life(&hooks, published, "on_unpublish"), ["on_publish", "on_unpublish"]);
    }
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
    assert!(!refused.status.success() && refused.stderr.contains("5XX"), "{refused:?}");
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
    let (decide, decision) = mpsc::sync_channel(1);
    let hooks = hanging(&["on_publish"], decision);
    let server = Weir::start_with(&hooks.directives().replace("enabled on;", "enabled on; decision_timeout 30;"));
    let mut flv = Client::ffmpeg("flv", &["-t", "3", "-i", &server.http_url("late.flv"), "-f", "null", "-"]);
    let mut whep = python("whep.py");
    let mut whep = Client::start("whep", whep.args([&server.whep_url("late"), "--seconds", "2", "--patience", "40"]));
    hooks.wait_for_nth("on_play", "late", 2);
    let _publisher = publish_rtmp(&server, "late");
    // While it is decided another viewer comes, so that all of them have waited through it.
    hooks.wait_for_nth("on_publish", "late", 1);
    let _third = play("third", &server.http_url("late.flv"));
    hooks.wait_for_nth("on_play", "late", 3);
    assert!(flv.is_running() && whep.is_running(), "they wait");
    decide.send(()).expect("it is waited for");
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
    assert!(status.success() && took < Duration::from_secs(3), "{took:?}:\n{log}");
    let heard = hooks.heard();
    let count = |wanted: &str| heard.iter().filter(|fields| action(fields) == wanted).count();
    assert_eq!([count("on_unpublish"), count("on_stop"), count("on_close")], [1, 3, 1], "{heard:?}");
}

#[test]
fn f44_the_end_does_not_wait_for_a_callback_server_that_hangs() {
    let (_never, answer) = mpsc::sync_channel(1);
    let hooks = hanging(&["on_unpublish", "on_stop", "on_close"], answer);
    let server = Weir::start_with(&hooks.directives());
    let _publisher = publish_rtmp(&server, "hang");
    server.wait_for_publisher("hang");
    let _flv = play("flv", &server.http_url("hang.flv"));
    hooks.wait_for_nth("on_play", "hang", 1);
    let (status, took, log) = server.stop("TERM");
    assert!(status.success() && took < Duration::from_secs(3), "{took:?}:\n{log}");
    assert!(log.contains("callback servers did not hear all in time"), "{log}");
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
