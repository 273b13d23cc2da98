//! Holes in one stream from a publisher: what to ask for again, when, and when to give up.
//!
//! It sees extended sequence numbers only. A hole is asked for (RFC 4585 6.2.1) once reordering is
//! unlikely, again at each round trip, and given up after a second; a picture then needs a
//! keyframe. Numbers seen before are duplicates.

use std::time::{Duration, Instant};

/// Most holes followed at once. A burst beyond this is past repair: 512 packets are half a second
/// at 10 Mb/s.
const HOLES_MAX: usize = 512;
/// A packet this much later than its neighbour is lost rather than reordered…
const REORDER_TIME: Duration = Duration::from_millis(10);
/// …or once this many later ones have come.
const REORDER_PACKETS: u64 = 2;
/// Time between two requests for one packet while the round trip is not known …
const RETRY_START: Duration = Duration::from_millis(100);
/// … and its bounds once it is. Then a quarter more than the round trip is waited for: what is asked
/// for twice comes twice, and tells nothing of the round trip.
const RETRY_MIN: Duration = Duration::from_millis(30);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Requests for one packet.
const TRIES_MAX: u8 = 10;
/// No viewer's jitter buffer waits for longer.
const GIVE_UP: Duration = Duration::from_secs(1);
/// Without NACK a hole can only close by reordering.
const GIVE_UP_WITHOUT_NACK: Duration = Duration::from_millis(100);
/// Most numbers in one round of requests: they fit one packet even when no two are neighbours.
pub(crate) const ASKED_MAX: usize = 128;

/// What a sequence number turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The newest so far.
    Newest,
    /// It fills a hole by itself: it was reordered.
    Reordered,
    /// It fills a hole after it was asked for.
    Recovered(Repair),
    /// Seen before, given up, or from before the start.
    Duplicate,
}

/// What a packet that came when asked for tells of the round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Since it was asked for first.
    pub(crate) took: Duration,
    /// It was asked for once: that is the round trip. Else it is no longer than that.
    pub(crate) exact: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    seq: u64,
    since: Instant,
    due: Instant,
    /// First.
    asked: Option<Instant>,
    tries: u8,
}

/// The holes of one stream.
#[derive(Debug)]
pub(crate) struct Gaps {
    nack: bool,
    highest: Option<u64>,
    /// In rising order of `seq`.
    holes: Vec<Hole>,
    /// Holes before this number do not hurt any more.
    keyframe: u64,
    /// Since when something is given up that only a keyframe mends.
    broken: Option<Instant>,
}

impl Gaps {
    /// A stream that nothing came from yet. `nack`: the peer answers NACKs.
    pub(crate) fn new(nack: bool) -> Self {
        Self { nack, highest: None, holes: Vec::new(), keyframe: 0, broken: None }
    }

    /// A packet came.
    pub(crate) fn receive(&mut self, seq: u64, now: Instant) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Arrival::Newest;
        };
        if seq <= highest {
            let Ok(index) = self.holes.binary_search_by_key(&seq, |hole| hole.seq) else {
                return Arrival::Duplicate;
            };
            let hole = self.holes.remove(index);
            return match hole.asked {
                None => Arrival::Reordered,
                Some(asked) => Arrival::Recovered(Repair { took: now.saturating_duration_since(asked), exact: hole.tries == 1 }),
            };
        }
        self.highest = Some(seq);
        self.open(highest.saturating_add(1), seq, now);
        for hole in self.holes.iter_mut().rev().take_while(|hole| hole.tries == 0) {
            if seq - hole.seq > REORDER_PACKETS {
                hole.due = hole.due.min(now);
            }
        }
        Arrival::Newest
    }

    /// The missing number that stands as `wire_seq` on the wire.
    pub(crate) fn hole(&self, wire_seq: u16) -> Option<u64> {
        self.holes.iter().map(|hole| hole.seq).find(|seq| *seq as u16 == wire_seq)
    }

    /// A keyframe starts at this number: pictures before it need no mending.
    pub(crate) fn keyframe_at(&mut self, seq: u64) {
        self.keyframe = self.keyframe.max(seq);
    }

    /// Puts the numbers to be asked for now into `asked`, which is emptied first, and returns
    /// whether something was given up since the last call that only a keyframe mends.
    pub(crate) fn poll(&mut self, now: Instant, rtt: Option<Duration>, asked: &mut Vec<u64>) -> bool {
        asked.clear();
        let give_up = if self.nack { GIVE_UP } else { GIVE_UP_WITHOUT_NACK };
        let (nack, keyframe) = (self.nack, self.keyframe);
        let mut broken = self.broken.take().is_some();
        self.holes.retain(|hole| {
            let over = now.saturating_duration_since(hole.since) >= give_up || (hole.tries >= TRIES_MAX && now >= hole.due);
            broken |= over && hole.seq >= keyframe;
            !over
        });
        if nack {
            let retry = rtt.map_or(RETRY_START, |rtt| (rtt + rtt / 4).clamp(RETRY_MIN, RETRY_MAX));
            for hole in self.holes.iter_mut().filter(|hole| hole.due <= now).take(ASKED_MAX) {
                hole.tries = hole.tries.saturating_add(1);
                hole.due = now + retry;
                hole.asked.get_or_insert(now);
                asked.push(hole.seq);
            }
        }
        broken
    }

    /// When [`Gaps::poll`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        if self.holes.is_empty() {
            return self.broken;
        }
        let due = |hole: &Hole| if self.nack { hole.due.min(hole.since + GIVE_UP) } else { hole.since + GIVE_UP_WITHOUT_NACK };
        self.holes.iter().map(due).chain(self.broken).min()
    }

    /// Holes being followed.
    #[cfg(test)]
    pub(crate) fn open_holes(&self) -> usize {
        self.holes.len()
    }

    fn open(&mut self, from: u64, to: u64, now: Instant) {
        let count = to.saturating_sub(from);
        if count > HOLES_MAX as u64 {
            // Not a loss but an outage: asking for all of it would only add to it.
            self.holes.clear();
            self.broken = Some(now);
            return;
        }
        let room = HOLES_MAX.saturating_sub(self.holes.len());
        let excess = (count as usize).saturating_sub(room);
        if excess > 0 {
            self.holes.drain(..excess.min(self.holes.len()));
            self.broken = Some(now);
        }
        let due = now + REORDER_TIME;
        self.holes.extend((from..to).map(|seq| Hole { seq, since: now, due, asked: None, tries: 0 }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(v: u64) -> Duration {
        Duration::from_millis(v)
    }

    fn poll(gaps: &mut Gaps, now: Instant) -> (Vec<u64>, bool) {
        let mut asked = Vec::new();
        let broken = gaps.poll(now, None, &mut asked);
        (asked, broken)
    }

    #[test]
    fn reordering_is_waited_for() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(10, t);
        gaps.receive(12, t);
        assert_eq!(poll(&mut gaps, t + ms(9)), (vec![], false));
        assert_eq!(gaps.receive(11, t + ms(9)), Arrival::Reordered);
        assert_eq!(gaps.next_due(), None);
    }

    #[test]
    fn a_hole_is_asked_for_after_10_ms_or_3_later_packets() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(10, t);
        gaps.receive(12, t);
        assert_eq!(gaps.next_due(), Some(t + ms(10)));
        assert_eq!(poll(&mut gaps, t + ms(10)).0, vec![11]);
        gaps.receive(14, t + ms(11));
        gaps.receive(15, t + ms(11));
        assert!(poll(&mut gaps, t + ms(11)).0.is_empty());
        gaps.receive(16, t + ms(11));
        assert_eq!(poll(&mut gaps, t + ms(11)).0, vec![13]);
        assert_eq!(gaps.receive(13, t + ms(30)), Arrival::Recovered(Repair { took: ms(19), exact: true }));
    }

    #[test]
    fn asks_again_each_round_trip_and_gives_up_with_one_wish_for_a_keyframe() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(10, t);
        gaps.receive(12, t);
        let (mut requests, mut keyframes, mut now) = (0, 0, t);
        while now < t + ms(3_000) {
            let mut asked = Vec::new();
            keyframes += usize::from(gaps.poll(now, Some(ms(120)), &mut asked));
            requests += asked.len();
            now += ms(5);
        }
        assert_eq!(keyframes, 1);
        assert!((7..=9).contains(&requests), "{requests} in a second at 120 ms");
        assert_eq!(gaps.receive(11, now), Arrival::Duplicate, "given up");
    }

    #[test]
    fn no_keyframe_is_wished_for_when_one_came_meanwhile() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(10, t);
        gaps.receive(12, t);
        gaps.receive(13, t);
        gaps.keyframe_at(13);
        assert_eq!(poll(&mut gaps, t + ms(2_000)), (vec![], false));
    }

    #[test]
    fn without_nack_a_hole_breaks_the_picture_soon() {
        let t = Instant::now();
        let mut gaps = Gaps::new(false);
        gaps.receive(10, t);
        gaps.receive(12, t);
        assert_eq!(gaps.next_due(), Some(t + ms(100)));
        assert_eq!(poll(&mut gaps, t + ms(50)), (vec![], false));
        assert_eq!(poll(&mut gaps, t + ms(100)), (vec![], true));
        assert_eq!(gaps.next_due(), None);
    }

    #[test]
    fn an_outage_asks_for_a_keyframe_only() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(10, t);
        gaps.receive(5_000, t);
        assert_eq!(gaps.next_due(), Some(t));
        assert_eq!(poll(&mut gaps, t + ms(10)), (vec![], true));
        assert_eq!(gaps.next_due(), None);
        assert_eq!(gaps.receive(4_000, t), Arrival::Duplicate);
    }

    #[test]
    fn what_came_before_the_first_packet_is_not_missed() {
        let t = Instant::now();
        let mut gaps = Gaps::new(true);
        gaps.receive(65_536, t);
        assert_eq!(gaps.receive(65_535, t), Arrival::Duplicate);
        assert_eq!(gaps.receive(65_536, t), Arrival::Duplicate);
    }

    proptest! {
        #[test]
        fn each_number_is_accepted_at_most_once_and_memory_is_bounded(
            steps in proptest::collection::vec((0u64..700, 0u64..30), 1..400),
        ) {
            let mut gaps = Gaps::new(true);
            let mut now = Instant::now();
            let mut base = 65_000u64;
            let mut seen = std::collections::HashSet::new();
            let mut asked = Vec::new();
            for (ahead, wait) in steps {
                base += ahead / 100;
                now += ms(wait);
                let seq = base + ahead;
                if gaps.receive(seq, now) != Arrival::Duplicate {
                    prop_assert!(seen.insert(seq));
                }
                gaps.poll(now, None, &mut asked);
                prop_assert!(asked.len() <= ASKED_MAX);
                prop_assert!(asked.iter().all(|seq| !seen.contains(seq)));
                prop_assert!(gaps.open_holes() <= HOLES_MAX);
            }
        }
    }
}
