//! The servers: how each is configured, started and reached.

mod janus;
mod nginx;
mod weir;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use super::{
    CompareArgs,
    measured::Urls,
    workload::{Tuning, Workload},
};
use crate::{clients::Kind, plan::args::numbered};

/// A server listens by then.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// And has ended by then, or is killed.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// One server to compare.
#[derive(Debug)]
pub(super) enum Peer {
    Weir(weir::Weir),
    Nginx(nginx::Nginx),
    Janus(janus::Janus),
    Foreign(Foreign),
}

impl Peer {
    /// Those that were asked for and are there.
    pub(super) fn all(args: &CompareArgs) -> Vec<Self> {
        let wanted = |name: &str| !args.without.iter().any(|without| without == name);
        let mut peers = Vec::new();
        if wanted("weir") {
            peers.push(Self::Weir(weir::Weir::new(&args.weir)));
        }
        peers.extend(nginx::Nginx::find().filter(|_| wanted("nginx")).map(Self::Nginx));
        peers.extend(janus::Janus::find().filter(|_| wanted("janus")).map(Self::Janus));
        peers.extend(args.peers.iter().cloned().map(Self::Foreign));
        peers
    }

    pub(super) fn is_weir(&self) -> bool {
        matches!(self, Self::Weir(_))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Weir(_) => "Weir",
            Self::Nginx(_) => "nginx",
            Self::Janus(_) => "Janus",
            Self::Foreign(foreign) => &foreign.name,
        }
    }

    /// What it is and how it is set up, in a line.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Weir(weir) => weir.describe(),
            Self::Nginx(nginx) => nginx.describe(),
            Self::Janus(janus) => janus.describe(),
            Self::Foreign(foreign) => format!("{}: process {}, run and set up by the user", foreign.name, foreign.pid),
        }
    }

    /// Where a workload finds it, with the names of ports in place of them. `None`: it does not do that.
    pub(super) fn urls(&self, workload: &Workload) -> Option<Urls> {
        match self {
            Self::Weir(_) => Some(weir::urls(workload)),
            Self::Nginx(_) => nginx::urls(workload),
            Self::Janus(_) => janus::urls(workload),
            Self::Foreign(foreign) => foreign.urls(workload),
        }
    }

    /// Starts it alone, on core 0.
    pub(super) fn start(&self, workload: &Workload) -> anyhow::Result<Running> {
        match self {
            Self::Weir(weir) => weir.start(workload),
            Self::Nginx(nginx) => nginx.start(workload),
            Self::Janus(janus) => janus.start(),
            Self::Foreign(foreign) => Ok(Running { child: None, pid: foreign.pid, ports: None, _dir: None }),
        }
    }
}

/// Free ports of loopback.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    rtmp: u16,
    api: u16,
    http: u16,
    rtc: u16,
}

impl Ports {
    fn free() -> anyhow::Result<Self> {
        // All are held until the last is found, so that none comes twice.
        let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let port = |n: usize| held.get(n).and_then(|listener| listener.local_addr().ok()).map_or(0, |addr| addr.port());
        Ok(Self { rtmp: port(0), api: port(1), http: port(2), rtc: port(3) })
    }
}

/// A server that runs, until this is dropped if it is ours.
pub(super) struct Running {
    child: Option<Child>,
    pid: u32,
    ports: Option<Ports>,
    _dir: Option<TempDir>,
}

impl Running {
    /// Starts `command` on core 0 and waits until it listens on `ready`.
    fn start(command: &[&str], ports: Ports, ready: u16, dir: TempDir) -> anyhow::Result<Self> {
        let log = fs::File::create(dir.path().join("output"))?;
        let mut started = Command::new("taskset");
        started.args(["-c", "0"]).args(command).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = started.spawn().with_context(|| format!("{} did not start", command.join(" ")))?;
        let mut running = Self { pid: child.id(), child: Some(child), ports: Some(ports), _dir: Some(dir) };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], ready))).is_err() {
            let ended = running.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
            if ended || Instant::now() > deadline {
                bail!("{} does not listen: {}", command.first().unwrap_or(&""), running.last_words());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    fn last_words(&self) -> String {
        let output = self._dir.as_ref().and_then(|dir| fs::read_to_string(dir.path().join("output")).ok()).unwrap_or_default();
        output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
    }

    /// The process and those that it started.
    pub(super) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids = vec![self.pid];
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if parent(&entry.path()) == Some(self.pid) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }

    /// Puts its ports where their names stand.
    pub(super) fn place(&self, urls: &Urls) -> Urls {
        let Some(ports) = self.ports else { return urls.clone() };
        let place = |url: &str| {
            url.replace("{rtmp}", &ports.rtmp.to_string())
                .replace("{api}", &ports.api.to_string())
                .replace("{http}", &ports.http.to_string())
        };
        Urls { publish: place(&urls.publish), play: place(&urls.play) }
    }
}

fn parent(process: &Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    // The name may have blanks and brackets in it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // Asked politely it ends its own processes, too.
        let _asked = Command::new("kill").arg(child.id().to_string()).status();
        let deadline = Instant::now() + END_PATIENCE;
        while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _gone = child.kill();
        let _reaped = child.wait();
    }
}

/// A server of the user's.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    name: String,
    pid: u32,
    urls: Vec<String>,
}

impl FromStr for Foreign {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, rest) = text.split_once('=').context("it wants NAME=URL,pid=PID")?;
        let (mut pid, mut urls) = (None, Vec::new());
        for part in rest.split(',') {
            match part.strip_prefix("pid=") {
                Some(number) => pid = Some(number.parse().with_context(|| format!("{number:?} is no process"))?),
                None => {
                    Kind::of(part, false)?;
                    urls.push(part.to_owned());
                }
            }
        }
        if urls.is_empty() {
            bail!("no URL for {name}");
        }
        Ok(Self { name: name.to_owned(), pid: pid.context("no pid=PID: its CPU time is what is compared")?, urls })
    }
}

impl Foreign {
    fn urls(&self, workload: &Workload) -> Option<Urls> {
        // How it is tuned is its user's business; it is measured once.
        if workload.tuning != Tuning::Default {
            return None;
        }
        let publish = self.find(workload.source, workload.streams())?;
        let play = if workload.clients.publishes() { publish } else { self.find(workload.clients, 1)? };
        Some(Urls { publish: publish.to_owned(), play: play.to_owned() })
    }

    fn find(&self, kind: Kind, streams: usize) -> Option<&str> {
        let suits = |url: &&String| {
            let plays_only = url.contains("/whep") || url.ends_with(".flv") || url.ends_with(".m3u8");
            let publishes_only = url.contains("/whip");
            let direction = if kind.publishes() { !plays_only } else { !publishes_only };
            direction && Kind::of(url, kind.publishes()).is_ok_and(|of| of == kind) && (streams == 1 || numbered(url))
        };
        self.urls.iter().find(suits).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_of_the_users_is_asked_for_what_its_urls_are_for() {
        let srs: Foreign =
            "srs=rtmp://h/live/x,http://h/rtc/v1/whip/?stream=x{n},http://h/rtc/v1/whep/?stream=x,http://h/live/x.flv,pid=7"
                .parse()
                .unwrap();
        assert_eq!((srs.name.as_str(), srs.pid), ("srs", 7));
        assert_eq!(srs.find(Kind::WebrtcPublish, 9), Some("http://h/rtc/v1/whip/?stream=x{n}"));
        assert_eq!(srs.find(Kind::WebrtcPlay, 1), Some("http://h/rtc/v1/whep/?stream=x"));
        assert_eq!(srs.find(Kind::RtmpPublish, 1), Some("rtmp://h/live/x"));
        assert_eq!(srs.find(Kind::RtmpPublish, 2), None, "one stream cannot be published twice");
        assert_eq!(srs.find(Kind::FlvPlay, 1), Some("http://h/live/x.flv"));
        assert_eq!(srs.find(Kind::HlsPlay, 1), None);
        for bad in ["srs", "srs=pid=1", "srs=rtmp://h/live/x", "srs=rtmp://h/live/x,pid=y", "srs=nonsense,pid=1"] {
            assert!(bad.parse::<Foreign>().is_err(), "{bad}");
        }
    }
}
