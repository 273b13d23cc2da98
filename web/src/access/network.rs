//! An address or a block of addresses, as it is written in a configuration.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};

/// One block of addresses. IPv4 addresses that are mapped into IPv6 are IPv4 ones, in the block as
/// in what is compared with it; apart from that the two families never match each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Neither an address nor a block in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an IP address or a block of them, like 10.0.0.0/8 or 2001:db8::/32")]
pub struct NotANetwork;

/// Of `::ffff:0:0/96` (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl Network {
    /// The address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let net = match text.parse::<IpAddr>() {
            Ok(ip) => IpNet::from(ip),
            Err(_) => text.parse::<IpNet>().map_err(|_| NotANetwork)?,
        };
        if let IpNet::V6(block) = net
            && let Some(v4) = block.addr().to_ipv4_mapped()
            && let Some(bits) = block.prefix_len().checked_sub(MAPPED_BITS)
        {
            return Ipv4Net::new(v4, bits).map(|block| Self(block.into())).map_err(|_| NotANetwork);
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.trunc().fmt(f)
    }
}

/// Whose an address is, for what is counted by address: an IPv6 host has a whole /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(block: &str, ip: &str) -> bool {
        block.parse::<Network>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn blocks_hold_what_cidr_says() {
        for (block, ip, want) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.9/24", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "203.0.113.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("192.0.2.0/24", "::ffff:192.0.2.7", true),
            ("::ffff:192.0.2.0/120", "192.0.2.7", true),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            ("::1", "127.0.0.1", false),
        ] {
            assert_eq!(contains(block, ip), want, "{block} {ip}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for bad in
            ["", "all", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "/8", "2001:db8::/129", "fe80::1%eth0", "host", "10.0.0.0/-1"]
        {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    #[test]
    fn an_ipv6_host_is_its_64_and_an_ipv4_host_its_address() {
        let origin = |ip: &str| Origin::of(ip.parse().unwrap());
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1:2:3"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_eq!(origin("192.0.2.1"), origin("::ffff:192.0.2.1"));
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_block_if_their_first_bits_are_equal(base: u32, bits in 0_u8..=32, ip: u32, flip in 0_u32..32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            for ip in [ip, base, base ^ (1 << flip)] {
                let want = (ip & mask) == (base & mask);
                let (base, ip) = (std::net::Ipv4Addr::from(base), std::net::Ipv4Addr::from(ip));
                for block in [format!("{base}/{bits}"), format!("{}/{}", base.to_ipv6_mapped(), bits + MAPPED_BITS)] {
                    let network = block.parse::<Network>().unwrap();
                    prop_assert_eq!(network.contains(ip.into()), want, "{} {}", block, ip);
                    prop_assert_eq!(network.contains(ip.to_ipv6_mapped().into()), want, "{} {}", block, ip);
                }
            }
        }

        #[test]
        fn a_network_reads_back_what_it_prints(base: u128, bits in 0_u8..=128) {
            let network = format!("{}/{bits}", Ipv6Addr::from(base)).parse::<Network>().unwrap();
            let again = network.to_string().parse::<Network>().unwrap();
            prop_assert_eq!(again.to_string(), network.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _either = text.parse::<Network>();
        }
    }
}
