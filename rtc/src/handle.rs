//! All that the outside sees: start a server, open and close sessions, ask how they are.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use rand::Rng;
use weir_source::{Codec, Hub, Lane, Pass, Publisher, StreamKey, Track, TrackId, Tracks};

use crate::{
    Candidate, OpenError, ReconfigureError, RestartError, RtcConfig, RtcStats, SessionInfo, StartError, candidate,
    dtls::Identity,
    gate::Gate,
    live::{CoalesceMax, Live, Named},
    lobby::{Bounds, Lobby, Refusal, Waiting},
    net::{self, Listener, SOCKETS_MAX, Socket, SocketOptions},
    record::{Facts, Record, Restart},
    sdp::{self, Direction, IceCredentials, LocalParams, SessionParams, negotiate},
    session::SessionConfig,
    srtp::SrtpProfile,
    worker::{Mailbox, Parts, PeerWake, Worker},
};

/// How long [`RtcHandle::close`] waits for the owning thread, whose turn takes a millisecond or two:
/// a client that deletes a session and opens the next must find its stream name free.
const CLOSE_WAIT: Duration = Duration::from_millis(50);

/// What a client asks for by HTTP, once it has been let in.
#[derive(Debug)]
pub struct OpenRequest {
    /// Who it is, and whether it publishes or plays which stream. Its id must be unique among living
    /// clients.
    pub pass: Pass,
    /// The SDP offer.
    pub offer: String,
    /// An address of ours to name first.
    pub extra_candidate: Option<Candidate>,
    /// Publishing: this codec or none; playing: this one first.
    pub codec: Option<Codec>,
    /// Playing: of simulcast layers none better than the one of this name.
    pub layer_max: Option<String>,
    /// Our ICE credentials, where the client wants to choose them.
    pub ice: Option<IceCredentials>,
}

impl OpenRequest {
    fn direction(&self) -> Direction {
        if self.pass.info().kind.is_publisher() { Direction::Publish } else { Direction::Play }
    }
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its name: 32 random letters and digits, fit for a URL.
    pub session: String,
    /// The SDP answer.
    pub answer: String,
    /// A strong entity tag of its ICE session, with its quotes.
    pub etag: String,
    /// `our ufrag:theirs`, which SRS calls the session's id.
    pub username: String,
}

/// A session whose ICE was restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Our new credentials and our candidates as an SDP fragment (RFC 8840 section 9).
    pub fragment: String,
    /// The entity tag of the new ICE session, with its quotes.
    pub etag: String,
}

/// The running server. Dropping it is [`RtcServer::shutdown`].
pub struct RtcServer {
    handle: RtcHandle,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Opens, closes and shows sessions. Cheap to clone; all calls are short and synchronous.
#[derive(Clone)]
pub struct RtcHandle(Arc<Shared>);

struct Shared {
    hub: Arc<Hub>,
    lobby: Arc<Lobby>,
    identity: Identity,
    fingerprint: String,
    mailboxes: Vec<Arc<Mailbox>>,
    bound: Vec<SocketAddr>,
    tcp_bound: Vec<SocketAddr>,
    live: Live,
    gate: Arc<Gate>,
}

impl RtcServer {
    /// Binds the ports, makes the certificate and starts the workers.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind.
    pub fn start(config: RtcConfig, hub: Arc<Hub>) -> Result<Self, StartError> {
        let count = config.worker_count();
        let sockets = bind(&config, count)?;
        let bound: Vec<SocketAddr> =
            sockets.first().map(|first| first.iter().map(Socket::local_addr).collect()).unwrap_or_default();
        let listeners = listen(&config, count)?;
        let tcp_bound: Vec<SocketAddr> =
            listeners.first().map(|first| first.iter().map(Listener::local_addr).collect()).unwrap_or_default();
        let named = Named::gather(&config, &bound, &tcp_bound).map_err(StartError::Candidates)?;
        let coalesce_max = CoalesceMax::new(config.coalesce_max);
        let gate = Gate::new(config.connections_max, config.connections_per_ip_max);
        let identity = Identity::generate()?;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let session = Arc::new(SessionConfig::new(Instant::now(), unix));
        let (sessions, waiting, waiting_per_ip) = (config.sessions_max, config.waiting_max, config.waiting_per_ip_max);
        let lobby = Arc::new(Lobby::new(Bounds { sessions, waiting, waiting_per_ip }));

        let mut mailboxes = Vec::with_capacity(count);
        let mut inboxes = Vec::with_capacity(count);
        for _ in 0..count {
            let (mailbox, inbox) = Mailbox::new(config.sessions_max).map_err(StartError::Worker)?;
            mailboxes.push(mailbox);
            inboxes.push(inbox);
        }
        let shared = Shared {
            hub: Arc::clone(&hub),
            lobby: Arc::clone(&lobby),
            fingerprint: identity.fingerprint_sha256(),
            identity,
            mailboxes: mailboxes.clone(),
            bound,
            tcp_bound,
            live: Live::new(config, named, coalesce_max.clone()),
            gate: Arc::clone(&gate),
        };
        let server = Self { handle: RtcHandle(Arc::new(shared)), threads: Mutex::default() };
        for (index, ((sockets, listeners), inbox)) in sockets.into_iter().zip(listeners).zip(inboxes).enumerate() {
            let worker = Worker::new(Parts {
                index,
                sockets,
                listeners,
                gate: Arc::clone(&gate),
                inbox,
                mailboxes: mailboxes.clone(),
                lobby: Arc::clone(&lobby),
                hub: Arc::clone(&hub),
                identity: server.handle.0.identity.clone(),
                session: Arc::clone(&session),
                coalesce_max: coalesce_max.clone(),
            })
            .map_err(StartError::Worker)?;
            let thread = std::thread::Builder::new().name(format!("rtc-{index}")).spawn(move || worker.run());
            server.threads.lock().push(thread.map_err(StartError::Worker)?);
        }
        Ok(server)
    }

    /// For the HTTP side.
    pub fn handle(&self) -> RtcHandle {
        self.handle.clone()
    }

    /// Ends every session with a DTLS close_notify and joins the threads: milliseconds. Later calls
    /// do nothing.
    pub fn shutdown(&self) {
        let gone = self.handle.0.lobby.close();
        gone.iter().for_each(|waiting| waiting.record.end());
        drop(gone);
        self.handle.0.mailboxes.iter().for_each(|mailbox| mailbox.stop());
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::warn!("an RTC worker had panicked");
            }
        }
    }
}

impl Drop for RtcServer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// One socket per worker and listening address. The first worker's settle the ports.
fn bind(config: &RtcConfig, count: usize) -> Result<Vec<Vec<Socket>>, StartError> {
    let ips: HashSet<IpAddr> = config.listen.iter().map(SocketAddr::ip).collect();
    if ips.len() != config.listen.len() || !(1..=SOCKETS_MAX).contains(&ips.len()) {
        return Err(StartError::Listen);
    }
    let options = SocketOptions { reuse_port: count > 1, recv_buffer: config.recv_buffer, send_buffer: config.send_buffer };
    let mut listen = config.listen.clone();
    let mut all = Vec::with_capacity(count);
    for worker in 0..count {
        let mut sockets = Vec::with_capacity(listen.len());
        for addr in &mut listen {
            let failed = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::AddrInUse => StartError::AddressInUse(*addr),
                _ => StartError::Socket { addr: *addr, error },
            };
            if worker == 0 {
                net::is_free(*addr).map_err(failed)?;
            }
            let socket = Socket::bind(*addr, &options).map_err(failed)?;
            *addr = socket.local_addr();
            sockets.push(socket);
        }
        all.push(sockets);
    }
    if let Some(socket) = all.first().and_then(|sockets| sockets.first()) {
        warn_of_small_buffers(config, socket);
    }
    Ok(all)
}

/// One listener per worker and TCP address, as [`bind`].
fn listen(config: &RtcConfig, count: usize) -> Result<Vec<Vec<Listener>>, StartError> {
    if config.protocols.has_tcp() && config.tcp.is_empty() {
        return Err(StartError::NoListener);
    }
    let mut tcp = config.tcp.clone();
    let mut all = Vec::with_capacity(count);
    for worker in 0..count {
        let mut listeners = Vec::with_capacity(tcp.len());
        for addr in &mut tcp {
            let failed = |error: std::io::Error| match error.kind() {
                std::io::ErrorKind::AddrInUse => StartError::TcpInUse(*addr),
                _ => StartError::Listener { addr: *addr, error },
            };
            if worker == 0 {
                net::is_stream_free(*addr).map_err(failed)?;
            }
            let listener = Listener::bind(*addr, count > 1).map_err(failed)?;
            *addr = listener.local_addr();
            listeners.push(listener);
        }
        all.push(listeners);
    }
    Ok(all)
}

/// One line, with the command that helps. The kernel's limits are on what is asked for.
fn warn_of_small_buffers(config: &RtcConfig, socket: &Socket) {
    let granted = socket.granted();
    let (recv, send) = (config.recv_buffer, config.send_buffer);
    if granted.recv < recv || granted.send < send {
        tracing::warn!(
            "UDP buffers are {} bytes (receive) and {} (send) instead of {recv} and {send}, datagrams will be lost under \
            load: run `sysctl -w net.core.rmem_max={recv} net.core.wmem_max={send}` and start again",
            granted.recv,
            granted.send
        );
    }
}

impl RtcHandle {
    /// Negotiates a session and leaves it to wait for its first packet, up to ten seconds. A
    /// publisher holds its stream's name from here on.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing is left behind.
    pub fn open(&self, request: OpenRequest) -> Result<Opened, OpenError> {
        let shared = &*self.0;
        let now = Instant::now();
        shared.sweep(now);
        let info = Arc::clone(request.pass.info());
        shared.lobby.admits(info.ip)?;
        let ice = credentials(request.ice.as_ref())?;
        let (answer, mut params) = shared.negotiate(&request, &ice)?;
        params.layer_max.clone_from(&request.layer_max);
        let wake = Arc::new(PeerWake::default());
        let direction = request.direction();
        let publisher = match direction {
            Direction::Publish => Some(shared.take_seat(&request.pass, &wake, now)?),
            Direction::Play => None,
        };
        let username = format!("{}:{}", ice.ufrag, params.remote_ice.ufrag);
        let etag = new_etag();
        let codecs = params.media.iter().filter_map(|media| media.codecs.first()).map(|codec| codec.codec).collect();
        let facts = Facts {
            session: random_text(SESSION_CHARS),
            id: info.id.clone(),
            direction,
            key: info.key.clone(),
            client_ip: info.ip,
            since: now,
            ice,
            remote_ufrag: params.remote_ice.ufrag.clone(),
            etag: etag.clone(),
            fragment: sdp::fragment(&answer),
            codecs,
        };
        let guard = shared.hub.clients().enter(request.pass, Arc::clone(&wake) as Arc<dyn weir_source::Wake>);
        let record = Record::new(facts, wake);
        let session = record.session.clone();
        tracing::debug!(id = %record.id, key = %record.key, direction = ?record.direction, "session negotiated");
        shared.lobby.enter(Waiting::new(record, guard, params, publisher, now))?;
        Ok(Opened { session, answer, etag, username })
    }

    /// Ends a session: its peer is told, its stream name is free when this returns (or at the
    /// latest some milliseconds after). `false`: there is no such session.
    pub fn close(&self, session: &str) -> bool {
        let Some(record) = self.0.lobby.session(session) else { return false };
        if let Some(waiting) = self.0.lobby.withdraw(&record) {
            drop(waiting);
            record.end();
        } else if record.is_deleted() {
            return false;
        } else {
            record.delete();
            record.wait_for_end(CLOSE_WAIT);
        }
        true
    }

    /// Restarts a session's ICE (RFC 8445 section 9): both sides get new credentials, media goes on
    /// where it goes until the peer nominates another pair. `etag` is the one that the client knows.
    ///
    /// # Errors
    ///
    /// [`RestartError`]; nothing has changed then.
    pub fn restart_ice(&self, session: &str, etag: &str, remote: IceCredentials) -> Result<Restarted, RestartError> {
        let record = self.0.lobby.session(session).filter(|record| !record.is_deleted()).ok_or(RestartError::NoSession)?;
        let local = IceCredentials { ufrag: random_text(UFRAG_CHARS), pwd: random_text(PWD_CHARS) };
        let fragment = sdp::with_credentials(&record.fragment, &local);
        let tag = new_etag();
        if !self.0.lobby.rename(&record, &local) {
            return Err(RestartError::NoSession);
        }
        // A name that comes to nothing is forgotten with the session, or by the next restart.
        if !record.restart_ice(etag, Restart { local, remote }, tag.clone()) {
            return Err(RestartError::Changed);
        }
        Ok(Restarted { fragment, etag: tag })
    }

    /// How a session is. `None`: there is no such session.
    pub fn info(&self, session: &str) -> Option<SessionInfo> {
        let record = self.0.lobby.session(session).filter(|record| !record.is_deleted())?;
        Some(record.info(Instant::now()))
    }

    /// All sessions, waiting ones included.
    pub fn list(&self) -> Vec<SessionInfo> {
        let now = Instant::now();
        self.0.lobby.sessions().0.iter().map(|record| record.info(now)).collect()
    }

    /// Gauges and counters of the whole server, at most a second old.
    pub fn stats(&self) -> RtcStats {
        self.0.sweep(Instant::now());
        let (sessions, waiting) = self.0.lobby.sessions();
        let publishers = sessions.iter().filter(|record| record.direction == Direction::Publish).count();
        let mut stats = RtcStats {
            workers: self.0.mailboxes.len(),
            publishers,
            players: sessions.len() - publishers,
            waiting,
            sessions: self.0.lobby.totals(),
            ..RtcStats::default()
        };
        for record in &sessions {
            let (connected, gcm, tcp) = record
                .look(|connected, session| (connected, session.profile == Some(SrtpProfile::AeadAes128Gcm), session.over_tcp));
            stats.connected += usize::from(connected);
            stats.connected_gcm += usize::from(connected && gcm);
            stats.connected_tcp += usize::from(connected && tcp);
        }
        for mailbox in &self.0.mailboxes {
            stats.traffic.add(&mailbox.published());
        }
        stats.traffic.tcp.open = self.0.gate.count() as u64;
        stats
    }

    /// The UDP port of the first listening address.
    pub fn local_port(&self) -> u16 {
        self.0.bound.first().map_or(0, SocketAddr::port)
    }

    /// The UDP addresses of ours that clients can reach, as found at start or by the last
    /// [`RtcHandle::reconfigure`].
    pub fn candidates(&self) -> Vec<SocketAddr> {
        self.0.live.named().udp.clone()
    }

    /// The same of TCP; none without a listener.
    pub fn tcp_candidates(&self) -> Vec<SocketAddr> {
        self.0.live.named().tcp.clone()
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<RtcConfig> {
        self.0.live.config()
    }

    /// Whether [`RtcHandle::reconfigure`] would take these settings; nothing changes.
    ///
    /// # Errors
    ///
    /// [`ReconfigureError`].
    pub fn check(&self, config: &RtcConfig) -> Result<(), ReconfigureError> {
        self.0.live.check(config, &self.0.bound, &self.0.tcp_bound).map(|_named| ())
    }

    /// Takes other settings: candidates, protocols and `coalesce_max`. Addresses of interfaces are
    /// looked up again.
    ///
    /// # Errors
    ///
    /// [`ReconfigureError`]; nothing has changed then.
    pub fn reconfigure(&self, config: RtcConfig) -> Result<(), ReconfigureError> {
        let named = self.0.live.check(&config, &self.0.bound, &self.0.tcp_bound)?;
        self.0.live.set(config, named);
        Ok(())
    }
}

impl Shared {
    /// Takes out who has waited too long.
    fn sweep(&self, now: Instant) {
        for waiting in self.lobby.expire(now) {
            tracing::debug!(id = %waiting.record.id, key = %waiting.record.key, "session expired unheard");
            let record = Arc::clone(&waiting.record);
            drop(waiting);
            record.end();
        }
    }

    fn negotiate(&self, request: &OpenRequest, ice: &IceCredentials) -> Result<(String, SessionParams), OpenError> {
        let named = |wanted: bool, base: &[SocketAddr], bound: &[SocketAddr]| match wanted {
            true => candidate::with_first(base, bound, request.extra_candidate),
            false => Vec::new(),
        };
        let ours = self.live.named();
        let candidates = named(ours.protocols.has_udp(), &ours.udp, &self.bound);
        let tcp_candidates = named(ours.protocols.has_tcp(), &ours.tcp, &self.tcp_bound);
        let key = &request.pass.info().key;
        let prefer = match request.direction() {
            Direction::Publish => None,
            Direction::Play => self.live_tracks(key),
        };
        let mut rng = rand::rng();
        let audio_ssrc = rng.random_range(1..u32::MAX - 1);
        let local = LocalParams {
            ice: ice.clone(),
            fingerprint: &self.fingerprint,
            candidates: &candidates,
            tcp_candidates: &tcp_candidates,
            session_id: rng.random::<u64>() >> 1,
            audio_ssrc,
            // One more is another number each, and none is zero.
            video_ssrc: audio_ssrc + 1,
            rtx_ssrc: audio_ssrc + 2,
            stream_id: &format!("{}/{}", key.app(), key.stream()),
            prefer: prefer.as_deref(),
            codec: request.codec,
        };
        Ok(negotiate(&request.offer, request.direction(), &local)?)
    }

    /// What a player of this stream will get, if somebody publishes it.
    fn live_tracks(&self, key: &StreamKey) -> Option<Arc<Tracks>> {
        let source = self.hub.get(key)?;
        let native = source.publisher_lane()?;
        let tracks = source.tracks(Lane::Packets);
        match native {
            Lane::Packets => (!tracks.list.is_empty()).then_some(tracks),
            Lane::Frames if !tracks.list.is_empty() => Some(tracks),
            // What the remuxer will make of it once somebody reads.
            Lane::Frames => Some(Arc::new(Tracks {
                list: vec![
                    Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2)),
                    Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0)),
                ],
                ..Tracks::default()
            })),
        }
    }

    fn take_seat(&self, pass: &Pass, wake: &Arc<PeerWake>, now: Instant) -> Result<Publisher<weir_source::Packet>, OpenError> {
        let wake = Arc::clone(wake) as Arc<dyn weir_source::Wake>;
        self.hub.publish_by(pass, wake, now).map_err(|_busy| OpenError::StreamBusy)
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Self::ShuttingDown,
            Refusal::Full => Self::TooManySessions,
            Refusal::UfragTaken => Self::BadIce,
        }
    }
}

/// SRS's lengths: short enough for the username, and 47 bits keep them apart.
const UFRAG_CHARS: usize = 8;
/// RFC 8839 section 5.4 wants 22 or more.
const PWD_CHARS: usize = 32;
/// 165 bits: nobody guesses a session's name.
const SESSION_CHARS: usize = 32;
/// Distinct for every ICE session there ever is.
const ETAG_CHARS: usize = 16;

fn credentials(wanted: Option<&IceCredentials>) -> Result<IceCredentials, OpenError> {
    let Some(wanted) = wanted else {
        return Ok(IceCredentials { ufrag: random_text(UFRAG_CHARS), pwd: random_text(PWD_CHARS) });
    };
    // RFC 8839 section 5.4: ice-char is a letter, a digit, "+" or "/".
    let legal = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    let fits = (4..=256).contains(&wanted.ufrag.len()) && (22..=256).contains(&wanted.pwd.len());
    if fits && legal(&wanted.ufrag) && legal(&wanted.pwd) { Ok(wanted.clone()) } else { Err(OpenError::BadIce) }
}

/// A strong one.
fn new_etag() -> String {
    format!("\"{}\"", random_text(ETAG_CHARS))
}

/// Lower-case letters and digits from the thread's cryptographic generator.
fn random_text(chars: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    (0..chars).map(|_| ALPHABET.get(rng.random_range(0..ALPHABET.len())).map_or('a', |byte| char::from(*byte))).collect()
}
