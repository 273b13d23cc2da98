//! All that the outside sees: start and stop a server, close sessions, ask how they are. `opening` opens
//! them, `report` tells their story.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use weir_source::Hub;

use crate::{
    ReconfigureError, RestartError, RtcConfig, RtcStats, SessionInfo, StartError,
    dtls::Identity,
    gate::Gate,
    live::{CoalesceMax, Live, Named},
    lobby::{Bounds, Lobby},
    names,
    net::{self, Listener, SOCKETS_MAX, Socket, SocketOptions},
    record::Restart,
    sdp::{self, Direction, IceCredentials},
    session::SessionConfig,
    srtp::SrtpProfile,
    timeline::EndReason,
    worker::{Mailbox, Parts, Worker},
};

/// How long [`RtcHandle::close`] waits for the owning thread, whose turn takes a millisecond or two:
/// a client that deletes a session and opens the next must find its stream name free.
const CLOSE_WAIT: Duration = Duration::from_millis(50);

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

/// What all handles work on.
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) lobby: Arc<Lobby>,
    identity: Identity,
    pub(crate) fingerprint: String,
    mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) bound: Vec<SocketAddr>,
    pub(crate) tcp_bound: Vec<SocketAddr>,
    pub(crate) live: Live,
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
        let lobby = &self.handle.0.lobby;
        for waiting in lobby.close() {
            lobby.bury_waiting(waiting, Instant::now(), EndReason::Shutdown);
        }
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
    pub(crate) fn shared(&self) -> &Shared {
        &self.0
    }

    /// Ends a session: its peer is told, its stream name is free when this returns (or at the
    /// latest some milliseconds after). `false`: there is no such session.
    pub fn close(&self, session: &str) -> bool {
        let Some(record) = self.0.lobby.session(session) else { return false };
        if let Some(waiting) = self.0.lobby.withdraw(&record) {
            self.0.lobby.bury_waiting(*waiting, Instant::now(), EndReason::Deleted);
        } else if record.is_deleted() {
            return false;
        } else {
            record.delete();
            record.wait_for_end(CLOSE_WAIT);
        }
        true
    }

    /// Restarts a session's ICE (RFC 8445 section 9): both sides get new credentials, media goes on
    /// where it goes until the peer nominates another pair. `known` is the entity tag that the client knows;
    /// `None`: any.
    ///
    /// # Errors
    ///
    /// [`RestartError`]; nothing has changed then.
    pub fn restart_ice(&self, session: &str, known: Option<&str>, remote: IceCredentials) -> Result<Restarted, RestartError> {
        let record = self.0.lobby.session(session).filter(|record| !record.is_deleted()).ok_or(RestartError::NoSession)?;
        let local = names::ice();
        let fragment = sdp::with_credentials(&record.fragment, &local);
        let tag = names::etag();
        if !self.0.lobby.rename(&record, &local) {
            return Err(RestartError::NoSession);
        }
        // A name that comes to nothing is forgotten with the session, or by the next restart.
        if !record.restart_ice(known, Restart { local, remote }, tag.clone()) {
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
    pub(crate) fn sweep(&self, now: Instant) {
        for (waiting, reason) in self.lobby.expire(now) {
            tracing::debug!(id = %waiting.record.id, key = %waiting.record.key, ?reason, "session expired");
            self.lobby.bury_waiting(waiting, now, reason);
        }
    }
}
