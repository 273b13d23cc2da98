//! A Weir on free ports, ended when dropped.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::Setup;

/// Where the server under test listens.
pub(super) struct Ports {
    pub(super) rtmp: SocketAddr,
    pub(super) api: SocketAddr,
}

pub(super) struct Server {
    child: Child,
    pub(super) ports: Ports,
    conf: PathBuf,
}

impl Server {
    pub(super) fn start(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let weir = &setup.args.weir;
        let [rtmp, api, rtc] = [free_port()?, free_port()?, free_port()?];
        let conf = std::env::temp_dir().join(format!("srs-bench-{}-{rtmp}.conf", std::process::id()));
        let text = format!(
            "listen 127.0.0.1:{rtmp};\nmax_connections 20000;\nsrs_log_level warn;\nhttp_api {{ enabled on; listen 127.0.0.1:{api}; }}\n\
             rtc_server {{ enabled on; listen 127.0.0.1:{rtc}; candidate 127.0.0.1; workers {}; }}\n\
             vhost __defaultVhost__ {{ min_latency on; rtc {{ enabled on; rtmp_to_rtc on; }} }}\n",
            setup.workers
        );
        std::fs::write(&conf, text)?;
        let mut command = if setup.cores.pin { Command::new("taskset") } else { Command::new(weir) };
        if setup.cores.pin {
            command.args(["-c", &format!("0-{}", setup.cores.server - 1)]).arg(weir);
        }
        let child = command.arg("-c").arg(&conf).stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{} did not start (cargo build --release first)", weir.display()))?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let server = Self { child, ports: Ports { rtmp: local(rtmp), api: local(api) }, conf };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(server.ports.api).is_err() {
            if Instant::now() > deadline {
                bail!("the server did not come up");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Where a stream is published to and played from.
    pub(super) fn rtmp(&self, stream: &str) -> String {
        format!("rtmp://{}/live/{stream}", self.ports.rtmp)
    }

    pub(super) fn whip(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whip/?app=live&stream={stream}", self.ports.api)
    }

    pub(super) fn whep(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", self.ports.api)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_file(&self.conf);
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
