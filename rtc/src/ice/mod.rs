//! ICE's lite half: answers connectivity checks and knows where the peer is (RFC 8445, RFC 7675).
//!
//! A lite agent sends no checks of its own accord. What it believes of a writer it believes because a
//! check was signed with our password; that is the peer's consent to receive as well, and it wears off.
//! Whatever is not signed gets no answer at all. Where a peer that is connected seems to have moved is
//! asked first, by a check of ours (`checks`): RFC 8445 section 6.1.1 keeps a lite agent from finding
//! pairs, not from making sure that nobody else is sent the peer's media.
//!
//! A restart (RFC 8445 section 9) brings new credentials. The former ones are honoured until the peer
//! nominates under the new: its pairs of before carry media while it checks new ones.
//!
//! We do not do: role conflicts (we are always controlled, RFC 8445 section 6.1.1), trickled
//! candidates (the peer's addresses are learnt from its checks), checks of a pair that is not in doubt.
//! When a peer is believed to have moved, and what that stands, is in `whereabouts`.

mod checks;
mod whereabouts;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::time::{Duration, Instant};

use self::whereabouts::Whereabouts;
use crate::sdp::IceCredentials;
use crate::wire::stun::{self, Class, IntegrityKey, Message, REPLY_LEN_MAX, Request, Role};

/// How long consent lasts (RFC 7675 section 5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The least that can be set: peers check at most 6 s apart, one check may be lost, and the next needs
/// a second for its way.
pub const CONSENT_MIN: Duration = Duration::from_secs(13);
/// The longest user name fragment (RFC 8839 section 5.4).
const UFRAG_LEN_MAX: usize = 256;
/// Room for a check: header, user name, priority, role, MESSAGE-INTEGRITY, FINGERPRINT.
const CHECK_LEN_MAX: usize = 20 + 4 + 2 * UFRAG_LEN_MAX + 4 + 8 + 12 + 24 + 8;
/// Of a candidate that the peer would learn from our check: that of a peer-reflexive one (RFC 8445
/// section 5.1.2.1), the first component's.
const PRIORITY: u32 = (110 << 24) | (0xffff << 8) | 255;

/// Where the peer is, and which of our addresses it talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address, as its datagrams come from it.
    pub remote: SocketAddr,
    /// Our address, as its datagrams go to it.
    pub local: IpAddr,
    /// The TCP connection that they come over (RFC 6544); `None`: UDP.
    pub connection: Option<ConnectionId>,
}

/// Names a TCP connection. No other of the same peer ever has the same name: a path is not taken for
/// a later one between the same ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

impl Path {
    /// A path over UDP.
    #[must_use]
    pub const fn udp(remote: SocketAddr, local: IpAddr) -> Self {
        Self { remote, local, connection: None }
    }

    /// What a peer calls the same address of its own.
    fn is_same_remote(&self, other: &Self) -> bool {
        (self.remote, self.connection) == (other.remote, other.connection)
    }
}

/// What a check, media or time changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceEvent {
    /// The first authenticated check: the peer is here.
    Selected(Path),
    /// The peer is elsewhere now.
    Moved {
        /// Where it was.
        from: Path,
        /// Where it is.
        to: Path,
    },
}

/// What to do about a STUN datagram.
#[derive(Clone, Debug, Default)]
pub struct IceReply {
    /// To send back to where the datagram came from, and from where it went to.
    pub reply: Option<Reply>,
    /// What changed.
    pub event: Option<IceEvent>,
    /// It was the answer to a check of ours.
    pub is_answer: bool,
    /// It was a check that nominates its pair.
    pub nominates: bool,
}

/// An answer to a check, without a heap behind it.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    buffer: [u8; REPLY_LEN_MAX],
    len: usize,
}

impl Reply {
    fn write(emit: impl FnOnce(&mut [u8]) -> Option<usize>) -> Option<Self> {
        let mut buffer = [0; REPLY_LEN_MAX];
        let len = emit(&mut buffer)?;
        Some(Self { buffer, len })
    }
}

impl Deref for Reply {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or(&[])
    }
}

/// What came, by what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IceStats {
    /// Checks that were answered.
    pub answered: u64,
    /// Checks that we sent.
    pub asked: u64,
    /// Answers to those.
    pub answers: u64,
    /// Neither a STUN request nor the answer to one of ours, malformed, or without USERNAME, MESSAGE-INTEGRITY or FINGERPRINT.
    pub malformed: u64,
    /// Signed with another password.
    pub bad_integrity: u64,
    /// Signed with our password, but meant for or from somebody else.
    pub bad_username: u64,
    /// Signed, but with an attribute that we would have to understand.
    pub unknown_attribute: u64,
}

/// The lite agent of one session.
#[derive(Debug)]
pub struct IceLite {
    names: Names,
    /// Those of before a restart.
    former: Option<Names>,
    place: Whereabouts,
    tie_breaker: u64,
    stats: IceStats,
}

/// Both sides' credentials.
#[derive(Debug)]
struct Names {
    local_ufrag: String,
    remote_ufrag: String,
    /// What the peer's checks and our answers are signed with.
    key: IntegrityKey,
    /// What our checks and the peer's answers are signed with.
    remote_key: IntegrityKey,
}

impl Names {
    fn new(local: IceCredentials, remote: IceCredentials) -> Self {
        Self {
            key: IntegrityKey::new(&local.pwd),
            remote_key: IntegrityKey::new(&remote.pwd),
            local_ufrag: local.ufrag,
            remote_ufrag: remote.ufrag,
        }
    }

    /// RFC 8445 section 7.3: our fragment, then the peer's.
    fn are(&self, username: &str) -> bool {
        username.split_once(':') == Some((self.local_ufrag.as_str(), self.remote_ufrag.as_str()))
    }
}

impl IceLite {
    /// An agent that has heard nothing yet.
    #[must_use]
    pub fn new(local: IceCredentials, remote: IceCredentials, now: Instant) -> Self {
        Self {
            names: Names::new(local, remote),
            former: None,
            place: Whereabouts::new(now),
            tie_breaker: rand::random(),
            stats: IceStats::default(),
        }
    }

    /// Consent lasts as long as this, within [`CONSENT_MIN`] and [`CONSENT_TIMEOUT`].
    pub fn set_consent(&mut self, consent: Duration) {
        self.place.set_consent(consent.clamp(CONSENT_MIN, CONSENT_TIMEOUT));
    }

    /// New credentials of both sides. Nothing moves by that; the peer's next nomination may.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let former = std::mem::replace(&mut self.names, Names::new(local, remote));
        // A restart before the last one has come to something: the pairs that carry media are those
        // of the first.
        self.former.get_or_insert(former);
    }

    /// Takes a STUN datagram that came on `path`.
    pub fn handle_stun(&mut self, now: Instant, path: Path, data: &[u8]) -> IceReply {
        match stun::peek_class(data) {
            Some(Class::Success) => self.handle_answer(now, path, data),
            _ => self.handle_request(now, path, data),
        }
    }

    fn handle_answer(&mut self, now: Instant, path: Path, data: &[u8]) -> IceReply {
        let expected = |message: &Message<'_>| self.place.expects(now, &path, &message.transaction);
        let Some(message) = Message::parse(data).ok().filter(expected) else {
            self.stats.malformed += 1;
            return IceReply::default();
        };
        // RFC 8489 section 10.1.4: whoever was asked signs with the password that it was asked under.
        let mut names = self.former.iter().chain([&self.names]);
        if !names.any(|names| message.verify(&names.remote_key)) {
            self.stats.bad_integrity += 1;
            return IceReply::default();
        }
        self.stats.answers += 1;
        IceReply { event: self.place.handle_answer(now, path), is_answer: true, ..IceReply::default() }
    }

    /// The next check of ours that is due, and where it goes.
    #[inline]
    pub fn poll_check(&mut self, now: Instant) -> Option<(Path, Vec<u8>)> {
        let check = self.place.poll_check(now)?;
        let names = self.former.as_ref().filter(|_| check.is_former).unwrap_or(&self.names);
        let request = Request {
            transaction: check.transaction,
            username: &format!("{}:{}", names.remote_ufrag, names.local_ufrag),
            priority: PRIORITY,
            role: Role::Controlled(self.tie_breaker),
            use_candidate: false,
        };
        let mut data = vec![0; CHECK_LEN_MAX];
        let len = request.emit(&names.remote_key, &mut data)?;
        data.truncate(len);
        self.stats.asked += 1;
        Some((check.path, data))
    }

    fn handle_request(&mut self, now: Instant, path: Path, data: &[u8]) -> IceReply {
        let Some((message, is_former)) = self.authenticated(data) else { return IceReply::default() };
        let names = self.former.as_ref().filter(|_| is_former).unwrap_or(&self.names);
        if message.unknown_required {
            // RFC 8489 section 6.3.1 answers 420 with a list; the sender can make do with 400.
            self.stats.unknown_attribute += 1;
            let reply = Reply::write(|out| stun::emit_error(&message.transaction, 400, "Bad Request", &names.key, out));
            return IceReply { reply, ..IceReply::default() };
        }
        self.stats.answered += 1;
        // A dual-stack socket shows IPv4 peers as mapped addresses: they know themselves without.
        let mapped = SocketAddr::new(path.remote.ip().to_canonical(), path.remote.port());
        let reply = Reply::write(|out| stun::emit_success(&message.transaction, mapped, &names.key, out));
        let event = self.place.handle_check(now, path, message.use_candidate, is_former);
        if message.use_candidate && !is_former {
            self.former = None;
        }
        IceReply { reply, event, is_answer: false, nominates: message.use_candidate }
    }

    /// The message, if it is a request of our peer, and whether it is signed with the credentials of
    /// before a restart. Who else it is from gets no answer, so that nobody learns or gains anything
    /// from asking.
    fn authenticated<'a>(&mut self, data: &'a [u8]) -> Option<(Message<'a>, bool)> {
        let message = Message::parse(data).ok();
        // RFC 8445 section 7.1: checks carry all three.
        let message = message.filter(|message| message.class == Class::Request && message.has_integrity() && message.fingerprint);
        let Some((message, username)) = message.and_then(|message| Some((message, message.username?))) else {
            self.stats.malformed += 1;
            return None;
        };
        let former = self.former.as_ref().filter(|former| former.are(username));
        if !message.verify(&former.unwrap_or(&self.names).key) {
            self.stats.bad_integrity += 1;
            return None;
        }
        if former.is_none() && !self.names.are(username) {
            self.stats.bad_username += 1;
            return None;
        }
        Some((message, former.is_some()))
    }

    /// A datagram of the handshake goes to the selected pair.
    pub fn handle_spoken(&mut self) {
        self.place.handle_spoken();
    }

    /// The handshake is done: from now on the peer is followed only to where it answers.
    pub fn handle_connected(&mut self, now: Instant) -> Option<IceEvent> {
        self.place.handle_connected(now)
    }

    /// A TCP connection has ended, and its path with it.
    pub fn handle_lost(&mut self, now: Instant, path: Path) -> Option<IceEvent> {
        self.place.handle_lost(now, path)
    }

    /// Fresh media came on `path`: SRTP or SRTCP that authenticated and is not a replay. `newest`:
    /// nothing later of its stream came before. The peer is there, if it answers.
    #[inline]
    pub fn handle_media(&mut self, now: Instant, path: Path, newest: bool) -> Option<IceEvent> {
        self.place.handle_media(now, path, newest)
    }

    /// Whether fresh media on `path` is no news: then [`Self::handle_more_media`] does for it what
    /// [`Self::handle_media`] would.
    #[inline]
    #[must_use]
    pub fn is_calm_on(&self, path: &Path) -> bool {
        self.place.is_calm_on(path)
    }

    /// Fresh media came where it comes all the time.
    #[inline]
    pub fn handle_more_media(&mut self, now: Instant) {
        self.place.handle_more_media(now);
    }

    /// Does what has become due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<IceEvent> {
        self.place.handle_timeout(now)
    }

    /// When [`Self::handle_timeout`] is wanted, if at all.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.place.poll_timeout()
    }

    /// Forgets the addresses that the peer has left.
    pub fn forget_left(&mut self, now: Instant) {
        self.place.forget_left(now);
    }

    /// Whether the peer is at this address, may be, or was lately. By UDP.
    #[must_use]
    pub fn is_around(&self, now: Instant, remote: &SocketAddr) -> bool {
        self.place.is_around(now, remote)
    }

    /// Where media goes: the selected pair, unless it is in doubt and there is no other.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.place.path()
    }

    /// Where the handshake goes. The first pair to be checked, until the peer is elsewhere.
    #[must_use]
    pub fn selected(&self) -> Option<Path> {
        self.place.selected()
    }

    /// Where fresh media came from last.
    #[must_use]
    pub fn home(&self) -> Option<Path> {
        self.place.home()
    }

    /// Whether the peer nominated the selected pair, or one that it left without a word.
    #[must_use]
    pub fn is_nominated(&self) -> bool {
        self.place.is_nominated()
    }

    /// Whether an authenticated check came from the remote end of `path`.
    #[must_use]
    pub fn is_proven(&self, path: &Path) -> bool {
        self.place.is_proven(path)
    }

    /// When consent ends unless another check comes on the selected pair. Before the first check it
    /// counts from the start of the session.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.place.consent_until()
    }

    /// Whether consent has ended: nothing may be sent any more (RFC 7675 section 5.1).
    #[must_use]
    pub fn expired(&self, now: Instant) -> bool {
        now >= self.expires_at()
    }

    /// What came so far.
    #[must_use]
    pub fn stats(&self) -> IceStats {
        self.stats
    }
}

/// Our user name fragment in a Binding request: whose it claims to be. Nothing is proven.
#[must_use]
pub fn username_local_ufrag(data: &[u8]) -> Option<&str> {
    let (local, _) = stun::peek_username(data)?.split_once(':')?;
    (1..=UFRAG_LEN_MAX).contains(&local.len()).then_some(local)
}

#[cfg(test)]
mod tests;
