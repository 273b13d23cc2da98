//! Checks of our own: an address gets media only once somebody there has answered us.
//!
//! A signed check proves who wrote it, not where it was sent from: a peer may forge its source. So
//! before the peer is followed to another address, that address is asked (RFC 8445 section 7.2, as a
//! consent check of RFC 7675 section 5.1 is made): a Binding request under the peer's password and a
//! random transaction id, which only the peer can answer and only from there. Who is asked and does
//! not answer gets three of these and then none for half a minute; where media goes does not change.

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Path;
use crate::wire::stun::TransactionId;

/// Checks that an address gets.
pub(super) const CHECKS_MAX: usize = 3;
/// From one to the next: soon, since a peer that moved waits for its picture; then after a loss has passed.
const SPACING: [Duration; CHECKS_MAX - 1] = [Duration::from_millis(250), Duration::from_millis(1_000)];
/// How long after the last one an answer still counts: what any path takes, there and back.
const PATIENCE: Duration = Duration::from_secs(3);
/// Addresses that are asked or rest, of one peer. Browsers move to one of a handful of interfaces; who
/// forges eight addresses makes us send 24 checks of 100 bytes in half a minute.
const ASKED_MAX: usize = 8;

/// An address that is asked, or was in vain.
#[derive(Clone, Debug)]
struct Asked {
    path: Path,
    /// Which credentials the peer uses there: those of before a restart, those of after. Both are tried
    /// where it did not say.
    is_former: Option<bool>,
    /// Fresh media came from there. Checks can be replayed, media cannot.
    by_media: bool,
    sent: SmallVec<[TransactionId; CHECKS_MAX]>,
    last: Instant,
}

impl Asked {
    /// When the next check is due, if there is one left.
    fn due(&self) -> Option<Instant> {
        match self.sent.len().checked_sub(1) {
            None => Some(self.last),
            Some(done) => SPACING.get(done).map(|spacing| self.last + *spacing),
        }
    }
}

/// A check to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) path: Path,
    pub(super) transaction: TransactionId,
    /// Under the credentials of before a restart, if there was one.
    pub(super) is_former: bool,
}

/// All addresses of one peer that are asked.
#[derive(Debug, Default)]
pub(super) struct Checks {
    asked: SmallVec<[Asked; 1]>,
}

impl Checks {
    /// Asks the remote end of `path`, unless it is being asked or was in vain less than `rest` ago.
    pub(super) fn ask(&mut self, now: Instant, path: Path, is_former: Option<bool>, by_media: bool, rest: Duration) {
        self.asked.retain(|asked| now.saturating_duration_since(asked.last) < rest);
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.path.is_same_remote(&path)) {
            asked.by_media |= by_media;
            return;
        }
        if self.asked.len() >= ASKED_MAX {
            // Replayed checks must not keep the peer itself from being asked.
            let oldest = self.asked.iter().enumerate().filter(|(_, asked)| by_media && !asked.by_media);
            let Some((oldest, _)) = oldest.min_by_key(|(_, asked)| asked.last) else { return };
            self.asked.remove(oldest);
        }
        self.asked.push(Asked { path, is_former, by_media, sent: SmallVec::new(), last: now });
    }

    /// The next check that is due by `now`.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Check> {
        let asked = self.asked.iter_mut().find(|asked| asked.due().is_some_and(|due| due <= now))?;
        let transaction = TransactionId(rand::random());
        let is_former = asked.is_former.unwrap_or(asked.sent.len() % 2 == 0);
        asked.sent.push(transaction);
        asked.last = now;
        Some(Check { path: asked.path, transaction, is_former })
    }

    /// When [`Self::poll`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.asked.iter().filter_map(Asked::due).min()
    }

    /// Whether we sent `transaction` to the remote end of `path` and still wait for the answer.
    pub(super) fn expects(&self, now: Instant, path: &Path, transaction: &TransactionId) -> bool {
        let asked = self.asked.iter().find(|asked| asked.path.is_same_remote(path));
        asked.is_some_and(|asked| {
            now.saturating_duration_since(asked.last) < PATIENCE && asked.sent.iter().any(|sent| sent == transaction)
        })
    }

    /// The remote end of `path` has answered: it need not rest. What was asked.
    pub(super) fn done(&mut self, path: &Path) -> Option<Path> {
        let at = self.asked.iter().position(|asked| asked.path.is_same_remote(path))?;
        Some(self.asked.remove(at).path)
    }

    /// Whether an answer may still come from there.
    pub(super) fn waits_for(&self, now: Instant, path: impl Fn(&Path) -> bool) -> bool {
        self.asked.iter().any(|asked| path(&asked.path) && now.saturating_duration_since(asked.last) < PATIENCE)
    }
}
