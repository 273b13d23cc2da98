//! The process: its folder, its pid file, its limits, and whether it goes to the background. It
//! knows nothing of media and networks.

mod daemon;
mod holder;
mod pid_file;
mod usage;

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit};

use crate::config;

pub(crate) use holder::in_use;
use pid_file::PidFile;
pub(crate) use usage::Usage;

impl config::Process {
    /// A container would end with the process in the foreground.
    fn goes_to_background(&self) -> bool {
        self.daemon && !(self.disable_daemon_for_docker && self.is_in_container())
    }

    /// Whether a changed file is read without being asked to: in a container files change with what
    /// its orchestrator says.
    pub(crate) fn watches_file(&self) -> bool {
        self.inotify_auto_reload || (self.auto_reload_for_docker && self.is_in_container())
    }

    /// Where the engines leave their marks, and where nothing else can be the first process.
    fn is_in_container(&self) -> bool {
        let marks = ["/.dockerenv", "/run/.containerenv"];
        self.in_docker || std::process::id() == 1 || marks.iter().any(|mark| Path::new(mark).exists())
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
    pub fn enter(config: &config::Process) -> anyhow::Result<Entered> {
        let is_daemon = config.goes_to_background();
        if is_daemon && !daemon::is_child() {
            return daemon::launch().map(Entered::Launcher);
        }
        if is_daemon {
            daemon::detach().context("a session of its own could not be made")?;
        }
        std::env::set_current_dir(&config.work_dir).with_context(|| format!("work_dir {}", config.work_dir.display()))?;
        let pid_file = config.pid.as_deref().map(PidFile::hold).transpose()?;
        raise_open_files();
        Ok(Entered::Server(Self { _pid_file: pid_file, is_daemon }))
    }

    /// Everything listens: whoever started it in the background may go, and its terminal with it.
    pub(crate) fn is_ready(&self, log_file: Option<&Path>) {
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
