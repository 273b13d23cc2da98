//! What the outside sees of one session, and how it reaches it: facts that never change, figures
//! that the owning worker publishes once a second, its timeline, and a wish to end.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use weir_source::{Codec, StreamKey};

use crate::{
    sdp::{Direction, IceCredentials},
    session::SessionStats,
    timeline::{EndReason, Event, Moment, Named, Timeline},
    worker::{PeerWake, mailbox::Home},
};

/// One session as the API shows it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's name in URLs.
    pub session: String,
    /// The trace id of its log lines, its id in the list of clients.
    pub id: String,
    /// The strong entity tag of its ICE session, with its quotes.
    pub etag: String,
    /// `our ufrag:theirs`.
    pub username: String,
    /// Publisher or player.
    pub direction: Direction,
    /// The stream.
    pub key: StreamKey,
    /// The address that opened it by HTTP.
    pub client_ip: IpAddr,
    /// Since it was opened.
    pub age: Duration,
    /// ICE and DTLS are done.
    pub connected: bool,
    /// Where its media comes from or goes to, once ICE has chosen.
    pub remote: Option<SocketAddr>,
    /// The codecs negotiated first, audio and video; of a publisher, once known, those it sends.
    pub codecs: Vec<Codec>,
    /// Bits per second that came in, over the last second.
    pub recv_bps: u64,
    /// Bits per second that went out, over the last second.
    pub send_bps: u64,
    /// Its counters, at most a second old.
    pub stats: SessionStats,
    /// It has an offer of ours and has not answered it: what the answer may take.
    pub awaits_answer: bool,
}

/// What is told of a session besides, and of those that have ended too.
pub(crate) struct Told {
    pub(crate) moments: Vec<Moment>,
    pub(crate) skipped: u64,
    /// When and how it ended.
    pub(crate) end: Option<(Instant, EndReason)>,
    pub(crate) bad_check: Option<SocketAddr>,
    /// Player: the stream was there when that was told last.
    pub(crate) had_stream: bool,
    pub(crate) media: Option<Instant>,
    pub(crate) keyframe: Option<Instant>,
}

/// Shared by the lobby, the owning worker and the handles.
pub(crate) struct Record {
    pub(crate) session: String,
    pub(crate) id: String,
    pub(crate) direction: Direction,
    pub(crate) key: StreamKey,
    pub(crate) client_ip: IpAddr,
    pub(crate) since: Instant,
    /// Our first ICE user name fragment: the key of the lobby.
    pub(crate) ufrag: String,
    ice: Mutex<Ice>,
    /// What a restart's answer says besides the credentials (`sdp::fragment`).
    pub(crate) fragment: String,
    pub(crate) wake: Arc<PeerWake>,
    /// What the client was told of our addresses.
    pub(crate) named: Named,
    /// When the client had our answer, or our offer.
    pub(crate) answered: Instant,
    delete: AtomicBool,
    /// An offer of ours has not been answered.
    unanswered: AtomicBool,
    /// A wrongly signed check has been told of.
    misnamed: AtomicBool,
    timeline: Mutex<Timeline>,
    shown: Mutex<Shown>,
    ended: Mutex<Option<(Instant, EndReason)>>,
    ending: Condvar,
}

/// The ICE session as it stands.
struct Ice {
    local: IceCredentials,
    remote_ufrag: String,
    etag: String,
    /// For the worker to take.
    pending: Option<Restart>,
}

/// New credentials of both sides.
pub(crate) struct Restart {
    pub(crate) local: IceCredentials,
    pub(crate) remote: IceCredentials,
}

/// What the worker publishes.
#[derive(Default)]
struct Shown {
    connected: bool,
    remote: Option<SocketAddr>,
    codecs: Vec<Codec>,
    rates: (u64, u64),
    stats: SessionStats,
    /// Its first packet and its first keyframe, either way.
    media: Option<Instant>,
    keyframe: Option<Instant>,
}

/// The facts a record starts with.
pub(crate) struct Facts {
    pub(crate) session: String,
    pub(crate) id: String,
    pub(crate) direction: Direction,
    pub(crate) key: StreamKey,
    pub(crate) client_ip: IpAddr,
    pub(crate) since: Instant,
    /// Ours.
    pub(crate) ice: IceCredentials,
    pub(crate) remote_ufrag: String,
    pub(crate) etag: String,
    pub(crate) fragment: String,
    pub(crate) codecs: Vec<Codec>,
    pub(crate) named: Named,
    /// When the answer was made; `since` is when the request came.
    pub(crate) answered: Instant,
    /// It is an offer, in fact.
    pub(crate) unanswered: bool,
}

impl Record {
    pub(crate) fn new(facts: Facts, wake: Arc<PeerWake>) -> Arc<Self> {
        let ufrag = facts.ice.ufrag.clone();
        let ice = Ice { local: facts.ice, remote_ufrag: facts.remote_ufrag, etag: facts.etag, pending: None };
        Arc::new(Self {
            session: facts.session,
            id: facts.id,
            direction: facts.direction,
            key: facts.key,
            client_ip: facts.client_ip,
            since: facts.since,
            ufrag,
            ice: Mutex::new(ice),
            fragment: facts.fragment,
            wake,
            named: facts.named,
            answered: facts.answered,
            delete: AtomicBool::new(false),
            unanswered: AtomicBool::new(facts.unanswered),
            misnamed: AtomicBool::new(false),
            timeline: Mutex::new(Timeline::new(facts.since)),
            shown: Mutex::new(Shown { codecs: facts.codecs, ..Shown::default() }),
            ended: Mutex::default(),
            ending: Condvar::new(),
        })
    }

    pub(crate) fn info(&self, now: Instant) -> SessionInfo {
        let (etag, username) = self.tag();
        let shown = self.shown.lock();
        SessionInfo {
            session: self.session.clone(),
            id: self.id.clone(),
            etag,
            username,
            direction: self.direction,
            key: self.key.clone(),
            client_ip: self.client_ip,
            age: now.saturating_duration_since(self.since),
            connected: shown.connected,
            remote: shown.remote,
            codecs: shown.codecs.clone(),
            recv_bps: shown.rates.0,
            send_bps: shown.rates.1,
            stats: shown.stats.clone(),
            awaits_answer: self.is_unanswered(),
        }
    }

    /// Something worth telling happened. Not for what happens by packet.
    pub(crate) fn note(&self, at: Instant, event: Event) {
        self.timeline.lock().note(at, event);
    }

    /// A check named this session and was signed with another password. Only the first is told of:
    /// anybody may send them.
    pub(crate) fn note_bad_check(&self, at: Instant, remote: SocketAddr) {
        if !self.misnamed.swap(true, Ordering::Relaxed) {
            self.note(at, Event::BadCheck { remote });
        }
    }

    /// Its first packet or keyframe has come or gone.
    pub(crate) fn note_media(&self, at: Instant, is_keyframe: bool) {
        let event = if is_keyframe { Event::Keyframe } else { Event::Media };
        let mut shown = self.shown.lock();
        let place = if is_keyframe { &mut shown.keyframe } else { &mut shown.media };
        place.get_or_insert(at);
        drop(shown);
        self.note(at, event);
    }

    pub(crate) fn told(&self) -> Told {
        let (media, keyframe) = {
            let shown = self.shown.lock();
            (shown.media, shown.keyframe)
        };
        let timeline = self.timeline.lock();
        let (moments, skipped) = timeline.read();
        let bad_check = timeline.find(|event| if let Event::BadCheck { remote } = event { Some(*remote) } else { None });
        let had_stream = timeline.find(|event| match event {
            Event::StreamCame => Some(true),
            Event::StreamGone => Some(false),
            _ => None,
        });
        drop(timeline);
        let end = *self.ended.lock();
        Told { moments, skipped, end, bad_check, had_stream: had_stream.unwrap_or(false), media, keyframe }
    }

    /// The client has not answered our offer.
    pub(crate) fn is_unanswered(&self) -> bool {
        self.unanswered.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn set_unanswered(&self) {
        self.unanswered.store(true, Ordering::Release);
    }

    /// The client has answered our offer.
    pub(crate) fn answer(&self, remote_ufrag: &str, codecs: Vec<Codec>) {
        remote_ufrag.clone_into(&mut self.ice.lock().remote_ufrag);
        self.set_codecs(codecs);
        self.unanswered.store(false, Ordering::Release);
    }

    /// The entity tag, and `our ufrag:theirs`.
    fn tag(&self) -> (String, String) {
        let ice = self.ice.lock();
        (ice.etag.clone(), format!("{}:{}", ice.local.ufrag, ice.remote_ufrag))
    }

    /// Leaves new credentials for the owning worker, unless somebody else has done so since the tag
    /// was `known`. `None`: whatever it was.
    pub(crate) fn restart_ice(&self, known: Option<&str>, restart: Restart, etag: String) -> bool {
        let mut ice = self.ice.lock();
        if known.is_some_and(|known| ice.etag != known) {
            return false;
        }
        ice.local = restart.local.clone();
        ice.remote_ufrag.clone_from(&restart.remote.ufrag);
        ice.etag = etag;
        ice.pending = Some(restart);
        drop(ice);
        self.note(Instant::now(), Event::Restart);
        weir_source::Wake::wake(&*self.wake);
        true
    }

    pub(crate) fn take_restart(&self) -> Option<Restart> {
        self.ice.lock().pending.take()
    }

    /// Called by the owning worker. `span` is the time since it last did, or since the session
    /// was made.
    pub(crate) fn publish(&self, connected: bool, remote: Option<SocketAddr>, stats: SessionStats, span: Duration) {
        let mut shown = self.shown.lock();
        let rate = |now: u64, then: u64| {
            let bits = u128::from(now.saturating_sub(then)) * 8_000;
            u64::try_from(bits / span.as_millis().max(1)).unwrap_or(u64::MAX)
        };
        shown.rates = (rate(stats.bytes_in, shown.stats.bytes_in), rate(stats.bytes_out, shown.stats.bytes_out));
        shown.connected = connected;
        shown.remote = remote;
        shown.stats = stats;
    }

    pub(crate) fn set_codecs(&self, codecs: Vec<Codec>) {
        self.shown.lock().codecs = codecs;
    }

    /// Whether ICE and DTLS are done, and what its worker has published last.
    pub(crate) fn look<T>(&self, look: impl FnOnce(bool, &SessionStats) -> T) -> T {
        let shown = self.shown.lock();
        look(shown.connected, &shown.stats)
    }

    /// Somebody wants it to end.
    pub(crate) fn delete(&self) {
        self.delete.store(true, Ordering::Release);
        weir_source::Wake::wake(&*self.wake);
    }

    pub(crate) fn is_deleted(&self) -> bool {
        self.delete.load(Ordering::Acquire)
    }

    /// All it held is released.
    pub(crate) fn end(&self, now: Instant, reason: EndReason) {
        let mut ended = self.ended.lock();
        if ended.is_none() {
            *ended = Some((now, reason));
            self.note(now, Event::End(reason));
        }
        drop(ended);
        self.ending.notify_all();
    }

    /// Waits until all it held is released, or `limit` has passed.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let mut ended = self.ended.lock();
        if ended.is_none() {
            let _timed_out = self.ending.wait_for(&mut ended, limit);
        }
    }

    pub(crate) fn settle_in(&self, home: Home) {
        self.wake.settle_in(home);
    }
}
