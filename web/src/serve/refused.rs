//! Connections that were not taken, or did not end well: counted, and said now and then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tracing::warn;

/// A full server says so at most this often in the log.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// All connections that any listener has refused.
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// All connections that ended in an error: no HTTP, no TLS, a slow head, a reset, a reader that
/// stood still.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Connections refused and failed since the process started.
pub(crate) fn connections() -> (u64, u64) {
    (REFUSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed))
}

pub(super) fn note_failed() {
    FAILED.fetch_add(1, Ordering::Relaxed);
}

/// What one listener has to say of those that it did not take.
#[derive(Default)]
pub(super) struct Refused {
    since_said: u64,
    said: Option<Instant>,
}

impl Refused {
    pub(super) fn note(&mut self, now: Instant, why: &dyn std::fmt::Display) {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        self.since_said = self.since_said.saturating_add(1);
        if self.said.is_none_or(|said| now.saturating_duration_since(said) >= WARN_EVERY) {
            warn!(refused = self.since_said, %why, "HTTP connections refused");
            self.said = Some(now);
            self.since_said = 0;
        }
    }
}
