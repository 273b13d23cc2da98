//! Where the peer is: the pairs that proved themselves, the one that media goes to, when to move.
//!
//! Three kinds of proof, and what each is worth:
//!
//! - A **signed check** (RFC 8445 section 7.3) proves that its writer knows our password and wants
//!   to hear from us (RFC 8863, RFC 7675). It does not prove that its sender wrote it, a captured
//!   check is as good from another address; nor that it was sent from where it says.
//! - **Fresh media**, SRTP or SRTCP that authenticated and was not in the replay window, proves that
//!   its sender has it from the peer before we do. That cannot be replayed, only raced. The newest
//!   packet of its stream counts, so that stragglers from the former address pull nothing back (the
//!   rule of QUIC, RFC 9000 section 9.3).
//! - An **answer** to a check of ours (`checks`) proves that the peer hears us there. It cannot be
//!   forged, replayed or sent from elsewhere. The handshake is such an answer, if all of it went to one
//!   address; a TCP connection is one by itself.
//!
//! Once the handshake is done media goes to no address without an answer. The first two are reasons to
//! ask for one, and the peer is followed when it comes. That is
//!
//! 1. at once, for a pair that the peer nominates by a signed check;
//! 2. at once, for a pair from which fresh media comes, checked or not: a peer sends from where it
//!    wants to hear (RFC 4961);
//! 3. after [`QUIET`], for a pair that was checked while nothing came from the selected one, by a
//!    peer that nominated once and does not repeat it: its NAT forgot it, and it sends little;
//! 4. after [`SILENCE_MAX`] for any pair that is checked;
//! 5. at once, when the selected pair was a TCP connection that has ended.
//!
//! What comes of attacks: replayed checks and media, and an authenticated peer that forges its source,
//! bring the address three small checks and the answers to what was sent in its name. Somebody on the
//! path who passes our check on to the peer, and its answer back, has the stream while he keeps doing so
//! and the peer's own media does not overtake his; he could as well drop it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    CONSENT_TIMEOUT, IceEvent, Path,
    checks::{Check, Checks},
};
use crate::wire::stun::TransactionId;

/// A selected pair that was silent for this long yields to any other that is checked. Consent checks
/// are at most 6 s apart (RFC 7675 section 5.1); one second is for their way.
const SILENCE_MAX: Duration = Duration::from_secs(7);
/// A nominated pair that is silent for this long after another has proven itself yields to that one.
/// Less than the second within which a peer is to be followed; more than the way of what may still
/// come from the former address. A viewer that lives may be as quiet (its reports are 1 to 1.5 s
/// apart), but such a one does not check elsewhere, and if it does its next report corrects us.
const QUIET: Duration = Duration::from_millis(800);
/// How long a peer whose connection has ended may take to come back over another: browsers connect
/// again within five seconds.
const LOST_MAX: Duration = Duration::from_secs(7);
/// An address that did not answer is not asked again before consent would have ended; where nothing
/// comes from the selected pair any more, and the session ends unless the peer is found, not for so long.
const REST_SILENT: Duration = Duration::from_secs(10);
/// A pair that the peer has left is forgotten so long after its last check, a second of the worker's
/// tick later at the most.
const LEFT_MAX: Duration = Duration::from_secs(4);
/// Pairs that one peer may have proven and still use. Browsers check from each interface and each
/// relay to each of our addresses at once and then settle on one; 16 are four of theirs and four
/// of ours, in 1 KiB.
const PROVEN_MAX: usize = 16;

/// A pair on which a signed check came.
#[derive(Clone, Copy, Debug)]
struct Proven {
    path: Path,
    /// The last one.
    checked: Instant,
    /// When it answered us last.
    answered: Option<Instant>,
}

/// A pair that was checked after the selected one was last heard.
#[derive(Clone, Copy, Debug)]
struct Rival {
    path: Path,
    /// Its first check since then.
    since: Instant,
    is_former: bool,
}

/// What is known of where the peer is.
#[derive(Debug)]
pub(super) struct Whereabouts {
    selected: Option<Path>,
    /// The last sign of life on the selected pair: a check or fresh media.
    heard: Instant,
    /// Fresh media comes on the selected pair and no other is thought of: more of it changes nothing
    /// but `heard`.
    is_calm: bool,
    proven: SmallVec<[Proven; 2]>,
    /// The last check on the selected pair; the start of the session before.
    checked: Instant,
    /// Where fresh media came from last.
    home: Option<Path>,
    /// How long the selected pair may be used after its last check.
    consent: Duration,
    rival: Option<Rival>,
    /// The selected pair was a connection that has ended: until when another is waited for.
    lost_until: Option<Instant>,
    nominated: bool,
    /// The peer nominates the pair that it has nominated, as browsers do with every check: it will
    /// say so when it moves.
    repeats: bool,
    /// The peer nominated another pair and stayed where it was: nominations alone are not believed any more.
    wary: bool,
    /// Where media came from when such a nomination was followed.
    left: Option<Path>,
    checks: Checks,
    /// Where the handshake was spoken; two are as good as many.
    spoken: SmallVec<[Path; 2]>,
    /// The handshake is done: only who answers is followed.
    is_strict: bool,
    /// The selected pair has not answered, and no other: it gets no media.
    is_held: bool,
    /// Where the peer is to be followed once it answers there.
    wish: Option<Path>,
}

impl Whereabouts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            selected: None,
            heard: now,
            is_calm: false,
            proven: SmallVec::new(),
            checked: now,
            consent: CONSENT_TIMEOUT,
            home: None,
            rival: None,
            lost_until: None,
            nominated: false,
            repeats: false,
            wary: false,
            left: None,
            checks: Checks::default(),
            spoken: SmallVec::new(),
            is_strict: false,
            is_held: false,
            wish: None,
        }
    }

    /// A signed check came on `path`; `is_former`: signed with the credentials of before a restart.
    pub(super) fn handle_check(&mut self, now: Instant, path: Path, nominates: bool, is_former: bool) -> Option<IceEvent> {
        self.is_calm = false;
        self.prove(now, path);
        let Some(from) = self.selected else {
            self.select(now, path);
            self.nominated = nominates;
            return Some(IceEvent::Selected(path));
        };
        if from == path {
            self.repeats |= nominates && self.nominated;
            self.nominated |= nominates;
            self.checked = now;
            self.alive(now);
            return None;
        }
        // RFC 8445 section 8.1.1: the pair that the peer nominates is the one to use.
        let believed = (nominates && (!self.wary || self.home == Some(path))) || self.lost_until.is_some() || self.is_held;
        if believed || now.saturating_duration_since(self.heard) >= SILENCE_MAX {
            self.nominated |= nominates;
            return self.follow(now, path, Some(is_former), false);
        }
        if self.rival.is_none_or(|rival| rival.path != path) {
            self.rival = Some(Rival { path, since: now, is_former });
        }
        self.handle_timeout(now)
    }

    /// Fresh media came on `path`; `newest`: no later packet of its stream came before.
    pub(super) fn handle_media(&mut self, now: Instant, path: Path, newest: bool) -> Option<IceEvent> {
        if self.selected == Some(path) {
            (self.home, self.left) = (Some(path), None);
            self.alive(now);
            self.is_calm = true;
            return None;
        }
        self.is_calm = false;
        if !newest {
            return None;
        }
        // It never left: what moved it was somebody else's doing, or a nomination that overtook media.
        self.wary |= self.left == Some(path);
        self.home = Some(path);
        self.follow(now, path, None, true)
    }

    /// Whether fresh media on `path` is no news: then [`Self::handle_more_media`] is enough.
    #[inline]
    pub(super) fn is_calm_on(&self, path: &Path) -> bool {
        self.is_calm && self.selected == Some(*path)
    }

    /// Fresh media came on the pair that is calm.
    #[inline]
    pub(super) fn handle_more_media(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The peer answered a check of ours on `path`.
    pub(super) fn handle_answer(&mut self, now: Instant, path: Path) -> Option<IceEvent> {
        // The answer is for the pair that we asked, though it may have come to another address of ours.
        let asked = self.checks.done(&path)?;
        // RFC 7675 section 5.1: that is consent as well.
        self.prove(now, asked);
        self.answered(now, &asked);
        if !self.is_strict || !(self.is_held || self.wish == Some(asked)) {
            return None;
        }
        if self.selected == Some(asked) {
            (self.is_held, self.wish) = (false, None);
            return None;
        }
        self.go(now, asked)
    }

    /// A datagram of the handshake goes to the selected pair.
    pub(super) fn handle_spoken(&mut self) {
        let Some(path) = self.selected.filter(|_| !self.is_strict) else { return };
        if self.spoken.len() < 2 && !self.spoken.iter().any(|spoken| spoken.is_same_remote(&path)) {
            self.spoken.push(path);
        }
    }

    /// The handshake is done. Where all of it went to one address, its owner has read it there.
    pub(super) fn handle_connected(&mut self, now: Instant) -> Option<IceEvent> {
        if let [only] = self.spoken[..] {
            self.answered(now, &only);
        }
        let is_there = self.selected.filter(|selected| self.has_answered(now, selected));
        self.is_strict = true;
        let selected = self.selected.filter(|_| is_there.is_none())?;
        // It moved meanwhile, or says so.
        self.ask(now, selected, None, false);
        self.is_held = true;
        let known = self.proven.iter().find(|known| self.has_answered(now, &known.path)).map(|known| known.path);
        let event = self.go(now, known?);
        self.wish = Some(selected);
        event
    }

    /// The connection that `path` was has ended. Where it carried the media, the pair that was checked
    /// last takes its place, or the next to be checked.
    pub(super) fn handle_lost(&mut self, now: Instant, path: Path) -> Option<IceEvent> {
        self.is_calm = false;
        self.proven.retain(|known| known.path != path);
        self.rival = self.rival.filter(|rival| rival.path != path);
        self.home = self.home.filter(|home| *home != path);
        if self.selected != Some(path) {
            return None;
        }
        self.lost_until = Some(now + LOST_MAX);
        let fresh = self.proven.iter().filter(|known| now.saturating_duration_since(known.checked) < CONSENT_TIMEOUT);
        let next = fresh.max_by_key(|known| known.checked).map(|known| known.path)?;
        self.follow(now, next, None, false)
    }

    /// Moves to a pair that the selected one has left the field to.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<IceEvent> {
        let due = self.rival_due().is_some_and(|due| due <= now);
        let rival = self.rival.take_if(|_| due)?;
        self.follow(now, rival.path, Some(rival.is_former), false)
    }

    /// When [`Self::handle_timeout`] or [`Self::poll_check`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.rival_due(), self.checks.poll_timeout()].into_iter().flatten().min()
    }

    fn rival_due(&self) -> Option<Instant> {
        let quick = self.nominated && !self.repeats && !self.wary;
        self.rival.filter(|_| quick).map(|rival| rival.since + QUIET)
    }

    /// The next check of ours that is due.
    pub(super) fn poll_check(&mut self, now: Instant) -> Option<Check> {
        self.checks.poll(now)
    }

    /// Whether `transaction` is that of a check of ours which went to the remote end of `path`.
    pub(super) fn expects(&self, now: Instant, path: &Path, transaction: &TransactionId) -> bool {
        self.checks.expects(now, path, transaction)
    }

    /// Remembers that `path` was checked; the pair that was checked longest ago makes room.
    fn prove(&mut self, now: Instant, path: Path) {
        if let Some(known) = self.proven.iter_mut().find(|known| known.path == path) {
            known.checked = now;
            return;
        }
        if self.proven.len() >= PROVEN_MAX {
            let keep = [self.selected, self.home];
            let others = self.proven.iter().enumerate().filter(|(_, known)| !keep.contains(&Some(known.path)));
            if let Some((oldest, _)) = others.min_by_key(|(_, known)| known.checked) {
                self.proven.remove(oldest);
            }
        }
        // RFC 6544: the other end of a connection has answered its handshake.
        let answered = path.connection.map(|_| now);
        self.proven.push(Proven { path, checked: now, answered });
    }

    /// Forgets the pairs that the peer has left.
    pub(super) fn forget_left(&mut self, now: Instant) {
        let keep = [self.selected, self.home];
        self.proven.retain(|known| {
            let is_checked = now.saturating_duration_since(known.checked) < LEFT_MAX;
            is_checked || keep.contains(&Some(known.path)) || known.path.connection.is_some()
        });
    }

    /// Whether the peer is at `remote`, may be, or was lately. By UDP.
    pub(super) fn is_around(&self, now: Instant, remote: &SocketAddr) -> bool {
        let is_there = |path: &Path| path.remote == *remote && path.connection.is_none();
        let places = [self.selected, self.home].into_iter().flatten();
        places.chain(self.proven.iter().map(|known| known.path)).any(|path| is_there(&path))
            || self.checks.waits_for(now, is_there)
    }

    fn answered(&mut self, now: Instant, path: &Path) {
        for known in self.proven.iter_mut().filter(|known| known.path.is_same_remote(path)) {
            known.answered = Some(now);
        }
    }

    /// An answer wears off as consent does, but where media goes the peer's checks keep it alive.
    fn has_answered(&self, now: Instant, path: &Path) -> bool {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < CONSENT_TIMEOUT;
        path.connection.is_some()
            || self.proven.iter().any(|known| known.path.is_same_remote(path) && known.answered.is_some_and(is_fresh))
            || (self.is_strict && !self.is_held && self.selected.is_some_and(|selected| selected.is_same_remote(path)))
    }

    /// The peer seems to be at the end of `to`: goes there, or asks.
    fn follow(&mut self, now: Instant, to: Path, is_former: Option<bool>, by_media: bool) -> Option<IceEvent> {
        if self.has_answered(now, &to) {
            return self.go(now, to);
        }
        if self.is_strict {
            self.ask(now, to, is_former, by_media);
            return None;
        }
        // Until the keys are there the handshake goes wherever the peer says. Its answers say nothing of
        // where it is any more once it was spoken in two places.
        if !self.spoken.is_empty() {
            self.ask(now, to, is_former, by_media);
        }
        self.go(now, to)
    }

    fn ask(&mut self, now: Instant, path: Path, is_former: Option<bool>, by_media: bool) {
        self.wish = Some(path);
        let is_silent = now.saturating_duration_since(self.heard) >= SILENCE_MAX;
        self.checks.ask(now, path, is_former, by_media, if is_silent { REST_SILENT } else { CONSENT_TIMEOUT });
    }

    fn go(&mut self, now: Instant, to: Path) -> Option<IceEvent> {
        let from = self.selected?;
        self.left = self.home.filter(|home| *home == from);
        self.select(now, to);
        (self.is_held, self.wish) = (false, None);
        Some(IceEvent::Moved { from, to })
    }

    fn select(&mut self, now: Instant, path: Path) {
        self.selected = Some(path);
        self.is_calm = false;
        self.lost_until = None;
        // Consent is of the pair, not of the peer (RFC 7675 section 5.1).
        if let Some(proven) = self.proven.iter().find(|proven| proven.path == path) {
            self.checked = proven.checked;
        }
        self.alive(now);
    }

    fn alive(&mut self, now: Instant) {
        self.heard = now;
        self.rival = None;
    }

    /// Where the handshake goes.
    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Where media goes.
    pub(super) fn path(&self) -> Option<Path> {
        self.selected.filter(|_| !self.is_held)
    }

    pub(super) fn home(&self) -> Option<Path> {
        self.home
    }

    pub(super) fn is_nominated(&self) -> bool {
        self.nominated
    }

    pub(super) fn is_proven(&self, path: &Path) -> bool {
        self.proven.iter().any(|proven| proven.path.is_same_remote(path))
    }

    pub(super) fn set_consent(&mut self, consent: Duration) {
        self.consent = consent;
    }

    pub(super) fn consent_until(&self) -> Instant {
        let consent = self.checked + self.consent;
        self.lost_until.map_or(consent, |lost| lost.min(consent))
    }
}

#[cfg(test)]
mod tests;
