//! The choice of simulcast layers: a few times a second all viewers of a source hear what flows.

use std::time::{Duration, Instant};

use super::{Worker, guarded, sources::SourceKey};

/// How often. A layer that ends or a line that narrows is answered within this.
const EVERY: Duration = Duration::from_millis(200);

impl Worker {
    /// Lets the viewers of a source choose anew, if it is time.
    pub(super) fn choose_layers(&mut self, now: Instant, key: SourceKey) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        if watched.layers_at.is_some_and(|at| now < at) {
            return;
        }
        watched.layers_at = Some(now + EVERY);
        let states = watched.subscriber.source().layers();
        for member in &watched.members {
            let Some(peer) = self.peers.get_mut(*member) else { continue };
            if guarded(|| peer.session.set_layers(now, &states)).is_none() {
                self.fallen.push(*member);
            }
        }
    }
}
