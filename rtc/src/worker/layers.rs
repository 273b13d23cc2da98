//! The choice of simulcast layers: a few times a second all viewers of a source hear what flows.

use std::time::{Duration, Instant};

use weir_source::MediaKind;

use super::{Worker, guarded, sources::SourceKey};

/// How often. A layer that ends or a line that narrows is answered within this.
const EVERY: Duration = Duration::from_millis(200);

impl Worker {
    /// Lets the viewers of a source choose anew, if it is time.
    pub(super) fn choose_layers(&mut self, now: Instant, key: SourceKey) {
        let Some(watched) = self.sources.get_mut(key) else { return };
        // With one encoding there is nothing to choose. Where there were several it is said once more.
        let several = watched.tracks.list.iter().filter(|track| track.kind() == MediaKind::Video).nth(1).is_some();
        if watched.layers_at.map_or(!several, |at| several && now < at) {
            return;
        }
        watched.layers_at = several.then(|| now + EVERY);
        let states = watched.subscriber.source().layers();
        for member in &watched.members {
            let Some(peer) = self.peers.get_mut(*member) else { continue };
            if guarded(|| peer.session.set_layers(now, &states)).is_none() {
                self.fallen.push(*member);
            }
        }
    }
}
