//! The host of a signalling request as a WebRTC address: a client that reached the API there may reach
//! the media there too (`api_as_candidates`).
//!
//! The `Host` header is a stranger's word. It is told to nobody but that stranger, and it gets no more
//! out of it than it puts in: a literal address comes back as it was, and a name as its public
//! addresses, so that names of an inner network stay unknown. Names are looked up only for clients that
//! were let in, a few at a time, and nobody waits long.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::signalling::host;

/// Settings: what `rtc_server` says of the API's host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReachedConfig {
    /// Name the host of the request if it is an address (`api_as_candidates`). Default off.
    pub host: bool,
    /// If it is a name, look it up (`resolve_api_domain`). Default off.
    pub resolve: bool,
}

/// Names remembered. A server has one or two; the rest is guesses of strangers.
const NAMES_MAX: usize = 64;
/// How long one is remembered, found or not: about what a changed DNS record may take.
const NAME_AGE: Duration = Duration::from_secs(60);
/// Lookups at a time: each holds a thread of the blocking pool for as long as the resolver likes.
const LOOKUPS_MAX: usize = 4;
/// How long a client waits for one. It has our other addresses.
const LOOKUP_WAIT: Duration = Duration::from_millis(500);
/// Addresses taken of one name.
const ADDRESSES_MAX: usize = 2;

/// The names that were looked up.
pub(crate) struct Reached {
    known: Mutex<HashMap<String, Known>>,
    lookups: Arc<Semaphore>,
}

struct Known {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Default for Reached {
    fn default() -> Self {
        Self { known: Mutex::default(), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }
}

impl Reached {
    /// The addresses by which the client of a request reached us, as far as they may be named.
    pub(crate) async fn by(self: &Arc<Self>, config: ReachedConfig, headers: &HeaderMap) -> Vec<IpAddr> {
        match Host::of(host(headers)) {
            Some(Host::Address(ip)) if config.host && is_nameable(ip) => vec![ip],
            Some(Host::Name(name)) if config.host && config.resolve => self.resolve(name).await,
            _ => Vec::new(),
        }
    }

    async fn resolve(self: &Arc<Self>, name: String) -> Vec<IpAddr> {
        if let Some(addresses) = self.known(&name, Instant::now()) {
            return addresses;
        }
        let Ok(permit) = Arc::clone(&self.lookups).try_acquire_owned() else { return Vec::new() };
        let names = Arc::clone(self);
        // A task of its own: what comes too late for this client is there for the next.
        let lookup = tokio::spawn(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.into_iter().flatten().map(|addr| addr.ip().to_canonical());
            let addresses: Vec<IpAddr> = found.filter(|ip| is_public(*ip)).take(ADDRESSES_MAX).collect();
            names.learn(name, addresses.clone(), Instant::now());
            drop(permit);
            addresses
        });
        match tokio::time::timeout(LOOKUP_WAIT, lookup).await {
            Ok(Ok(addresses)) => addresses,
            _ => Vec::new(),
        }
    }

    fn known(&self, name: &str, now: Instant) -> Option<Vec<IpAddr>> {
        self.known.lock().get(name).filter(|known| now < known.until).map(|known| known.addresses.clone())
    }

    fn learn(&self, name: String, addresses: Vec<IpAddr>, now: Instant) {
        let mut known = self.known.lock();
        if known.len() >= NAMES_MAX {
            known.retain(|_, known| now < known.until);
        }
        // A full table is a flood of names: what is known of before goes on to be of use.
        if known.len() < NAMES_MAX || known.contains_key(&name) {
            known.insert(name, Known { addresses, until: now + NAME_AGE });
        }
    }
}

/// What a `Host` header names.
#[derive(Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    /// `203.0.113.7:1985`, `[2001:db8::7]`, `media.example.net:443`; a name has a dot and letters,
    /// digits and hyphens, 253 of them at most (RFC 1123 section 2.1).
    fn of(header: &str) -> Option<Self> {
        let host = match header.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0,
            None => header.split_once(':').map_or(header, |(host, _port)| host),
        };
        if let Ok(ip) = host.parse() {
            return Some(Self::Address(ip));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        // What ends in a digit is no name but an address in a form that resolvers take and we do not.
        let is_name = host.len() <= 253
            && host.contains('.')
            && host.split('.').all(is_label)
            && host.bytes().last().is_some_and(|byte| byte.is_ascii_alphabetic());
        is_name.then(|| Self::Name(host.to_ascii_lowercase()))
    }
}

/// Of use to a client, who has told it itself.
fn is_nameable(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_link_local)
}

/// Everybody may know that a name has it: none of those that are for use within a network
/// (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    let is_private = match ip {
        IpAddr::V4(v4) => v4.is_private() || is_shared(v4) || v4.octets()[0] == 0 || v4.octets()[0] >= 240,
        IpAddr::V6(v6) => v6.is_unique_local() || !is_global_unicast(v6),
    };
    is_nameable(ip) && !is_private
}

/// RFC 6598: between a provider and its customers.
fn is_shared(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    first == 100 && second & 0xc0 == 64
}

/// RFC 4291 section 2.4, as far as it is handed out: 2000::/3.
fn is_global_unicast(v6: Ipv6Addr) -> bool {
    v6.segments()[0] & 0xe000 == 0x2000
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, header};

    use super::*;

    fn headers(host: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))])
    }

    #[tokio::test]
    async fn a_literal_address_is_named_if_it_is_of_any_use() {
        let on = ReachedConfig { host: true, resolve: false };
        let by = async |host| Arc::<Reached>::default().by(on, &headers(host)).await;
        for (host, ip) in [
            ("203.0.113.7:1985", "203.0.113.7"),
            ("192.168.1.7", "192.168.1.7"),
            ("[2001:db8::7]:443", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
        ] {
            assert_eq!(by(host).await, [ip.parse::<IpAddr>().unwrap()], "{host}");
        }
        for host in
            ["127.0.0.1:1985", "[::1]", "0.0.0.0", "169.254.169.254", "224.0.0.1", "[fe80::1]", "localhost", "a.example", ""]
        {
            assert_eq!(by(host).await, [] as [IpAddr; 0], "{host}");
        }
        let off = Arc::<Reached>::default().by(ReachedConfig::default(), &headers("203.0.113.7")).await;
        assert_eq!(off, [] as [IpAddr; 0]);
    }

    #[test]
    fn only_what_can_be_a_name_of_a_machine_is_looked_up() {
        assert_eq!(Host::of("Media.Example.net:443"), Some(Host::Name("media.example.net".to_owned())));
        let long = format!("{}.net", "a.".repeat(130));
        for bad in ["localhost", "a..net", ".net", "a.net.", "a b.net", "a/b.net", "x@a.net", "1.2.3", "0x7f.1", &long] {
            assert_eq!(Host::of(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn names_are_answered_from_memory_and_flooding_it_forgets_nothing_fresh() {
        let (reached, now) = (Arc::<Reached>::default(), Instant::now());
        let on = ReachedConfig { host: true, resolve: true };
        let ours = vec![IpAddr::from([203, 0, 113, 7])];
        reached.learn("media.example.net".to_owned(), ours.clone(), now);
        (0..200).for_each(|n| reached.learn(format!("n{n}.example.net"), Vec::new(), now));
        assert_eq!(reached.known.lock().len(), NAMES_MAX);
        assert_eq!(reached.by(on, &headers("media.example.net:1985")).await, ours);
        reached.learn("later.example.net".to_owned(), ours.clone(), now + NAME_AGE);
        assert_eq!(reached.known("later.example.net", now + NAME_AGE), Some(ours), "the old ones made room");
        assert_eq!(reached.known("media.example.net", now + NAME_AGE), None);
    }

    #[test]
    fn what_names_mean_within_a_network_is_not_told() {
        for private in
            ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "0.1.2.3", "fd00::1", "::1"]
        {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["203.0.113.7", "8.8.8.8", "2001:db8::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
