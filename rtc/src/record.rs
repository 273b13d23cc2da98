//! What the outside sees of one session, and how it reaches it: facts that never change, figures
//! that the owning worker publishes once a second, and a wish to end.

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
    delete: AtomicBool,
    shown: Mutex<Shown>,
    ended: Mutex<bool>,
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
}

impl Record {
    pub(crate) fn new(facts: Facts, wake: Arc<PeerWake>) -> Arc<Self> {
        let Facts { session, id, direction, key, client_ip, since, ice, remote_ufrag, etag, fragment, codecs } = facts;
        let ufrag = ice.ufrag.clone();
        let ice = Mutex::new(Ice { local: ice, remote_ufrag, etag, pending: None });
        let shown = Mutex::new(Shown { codecs, ..Shown::default() });
        let (ended, ending) = (Mutex::new(false), Condvar::new());
        let delete = AtomicBool::new(false);
        Arc::new(Self { session, id, direction, key, client_ip, since, ufrag, ice, fragment, wake, delete, shown, ended, ending })
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
        }
    }

    /// The entity tag, and `our ufrag:theirs`.
    fn tag(&self) -> (String, String) {
        let ice = self.ice.lock();
        (ice.etag.clone(), format!("{}:{}", ice.local.ufrag, ice.remote_ufrag))
    }

    /// Leaves new credentials for the owning worker, unless somebody else has done so since the tag
    /// was `known`.
    pub(crate) fn restart_ice(&self, known: &str, restart: Restart, etag: String) -> bool {
        let mut ice = self.ice.lock();
        if ice.etag != known {
            return false;
        }
        ice.local = restart.local.clone();
        ice.remote_ufrag.clone_from(&restart.remote.ufrag);
        ice.etag = etag;
        ice.pending = Some(restart);
        drop(ice);
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
    pub(crate) fn end(&self) {
        *self.ended.lock() = true;
        self.ending.notify_all();
    }

    /// Waits until all it held is released, or `limit` has passed.
    pub(crate) fn wait_for_end(&self, limit: Duration) {
        let mut ended = self.ended.lock();
        if !*ended {
            let _timed_out = self.ending.wait_for(&mut ended, limit);
        }
    }

    pub(crate) fn settle_in(&self, home: Home) {
        self.wake.settle_in(home);
    }
}
