//! Sessions that have ended, kept for a while: the failed one is asked about when it is gone.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::record::Record;

/// So many are kept: at 6 KiB each 1.5 MiB, and more than anybody reads.
const KEPT_MAX: usize = 256;
/// And so long: who asks why looks within minutes.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The last ones, oldest first.
#[derive(Default)]
pub(crate) struct Past(Mutex<VecDeque<(Instant, Arc<Record>)>>);

impl Past {
    pub(crate) fn keep(&self, now: Instant, record: Arc<Record>) {
        let mut kept = self.0.lock();
        let forgotten = (kept.len() >= KEPT_MAX).then(|| kept.pop_front()).flatten();
        kept.push_back((now, record));
        drop(kept);
        drop(forgotten);
    }

    /// Those that are not too old, oldest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<Arc<Record>> {
        let mut kept = self.0.lock();
        while kept.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > KEPT_FOR) {
            kept.pop_front();
        }
        kept.iter().map(|(_, record)| Arc::clone(record)).collect()
    }
}
