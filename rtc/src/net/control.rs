//! Control messages: which local address was asked, how long coalesced segments are, and the same
//! the other way.

use std::{
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ptr,
};

/// Bytes of control messages of one datagram: a packet info (40 for IPv6), a segment size and a
/// count of drops (24 each) fit.
pub(super) const CONTROL_BYTES: usize = 96;

/// Aligned as `cmsghdr` wants it.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);
}

/// What the kernel said about a received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Received {
    /// The address it was sent to.
    pub(super) local: Option<IpAddr>,
    /// The size of the datagrams in it, when it holds several (UDP_GRO).
    pub(super) segment: Option<usize>,
    /// Datagrams that the socket had dropped when this one was queued (SO_RXQ_OVFL); wraps.
    pub(super) drops: Option<u32>,
}

/// Reads the control messages that `header` points to.
///
/// # Safety
///
/// `msg_control` must point to `msg_controllen` bytes that the kernel filled.
pub(super) unsafe fn read(header: &libc::msghdr) -> Received {
    let mut found = Received::default();
    // SAFETY: the caller vouches for the buffer; the macros stay inside `msg_controllen`.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: non-null results of the macros point to a whole cmsghdr in the buffer.
        let (level, kind, len) = unsafe { ((*next).cmsg_level, (*next).cmsg_type, (*next).cmsg_len as usize) };
        // SAFETY: data follows the header; each arm reads only after its length was checked.
        let data = unsafe { libc::CMSG_DATA(next) };
        let holds = |size: usize| len >= cmsg_len(size);
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if holds(mem::size_of::<libc::in_pktinfo>()) => {
                // SAFETY: length checked.
                let info = unsafe { ptr::read_unaligned(data.cast::<libc::in_pktinfo>()) };
                found.local = Some(IpAddr::V4(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(mem::size_of::<libc::in6_pktinfo>()) => {
                // SAFETY: length checked.
                let info = unsafe { ptr::read_unaligned(data.cast::<libc::in6_pktinfo>()) };
                found.local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            }
            (libc::SOL_UDP, libc::UDP_GRO) if holds(mem::size_of::<libc::c_int>()) => {
                // SAFETY: length checked.
                let size = unsafe { ptr::read_unaligned(data.cast::<libc::c_int>()) };
                found.segment = usize::try_from(size).ok().filter(|size| *size > 0);
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if holds(mem::size_of::<u32>()) => {
                // SAFETY: length checked.
                found.drops = Some(unsafe { ptr::read_unaligned(data.cast::<u32>()) });
            }
            _ => {}
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
    found
}

/// Writes the control messages of one outgoing message and returns their length: leave from
/// `local` (unless it is unspecified), cut into pieces of `segment` bytes.
pub(super) fn write(control: &mut Control, local: IpAddr, segment: Option<u16>) -> usize {
    let mut at = 0;
    match local {
        IpAddr::V4(ip) if !ip.is_unspecified() => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            at = append(control, at, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) if !ip.is_unspecified() => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            at = append(control, at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
        }
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    if let Some(segment) = segment {
        at = append(control, at, libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    at
}

/// Lays one control message at `at` and returns where the next one goes.
fn append<T: Copy>(control: &mut Control, at: usize, level: libc::c_int, kind: libc::c_int, value: T) -> usize {
    let space = cmsg_space(mem::size_of::<T>());
    assert!(at + space <= CONTROL_BYTES, "the largest pair fits, see CONTROL_BYTES");
    // SAFETY: `cmsghdr` is plain integers.
    let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
    header.cmsg_level = level;
    header.cmsg_type = kind;
    header.cmsg_len = cmsg_len(mem::size_of::<T>()) as _;
    // SAFETY: `at` is a multiple of the cmsg alignment below CONTROL_BYTES and `space` bytes are
    // left there, which is what CMSG_SPACE says header and value take.
    unsafe {
        let base = control.0.as_mut_ptr().add(at);
        ptr::write(base.cast::<libc::cmsghdr>(), header);
        ptr::write_unaligned(base.add(cmsg_len(0)).cast::<T>(), value);
    }
    at + space
}

const fn cmsg_len(size: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_LEN(size as libc::c_uint) as usize }
}

const fn cmsg_space(size: usize) -> usize {
    // SAFETY: arithmetic only.
    unsafe { libc::CMSG_SPACE(size as libc::c_uint) as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_pair_of_messages_fits() {
        let mut control = Control::EMPTY;
        let len = write(&mut control, "2001:db8::1".parse().expect("an address"), Some(1_200));
        assert_eq!(len, 64);
        assert_eq!(write(&mut control, "127.0.0.1".parse().expect("an address"), None), 32);
        assert_eq!(write(&mut control, "0.0.0.0".parse().expect("an address"), None), 0);
    }
}
