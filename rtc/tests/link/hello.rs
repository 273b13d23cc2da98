//! ClientHellos of a stranger. The socket tests use them, too.

use std::time::Instant;

use weir_rtc::{
    dtls::{Dtls, Identity},
    sdp::DtlsRole,
};

/// A ClientHello, and the same with nothing but NULL suites.
pub(crate) fn hellos(now: Instant) -> [Vec<u8>; 2] {
    let identity = Identity::generate().expect("a certificate");
    let mut dtls = Dtls::new(&identity, DtlsRole::Active, Vec::new(), now);
    let hello = dtls.poll_transmit().expect("a ClientHello").to_vec();
    // The suites stand behind 46 bytes of the body, a session id and a cookie (RFC 6347 section 4.2.1).
    let cookie_at = 60 + usize::from(hello[59]);
    let suites_at = cookie_at + 1 + usize::from(hello[cookie_at]);
    let mut null = hello.clone();
    let len = usize::from(u16::from_be_bytes([null[suites_at], null[suites_at + 1]]));
    null[suites_at + 2..suites_at + 2 + len].fill(0);
    [hello, null]
}
