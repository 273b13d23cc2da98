//! nginx with its RTMP module, as Debian packages them.

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

use super::{Ports, Running};
use crate::{
    clients::Kind,
    compare::{
        measured::Urls,
        workload::{Tuning, Workload},
    },
};

const PROGRAM: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

#[derive(Debug)]
pub(in crate::compare) struct Nginx {
    version: String,
}

impl Nginx {
    pub(super) fn find() -> Option<Self> {
        if !Path::new(MODULE).exists() {
            return None;
        }
        let said = Command::new(PROGRAM).arg("-v").output().ok()?;
        let version = String::from_utf8_lossy(&said.stderr).trim().trim_start_matches("nginx version: ").to_owned();
        Some(Self { version: format!("{version}{}", module_version()) })
    }

    pub(super) fn describe(&self) -> String {
        format!("nginx: {}, one worker process, the RTMP module's defaults", self.version)
    }

    pub(super) fn start(&self, workload: &Workload) -> anyhow::Result<Running> {
        let (ports, dir) = (Ports::free()?, TempDir::new()?);
        let Ports { rtmp, http, .. } = ports;
        let at = dir.path().display();
        let hls = match workload.clients {
            Kind::HlsPlay => format!("hls on; hls_path {at}/hls; hls_fragment 2s; hls_playlist_length 10s;"),
            _ => String::new(),
        };
        // Its workers change their user otherwise, and could not write here.
        let user = fs::read_to_string("/proc/self/loginuid").map_or("", |_| "user root;");
        let text = format!(
            "load_module {MODULE};\ndaemon off;\n{user}\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/error.log error;\n\
             events {{ worker_connections 8192; }}\n\
             rtmp {{ server {{ listen 127.0.0.1:{rtmp}; application live {{ live on; record off; {hls} }} }} }}\n\
             http {{ access_log off; types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}\n\
             client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; \
             scgi_temp_path {at}/scgi;\n\
             server {{ listen 127.0.0.1:{http}; location /live {{ alias {at}/hls; add_header Cache-Control no-cache; }} }} }}\n"
        );
        let conf = dir.path().join("nginx.conf");
        fs::write(&conf, text)?;
        Running::start(&[PROGRAM, "-p", &at.to_string(), "-c", &conf.to_string_lossy()], ports, rtmp, dir)
    }
}

/// Debian's package knows it, the module does not tell.
fn module_version() -> String {
    let said = Command::new("dpkg-query").args(["-W", "-f", "${Version}", "libnginx-mod-rtmp"]).output();
    said.map_or_else(|_| String::new(), |said| format!(", libnginx-mod-rtmp {}", String::from_utf8_lossy(&said.stdout).trim()))
}

pub(super) fn urls(workload: &Workload) -> Option<Urls> {
    let url = |kind| match kind {
        Kind::RtmpPublish | Kind::RtmpPlay => Some("rtmp://127.0.0.1:{rtmp}/live/bench".to_owned()),
        Kind::HlsPlay => Some("http://127.0.0.1:{http}/live/bench.m3u8".to_owned()),
        Kind::WebrtcPlay | Kind::WebrtcPublish | Kind::FlvPlay => None,
    };
    // It has one way to play, whose latency is as low as it gets.
    let (Tuning::Default | Tuning::LowLatency) = workload.tuning;
    Some(Urls { publish: url(workload.source)?, play: url(workload.clients)? })
}
