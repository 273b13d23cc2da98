//! The process: files, log, how it starts and ends.

use std::{path::PathBuf, time::Duration};

use super::{
    settings::Settings,
    table::{Kind, Row},
};

/// A day: longer waits are slips.
const WAIT_MS_MAX: f64 = 86_400_000.0;
const NO_CHILDREN: &str = "no ffmpeg is started yet";
const NO_BREAKER: &str = "load is met by dropping at each viewer's queue";

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "max_connections",
        Kind::Number(1, 1_000_000),
        "1000",
        "RTMP and HTTP-FLV clients at one time, and TCP connections for each listener",
    ),
    Row::new("daemon", Kind::Flag, "off", "Go to the background (SRS: on)"),
    Row::new("pid", Kind::Path, "", "The file for the process id; nothing: none (SRS: ./objs/srs.pid)"),
    Row::new("work_dir", Kind::Path, "./", "Change to this folder at the start"),
    Row::new("asprocess", Kind::Flag, "off", "End when the parent process has ended")
        .without_effect("a service manager does that"),
    Row::new("server_id", Kind::Text, "", "The name of this server in the API and in callbacks; nothing: made up and kept"),
    Row::new("srs_log_tank", Kind::Choice(&["console", "file"]), "console", "Where the log goes (SRS: file)"),
    Row::new("srs_log_file", Kind::Path, "./objs/srs.log", "The log file, for srs_log_tank file"),
    Row::new(
        "srs_log_level",
        Kind::Checked(level),
        "trace",
        "verbose, info, trace, warn or error, in SRS's sense: trace is usual",
    ),
    Row::new(
        "srs_log_level_v2",
        Kind::Checked(level_v2),
        "",
        "trace, debug, info, warn or error, in the common sense; goes before srs_log_level",
    ),
    Row::new("utc_time", Kind::Flag, "off", "Log in UTC rather than local time"),
    Row::new("log_format", Kind::Choice(&["srs", "json"]), "srs", "What a line of the log looks like. Weir's own"),
    Row::new("pithy_print_ms", Kind::Millis(0.0, WAIT_MS_MAX), "10000", "How often a client's line is logged, in milliseconds"),
    Row::new("ff_log_dir", Kind::Path, "./objs", "Where ffmpeg's logs go").without_effect(NO_CHILDREN),
    Row::new("ff_log_level", Kind::Text, "info", "ffmpeg's log level").without_effect(NO_CHILDREN),
    Row::new("in_docker", Kind::Flag, "off", "Behave as in a container"),
    Row::new("disable_daemon_for_docker", Kind::Flag, "on", "Stay in the foreground in a container"),
    Row::new("auto_reload_for_docker", Kind::Flag, "on", "Watch in a container as inotify_auto_reload does"),
    Row::new(
        "inotify_auto_reload",
        Kind::Flag,
        "off",
        "Reload when the configuration file changes, or one that it includes or names",
    ),
    Row::new("grace_start_wait", Kind::Millis(0.0, WAIT_MS_MAX), "2300", "SIGQUIT: milliseconds before new clients are refused"),
    Row::new(
        "grace_final_wait",
        Kind::Millis(0.0, WAIT_MS_MAX),
        "3200",
        "SIGQUIT: milliseconds from the last client's end to the server's",
    ),
    Row::new(
        "grace_drain_max",
        Kind::Seconds(0.0, 86_400.0),
        "30",
        "SIGQUIT: seconds that clients are waited for at most; 0: for ever. Weir's own",
    ),
    Row::new("force_grace_quit", Kind::Flag, "off", "Take SIGTERM for SIGQUIT"),
    Row::new("empty_ip_ok", Kind::Flag, "on", "Take connections whose address is not known")
        .without_effect("every connection has an address"),
    Row::new("tcmalloc_release_rate", Kind::Decimal(0.0, 10.0), "0.8", "Of an allocator")
        .without_effect("another allocator is used"),
    Row::new("query_latest_version", Kind::Flag, "off", "Ask for new versions").without_effect("nobody is asked"),
    Row::new("first_wait_for_qlv", Kind::Seconds(0.0, 86_400.0), "300", "Seconds before that").without_effect("nobody is asked"),
    Row::new("is_full", Kind::Flag, "off", "SRS's mark of its full.conf").without_effect("it is a mark"),
    Row::new("threads", Kind::Free, "", "Intervals of SRS's threads; any are taken"),
    Row::new("tencentcloud_cls", Kind::Free, "", "Logs for a cloud; any are taken, none are sent"),
    Row::new("tencentcloud_apm", Kind::Free, "", "Traces for a cloud; any are taken, none are sent"),
    Row::block("circuit_breaker", "What SRS leaves out under load"),
    Row::new("circuit_breaker.enabled", Kind::Flag, "on", "Leave out").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.high_threshold", Kind::Number(0, 100), "90", "Per cent of a core").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.high_pulse", Kind::Number(0, 3_600), "2", "Seconds of it").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.critical_threshold", Kind::Number(0, 100), "95", "Per cent of a core").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.critical_pulse", Kind::Number(0, 3_600), "1", "Seconds of it").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.dying_threshold", Kind::Number(0, 100), "99", "Per cent of a core").without_effect(NO_BREAKER),
    Row::new("circuit_breaker.dying_pulse", Kind::Number(0, 3_600), "5", "Seconds of it").without_effect(NO_BREAKER),
];

/// How the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The most RTMP and HTTP-FLV clients at one time, and TCP connections for each listener.
    pub max_connections: usize,
    /// Go to the background.
    pub daemon: bool,
    /// The file for the process id.
    pub pid: Option<PathBuf>,
    /// The folder to change to.
    pub work_dir: PathBuf,
    /// The server's name; `None`: to be made up and kept.
    pub server_id: Option<String>,
    /// Behave as in a container.
    pub in_docker: bool,
    /// Stay in the foreground in a container.
    pub disable_daemon_for_docker: bool,
    /// Watch the configuration file in a container.
    pub auto_reload_for_docker: bool,
    /// Watch the configuration file.
    pub inotify_auto_reload: bool,
    /// SIGQUIT: before new clients are refused.
    pub grace_start_wait: Duration,
    /// SIGQUIT: from the last client's end to the server's.
    pub grace_final_wait: Duration,
    /// SIGQUIT: the longest that clients are waited for; zero: for ever.
    pub grace_drain_max: Duration,
    /// Take SIGTERM for SIGQUIT.
    pub force_grace_quit: bool,
}

/// What is logged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The file; `None`: the console.
    pub file: Option<PathBuf>,
    /// The least that is logged.
    pub level: Level,
    /// Lines are JSON objects.
    pub json: bool,
    /// Times are in UTC rather than local.
    pub utc: bool,
    /// How often a client's line is logged.
    pub client_interval: Duration,
}

/// How grave a line is, in the common sense of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// All.
    Trace,
    /// What a developer looks for.
    Debug,
    /// What happens: SRS's `trace`.
    Info,
    /// What an operator can act on.
    Warn,
    /// What has failed.
    Error,
}

impl Level {
    /// Its name, which is also a filter of `tracing`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// SRS's words: its `trace` is what others call info, its `info` debug.
    fn of_srs(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "verbose" | "verb" => Some(Self::Trace),
            "info" | "debug" => Some(Self::Debug),
            "trace" => Some(Self::Info),
            "warn" => Some(Self::Warn),
            "error" => Some(Self::Error),
            _ => None,
        }
    }

    fn common(word: &str) -> Option<Self> {
        let all = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];
        all.into_iter().find(|level| word.eq_ignore_ascii_case(level.name()))
    }
}

fn level(word: &str) -> Result<(), String> {
    let known = Level::of_srs(word).map(|_| ());
    known.ok_or_else(|| format!("must be one of verbose, info, trace, warn, error, not '{word}'"))
}

fn level_v2(word: &str) -> Result<(), String> {
    let known = Level::common(word).map(|_| ());
    known.ok_or_else(|| format!("must be one of trace, debug, info, warn, error, not '{word}'"))
}

pub(super) fn read(settings: &Settings) -> Process {
    let server = settings.server("");
    let path = |name| Some(server.path(name)).filter(|path| !path.as_os_str().is_empty());
    Process {
        max_connections: server.number("max_connections"),
        daemon: server.flag("daemon"),
        pid: path("pid"),
        work_dir: path("work_dir").unwrap_or_else(|| "./".into()),
        server_id: Some(server.text("server_id")).filter(|id| !id.is_empty()),
        in_docker: server.flag("in_docker"),
        disable_daemon_for_docker: server.flag("disable_daemon_for_docker"),
        auto_reload_for_docker: server.flag("auto_reload_for_docker"),
        inotify_auto_reload: server.flag("inotify_auto_reload"),
        grace_start_wait: server.millis("grace_start_wait"),
        grace_final_wait: server.millis("grace_final_wait"),
        grace_drain_max: server.seconds("grace_drain_max"),
        force_grace_quit: server.flag("force_grace_quit"),
    }
}

pub(super) fn read_log(settings: &Settings) -> Log {
    let server = settings.server("");
    let v2 = Level::common(&server.text("srs_log_level_v2"));
    Log {
        file: (server.text("srs_log_tank") == "file").then(|| server.path("srs_log_file")),
        level: v2.or_else(|| Level::of_srs(&server.text("srs_log_level"))).unwrap_or(Level::Info),
        json: server.text("log_format") == "json",
        utc: server.flag("utc_time"),
        client_interval: server.millis("pithy_print_ms"),
    }
}
