//! Reading the configuration again while everything runs: asked for by a signal, through the API,
//! or by the file itself.

use std::{
    collections::BTreeMap,
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

    /// All files that `config`, which was read from here, depends on.
    pub(crate) fn files(&self, config: &Config) -> Vec<PathBuf> {
        let mut files = Config::texts(&self.source);
        // Without a file of its own nobody expects to be watched.
        if !files.is_empty() {
            files.extend(config.files());
        }
        files
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

/// Looks whether any of the files has changed that the configuration is read from: its own, those that
/// it includes, certificates, keys. They are polled: what editors, config maps and bind mounts do to
/// files is too different for notices of the kernel.
pub(crate) struct Watch {
    known: Stamps,
    /// Something has changed, and may be half written.
    fresh: Option<Stamps>,
}

/// Of each file how it was seen last; `None`: never.
type Stamps = BTreeMap<PathBuf, Option<Stamp>>;
/// What differs when a file was written or replaced.
type Stamp = (u64, u64, u64, i64, i64);

impl Watch {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        let mut watch = Self { known: Stamps::new(), fresh: None };
        watch.follow(files);
        watch
    }

    /// The files are about to be read: what stands there now is no news any more.
    pub(crate) fn look(&mut self) {
        (self.known, self.fresh) = (self.now(), None);
    }

    /// These are the files from now on. Of those that it has watched, a change since they were read is
    /// still one.
    pub(crate) fn follow(&mut self, files: Vec<PathBuf>) {
        let seen = |path: &Path| self.known.get(path).copied().unwrap_or_else(|| stamp(path));
        self.known = files.into_iter().map(|path| (path.clone(), seen(&path))).collect();
        self.fresh = None;
    }

    /// Ends when a file has changed and then all stayed as they are for one look. Cancelling it loses
    /// nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if self.has_news() {
                return;
            }
        }
    }

    /// One look.
    fn has_news(&mut self) -> bool {
        let now = self.now();
        if now == self.known {
            self.fresh = None;
        } else if self.fresh.as_ref() == Some(&now) {
            (self.known, self.fresh) = (now, None);
            return true;
        } else {
            self.fresh = Some(now);
        }
        false
    }

    /// One that is not there is about to be replaced, or nothing can be read from it: no news.
    fn now(&self) -> Stamps {
        self.known.iter().map(|(path, seen)| (path.clone(), stamp(path).or(*seen))).collect()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("weir-watch-{}", weir_web::trace_id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _best_effort = std::fs::remove_dir_all(&self.0);
        }
    }

    fn has_changed(watch: &mut Watch) -> bool {
        (0..3).any(|_look| watch.has_news())
    }

    #[test]
    fn any_of_the_files_is_news_once_and_a_missing_one_is_none() {
        let folder = Folder::new();
        let [main, cert, later] = ["main.conf", "cert.pem", "later.conf"].map(|name| folder.0.join(name));
        folder.write("main.conf", "listen 1935;");
        folder.write("cert.pem", "one");
        let mut watch = Watch::new(vec![main.clone(), cert.clone(), later]);
        assert!(!has_changed(&mut watch));
        folder.write("cert.pem", "another");
        assert!(has_changed(&mut watch));
        assert!(!has_changed(&mut watch), "once");
        std::fs::remove_file(&cert).unwrap();
        assert!(!has_changed(&mut watch));
        folder.write("later.conf", "");
        assert!(has_changed(&mut watch), "it was not there");

        folder.write("main.conf", "listen 1936;");
        watch.follow(vec![main]);
        folder.write("later.conf", "not watched any more");
        assert!(has_changed(&mut watch), "what changed before is not forgotten");
        assert!(!has_changed(&mut watch));
    }

    #[test]
    fn a_configuration_is_made_of_what_it_includes_and_what_it_names() {
        let folder = Folder::new();
        let main = folder
            .write("main.conf", "include inner.conf; listen 1935; http_api { enabled on; https { cert c.pem; key k.pem; } }");
        let inner = folder.write("inner.conf", "include deep.conf; broken");
        folder.write("deep.conf", "");
        let source = Source::File(main.clone());
        assert_eq!(Config::texts(&source), [main, inner.canonicalize().unwrap()], "a broken one is worth watching");
        folder.write("inner.conf", "include deep.conf;");
        assert_eq!(Config::texts(&source).len(), 3);
        let (config, _) = Config::load(&source, &Environment::of([])).unwrap();
        let files = config.files();
        assert!(["c.pem", "k.pem"].iter().all(|file| files.contains(&PathBuf::from(file))), "{files:?}");
    }
}
