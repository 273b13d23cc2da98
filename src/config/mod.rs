//! Configuration: SRS's syntax and environment to a typed, validated [`Config`], in two steps.
//!
//! 1. A file is read to a tree (`syntax`, `include`), older ways of writing are brought up to date
//!    (`legacy`), and the tree and the environment are held against the table of all directives
//!    (`table`, `check`): unknown, misplaced, duplicated and ill-typed ones, all at once. What stands
//!    is laid down by path and vhost (`settings`).
//! 2. Each section reads its settings to a struct of its own, and what is wrong together is found
//!    (`contradictions`).
//!
//! A section is one file: its rows in `ROWS`, its struct, and `read`. To add one: write the file,
//! name its `ROWS` in `table`, and read it here, or in `vhost` if vhosts differ in it. Checks, environment
//! names, `config explain`, reload's differences and `conf/full.conf` (written by `weir config full`,
//! a test holds it against the table) need nothing more. A row that works loses its `not_yet` or
//! `without_effect` in the same change that makes it work.

mod acme;
mod check;
mod contradictions;
mod environment;
mod explain;
mod exporter;
mod heartbeat;
mod hls;
mod hooks;
mod http_api;
mod http_server;
mod include;
mod legacy;
mod limits;
mod listen;
mod play;
mod process;
mod publish;
mod refer;
mod remux;
mod rtc;
mod rtc_server;
mod rtmp;
mod security;
mod settings;
mod stats;
mod suggest;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod unbuilt;
mod value;
mod vhost;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use weir_source::{PerVhost, Vhosts};

pub use acme::Acme;
pub use environment::Environment;
pub use explain::Change;
pub use exporter::Exporter;
pub use heartbeat::Heartbeat;
pub use hls::Hls;
pub use http_api::{BasicAuth, HttpApi, Token};
pub use http_server::HttpServer;
pub use limits::Limits;
pub use play::Play;
pub use process::{Level, Log, Process};
pub use publish::Publish;
pub use remux::Remux;
pub use rtc::Rtc;
pub use rtc_server::RtcServer;
pub use rtmp::Rtmp;
pub use settings::Origin;
pub use stats::Stats;
pub use syntax::Place;
pub use tls::TlsListener;
pub use vhost::Vhost;

use settings::Settings;
use syntax::Directive;

/// Without a file: loopback only, everything on.
const BUILT_IN: &str = include_str!("built_in.conf");
/// With the environment alone, unless it says otherwise: as SRS, and RTMP's port.
const ENVIRONMENT_ONLY: &str = "listen 1935;\nvhost __defaultVhost__ {\n}\n";
/// UDP addresses of WebRTC; each worker has a socket for each.
const LISTEN_MAX: usize = 4;

/// All that the server can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// RTMP's listeners.
    pub rtmp: Rtmp,
    /// The process.
    pub process: Process,
    /// The log.
    pub log: Log,
    /// Telling another server that this one lives.
    pub heartbeat: Option<Heartbeat>,
    /// What the summaries tell of.
    pub stats: Stats,
    /// The JSON API and WebRTC's signalling.
    pub http_api: HttpApi,
    /// HTTP-FLV, HLS, pages and files.
    pub http_server: HttpServer,
    /// Certificates from an authority.
    pub acme: Acme,
    /// WebRTC's media.
    pub rtc_server: RtcServer,
    /// Metrics.
    pub exporter: Option<Exporter>,
    /// How often one address may begin something.
    pub limits: Limits,
    /// Which vhosts there are.
    pub names: Vhosts,
    /// How each is set.
    pub vhosts: PerVhost<Vhost>,
    settings: Settings,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built in: loopback only, everything on.
    BuiltIn,
    /// The environment alone, as `-e` has it.
    EnvironmentOnly,
    /// A file.
    File(PathBuf),
}

impl Source {
    /// What the command line says, unless the environment says something else.
    pub fn of(file: Option<&Path>, environment_only: bool, environment: &Environment) -> Self {
        match (environment_only || environment.is_alone(), environment.config_file(), file) {
            (true, ..) => Self::EnvironmentOnly,
            (false, Some(file), _) => Self::File(file.into()),
            (false, None, Some(file)) => Self::File(file.to_owned()),
            (false, None, None) => Self::BuiltIn,
        }
    }
}

/// A mistake, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The place in a file, or the variable.
    pub origin: Origin,
    /// What is wrong; it names the directive.
    pub text: String,
}

impl Mistake {
    fn at(place: &Place, text: impl Into<String>) -> Self {
        Self { origin: Origin::File(place.clone()), text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::Default => f.write_str(&self.text),
            _ => write!(f, "{}: {}", self.origin, self.text),
        }
    }
}

/// Why a configuration was refused.
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
    /// All mistakes, a line each.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Mistake>),
}

impl Config {
    /// Reads a configuration, and looks up the names among its candidates. The second value holds
    /// warnings: what is valid and does nothing, or surprises.
    pub fn load(source: &Source, environment: &Environment) -> Result<(Self, Vec<String>), ConfigError> {
        let (tree, mistakes) = match source {
            Source::BuiltIn => include::parse("built-in", BUILT_IN),
            Source::EnvironmentOnly => include::parse("-e", ENVIRONMENT_ONLY),
            Source::File(path) => include::load(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?,
        };
        let (mut config, notes) = Self::of(tree, mistakes, environment)?;
        let origin = config.settings.server("rtc_server").origin("candidate");
        match config.rtc_server.resolve(&origin) {
            mistakes if mistakes.is_empty() => Ok((config, notes)),
            mistakes => Err(ConfigError::Invalid(mistakes)),
        }
    }

    /// Parses `text`, which may include nothing; `name` is that of its file in messages. Names among
    /// the candidates stay names.
    pub fn parse(name: &str, text: &str, environment: &Environment) -> Result<(Self, Vec<String>), ConfigError> {
        let (tree, mistakes) = include::parse(name, text);
        Self::of(tree, mistakes, environment)
    }

    fn of(
        mut tree: Vec<Directive>,
        mut mistakes: Vec<Mistake>,
        environment: &Environment,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        if !mistakes.is_empty() {
            // Half a file would only bring more of them.
            return Err(ConfigError::Invalid(mistakes));
        }
        let mut notes = Vec::new();
        legacy::modernise(&mut tree, &mut notes);
        let found = check::check(&tree, environment);
        mistakes.extend(found.mistakes);
        notes.extend(found.notes);
        let config = Self::read(found.settings, environment);
        contradictions::check(&config, &config.settings, &mut mistakes, &mut notes);
        if mistakes.is_empty() { Ok((config, notes)) } else { Err(ConfigError::Invalid(mistakes)) }
    }

    fn read(settings: Settings, environment: &Environment) -> Self {
        let (names, vhosts) = vhost::read(&settings);
        Self {
            rtmp: rtmp::read(&settings),
            process: process::read(&settings),
            log: process::read_log(&settings),
            heartbeat: heartbeat::read(&settings),
            stats: stats::read(&settings),
            http_api: http_api::read(&settings),
            http_server: http_server::read(&settings),
            acme: acme::read(&settings),
            rtc_server: rtc_server::read(&settings, environment),
            exporter: exporter::read(&settings),
            limits: limits::read(&settings),
            names,
            vhosts,
            settings,
        }
    }

    /// What every directive is set to and who said so, a line each.
    pub fn explain(&self) -> String {
        explain::explain(&self.settings)
    }

    /// The directives whose values are others than in `old`.
    pub fn diff(old: &Self, new: &Self) -> Vec<Change> {
        explain::diff(&old.settings, &new.settings)
    }

    /// A file with every directive, its default and what it does.
    pub fn full() -> String {
        explain::full()
    }
}

/// Any text as a configuration, for the fuzzer (`fuzz/`) and the test that replays its corpus. What
/// must hold of a tree, it asserts.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(tree) = syntax::parse("fuzz", text) else { return };
    let printed = syntax::print(&tree);
    let again = syntax::parse("fuzz", &printed).expect("a printed tree is a configuration");
    assert_eq!(syntax::print(&again), printed, "printing and parsing give the same tree");
    let environment = Environment::of([("CANDIDATE", "192.0.2.1"), ("SRS_VHOST_HLS_ENABLED", "on")]);
    if let Ok((config, _)) = Config::parse("fuzz", text, &environment) {
        assert_eq!(Config::diff(&config, &config), []);
        assert!(!config.explain().is_empty());
    }
}
