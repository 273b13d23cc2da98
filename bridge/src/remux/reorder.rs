//! Puts the packets of a track back in the order in which they were sent.

use std::{collections::BTreeMap, time::Duration};

use weir_source::{MediaTime, Packet};

/// How much media may pass while a packet is missing: five retransmissions over a path of 50 ms, so
/// that at 5 % loss each way a picture is given up once in hours. Only what is missing waits, and
/// those who play frames have more than this in store.
const WAIT: Duration = Duration::from_millis(400);
/// When so much has passed the missing one is not expected any more, though it may yet come.
const LATE: Duration = Duration::from_millis(200);
/// The most packets that wait for a missing one: 400 ms of a 12 Mb/s stream.
const WAITING_MAX: usize = 512;

/// What comes out.
#[derive(Debug)]
pub(super) enum Step {
    /// The next packet.
    Packet(Packet),
    /// Packets were given up between the one before and the one after.
    Hole,
}

/// Holds packets back while earlier ones are missing, for a bounded time.
#[derive(Debug, Default)]
pub(super) struct Reorder {
    next: Option<u64>,
    waiting: BTreeMap<u64, Packet>,
    newest: MediaTime,
}

impl Reorder {
    /// Takes a packet and appends what is now in order to `out`. Packets that come twice or after
    /// they were given up are dropped.
    pub(super) fn push(&mut self, packet: Packet, out: &mut Vec<Step>) {
        let next = *self.next.get_or_insert(packet.seq);
        if packet.seq < next {
            return;
        }
        self.newest = self.newest.max(packet.capture);
        if packet.seq > next {
            self.waiting.insert(packet.seq, packet);
        } else {
            self.next = Some(next.saturating_add(1));
            out.push(Step::Packet(packet));
        }
        self.release(out);
        while self.is_overdue() {
            let Some((seq, _)) = self.waiting.first_key_value() else { return };
            self.next = Some(*seq);
            out.push(Step::Hole);
            self.release(out);
        }
    }

    /// Packets wait for one that will hardly come.
    pub(super) fn is_late(&self) -> bool {
        self.waiting.first_key_value().is_some_and(|(_, packet)| self.newest.saturating_since(packet.capture) >= LATE)
    }

    /// Forgets everything: the next packet starts anew.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn release(&mut self, out: &mut Vec<Step>) {
        while let (Some(next), Some(first)) = (self.next, self.waiting.first_entry()) {
            if *first.key() != next {
                return;
            }
            self.next = Some(next.saturating_add(1));
            out.push(Step::Packet(first.remove()));
        }
    }

    fn is_overdue(&self) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(_, packet)| self.waiting.len() > WAITING_MAX || self.newest.saturating_since(packet.capture) >= WAIT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_source::{PacketExtensions, TrackId};

    use super::*;

    fn packet(seq: u64, ms_per_packet: i64) -> Packet {
        Packet {
            track: TrackId::VIDEO,
            epoch: 0,
            seq,
            timestamp: seq,
            capture: MediaTime::from_millis(seq as i64 * ms_per_packet),
            marker: false,
            keyframe: false,
            extensions: PacketExtensions::default(),
            payload: bytes::Bytes::new(),
        }
    }

    /// Numbers of the packets that come out; `None` is a hole.
    fn run(reorder: &mut Reorder, seqs: impl IntoIterator<Item = u64>, ms_per_packet: i64) -> Vec<Option<u64>> {
        let mut out = Vec::new();
        seqs.into_iter().for_each(|seq| reorder.push(packet(seq, ms_per_packet), &mut out));
        let number = |step: &Step| match step {
            Step::Packet(packet) => Some(packet.seq),
            Step::Hole => None,
        };
        out.iter().map(number).collect()
    }

    #[test]
    fn a_repaired_loss_leaves_no_hole() {
        let mut reorder = Reorder::default();
        assert_eq!(run(&mut reorder, [7, 8, 10, 11, 9, 9, 8, 12], 10), [7, 8, 9, 10, 11, 12].map(Some));
    }

    #[test]
    fn a_loss_is_given_up_after_the_time_that_a_repair_may_take() {
        let mut reorder = Reorder::default();
        assert_eq!(run(&mut reorder, [0, 2, 3, 21], 10), [Some(0)]);
        assert!(!reorder.is_late());
        assert_eq!(run(&mut reorder, [22, 41], 10), []);
        assert!(reorder.is_late());
        assert_eq!(run(&mut reorder, [42], 10), [None, Some(2), Some(3)]);
        assert_eq!(run(&mut reorder, [1, 4], 10), [Some(4)], "too late, and in time");
    }

    #[test]
    fn packets_that_wait_are_bounded_in_number() {
        let mut reorder = Reorder::default();
        let out = run(&mut reorder, std::iter::once(0).chain(2..=WAITING_MAX as u64 + 2), 0);
        assert_eq!(out.len(), 1 + 1 + WAITING_MAX + 1);
        assert_eq!(out[1], None);
    }

    proptest! {
        #[test]
        fn what_comes_out_rises_and_every_gap_is_told(seqs in proptest::collection::vec(0u64..80, 0..200), ms in 0i64..40) {
            let mut last = None;
            let mut hole = false;
            for number in run(&mut Reorder::default(), seqs, ms) {
                let Some(number) = number else {
                    hole = true;
                    continue;
                };
                if let Some(last) = last {
                    prop_assert!(number > last);
                    prop_assert_eq!(hole, number != last + 1);
                }
                last = Some(number);
                hole = false;
            }
        }
    }
}
