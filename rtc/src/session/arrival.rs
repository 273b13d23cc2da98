//! Arrival times of a publisher's packets, for transport-wide congestion control feedback.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1: one numbering over all streams of
//! the transport; every number is reported once, as received at a time or as not received.

use std::time::{Duration, Instant};

/// Most packets of one feedback message: 100 ms of 20 Mb/s.
const PACKETS_MAX: usize = 200;
/// Time between messages: libwebrtc's own upper end. Its estimator wants some per round trip.
const INTERVAL: Duration = Duration::from_millis(100);
/// Numbers that one message may span, lost ones among them. A larger jump starts anew.
const SPAN_MAX: u64 = 1_000;

/// Records until the next message.
#[derive(Debug)]
pub(crate) struct ArrivalRecorder {
    /// Arrival times count from here.
    start: Instant,
    /// Number of `arrivals[0]`, extended.
    base: u64,
    arrivals: Vec<(u16, Option<Duration>)>,
    received: usize,
    /// Highest number ever.
    highest: Option<u64>,
    since: Option<Instant>,
}

impl ArrivalRecorder {
    /// Nothing came yet; times will count from `start`.
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, base: 0, arrivals: Vec::new(), received: 0, highest: None, since: None }
    }

    /// A packet with this number came.
    pub(crate) fn receive(&mut self, wire_seq: u16, now: Instant) {
        let seq = self.extend(wire_seq);
        if self.arrivals.is_empty() {
            // From behind the last message on, or from before it for what comes late.
            self.base = self.highest.map_or(seq, |highest| (highest + 1).min(seq));
            if seq - self.base >= SPAN_MAX {
                self.base = seq;
            }
        }
        self.highest = self.highest.max(Some(seq));
        // What is before this message, or too far ahead for it, goes unreported.
        let Some(index) = seq.checked_sub(self.base).filter(|index| *index < SPAN_MAX) else { return };
        for missing in self.arrivals.len() as u64..=index {
            self.arrivals.push(((self.base + missing) as u16, None));
        }
        if let Some((_, at @ None)) = self.arrivals.get_mut(index as usize) {
            *at = Some(now.saturating_duration_since(self.start));
            self.received += 1;
        }
        self.since.get_or_insert(now);
    }

    /// When a message is due, if anything came.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let since = self.since?;
        if self.received >= PACKETS_MAX { Some(since) } else { Some(since + INTERVAL) }
    }

    /// Hands what is due to `send` (ascending, the last one came), and starts over.
    pub(crate) fn poll(&mut self, now: Instant, send: impl FnOnce(&[(u16, Option<Duration>)])) {
        if self.next_due().is_none_or(|due| now < due) {
            return;
        }
        send(&self.arrivals);
        self.arrivals.clear();
        self.received = 0;
        self.since = None;
    }

    fn extend(&self, wire_seq: u16) -> u64 {
        // One turn is left free below the first number.
        let Some(highest) = self.highest else { return u64::from(wire_seq) + (1 << 16) };
        let step = i64::from(wire_seq.wrapping_sub(highest as u16) as i16);
        highest.saturating_add_signed(step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(v: u64) -> Duration {
        Duration::from_millis(v)
    }

    fn poll(recorder: &mut ArrivalRecorder, now: Instant) -> Option<(u16, Vec<bool>)> {
        let mut out = None;
        recorder.poll(now, |arrivals| {
            let base = arrivals.first().unwrap().0;
            for (index, (seq, _)) in arrivals.iter().enumerate() {
                assert_eq!(*seq, base.wrapping_add(index as u16));
            }
            out = Some((base, arrivals.iter().map(|(_, at)| at.is_some()).collect()));
        });
        out
    }

    #[test]
    fn a_message_is_due_100_ms_after_the_first_packet() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::new(Instant::now());
        assert_eq!(recorder.next_due(), None);
        recorder.receive(65_535, t);
        recorder.receive(1, t + ms(5));
        assert_eq!(poll(&mut recorder, t + ms(99)), None);
        assert_eq!(poll(&mut recorder, t + ms(100)), Some((65_535, vec![true, false, true])));
        assert_eq!(recorder.next_due(), None);
    }

    #[test]
    fn every_number_between_two_messages_is_reported() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::new(Instant::now());
        recorder.receive(10, t);
        poll(&mut recorder, t + ms(100));
        recorder.receive(13, t + ms(150));
        assert_eq!(poll(&mut recorder, t + ms(250)), Some((11, vec![false, false, true])));
    }

    #[test]
    fn a_late_packet_is_reported_in_the_message_it_still_fits() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::new(Instant::now());
        recorder.receive(10, t);
        recorder.receive(12, t);
        recorder.receive(11, t);
        assert_eq!(poll(&mut recorder, t + ms(100)), Some((10, vec![true; 3])));
        recorder.receive(11, t + ms(101));
        assert_eq!(poll(&mut recorder, t + ms(300)), Some((11, vec![true])));
    }

    #[test]
    fn many_packets_are_reported_before_their_time() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::new(Instant::now());
        for seq in 0..PACKETS_MAX as u16 {
            recorder.receive(seq, t + ms(1));
        }
        assert_eq!(poll(&mut recorder, t + ms(1)).map(|(_, came)| came.len()), Some(PACKETS_MAX));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_messages_end_with_an_arrival(steps in proptest::collection::vec((any::<u16>(), 0u64..20), 1..400)) {
            let mut recorder = ArrivalRecorder::new(Instant::now());
            let mut now = Instant::now();
            for (seq, wait) in steps {
                now += ms(wait);
                recorder.receive(seq, now);
                prop_assert!(recorder.arrivals.len() as u64 <= SPAN_MAX);
                if let Some((_, came)) = poll(&mut recorder, now) {
                    prop_assert_eq!(came.last(), Some(&true));
                }
            }
        }
    }
}
