//! Sender and receiver reports (RFC 3550 sections 6.4.1 and 6.4.2).

use super::packet_type;
use crate::wire::Ntp;
use crate::wire::read::{u8_at, u24_at, u32_at, u64_at};

/// The most report blocks of one packet: the count has 5 bits.
pub const BLOCKS_MAX: usize = 31;
/// Bytes of one report block.
const BLOCK_LEN: usize = 24;
/// Bytes of the sender's part of a sender report, its SSRC included.
const SENDER_LEN: usize = 24;

/// What a sender says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// Wall-clock time of the report.
    pub ntp: Ntp,
    /// The same instant in RTP time.
    pub rtp_timestamp: u32,
    /// Packets sent so far, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent so far, modulo 2^32.
    pub octets: u32,
}

/// How one stream is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Share lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in total, duplicates counting negative; 24 bits on the wire, where it saturates.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with its cycles above.
    pub highest_sequence: u32,
    /// Interarrival jitter in the stream's clock rate.
    pub jitter: u32,
    /// The middle of the last sender report's NTP time; 0 for none.
    pub last_sr: u32,
    /// Since then, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(block: &[u8]) -> Option<Self> {
        Some(Self {
            ssrc: u32_at(block, 0)?,
            fraction_lost: u8_at(block, 4)?,
            // Sign-extends the 24 bits.
            cumulative_lost: (u24_at(block, 5)? << 8).cast_signed() >> 8,
            highest_sequence: u32_at(block, 8)?,
            jitter: u32_at(block, 12)?,
            last_sr: u32_at(block, 16)?,
            delay_since_last_sr: u32_at(block, 20)?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        let [_, lost @ ..] = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
        out.extend(self.ssrc.to_be_bytes());
        out.push(self.fraction_lost);
        out.extend(lost);
        for word in [self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr] {
            out.extend(word.to_be_bytes());
        }
    }
}

/// A sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// What the sender says of itself.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        let info = SenderInfo {
            ssrc: u32_at(body, 0)?,
            ntp: Ntp(u64_at(body, 4)?),
            rtp_timestamp: u32_at(body, 12)?,
            packets: u32_at(body, 16)?,
            octets: u32_at(body, 20)?,
        };
        // Bytes behind the blocks are a profile's extension: not read.
        Some(Self { info, blocks: body.get(SENDER_LEN..SENDER_LEN + usize::from(count) * BLOCK_LEN)? })
    }

    /// How the sender receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.blocks)
    }
}

/// A receiver report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub sender_ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(count: u8, body: &'a [u8]) -> Option<Self> {
        Some(Self { sender_ssrc: u32_at(body, 0)?, blocks: body.get(4..4 + usize::from(count) * BLOCK_LEN)? })
    }

    /// How the reporter receives others.
    pub fn blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        blocks(self.blocks)
    }
}

fn blocks(data: &[u8]) -> impl Iterator<Item = ReportBlock> + use<'_> {
    data.chunks_exact(BLOCK_LEN).filter_map(ReportBlock::parse)
}

/// Appends a sender report with the first [`BLOCKS_MAX`] of `blocks`.
pub fn emit_sr(info: &SenderInfo, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let blocks = blocks.get(..BLOCKS_MAX).unwrap_or(blocks);
    super::emit(packet_type::SR, blocks.len() as u8, out, |out| {
        out.extend(info.ssrc.to_be_bytes());
        out.extend(info.ntp.0.to_be_bytes());
        for word in [info.rtp_timestamp, info.packets, info.octets] {
            out.extend(word.to_be_bytes());
        }
        blocks.iter().for_each(|block| block.emit(out));
    });
}

/// Appends a receiver report with the first [`BLOCKS_MAX`] of `blocks`; without any it is the empty
/// report that must lead a compound (RFC 3550 section 6.1).
pub fn emit_rr(sender_ssrc: u32, blocks: &[ReportBlock], out: &mut Vec<u8>) {
    let blocks = blocks.get(..BLOCKS_MAX).unwrap_or(blocks);
    super::emit(packet_type::RR, blocks.len() as u8, out, |out| {
        out.extend(sender_ssrc.to_be_bytes());
        blocks.iter().for_each(|block| block.emit(out));
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compound, Rtcp};
    use super::*;

    fn block() -> impl Strategy<Value = ReportBlock> {
        let words = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
        (words, any::<u8>(), -0x80_0000_i32..0x80_0000).prop_map(|(words, fraction_lost, cumulative_lost)| {
            let (ssrc, highest_sequence, jitter, last_sr, delay_since_last_sr) = words;
            ReportBlock { ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter, last_sr, delay_since_last_sr }
        })
    }

    #[test]
    fn loss_saturates_at_24_bits() {
        for (lost, written) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000), (-1, -1)] {
            let mut data = Vec::new();
            emit_rr(1, &[ReportBlock { cumulative_lost: lost, ..ReportBlock::default() }], &mut data);
            let Some(Rtcp::Rr(report)) = Compound::new(&data).next() else { panic!("no receiver report") };
            assert_eq!(report.blocks().next().unwrap().cumulative_lost, written);
        }
    }

    #[test]
    fn a27_a_count_beyond_the_packet_is_refused() {
        let mut data = Vec::new();
        emit_rr(1, &[ReportBlock::default()], &mut data);
        data[0] += 1;
        assert_eq!(Compound::new(&data).next(), None);
    }

    #[test]
    fn blocks_beyond_the_count_field_are_not_written() {
        let mut data = Vec::new();
        emit_rr(1, &[ReportBlock::default(); 40], &mut data);
        let Some(Rtcp::Rr(report)) = Compound::new(&data).next() else { panic!("no receiver report") };
        assert_eq!(report.blocks().count(), BLOCKS_MAX);
    }

    proptest! {
        #[test]
        fn reports_round_trip(
            ssrc: u32, ntp: u64, rtp_timestamp: u32, packets: u32, octets: u32,
            blocks in proptest::collection::vec(block(), 0..5),
        ) {
            let info = SenderInfo { ssrc, ntp: Ntp(ntp), rtp_timestamp, packets, octets };
            let mut data = Vec::new();
            emit_sr(&info, &blocks, &mut data);
            emit_rr(ssrc, &blocks, &mut data);
            let mut compound = Compound::new(&data);
            let Some(Rtcp::Sr(report)) = compound.next() else { panic!("no sender report") };
            prop_assert_eq!(report.info, info);
            prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks.clone());
            let Some(Rtcp::Rr(report)) = compound.next() else { panic!("no receiver report") };
            prop_assert_eq!(report.sender_ssrc, ssrc);
            prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks);
        }
    }
}
