//! Janus with its VideoRoom plugin, as Debian packages it.

use std::{fmt::Write as _, fs, process::Command};

use tempfile::TempDir;

use super::{Ports, Running};
use crate::compare::{measured::Urls, workload::Workload};

const PROGRAM: &str = "/usr/bin/janus";
/// One for each publisher that a workload may have: those in one room would all be told of each other.
const ROOMS: usize = 1_500;
/// What else there is of plugins and transports, and is not needed.
const UNUSED_PLUGINS: [&str; 11] = [
    "audiobridge",
    "duktape",
    "echotest",
    "lua",
    "nosip",
    "recordplay",
    "sip",
    "streaming",
    "textroom",
    "videocall",
    "voicemail",
];
const UNUSED_TRANSPORTS: [&str; 5] = ["mqtt", "nanomsg", "pfunix", "rabbitmq", "websockets"];

#[derive(Debug)]
pub(in crate::compare) struct Janus {
    version: String,
}

impl Janus {
    pub(super) fn find() -> Option<Self> {
        let said = Command::new(PROGRAM).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout);
        let version =
            text.lines().find_map(|line| line.strip_prefix("Janus version: ")).unwrap_or("of an unknown version").to_owned();
        Some(Self { version })
    }

    pub(super) fn describe(&self) -> String {
        format!("Janus: {}, VideoRoom plugin, a room for each publisher, no bitrate cap, its defaults otherwise", self.version)
    }

    pub(super) fn start(&self) -> anyhow::Result<Running> {
        let (ports, dir) = (Ports::free()?, TempDir::new()?);
        let list = |names: &[&str]| names.iter().map(|name| format!("libjanus_{name}.so")).collect::<Vec<_>>().join(",");
        let at = dir.path();
        let general = format!(
            "general: {{\n  configs_folder = \"{}\"\n  debug_level = 2\n}}\nmedia: {{ rtp_port_range = \"20000-60000\" }}\n\
             plugins: {{ disable = \"{}\" }}\ntransports: {{ disable = \"{}\" }}\n",
            at.display(),
            list(&UNUSED_PLUGINS),
            list(&UNUSED_TRANSPORTS)
        );
        fs::write(at.join("janus.jcfg"), general)?;
        let http = format!(
            "general: {{\n  json = \"compact\"\n  base_path = \"/janus\"\n  http = true\n  port = {}\n  ip = \"127.0.0.1\"\n  https = false\n}}\n",
            ports.api
        );
        fs::write(at.join("janus.transport.http.jcfg"), http)?;
        let mut rooms = String::from("general: { }\n");
        for room in 0..ROOMS {
            let _ = writeln!(
                rooms,
                "room-1{room}: {{ publishers = 1\n  bitrate = 0\n  fir_freq = 0\n  audiocodec = \"opus\"\n  videocodec = \"h264\" }}"
            );
        }
        fs::write(at.join("janus.plugin.videoroom.jcfg"), rooms)?;
        let folder = format!("--configs-folder={}", at.display());
        Running::start(&[PROGRAM, &folder], ports, ports.api, dir)
    }
}

pub(super) fn urls(workload: &Workload) -> Option<Urls> {
    if !workload.source.is_webrtc() || !workload.clients.is_webrtc() {
        return None;
    }
    // Rooms count from 1: theirs are 10, 11, 12 …
    let room = if workload.streams() == 1 { "10" } else { "1{n}" };
    let url = format!("janus://127.0.0.1:{{api}}/janus?room={room}&feed=1");
    Some(Urls { publish: url.clone(), play: url })
}
