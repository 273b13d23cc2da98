//! RTCP: compound packets in, single packets out (RFC 3550 section 6, RFC 4585, RFC 5104).
//!
//! Reading borrows and never allocates. Writing appends to a `Vec`, one packet per call: a compound
//! packet is several calls on the same `Vec`. Reduced-size packets (RFC 5506) are taken as they come.

pub mod feedback;
pub mod report;
pub mod source;
pub mod transport;

use super::read::{u8_at, u16_at};
pub use feedback::{Fir, Nack, Remb, emit_fir, emit_nack, emit_pli, emit_remb};
pub use report::{ReceiverReport, ReportBlock, SenderInfo, SenderReport, emit_rr, emit_sr};
pub use source::{Bye, Sdes, emit_bye, emit_sdes_cname};
pub use transport::{Arrival, TransportFeedback, emit_transport_feedback};

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp<'a> {
    /// Sender report.
    Sr(SenderReport<'a>),
    /// Receiver report.
    Rr(ReceiverReport<'a>),
    /// Source description.
    Sdes(Sdes<'a>),
    /// Goodbye.
    Bye(Bye<'a>),
    /// Generic negative acknowledgement: please send again.
    Nack(Nack<'a>),
    /// Picture loss indication: a keyframe, please (RFC 4585 section 6.3.1).
    Pli {
        /// Who asks.
        sender_ssrc: u32,
        /// Of which stream.
        media_ssrc: u32,
    },
    /// Full intra request: a keyframe, please.
    Fir(Fir<'a>),
    /// Receiver estimated maximum bitrate.
    Remb(Remb<'a>),
    /// Transport-wide congestion control feedback.
    TransportFeedback(TransportFeedback<'a>),
    /// A well-formed packet that we do not read: APP, XR, slice loss and so on.
    Other {
        /// RTCP packet type.
        packet_type: u8,
        /// Count, subtype or feedback message type.
        count: u8,
    },
}

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
mod packet_type {
    pub(super) const SR: u8 = 200;
    pub(super) const RR: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const RTPFB: u8 = 205;
    pub(super) const PSFB: u8 = 206;
}

/// Feedback message types (RFC 4585 section 6.2 and 6.3, RFC 5104 section 4.3.1).
mod message_type {
    pub(super) const NACK: u8 = 1;
    pub(super) const TRANSPORT_CC: u8 = 15;
    pub(super) const PLI: u8 = 1;
    pub(super) const FIR: u8 = 4;
    pub(super) const APPLICATION: u8 = 15;
}

/// Packets read from one datagram. Browsers put at most about five in one; each costs 4 bytes at
/// least, so that this bound cuts nothing but floods.
const PACKETS_MAX: u32 = 64;

/// Iterator over the packets of a decrypted RTCP datagram.
///
/// A packet that contradicts itself is skipped and counted; a length that runs past the end of the
/// datagram ends it.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
    packets: u32,
    malformed: u32,
}

impl<'a> Compound<'a> {
    /// The packets in `data`.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data, packets: 0, malformed: 0 }
    }

    /// How many packets so far were dropped for contradicting themselves.
    #[must_use]
    pub fn malformed(&self) -> u32 {
        self.malformed
    }

    /// The next packet, cut at its length: (type, count, body without header and padding), or
    /// `Some(None)` for one to skip.
    fn next_frame(&mut self) -> Option<Option<(u8, u8, &'a [u8])>> {
        let (first, packet_type, words) = (u8_at(self.rest, 0)?, u8_at(self.rest, 1)?, u16_at(self.rest, 2)?);
        // RFC 3550 appendix A.2.
        if first >> 6 != 2 {
            return None;
        }
        let (packet, rest) = self.rest.split_at_checked((usize::from(words) + 1) * 4)?;
        self.rest = rest;
        let mut body = packet.get(4..)?;
        if first & 0x20 != 0 {
            // RFC 3550 section 6.4.1 wants padding on the last packet only, in whole words. libwebrtc
            // pads transport feedback by single bytes and anywhere, so neither is held against it.
            let count = usize::from(body.last().copied().unwrap_or(0));
            let kept = body.len().checked_sub(count).and_then(|len| body.get(..len));
            match kept {
                Some(kept) if count != 0 => body = kept,
                _ => return Some(None),
            }
        }
        Some(Some((packet_type, first & 0x1f, body)))
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Rtcp<'a>;

    fn next(&mut self) -> Option<Rtcp<'a>> {
        while self.packets < PACKETS_MAX && !self.rest.is_empty() {
            self.packets += 1;
            let Some(frame) = self.next_frame() else {
                self.malformed += 1;
                self.rest = &[];
                return None;
            };
            match frame.and_then(|(packet_type, count, body)| parse(packet_type, count, body)) {
                Some(packet) => return Some(packet),
                None => self.malformed += 1,
            }
        }
        None
    }
}

fn parse(packet_type: u8, count: u8, body: &[u8]) -> Option<Rtcp<'_>> {
    match (packet_type, count) {
        (packet_type::SR, _) => SenderReport::parse(count, body).map(Rtcp::Sr),
        (packet_type::RR, _) => ReceiverReport::parse(count, body).map(Rtcp::Rr),
        (packet_type::SDES, _) => Sdes::parse(count, body).map(Rtcp::Sdes),
        (packet_type::BYE, _) => Bye::parse(count, body).map(Rtcp::Bye),
        (packet_type::RTPFB, message_type::NACK) => Nack::parse(body).map(Rtcp::Nack),
        (packet_type::RTPFB, message_type::TRANSPORT_CC) => TransportFeedback::parse(body).map(Rtcp::TransportFeedback),
        (packet_type::PSFB, message_type::PLI) => {
            let (sender_ssrc, media_ssrc) = feedback::ssrcs(body)?;
            Some(Rtcp::Pli { sender_ssrc, media_ssrc })
        }
        (packet_type::PSFB, message_type::FIR) => Fir::parse(body).map(Rtcp::Fir),
        (packet_type::PSFB, message_type::APPLICATION) if feedback::is_remb(body) => Remb::parse(body).map(Rtcp::Remb),
        _ => Some(Rtcp::Other { packet_type, count }),
    }
}

/// Appends one packet: its header, what `body` writes, and the length once it is known.
///
/// `body` must write whole words, fewer than 65,536 of them.
fn emit(packet_type: u8, count: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count & 0x1f, packet_type, 0, 0]);
    body(out);
    let words = (out.len() - start) / 4 - 1;
    debug_assert!((out.len() - start).is_multiple_of(4) && words <= usize::from(u16::MAX), "RTCP packet of {words} words");
    if let Some(length) = out.get_mut(start + 2..start + 4) {
        length.copy_from_slice(&(words as u16).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pli(media_ssrc: u32) -> Rtcp<'static> {
        Rtcp::Pli { sender_ssrc: 1, media_ssrc }
    }

    #[test]
    fn a_compound_is_read_packet_by_packet() {
        let mut data = Vec::new();
        emit_pli(1, 2, &mut data);
        emit(204, 3, &mut data, |out| out.extend([0; 8]));
        emit_pli(1, 3, &mut data);
        let other = Rtcp::Other { packet_type: 204, count: 3 };
        assert_eq!(Compound::new(&data).collect::<Vec<_>>(), [pli(2), other, pli(3)]);
    }

    #[test]
    fn a27_a_broken_packet_does_not_hide_the_ones_around_it() {
        let mut data = Vec::new();
        emit_pli(1, 2, &mut data);
        emit(packet_type::SR, 0, &mut data, |out| out.extend([0; 4]));
        emit_pli(1, 3, &mut data);
        let mut compound = Compound::new(&data);
        assert_eq!(compound.by_ref().collect::<Vec<_>>(), [pli(2), pli(3)]);
        assert_eq!(compound.malformed(), 1);
    }

    #[test]
    fn a27_a_length_past_the_end_ends_the_compound() {
        let mut data = Vec::new();
        emit_pli(1, 2, &mut data);
        data.extend([0x81, 206, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2]);
        let mut compound = Compound::new(&data);
        assert_eq!(compound.by_ref().collect::<Vec<_>>(), [pli(2)]);
        assert_eq!(compound.malformed(), 1);
    }

    #[test]
    fn padding_is_cut_off_wherever_it_is() {
        let mut data = Vec::new();
        emit_pli(1, 2, &mut data);
        data[0] |= 0x20;
        data[3] += 1;
        data.extend([0, 0, 0, 4]);
        let padded = data.clone();
        emit_pli(1, 3, &mut data);
        assert_eq!(Compound::new(&data).collect::<Vec<_>>(), [pli(2), pli(3)]);
        for count in [0, 5, 12, 13, 255] {
            let mut data = padded.clone();
            *data.last_mut().unwrap() = count;
            assert_eq!(Compound::new(&data).count(), 0, "padding of {count}");
        }
    }

    #[test]
    fn a27_a_flood_of_empty_packets_is_cut() {
        let data = [0x80, 210, 0, 0].repeat(375);
        assert_eq!(Compound::new(&data).count(), PACKETS_MAX as usize);
    }

    /// Reads everything there is to read.
    fn exhaust(data: &[u8]) {
        for packet in Compound::new(data) {
            match packet {
                Rtcp::Sr(report) => drop(report.blocks().collect::<Vec<_>>()),
                Rtcp::Rr(report) => drop(report.blocks().collect::<Vec<_>>()),
                Rtcp::Sdes(sdes) => drop(sdes.cnames().collect::<Vec<_>>()),
                Rtcp::Bye(bye) => drop(bye.ssrcs().collect::<Vec<_>>()),
                Rtcp::Nack(nack) => drop(nack.lost().collect::<Vec<_>>()),
                Rtcp::Fir(fir) => drop(fir.entries().collect::<Vec<_>>()),
                Rtcp::Remb(remb) => drop(remb.ssrcs().collect::<Vec<_>>()),
                Rtcp::TransportFeedback(feedback) => drop(feedback.arrivals().collect::<Vec<_>>()),
                Rtcp::Pli { .. } | Rtcp::Other { .. } => {}
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..1500)) {
            exhaust(&data);
        }

        #[test]
        fn no_body_panics(
            packet_type in 200_u8..208, count in prop_oneof![Just(1_u8), Just(4), Just(15), 0_u8..32],
            words in 0_usize..40, noise in proptest::collection::vec(any::<u8>(), 160), remb: bool,
        ) {
            let mut data = Vec::new();
            emit(packet_type, count, &mut data, |out| out.extend(&noise[..words * 4]));
            if let (true, Some(name)) = (remb, data.get_mut(12..16)) {
                name.copy_from_slice(b"REMB");
            }
            exhaust(&data);
        }
    }
}
