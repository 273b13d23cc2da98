//! Who is connected: one record per publisher or player of any protocol.

use std::{
    net::IpAddr,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use dashmap::DashMap;

use crate::{Pass, Secret, StreamKey, Traffic, Wake};

/// What kind of client, in the words of SRS's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientKind {
    /// RTMP player.
    RtmpPlay,
    /// RTMP publisher.
    RtmpPublish,
    /// HTTP-FLV player.
    FlvPlay,
    /// HLS player (one per playlist session).
    HlsPlay,
    /// WebRTC player.
    RtcPlay,
    /// WebRTC publisher.
    RtcPublish,
}

impl ClientKind {
    /// As SRS writes it: `rtmp-play`, `fmle-publish` …
    pub const fn name(self) -> &'static str {
        match self {
            Self::RtmpPlay => "rtmp-play",
            Self::RtmpPublish => "fmle-publish",
            Self::FlvPlay => "flv-play",
            Self::HlsPlay => "hls-play",
            Self::RtcPlay => "rtc-play",
            Self::RtcPublish => "rtc-publish",
        }
    }

    /// It brings media rather than taking it.
    pub const fn is_publisher(self) -> bool {
        matches!(self, Self::RtmpPublish | Self::RtcPublish)
    }
}

/// The fixed facts of a client.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// Unique; the trace id of its log lines.
    pub id: String,
    /// Protocol and direction.
    pub kind: ClientKind,
    /// The stream it publishes or plays.
    pub key: StreamKey,
    /// Its address as the server sees it.
    pub ip: IpAddr,
    /// `tcUrl` of RTMP, the request URL without its query elsewhere.
    pub url: String,
    /// `pageUrl` of RTMP, `Referer` of HTTP.
    pub page_url: String,
    /// The query it came with, `?` included, or empty: a stream key or token may be in it.
    pub param: Secret,
    /// When it came.
    pub since: Instant,
}

/// One client as others see it.
#[derive(Debug)]
pub struct Client {
    /// The fixed facts.
    pub info: Arc<ClientInfo>,
    /// What it has been sent and has sent.
    pub traffic: Arc<Traffic>,
    kicked: AtomicBool,
    wake: WakeCell,
}

struct WakeCell(Arc<dyn Wake>);

impl std::fmt::Debug for WakeCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wake")
    }
}

impl Client {
    /// Asks the client's own task or worker to end it.
    pub fn kick(&self) {
        self.kicked.store(true, Ordering::Release);
        self.wake.0.wake();
    }

    /// Its owner must end it.
    pub fn is_kicked(&self) -> bool {
        self.kicked.load(Ordering::Acquire)
    }

    /// Counts bytes sent to it.
    pub fn sent(&self, bytes: usize) {
        self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes received from it.
    pub fn received(&self, bytes: usize) {
        self.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// All clients by id. Control plane: touched when one comes or goes and by the API.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: DashMap<String, Arc<Client>>,
    entered: AtomicU64,
}

impl Clients {
    /// Enters a client; it leaves when the guard is dropped, and its pass with it. `wake` tells its
    /// owner of a kick.
    pub fn enter(self: &Arc<Self>, pass: Pass, wake: Arc<dyn Wake>) -> ClientGuard {
        let client = Arc::new(Client {
            info: Arc::clone(pass.info()),
            traffic: Arc::clone(pass.traffic()),
            kicked: AtomicBool::new(false),
            wake: WakeCell(wake),
        });
        self.by_id.insert(client.info.id.clone(), Arc::clone(&client));
        self.entered.fetch_add(1, Ordering::Relaxed);
        ClientGuard { clients: Arc::clone(self), client, _pass: pass }
    }

    /// The client with this id.
    pub fn get(&self, id: &str) -> Option<Arc<Client>> {
        self.by_id.get(id).map(|entry| Arc::clone(&entry))
    }

    /// All clients, oldest first.
    pub fn list(&self) -> Vec<Arc<Client>> {
        let mut list: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(&entry)).collect();
        list.sort_by(|a, b| a.info.since.cmp(&b.info.since).then_with(|| a.info.id.cmp(&b.info.id)));
        list
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// How many there have been since the start.
    pub fn entered(&self) -> u64 {
        self.entered.load(Ordering::Relaxed)
    }
}

/// Keeps a client on the list while it lives.
#[derive(Debug)]
pub struct ClientGuard {
    clients: Arc<Clients>,
    client: Arc<Client>,
    _pass: Pass,
}

impl Deref for ClientGuard {
    type Target = Arc<Client>;
    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.clients.by_id.remove_if(&self.client.info.id, |_, held| Arc::ptr_eq(held, &self.client));
    }
}
