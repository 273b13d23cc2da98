//! The process: its folder, its pid file, its limits, and whether it goes to the background. It
//! knows nothing of media and networks.

mod daemon;
mod holder;
mod pid_file;
mod usage;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit};

pub(crate) use holder::in_use;
use pid_file::PidFile;
pub(crate) use usage::Usage;

/// What a configuration says of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Relative paths begin here (`work_dir`). Default: where the program was started.
    pub work_dir: PathBuf,
    /// Holds the process id while the server runs (`pid`); another server with the same one does not
    /// start. Default: none.
    pub pid_file: Option<PathBuf>,
    /// Go to the background once everything listens (`daemon`). Default off.
    pub daemon: bool,
    /// Not in a container: the container would end with the foreground process
    /// (`disable_daemon_for_docker`). Default on.
    pub no_daemon_in_container: bool,
    /// This is a container, whatever it looks like (`in_docker`). Default off.
    pub in_container: bool,
    /// Reload when the file changes (`inotify_auto_reload`). Default off.
    pub auto_reload: bool,
    /// The same in a container (`auto_reload_for_docker`): its files change with its orchestrator's.
    /// Default on.
    pub auto_reload_in_container: bool,
    /// How a graceful end goes.
    pub grace: Grace,
}

/// The times of a graceful end (SIGQUIT).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// For how long new clients are still taken, while whoever asks is told that this server is not
    /// ready any more: load balancers send their last ones (`grace_start_wait`). Default 2.3 s.
    pub start_wait: Duration,
    /// The longest that clients are waited for after it; zero: for ever (`grace_drain_max`, in
    /// seconds). Default 30 s.
    pub drain_max: Duration,
    /// How long to stay when the last has gone (`grace_final_wait`). Default 3.2 s.
    pub final_wait: Duration,
    /// SIGTERM and SIGINT ask for a graceful end too (`force_grace_quit`). Default off.
    pub always: bool,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            work_dir: PathBuf::from("./"),
            pid_file: None,
            daemon: false,
            no_daemon_in_container: true,
            in_container: false,
            auto_reload: false,
            auto_reload_in_container: true,
            grace: Grace::default(),
        }
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self {
            start_wait: Duration::from_millis(2_300),
            drain_max: Duration::from_secs(30),
            final_wait: Duration::from_millis(3_200),
            always: false,
        }
    }
}

impl ProcessConfig {
    fn goes_to_background(&self) -> bool {
        self.daemon && !(self.no_daemon_in_container && self.is_in_container())
    }

    /// Whether a changed file is read without being asked to.
    pub(crate) fn watches_file(&self) -> bool {
        self.auto_reload || (self.auto_reload_in_container && self.is_in_container())
    }

    /// Where the engines leave their marks, and where nothing else can be the first process.
    fn is_in_container(&self) -> bool {
        let marks = ["/.dockerenv", "/run/.containerenv"];
        self.in_container || std::process::id() == 1 || marks.iter().any(|mark| std::path::Path::new(mark).exists())
    }
}

/// Which process this is now.
pub enum Entered {
    /// The server's.
    Server(Process),
    /// The one that started the server in the background, or could not: it ends with this code.
    Launcher(ExitCode),
}

/// The server's process. Dropping it removes the pid file.
#[must_use = "the pid file goes with it"]
pub struct Process {
    _pid_file: Option<PidFile>,
    is_daemon: bool,
}

impl Process {
    /// Becomes the server's process: in its folder, with its pid file, with as many open files as it
    /// may have. To be called before any thread is started.
    pub fn enter(config: &ProcessConfig) -> anyhow::Result<Entered> {
        let is_daemon = config.goes_to_background();
        if is_daemon && !daemon::is_child() {
            return daemon::launch().map(Entered::Launcher);
        }
        if is_daemon {
            daemon::detach().context("a session of its own could not be made")?;
        }
        std::env::set_current_dir(&config.work_dir).with_context(|| format!("work_dir {}", config.work_dir.display()))?;
        let pid_file = config.pid_file.as_deref().map(PidFile::hold).transpose()?;
        raise_open_files();
        Ok(Entered::Server(Self { _pid_file: pid_file, is_daemon }))
    }

    /// Everything listens: whoever started it in the background may go, and its terminal with it.
    pub(crate) fn is_ready(&self, log_file: Option<&std::path::Path>) {
        if !self.is_daemon {
            return;
        }
        let log = log_file.map(|path| format!(", log {}", path.display())).unwrap_or_default();
        if let Err(error) = daemon::leave_terminal(&log) {
            tracing::warn!(%error, "the terminal could not be left");
        }
    }

    /// The log cannot go to a terminal that is left.
    pub fn is_daemon(&self) -> bool {
        self.is_daemon
    }
}

/// Shells give 1,024, of which every TCP client needs one.
fn raise_open_files() {
    let had = rustix::process::getrlimit(Resource::Nofile);
    if had.current != had.maximum {
        let _best_effort = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: had.maximum, ..had });
    }
}
