//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
//!
//! Says for each sequence number of the transport whether and when it arrived. Times are Durations
//! since an instant that the writer chose and keeps: only differences mean anything to the reader.

use std::time::Duration;

use super::{feedback, message_type, packet_type};
use crate::wire::read::{u8_at, u16_at, u24_at};

/// Bytes of the fixed part: two SSRCs, base, count, reference time, feedback number.
const FIXED_LEN: usize = 16;
/// Unit of arrival differences.
const TICK_MICROS: i64 = 250;
/// Ticks in a unit of the reference time, 64 ms.
const REFERENCE_TICKS: i64 = 256;
/// Statuses written to one packet: a tenth of a second, the usual interval, holds 1,024 packets
/// of a 98 Mb/s stream.
const STATUSES_MAX: usize = 1024;
/// Chunks and differences written to one packet, so that it fits any path's MTU with SRTP around it.
const BODY_LEN_MAX: usize = 1100;
/// The longest run of one chunk: 13 bits.
const RUN_MAX: usize = 0x1fff;

/// What a receiver says of one packet; the values are those of the two-bit symbols.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Lost = 0,
    Small = 1,
    Large = 2,
}

/// Feedback about a run of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    /// Who received.
    pub sender_ssrc: u32,
    /// Some stream of the transport.
    pub media_ssrc: u32,
    /// The first sequence number spoken of.
    pub base_sequence: u16,
    /// How many follow, the first included.
    pub status_count: u16,
    /// When the run begins, in 64 ms; 24 bits signed.
    pub reference_time: i32,
    /// Number of this feedback, modulo 256.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (sender_ssrc, media_ssrc) = feedback::ssrcs(body)?;
        let status_count = u16_at(body, 10)?;
        let rest = body.get(FIXED_LEN..)?;
        let (mut covered, mut chunks_len) = (0_usize, 0);
        while covered < usize::from(status_count) {
            covered += usize::from(Chunk(u16_at(rest, chunks_len)?).len());
            chunks_len += 2;
        }
        let (chunks, deltas) = rest.split_at_checked(chunks_len)?;
        Some(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence: u16_at(body, 8)?,
            status_count,
            reference_time: (u24_at(body, 12)? << 8).cast_signed() >> 8,
            feedback_count: u8_at(body, 15)?,
            chunks,
            deltas,
        })
    }

    /// One item for each sequence number, in order. Ends early where differences are missing.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            chunks: self.chunks,
            deltas: self.deltas,
            chunk: Chunk(0),
            in_chunk: 0..0,
            left: self.status_count,
            sequence: self.base_sequence,
            ticks: i64::from(self.reference_time) * REFERENCE_TICKS,
        }
    }
}

/// Whether and when one packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its sequence number on the transport.
    pub sequence: u16,
    /// Microseconds on the receiver's clock, in steps of 250, which wrap from 6.2 days after its
    /// start to as much before; `None` if it did not arrive.
    pub at_micros: Option<i64>,
}

/// Iterator over the statuses of a feedback.
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
    chunk: Chunk,
    in_chunk: std::ops::Range<u16>,
    left: u16,
    sequence: u16,
    ticks: i64,
}

impl Arrivals<'_> {
    fn next_symbol(&mut self) -> Option<u16> {
        loop {
            if let Some(at) = self.in_chunk.next() {
                return Some(self.chunk.symbol(at));
            }
            let (head, rest) = self.chunks.split_first_chunk()?;
            self.chunks = rest;
            self.chunk = Chunk(u16::from_be_bytes(*head));
            self.in_chunk = 0..self.chunk.len();
        }
    }

    fn next_delta(&mut self, symbol: u16) -> Option<i64> {
        if symbol == Symbol::Small as u16 {
            let (delta, rest) = self.deltas.split_first()?;
            self.deltas = rest;
            Some(i64::from(*delta))
        } else {
            let (delta, rest) = self.deltas.split_first_chunk()?;
            self.deltas = rest;
            Some(i64::from(i16::from_be_bytes(*delta)))
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        self.left = self.left.checked_sub(1)?;
        let symbol = self.next_symbol()?;
        let mut arrival = Arrival { sequence: self.sequence, at_micros: None };
        if symbol == Symbol::Small as u16 || symbol == Symbol::Large as u16 {
            self.ticks += self.next_delta(symbol)?;
            arrival.at_micros = Some(self.ticks * TICK_MICROS);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Some(arrival)
    }
}

/// A packet status chunk: a run of one symbol, or a vector of 14 one-bit or 7 two-bit symbols.
#[derive(Clone, Copy, Debug)]
struct Chunk(u16);

const VECTOR: u16 = 0x8000;
const TWO_BITS: u16 = 0x4000;

impl Chunk {
    fn len(self) -> u16 {
        match (self.0 & VECTOR, self.0 & TWO_BITS) {
            (0, _) => self.0 & RUN_MAX as u16,
            (_, 0) => 14,
            _ => 7,
        }
    }

    fn symbol(self, at: u16) -> u16 {
        match (self.0 & VECTOR, self.0 & TWO_BITS) {
            (0, _) => self.0 >> 13 & 3,
            (_, 0) => self.0.checked_shr(13_u32.saturating_sub(at.into())).unwrap_or(0) & 1,
            _ => self.0.checked_shr(12_u32.saturating_sub(u32::from(at) * 2)).unwrap_or(0) & 3,
        }
    }

    /// The chunk that says most about the start of `symbols`, and how many it covers.
    fn best(symbols: &[Symbol]) -> Option<(Self, usize)> {
        let first = *symbols.first()?;
        let run = symbols.iter().take(RUN_MAX).take_while(|symbol| **symbol == first).count();
        let fourteen = symbols.get(..14).unwrap_or(symbols);
        let has_large = fourteen.contains(&Symbol::Large);
        let bits = if has_large { fourteen.len().min(7) } else { fourteen.len() };
        if run >= bits {
            return Some((Self((first as u16) << 13 | run as u16), run));
        }
        // A vector that is longer than what is left ends in zeros: the status count cuts them off.
        let vector = fourteen.iter().take(bits).enumerate().fold(VECTOR, |vector, (at, symbol)| {
            vector | if has_large { (*symbol as u16) << (12 - at * 2) } else { (*symbol as u16) << (13 - at) }
        });
        Some((Self(if has_large { vector | TWO_BITS } else { vector }), bits))
    }
}

/// Appends feedback about the start of `arrivals` and returns how many of them it covers, so that the
/// caller can go on with the rest.
///
/// `arrivals` ascend in sequence (modulo 2^16); numbers left out between two count as lost, and one
/// that does not ascend is skipped. Times are since one fixed instant. Nothing is written, and 0
/// returned, if none of them arrived.
pub fn emit_transport_feedback(
    sender_ssrc: u32,
    media_ssrc: u32,
    feedback_count: u8,
    arrivals: &[(u16, Option<Duration>)],
    out: &mut Vec<u8>,
) -> usize {
    let Some(first_at) = arrivals.iter().take(STATUSES_MAX).find_map(|(_, at)| *at) else { return 0 };
    let Some((base_sequence, _)) = arrivals.first() else { return 0 };
    let reference = ticks(first_at).div_euclid(REFERENCE_TICKS);
    let run = Run::collect(*base_sequence, reference * REFERENCE_TICKS, arrivals);
    super::emit(packet_type::RTPFB, message_type::TRANSPORT_CC, out, |out| {
        out.extend(sender_ssrc.to_be_bytes());
        out.extend(media_ssrc.to_be_bytes());
        out.extend(base_sequence.to_be_bytes());
        out.extend((run.symbols.len() as u16).to_be_bytes());
        let [.., a, b, c] = reference.to_be_bytes();
        out.extend([a, b, c, feedback_count]);
        let start = out.len();
        let mut symbols = run.symbols.as_slice();
        while let Some((Chunk(chunk), covered)) = Chunk::best(symbols) {
            out.extend(chunk.to_be_bytes());
            symbols = symbols.get(covered..).unwrap_or(&[]);
        }
        out.extend(&run.deltas);
        let len = out.len() - start;
        out.extend(std::iter::repeat_n(0, len.next_multiple_of(4) - len));
    });
    run.taken
}

fn ticks(at: Duration) -> i64 {
    i64::try_from(at.as_micros()).unwrap_or(i64::MAX) / TICK_MICROS
}

/// What fits one feedback packet.
struct Run {
    symbols: Vec<Symbol>,
    deltas: Vec<u8>,
    taken: usize,
}

impl Run {
    fn collect(base_sequence: u16, mut last_ticks: i64, arrivals: &[(u16, Option<Duration>)]) -> Self {
        let mut run = Self { symbols: Vec::with_capacity(arrivals.len().min(STATUSES_MAX)), deltas: Vec::new(), taken: 0 };
        for (sequence, at) in arrivals {
            let position = usize::from(sequence.wrapping_sub(base_sequence));
            if position >= usize::from(u16::MAX / 2) || position < run.symbols.len() {
                run.taken += 1;
                continue;
            }
            // Each chunk but the last covers 7 symbols at least.
            if position >= STATUSES_MAX || run.deltas.len() + 2 + (position / 7 + 1) * 2 > BODY_LEN_MAX {
                break;
            }
            let mut symbol = Symbol::Lost;
            if let Some(at) = at {
                let at_ticks = ticks(*at);
                let delta = at_ticks - last_ticks;
                if let Ok(small) = u8::try_from(delta) {
                    run.deltas.push(small);
                    symbol = Symbol::Small;
                } else if let Ok(large) = i16::try_from(delta) {
                    run.deltas.extend(large.to_be_bytes());
                    symbol = Symbol::Large;
                } else {
                    // More than 8 s apart: the next packet has a reference time of its own.
                    break;
                }
                last_ticks = at_ticks;
            }
            run.symbols.resize(position, Symbol::Lost);
            run.symbols.push(symbol);
            run.taken += 1;
        }
        run
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Compound, Rtcp};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn parse(data: &[u8]) -> TransportFeedback<'_> {
        match Compound::new(data).next() {
            Some(Rtcp::TransportFeedback(feedback)) => feedback,
            other => panic!("not transport feedback: {other:?}"),
        }
    }

    /// What the reader of `arrivals` should see: gaps filled, times in whole ticks.
    fn expected(arrivals: &[(u16, Option<Duration>)]) -> Vec<Arrival> {
        let mut all: Vec<Arrival> = Vec::new();
        for (sequence, at) in arrivals {
            while let Some(last) = all.last().filter(|last| last.sequence.wrapping_add(1) != *sequence) {
                all.push(Arrival { sequence: last.sequence.wrapping_add(1), at_micros: None });
            }
            all.push(Arrival { sequence: *sequence, at_micros: at.map(|at| ticks(at) * TICK_MICROS) });
        }
        all
    }

    fn round_trip(arrivals: &[(u16, Option<Duration>)]) -> usize {
        let mut data = Vec::new();
        let taken = emit_transport_feedback(1, 2, 3, arrivals, &mut data);
        assert!(data.len() <= 20 + BODY_LEN_MAX + 3, "{} bytes", data.len());
        let feedback = parse(&data);
        assert_eq!((feedback.sender_ssrc, feedback.media_ssrc, feedback.feedback_count), (1, 2, 3));
        assert_eq!(feedback.arrivals().collect::<Vec<_>>(), expected(&arrivals[..taken]));
        taken
    }

    #[test]
    fn a_steady_stream_is_one_run() {
        let arrivals: Vec<_> = (0..100_u16).map(|i| (i.wrapping_add(65_500), Some(MS * 5 * u32::from(i)))).collect();
        let mut data = Vec::new();
        assert_eq!(emit_transport_feedback(1, 2, 3, &arrivals, &mut data), 100);
        assert_eq!(data.len(), (20_usize + 2 + 100).next_multiple_of(4));
        round_trip(&arrivals);
    }

    #[test]
    fn losses_reordering_and_pauses_are_told() {
        let at = |ms: u32| Some(Duration::from_secs(1000) + MS * ms);
        let arrivals =
            [(10, None), (11, at(5)), (12, None), (13, at(4)), (14, at(300)), (16, at(301)), (40, at(900)), (41, None)];
        assert_eq!(round_trip(&arrivals), arrivals.len());
    }

    #[test]
    fn the_draft_s_run_and_vector_chunks_are_read() {
        // Statuses: 2 lost, then small small large of a two-bit vector, then a one-bit vector.
        let mut body = vec![0, 0, 0, 1, 0, 0, 0, 2, 0, 100, 0, 10, 0, 0, 1, 7];
        body.extend([0x00, 0x02, 0b1101_0110, 0b0000_0000, 0b1010_0000, 0]);
        body.extend([4, 8, 0xff, 0xff, 1]);
        let feedback = TransportFeedback::parse(&body).unwrap();
        let times: Vec<_> = feedback.arrivals().map(|arrival| arrival.at_micros).collect();
        let base = 64_000;
        let vector = [Some(base + 1000), Some(base + 3000), Some(base + 2750), None, None, None, None];
        assert_eq!(times[..2], [None, None]);
        assert_eq!(times[2..9], vector);
        assert_eq!(times[9..], [Some(base + 3000)]);
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_packet() {
        let busy: Vec<_> = (0..2000_u16).map(|i| (i, Some(MS * 70 * u32::from(i)))).collect();
        let taken = round_trip(&busy);
        assert!((400..600).contains(&taken), "{taken}");
        assert_eq!(round_trip(&[(1, Some(MS)), (2, Some(MS * 10_000))]), 1, "too far apart in time");
        assert_eq!(round_trip(&[(1, Some(MS)), (5000, Some(MS))]), 1, "too far apart in sequence");
    }

    #[test]
    fn nothing_received_is_no_packet() {
        let mut data = Vec::new();
        assert_eq!(emit_transport_feedback(1, 2, 3, &[(1, None), (2, None)], &mut data), 0);
        assert_eq!(emit_transport_feedback(1, 2, 3, &[], &mut data), 0);
        assert_eq!(data, []);
    }

    #[test]
    fn a27_missing_chunks_are_refused_and_missing_differences_end_the_list() {
        let mut body = vec![0; 16];
        body[11] = 20;
        assert_eq!(TransportFeedback::parse(&body), None);
        body.extend([0x20, 20, 1, 1, 1]);
        assert_eq!(TransportFeedback::parse(&body).unwrap().arrivals().count(), 3);
    }

    #[test]
    fn a27_a_bomb_of_runs_yields_no_more_than_the_count_says() {
        let mut body = vec![0; 16];
        body[10..12].copy_from_slice(&[0xff, 0xff]);
        body.extend([0x1f, 0xff].repeat(500));
        assert_eq!(TransportFeedback::parse(&body).unwrap().arrivals().count(), 65_535);
    }

    proptest! {
        #[test]
        fn any_run_round_trips(
            base: u16, start_ms in 0_u32..500_000_000,
            steps in proptest::collection::vec((1_u16..40, proptest::option::weighted(0.8, 0_u32..200_000)), 1..300),
        ) {
            let (mut sequence, mut at) = (base, MS * start_ms);
            let arrivals: Vec<_> = steps.iter().map(|(gap, step)| {
                sequence = sequence.wrapping_add(*gap);
                (sequence, step.map(|micros| {
                    at = (at + Duration::from_micros(micros.into())).saturating_sub(MS);
                    at
                }))
            }).collect();
            if arrivals.iter().any(|(_, at)| at.is_some()) {
                let mut rest = arrivals.as_slice();
                while rest.iter().take(STATUSES_MAX).any(|(_, at)| at.is_some()) {
                    let taken = round_trip(rest);
                    prop_assert!(taken > 0);
                    rest = &rest[taken..];
                }
            }
        }
    }
}
