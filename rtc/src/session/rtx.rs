//! The retransmission stream beside one of our streams (RFC 4588): its SSRC and its numbers.
//!
//! Each packet of it has a number of its own, also when it repairs the same packet once more, so
//! SRTP never sees two contents under one index here. It keeps no packets and owns no keys.

use super::rewrite::first_seq;

/// Bytes that a packet is longer than the one that it repeats: the original sequence number.
pub(super) const OSN_LEN: usize = 2;

/// The sender's side of one retransmission stream.
#[derive(Debug)]
pub(super) struct Rtx {
    ssrc: u32,
    /// First number not used yet: the SRTP index (RFC 3711 3.3.1), as a stream's own numbers are.
    next_seq: u64,
}

impl Rtx {
    /// A stream that has sent nothing. `seed` is any random number: RFC 4588 4 wants the first
    /// sequence number random.
    pub(super) const fn new(ssrc: u32, seed: u64) -> Self {
        Self { ssrc, next_seq: first_seq(seed) }
    }

    #[cfg(test)]
    pub(super) const fn starting_at(ssrc: u32, next_seq: u64) -> Self {
        Self { ssrc, next_seq }
    }

    pub(super) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The extended number of the next packet; used up by [`Rtx::advance`] once that is sealed.
    pub(super) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(super) const fn advance(&mut self) {
        self.next_seq = self.next_seq.wrapping_add(1);
    }
}

/// What stands before the original payload (RFC 4588 4).
pub(super) const fn osn(out_seq: u64) -> [u8; OSN_LEN] {
    (out_seq as u16).to_be_bytes()
}
