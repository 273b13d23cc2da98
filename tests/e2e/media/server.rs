//! The real server, for tests that wait rather than block.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::Weir;

/// SRS's own promise for SIGINT, and ours.
const STOP_MAX: Duration = Duration::from_secs(3);

/// A running server; killed when dropped, with its log shown if the test failed.
pub struct Server(Option<Weir>);

impl Server {
    /// Starts it on free ports.
    pub async fn start() -> Self {
        Self(Some(blocking(Weir::start).await))
    }

    /// The same, with WebRTC over TCP only.
    pub async fn start_over_tcp() -> Self {
        Self(Some(blocking(|| Weir::start_rtc("protocol tcp; tcp { enabled on; }")).await))
    }

    /// The same, with more directives in the default vhost's `rtc`.
    pub async fn start_rtc(rtc: &'static str) -> Self {
        Self(Some(blocking(move || Weir::start_vhost_rtc(rtc)).await))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.weir().log()
    }

    /// Its gauges and counters of WebRTC.
    pub async fn rtc_summary(&self) -> Value {
        let url = format!("http://{}/api/v1/summaries", self.weir().api);
        let answer: Value = reqwest::get(url).await.expect("the API answers").json().await.expect("with JSON");
        answer["data"]["weir"]["rtc"].clone()
    }

    fn weir(&self) -> &Weir {
        self.0.as_ref().expect("it is taken only by its stop")
    }

    /// Where media goes.
    pub fn rtc(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.weir().rtc.port()))
    }

    pub fn rtmp_url(&self, stream: &str) -> String {
        self.weir().rtmp_url(stream)
    }

    pub fn whip_url(&self, stream: &str) -> String {
        self.weir().whip_url(stream)
    }

    pub fn whep_url(&self, stream: &str) -> String {
        self.weir().whep_url(stream)
    }

    /// The page, with a stream's name filled in.
    pub fn page_url(&self, stream: &str) -> String {
        format!("http://localhost:{}/?stream={stream}", self.weir().http.port())
    }

    pub fn flv_url(&self, stream: &str) -> String {
        self.weir().http_url(&format!("{stream}.flv"))
    }

    pub fn hls_url(&self, stream: &str) -> String {
        self.weir().http_url(&format!("{stream}.m3u8"))
    }

    /// The rows of `/api/v1/streams/` or `/api/v1/clients/`.
    pub async fn rows(&self, what: &str) -> Vec<Value> {
        let url = format!("http://{}/api/v1/{what}/?count=1000", self.weir().api);
        let answer: Value = reqwest::get(url).await.expect("the API answers").json().await.expect("with JSON");
        answer[what].as_array().cloned().unwrap_or_else(|| panic!("no {what} in {answer}"))
    }

    /// Waits until the rows are as wanted, or panics with them.
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

    /// Waits until the stream is published.
    pub async fn wait_for_publisher(&self, stream: &str) {
        let live = |rows: &[Value]| rows.iter().any(|row| row["name"] == stream && row["publish"]["active"] == true);
        self.wait_for_rows("streams", live, Duration::from_secs(20)).await;
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.weir().pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    }

    /// SIGINT ends it in time with status 0, and nothing in it has panicked.
    pub async fn stop(mut self) {
        let weir = self.0.take().expect("it is taken only here");
        let (status, took, log) = blocking(move || weir.stop("INT")).await;
        assert!(status.success() && took <= STOP_MAX, "it ended with {status} after {took:?}:\n{log}");
        assert!(!log.contains("panicked at"), "a panic is in the log:\n{log}");
    }
}

/// The server's helpers block; the clients' tasks go on meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
