//! `rtc_server`: the sockets and addresses of WebRTC's media.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use weir_rtc::{OwnAddresses, Protocols};
use weir_web::ReachedConfig;

use super::{
    Environment, Mistake, Origin,
    settings::{Settings, View},
    table::{Kind, Row},
};

/// The path of `candidate`: the one directive whose `$NAME` may be missing from the environment.
pub(super) const CANDIDATE: &str = "rtc_server.candidate";
/// More threads than this would only contend.
const WORKERS_MAX: usize = 64;

pub(super) const ROWS: &[Row] = &[
    Row::block("rtc_server", "WebRTC's media"),
    Row::new("rtc_server.enabled", Kind::Flag, "off", "Take WebRTC clients"),
    Row::new("rtc_server.listen", Kind::Listen, "8000", "The UDP port for all of them; up to four addresses"),
    Row::block("rtc_server.tcp", "The same over TCP, for clients behind firewalls that let no UDP through"),
    Row::new("rtc_server.tcp.enabled", Kind::Flag, "off", "Take clients over TCP"),
    Row::new("rtc_server.tcp.listen", Kind::Listen, "", "Where; nothing: the ports of UDP"),
    Row::new("rtc_server.protocol", Kind::Choice(&["udp", "tcp", "all"]), "udp", "Which of the two clients are told of"),
    Row::new(
        CANDIDATE,
        Kind::Words,
        "*",
        "The addresses that clients are told to send to: IPs, names, $VARIABLE; *: the machine's own",
    ),
    Row::new(
        "rtc_server.use_auto_detect_network_ip",
        Kind::Flag,
        "on",
        "Find the machine's own addresses for *; off: only the host of the signalling request is told",
    ),
    Row::new(
        "rtc_server.ip_family",
        Kind::Choice(&["ipv4", "ipv6", "all"]),
        "",
        "Which of them; nothing: all that are listened on (SRS: ipv4)",
    ),
    Row::new(
        "rtc_server.api_as_candidates",
        Kind::Flag,
        "on",
        "Tell the host of the signalling request as well, behind those that candidate names",
    ),
    Row::new("rtc_server.resolve_api_domain", Kind::Flag, "on", "If it is a name, look it up: its public addresses are told"),
    Row::new("rtc_server.keep_api_domain", Kind::Flag, "off", "Tell the name")
        .without_effect("addresses are told: not every client looks names up"),
    Row::new("rtc_server.ecdsa", Kind::Flag, "on", "A certificate of ECDSA rather than RSA")
        .without_effect("certificates are of ECDSA"),
    Row::new("rtc_server.encrypt", Kind::Flag, "on", "Encrypt media").without_effect("media is always encrypted"),
    Row::new("rtc_server.reuseport", Kind::Number(1, 64), "1", "Sockets on the port")
        .without_effect("there is one for each worker"),
    Row::new("rtc_server.merge_nalus", Kind::Flag, "off", "One NAL unit for each picture")
        .without_effect("units are packed by RFC 6184"),
    Row::block("rtc_server.black_hole", "A copy of all packets for debugging"),
    Row::new("rtc_server.black_hole.enabled", Kind::Flag, "off", "Send copies").without_effect("no copies are sent"),
    Row::new("rtc_server.black_hole.addr", Kind::Text, "", "Where to"),
    Row::new(
        "rtc_server.workers",
        Kind::Checked(workers),
        "auto",
        "Threads that carry media; auto: one for each core. Weir's own",
    ),
    Row::new(
        "rtc_server.buffer",
        Kind::Bytes(65_536, 1 << 30),
        "16m",
        "Bytes of kernel buffer for each worker and direction. Weir's own",
    ),
    Row::new(
        "rtc_server.coalesce",
        Kind::Millis(0.0, 20.0),
        "20",
        "Milliseconds that busy workers gather a viewer's packets at most. Weir's own",
    ),
];

/// WebRTC's media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtcServer {
    /// Where UDP listens; empty: WebRTC is off.
    pub listen: Vec<SocketAddr>,
    /// Where TCP listens; empty: it does not.
    pub tcp: Vec<SocketAddr>,
    /// Which of the two clients are told of.
    pub protocol: Protocols,
    /// The addresses that clients are told; empty: the machine's own.
    pub candidates: Vec<IpAddr>,
    /// Which of the machine's own.
    pub own: OwnAddresses,
    /// Names that stand for such addresses, until `resolve` has looked them up.
    pub names: Vec<String>,
    /// Whether the API's host is told as well.
    pub reached: ReachedConfig,
    /// Threads; 0: one for each core.
    pub workers: usize,
    /// Bytes of kernel buffer for each worker and direction.
    pub buffer: usize,
    /// The longest that busy workers gather a viewer's packets.
    pub coalesce: Duration,
}

/// Reads the section. The environment's bare `CANDIDATE` counts where nobody else names one.
pub(super) fn read(settings: &Settings, environment: &Environment) -> RtcServer {
    let (view, tcp) = (settings.server("rtc_server"), settings.server("rtc_server.tcp"));
    let listen = if view.flag("enabled") { view.listens("listen") } else { Vec::new() };
    let tcp = match (view.flag("enabled") && tcp.flag("enabled"), tcp.listens("listen")) {
        (false, _) => Vec::new(),
        (true, own) if own.is_empty() => listen.clone(),
        (true, own) => own,
    };
    let bare = environment.get("CANDIDATE").filter(|_| !view.is_set("candidate")).unwrap_or_default();
    let mut words = view.words("candidate");
    words.extend(bare.split([',', ' ']).map(str::to_owned));
    words.retain(|word| !matches!(word.as_str(), "" | "*" | "0.0.0.0" | "::"));
    let names = words.iter().filter(|word| word.parse::<IpAddr>().is_err()).cloned().collect();
    RtcServer {
        listen,
        tcp,
        protocol: match view.text("protocol").as_str() {
            "tcp" => Protocols::Tcp,
            "all" => Protocols::All,
            _ => Protocols::Udp,
        },
        candidates: words.iter().filter_map(|word| word.parse().ok()).collect(),
        names,
        own: own(&view),
        reached: ReachedConfig { host: view.flag("api_as_candidates"), resolve: view.flag("resolve_api_domain") },
        workers: view.text("workers").parse().unwrap_or(0),
        buffer: view.number("buffer"),
        coalesce: view.millis("coalesce"),
    }
}

fn own(view: &View<'_>) -> OwnAddresses {
    match (view.flag("use_auto_detect_network_ip"), view.text("ip_family").as_str()) {
        (false, _) => OwnAddresses::NONE,
        (true, "ipv4") => OwnAddresses { v4: true, v6: false },
        (true, "ipv6") => OwnAddresses { v4: false, v6: true },
        (true, _) => OwnAddresses::default(),
    }
}

impl RtcServer {
    /// Looks up the names among the candidates: one address of each, IPv4 before IPv6.
    pub(super) fn resolve(&mut self, origin: &Origin) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for name in std::mem::take(&mut self.names) {
            let found: Vec<IpAddr> = (name.as_str(), 0).to_socket_addrs().into_iter().flatten().map(|addr| addr.ip()).collect();
            match found.iter().find(|ip| ip.is_ipv4()).or_else(|| found.first()) {
                Some(ip) => self.candidates.push(*ip),
                None => mistakes.push(Mistake {
                    origin: origin.clone(),
                    text: format!("{CANDIDATE}: '{name}' is no address and no name that has one"),
                }),
            }
        }
        mistakes
    }
}

fn workers(word: &str) -> Result<(), String> {
    match word.parse::<usize>() {
        _ if word == "auto" => Ok(()),
        Ok(1..=WORKERS_MAX) => Ok(()),
        _ => Err(format!("must be auto or a number from 1 to {WORKERS_MAX}, not '{word}'")),
    }
}
