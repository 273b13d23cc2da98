//! The process as service managers, scripts and shells see it: signals, pid file, background, log.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use support::{
    Weir, eventually,
    media::{OFFER, SMALL, publish_rtmp},
    process::Client,
    server::{Extra, free_tcp},
};

fn weir(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .env_remove("CANDIDATE")
        .env_remove("WEIR_LOG")
        .output()
        .expect("it starts")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn kill(signal: &str, pid: u32) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "{signal} to {pid}");
}

fn is_alive(pid: u32) -> bool {
    // One that nobody has waited for yet is gone all the same.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// A file of its own in `dir`, with the head that is given.
fn conf(dir: &Path, head: &str) -> PathBuf {
    let path = dir.join("weir.conf");
    let text =
        format!("listen {};\nwork_dir {};\npid weir.pid;\nsrs_log_file objs/weir.log;\n{head}\n", free_tcp(), dir.display());
    fs::write(&path, text).expect("a file");
    path
}

#[test]
fn the_pid_file_is_there_while_it_runs_and_keeps_a_second_one_out() {
    let server = Weir::start();
    let path = server.dir().join("weir.pid");
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), server.pid().to_string());
    let again = weir(&["-c", &server.conf().to_string_lossy()]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again).contains(&format!("another instance runs already: process {}", server.pid())), "{}", text(&again));
    assert!(path.exists());
    let dir = server.dir();
    let (status, _, log) = server.stop("TERM");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!dir.join("weir.pid").exists());
}

#[test]
fn in_the_background_it_outlives_its_launcher_and_says_where_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let conf = conf(dir.path(), "daemon on; disable_daemon_for_docker off; srs_log_tank file;");
    let launched = weir(&["-c", &conf.to_string_lossy()]);
    assert_eq!(launched.status.code(), Some(0), "{}", text(&launched));
    let said = text(&launched);
    let pid = fs::read_to_string(dir.path().join("weir.pid")).unwrap().trim().to_owned();
    assert!(said.contains(&format!("weir runs in the background, pid {pid}, log objs/weir.log")), "{said}");
    let number: u32 = pid.parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[3], pid, "a session of its own: {stat}");
    for fd in 0..3 {
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap(), Path::new("/dev/null"));
    }
    kill("TERM", number);
    eventually("it ends", Duration::from_secs(3), || (!is_alive(number)).then_some(()));
    let log = fs::read_to_string(dir.path().join("objs/weir.log")).unwrap();
    assert!(log.contains("stopped"), "{log}");
    assert!(!dir.path().join("weir.pid").exists());
}

#[test]
fn a_start_in_the_background_that_fails_is_told_to_the_shell() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let conf = conf(dir.path(), &format!("daemon on; disable_daemon_for_docker off; http_api {{ enabled on; listen {addr}; }}"));
    let launched = weir(&["-c", &conf.to_string_lossy()]);
    assert_eq!(launched.status.code(), Some(2));
    let said = text(&launched);
    let hint = format!("the HTTP API cannot listen on {addr}: it is in use by process {}", std::process::id());
    assert!(said.contains(&hint), "{said}");
    assert!(!dir.path().join("weir.pid").exists());
}

#[test]
fn log_lines_have_the_form_of_srs_and_the_file_is_opened_anew_on_usr1() {
    let dir = tempfile::tempdir().unwrap();
    let conf = conf(dir.path(), "daemon off; srs_log_tank file; utc_time on;");
    let mut child = Weir::spawn(&["-c", &conf.to_string_lossy()], dir.path());
    let path = dir.path().join("objs/weir.log");
    let log = || fs::read_to_string(&path).unwrap_or_default();
    eventually("it listens", Duration::from_secs(20), || log().contains("RTMP at").then_some(()));
    for line in log().lines() {
        let parts: Vec<&str> = line.splitn(5, ']').collect();
        assert_eq!(parts.len(), 5, "{line}");
        assert_eq!((parts[0].len(), parts[2]), (24, format!("[{}", child.id()).as_str()), "{line}");
        assert!(["[INFO", "[WARN", "[DEBUG"].contains(&parts[1]), "{line}");
        assert!(parts[3].len() == 9 && parts[4].starts_with(' '), "{line}");
    }
    let moved = dir.path().join("weir.log.1");
    fs::rename(&path, &moved).unwrap();
    kill("USR1", child.id());
    eventually("it writes to a new file", Duration::from_secs(5), || log().contains("opened anew").then_some(()));
    assert!(!fs::read_to_string(&moved).unwrap().contains("opened anew"));
    kill("INT", child.id());
    let status = eventually("it ends", Duration::from_secs(5), || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(log().contains("stopped"), "what was logged last is written: {}", log());
}

#[test]
fn a_graceful_end_keeps_viewers_takes_nobody_new_and_ends_when_the_last_has_gone() {
    let mut server = Weir::start_global("grace_start_wait 500; grace_final_wait 200;");
    let mut publisher = publisher(&server, "quit");
    server.wait_for_publisher("quit");
    let url = server.http_url("quit.flv");
    let viewer = Client::ffmpeg("viewer", &["-i", &url, "-t", "4", "-c", "copy", "-f", "null", "-"]);
    eventually("it plays", Duration::from_secs(20), || (server.log_lines("http play") == 1).then_some(()));
    let since = Instant::now();
    kill("QUIT", server.pid());
    eventually("RTMP is closed", Duration::from_secs(5), || std::net::TcpStream::connect(server.rtmp).is_err().then_some(()));
    assert!(since.elapsed() >= Duration::from_millis(450), "the start wait: {:?}", since.elapsed());
    let (status, _) = support::server::http_get(server.http, "/live/quit.flv").expect("HTTP answers");
    assert_eq!(status, 503);
    let seen = viewer.finish(Duration::from_secs(20));
    assert!(seen.status.success() && seen.stderr.is_empty(), "who is there sees it to the end: {seen:?}");
    assert!(publisher.is_running() && server.is_running(), "who is there stays");
    drop(publisher);
    let status = eventually("it ends", Duration::from_secs(5), || server.try_wait());
    assert_eq!(status.code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_signal_ends_a_graceful_end_at_once() {
    let mut server = Weir::start_global("force_grace_quit on; grace_start_wait 0;");
    let _publisher = publisher(&server, "twice");
    server.wait_for_publisher("twice");
    kill("TERM", server.pid());
    eventually("force_grace_quit makes SIGTERM wait", Duration::from_secs(5), || {
        (server.log_lines("no new clients are taken") == 1).then_some(())
    });
    assert!(server.is_running() && server.log_lines("stopping") == 0, "{}", server.log());
    let again = Instant::now();
    kill("TERM", server.pid());
    let status = eventually("it ends", Duration::from_secs(5), || server.try_wait());
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(again.elapsed() < Duration::from_secs(3), "{:?}", again.elapsed());
}

#[test]
fn it_may_have_as_many_open_files_as_the_system_lets_it() {
    let server = Weir::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "{line}");
}

/// Opens and closes sessions with long names by WHIP as fast as it can, and sends noise to every port, for as
/// long. How many sessions there were.
fn flood(server: &Weir, lasts: Duration) -> usize {
    let end = Instant::now() + lasts;
    let noise = [server.rtmp, server.http, server.api].map(|addr| {
        std::thread::spawn(move || {
            while Instant::now() < end {
                if let Ok(mut stream) = std::net::TcpStream::connect(addr) {
                    let _closed = std::io::Write::write_all(&mut stream, b"\x16\x03\x01 no protocol of yours\r\n\r\n");
                }
            }
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let sessions = runtime.block_on(async {
        let mut flooders = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (whip, api) = (server.whip_url(&format!("{number}-{}", "x".repeat(40))), server.api);
            flooders.spawn(async move {
                let (client, mut sessions) = (reqwest::Client::new(), 0);
                while Instant::now() < end {
                    let offer = client.post(format!("{whip}-{sessions}")).header("content-type", "application/sdp").body(OFFER);
                    let Ok(answer) = offer.send().await else { continue };
                    let Some(location) = answer.headers().get("location").and_then(|at| at.to_str().ok()) else { continue };
                    let url = if location.starts_with('/') { format!("http://{api}{location}") } else { location.to_owned() };
                    let _ended = client.delete(url).send().await;
                    sessions += 1;
                }
                sessions
            });
        }
        flooders.join_all().await.into_iter().sum()
    });
    noise.into_iter().for_each(|thread| thread.join().expect("it only writes"));
    sessions
}

/// Plays three seconds of it.
fn plays(server: &Weir, stream: &str) {
    let url = server.http_url(&format!("{stream}.flv"));
    let seen = Client::ffmpeg("viewer", &["-t", "3", "-i", &url, "-f", "null", "-"]).finish(Duration::from_secs(30));
    assert!(seen.status.success() && seen.stderr.is_empty(), "{seen:?}");
}

#[test]
fn a68_a_flood_neither_fills_the_log_nor_stops_media() {
    let server = Weir::start_configured(&Extra { log: Some("info"), ..Extra::default() });
    let _publisher = publish_rtmp(&server.rtmp_url("dry"), SMALL);
    server.wait_for_publisher("dry");
    let sessions = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&server, Duration::from_secs(10)));
        plays(&server, "dry");
        flooding.join().expect("a count")
    });
    assert!(sessions > 100, "{sessions} sessions are no flood");
    let log = server.log();
    // What a burst may be, and ten seconds of what may follow it.
    assert!(log.len() < 384 << 10, "{} bytes after {sessions} sessions", log.len());
}

#[test]
fn a68_a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let server = Weir::start_configured(&Extra { log: Some("info"), ..Extra::default() });
    let _publisher = publish_rtmp(&server.rtmp_url("dry"), SMALL);
    server.wait_for_publisher("dry");
    let original = fs::read_to_string(server.conf()).unwrap();
    // A disk that is full whatever is written.
    let full = original.replacen("srs_log_tank console;", "srs_log_tank file; srs_log_file /dev/full;", 1);
    fs::write(server.conf(), full).unwrap();
    kill("HUP", server.pid());
    eventually("the log goes to the full disk", Duration::from_secs(10), || {
        let open = fs::read_dir(format!("/proc/{}/fd", server.pid())).ok()?;
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == Path::new("/dev/full"))).then_some(())
    });
    flood(&server, Duration::from_secs(2));
    plays(&server, "dry");
    fs::write(server.conf(), &original).unwrap();
    kill("HUP", server.pid());
    eventually("the log is back where there is room, and says so", Duration::from_secs(10), || {
        server.log().contains("lines of the log were lost").then_some(())
    });
}

fn publisher(server: &Weir, stream: &str) -> Client {
    publish_rtmp(&server.rtmp_url(stream), SMALL)
}
