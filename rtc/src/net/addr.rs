//! Socket addresses as the kernel writes them.

use std::{
    mem,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// Writes `addr` into `storage` and returns how long it is there.
pub(super) fn encode(addr: SocketAddr, storage: &mut libc::sockaddr_storage) -> libc::socklen_t {
    let base: *mut libc::sockaddr_storage = storage;
    let len = match addr {
        SocketAddr::V4(v4) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is at least as large and as aligned as any sockaddr.
            unsafe { base.cast::<libc::sockaddr_in>().write(value) };
            mem::size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: as above.
            unsafe { base.cast::<libc::sockaddr_in6>().write(value) };
            mem::size_of::<libc::sockaddr_in6>()
        }
    };
    len as libc::socklen_t
}

/// Reads the address in `storage`; `None` for a family that is neither IPv4 nor IPv6.
pub(super) fn decode(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let base: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which sockaddr was written; the storage holds any of them.
            let v4 = unsafe { base.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { base.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// A storage with nothing in it.
pub(super) const fn empty() -> libc::sockaddr_storage {
    // SAFETY: sockaddr_storage is plain integers; all zeroes is AF_UNSPEC.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for text in ["127.0.0.1:8000", "255.1.2.3:1", "[::1]:65535", "[2001:db8::7]:443"] {
            let addr: SocketAddr = text.parse().expect("an address");
            let mut storage = empty();
            let len = encode(addr, &mut storage);
            assert_eq!(len as usize, if addr.is_ipv4() { 16 } else { 28 });
            assert_eq!(decode(&storage), Some(addr));
        }
        assert_eq!(decode(&empty()), None);
    }
}
