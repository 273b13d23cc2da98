//! Who asks: the peer's address, and whether a request can be an operator's own.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};

use crate::{Fault, Problem, access::Network, router::AppState};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The longest header value that is kept, in bytes: long enough for any honest Referer.
const KEPT_BYTES_MAX: usize = 256;

/// The address that the connection came from, or that a trusted proxy says it has it from. Nobody
/// else's forwarding headers are believed: any client can write them (A49).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<AppState> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        // Unknown counts as foreign.
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        Ok(Self(behind_proxies(address, &parts.headers, &state.config().trusted_proxies)))
    }
}

/// What the client speaks: as its connection shows, or as a trusted proxy says that it came to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As URLs begin with it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The connection's own is in the extensions; who serves it puts it there.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, state: &AppState) -> Self {
        let connection = extensions.get::<Self>().copied().unwrap_or_default();
        let address = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let is_trusted = address.is_some_and(|ip| state.config().trusted_proxies.iter().any(|network| network.contains(ip)));
        let said = headers.get_all(FORWARDED_PROTO).iter().next_back().filter(|_| is_trusted);
        match said.map(HeaderValue::as_bytes) {
            Some(b"https") => Self::Https,
            Some(b"http") => Self::Http,
            _ => connection,
        }
    }
}

impl FromRequestParts<AppState> for Scheme {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions, &parts.headers, state))
    }
}

/// Each proxy appends whom it has the request from. So the list is read from its end, as long as who
/// has written is trusted; what stands before that may be anybody's invention.
fn behind_proxies(connection: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|network| network.contains(ip));
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut peer = connection;
    for hop in hops.into_iter().rev() {
        let Some(before) = address_of(hop).filter(|_| is_trusted(peer)) else { break };
        peer = before;
    }
    peer
}

/// Some proxies write the port too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let ip = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    ip.ok().map(|ip| ip.to_canonical())
}

/// Refuses what is not a program of this machine's own. A page of any site may send requests to
/// loopback from its reader's browser, under its own name (DNS rebinding) or another's, and a
/// reverse proxy connects from loopback for everybody: so besides the address, `Host` must be
/// loopback's and nothing may say that the request was passed on or comes from a page.
pub(crate) fn require_local(peer: Peer, scheme: Scheme, headers: &HeaderMap) -> Result<(), Problem> {
    if !peer.0.is_loopback() {
        return Err(Problem::new(Fault::Forbidden, "only loopback may do this unless http_api.auth is configured"));
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !is_loopback_host(host) {
        return Err(Problem::new(Fault::Misdirected, "the Host must be localhost or a loopback address"));
    }
    let forwarded = [FORWARDED_FOR, header::FORWARDED];
    if forwarded.iter().any(|name| headers.contains_key(name)) {
        return Err(Problem::new(Fault::Forbidden, "the request was passed on by a proxy"));
    }
    // Nobody took TLS off on the way, so the page has come as the request did.
    require_origin(headers, &[scheme])
}

/// Refuses what a page of another origin sends, with or without its reader's knowledge. Browsers say so
/// in `Origin`, and where they leave that out (an image, a script) in `Sec-Fetch-Site`. A page that came in
/// the clear may be anybody's on the way, so it has no say over TLS; a request in the clear may be of a
/// page that came over TLS, to a proxy.
pub(crate) fn require_own_page(scheme: Scheme, headers: &HeaderMap) -> Result<(), Problem> {
    match scheme {
        Scheme::Http => require_origin(headers, &[Scheme::Http, Scheme::Https]),
        Scheme::Https => require_origin(headers, &[Scheme::Https]),
    }
}

fn require_origin(headers: &HeaderMap, schemes: &[Scheme]) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ours = |origin: &str| {
        let (scheme, name) = origin.split_once("://").unwrap_or_default();
        let is_right = schemes.iter().any(|right| right.name() == scheme);
        is_right && !host.is_empty() && name.eq_ignore_ascii_case(host)
    };
    let foreign = match headers.get(header::ORIGIN) {
        Some(origin) => !origin.to_str().is_ok_and(is_ours),
        None => headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none"),
    };
    if foreign { Err(Problem::new(Fault::Forbidden, "the request comes from a page of another origin")) } else { Ok(()) }
}

fn is_loopback_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    name.eq_ignore_ascii_case("localhost")
}

/// A header's value as it may be kept and shown: visible ASCII, cut at 256 bytes, without the query
/// (which may hold a token).
pub(crate) fn kept_header(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = value.split('?').next().unwrap_or_default();
    value.chars().filter(char::is_ascii_graphic).take(KEPT_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap())).collect()
    }

    fn check_by(scheme: Scheme, peer: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let checked = require_local(Peer(peer.parse().unwrap()), scheme, &map(headers));
        checked.err().map(|problem| problem.fault.status().as_u16())
    }

    fn check(peer: &str, headers: &[(&str, &str)]) -> Option<u16> {
        check_by(Scheme::Http, peer, headers)
    }

    #[test]
    fn a39_foreign_hosts_origins_and_proxies_are_refused_on_loopback() {
        for host in ["localhost", "localhost:1985", "LOCALHOST:1985", "127.0.0.1:1985", "127.9.9.9", "[::1]:1985", "[::1]"] {
            assert_eq!(check("127.0.0.1", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example", "evil.example:1985", "localhost.evil.example", "10.0.0.1:1985", "", "[::2]:1"] {
            assert_eq!(check("::1", &[("host", host)]), Some(421), "{host}");
        }
        let local = ("host", "localhost:1985");
        assert_eq!(check("127.0.0.1", &[local, ("origin", "http://localhost:1985")]), None);
        assert_eq!(check("127.0.0.1", &[local, ("sec-fetch-site", "none")]), None);
        for site in ["cross-site", "same-site", "?"] {
            assert_eq!(check("127.0.0.1", &[local, ("sec-fetch-site", site)]), Some(403), "{site}");
        }
        for origin in ["null", "http://evil.example", "ftp://localhost:1985", "http://localhost:8080"] {
            assert_eq!(check("127.0.0.1", &[local, ("origin", origin)]), Some(403), "{origin}");
        }
        assert_eq!(check("127.0.0.1", &[local, ("x-forwarded-for", "10.1.1.1")]), Some(403));
        assert_eq!(check("192.0.2.1", &[local]), Some(403));
    }

    #[test]
    fn a39_a_page_of_the_same_host_must_have_come_as_the_request_does() {
        let local = ("host", "localhost:1990");
        for (scheme, origin, want) in [
            (Scheme::Http, "http://localhost:1990", None),
            (Scheme::Http, "https://localhost:1990", Some(403)),
            (Scheme::Https, "https://localhost:1990", None),
            (Scheme::Https, "https://LOCALHOST:1990", None),
            (Scheme::Https, "http://localhost:1990", Some(403)),
            (Scheme::Https, "https://localhost:1985", Some(403)),
            (Scheme::Https, "https://evil.example", Some(403)),
            (Scheme::Https, "null", Some(403)),
        ] {
            assert_eq!(check_by(scheme, "127.0.0.1", &[local, ("origin", origin)]), want, "{scheme:?} {origin}");
        }
        let own = |scheme, origin| require_own_page(scheme, &map(&[("host", "a:1"), ("origin", origin)])).is_ok();
        assert!(own(Scheme::Http, "https://a:1"), "a proxy has taken TLS off");
        assert!(own(Scheme::Https, "https://a:1") && !own(Scheme::Https, "http://a:1") && !own(Scheme::Http, "https://b:1"));
    }

    #[test]
    fn a49_only_trusted_proxies_say_whom_a_request_is_from() {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse::<Network>().unwrap());
        for (connection, lines, want) in [
            ("203.0.113.9", &["192.0.2.1"][..], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("10.0.0.1", &["[2001:db9::1]:4711"], "2001:db9::1"),
            ("10.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["127.0.0.1, 192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1", &["127.0.0.1, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            ("10.0.0.1", &["127.0.0.1", "192.0.2.1, 2001:db8::1"], "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["127.0.0.1, ,10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ] {
            let headers = lines.iter().map(|line| (FORWARDED_FOR, line.parse().unwrap())).collect::<HeaderMap>();
            let peer = behind_proxies(connection.parse().unwrap(), &headers, &trusted);
            assert_eq!(peer.to_string(), want, "{connection} {lines:?}");
        }
    }

    #[test]
    fn a67_kept_headers_are_cut_and_cleaned_and_lose_their_query() {
        let long = format!("http://a/{}?token=secret", "b".repeat(500));
        let headers = HeaderMap::from_iter([(header::REFERER, long.parse().unwrap())]);
        let kept = kept_header(&headers, &header::REFERER);
        assert_eq!(kept.len(), KEPT_BYTES_MAX);
        let headers = HeaderMap::from_iter([(header::REFERER, "http://a/p?token=secret".parse().unwrap())]);
        assert_eq!(kept_header(&headers, &header::REFERER), "http://a/p");
    }
}
