//! Connections that were not taken, or did not end well: counted, and said now and then.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tracing::warn;

use crate::crowd::Full;

/// A full server says so at most this often in the log.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// All places are taken.
    Full,
    /// Its address has its share of them.
    Address,
    /// No descriptor is free, or no memory.
    Exhausted,
}

impl Why {
    /// For counters, in the order of the variants.
    const NAMES: [&'static str; 3] = ["full", "address", "exhausted"];
}

impl From<Full> for Why {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::Full,
            Full::Address => Self::Address,
        }
    }
}

/// All connections that any listener has refused, by [`Why`].
static REFUSED: [AtomicU64; Why::NAMES.len()] = [const { AtomicU64::new(0) }; Why::NAMES.len()];
/// All connections that ended in an error: no HTTP, no TLS, a slow head, a reset, a reader that
/// stood still.
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Connections refused since the process started, by reason.
pub(crate) fn connections_refused() -> impl Iterator<Item = (&'static str, u64)> {
    Why::NAMES.into_iter().zip(REFUSED.iter().map(|count| count.load(Ordering::Relaxed)))
}

/// Connections failed since the process started.
pub(crate) fn connections_failed() -> u64 {
    FAILED.load(Ordering::Relaxed)
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
    pub(super) fn note(&mut self, now: Instant, why: Why, said: &dyn std::fmt::Display) {
        if let Some(count) = REFUSED.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.since_said = self.since_said.saturating_add(1);
        if self.said.is_none_or(|said| now.saturating_duration_since(said) >= WARN_EVERY) {
            warn!(refused = self.since_said, why = %said, "HTTP connections refused");
            self.said = Some(now);
            self.since_said = 0;
        }
    }
}
