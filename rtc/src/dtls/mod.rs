//! DTLS 1.2 for one peer: datagrams in, datagrams and SRTP keys out.
//!
//! [`Dtls`] drives `rtc::dtls`, which does the cryptography and the flights. What stands before it
//! is ours, because the network reaches it: `intake` cuts datagrams into records, drops what a
//! handshake has no use for, reassembles messages within bounds and hands on whole ones only;
//! `hello` looks into the ClientHello so that the SRTP profile is our choice; `keys` compares the
//! peer's certificate with the fingerprints of its offer before any key leaves this module.
//!
//! It owns no socket and reads no clock. Drive it like every peer here: one call with input, then
//! drain [`Dtls::poll_transmit`] and [`Dtls::poll_event`], then sleep until [`Dtls::poll_timeout`].
//!
//! We do not do this: DTLS 1.3 (the library has none; all peers still speak 1.2), session
//! resumption, renegotiation, application data.

mod engine;
mod hello;
mod identity;
mod intake;
mod keys;
mod record;
#[cfg(test)]
mod tests;

pub use self::engine::{Dtls, DtlsError, DtlsEvent};
pub use self::identity::{Identity, IdentityError};
pub use self::keys::KeyingMaterial;

/// Takes a datagram as the first of a client and looks into its ClientHello, if it has one: what
/// happens before any cryptography.
pub(crate) fn look(datagram: &[u8]) {
    let mut intake = intake::Intake::new(crate::sdp::DtlsRole::Passive);
    let (mut ready, mut findings) = (Vec::new(), Vec::new());
    intake.handle_datagram(datagram, &mut ready, &mut findings);
    for finding in findings {
        if let intake::Finding::FirstHello(body) = finding {
            let _malformed = hello::ClientHello::parse(&body);
        }
    }
    let _no_hello = hello::ClientHello::parse(datagram);
}
