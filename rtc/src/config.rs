//! What the WebRTC side of a server can be told.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Settings of an [`RtcServer`](crate::RtcServer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcConfig {
    /// The UDP addresses to listen on: 1 to 4, of different IP addresses. Port 0 lets the kernel
    /// choose. An IPv6 address takes IPv6 only. Default `0.0.0.0:8000`.
    pub listen: Vec<SocketAddr>,
    /// The TCP addresses to listen on for ICE over TCP (RFC 6544), as `listen`. Default: none. A
    /// connection costs up to 544 KiB of ours and 1 MiB of the kernel's while its end is slow.
    pub tcp: Vec<SocketAddr>,
    /// Which of them answers name. Default UDP.
    pub protocols: Protocols,
    /// The most TCP connections at a time. Default 10,000.
    pub connections_max: usize,
    /// The same from one address; loopback is exempt. Default 512.
    pub connections_per_ip_max: usize,
    /// Threads, each with a loop of its own; 0 (default) for one per core. At most 64.
    pub workers: usize,
    /// The addresses that answers name. Empty (default): our own.
    pub candidates: Vec<IpAddr>,
    /// Which addresses of interfaces those are, where a socket listens on all. Default: all usable ones.
    pub own: OwnAddresses,
    /// Bytes of receive buffer per socket, of which each worker has one per listening address.
    /// Default 8 MiB: a quarter of a second at 200 Mb/s while the thread is not scheduled. It is
    /// kernel memory, used only while datagrams wait.
    pub recv_buffer: usize,
    /// Bytes of send buffer per socket. Default 8 MiB.
    pub send_buffer: usize,
    /// The longest that a busy worker lets packets wait for others of the same viewer, so that they
    /// leave as one message; zero for never. Default 20 ms. Does not apply at low load.
    pub coalesce_max: Duration,
    /// The most sessions at a time, waiting ones included. Default 10,000; one costs up to 100 KiB.
    pub sessions_max: usize,
    /// The most sessions that have an answer but have not been heard by UDP yet. Default 1,000.
    pub waiting_max: usize,
    /// The same for one client address. Loopback is exempt: there sit our own proxies and tests.
    /// Default 64.
    pub waiting_per_ip_max: usize,
    /// How long a session that has an answer is waited for. A browser sends its first check within a
    /// second of the answer; a stream's name must not be held much longer by one that never comes.
    /// Default 10 s.
    pub unheard_max: Duration,
    /// How long an offer of ours is good. Default 30 s, as players take it to be.
    pub answer_within: Duration,
}

/// Which addresses of this machine answers name where they are told no others: SRS's
/// `use_auto_detect_network_ip` and `ip_family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddresses {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

impl OwnAddresses {
    /// Answers name what requests say, and nothing where they say nothing.
    pub const NONE: Self = Self { v4: false, v6: false };

    /// Whether those of IPv4, or else of IPv6, are among them.
    pub const fn has(self, is_v4: bool) -> bool {
        if is_v4 { self.v4 } else { self.v6 }
    }
}

impl Default for OwnAddresses {
    fn default() -> Self {
        Self { v4: true, v6: true }
    }
}

/// Which candidates answers have: SRS's `rtc_server.protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// UDP only.
    #[default]
    Udp,
    /// TCP only.
    Tcp,
    /// Both; peers try UDP first.
    All,
}

impl Protocols {
    pub(crate) const fn has_udp(self) -> bool {
        matches!(self, Self::Udp | Self::All)
    }

    pub(crate) const fn has_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::All)
    }
}

impl Default for RtcConfig {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8_000))],
            tcp: Vec::new(),
            protocols: Protocols::default(),
            connections_max: 10_000,
            connections_per_ip_max: 512,
            workers: 0,
            candidates: Vec::new(),
            own: OwnAddresses::default(),
            recv_buffer: 8 << 20,
            send_buffer: 8 << 20,
            coalesce_max: Duration::from_millis(20),
            sessions_max: 10_000,
            waiting_max: 1_000,
            waiting_per_ip_max: 64,
            unheard_max: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
        }
    }
}

/// More threads than this would only contend for the lobby.
const WORKERS_MAX: usize = 64;

impl RtcConfig {
    /// How many workers to start.
    pub(crate) fn worker_count(&self) -> usize {
        let wanted = match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            wanted => wanted,
        };
        wanted.clamp(1, WORKERS_MAX)
    }
}
