//! HLS viewers as clients: who plays is let in, listed, counted, ended and told of like a viewer of any
//! other protocol, though it only ever asks for files.
//!
//! A session is named by the `hls_ctx` of its URL, or where that is off by the viewer's address and
//! query. It ends when nothing was asked under it for twice the playlist's window, when it is kicked,
//! or when the server stops. A session that nobody knows any more begins anew under its name.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use weir_bridge::NotifyWake;
use weir_source::{Client, ClientGuard, Hub, Pass, Secret, StreamKey, Wake};

use crate::{Fault, Problem};

/// Sessions at a time: each is a client, a task and about 1 KiB. At one playlist and one segment every
/// two seconds, this is what a server does at 10,000 requests a second.
const SESSIONS_MAX: usize = 10_000;
/// As long as SRS's.
const CTX_CHARS: usize = 8;
/// How long a session that has not been played yet may be given to another request of the same viewer:
/// players ask for the first playlist once more at once, or not at all.
const REUSE: Duration = Duration::from_secs(5);

/// By what a viewer is known before it has a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Viewer {
    pub(super) key: StreamKey,
    pub(super) ip: IpAddr,
    pub(super) query: Secret,
    pub(super) bearer: Option<Secret>,
    /// `User-Agent`: players behind one NAT often differ in it.
    pub(super) agent: String,
}

/// One viewer's session.
#[derive(Debug)]
pub(super) struct Session {
    ctx: String,
    viewer: Viewer,
    client: Arc<Client>,
    /// The place on the client list, until the session ends.
    guard: Mutex<Option<ClientGuard>>,
    /// Something but its first playlist was asked for.
    played: AtomicBool,
    /// In milliseconds after `began`.
    asked_ms: AtomicU64,
    began: Instant,
    idle: Duration,
    wake: Arc<NotifyWake>,
}

/// All sessions by name.
#[derive(Debug, Default)]
pub struct HlsSessions {
    table: Mutex<Table>,
    refused: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    by_ctx: HashMap<String, Arc<Session>>,
    /// The latest of each viewer.
    by_viewer: HashMap<Viewer, Arc<Session>>,
}

impl HlsSessions {
    /// Those that there are.
    pub fn count(&self) -> usize {
        self.table.lock().by_ctx.len()
    }

    /// Viewers refused because there were too many, and sessions that nobody had played ended to make
    /// room for others.
    pub fn overflow(&self) -> (u64, u64) {
        (self.refused.load(Ordering::Relaxed), self.evicted.load(Ordering::Relaxed))
    }

    /// Ends all of them.
    pub fn close(&self) {
        let all = std::mem::take(&mut *self.table.lock());
        all.by_ctx.values().for_each(|session| session.end());
    }

    /// The session of this name, if it is of such a stream.
    pub(super) fn get(&self, ctx: &str, is_of: impl Fn(&StreamKey) -> bool) -> Option<Arc<Session>> {
        self.table.lock().by_ctx.get(ctx).filter(|session| is_of(&session.viewer.key)).cloned()
    }

    /// One that this viewer was given lately and has not played; with `played` also one that it plays.
    pub(super) fn of(&self, viewer: &Viewer, played: bool) -> Option<Arc<Session>> {
        let session = self.table.lock().by_viewer.get(viewer).cloned()?;
        let is_fresh = !session.played.load(Ordering::Relaxed) && session.began.elapsed() < REUSE;
        (played || is_fresh && !session.client.is_kicked()).then_some(session)
    }

    /// A session for a viewer that was let in, under a new name or the one it knows.
    pub(super) fn begin(
        self: &Arc<Self>,
        hub: &Hub,
        pass: Pass,
        viewer: Viewer,
        ctx: Option<String>,
        idle: Duration,
    ) -> Result<Arc<Session>, Problem> {
        let wake = NotifyWake::new();
        let ctx = ctx.unwrap_or_else(|| pass.info().id.clone());
        let mut table = self.table.lock();
        if let Some(other) = table.by_ctx.get(&ctx) {
            // Another request of the same player was quicker; or somebody uses a name that is taken.
            let is_same = other.viewer.key == viewer.key;
            return is_same.then(|| Arc::clone(other)).ok_or_else(|| Problem::new(Fault::NotFound, "there is no such stream"));
        }
        if table.by_ctx.len() >= SESSIONS_MAX && !self.make_room(&mut table) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Problem::new(Fault::TooManySessions, "there are too many HLS viewers"));
        }
        let guard = hub.clients().enter(pass, wake.clone());
        let session = Arc::new(Session {
            ctx: ctx.clone(),
            viewer: viewer.clone(),
            client: Arc::clone(&guard),
            guard: Mutex::new(Some(guard)),
            played: AtomicBool::new(false),
            asked_ms: AtomicU64::new(0),
            began: Instant::now(),
            idle,
            wake,
        });
        table.by_ctx.insert(ctx, Arc::clone(&session));
        table.by_viewer.insert(viewer, Arc::clone(&session));
        drop(table);
        tokio::spawn(Arc::clone(self).watch(Arc::clone(&session)));
        Ok(session)
    }

    /// Ends the oldest session that nobody has played; `false` if all are played.
    fn make_room(&self, table: &mut Table) -> bool {
        let unplayed = table.by_ctx.values().filter(|session| !session.played.load(Ordering::Relaxed));
        let Some(oldest) = unplayed.min_by_key(|session| session.began).cloned() else { return false };
        table.remove(&oldest);
        oldest.wake.wake();
        oldest.end();
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends the client when it is kicked or has stopped asking. A kicked session's name is kept for as
    /// long as its player goes on asking, so that it does not begin anew.
    async fn watch(self: Arc<Self>, session: Arc<Session>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(session.expires()) => {}
                () = session.wake.wait() => {}
            }
            if session.client.is_kicked() {
                session.end();
            }
            let mut table = self.table.lock();
            let is_held = table.by_ctx.get(&session.ctx).is_some_and(|held| Arc::ptr_eq(held, &session));
            if is_held && Instant::now() < session.expires() {
                continue;
            }
            table.remove(&session);
            break;
        }
        session.end();
    }
}

impl Table {
    fn remove(&mut self, session: &Arc<Session>) {
        if self.by_ctx.get(&session.ctx).is_some_and(|held| Arc::ptr_eq(held, session)) {
            self.by_ctx.remove(&session.ctx);
        }
        if self.by_viewer.get(&session.viewer).is_some_and(|held| Arc::ptr_eq(held, session)) {
            self.by_viewer.remove(&session.viewer);
        }
    }
}

impl Session {
    /// Its name.
    pub(super) fn ctx(&self) -> &str {
        &self.ctx
    }

    /// A request under its name: it lives on, unless it was kicked.
    pub(super) fn ask(&self) -> Result<(), Problem> {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.asked_ms.fetch_max(ms, Ordering::Relaxed);
        self.played.store(true, Ordering::Relaxed);
        if self.client.is_kicked() { Err(Problem::new(Fault::Gone, "the session was ended")) } else { Ok(()) }
    }

    /// What it plays.
    pub(super) const fn key(&self) -> &StreamKey {
        &self.viewer.key
    }

    /// Bytes sent under its name.
    pub(super) fn sent(&self, bytes: usize) {
        self.client.sent(bytes);
    }

    fn expires(&self) -> Instant {
        self.began + Duration::from_millis(self.asked_ms.load(Ordering::Relaxed)) + self.idle
    }

    /// It leaves the client list, and whoever let it in is told.
    fn end(&self) {
        let guard = self.guard.lock().take();
        drop(guard);
    }
}

/// Whether a text can be the name of a session.
pub(super) fn is_ctx(text: &str) -> bool {
    text.len() == CTX_CHARS && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}
