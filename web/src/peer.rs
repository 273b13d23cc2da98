//! Who asks: the peer's address, and whether a request can be an operator's own.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, header, request::Parts},
};

use crate::{Fault, Problem, access::Network, router::AppState};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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
pub(crate) fn require_local(peer: Peer, headers: &HeaderMap) -> Result<(), Problem> {
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
    require_own_page(headers)
}

/// Refuses what a page of another origin sends, with or without its reader's knowledge. Browsers say so
/// in `Origin`, and where they leave that out (an image, a script) in `Sec-Fetch-Site`.
pub(crate) fn require_own_page(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_ours = |origin: &str| {
        let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        name.is_some_and(|name| !host.is_empty() && name.eq_ignore_ascii_case(host))
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

    fn check(peer: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let map = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>();
        require_local(Peer(peer.parse().unwrap()), &map).err().map(|problem| problem.fault.status().as_u16())
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
