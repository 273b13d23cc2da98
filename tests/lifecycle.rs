//! Start and stop: what an operator and a service manager see.

mod support;

use std::{process::Command, time::Duration};

use support::Weir;

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
    let log = server.log();
    for url in [format!("http://localhost:{}/", server.http.port()), format!("rtmp://localhost:{}/live/", server.rtmp.port())] {
        assert!(log.contains(&url), "{url} in:\n{log}");
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
