//! Reception statistics of one stream from a publisher: what a receiver report says of it.
//!
//! RFC 3550 6.4.1 with the arithmetic of A.3 (loss) and A.8 (jitter).

use std::time::{Duration, Instant};

/// One report block (RFC 3550 6.4.1) but for the SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Share lost since the last report, in 1/256.
    pub(crate) fraction_lost: u8,
    /// Packets lost since the start, within 24 bits signed.
    pub(crate) lost: i32,
    /// Extended highest sequence number, low 32 bits.
    pub(crate) highest: u32,
    /// Interarrival jitter in timestamp units.
    pub(crate) jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time, 0 if none came.
    pub(crate) last_sr: u32,
    /// Time since that report in 1/65,536 s.
    pub(crate) since_sr: u32,
}

/// Bounds of the 24-bit signed count of lost packets.
const LOST_MAX: i64 = 0x7f_ffff;
const LOST_MIN: i64 = -0x80_0000;

/// Counts one SSRC. Feed it each authenticated packet once, retransmissions on another SSRC not.
#[derive(Debug)]
pub(crate) struct Reception {
    clock_rate: u32,
    base: u64,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    /// Where arrival times are counted from.
    start: Option<Instant>,
    last_transit: Option<u32>,
    /// Sixteen times the jitter (A.8).
    jitter_16: u32,
    last_sr: Option<(u32, Instant)>,
}

impl Reception {
    /// A stream that nothing came from yet.
    pub(crate) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            base: 0,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            start: None,
            last_transit: None,
            jitter_16: 0,
            last_sr: None,
        }
    }

    /// A packet with extended sequence number `seq` came.
    pub(crate) fn receive(&mut self, seq: u64, timestamp: u32, now: Instant) {
        let start = *self.start.get_or_insert(now);
        if self.received == 0 {
            (self.base, self.highest) = (seq, seq);
        }
        self.received = self.received.saturating_add(1);
        self.base = self.base.min(seq);
        self.highest = self.highest.max(seq);
        let elapsed = now.saturating_duration_since(start);
        let rate = u64::from(self.clock_rate);
        let ticks = elapsed.as_secs().wrapping_mul(rate).wrapping_add(u64::from(elapsed.subsec_micros()) * rate / 1_000_000);
        // Only differences of transit times matter, so all is modulo 2^32 as the timestamps are.
        let transit = (ticks as u32).wrapping_sub(timestamp);
        if let Some(last) = self.last_transit {
            let difference = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // A jump of the sender's clock is no jitter; a second of difference is a jump.
            if difference < self.clock_rate {
                let jitter = i64::from(self.jitter_16) + i64::from(difference) - i64::from((self.jitter_16 + 8) >> 4);
                self.jitter_16 = u32::try_from(jitter).unwrap_or(0);
            }
        }
        self.last_transit = Some(transit);
    }

    /// A sender report came for this stream.
    pub(crate) fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sr = Some(((ntp >> 16) as u32, now));
    }

    /// Packets lost since the start, as far as is known.
    pub(crate) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// Interarrival jitter.
    pub(crate) fn jitter(&self) -> Duration {
        let micros = u64::from(self.jitter_16 >> 4) * 1_000_000 / u64::from(self.clock_rate.max(1));
        Duration::from_micros(micros)
    }

    /// The report block for now. The next one's fraction counts from here.
    pub(crate) fn report(&mut self, now: Instant) -> Block {
        let expected = self.expected();
        let expected_interval = expected.saturating_sub(self.expected_before);
        let received_interval = self.received.saturating_sub(self.received_before);
        (self.expected_before, self.received_before) = (expected, self.received);
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval.saturating_mul(256)).checked_div(expected_interval).unwrap_or(0).min(255);
        let lost = i64::try_from(expected).unwrap_or(i64::MAX).saturating_sub_unsigned(self.received);
        let (last_sr, since_sr) = self.last_sr.map_or((0, 0), |(sr, at)| {
            let waited = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (sr, u32::try_from(waited).unwrap_or(u32::MAX))
        });
        Block {
            fraction_lost: fraction_lost as u8,
            lost: lost.clamp(LOST_MIN, LOST_MAX) as i32,
            highest: self.highest as u32,
            jitter: self.jitter_16 >> 4,
            last_sr,
            since_sr,
        }
    }

    fn expected(&self) -> u64 {
        if self.received == 0 { 0 } else { self.highest - self.base + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(v: u64) -> Duration {
        Duration::from_millis(v)
    }

    #[test]
    fn loss_is_counted_per_interval_and_in_all() {
        let t = Instant::now();
        let mut reception = Reception::new(90_000);
        for seq in (65_500..65_600u64).filter(|seq| seq % 4 != 0) {
            reception.receive(seq, 0, t);
        }
        let block = reception.report(t);
        assert_eq!((block.lost, block.highest), (24, 65_599), "the first of the hundred was never known");
        assert_eq!(block.fraction_lost, (24 * 256 / 99) as u8);
        for seq in 65_600..65_700u64 {
            reception.receive(seq, 0, t);
        }
        let block = reception.report(t);
        assert_eq!((block.fraction_lost, block.lost), (0, 24));
        assert_eq!(reception.report(t).fraction_lost, 0, "an empty interval lost nothing");
    }

    #[test]
    fn jitter_settles_on_the_mean_deviation() {
        let t = Instant::now();
        let mut reception = Reception::new(48_000);
        for n in 0..500u64 {
            let late = if n % 2 == 0 { 0 } else { 8 };
            reception.receive(n, (n * 960) as u32, t + ms(n * 20 + late));
        }
        let jitter = reception.jitter();
        assert!(jitter > ms(7) && jitter <= ms(8), "{jitter:?}");
        reception.receive(500, 0x8000_0000, t + ms(10_000));
        assert!(reception.jitter() <= ms(8), "a jump of the clock is no jitter");
    }

    #[test]
    fn a_steady_stream_has_none_across_the_timestamp_wrap() {
        let t = Instant::now();
        let mut reception = Reception::new(90_000);
        for n in 0..100u64 {
            reception.receive(n, (0xffff_f000u32).wrapping_add((n * 3_600) as u32), t + ms(n * 40));
        }
        assert_eq!(reception.jitter(), Duration::ZERO);
    }

    #[test]
    fn the_sender_report_is_echoed_with_its_age() {
        let t = Instant::now();
        let mut reception = Reception::new(90_000);
        assert_eq!(reception.report(t).last_sr, 0);
        reception.sender_report(0x1111_2222_3333_4444, t);
        let block = reception.report(t + ms(500));
        assert_eq!((block.last_sr, block.since_sr), (0x2222_3333, 32_768));
    }
}
