//! Connections that have not asked for anything yet. When all places are taken, the one that has
//! waited longest makes room: a crowd that says nothing keeps nobody out (A42, A43).

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::crowd::Place;

/// Entries kept before those that no longer wait are sorted out. They leave by themselves when they
/// come to the front, and nobody waits there for longer than a head may take.
const SORT_AT: usize = 4_096;

/// Those that wait, the oldest first.
#[derive(Default)]
pub(super) struct Line(Mutex<VecDeque<Arc<Guest>>>);

/// One connection as its listener knows it.
pub(super) struct Guest {
    has_asked: AtomicBool,
    sent_away: CancellationToken,
    place: Mutex<Option<Place>>,
}

impl Line {
    /// A new connection, with the place that it has.
    pub(super) fn join(&self, place: Place) -> Arc<Guest> {
        let guest = Arc::new(Guest {
            has_asked: AtomicBool::new(false),
            sent_away: CancellationToken::new(),
            place: Mutex::new(Some(place)),
        });
        let mut line = self.0.lock();
        while line.front().is_some_and(|first| !first.is_waiting()) {
            line.pop_front();
        }
        if line.len() >= SORT_AT && line.len().is_power_of_two() {
            line.retain(|guest| guest.is_waiting());
        }
        line.push_back(Arc::clone(&guest));
        guest
    }

    /// Ends the connection that has waited longest and frees its place; `false` if none waits.
    pub(super) fn send_away_oldest(&self) -> bool {
        let mut line = self.0.lock();
        while let Some(guest) = line.pop_front() {
            if guest.is_waiting() {
                guest.leave();
                guest.sent_away.cancel();
                return true;
            }
        }
        false
    }
}

impl Guest {
    fn is_waiting(&self) -> bool {
        !self.has_asked.load(Ordering::Relaxed) && self.place.lock().is_some()
    }

    /// It has sent a whole request: from now on it is let be.
    pub(super) fn ask(&self) {
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// It is over: its place is free.
    pub(super) fn leave(&self) {
        *self.place.lock() = None;
    }

    /// `None`: another needed the place.
    pub(super) async fn run_until_sent_away<F: Future>(&self, connection: F) -> Option<F::Output> {
        self.sent_away.run_until_cancelled(connection).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Bounds, Crowd};

    #[test]
    fn the_oldest_that_has_not_asked_makes_room() {
        let crowd = Arc::new(Crowd::default());
        let bounds = Bounds { all: 3, per_address: 9 };
        let enter = || crowd.enter([127, 0, 0, 1].into(), bounds);
        let line = Line::default();
        let guests: Vec<_> = (0..3).map(|_| line.join(enter().unwrap())).collect();
        guests[0].ask();
        assert!(enter().is_err() && line.send_away_oldest());
        assert!(guests[1].sent_away.is_cancelled() && !guests[2].sent_away.is_cancelled());
        let newcomer = line.join(enter().expect("its place is free at once"));
        guests[2].leave();
        newcomer.ask();
        assert!(!line.send_away_oldest(), "nobody waits");
        assert!(line.0.lock().is_empty());
    }
}
