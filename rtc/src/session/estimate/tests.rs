//! The estimator against a bottleneck: a queue of bounded length that drains at a rate, in virtual
//! time, with feedback as a browser sends it.

use std::collections::VecDeque;

use super::*;
use crate::wire::rtcp::{self, Compound, Rtcp};

/// What the bottleneck lets wait.
const QUEUE_BYTES: usize = 60_000;
const FEEDBACK_MS: u64 = 100;
/// One way, beside the queue.
const DELAY_MS: u64 = 25;

struct Path {
    estimator: Estimator,
    start: Instant,
    ms: u64,
    /// Bits per second.
    capacity: u64,
    loss: fn(u64) -> bool,
    sent: u64,
    /// Number, bytes left to send, bytes.
    queue: VecDeque<(u16, usize)>,
    head_done: f64,
    arrived: Vec<(u16, Duration)>,
    feedback: VecDeque<(u64, Vec<u8>)>,
}

impl Path {
    fn new(capacity: u64) -> Self {
        let start = Instant::now();
        Self {
            estimator: Estimator::new(start),
            start,
            ms: 0,
            capacity,
            loss: |_| false,
            sent: 0,
            queue: VecDeque::new(),
            head_done: 0.0,
            arrived: Vec::new(),
            feedback: VecDeque::new(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn target(&self) -> f64 {
        self.estimator.target().unwrap() as f64
    }

    fn send(&mut self, size: usize) {
        let seq = self.estimator.next_seq();
        self.estimator.sent(self.now(), size);
        self.sent += 1;
        let waiting: usize = self.queue.iter().map(|(_, size)| size).sum();
        if waiting + size <= QUEUE_BYTES && !(self.loss)(self.sent) {
            self.queue.push_back((seq, size));
        }
    }

    /// Runs for `ms` with media of `rate` bits per second at 25 frames a second, a keyframe five
    /// times as large each two seconds.
    fn run(&mut self, ms: u64, rate: u64) {
        for _ in 0..ms {
            self.ms += 1;
            if self.ms.is_multiple_of(40) {
                let frame = rate as usize / 8 / 25 * 25 * 2 / (25 * 2 + 4);
                let mut left = if self.ms.is_multiple_of(2_000) { frame * 5 } else { frame };
                while left > 0 {
                    let size = left.min(1_150);
                    self.send(size);
                    left -= size;
                }
            }
            if let Some(wish) = self.estimator.poll_probe(self.now()) {
                let packets = wish.packets.min(wish.bytes / 1_100);
                self.estimator.begin_probe(packets);
                (0..packets).for_each(|_| self.send(1_100));
            }
            self.drain();
            self.report();
        }
    }

    fn drain(&mut self) {
        let mut bytes = self.capacity as f64 / 8e3;
        while let Some((seq, size)) = self.queue.front().copied() {
            let need = size as f64 - self.head_done;
            if need > bytes {
                self.head_done += bytes;
                return;
            }
            bytes -= need;
            self.head_done = 0.0;
            self.queue.pop_front();
            let within =
                Duration::from_micros(((self.capacity as f64 / 8e3 - bytes) / (self.capacity as f64 / 8e3) * 1e3) as u64);
            self.arrived.push((seq, Duration::from_millis(self.ms + DELAY_MS) + within));
        }
    }

    fn report(&mut self) {
        if self.ms.is_multiple_of(FEEDBACK_MS) {
            let at = self.ms + DELAY_MS;
            let here = |(_, arrival): &(u16, Duration)| arrival.as_millis() as u64 <= at;
            let arrived: Vec<_> = self.arrived.extract_if(.., |entry| here(entry)).map(|(seq, at)| (seq, Some(at))).collect();
            if !arrived.is_empty() {
                let mut out = Vec::new();
                rtcp::emit_transport_feedback(1, 2, 0, &arrived, &mut out);
                self.feedback.push_back((at + DELAY_MS, out));
            }
        }
        while let Some((_, data)) = self.feedback.pop_front_if(|(due, _)| *due <= self.ms) {
            for packet in Compound::new(&data) {
                if let Rtcp::TransportFeedback(feedback) = packet {
                    self.estimator.handle_feedback(self.now(), &feedback, Some(Duration::from_millis(2 * DELAY_MS)));
                }
            }
        }
    }
}

#[test]
fn on_a_path_with_room_keyframes_lower_nothing() {
    let mut path = Path::new(10_000_000);
    path.run(20_000, 1_500_000);
    assert!(path.target() >= 2_000_000.0, "{}", path.target());
}

#[test]
fn a_path_that_became_narrow_is_seen_within_a_second() {
    let mut path = Path::new(3_000_000);
    path.run(10_000, 1_500_000);
    path.capacity = 500_000;
    path.run(1_000, 1_500_000);
    assert!(path.target() <= 600_000.0, "{}", path.target());
    // As the viewer then gets less, it stays near what the path carries.
    path.run(10_000, 350_000);
    assert!((300_000.0..650_000.0).contains(&path.target()), "{}", path.target());
}

#[test]
fn a_path_that_became_wide_is_found_by_probing_within_three_seconds() {
    let mut path = Path::new(500_000);
    path.run(5_000, 1_500_000);
    path.estimator.want(Some(1_800_000));
    path.run(10_000, 300_000);
    assert!(path.target() < 700_000.0, "no probe shows more than there is: {}", path.target());
    path.capacity = 3_000_000;
    path.run(3_000, 300_000);
    assert!(path.target() >= 1_800_000.0, "{}", path.target());
}

#[test]
fn some_loss_is_no_congestion_and_much_is() {
    let mut path = Path::new(10_000_000);
    path.loss = |n| n % 20 == 0;
    path.run(10_000, 1_000_000);
    assert!(path.target() >= 1_500_000.0, "5 %: {}", path.target());
    path.loss = |n| n % 3 == 0;
    path.run(10_000, 1_000_000);
    assert!(path.target() < 700_000.0, "33 %: {}", path.target());
}

#[test]
fn a30_a_viewers_own_estimate_counts_where_there_is_no_feedback() {
    let mut estimator = Estimator::new(Instant::now());
    assert_eq!(estimator.target(), None);
    estimator.handle_remb(800_000);
    assert_eq!(estimator.target(), Some(800_000));
    estimator.handle_remb(u64::MAX);
    assert!(estimator.target() <= Some(RATE_MAX as u64));
    estimator.handle_remb(0);
    assert_eq!(estimator.target(), Some(RATE_MIN as u64));
}

#[test]
fn a30_lies_change_nothing_but_the_target() {
    let mut estimator = Estimator::new(Instant::now());
    let start = estimator.start;
    for round in 0..200_u64 {
        let now = start + Duration::from_millis(round * 50);
        (0..20).for_each(|_| estimator.sent(now, 1_200));
        let base = estimator.next_seq().wrapping_sub(20);
        // Arrival times that leap to and fro.
        let lies: Vec<_> = (0..20).map(|n| (base.wrapping_add(n), Some(Duration::from_secs(round * 7_919 % 60_000)))).collect();
        let mut out = Vec::new();
        rtcp::emit_transport_feedback(1, 2, round as u8, &lies, &mut out);
        for packet in Compound::new(&out) {
            if let Rtcp::TransportFeedback(feedback) = packet {
                estimator.handle_feedback(now, &feedback, Some(Duration::MAX / 4));
            }
        }
        let target = estimator.target().unwrap_or(RATE_MIN as u64) as f64;
        assert!((RATE_MIN..=RATE_MAX).contains(&target), "{target}");
    }
}
