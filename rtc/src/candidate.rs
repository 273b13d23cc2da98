//! The addresses that answers name: which of ours a client can reach.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::OwnAddresses;

/// The most addresses in an answer: each is a check that every client makes.
const CANDIDATES_MAX: usize = 16;

/// An address that a request asks to be named first (`eip` or `candidate` of SRS's queries).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub ip: IpAddr,
    /// The port, if it is not the one that we listen on.
    pub port: Option<u16>,
}

/// Not an IP address with or without a port. Names are not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a candidate is an IP address, with or without a port")]
pub struct CandidateError;

impl FromStr for Candidate {
    type Err = CandidateError;

    /// `203.0.113.7`, `203.0.113.7:8000`, `2001:db8::7`, `[2001:db8::7]:8000`.
    fn from_str(text: &str) -> Result<Self, CandidateError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let addr: SocketAddr = text.parse().map_err(|_| CandidateError)?;
        Ok(Self { ip: addr.ip(), port: Some(addr.port()) })
    }
}

/// What to name for sockets bound to `bound`: the `configured` addresses if there are any, else
/// each socket's own address or, where it listens on all, those of the usable interfaces of which
/// some are wanted.
pub(crate) fn gather(bound: &[SocketAddr], configured: &[IpAddr], own: OwnAddresses) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = Vec::new();
    if configured.is_empty() {
        let interfaces = if bound.iter().any(|addr| addr.ip().is_unspecified()) { interface_addresses()? } else { Vec::new() };
        for addr in bound {
            match addr.ip().is_unspecified() {
                true if !own.has(addr.is_ipv4()) => {}
                true => found.extend(usable(&interfaces, addr.is_ipv4()).map(|ip| SocketAddr::new(ip, addr.port()))),
                false => found.push(*addr),
            }
        }
    } else {
        found.extend(configured.iter().filter_map(|ip| Some(SocketAddr::new(*ip, port_for(bound, *ip)?))));
    }
    dedup(&mut found);
    found.truncate(CANDIDATES_MAX);
    if found.is_empty() && own != OwnAddresses::NONE { Err(io::Error::from(io::ErrorKind::AddrNotAvailable)) } else { Ok(found) }
}

/// `base` with `first` before it, IPv4 before IPv6 otherwise as found.
pub(crate) fn with_first(base: &[SocketAddr], bound: &[SocketAddr], first: Option<Candidate>) -> Vec<SocketAddr> {
    let first = first.and_then(|candidate| {
        let port = candidate.port.filter(|port| *port != 0).or_else(|| port_for(bound, candidate.ip))?;
        Some(SocketAddr::new(candidate.ip, port))
    });
    let mut all: Vec<SocketAddr> = first.into_iter().chain(base.iter().copied()).collect();
    dedup(&mut all);
    all.truncate(CANDIDATES_MAX);
    all
}

/// `base` with the addresses by which a client reached us elsewhere. What is configured is better
/// known than these, and these are better than what was found: a container knows none that is
/// reachable.
pub(crate) fn with_reached(base: &[SocketAddr], bound: &[SocketAddr], by: &[IpAddr], is_configured: bool) -> Vec<SocketAddr> {
    let reached = by.iter().filter_map(|ip| Some(SocketAddr::new(*ip, port_for(bound, *ip)?)));
    let mut all: Vec<SocketAddr> =
        if is_configured { base.iter().copied().chain(reached).collect() } else { reached.chain(base.iter().copied()).collect() };
    dedup(&mut all);
    all.truncate(CANDIDATES_MAX);
    all
}

/// The port that a client reaches through `ip`: of the socket of its family, else of any (an IPv4
/// address may be mapped to an IPv6 server by the network).
fn port_for(bound: &[SocketAddr], ip: IpAddr) -> Option<u16> {
    bound.iter().find(|addr| addr.is_ipv4() == ip.is_ipv4()).or_else(|| bound.first()).map(SocketAddr::port)
}

fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect())
}

/// Those of one family that another machine may reach; loopback where there is nothing else.
fn usable(all: &[IpAddr], v4: bool) -> impl Iterator<Item = IpAddr> {
    let family = move |ip: &&IpAddr| ip.is_ipv4() == v4 && !ip.is_unspecified() && !is_link_local(ip);
    let reachable: Vec<IpAddr> = all.iter().filter(family).filter(|ip| !ip.is_loopback()).copied().collect();
    let none = reachable.is_empty();
    let loopback = all.iter().filter(family).filter(|ip| none && ip.is_loopback()).copied().collect::<Vec<_>>();
    reachable.into_iter().chain(loopback)
}

/// Addresses that need a zone (IPv6) or that a machine gives itself when nobody else does.
fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn dedup(all: &mut Vec<SocketAddr>) {
    let mut seen = Vec::with_capacity(all.len());
    all.retain(|addr| {
        let fresh = !seen.contains(addr);
        seen.push(*addr);
        fresh
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn addrs(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn loopback_and_link_local_are_named_only_for_want_of_better() {
        let all = ips(&["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "192.168.1.7", "10.0.0.1", "2001:db8::7"]);
        assert_eq!(usable(&all, true).collect::<Vec<_>>(), ips(&["192.168.1.7", "10.0.0.1"]));
        assert_eq!(usable(&all, false).collect::<Vec<_>>(), ips(&["2001:db8::7"]));
        let alone = ips(&["127.0.0.1", "::1", "fe80::1"]);
        assert_eq!(usable(&alone, true).collect::<Vec<_>>(), ips(&["127.0.0.1"]));
        assert_eq!(usable(&alone, false).collect::<Vec<_>>(), ips(&["::1"]));
    }

    #[test]
    fn a_socket_on_one_address_names_that_one() {
        let (bound, all) = (addrs(&["127.0.0.1:8000", "[::1]:8001"]), OwnAddresses::default());
        assert_eq!(gather(&bound, &[], all).expect("both"), bound);
        let configured = ips(&["203.0.113.7", "2001:db8::7", "203.0.113.7"]);
        assert_eq!(
            gather(&bound, &configured, OwnAddresses::NONE).expect("both"),
            addrs(&["203.0.113.7:8000", "[2001:db8::7]:8001"])
        );
    }

    #[test]
    fn the_address_that_a_request_asks_for_comes_first_and_once() {
        let bound = addrs(&["0.0.0.0:8000"]);
        let base = addrs(&["10.0.0.1:8000", "10.0.0.2:8000"]);
        let first = |text: &str| with_first(&base, &bound, Some(text.parse().expect("a candidate")));
        assert_eq!(first("10.0.0.2"), addrs(&["10.0.0.2:8000", "10.0.0.1:8000"]));
        assert_eq!(first("1.2.3.4:9000")[0], addrs(&["1.2.3.4:9000"])[0]);
        assert_eq!(first("2001:db8::1")[0], addrs(&["[2001:db8::1]:8000"])[0]);
        assert!("example.org".parse::<Candidate>().is_err());
        assert!("example.org:80".parse::<Candidate>().is_err());
    }

    #[test]
    fn where_a_client_reached_us_comes_between_what_is_configured_and_what_was_found() {
        let (bound, base) = (addrs(&["0.0.0.0:8000"]), addrs(&["10.0.0.1:8000"]));
        let by = ips(&["203.0.113.7", "10.0.0.1"]);
        assert_eq!(with_reached(&base, &bound, &by, false), addrs(&["203.0.113.7:8000", "10.0.0.1:8000"]));
        assert_eq!(with_reached(&base, &bound, &by, true), addrs(&["10.0.0.1:8000", "203.0.113.7:8000"]));
        assert_eq!(with_reached(&base, &bound, &[], false), base);
    }

    #[test]
    fn this_machine_has_an_address_to_name() {
        let found = gather(&addrs(&["0.0.0.0:8000"]), &[], OwnAddresses::default()).expect("at least loopback");
        assert!(found.iter().all(|addr| addr.is_ipv4() && addr.port() == 8_000));
    }

    #[test]
    fn of_the_machine_s_own_addresses_one_family_or_none_is_named() {
        let bound = addrs(&["0.0.0.0:8000", "[::]:8000", "127.0.0.1:8001"]);
        let found = |v4, v6| gather(&bound, &[], OwnAddresses { v4, v6 }).expect("what is listened on by name");
        assert!(found(true, false).iter().all(SocketAddr::is_ipv4) && found(true, false).len() > 1);
        assert!(found(false, true).iter().all(|addr| addr.is_ipv6() || *addr == bound[2]));
        assert_eq!(found(false, false), [bound[2]]);
        let none = |own| gather(&bound[..1], &[], own);
        assert!(none(OwnAddresses::NONE).expect("requests say where").is_empty());
        assert!(none(OwnAddresses { v4: false, v6: true }).is_err(), "nothing of the kind is listened on");
    }
}
