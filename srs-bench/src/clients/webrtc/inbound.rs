//! One RTP stream that comes in: its numbers extended, its holes asked for, its loss and jitter
//! reported (RFC 3550 A.1, A.3, A.8).

use std::time::{Duration, Instant};

use weir_rtc::wire::{Ntp, ntp, rtcp::ReportBlock};

/// Missing packets that are asked for at a time; more are no hole but an interruption.
const HOLES_MAX: usize = 128;
/// Before the first request: packets that overtook each other.
const FIRST_ASK: Duration = Duration::from_millis(10);
/// Between two: above the round trip of most paths.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Then the packet is given up.
const ASKS_MAX: u8 = 8;
/// Without requests, what is missing for so long does not come any more.
const REORDER_MAX: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) ssrc: u32,
    clock_rate: u32,
    epoch: Instant,
    base: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    prior: (u64, u64),
    transit: Option<u32>,
    /// In sixteenths of a tick.
    jitter: u32,
    last_sr: Option<(u32, Instant)>,
    holes: Vec<Hole>,
    wants_holes: bool,
    asks: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    index: u64,
    asked: u8,
    due: Instant,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) index: u64,
    /// So many packets are missing before it that they are not asked for.
    pub(super) interrupted: bool,
}

impl Inbound {
    /// A stream whose first packet is number `sequence`. With `wants_holes` missing packets are kept
    /// track of, with `asks` asked for.
    pub(super) fn new(ssrc: u32, sequence: u16, clock_rate: u32, (wants_holes, asks): (bool, bool), now: Instant) -> Self {
        // One cycle up, for packets from before the first one.
        let base = (1 << 16) | u64::from(sequence);
        Self {
            ssrc,
            clock_rate,
            epoch: now,
            base,
            highest: base - 1,
            received: 0,
            prior: (0, 0),
            transit: None,
            jitter: 0,
            last_sr: None,
            holes: Vec::new(),
            wants_holes,
            asks,
        }
    }

    /// The number that `sequence` most likely stands for, next to the highest one.
    pub(super) fn extend(&self, sequence: u16) -> u64 {
        let distance = sequence.wrapping_sub(self.highest as u16).cast_signed();
        self.highest.saturating_add_signed(distance.into())
    }

    /// A packet came.
    pub(super) fn place(&mut self, sequence: u16, timestamp: u32, now: Instant) -> Placed {
        let index = self.extend(sequence);
        self.received += 1;
        let mut interrupted = false;
        if index > self.highest {
            let missing = self.highest + 1..index;
            interrupted = missing.end - missing.start > HOLES_MAX as u64;
            if interrupted {
                self.holes.clear();
            } else if self.wants_holes {
                let due = now + if self.asks { FIRST_ASK } else { REORDER_MAX };
                self.holes.extend(missing.map(|index| Hole { index, asked: 0, due }));
            }
            self.highest = index;
            self.arrival(timestamp, now);
        } else {
            self.holes.retain(|hole| hole.index != index);
        }
        Placed { index, interrupted }
    }

    /// A packet that was sent again in a stream of its own; false if it is not missing.
    pub(super) fn fill(&mut self, sequence: u16) -> Option<u64> {
        let index = self.extend(sequence);
        let at = self.holes.iter().position(|hole| hole.index == index)?;
        self.holes.remove(at);
        self.received += 1;
        Some(index)
    }

    fn arrival(&mut self, timestamp: u32, now: Instant) {
        let ticks = now.saturating_duration_since(self.epoch).as_micros() * u128::from(self.clock_rate) / 1_000_000;
        let transit = (ticks as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let moved = (transit.wrapping_sub(before) as i32).unsigned_abs().min(self.clock_rate);
            self.jitter = self.jitter.saturating_add(moved).saturating_sub(self.jitter.saturating_add(8) >> 4);
        }
    }

    /// A sender report came.
    pub(super) fn note_report(&mut self, sent: Ntp, now: Instant) {
        self.last_sr = Some((sent.middle(), now));
    }

    /// What is to be asked for now, and what is given up.
    pub(super) fn due(&mut self, now: Instant, ask: &mut Vec<u16>, given_up: &mut Vec<u64>) {
        let (asks, last) = (self.asks, if self.asks { ASKS_MAX } else { 0 });
        self.holes.retain_mut(|hole| {
            if now < hole.due {
                return true;
            }
            if hole.asked >= last {
                given_up.push(hole.index);
                return false;
            }
            if asks {
                ask.push(hole.index as u16);
            }
            hole.asked += 1;
            hole.due = now + ASK_EVERY;
            true
        });
        // Out of room the oldest go first.
        let over = self.holes.len().saturating_sub(HOLES_MAX);
        given_up.extend(self.holes.drain(..over).map(|hole| hole.index));
    }

    /// When [`Inbound::due`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.holes.iter().map(|hole| hole.due).min()
    }

    /// RFC 3550 6.4.1.
    pub(super) fn report(&mut self, now: Instant) -> ReportBlock {
        let expected = self.highest + 1 - self.base;
        let (prior_expected, prior_received) = std::mem::replace(&mut self.prior, (expected, self.received));
        let expected_since = expected.saturating_sub(prior_expected);
        let lost_since = expected_since.saturating_sub(self.received - prior_received);
        let lost = i64::try_from(expected).unwrap_or(i64::MAX) - i64::try_from(self.received).unwrap_or(i64::MAX);
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost_since * 256).checked_div(expected_since).map_or(0, |share| share.min(255) as u8),
            cumulative_lost: i32::try_from(lost).unwrap_or(i32::MAX),
            highest_sequence: (self.highest - (1 << 16)) as u32,
            jitter: self.jitter >> 4,
            last_sr: self.last_sr.map_or(0, |(sent, _)| sent),
            delay_since_last_sr: self.last_sr.map_or(0, |(_, at)| ntp::short(now.saturating_duration_since(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(asks: bool) -> (Inbound, Instant) {
        let now = Instant::now();
        (Inbound::new(7, 65_534, 90_000, (true, asks), now), now)
    }

    #[test]
    fn numbers_go_on_over_the_wrap_and_what_is_missing_is_asked_for() {
        let (mut stream, now) = stream(true);
        let first = stream.place(65_534, 0, now).index;
        assert_eq!(stream.place(1, 0, now).index, first + 3);
        let (mut ask, mut given_up) = (Vec::new(), Vec::new());
        stream.due(now, &mut ask, &mut given_up);
        assert!(ask.is_empty(), "they may only be late");
        assert_eq!(stream.place(65_535, 0, now).index, first + 1);
        stream.due(now + FIRST_ASK, &mut ask, &mut given_up);
        assert_eq!(ask, [0]);
        assert_eq!(stream.fill(0), Some(first + 2));
        assert_eq!(stream.fill(0), None, "once");
        assert_eq!(stream.poll_timeout(), None);
    }

    #[test]
    fn requests_are_repeated_and_end() {
        let (mut stream, now) = stream(true);
        stream.place(65_534, 0, now);
        stream.place(0, 0, now);
        let (mut ask, mut given_up) = (Vec::new(), Vec::new());
        for n in 0..=u32::from(ASKS_MAX) {
            assert!(given_up.is_empty());
            stream.due(now + FIRST_ASK + ASK_EVERY * n, &mut ask, &mut given_up);
        }
        assert_eq!((ask.len(), given_up.len()), (usize::from(ASKS_MAX), 1));
    }

    #[test]
    fn without_requests_a_hole_is_given_up_after_a_while() {
        let (mut stream, now) = stream(false);
        stream.place(65_534, 0, now);
        stream.place(0, 0, now);
        let (mut ask, mut given_up) = (Vec::new(), Vec::new());
        stream.due(now + REORDER_MAX, &mut ask, &mut given_up);
        assert_eq!((ask.len(), given_up.len()), (0, 1));
    }

    #[test]
    fn a_long_interruption_is_no_hole() {
        let (mut stream, now) = stream(true);
        stream.place(65_534, 0, now);
        assert!(stream.place(500, 0, now).interrupted);
        assert_eq!(stream.poll_timeout(), None);
    }

    #[test]
    fn reports_tell_what_was_lost_since_the_last_one_and_altogether() {
        let (mut stream, now) = stream(false);
        for sequence in [65_534, 65_535, 1, 2] {
            stream.place(sequence, 0, now);
        }
        let report = stream.report(now);
        assert_eq!((report.cumulative_lost, report.fraction_lost), (1, 51), "1 of 5");
        assert_eq!(report.highest_sequence, 65_538);
        stream.place(3, 0, now);
        stream.place(0, 0, now);
        let report = stream.report(now);
        assert_eq!((report.cumulative_lost, report.fraction_lost), (0, 0), "it was only late");
    }
}
