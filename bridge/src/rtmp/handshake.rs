//! The server's handshake: simple and digest, by rml_rtmp; when to send and what to tolerate, by us.

use bytes::{Buf, BytesMut};
use rml_rtmp::handshake::{Handshake as Engine, HandshakeProcessResult, PeerType};

/// C0 and C1 (RTMP 1.0, sections 5.2.2 and 5.2.3).
const C0_C1_BYTES: usize = 1 + 1536;
const C2_BYTES: usize = 1536;
/// The only version there is.
const VERSION: u8 = 3;

/// Why a peer's handshake was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is not RTMP's: TLS, HTTP or noise.
    #[error("the peer does not speak RTMP: its first byte is {0:#04x}")]
    BadVersion(u8),
    /// C1 was not understood.
    #[error("the peer's handshake could not be answered")]
    Failed,
}

/// One peer's handshake.
pub struct Handshake {
    engine: Engine,
    is_answered: bool,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// Before the first byte.
    pub fn new() -> Self {
        Self { engine: Engine::new(PeerType::Server), is_answered: false }
    }

    /// Takes from `input` and appends S0, S1 and S2 to `out` as soon as C1 is whole: clients such as
    /// librtmp wait for S2 before they send C2. `true` when C2 has come. What C2 says is not
    /// checked: some clients do not echo.
    pub fn handle_input(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Result<bool, HandshakeError> {
        if !self.is_answered {
            match input.first() {
                Some(&VERSION) => {}
                Some(other) => return Err(HandshakeError::BadVersion(*other)),
                None => return Ok(false),
            }
            if input.len() < C0_C1_BYTES {
                return Ok(false);
            }
            let hello = input.split_to(C0_C1_BYTES);
            match self.engine.process_bytes(&hello) {
                Ok(HandshakeProcessResult::InProgress { response_bytes }) => out.extend_from_slice(&response_bytes),
                _ => return Err(HandshakeError::Failed),
            }
            self.is_answered = true;
        }
        if input.len() < C2_BYTES {
            return Ok(false);
        }
        input.advance(C2_BYTES);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(c0_c1: &[u8]) -> Vec<u8> {
        let mut server = Handshake::new();
        let mut out = Vec::new();
        let mut input = BytesMut::new();
        for part in c0_c1.chunks(700) {
            assert!(out.is_empty(), "nothing is sent before C1 is whole");
            input.extend_from_slice(part);
            assert_eq!(server.handle_input(&mut input, &mut out), Ok(false));
        }
        assert_eq!(out.len(), 1 + 1536 + 1536, "S0, S1 and S2 in one go");
        input.extend_from_slice(&[0xee; C2_BYTES]);
        input.extend_from_slice(b"rest");
        assert_eq!(server.handle_input(&mut input, &mut out), Ok(true), "a C2 that is no echo is tolerated");
        assert_eq!(&input[..], b"rest");
        out
    }

    #[test]
    fn a_digest_client_completes_its_handshake() {
        let mut client = Engine::new(PeerType::Client);
        let answer = run(&client.generate_outbound_p0_and_p1().unwrap());
        assert!(matches!(client.process_bytes(&answer), Ok(HandshakeProcessResult::Completed { .. })));
    }

    #[test]
    fn a_simple_client_gets_its_c1_back() {
        let mut hello = vec![3; C0_C1_BYTES];
        hello[5..9].fill(0);
        let answer = run(&hello);
        assert_eq!(&answer[1537..], &hello[1..]);
    }

    #[test]
    fn a50_other_protocols_are_refused_at_the_first_byte() {
        for first in [0x16, b'G', b'P', 0, 6] {
            let mut input = BytesMut::from(&[first][..]);
            let refused = Handshake::new().handle_input(&mut input, &mut Vec::new());
            assert_eq!(refused, Err(HandshakeError::BadVersion(first)));
        }
    }
}
