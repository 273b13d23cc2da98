//! The real server on free ports.

use std::{
    fs::{self, File},
    net::{TcpListener, UdpSocket},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::process::{Child, Command};

use super::process;

/// How long it may take from start to the first answer, on a busy machine.
const START_MAX: Duration = Duration::from_secs(15);
/// SRS's own promise for SIGINT, and ours.
const STOP_MAX: Duration = Duration::from_secs(3);

/// A running server; killed when dropped, with its log shown if the test failed.
pub struct Server {
    child: Child,
    log: PathBuf,
    pub rtmp: u16,
    pub api: u16,
    pub http: u16,
    pub rtc: u16,
}

impl Server {
    /// Starts it under a name that is used for its files.
    pub async fn start(name: &str) -> Self {
        let [rtmp, api, http] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let rtc = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let tcp = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
        let ports = (tcp(&rtmp), tcp(&api), tcp(&http), rtc.local_addr().expect("it is bound").port());
        drop((rtmp, api, http, rtc));
        let (rtmp, api, http, rtc) = ports;
        let conf = process::scratch(&format!("{name}.conf"));
        let log = process::scratch(&format!("{name}.log"));
        fs::write(&conf, configuration(rtmp, api, http, rtc)).expect("the scratch folder is writable");
        let out = File::create(&log).expect("the scratch folder is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .arg("-c")
            .arg(&conf)
            .env_remove("CANDIDATE")
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file can be shared"))
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut server = Self { child, log, rtmp, api, http, rtc };
        server.wait_until_ready().await;
        server
    }

    async fn wait_until_ready(&mut self) {
        let started = Instant::now();
        while reqwest::get(self.api_url("versions")).await.is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status}: {}", self.log());
            }
            assert!(started.elapsed() < START_MAX, "the server is not ready: {}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://127.0.0.1:{}/live/{stream}", self.rtmp)
    }

    pub fn whip_url(&self, stream: &str) -> String {
        format!("http://127.0.0.1:{}/rtc/v1/whip/?app=live&stream={stream}", self.api)
    }

    pub fn whep_url(&self, stream: &str) -> String {
        format!("http://127.0.0.1:{}/rtc/v1/whep/?app=live&stream={stream}", self.api)
    }

    /// HTTP-FLV with `flv`, HLS with `m3u8`.
    pub fn live_url(&self, stream: &str, extension: &str) -> String {
        format!("http://127.0.0.1:{}/live/{stream}.{extension}", self.http)
    }

    pub fn api_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{path}", self.api)
    }

    /// The rows of `/api/v1/streams/` or `/api/v1/clients/`.
    pub async fn rows(&self, what: &str) -> Vec<Value> {
        let url = self.api_url(&format!("{what}/?count=1000"));
        let answer: Value = reqwest::get(url).await.expect("the API answers").json().await.expect("with JSON");
        answer[what].as_array().cloned().unwrap_or_else(|| panic!("no {what} in {answer}"))
    }

    /// Waits until a row count is as wanted, or panics with the rows.
    pub async fn wait_for_rows(&self, what: &str, wanted: impl Fn(&[Value]) -> bool, limit: Duration) {
        let started = Instant::now();
        loop {
            let rows = self.rows(what).await;
            if wanted(&rows) {
                return;
            }
            assert!(started.elapsed() < limit, "{what} after {limit:?}: {rows:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the stream is published with picture and sound.
    pub async fn wait_for_publisher(&self, stream: &str) {
        let live = |rows: &[Value]| rows.iter().any(|row| row["name"] == stream && row["publish"]["active"] == true);
        self.wait_for_rows("streams", live, Duration::from_secs(20)).await;
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap_or(0))).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    /// SIGINT ends it in time with status 0, and nothing in it has panicked.
    pub async fn stop(mut self) {
        let pid = self.child.id().expect("it still runs").to_string();
        let mut kill = Command::new("kill");
        kill.args(["-INT", &pid]);
        process::run("kill", kill, Duration::from_secs(5)).await;
        let status = tokio::time::timeout(STOP_MAX, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it still runs {STOP_MAX:?} after SIGINT")).expect("it can be waited for");
        assert!(status.success(), "it ended with {status}");
        assert!(!self.log().contains("panicked at"), "a panic is in the log");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(80).collect();
            eprintln!("--- the server's log, its end ({}) ---", self.log.display());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn configuration(rtmp: u16, api: u16, http: u16, rtc: u16) -> String {
    format!(
        "listen 127.0.0.1:{rtmp};
daemon off;
srs_log_tank console;
http_api {{ enabled on; listen 127.0.0.1:{api}; }}
http_server {{ enabled on; listen 127.0.0.1:{http}; }}
rtc_server {{ enabled on; listen {rtc}; candidate 127.0.0.1; }}
vhost __defaultVhost__ {{
    rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }}
    http_remux {{ enabled on; }}
    hls {{ enabled on; hls_fragment 2; hls_window 12; }}
}}
"
    )
}
