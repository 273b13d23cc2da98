//! The real Weir on free ports, ended when dropped.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part of it")]

pub mod lossy;
pub mod tls;

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// A running server.
pub struct Weir {
    child: Child,
    _dir: TempDir,
    pub rtmp: SocketAddr,
    pub api: SocketAddr,
    pub http: SocketAddr,
    pub rtc: SocketAddr,
}

impl Weir {
    /// Everything on, one-second HLS segments, on loopback.
    pub fn start() -> Self {
        // reqwest wants to know of a provider before it speaks to anybody.
        let _known = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let [rtmp, api, http] = [free_tcp(), free_tcp(), free_tcp()];
        let rtc = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free UDP port");
        let conf = format!(
            "listen {rtmp};\nmax_connections 20000;\nsrs_log_level warn;\nhttp_api {{ enabled on; listen {api}; }}\nhttp_server {{ enabled on; listen {http}; }}\n\
             rtc_server {{ enabled on; listen {rtc}; candidate 127.0.0.1; }}\n\
             vhost __defaultVhost__ {{\n min_latency on;\n rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }}\n http_remux {{ enabled on; }}\n\
             hls {{ enabled on; hls_fragment 1; hls_window 10; }}\n}}\n"
        );
        let path = dir.path().join("weir.conf");
        std::fs::write(&path, conf).expect("a file");
        let weir = Path::new(env!("CARGO_BIN_EXE_srs-bench")).with_file_name("weir");
        assert!(weir.exists(), "{} is missing: test the whole workspace", weir.display());
        let child = Command::new(weir).arg("-c").arg(&path).stdout(Stdio::null()).spawn().expect("it starts");
        let server = Self { child, _dir: dir, rtmp, api, http, rtc };
        eventually("the server answers", || {
            [server.api, server.rtmp].into_iter().all(|addr| TcpStream::connect(addr).is_ok()).then_some(())
        });
        server
    }

    /// Ends it at once, without a goodbye.
    pub fn kill(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    /// It does nothing for so long.
    pub fn hold(&self, pause: Duration) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::STOP).expect("it is there");
        thread::sleep(pause);
        kill_process(pid, Signal::CONT).expect("it is there");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `data.weir` of its summaries.
    pub fn counters(&self) -> Value {
        self.get("/api/v1/summaries")["data"]["weir"].take()
    }

    /// What its API says at `path`.
    pub fn get(&self, path: &str) -> Value {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let url = format!("http://{}{path}", self.api);
        let text = runtime.block_on(async { reqwest::get(url).await?.text().await }).expect("it answers");
        serde_json::from_str(&text).expect("JSON")
    }

    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.rtmp)
    }

    pub fn http_url(&self, file: &str) -> String {
        format!("http://{}/live/{file}", self.http)
    }

    pub fn whip_url(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whip/?app=live&stream={stream}", self.api)
    }

    pub fn whep_url(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", self.api)
    }

    /// SRS's own kind of URL.
    pub fn webrtc_url(&self, stream: &str) -> String {
        format!("webrtc://{}/live/{stream}", self.api)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `look` finds, as soon as it does.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A free TCP address on loopback.
pub fn free_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
