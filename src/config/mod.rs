//! Configuration: SRS's syntax to a typed, validated [`Config`].

mod listen;
mod reading;
mod syntax;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use weir_rtc::Protocols;

use crate::{log::LogConfig, process::ProcessConfig};

/// The largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// All that the server can be told, with defaults that listen on loopback only.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where RTMP listens.
    pub rtmp: Vec<SocketAddr>,
    /// RTMP chunk size towards clients, in bytes (SRS: 60000).
    pub chunk_size: usize,
    /// The most TCP connections per listener (SRS: 1000).
    pub max_connections: usize,
    /// Where the HTTP API and WHIP/WHEP listen.
    pub http_api: Vec<SocketAddr>,
    /// Where HTTP-FLV, HLS and the pages listen.
    pub http_server: Vec<SocketAddr>,
    /// The WebRTC media port; one address.
    pub rtc: Option<SocketAddr>,
    /// Where ICE over TCP listens; one address.
    pub rtc_tcp: Option<SocketAddr>,
    /// Which kinds of candidates to offer (SRS: udp).
    pub protocol: Protocols,
    /// Candidates to offer; empty: all usable addresses of this machine.
    pub candidates: Vec<IpAddr>,
    /// WebRTC worker threads; 0: one per core.
    pub workers: usize,
    /// Kernel buffers of the media socket, in bytes.
    pub rtc_buffer: usize,
    /// The longest that busy WebRTC workers gather a viewer's packets; zero: never.
    pub rtc_coalesce: Duration,
    /// RTMP publishers reach WebRTC players.
    pub rtmp_to_rtc: bool,
    /// WebRTC publishers reach RTMP, FLV and HLS players.
    pub rtc_to_rtmp: bool,
    /// HTTP-FLV is served.
    pub flv: bool,
    /// HLS is served.
    pub hls: bool,
    /// The target length of an HLS segment.
    pub hls_fragment: Duration,
    /// How much media an HLS playlist holds.
    pub hls_window: Duration,
    /// Log set-up.
    pub log: LogConfig,
    /// What concerns the process.
    pub process: ProcessConfig,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            rtmp: vec![loopback(1935)],
            chunk_size: 60_000,
            max_connections: 1_000,
            http_api: vec![loopback(1985)],
            http_server: vec![loopback(8080)],
            rtc: Some(loopback(8000)),
            rtc_tcp: None,
            protocol: Protocols::Udp,
            candidates: Vec::new(),
            workers: 0,
            rtc_buffer: 16 << 20,
            rtc_coalesce: Duration::from_millis(20),
            rtmp_to_rtc: true,
            rtc_to_rtmp: true,
            flv: true,
            hls: true,
            hls_fragment: Duration::from_secs(2),
            hls_window: Duration::from_secs(12),
            log: LogConfig::default(),
            process: ProcessConfig::default(),
        }
    }
}

/// Why a configuration was refused. The text names file, line, column and directive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The text has mistakes; all of them, a line each.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads a file, or takes the built-in default where there is none; then the environment's
    /// `CANDIDATE` (addresses separated by commas or spaces), which goes before configured ones, and
    /// `SRS_RTC_SERVER_PROTOCOL`, `SRS_RTC_SERVER_TCP_ENABLED` and `SRS_RTC_SERVER_TCP_LISTEN`, which
    /// stand for the directives of these names. The second value holds warnings for directives that are valid but have no effect.
    pub fn load(path: Option<&Path>) -> Result<(Self, Vec<String>), ConfigError> {
        let (mut config, notes) = match path {
            None => (Self::default(), Vec::new()),
            Some(path) => Self::parse(&path.display().to_string(), &read(path)?)?,
        };
        if let Ok(text) = std::env::var("CANDIDATE") {
            let named = reading::candidates_of_environment("CANDIDATE", &text).map_err(ConfigError::Invalid)?;
            config.candidates.splice(0..0, named);
        }
        config.overlay(|name| std::env::var(name).ok()).map_err(ConfigError::Invalid)?;
        Ok((config, notes))
    }

    /// What the environment says of ICE over TCP.
    fn overlay(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        if let Some(word) = variable("SRS_RTC_SERVER_PROTOCOL") {
            self.protocol = reading::protocols(&word).ok_or("SRS_RTC_SERVER_PROTOCOL: must be udp, tcp or all")?;
        }
        if let Some(text) = variable("SRS_RTC_SERVER_TCP_LISTEN") {
            let addr = listen::parse(&text).map_err(|reason| format!("SRS_RTC_SERVER_TCP_LISTEN: {reason}"))?;
            self.rtc_tcp = self.rtc_tcp.map(|_| addr);
            if variable("SRS_RTC_SERVER_TCP_ENABLED").as_deref() == Some("on") {
                self.rtc_tcp = Some(addr);
            }
        }
        match variable("SRS_RTC_SERVER_TCP_ENABLED").as_deref() {
            None => {}
            Some("on") => self.rtc_tcp = self.rtc_tcp.or(self.rtc),
            Some("off") => self.rtc_tcp = None,
            Some(_) => return Err("SRS_RTC_SERVER_TCP_ENABLED: must be on or off".to_owned()),
        }
        if self.rtc.is_some() && self.protocol != Protocols::Udp && self.rtc_tcp.is_none() {
            return Err("SRS_RTC_SERVER_PROTOCOL: this protocol needs SRS_RTC_SERVER_TCP_ENABLED=on".to_owned());
        }
        Ok(())
    }

    /// Parses `text`; `name` stands before each place in messages.
    pub fn parse(name: &str, text: &str) -> Result<(Self, Vec<String>), ConfigError> {
        let tree = syntax::parse(text).map_err(|error| ConfigError::Invalid(format!("{name}:{error}")))?;
        let mut reading = reading::Reading::new(name);
        let config = reading.config(&tree);
        reading.finish().map(|notes| (config, notes))
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let fail = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_default_listens_on_loopback_only() {
        let config = Config::default();
        let all = config.rtmp.iter().chain(&config.http_api).chain(&config.http_server).chain(&config.rtc);
        assert!(all.clone().count() == 4 && all.into_iter().all(|addr| addr.ip().is_loopback()));
    }

    #[test]
    fn the_sample_loads_without_a_note() {
        let (config, notes) = Config::parse("weir.conf", include_str!("../../conf/weir.conf")).unwrap();
        assert_eq!(notes, [""; 0]);
        assert_eq!(config.rtmp, ["0.0.0.0:1935".parse::<SocketAddr>().unwrap()]);
        assert_eq!(config.rtc, Some("0.0.0.0:8000".parse::<SocketAddr>().unwrap()));
        assert!(config.rtmp_to_rtc && config.rtc_to_rtmp && config.hls && config.flv);
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let text = "listen 1935 99999;\nfrobnicate 1;\nvhost __defaultVhost__ {\n  rtc { rtmp_to_rtc maybe; }\n  hls { hls_fragment -1; hls_fragmnt 2; }\n}\n";
        let error = Config::parse("a.conf", text).unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        assert!(lines[0].starts_with("a.conf:1:1: listen:"), "{error}");
        assert!(lines[1].starts_with("a.conf:2:1: unknown directive 'frobnicate'"), "{error}");
        assert!(lines[2].starts_with("a.conf:4:9: rtmp_to_rtc:"), "{error}");
        assert!(lines[3].starts_with("a.conf:5:9: hls_fragment:"), "{error}");
        assert!(lines[4].contains("'hls_fragmnt'") && lines[4].contains("'hls_fragment'"), "a suggestion: {error}");
    }

    #[test]
    fn what_srs_knows_and_has_no_effect_here_is_a_note() {
        let (_, notes) =
            Config::parse("a.conf", "listen 1935;\ndaemon off;\nsrs_log_tank console;\npid ./objs/srs.pid;\n").unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("a.conf:4:1: pid"));
    }

    #[test]
    fn what_would_expose_media_if_ignored_is_refused() {
        let text = "listen 1935;\nvhost __defaultVhost__ {\n security { enabled on; deny publish all; }\n}\n";
        let error = Config::parse("a.conf", text).unwrap_err().to_string();
        assert!(error.contains("a.conf:3:2: security"), "{error}");
    }

    #[test]
    fn sections_that_are_off_do_not_listen() {
        let (config, _) =
            Config::parse("a.conf", "listen 127.0.0.1:2935;\nhttp_api { enabled off; }\nrtc_server { enabled off; }\n").unwrap();
        assert_eq!(config.rtmp, ["127.0.0.1:2935".parse::<SocketAddr>().unwrap()]);
        assert!(config.http_api.is_empty() && config.http_server.is_empty() && config.rtc.is_none());
    }

    #[test]
    fn ice_over_tcp_is_off_until_enabled_and_has_the_port_of_udp() {
        let of =
            |text: &str| Config::parse("a.conf", &format!("rtc_server {{ enabled on; {text} }}\n")).map(|(config, _)| config);
        let addr = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        let config = of("tcp { listen 8000; }").unwrap();
        assert_eq!((config.rtc_tcp, config.protocol), (None, Protocols::Udp), "as in SRS");
        assert_eq!(of("listen 127.0.0.1:9000; tcp { enabled on; }").unwrap().rtc_tcp, addr("127.0.0.1:9000"));
        let config = of("tcp { enabled on; listen 8001; } protocol tcp;").unwrap();
        assert_eq!((config.rtc_tcp, config.protocol), (addr("0.0.0.0:8001"), Protocols::Tcp));
        for (text, word) in [("protocol sctp;", "protocol"), ("protocol all;", "tcp"), ("tcp { enabeld on; }", "enabled")] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(Config::parse("a.conf", "rtc_server { enabled off; tcp { enabled on; } }").unwrap().0.rtc_tcp.is_none());
    }

    #[test]
    fn the_environment_enables_ice_over_tcp() {
        let overlaid = |pairs: &[(&str, &str)]| {
            let mut config = Config::default();
            let find = |name: &str| pairs.iter().find(|(key, _)| name == format!("SRS_RTC_SERVER_{key}"));
            config.overlay(|name| find(name).map(|(_, value)| (*value).to_owned())).map(|()| (config.rtc_tcp, config.protocol))
        };
        let addr = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(overlaid(&[]), Ok((None, Protocols::Udp)));
        let (enabled, listen) = (("TCP_ENABLED", "on"), ("TCP_LISTEN", "8001"));
        assert_eq!(overlaid(&[enabled, ("PROTOCOL", "all")]), Ok((addr("127.0.0.1:8000"), Protocols::All)));
        assert_eq!(overlaid(&[enabled, listen]), Ok((addr("0.0.0.0:8001"), Protocols::Udp)));
        assert_eq!(overlaid(&[listen]), Ok((None, Protocols::Udp)));
        for bad in [("PROTOCOL", "tcp"), ("PROTOCOL", "x"), ("TCP_ENABLED", "yes"), ("TCP_LISTEN", "x")] {
            assert!(overlaid(&[bad]).is_err(), "{bad:?}");
        }
    }
}
