//! Reading the configuration again while everything runs: asked for by a signal, through the API,
//! or by the file itself.

use std::{
    future::Future,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};
use weir_web::{Reload, ReloadOutcome, Reloaded};

use super::{Server, settings::Settings};
use crate::{
    Args, Config, ConfigError,
    config::{Change, Environment, Source},
};

/// Requests through the API that may wait; each is done in milliseconds.
const REQUESTS_MAX: usize = 16;
/// How often a watched file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Where the configuration comes from, again and again.
#[derive(Clone)]
pub struct ConfigSource {
    source: Source,
    environment: Environment,
}

impl ConfigSource {
    /// As the command line and the environment say now. The working directory may change after this:
    /// a relative path counts from here.
    pub fn of(args: &Args) -> Self {
        let environment = Environment::of_process();
        let source = match args.source(&environment) {
            Source::File(path) => Source::File(std::path::absolute(&path).unwrap_or(path)),
            source => source,
        };
        Self { source, environment }
    }

    fn load(&self) -> Result<(Config, Vec<String>), ConfigError> {
        Config::load(&self.source, &self.environment)
    }

    fn file(&self) -> Option<&Path> {
        match &self.source {
            Source::File(path) => Some(path),
            Source::BuiltIn | Source::EnvironmentOnly => None,
        }
    }
}

/// For the API: asks the main loop to reload. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Reloader {
    requests: mpsc::Sender<Request>,
    record: Arc<Record>,
}

/// One wish for a reload, and who is to be told.
pub(crate) type Request = oneshot::Sender<ReloadOutcome>;

/// How reloads went.
#[derive(Default)]
pub(crate) struct Record {
    last: ArcSwapOption<Reloaded>,
    done: AtomicU64,
    failed: AtomicU64,
}

impl Reloader {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        (Self { requests, record: Arc::default() }, inbox)
    }

    fn note(&self, outcome: &ReloadOutcome) {
        let count = if outcome.is_ok() { &self.record.done } else { &self.record.failed };
        count.fetch_add(1, Ordering::Relaxed);
        let (done, failed) = self.counts();
        let reloaded = Reloaded { number: done + failed, at: SystemTime::now(), outcome: outcome.clone() };
        self.record.last.store(Some(Arc::new(reloaded)));
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = ReloadOutcome> + Send>> {
        let requests = self.requests.clone();
        Box::pin(async move {
            let (answer, outcome) = oneshot::channel();
            let going_down = || "the server is going down".to_owned();
            match requests.try_send(answer) {
                Ok(()) => outcome.await.unwrap_or_else(|_| Err(going_down())),
                Err(mpsc::error::TrySendError::Full(_)) => Err("too many reloads were asked for at once".to_owned()),
                Err(mpsc::error::TrySendError::Closed(_)) => Err(going_down()),
            }
        })
    }

    fn last(&self) -> Option<Reloaded> {
        self.record.last.load().as_deref().cloned()
    }

    fn counts(&self) -> (u64, u64) {
        (self.record.done.load(Ordering::Relaxed), self.record.failed.load(Ordering::Relaxed))
    }
}

impl Server {
    /// Reads the configuration again and applies it. `why` stands in the log.
    pub(super) async fn reload(&mut self, why: &str) -> ReloadOutcome {
        let source = self.source.clone();
        // Names may be looked up in it.
        let loaded = tokio::task::spawn_blocking(move || source.load()).await;
        let outcome = match loaded {
            Ok(Ok((config, notes))) => {
                notes.iter().for_each(|note| tracing::warn!("{note}"));
                self.apply(config).await
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the configuration could not be read: a fault of the server".to_owned()),
        };
        self.reloader.note(&outcome);
        match &outcome {
            Ok(changes) if changes.is_empty() => tracing::info!(why, "reloaded: nothing has changed"),
            Ok(changes) => {
                tracing::info!(why, changes = changes.len(), "reloaded");
                changes.iter().for_each(|change| tracing::info!("reload: {change}"));
            }
            Err(mistakes) => {
                tracing::error!(why, "the reload failed, the old configuration stays");
                mistakes.lines().for_each(|mistake| tracing::error!("reload: {mistake}"));
            }
        }
        outcome
    }

    /// Applies another configuration: all of it, or nothing.
    pub(super) async fn apply(&mut self, config: Config) -> ReloadOutcome {
        let wanted = Settings::of(&config, &self.rtmp_stats);
        let fixed = self.settings.fixed_differences(&wanted);
        if !fixed.is_empty() {
            return Err(format!("needs a restart, nothing was changed: {}", fixed.join(", ")));
        }
        self.live.check(&wanted).map_err(|error| format!("{error:#}"))?;
        let bound = self.listeners.bind(&wanted.listen).await.map_err(|error| error.to_string())?;
        self.live.store(&wanted).map_err(|error| format!("{error:#}"))?;
        self.listeners.change(bound, &wanted.listen).map_err(|error| error.to_string())?;
        let changes = Config::diff(&self.config, &config);
        (self.settings, self.config) = (wanted, config);
        Ok(changes.iter().map(describe).collect())
    }
}

/// What has changed, and when it counts.
fn describe(change: &Change) -> String {
    let later = match change.path {
        "daemon" | "pid" | "work_dir" => " (counts at the next start)",
        _ => "",
    };
    match &change.vhost {
        Some(vhost) => format!("{} of {vhost}", change.path),
        None => format!("{}{later}", change.path),
    }
}

/// Looks whether a file has changed. It is polled: what editors, config maps and bind mounts do to
/// files is too different for notices of the kernel.
pub(crate) struct Watch {
    path: Option<PathBuf>,
    known: Option<Stamp>,
    /// It has changed, and may be half written.
    fresh: Option<Stamp>,
}

/// What differs when a file was written or replaced.
type Stamp = (u64, u64, u64, i64, i64);

impl Watch {
    pub(crate) fn new(source: &ConfigSource) -> Self {
        let path = source.file().map(Path::to_owned);
        let known = path.as_deref().and_then(stamp);
        Self { path, known, fresh: None }
    }

    /// The file is about to be read: what stands there now is no news any more.
    pub(crate) fn look(&mut self) {
        (self.known, self.fresh) = (self.path.as_deref().and_then(stamp), None);
    }

    /// Ends when the file has changed and then stayed as it is for one look. Cancelling it loses
    /// nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.path.as_deref().and_then(stamp);
            if now.is_none() || now == self.known {
                self.fresh = None;
            } else if now == self.fresh {
                (self.known, self.fresh) = (now, None);
                return;
            } else {
                self.fresh = now;
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}
