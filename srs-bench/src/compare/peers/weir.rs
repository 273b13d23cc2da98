//! Weir itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{Ports, Running};
use crate::{
    clients::Kind,
    compare::{
        measured::Urls,
        workload::{Tuning, Workload},
    },
};

#[derive(Debug)]
pub(in crate::compare) struct Weir {
    program: PathBuf,
    version: String,
}

impl Weir {
    pub(super) fn new(program: &Path) -> Self {
        // As SRS, it tells its version on standard error.
        let said = Command::new(program).arg("-v").output().map(|output| output.stderr).unwrap_or_default();
        Self { program: program.to_owned(), version: String::from_utf8_lossy(&said).trim().to_owned() }
    }

    pub(super) fn describe(&self) -> String {
        format!("Weir: {}, one RTC worker; low latency is `min_latency on` and `mw_latency 0`", self.version)
    }

    pub(super) fn start(&self, workload: &Workload) -> anyhow::Result<Running> {
        let (ports, dir) = (Ports::free()?, TempDir::new()?);
        let Ports { rtmp, api, http, rtc } = ports;
        let to_rtc = if workload.clients == Kind::WebrtcPlay { "on" } else { "off" };
        let hls = if workload.clients == Kind::HlsPlay { "hls { enabled on; hls_fragment 2; hls_window 10; }" } else { "" };
        let flv =
            if workload.clients == Kind::FlvPlay { "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }" } else { "" };
        let play = match workload.tuning {
            Tuning::Default => "",
            Tuning::LowLatency => "min_latency on; tcp_nodelay on; play { mw_latency 0; }",
        };
        let conf = dir.path().join("weir.conf");
        let text = format!(
            "listen 127.0.0.1:{rtmp};\nmax_connections 20000;\nsrs_log_level warn;\nhttp_api {{ enabled on; listen 127.0.0.1:{api}; }}\n\
             http_server {{ enabled on; listen 127.0.0.1:{http}; }}\n\
             rtc_server {{ enabled on; listen 127.0.0.1:{rtc}; candidate 127.0.0.1; workers 1; }}\n\
             vhost __defaultVhost__ {{ rtc {{ enabled on; rtmp_to_rtc {to_rtc}; }} {hls} {flv} {play} }}\n"
        );
        fs::write(&conf, text)?;
        Running::start(&[&self.program.to_string_lossy(), "-c", &conf.to_string_lossy()], ports, api, dir)
    }
}

pub(super) fn urls(workload: &Workload) -> Urls {
    let stream = if workload.streams() == 1 { "bench" } else { "bench{n}" };
    let url = |kind| match kind {
        Kind::WebrtcPublish => format!("http://127.0.0.1:{{api}}/rtc/v1/whip/?app=live&stream={stream}"),
        Kind::WebrtcPlay => format!("http://127.0.0.1:{{api}}/rtc/v1/whep/?app=live&stream={stream}"),
        Kind::RtmpPublish | Kind::RtmpPlay => format!("rtmp://127.0.0.1:{{rtmp}}/live/{stream}"),
        Kind::FlvPlay => format!("http://127.0.0.1:{{http}}/live/{stream}.flv"),
        Kind::HlsPlay => format!("http://127.0.0.1:{{http}}/live/{stream}.m3u8"),
    };
    Urls { publish: url(workload.source), play: url(workload.clients) }
}
