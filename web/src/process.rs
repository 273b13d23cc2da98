//! What the routes may ask of the process that they run in: to read its configuration again, and
//! whether it is on its way out. The process itself is assembled elsewhere.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

/// What a reload changed, a line each; or why it changed nothing.
pub type ReloadOutcome = Result<Vec<String>, String>;

/// Reads the configuration again and applies what differs.
pub trait Reload: Send + Sync {
    /// Does so now. Calls queue up; each is answered when it is done.
    fn reload(&self) -> Pin<Box<dyn Future<Output = ReloadOutcome> + Send>>;

    /// The last one, whatever asked for it.
    fn last(&self) -> Option<Reloaded>;

    /// How many succeeded and how many failed (`config_reload_total`, `config_reload_failed_total`).
    fn counts(&self) -> (u64, u64);
}

/// One reload that is done.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// Its number, from 1: SRS's `rid`.
    pub number: u64,
    /// When it was done.
    pub at: SystemTime,
    /// What came of it.
    pub outcome: ReloadOutcome,
}

/// Whether new clients should be sent here. What is alive but not ready ends soon.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
}

impl Readiness {
    /// New clients are welcome.
    pub fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Acquire)
    }

    /// From now on they are not.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
