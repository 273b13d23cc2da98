//! ICE's lite half: answers connectivity checks and knows where the peer is (RFC 8445, RFC 7675).
//!
//! A lite agent sends no checks. What it believes of an address it believes because a check came
//! from there that was signed with our password; that is the peer's consent to receive as well, and
//! it wears off. Whatever is not signed gets no answer at all.
//!
//! A restart (RFC 8445 section 9) brings new credentials. The former ones are honoured until the peer
//! nominates under the new: its pairs of before carry media while it checks new ones.
//!
//! We do not do: role conflicts (we are always controlled, RFC 8445 section 6.1.1), trickled
//! candidates (the peer's addresses are learnt from its checks), checks of our own. An authenticated
//! peer who forges its source address can thus point its own media at somebody else for as long as
//! it keeps forging. When a peer is believed to have moved, and what that stands, is in `whereabouts`.

mod whereabouts;

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::time::{Duration, Instant};

use self::whereabouts::Whereabouts;
use crate::sdp::IceCredentials;
use crate::wire::stun::{self, Class, IntegrityKey, Message, REPLY_LEN_MAX};

/// How long consent lasts (RFC 7675 section 5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest user name fragment (RFC 8839 section 5.4).
const UFRAG_LEN_MAX: usize = 256;

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
    /// Not a STUN request at all, malformed, or without USERNAME, MESSAGE-INTEGRITY or FINGERPRINT.
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
    stats: IceStats,
}

/// Both sides' credentials, as far as a lite agent needs them.
#[derive(Debug)]
struct Names {
    local_ufrag: String,
    remote_ufrag: String,
    key: IntegrityKey,
}

impl Names {
    fn new(local: IceCredentials, remote: IceCredentials) -> Self {
        Self { key: IntegrityKey::new(&local.pwd), local_ufrag: local.ufrag, remote_ufrag: remote.ufrag }
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
        Self { names: Names::new(local, remote), former: None, place: Whereabouts::new(now), stats: IceStats::default() }
    }

    /// New credentials of both sides. Nothing moves by that; the peer's next nomination may.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        let former = std::mem::replace(&mut self.names, Names::new(local, remote));
        // A restart before the last one has come to something: the pairs that carry media are those
        // of the first.
        self.former.get_or_insert(former);
    }

    /// Takes a STUN datagram that came on `path`.
    pub fn handle_request(&mut self, now: Instant, path: Path, data: &[u8]) -> IceReply {
        let Some((message, is_former)) = self.authenticated(data) else { return IceReply::default() };
        let names = self.former.as_ref().filter(|_| is_former).unwrap_or(&self.names);
        if message.unknown_required {
            // RFC 8489 section 6.3.1 answers 420 with a list; the sender can make do with 400.
            self.stats.unknown_attribute += 1;
            let reply = Reply::write(|out| stun::emit_error(&message.transaction, 400, "Bad Request", &names.key, out));
            return IceReply { reply, event: None };
        }
        self.stats.answered += 1;
        // A dual-stack socket shows IPv4 peers as mapped addresses: they know themselves without.
        let mapped = SocketAddr::new(path.remote.ip().to_canonical(), path.remote.port());
        let reply = Reply::write(|out| stun::emit_success(&message.transaction, mapped, &names.key, out));
        let event = self.place.handle_check(now, path, message.use_candidate);
        if message.use_candidate && !is_former {
            self.former = None;
        }
        IceReply { reply, event }
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

    /// A TCP connection has ended, and its path with it.
    pub fn handle_lost(&mut self, now: Instant, path: Path) -> Option<IceEvent> {
        self.place.handle_lost(now, path)
    }

    /// Fresh media came on `path`: SRTP or SRTCP that authenticated and is not a replay. `newest`:
    /// nothing later of its stream came before. Moves the peer to a pair that has proven itself.
    #[inline]
    pub fn handle_media(&mut self, now: Instant, path: Path, newest: bool) -> Option<IceEvent> {
        self.place.handle_media(now, path, newest)
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

    /// Where media goes. The first pair to prove itself, until the peer is elsewhere.
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
