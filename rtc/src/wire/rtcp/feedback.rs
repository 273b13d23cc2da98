//! Feedback of receivers to senders: NACK, PLI, FIR and REMB (RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb-03).

use super::{message_type, packet_type};
use crate::wire::read::{u8_at, u16_at, u24_at, u32_at};

/// NACK entries that are read from or written to one packet. With 17 packets each this asks for more
/// than 2,000: over a second of a 20 Mb/s stream, beyond which a keyframe is cheaper.
const NACK_ENTRIES_MAX: usize = 128;

/// The two SSRCs that every feedback message starts with (RFC 4585 section 6.1): (sender, media).
pub(super) fn ssrcs(body: &[u8]) -> Option<(u32, u32)> {
    Some((u32_at(body, 0)?, u32_at(body, 4)?))
}

fn emit_message(packet: (u8, u8), sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>, entries: impl FnOnce(&mut Vec<u8>)) {
    super::emit(packet.0, packet.1, out, |out| {
        out.extend(sender_ssrc.to_be_bytes());
        out.extend(media_ssrc.to_be_bytes());
        entries(out);
    });
}

/// Generic NACK (RFC 4585 section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    /// Of which stream.
    pub media_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Nack<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender_ssrc, media_ssrc) = ssrcs(body)?;
        let entries = body.get(8..)?;
        let entries = entries.get(..NACK_ENTRIES_MAX * 4).unwrap_or(entries);
        Some(Self { sender_ssrc, media_ssrc, entries })
    }

    /// The sequence numbers asked for, in the packet's order; at most 2,176.
    pub fn lost(&self) -> impl Iterator<Item = u16> + use<'a> {
        let entries = self.entries.chunks_exact(4).filter_map(|entry| Some((u16_at(entry, 0)?, u16_at(entry, 2)?)));
        entries.flat_map(|(first, following)| {
            let masked = (0..16).filter(move |bit| following >> bit & 1 == 1);
            std::iter::once(first).chain(masked.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// Appends a NACK for the sequence numbers in `lost`, which should ascend (modulo 2^16): out of order
/// they only cost more bytes. Nothing is written for none; what does not fit 128 entries is left for
/// the next round.
pub fn emit_nack(sender_ssrc: u32, media_ssrc: u32, lost: impl IntoIterator<Item = u16>, out: &mut Vec<u8>) {
    let mut lost = lost.into_iter().peekable();
    if lost.peek().is_none() {
        return;
    }
    emit_message((packet_type::RTPFB, message_type::NACK), sender_ssrc, media_ssrc, out, |out| {
        for _ in 0..NACK_ENTRIES_MAX {
            let Some(first) = lost.next() else { return };
            let mut following = 0_u16;
            while let Some(next) = lost.next_if(|next| next.wrapping_sub(first) <= 16) {
                // A repetition of `first` needs no bit.
                if let Some(bit) = next.wrapping_sub(first).checked_sub(1) {
                    following |= 1 << bit;
                }
            }
            out.extend(first.to_be_bytes());
            out.extend(following.to_be_bytes());
        }
    });
}

/// Appends a picture loss indication (RFC 4585 section 6.3.1).
pub fn emit_pli(sender_ssrc: u32, media_ssrc: u32, out: &mut Vec<u8>) {
    emit_message((packet_type::PSFB, message_type::PLI), sender_ssrc, media_ssrc, out, |_| {});
}

/// Full intra request (RFC 5104 section 4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: u32,
    entries: &'a [u8],
}

impl<'a> Fir<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        // The media SSRC of the message itself is not used: RFC 5104 section 4.3.1.2.
        let (sender_ssrc, _) = ssrcs(body)?;
        Some(Self { sender_ssrc, entries: body.get(8..)? })
    }

    /// (SSRC of the stream, number of the request: the same number is the same request sent again).
    pub fn entries(&self) -> impl Iterator<Item = (u32, u8)> + use<'a> {
        self.entries.chunks_exact(8).filter_map(|entry| Some((u32_at(entry, 0)?, u8_at(entry, 4)?)))
    }
}

/// Appends a full intra request number `number` of one stream.
pub fn emit_fir(sender_ssrc: u32, media_ssrc: u32, number: u8, out: &mut Vec<u8>) {
    emit_message((packet_type::PSFB, message_type::FIR), sender_ssrc, 0, out, |out| {
        out.extend(media_ssrc.to_be_bytes());
        out.extend([number, 0, 0, 0]);
    });
}

/// The name by which application feedback is known as REMB.
const REMB_NAME: &[u8; 4] = b"REMB";

/// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: u32,
    /// The estimate in bits per second; saturates.
    pub bitrate: u64,
    ssrcs: &'a [u8],
}

pub(super) fn is_remb(body: &[u8]) -> bool {
    body.get(8..12) == Some(REMB_NAME)
}

impl<'a> Remb<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender_ssrc, _) = ssrcs(body)?;
        let (count, exponent_mantissa) = (u8_at(body, 12)?, u24_at(body, 13)?);
        let (exponent, mantissa) = (exponent_mantissa >> 18, exponent_mantissa & 0x3_ffff);
        // 18 bits moved by up to 63: what would leave 64 bits saturates.
        let bitrate = if exponent <= 46 { u64::from(mantissa) << exponent } else { saturated(mantissa) };
        Some(Self { sender_ssrc, bitrate, ssrcs: body.get(16..16 + usize::from(count) * 4)? })
    }

    /// The streams that share the bitrate.
    pub fn ssrcs(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.ssrcs.chunks_exact(4).filter_map(|ssrc| u32_at(ssrc, 0))
    }
}

fn saturated(mantissa: u32) -> u64 {
    if mantissa == 0 { 0 } else { u64::MAX }
}

/// Appends an estimate of `bitrate` bits per second (rounded down to 18 significant bits) for the first 255 of `ssrcs`.
pub fn emit_remb(sender_ssrc: u32, bitrate: u64, ssrcs: &[u32], out: &mut Vec<u8>) {
    let ssrcs = ssrcs.get(..255).unwrap_or(ssrcs);
    let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
    let [_, exponent_mantissa @ ..] = (exponent << 18 | (bitrate >> exponent) as u32).to_be_bytes();
    emit_message((packet_type::PSFB, message_type::APPLICATION), sender_ssrc, 0, out, |out| {
        out.extend(REMB_NAME);
        out.push(ssrcs.len() as u8);
        out.extend(exponent_mantissa);
        ssrcs.iter().for_each(|ssrc| out.extend(ssrc.to_be_bytes()));
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compound, Rtcp};
    use super::*;

    fn nacked(lost: impl IntoIterator<Item = u16>) -> (usize, Vec<u16>) {
        let mut data = Vec::new();
        emit_nack(1, 2, lost, &mut data);
        match Compound::new(&data).next() {
            Some(Rtcp::Nack(nack)) => {
                assert_eq!((nack.sender_ssrc, nack.media_ssrc), (1, 2));
                (data.len(), nack.lost().collect())
            }
            other => panic!("not a NACK: {other:?}"),
        }
    }

    #[test]
    fn a_run_of_seventeen_is_one_entry_across_the_wrap() {
        let lost: Vec<u16> = (0..17).map(|i| 65_530_u16.wrapping_add(i)).collect();
        assert_eq!(nacked(lost.clone()), (16, lost));
    }

    #[test]
    fn distant_losses_take_an_entry_each() {
        assert_eq!(nacked([1, 18, 19, 400]), (24, vec![1, 18, 19, 400]));
    }

    #[test]
    fn nothing_lost_is_no_packet() {
        let mut data = Vec::new();
        emit_nack(1, 2, [], &mut data);
        assert_eq!(data, []);
    }

    #[test]
    fn a27_a_thousand_entries_are_cut() {
        let (len, lost) = nacked((0..1000).map(|i| i * 40));
        assert_eq!((len, lost.len()), (12 + NACK_ENTRIES_MAX * 4, NACK_ENTRIES_MAX));
        let mut body = vec![0; 8];
        body.extend([0xff; 4].repeat(1000));
        assert_eq!(Nack::parse(&body).unwrap().lost().count(), NACK_ENTRIES_MAX * 17);
    }

    #[test]
    fn a_full_intra_request_names_its_stream_and_number() {
        let mut data = Vec::new();
        emit_fir(1, 2, 3, &mut data);
        let Some(Rtcp::Fir(fir)) = Compound::new(&data).next() else { panic!("no FIR") };
        assert_eq!(fir.sender_ssrc, 1);
        assert_eq!(fir.entries().collect::<Vec<_>>(), [(2, 3)]);
    }

    #[test]
    fn a30_a_bitrate_beyond_64_bits_saturates() {
        let body = |bytes: [u8; 3]| {
            let mut body = vec![0; 8];
            body.extend(b"REMB\0");
            body.extend(bytes);
            body
        };
        assert_eq!(Remb::parse(&body([0xff, 0xff, 0xff])).unwrap().bitrate, u64::MAX);
        assert_eq!(Remb::parse(&body([0xfc, 0, 0])).unwrap().bitrate, 0);
    }

    #[test]
    fn a27_an_estimate_with_fewer_streams_than_it_says_is_refused() {
        let mut data = Vec::new();
        emit_remb(1, 1_000_000, &[5, 6], &mut data);
        let Some(Rtcp::Remb(remb)) = Compound::new(&data).next() else { panic!("no REMB") };
        assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [5, 6]);
        data[16] = 3;
        assert_eq!(Compound::new(&data).next(), None);
    }

    #[test]
    fn other_application_feedback_is_not_ours() {
        let mut data = Vec::new();
        emit_message((packet_type::PSFB, message_type::APPLICATION), 1, 2, &mut data, |out| out.extend(b"XXXX"));
        assert_eq!(Compound::new(&data).next(), Some(Rtcp::Other { packet_type: 206, count: 15 }));
    }

    proptest! {
        #[test]
        fn ascending_losses_round_trip(start: u16, gaps in proptest::collection::vec(1_u16..30, 1..60)) {
            let mut at = start;
            let lost: Vec<u16> = gaps.iter().map(|gap| { at = at.wrapping_add(*gap); at }).collect();
            prop_assert_eq!(nacked(lost.clone()).1, lost);
        }

        #[test]
        fn any_order_asks_for_the_same_packets(lost in proptest::collection::vec(any::<u16>(), 1..100)) {
            let (mut asked, mut lost) = (nacked(lost.clone()).1, lost);
            for list in [&mut asked, &mut lost] {
                list.sort_unstable();
                list.dedup();
            }
            prop_assert_eq!(asked, lost);
        }

        #[test]
        fn bitrates_keep_eighteen_bits(bitrate: u64) {
            let mut data = Vec::new();
            emit_remb(1, bitrate, &[], &mut data);
            let Some(Rtcp::Remb(remb)) = Compound::new(&data).next() else { panic!("no REMB") };
            prop_assert!(remb.bitrate <= bitrate && bitrate - remb.bitrate <= bitrate >> 17);
        }
    }
}
