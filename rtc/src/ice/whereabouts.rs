//! Where the peer is: the pairs that proved themselves, the one that media goes to, when to move.
//!
//! Two kinds of proof, and what each is worth:
//!
//! - A **signed check** (RFC 8445 section 7.3) proves that its writer knows our password and wants
//!   to hear from us (RFC 8863, RFC 7675). It does not prove that its sender wrote it: a captured
//!   check is as good from another address. A pair without a signed check of the last 30 s gets
//!   no media, ever.
//! - **Fresh media**, SRTP or SRTCP that authenticated and was not in the replay window, proves that
//!   its sender has it from the peer before we do. That cannot be replayed, only raced. The newest
//!   packet of its stream counts, so that stragglers from the former address pull nothing back (the
//!   rule of QUIC, RFC 9000 section 9.3).
//!
//! So the peer is followed
//!
//! 1. at once, to a pair that it nominates by a signed check;
//! 2. at once, to a pair that proved itself by a check and from which fresh media comes: a peer
//!    sends from where it wants to hear (RFC 4961), nominated or not;
//! 3. after [`QUIET`], to a pair that proved itself while nothing came from the selected one, by a
//!    peer that nominated once and does not repeat it: its NAT forgot it, and it sends little;
//! 4. after [`SILENCE_MAX`] in all other cases;
//! 5. at once, when the selected pair was a TCP connection that has ended.
//!
//! A publisher's media from an address without a check moves nothing, but is taken if it authenticates
//! (`Transport::handle_roaming`): a NAT that forgets its publisher costs no picture until the next
//! check (2.5 s in browsers), though what we send goes to the former address until then.
//!
//! What is stood: replayed SRTP moves nothing. Who replays a captured check has the stream (sealed:
//! it is a disturbance, not a leak) until the true client's next packet, and only once: from then
//! on this session is wary and believes checks of another address only together with media. What is not stood: somebody on the path,
//! or quick enough to forward the client's own media to us before it arrives, moves the peer for as
//! long as he keeps winning; he could as well drop it. And an authenticated peer who forges its
//! source address can point its own media at somebody else while it keeps forging (module `ice`).

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::{CONSENT_TIMEOUT, IceEvent, Path};

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
}

/// A pair that proved itself after the selected one was last heard.
#[derive(Clone, Copy, Debug)]
struct Rival {
    path: Path,
    /// Its first check since then.
    since: Instant,
}

/// What is known of where the peer is.
#[derive(Debug)]
pub(super) struct Whereabouts {
    proven: SmallVec<[Proven; 2]>,
    selected: Option<Path>,
    /// The last check on the selected pair; the start of the session before.
    checked: Instant,
    /// The last sign of life on the selected pair: a check or fresh media.
    heard: Instant,
    /// Where fresh media came from last.
    home: Option<Path>,
    rival: Option<Rival>,
    /// The selected pair was a connection that has ended: until when another is waited for.
    lost_until: Option<Instant>,
    nominated: bool,
    /// The peer nominates the pair that it has nominated, as browsers do with every check: it will
    /// say so when it moves.
    repeats: bool,
    /// A check took the stream from where the peer still was: checks alone are not believed any more.
    wary: bool,
}

impl Whereabouts {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            proven: SmallVec::new(),
            selected: None,
            checked: now,
            heard: now,
            home: None,
            rival: None,
            lost_until: None,
            nominated: false,
            repeats: false,
            wary: false,
        }
    }

    /// A signed check came on `path`.
    pub(super) fn handle_check(&mut self, now: Instant, path: Path, nominates: bool) -> Option<IceEvent> {
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
        let believed = (nominates && (!self.wary || self.home == Some(path))) || self.lost_until.is_some();
        if believed || now.saturating_duration_since(self.heard) >= SILENCE_MAX {
            self.nominated |= nominates;
            return self.go(now, path);
        }
        if self.rival.is_none_or(|rival| rival.path != path) {
            self.rival = Some(Rival { path, since: now });
        }
        self.handle_timeout(now)
    }

    /// Fresh media came on `path`; `newest`: no later packet of its stream came before.
    pub(super) fn handle_media(&mut self, now: Instant, path: Path, newest: bool) -> Option<IceEvent> {
        if self.selected == Some(path) {
            self.home = Some(path);
            self.alive(now);
            return None;
        }
        let checked = self.proven.iter().find(|proven| proven.path == path)?.checked;
        if !newest || now.saturating_duration_since(checked) >= CONSENT_TIMEOUT {
            return None;
        }
        // It never left: what moved it was somebody else's doing, or a nomination that overtook media.
        self.wary |= self.home == Some(path);
        self.home = Some(path);
        self.go(now, path)
    }

    /// The connection that `path` was has ended. Where it carried the media, the pair that proved
    /// itself last takes its place, or the next to do so.
    pub(super) fn handle_lost(&mut self, now: Instant, path: Path) -> Option<IceEvent> {
        self.proven.retain(|known| known.path != path);
        self.rival = self.rival.filter(|rival| rival.path != path);
        self.home = self.home.filter(|home| *home != path);
        if self.selected != Some(path) {
            return None;
        }
        let fresh = self.proven.iter().filter(|known| now.saturating_duration_since(known.checked) < CONSENT_TIMEOUT);
        if let Some(next) = fresh.max_by_key(|known| known.checked).map(|known| known.path) {
            return self.go(now, next);
        }
        self.lost_until = Some(now + LOST_MAX);
        None
    }

    /// Moves to a pair that the selected one has left the field to.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<IceEvent> {
        let due = self.poll_timeout().is_some_and(|due| due <= now);
        let rival = self.rival.filter(|_| due)?;
        self.go(now, rival.path)
    }

    /// When [`Self::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let quick = self.nominated && !self.repeats && !self.wary;
        self.rival.filter(|_| quick).map(|rival| rival.since + QUIET)
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
        self.proven.push(Proven { path, checked: now });
    }

    fn go(&mut self, now: Instant, to: Path) -> Option<IceEvent> {
        let from = self.selected?;
        self.select(now, to);
        Some(IceEvent::Moved { from, to })
    }

    fn select(&mut self, now: Instant, path: Path) {
        self.selected = Some(path);
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

    pub(super) fn selected(&self) -> Option<Path> {
        self.selected
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

    pub(super) fn consent_until(&self) -> Instant {
        let consent = self.checked + CONSENT_TIMEOUT;
        self.lost_until.map_or(consent, |lost| lost.min(consent))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::ice::ConnectionId;

    /// Whereabouts and their clock.
    struct Scene {
        now: Instant,
        place: Whereabouts,
    }

    fn path(port: u16) -> Path {
        Path::udp(SocketAddr::new([192, 0, 2, 1].into(), port), [198, 51, 100, 1].into())
    }

    impl Scene {
        /// A client at port 1, nominated, that has sent media.
        fn new() -> Self {
            let now = Instant::now();
            let mut scene = Self { now, place: Whereabouts::new(now) };
            scene.check(1, true);
            scene.media(1);
            scene
        }

        fn wait(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
            self.place.handle_timeout(self.now);
        }

        fn check(&mut self, port: u16, nominates: bool) {
            self.place.handle_check(self.now, path(port), nominates);
        }

        fn media(&mut self, port: u16) {
            self.place.handle_media(self.now, path(port), true);
        }

        fn port(&self) -> u16 {
            self.place.selected().unwrap().remote.port()
        }
    }

    #[test]
    fn media_from_a_proven_address_moves_the_peer_at_once() {
        let mut scene = Scene::new();
        scene.check(2, false);
        assert_eq!(scene.port(), 1, "a check alone does not: browsers keep spare pairs alive");
        scene.media(2);
        assert_eq!(scene.port(), 2);
        assert!(scene.place.is_nominated(), "to the client it is the same pair");
        scene.check(3, false);
        scene.media(3);
        assert_eq!(scene.port(), 3, "and again");
    }

    #[test]
    fn media_from_an_unproven_address_moves_nothing() {
        let mut scene = Scene::new();
        for _ in 0..100 {
            scene.wait(100);
            scene.media(2);
            let elsewhere = Path { local: [198, 51, 100, 2].into(), ..path(1) };
            scene.place.handle_media(scene.now, elsewhere, true);
        }
        assert_eq!(scene.place.selected(), Some(path(1)));
        assert_eq!(scene.place.home(), Some(path(1)));
    }

    #[test]
    fn a_proof_wears_off() {
        let mut scene = Scene::new();
        scene.check(2, false);
        for _ in 0..30 {
            scene.wait(500);
            scene.media(1);
            scene.wait(500);
            scene.check(1, false);
        }
        scene.media(2);
        assert_eq!(scene.port(), 1, "RFC 7675: 30 s");
        scene.check(2, false);
        scene.media(2);
        assert_eq!(scene.port(), 2);
    }

    #[test]
    fn stragglers_from_the_former_address_pull_nothing_back() {
        let mut scene = Scene::new();
        scene.check(2, false);
        scene.media(2);
        scene.place.handle_media(scene.now, path(1), false);
        assert_eq!(scene.port(), 2);
    }

    #[test]
    fn a_quiet_client_is_followed_within_a_second_of_its_first_check() {
        let mut scene = Scene::new();
        scene.wait(2_000);
        scene.check(2, false);
        assert_eq!(scene.place.poll_timeout(), Some(scene.now + QUIET));
        scene.wait(799);
        assert_eq!(scene.port(), 1);
        scene.wait(1);
        assert_eq!(scene.port(), 2);
        assert_eq!(scene.place.poll_timeout(), None);
        scene.wait(30_000);
        scene.check(3, false);
        assert_eq!(scene.port(), 3, "silent for longer than any client is: at once");
    }

    #[test]
    fn a_client_that_lives_where_it_was_stays_there() {
        for life in [|scene: &mut Scene| scene.media(1), |scene: &mut Scene| scene.check(1, false)] {
            let mut scene = Scene::new();
            for _ in 0..20 {
                scene.check(2, false);
                scene.wait(700);
                life(&mut scene);
            }
            assert_eq!(scene.port(), 1);
        }
    }

    #[test]
    fn a_browser_that_repeats_its_nomination_moves_when_it_says_so() {
        let mut scene = Scene::new();
        scene.check(1, true);
        scene.check(2, false);
        scene.wait(2_400);
        assert_eq!(scene.port(), 1, "a spare pair, while reports are far between");
        scene.check(2, true);
        assert_eq!(scene.port(), 2);
    }

    #[test]
    fn a_replayed_check_gains_the_stream_until_the_next_packet_and_once_only() {
        let mut scene = Scene::new();
        scene.check(66, true);
        assert_eq!(scene.port(), 66, "its signature is right");
        scene.media(1);
        assert_eq!(scene.port(), 1);
        for port in 67..200 {
            scene.check(port, true);
            assert_eq!(scene.port(), 1, "checks are not believed any more");
            scene.wait(1_500);
            scene.media(1);
            scene.check(1, true);
            assert_eq!(scene.port(), 1);
        }
        scene.check(2, true);
        scene.media(2);
        assert_eq!(scene.port(), 2, "the client itself is followed still");
    }

    #[test]
    fn many_replays_do_not_make_the_true_address_forgotten() {
        let mut scene = Scene::new();
        for port in 66..200 {
            scene.wait(1);
            scene.check(port, true);
        }
        assert_eq!(scene.port(), 199);
        assert!(scene.place.proven.len() <= PROVEN_MAX && scene.place.is_proven(&path(1)));
        scene.media(1);
        assert_eq!(scene.port(), 1);
    }

    #[test]
    fn consent_is_that_of_the_pair_moved_to() {
        let mut scene = Scene::new();
        scene.check(2, false);
        let checked = scene.now;
        scene.wait(500);
        scene.check(1, false);
        scene.wait(500);
        scene.media(2);
        assert_eq!((scene.port(), scene.place.consent_until()), (2, checked + CONSENT_TIMEOUT));
    }

    #[test]
    fn a_connection_is_a_place_of_its_own() {
        let mut scene = Scene::new();
        let over_tcp = |id| Path { connection: Some(ConnectionId(id)), ..path(1) };
        assert!(!scene.place.is_proven(&over_tcp(1)), "the same ports, another protocol");
        scene.place.handle_check(scene.now, over_tcp(1), true);
        assert_eq!(scene.place.selected(), Some(over_tcp(1)));
        assert!(scene.place.is_proven(&over_tcp(1)) && !scene.place.is_proven(&over_tcp(2)));
        scene.place.handle_lost(scene.now, over_tcp(1));
        assert_eq!(scene.place.selected(), Some(path(1)), "the pair that is left");
        assert!(!scene.place.is_proven(&over_tcp(1)));
    }

    #[test]
    fn a_peer_whose_only_connection_ended_has_seconds_to_come_back() {
        let over_tcp = |id| Path { connection: Some(ConnectionId(id)), ..path(1) };
        let now = Instant::now();
        let mut scene = Scene { now, place: Whereabouts::new(now) };
        scene.place.handle_check(now, over_tcp(1), true);
        scene.place.handle_media(now, over_tcp(1), true);
        scene.wait(1_000);
        scene.place.handle_lost(scene.now, over_tcp(1));
        assert_eq!(scene.place.consent_until(), scene.now + LOST_MAX);
        scene.wait(3_000);
        scene.place.handle_check(scene.now, over_tcp(2), false);
        assert_eq!(scene.place.selected(), Some(over_tcp(2)), "at once");
        assert_eq!(scene.place.consent_until(), scene.now + CONSENT_TIMEOUT);
    }
}
