//! Start and stop: what an operator and a service manager see.

mod support;

use std::{
    process::Command,
    time::{Duration, Instant},
};

use support::{
    Weir, eventually,
    media::{SMALL, publish_rtmp, python},
    process::{Client, Persistent},
    server::http_get,
};

fn weir(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(args).env_remove("CANDIDATE").output().expect("the server starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[test]
fn both_signals_end_it_with_status_0_within_three_seconds() {
    for signal in ["INT", "TERM"] {
        let (status, took, log) = Weir::start().stop(signal);
        assert_eq!(status.code(), Some(0), "{signal}:\n{log}");
        assert!(took < Duration::from_secs(3), "{signal} took {took:?}");
    }
}

#[test]
fn it_prints_where_to_open_publish_and_play() {
    let server = Weir::start();
    // The API answers before the last listener stands, and the URLs are told after that.
    for url in [format!("http://localhost:{}/", server.http.port()), format!("rtmp://localhost:{}/live/", server.rtmp.port())] {
        eventually(&url, Duration::from_secs(5), || server.log().contains(&url).then_some(()));
    }
}

#[test]
fn a_bad_file_is_refused_with_file_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("bad.conf");
    std::fs::write(&conf, "listen 1935;\nrtc_sever { enabled on; }\n").unwrap();
    let (code, text) = weir(&["-c", &conf.to_string_lossy()]);
    assert_eq!(code, 2);
    assert!(text.contains("bad.conf:2:1: unknown directive 'rtc_sever'; did you mean 'rtc_server'?"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let (code, text) = weir(&["-c", "/nonexistent/weir.conf"]);
    assert_eq!(code, 2);
    assert!(text.contains("/nonexistent/weir.conf"), "{text}");
}

#[test]
fn the_sample_configuration_passes_the_test_switch() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/weir.conf");
    let (code, text) = weir(&["-t", "-c", sample]);
    assert_eq!((code, text.trim()), (0, "the configuration is valid"));
}

#[test]
fn a_port_in_use_is_named() {
    let server = Weir::start();
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("weir.conf");
    std::fs::write(&conf, format!("listen {};\n", server.rtmp)).unwrap();
    let (code, text) = weir(&["-c", &conf.to_string_lossy()]);
    assert_eq!(code, 2);
    assert!(text.contains(&format!("RTMP cannot listen on {}", server.rtmp)), "{text}");
}

/// The kinds of clients that get media now, each once.
fn served(server: &Weir) -> Vec<String> {
    let list = server.try_get("/api/v1/clients/?count=100").unwrap_or_default();
    let clients = list["clients"].as_array().cloned().unwrap_or_default();
    let flows =
        |c: &&serde_json::Value| c[if c["publish"] == true { "recv_bytes" } else { "send_bytes" }].as_u64() > Some(10_000);
    let mut kinds: Vec<_> = clients.iter().filter(flows).filter_map(|c| c["type"].as_str().map(str::to_owned)).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

/// Nothing is recorded yet, so there is no file that could be damaged. And a WebRTC client cannot know that
/// the server it talked to is gone before its consent has run out, 15 to 30 seconds later (RFC 7675): what it
/// was sent is not heard by the new one, which has no key to say so. One that asks anew is served at once.
#[test]
fn f43_after_a_kill_it_is_back_at_once_and_so_are_clients_that_try_again() {
    let mut server = Weir::start();
    let (publish, rtmp) = (server.rtmp_url("f43"), server.rtmp_url("f43"));
    let (flv, hls) = (server.http_url("f43.flv"), server.http_url("f43.m3u8"));
    let play = |url: String| Persistent::start(move || Client::ffmpeg("player", &["-i", &url, "-c", "copy", "-f", "null", "-"]));
    let _publisher = Persistent::start(move || publish_rtmp(&publish, SMALL));
    server.wait_for_publisher("f43");
    let _players = [play(rtmp), play(flv), play(hls)];
    let all = ["flv-play", "fmle-publish", "hls-play", "rtmp-play"];
    eventually("everybody is served", Duration::from_secs(30), || (served(&server) == all).then_some(()));
    let (_, master) = http_get(server.http, "/live/f43.m3u8").expect("a playlist");
    let session = format!("/live/{}", master.lines().find(|line| line.contains("hls_ctx")).expect("a session"));
    let segments = |text: &str| text.lines().filter(|line| line.contains(".ts")).map(str::to_owned).collect::<Vec<_>>();
    let stale = segments(&http_get(server.http, &session).expect("its playlist").1);
    assert!(!stale.is_empty());

    let took = server.kill_and_restart();
    assert!(took <= Duration::from_secs(2), "it took {took:?} to be back");
    let back = Instant::now();
    let rtc = server.rtc.port().to_string();
    assert!(
        std::fs::read_to_string("/proc/net/udp").expect("a table").contains(&format!(":{:04X} ", server.rtc.port())),
        "{rtc}"
    );
    server.wait_for_publisher("f43");
    let mut whep = python("whep.py");
    let whep = Client::start("whep", whep.args([&server.whep_url("f43"), "--seconds", "1", "--patience", "10"]));
    eventually("RTMP and FLV are served again", Duration::from_secs(5).saturating_sub(back.elapsed()), || {
        let served = served(&server);
        ["flv-play", "fmle-publish", "rtmp-play"].iter().all(|kind| served.iter().any(|one| one == kind)).then_some(())
    });
    let whep = whep.finish(Duration::from_secs(30));
    assert!(whep.status.success(), "{whep:?}");
    // HLS takes as long as its first segments: a player that stayed gets a list of new ones under its old name.
    let fresh = eventually("the playlist of before goes on", Duration::from_secs(15), || {
        let (status, text) = http_get(server.http, &session)?;
        (status == 200 && text.contains(".ts")).then_some(segments(&text))
    });
    assert!(fresh.iter().all(|name| !stale.contains(name)), "{fresh:?} {stale:?}");
    assert_eq!(http_get(server.http, &format!("/live/{}", fresh[0])).map(|(status, _)| status), Some(200));
    assert_eq!(http_get(server.http, &format!("/live/{}", stale[0])).map(|(status, _)| status), Some(404));
    eventually("the HLS player is served", Duration::from_secs(20), || (served(&server) == all).then_some(()));
}
