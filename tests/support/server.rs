//! The real binary on free ports, with a configuration of its own, ended when dropped.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, process::read_file};

/// What its log tells.
const LOG: &str = "info,weir_rtc=debug,weir_bridge=debug,weir_web=debug";

/// What a server's configuration has besides what all have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// Outside of blocks.
    pub global: &'a str,
    /// In the default vhost.
    pub vhost: &'a str,
    /// In the default vhost's `rtc`.
    pub rtc: &'a str,
    /// In `rtc_server`.
    pub rtc_server: &'a str,
    /// What the log tells, if not what it usually does.
    pub log: Option<&'a str>,
    /// In its environment.
    pub environment: &'a [(&'a str, &'a str)],
}

/// A running server.
pub struct Weir {
    child: Child,
    dir: TempDir,
    pub rtmp: SocketAddr,
    pub api: SocketAddr,
    pub http: SocketAddr,
    pub rtc: SocketAddr,
}

impl Weir {
    /// Starts a server with everything on, two-second HLS segments, on loopback.
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same with more directives in the default vhost.
    pub fn start_with(vhost: &str) -> Self {
        Self::start_configured(&Extra { vhost, ..Extra::default() })
    }

    /// As [`Weir::start`] with more directives outside of blocks.
    pub fn start_global(global: &str) -> Self {
        Self::start_configured(&Extra { global, ..Extra::default() })
    }

    /// As [`Weir::start`] with more directives in `rtc_server`.
    pub fn start_rtc(rtc_server: &str) -> Self {
        Self::start_configured(&Extra { rtc_server, ..Extra::default() })
    }

    /// As [`Weir::start`] with more directives in the default vhost's `rtc`.
    pub fn start_vhost_rtc(rtc: &str) -> Self {
        Self::start_configured(&Extra { rtc, ..Extra::default() })
    }

    /// As [`Weir::start`] with more of its own.
    pub fn start_configured(extra: &Extra<'_>) -> Self {
        let Extra { global, vhost, rtc: of_rtc, rtc_server, log, environment } = extra;
        know_tls();
        let dir = tempfile::tempdir().expect("a directory");
        let [rtmp, api, http] = [free_tcp(), free_tcp(), free_tcp()];
        let rtc = free_both();
        let conf = format!(
            "listen {rtmp};\ndaemon off;\nsrs_log_tank console;\npid {pid};\n{global}\n\
             http_api {{ enabled on; listen {api}; }}\nhttp_server {{ enabled on; listen {http}; }}\n\
             rtc_server {{ enabled on; listen {rtc}; candidate 127.0.0.1; buffer 1048576; {rtc_server} }}\n\
             vhost __defaultVhost__ {{\n min_latency on;\n rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp on; {of_rtc} }}\n http_remux {{ enabled on; }}\n\
             hls {{ enabled on; hls_fragment 2; hls_window 12; }}\n {vhost}\n}}\n",
            pid = dir.path().join("weir.pid").display(),
        );
        let path = dir.path().join("weir.conf");
        std::fs::write(&path, conf).expect("a file");
        let child = Self::spawn_logging(&["-c", &path.to_string_lossy()], dir.path(), log.unwrap_or(LOG), environment);
        let mut server = Self { child, dir, rtmp, api, http, rtc };
        eventually("the server answers", Duration::from_secs(20), || {
            assert!(server.child.try_wait().expect("a child").is_none(), "the server ended:\n{}", server.log());
            server.try_get("/api/v1/versions")
        });
        server
    }

    /// The program with `args`, its log in `dir`.
    pub fn spawn(args: &[&str], dir: &Path) -> Child {
        Self::spawn_logging(args, dir, LOG, &[])
    }

    fn spawn_logging(args: &[&str], dir: &Path, filter: &str, environment: &[(&str, &str)]) -> Child {
        let log = File::create(dir.join("log")).expect("a file");
        let errors = log.try_clone().expect("a file handle");
        Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(args)
            .env("WEIR_LOG", filter)
            .env_remove("CANDIDATE")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("the server starts")
    }

    /// Kills it, and starts it again with the same configuration. How long it took until it answered.
    pub fn kill_and_restart(&mut self) -> Duration {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child");
        let start = Instant::now();
        self.child = Self::spawn(&["-c", &self.conf().to_string_lossy()], &self.dir());
        eventually("the server answers again", Duration::from_secs(20), || {
            assert!(self.child.try_wait().expect("a child").is_none(), "the server ended:\n{}", self.log());
            self.try_get("/api/v1/versions")
        });
        start.elapsed()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        read_file(&self.dir.path().join("log"))
    }

    /// A directory that goes with the server.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Its configuration file.
    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("weir.conf")
    }

    /// Lines of its log with `words`.
    pub fn log_lines(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "{signal}");
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Sends a signal (`INT`, `TERM`) and waits; the exit status and how long it took.
    pub fn stop(mut self, signal: &str) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        self.signal(signal);
        let status = eventually("the server ends", Duration::from_secs(10), || self.child.try_wait().expect("a child"));
        (status, start.elapsed(), self.log())
    }

    /// `http://api/path` as JSON, or `None` if it does not answer.
    pub fn try_get(&self, path: &str) -> Option<Value> {
        let (status, body) = http_get(self.api, path)?;
        (status == 200).then(|| serde_json::from_str(&body).ok()).flatten()
    }

    /// `http://api/path` as JSON.
    pub fn get(&self, path: &str) -> Value {
        self.try_get(path).unwrap_or_else(|| panic!("{path} did not answer:\n{}", self.log()))
    }

    /// Waits until `live/stream` is being published.
    pub fn wait_for_publisher(&self, stream: &str) {
        eventually(&format!("{stream} is published"), Duration::from_secs(20), || {
            let list = self.get("/api/v1/streams/?count=1000");
            let streams = list["streams"].as_array()?;
            streams.iter().any(|s| s["name"] == stream && s["publish"]["active"] == true).then_some(())
        });
    }

    /// `rtmp://…/live/stream`.
    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    /// `http://…/live/file`.
    pub fn http_url(&self, file: &str) -> String {
        format!("http://{}/live/{file}", self.http)
    }

    /// The WHIP endpoint of `live/stream`.
    pub fn whip_url(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whip/?app=live&stream={stream}", self.api)
    }

    /// The WHEP endpoint of `live/stream`.
    pub fn whep_url(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", self.api)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- the server's log ----\n{}", self.log());
        }
    }
}

/// A free TCP address on loopback, another one at each call. Another process could take it before the
/// server does, but the kernel hands out ephemeral ports in a wide, random order.
pub fn free_tcp() -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free TCP port");
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = std::iter::repeat_with(free).take(100).find(|addr| given.insert(addr.port()));
    fresh.expect("a port that was not given yet")
}

/// The same, free for UDP as well.
pub fn free_both() -> SocketAddr {
    let free = std::iter::repeat_with(free_tcp).take(100).find(|addr| UdpSocket::bind(addr).is_ok());
    free.expect("a port that is free for TCP and UDP")
}

/// In a workspace whose load tool speaks TLS, reqwest wants to know of a provider before it speaks to anybody.
fn know_tls() {
    let _known = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// One GET; status and body, or `None` if nobody answers.
pub fn http_get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    know_tls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).build().ok()?;
        let response = client.get(format!("http://{addr}{path}")).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    })
}
