//! The program as its users have it: what it prints, what it writes, with which status it ends.

mod server;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Command, Output},
    thread,
};

use serde_json::Value;
use server::Weir;
use srs_bench::{
    measure::Stage,
    plan::Plan,
    run::{self, Outcome, Screen},
};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_srs-bench")).args(args).output().expect("it starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn outcome_of(scenario: &str) -> Outcome {
    run::run(&Plan::parse(scenario).unwrap(), &mut Screen::silent()).unwrap()
}

/// A server that gives each connection these bytes once it has heard something, and then nothing more.
fn stalling(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for mut socket in listener.incoming().flatten() {
            let _heard = socket.read(&mut [0; 4_096]);
            let _sent = socket.write_all(&bytes);
            open.push(socket);
        }
    });
    addr
}

#[test]
fn a_server_that_says_nothing_is_a_failure() {
    let addr = stalling(Vec::new());
    let scenario =
        format!("duration = '20s'\n[[play]]\nurl = 'rtmp://{addr}/live/a'\nclients = {{ count = 2, ramp = 0, patience = '1s' }}");
    let outcome = outcome_of(&scenario);
    assert!(!outcome.is_good(), "{outcome}");
    assert_eq!(outcome.figures.get("connected"), Some(0.0));
    assert_eq!(outcome.failures.iter().map(|failure| failure.count).sum::<u64>(), 2, "{outcome}");
}

#[test]
fn a_server_that_stalls_in_mid_run_is_a_failure() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n".to_vec();
    bytes.extend(b"FLV\x01\x01\0\0\0\x09\0\0\0\0");
    // One keyframe of one small NAL unit.
    bytes.extend([9, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65, 0, 0, 0, 21]);
    let addr = stalling(bytes);
    let scenario = format!(
        "duration = '20s'\nexpect = ['stayed=100%']\n[[play]]\nurl = 'http://{addr}/live/a.flv'\nclients = {{ ramp = 0, stall = '1s' }}"
    );
    let outcome = outcome_of(&scenario);
    assert!(!outcome.is_good(), "{outcome}");
    assert_eq!(outcome.failures[0].stage, Stage::Stalled, "{outcome}");
    assert_eq!(outcome.figures.get("connected"), Some(100.0));
    assert!(outcome.to_string().contains("MISS stayed=100%: 0.000 %, off by 100.000 %"), "{outcome}");
}

#[test]
fn a_run_says_whether_its_expectations_were_met_and_writes_its_figures() {
    let weir = Weir::start();
    let folder = tempfile::tempdir().unwrap();
    let (scenario, json) = (folder.path().join("mixed.toml"), folder.path().join("figures.json"));
    let text = format!(
        "duration = '4s'\n[[publish]]\nurl = 'rtmp://{rtmp}/live/s{{n}}'\nclients = {{ count = 2 }}\n\
         [[play]]\nurl = 'rtmp://{rtmp}/live/s{{n}}'\nclients = {{ count = 6, streams = 2 }}\nexpect = ['frames>300']\n\
         [[play]]\nurl = 'http://{api}/rtc/v1/whep/?app=live&stream=s0'\nclients = {{ count = 3 }}\n",
        rtmp = weir.rtmp,
        api = weir.api
    );
    std::fs::write(&scenario, text).unwrap();
    let (scenario, pid) = (scenario.to_str().unwrap(), weir.pid().to_string());
    let fixed = ["run", scenario, "--json", json.to_str().unwrap(), "--pid", &pid];
    let met = ["--expect", "connected=100%", "--expect", "loss<1%", "--expect", "p99-latency<5s", "--expect", "failed=0"];
    let output = bench(&[&fixed[..], &met].concat());
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let written: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let figure = |name: &str| written["figures"][name].as_f64().unwrap_or_else(|| panic!("{name} in {written}"));
    assert_eq!((figure("asked"), figure("connected")), (11.0, 100.0));
    assert!((400.0..800.0).contains(&figure("bitrate")), "{written}");
    assert!(figure("server-cpu") > 0.0 && figure("server-cpu-us-per-packet") > 0.0 && figure("server-rss-mb") > 1.0);
    assert!(figure("p50-latency") < 1_000.0 && figure("frame-loss") < 1.0, "{written}");
    assert_eq!(written["groups"].as_array().map(Vec::len), Some(3));
    let output = bench(&[&fixed[..], &["-d", "1s", "--expect", "connected<50%"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("MISS connected<50%: 100.000 %, off by 50.000 %"), "{}", out(&output));
}

#[test]
fn viewers_of_nothing_are_a_failure() {
    let weir = Weir::start();
    let output = bench(&["play", &weir.rtmp_url("none"), "-d", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("had media"), "{}", out(&output));
}

#[test]
fn the_flags_of_srs_run_too() {
    let weir = Weir::start();
    let url = format!("webrtc://{}/live/a", weir.api);
    let flags = ["-pr", &url, "-fps", "25", "-al=false", "--duration", "3s", "--expect", "connected=100%"];
    let output = bench(&flags);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).contains("note: -al has no effect"), "{}", out(&output));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_two() {
    for args in [
        &["play"][..],
        &["play", "gopher://h/a"],
        &["play", "rtmp://h/a/b", "--expect", "speed>9"],
        &["play", "rtmp://h/a/b", "-d", "long"],
        &["publish", "-n", "2", "rtmp://h/a/b"],
        &["run", "/nonexistent.toml"],
        &["-sr", "webrtc://h/live/a", "-nn", "many"],
        &["fly"],
    ] {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", out(&output));
    }
    let refused = bench(&["play", "rtmp://127.0.0.1:1/live/a", "--patience", "2s", "-d", "1s"]);
    assert!(refused.status.code() == Some(1) && out(&refused).contains("1 × connect"), "{}", out(&refused));
}

#[test]
fn help_has_examples() {
    for args in [&["--help"][..], &["play", "--help"], &["run", "--help"]] {
        let text = out(&bench(args));
        assert!(text.contains("whep") && text.contains("-n") | text.contains("count"), "{text}");
    }
}
