//! A server on loopback, and what every test does with it.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use weir_rtc::{
    OpenError, OpenRequest, Opened, Protocols, RtcConfig, RtcHandle, RtcServer,
    sdp::{Direction, Terms},
};
use weir_source::{ClientInfo, ClientKind, Hub, Pass, Secret, StreamKey};

use crate::peer::{Peer, run_until};

pub(crate) struct Server {
    pub(crate) hub: Arc<Hub>,
    server: RtcServer,
    pub(crate) rtc: RtcHandle,
    clients: AtomicU32,
}

impl Server {
    pub(crate) fn start(workers: usize) -> Self {
        Self::with(RtcConfig { workers, ..RtcConfig::default() })
    }

    /// A server that listens on TCP too, and names these candidates.
    pub(crate) fn start_tcp(workers: usize, protocols: Protocols) -> Self {
        Self::with(RtcConfig { workers, protocols, tcp: vec![([127, 0, 0, 1], 0).into()], ..RtcConfig::default() })
    }

    pub(crate) fn with(config: RtcConfig) -> Self {
        let hub = Hub::new();
        let config = RtcConfig { listen: vec![([127, 0, 0, 1], 0).into()], ..config };
        let server = RtcServer::start(config, Arc::clone(&hub)).expect("it starts");
        let rtc = server.handle();
        Self { hub, server, rtc, clients: AtomicU32::new(0) }
    }

    pub(crate) fn open(&self, peer: &mut Peer, direction: Direction, name: &str) -> Result<Opened, OpenError> {
        let opened = self.ask(peer, direction, name)?;
        peer.answer(&opened.answer);
        Ok(opened)
    }

    /// Opens a session whose answer the peer never sees.
    pub(crate) fn open_only(&self, peer: &mut Peer, direction: Direction, name: &str) -> Opened {
        self.ask(peer, direction, name).expect("it is answered")
    }

    fn ask(&self, peer: &mut Peer, direction: Direction, name: &str) -> Result<Opened, OpenError> {
        self.post(peer.offer(), direction, name, false)
    }

    /// A viewer that is not sent to for longer than this after its last check.
    pub(crate) fn play_with_consent(&self, name: &str, consent: Duration) -> (Peer, Opened) {
        let mut peer = Peer::viewer();
        let terms = Terms { consent, ..Terms::default() };
        let opened = self.post_on(terms, peer.offer(), Direction::Play, name, false).expect("anybody may play");
        peer.answer(&opened.answer);
        (peer, opened)
    }

    /// Brings any offer; as a player's it may be answered by one of ours.
    pub(crate) fn post(&self, offer: String, direction: Direction, name: &str, counter: bool) -> Result<Opened, OpenError> {
        self.post_on(Terms::default(), offer, direction, name, counter)
    }

    fn post_on(&self, terms: Terms, offer: String, direction: Direction, name: &str, counter: bool) -> Result<Opened, OpenError> {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let info = ClientInfo {
            id: format!("peer{number}"),
            kind: if direction == Direction::Publish { ClientKind::RtcPublish } else { ClientKind::RtcPlay },
            key: StreamKey::new("live", name).expect("a name"),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            url: String::new(),
            page_url: String::new(),
            param: Secret::default(),
            since: Instant::now(),
        };
        self.rtc.open(OpenRequest {
            pass: Pass::free(info),
            offer,
            extra_candidate: None,
            codec: None,
            layer_max: None,
            ice: None,
            counter_offer: counter,
            reached_by: Vec::new(),
            terms,
        })
    }

    pub(crate) fn publish(&self, name: &str) -> (Peer, Opened) {
        self.publish_from(Peer::publisher(), name)
    }

    pub(crate) fn publish_from(&self, mut peer: Peer, name: &str) -> (Peer, Opened) {
        let opened = self.open(&mut peer, Direction::Publish, name).expect("a free name");
        run_until(&mut [&mut peer], "the publisher connects", |peers| peers[0].is_connected());
        (peer, opened)
    }

    pub(crate) fn play(&self, name: &str) -> (Peer, Opened) {
        self.play_to(Peer::viewer(), name)
    }

    pub(crate) fn play_to(&self, mut peer: Peer, name: &str) -> (Peer, Opened) {
        let opened = self.open(&mut peer, Direction::Play, name).expect("anybody may play");
        (peer, opened)
    }

    pub(crate) fn shutdown(&self) {
        self.server.shutdown();
    }

    /// Sessions, clients, sources: all zero when all have left.
    pub(crate) fn gauges(&self) -> [usize; 4] {
        let stats = self.rtc.stats();
        [stats.publishers + stats.players, stats.waiting, self.hub.clients().count(), self.hub.list().len()]
    }

    pub(crate) fn wait_for_nobody(&self) {
        let limit = Instant::now() + Duration::from_secs(5);
        while self.gauges() != [0; 4] {
            assert!(Instant::now() < limit, "left behind: {:?}", self.gauges());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
