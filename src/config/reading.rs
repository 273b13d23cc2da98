//! Tree of directives to [`Config`]: names, types and places checked, all mistakes collected.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
    time::Duration,
};

use weir_rtc::Protocols;

use super::{
    Config, ConfigError, listen,
    syntax::{Directive, Place},
};

/// Directives of SRS that change nothing here and whose absence changes nothing for anybody.
const WITHOUT_EFFECT: &[&str] = &[
    "pid",
    "work_dir",
    "asprocess",
    "ff_log_dir",
    "ff_log_level",
    "utc_time",
    "pithy_print_ms",
    "empty_ip_ok",
    "in_docker",
    "disable_daemon_for_docker",
    "auto_reload_for_docker",
    "inotify_auto_reload",
    "grace_start_wait",
    "grace_final_wait",
    "force_grace_quit",
    "server_id",
    "tcmalloc_release_rate",
    "query_latest_version",
    "threads",
    "circuit_breaker",
    "stats",
    "srs_log_file",
    "heartbeat",
    "tcp_nodelay",
    "min_latency",
    "play",
    "publish",
    "chunk_size",
    "reuseport",
    "dir",
    "crossdomain",
    "hls_path",
    "hls_m3u8_file",
    "hls_ts_file",
    "hls_cleanup",
    "hls_dispose",
    "hls_wait_keyframe",
    "mount",
    "nack",
    "twcc",
    "stun_timeout",
    "keep_bframe",
    "opus_bitrate",
    "aac_bitrate",
    "pli_for_rtmp",
    "use_auto_detect_network_ip",
    "ip_family",
    "api_as_candidates",
    "ecdsa",
];

/// Directives of SRS that are not built yet and that must not be ignored: somebody who wrote them
/// would lose or expose media.
const NOT_YET: &[&str] = &[
    "security",
    "http_hooks",
    "refer",
    "forward",
    "cluster",
    "dvr",
    "dash",
    "hds",
    "exec",
    "transcode",
    "ingest",
    "srt",
    "srt_server",
    "rtsp",
    "rtsp_server",
    "rtmps",
    "https",
    "stream_caster",
    "auth",
    "hls_keys",
    "include",
    "exporter",
    "bandcheck",
];

/// Collects mistakes and notes while the tree is read.
pub(crate) struct Reading<'a> {
    name: &'a str,
    mistakes: Vec<String>,
    notes: Vec<String>,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, mistakes: Vec::new(), notes: Vec::new() }
    }

    /// The notes, or all mistakes.
    pub(crate) fn finish(self) -> Result<Vec<String>, ConfigError> {
        if self.mistakes.is_empty() { Ok(self.notes) } else { Err(ConfigError::Invalid(self.mistakes.join("\n"))) }
    }

    /// A file says what listens: what it does not mention is off, as in SRS.
    pub(crate) fn config(&mut self, tree: &[Directive]) -> Config {
        let mut config =
            Config { rtmp: Vec::new(), http_api: Vec::new(), http_server: Vec::new(), rtc: None, ..Config::default() };
        for d in tree {
            match d.name.as_str() {
                "listen" => config.rtmp = self.listens(d),
                "chunk_size" => self.set(d, &mut config.chunk_size, 128..=65_536),
                "max_connections" => self.set(d, &mut config.max_connections, 1..=1_000_000),
                "daemon" => self.daemon(d),
                "srs_log_tank" => self.log_tank(d),
                "srs_log_level" | "srs_log_level_v2" => self.log_level(d, &mut config),
                "http_api" => config.http_api = self.section(d, 1985),
                "http_server" => config.http_server = self.section(d, 8080),
                "rtc_server" => self.rtc_server(d, &mut config),
                "vhost" => self.vhost(d, &mut config),
                _ => self.other(d, &["listen", "http_api", "http_server", "rtc_server", "vhost", "max_connections", "daemon"]),
            }
        }
        config
    }

    fn rtc_server(&mut self, block: &Directive, config: &mut Config) {
        let mut enabled = false;
        let mut tcp = None;
        let mut listens = vec![SocketAddr::from(([0, 0, 0, 0], 8000))];
        for d in &block.children {
            match d.name.as_str() {
                "enabled" => self.flag(d, &mut enabled),
                "listen" => listens = self.listens(d),
                "tcp" => tcp = self.rtc_tcp(d),
                "protocol" => self.protocol(d, config),
                "candidate" => config.candidates = self.candidates(d),
                "workers" if d.args == ["auto"] => config.workers = 0,
                "workers" => self.set(d, &mut config.workers, 1..=256),
                "buffer" => self.set(d, &mut config.rtc_buffer, 65_536..=1 << 30),
                "coalesce" => self.milliseconds(d, &mut config.rtc_coalesce, 0..=20),
                _ => self.other(d, &["enabled", "listen", "tcp", "protocol", "candidate", "workers", "buffer", "coalesce"]),
            }
        }
        if listens.len() > 1 {
            self.mistake(block.place, "rtc_server: one listen address only");
        }
        config.rtc = if enabled { listens.first().copied() } else { None };
        config.rtc_tcp = match tcp {
            Some(written) if enabled => written.or(config.rtc),
            _ => None,
        };
        if enabled && config.protocol != Protocols::Udp && config.rtc_tcp.is_none() {
            self.mistake(block.place, "rtc_server: this protocol needs 'tcp { enabled on; }'");
        }
    }

    /// `None`: it is off. `Some(None)`: on, at the address of UDP.
    fn rtc_tcp(&mut self, block: &Directive) -> Option<Option<SocketAddr>> {
        let (mut enabled, mut listens) = (false, Vec::new());
        for d in &block.children {
            match d.name.as_str() {
                "enabled" => self.flag(d, &mut enabled),
                "listen" => listens = self.listens(d),
                _ => self.other(d, &["enabled", "listen"]),
            }
        }
        if listens.len() > 1 {
            self.mistake(block.place, "tcp: one listen address only");
        }
        enabled.then(|| listens.first().copied())
    }

    fn protocol(&mut self, d: &Directive, config: &mut Config) {
        match d.args.first().and_then(|word| protocols(word)).filter(|_| d.args.len() == 1) {
            Some(protocols) => config.protocol = protocols,
            None => self.mistake(d.place, "protocol: must be udp, tcp or all"),
        }
    }

    fn vhost(&mut self, block: &Directive, config: &mut Config) {
        if block.args != ["__defaultVhost__"] {
            self.mistake(block.place, "vhost: only __defaultVhost__ is supported so far");
        }
        for d in &block.children {
            match d.name.as_str() {
                "enabled" if d.args == ["on"] => {}
                "rtc" => self.block(d, &mut [("rtmp_to_rtc", &mut config.rtmp_to_rtc), ("rtc_to_rtmp", &mut config.rtc_to_rtmp)]),
                "http_remux" => self.block(d, &mut [("enabled", &mut config.flv)]),
                "hls" => self.hls(d, config),
                _ => self.other(d, &["rtc", "http_remux", "hls"]),
            }
        }
    }

    fn hls(&mut self, block: &Directive, config: &mut Config) {
        for d in &block.children {
            match d.name.as_str() {
                "enabled" => self.flag(d, &mut config.hls),
                "hls_fragment" => self.seconds(d, &mut config.hls_fragment, 0.5..=60.0),
                "hls_window" => self.seconds(d, &mut config.hls_window, 2.0..=600.0),
                _ => self.other(d, &["enabled", "hls_fragment", "hls_window"]),
            }
        }
    }

    /// A block of flags; `enabled` may stand in any.
    fn block(&mut self, block: &Directive, flags: &mut [(&str, &mut bool)]) {
        for d in &block.children {
            if let Some((_, flag)) = flags.iter_mut().find(|(name, _)| *name == d.name) {
                self.flag(d, flag);
            } else if d.name != "enabled" {
                let known: Vec<_> = flags.iter().map(|(name, _)| *name).chain(["enabled"]).collect();
                self.other(d, &known);
            }
        }
    }

    /// `enabled` (off by default, as in SRS) and `listen` of an HTTP section.
    fn section(&mut self, block: &Directive, port: u16) -> Vec<SocketAddr> {
        let mut enabled = false;
        let mut listens = vec![SocketAddr::from(([0, 0, 0, 0], port))];
        for d in &block.children {
            match d.name.as_str() {
                "enabled" => self.flag(d, &mut enabled),
                "listen" => listens = self.listens(d),
                _ => self.other(d, &["enabled", "listen"]),
            }
        }
        if enabled { listens } else { Vec::new() }
    }

    fn listens(&mut self, d: &Directive) -> Vec<SocketAddr> {
        let mut listens = Vec::new();
        for arg in &d.args {
            match listen::parse(arg) {
                Ok(addr) => listens.push(addr),
                Err(reason) => self.mistake(d.place, format!("{}: {reason}", d.name)),
            }
        }
        if d.args.is_empty() {
            self.mistake(d.place, "listen: needs a port or ADDRESS:PORT");
        }
        listens
    }

    fn candidates(&mut self, d: &Directive) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for arg in &d.args {
            let outcome = match arg.strip_prefix('$') {
                _ if arg == "*" => Ok(Vec::new()),
                Some(variable) => match std::env::var(variable) {
                    Ok(text) => candidates_of_environment(variable, &text),
                    Err(_) => Ok(Vec::new()),
                },
                None => resolve(arg).map(|ip| vec![ip]),
            };
            match outcome {
                Ok(ips) => found.extend(ips),
                Err(reason) => self.mistake(d.place, format!("candidate: {reason}")),
            }
        }
        found
    }

    fn daemon(&mut self, d: &Directive) {
        let mut on = false;
        self.flag(d, &mut on);
        if on {
            self.note(d.place, "daemon on: the server stays in the foreground; let systemd or a container keep it");
        }
    }

    fn log_tank(&mut self, d: &Directive) {
        if d.args != ["console"] {
            self.note(d.place, "srs_log_tank: the log goes to the console");
        }
    }

    fn log_level(&mut self, d: &Directive, config: &mut Config) {
        let level = d.args.first().map(|level| level.to_ascii_lowercase());
        config.log.filter = match level.as_deref() {
            Some("verbose" | "verb") => "trace".into(),
            Some("info" | "debug") => "debug".into(),
            Some("trace") => "info".into(),
            Some("warn") => "warn".into(),
            Some("error") => "error".into(),
            _ => return self.mistake(d.place, format!("{}: one of verbose, info, trace, warn, error", d.name)),
        };
    }

    fn flag(&mut self, d: &Directive, value: &mut bool) {
        match d.args.as_slice() {
            [arg] if arg == "on" => *value = true,
            [arg] if arg == "off" => *value = false,
            _ => self.mistake(d.place, format!("{}: must be on or off", d.name)),
        }
    }

    fn set<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        d: &Directive,
        value: &mut T,
        range: std::ops::RangeInclusive<T>,
    ) {
        match d.args.as_slice() {
            [arg] => match arg.parse::<T>() {
                Ok(number) if range.contains(&number) => *value = number,
                _ => self.mistake(d.place, format!("{}: must be a number from {} to {}", d.name, range.start(), range.end())),
            },
            _ => self.mistake(d.place, format!("{}: takes one number", d.name)),
        }
    }

    fn seconds(&mut self, d: &Directive, value: &mut Duration, range: std::ops::RangeInclusive<f64>) {
        let mut seconds = value.as_secs_f64();
        self.set(d, &mut seconds, range);
        *value = Duration::from_secs_f64(seconds);
    }

    fn milliseconds(&mut self, d: &Directive, value: &mut Duration, range: std::ops::RangeInclusive<u64>) {
        let mut millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
        self.set(d, &mut millis, range);
        *value = Duration::from_millis(millis);
    }

    fn other(&mut self, d: &Directive, known: &[&str]) {
        let name = d.name.as_str();
        if NOT_YET.contains(&name) {
            if !is_off(d) {
                self.mistake(d.place, format!("{name}: not supported yet, and ignoring it would not be safe"));
            }
        } else if WITHOUT_EFFECT.contains(&name) {
            self.note(d.place, format!("{name}: has no effect here"));
        } else {
            let near = known.iter().filter(|k| distance(k, name) <= 2).min_by_key(|k| distance(k, name));
            let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            self.mistake(d.place, format!("unknown directive '{name}'{hint}"));
        }
    }

    fn mistake(&mut self, place: Place, text: impl AsRef<str>) {
        self.mistakes.push(format!("{}:{place}: {}", self.name, text.as_ref()));
    }

    fn note(&mut self, place: Place, text: impl AsRef<str>) {
        self.notes.push(format!("{}:{place}: {}", self.name, text.as_ref()));
    }
}

/// A block that says `enabled off`, or (SRS's default for all of these) does not say `enabled on`.
fn is_off(d: &Directive) -> bool {
    !d.children.is_empty() && !d.children.iter().any(|child| child.name == "enabled" && child.args == ["on"])
}

/// SRS's words for the candidates to offer.
pub(crate) fn protocols(word: &str) -> Option<Protocols> {
    match word {
        "udp" => Some(Protocols::Udp),
        "tcp" => Some(Protocols::Tcp),
        "all" => Some(Protocols::All),
        _ => None,
    }
}

/// Addresses separated by commas or white space; `*` adds none.
pub(crate) fn candidates_of_environment(variable: &str, text: &str) -> Result<Vec<IpAddr>, String> {
    let parts = text.split([',', ' ']).filter(|part| !part.is_empty() && *part != "*");
    parts.map(|part| resolve(part).map_err(|reason| format!("${variable}: {reason}"))).collect()
}

fn resolve(text: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = text.parse() {
        return Ok(ip);
    }
    let found = (text, 0).to_socket_addrs().map_err(|error| format!("'{text}' is no address and does not resolve: {error}"))?;
    let all: Vec<IpAddr> = found.map(|addr| addr.ip()).collect();
    all.iter().find(|ip| ip.is_ipv4()).or_else(|| all.first()).copied().ok_or_else(|| format!("'{text}' has no address"))
}

/// Edit distance, for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let left = row.get(j).copied().unwrap_or(usize::MAX);
            let best = (diagonal + usize::from(ca != *cb)).min(above.saturating_add(1)).min(left.saturating_add(1));
            diagonal = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}
