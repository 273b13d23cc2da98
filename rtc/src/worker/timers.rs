//! When peers want to be called next: one heap, entries that are overtaken are skipped.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

use super::peers::PeerKey;

/// Entries beyond twice the peers, and this many, are stale for the most part: then the heap is
/// made anew.
const SLACK: usize = 256;

/// A peer has one entry that counts (the peer knows which) and may leave stale ones behind.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, PeerKey)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, key: PeerKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// The next entry due by `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, PeerKey)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn is_bloated(&self, peers: usize) -> bool {
        self.heap.len() > peers.saturating_mul(2).saturating_add(SLACK)
    }

    /// Keeps the entries for which `counts` holds.
    pub(super) fn retain(&mut self, mut counts: impl FnMut(Instant, PeerKey) -> bool) {
        self.heap.retain(|Reverse((at, key))| counts(*at, *key));
    }
}
