//! Arrival times of a publisher's packets, for transport-wide congestion control feedback.
//!
//! draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1: one numbering over all streams of
//! the transport; every number is reported once, as received at a time or as not received.

use std::time::{Duration, Instant};

/// Most packets of one feedback message: 100 ms of 20 Mb/s.
const PACKETS_MAX: usize = 200;
/// Time between messages: libwebrtc's own upper end. Its estimator wants some per round trip.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
/// Numbers that one message may span, lost ones among them. A larger jump starts anew.
const SPAN_MAX: u64 = 1_000;

/// One feedback message's worth.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report<'a> {
    /// First number, as on the wire.
    pub(crate) base: u16,
    /// Arrivals from `base` on, `None` for what did not come. Never empty; the last one came.
    pub(crate) arrivals: &'a [Option<Instant>],
}

/// Records until the next message.
#[derive(Debug, Default)]
pub(crate) struct ArrivalRecorder {
    /// Number of `arrivals[0]`, extended.
    base: u64,
    arrivals: Vec<Option<Instant>>,
    received: usize,
    /// Highest number ever.
    highest: Option<u64>,
    since: Option<Instant>,
}

impl ArrivalRecorder {
    /// A packet with this number came.
    pub(crate) fn receive(&mut self, wire_seq: u16, now: Instant) {
        let seq = self.extend(wire_seq);
        if self.arrivals.is_empty() {
            // What was reported as lost and comes now is not reported again.
            self.base = self.highest.map_or(seq, |highest| (highest + 1).min(seq));
            if seq - self.base >= SPAN_MAX {
                self.base = seq;
            }
        }
        let Some(index) = seq.checked_sub(self.base).filter(|index| *index < SPAN_MAX) else {
            // Before this message, or too far ahead for it: the next one takes it from there.
            self.highest = self.highest.max(Some(seq));
            return;
        };
        let index = index as usize;
        if index >= self.arrivals.len() {
            self.arrivals.resize(index + 1, None);
        }
        if let Some(slot) = self.arrivals.get_mut(index)
            && slot.is_none()
        {
            *slot = Some(now);
            self.received += 1;
        }
        self.highest = self.highest.max(Some(seq));
        self.since.get_or_insert(now);
    }

    /// When a message is due, if anything came.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let since = self.since?;
        if self.received >= PACKETS_MAX { Some(since) } else { Some(since + INTERVAL) }
    }

    /// Hands what is due to `send`, and starts over.
    pub(crate) fn poll(&mut self, now: Instant, send: impl FnOnce(Report<'_>)) {
        if self.next_due().is_none_or(|due| now < due) {
            return;
        }
        send(Report { base: self.base as u16, arrivals: &self.arrivals });
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
        recorder.poll(now, |report| out = Some((report.base, report.arrivals.iter().map(Option::is_some).collect())));
        out
    }

    #[test]
    fn a_message_is_due_100_ms_after_the_first_packet() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::default();
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
        let mut recorder = ArrivalRecorder::default();
        recorder.receive(10, t);
        poll(&mut recorder, t + ms(100));
        recorder.receive(13, t + ms(150));
        assert_eq!(poll(&mut recorder, t + ms(250)), Some((11, vec![false, false, true])));
    }

    #[test]
    fn a_late_packet_is_reported_in_the_message_it_still_fits() {
        let t = Instant::now();
        let mut recorder = ArrivalRecorder::default();
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
        let mut recorder = ArrivalRecorder::default();
        for seq in 0..PACKETS_MAX as u16 {
            recorder.receive(seq, t + ms(1));
        }
        assert_eq!(poll(&mut recorder, t + ms(1)).map(|(_, came)| came.len()), Some(PACKETS_MAX));
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_messages_end_with_an_arrival(steps in proptest::collection::vec((any::<u16>(), 0u64..20), 1..400)) {
            let mut recorder = ArrivalRecorder::default();
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
