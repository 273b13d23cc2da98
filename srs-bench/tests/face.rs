//! The program as its users have it: what it prints, what it writes, with which status it ends.

mod server;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use server::{Weir, eventually, tls};
use srs_bench::{
    measure::Stage,
    plan::Plan,
    run::{self, Outcome, Screen},
};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_srs-bench")).args(args).output().expect("it starts")
}

/// The program in the background.
fn start(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_srs-bench"));
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn tell(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

/// Clients that the server knows of, publishers among them.
fn clients_of(weir: &Weir) -> u64 {
    weir.get("/api/v1/clients/")["total"].as_u64().expect("a number")
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
    for prompt in ["all", "none"] {
        let scenario = format!(
            "duration = '20s'\nexpect = ['stayed=100%']\n[[play]]\nurl = 'http://{addr}/live/a.flv'\n\
             clients = {{ ramp = 0, stall = '1s', prompt = '{prompt}' }}"
        );
        let outcome = outcome_of(&scenario);
        assert!(!outcome.is_good(), "{outcome}");
        assert_eq!(outcome.failures[0].stage, Stage::Stalled, "{outcome}");
        assert_eq!(outcome.figures.get("connected"), Some(100.0));
        assert!(outcome.to_string().contains("MISS stayed=100%: 0.000 %, off by 100.000 %"), "{outcome}");
    }
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
fn it_is_said_whose_the_freezes_are_where_not_all_are_read_at_once() {
    let weir = Weir::start();
    let rtmp = weir.rtmp;
    let scenario = |prompt: &str| {
        format!(
            "duration = '3s'\n[[publish]]\nurl = 'rtmp://{rtmp}/live/{prompt}'\n[[play]]\nurl = 'rtmp://{rtmp}/live/{prompt}'\n\
             clients = {{ count = 6, prompt = '{prompt}' }}\n"
        )
        .replace("live/1/3", "live/third")
    };
    let all = outcome_of(&scenario("all"));
    assert!(!all.to_string().contains("  read  "), "{all}");
    assert_eq!(all.json()["of_prompt_only"].as_array().map(Vec::len), Some(0), "{}", all.json());
    let third = outcome_of(&scenario("1/3"));
    assert!(
        third.is_good()
            && third.to_string().contains("2 sessions at once: latency and freezes are theirs alone; 4 at least every 200 ms")
    );
    let json = third.json();
    let of_prompt: Vec<&str> = json["of_prompt_only"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        ["freezes", "long-freezes", "longest-freeze", "frozen", "p99-latency"].iter().all(|name| of_prompt.contains(name)),
        "{json}"
    );
    let reading = &json["groups"][1]["reading"];
    assert_eq!((reading["prompt_sessions"].as_u64(), reading["lazy_sessions"].as_u64()), (Some(2), Some(4)), "{json}");
    // The others count for everything else.
    assert!(
        third.figures.get("delivered").is_some_and(|share| share > 90.0) && third.figures.get("p99-latency").is_some(),
        "{third}"
    );
    let none = outcome_of(&scenario("none"));
    assert!(none.to_string().contains("latency and freezes are not measured"), "{none}");
    for name in ["p50-latency", "freezes", "longest-freeze", "frozen"] {
        assert_eq!(none.json()["groups"][1]["figures"][name], Value::Null, "{name}: {none}");
    }
}

#[test]
fn ctrl_c_ends_with_the_summary_and_every_client_says_goodbye() {
    let weir = Weir::start();
    let folder = tempfile::tempdir().unwrap();
    let scenario = folder.path().join("endless.toml");
    let text = format!(
        "[[publish]]\nurl = 'rtmp://{rtmp}/live/x'\n[[play]]\nurl = 'webrtc://{api}/live/x'\nclients = {{ count = 2 }}\n\
         [[play]]\nurl = '{whep}'\nclients = {{ count = 3 }}\n[[play]]\nurl = 'rtmp://{rtmp}/live/x'\nclients = {{ count = 2 }}\n",
        rtmp = weir.rtmp,
        api = weir.api,
        whep = weir.whep_url("x"),
    );
    std::fs::write(&scenario, text).unwrap();
    let running = start(&["run", scenario.to_str().unwrap()]);
    eventually("all clients are there", || (clients_of(&weir) == 8).then_some(()));
    thread::sleep(Duration::from_secs(2));
    tell(running.id(), Signal::INT);
    let output = running.wait_with_output().unwrap();
    let left = Instant::now();
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    let summary = String::from_utf8_lossy(&output.stdout);
    for line in ["1 asked, 1 connected, 1 with media, 1 left, 0 failed", "3 asked, 3 connected, 3 with media, 3 left, 0 failed"] {
        assert!(summary.contains(line), "{summary}");
    }
    eventually("they are gone", || (clients_of(&weir) == 0).then_some(()));
    // Sooner than the server gives silent ones up.
    assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    let weir = Weir::start();
    let _source = Ended(start(&["publish", &weir.rtmp_url("x")]));
    let mut running = Ended(start(&["play", "-n", "2", &weir.whep_url("x")]));
    eventually("all clients are there", || (clients_of(&weir) == 3).then_some(()));
    // A server that stands still has its viewers wait for the end of their farewell.
    tell(weir.pid(), Signal::STOP);
    tell(running.0.id(), Signal::INT);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(running.0.try_wait().unwrap(), None, "it waits for the farewell");
    tell(running.0.id(), Signal::INT);
    let asked = Instant::now();
    let status = eventually("it ends", || running.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

/// A program in the background that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_server_that_dies_in_mid_run_ends_it_with_the_summary() {
    let mut weir = Weir::start();
    let _source = Ended(start(&["publish", &weir.rtmp_url("x")]));
    let (whep, rtmp) = (weir.whep_url("x"), weir.rtmp_url("x"));
    let fixed = ["play", "-n", "2", "-d", "5m", &whep, &rtmp];
    let (careless, careful) = (start(&fixed), start(&[&fixed[..], &["--expect", "stayed=100%"]].concat()));
    eventually("all clients are there", || (clients_of(&weir) == 9).then_some(()));
    thread::sleep(Duration::from_secs(2));
    weir.kill();
    // They had media, so that only an expectation makes a failure of it.
    for (running, status) in [(careless, 0), (careful, 1)] {
        let output = running.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", out(&output));
        let summary = String::from_utf8_lossy(&output.stdout);
        assert!(summary.contains("2 asked, 2 connected, 2 with media, 0 left, 2 failed"), "{summary}");
        assert!(summary.contains("2 × ended: the server does not answer any more"), "{summary}");
        assert_eq!(summary.contains("MISS stayed=100%"), status == 1, "{summary}");
    }
}

#[test]
fn certificates_that_were_not_checked_are_told() {
    let weir = Weir::start();
    let _source = Ended(start(&["publish", &weir.rtmp_url("x")]));
    let url = format!("https://{}/live/x.flv", tls::before(weir.http));
    let output = bench(&["play", &url, "--insecure", "-d", "1s"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("note      certificates were not checked"), "{}", out(&output));
    let refused = bench(&["play", &url, "-d", "1s"]);
    assert_eq!(refused.status.code(), Some(1), "{}", out(&refused));
    assert!(out(&refused).contains("1 × connect") && out(&refused).contains("--insecure accepts any"), "{}", out(&refused));
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
