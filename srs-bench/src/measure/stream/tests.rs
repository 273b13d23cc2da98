//! Sequences made by hand, and what the meter makes of them.

use super::*;

/// 20 ms of Opus in each packet, on time, at these places of the sequence.
fn packets(indices: impl IntoIterator<Item = u64>) -> (StreamMeter, Tally) {
    let (mut meter, mut tally, start) = (StreamMeter::new(48_000), Tally::default(), Instant::now());
    for (place, index) in indices.into_iter().enumerate() {
        let at = start + Duration::from_millis(20) * place as u32;
        meter.packet(&mut tally, index, (place * 960) as u32, at, 100);
    }
    (meter, tally)
}

/// Packets received, lost, late and duplicates.
fn order(indices: impl IntoIterator<Item = u64>) -> [u64; 4] {
    let (_, tally) = packets(indices);
    [Count::Packets, Count::Lost, Count::Late, Count::Duplicates].map(|count| tally.count(count))
}

#[test]
fn a_whole_sequence_has_no_loss() {
    assert_eq!(order(0..10_000), [10_000, 0, 0, 0]);
    // The wire's sixteen bits wrap; the extended index does not.
    assert_eq!(order(65_000..66_500), [1_500, 0, 0, 0]);
}

#[test]
fn what_is_missing_is_lost() {
    assert_eq!(order((0..1_000).filter(|index| index % 10 != 5)), [900, 100, 0, 0]);
    assert_eq!(order([1, 2, 1_000_000]), [3, 999_997, 0, 0], "a gap wider than the window");
}

#[test]
fn what_comes_late_is_not_lost() {
    assert_eq!(order([1, 2, 5, 3, 4, 6]), [6, 0, 2, 0]);
    assert_eq!(order([1, 4, 3, 5]), [4, 1, 1, 0]);
    assert_eq!(order([10, 9, 8, 11]), [4, 0, 2, 0], "from before the first one");
    assert_eq!(order([1, 3, 1_000, 2]), [4, 997, 1, 0], "too late to be of use: given up as lost");
}

#[test]
fn what_comes_twice_is_counted_once() {
    assert_eq!(order([1, 2, 2, 3, 1, 4, 4, 4]), [4, 0, 0, 4]);
    assert_eq!(order([1, 3, 2, 2, 4]), [4, 0, 1, 1], "sent again twice");
    assert_eq!(order((0..2_000).flat_map(|index| [index, index])), [2_000, 0, 0, 2_000]);
}

#[test]
fn packets_on_time_have_no_jitter_and_uneven_ones_have() {
    let (meter, _) = packets(0..1_000);
    assert_eq!(meter.jitter(), Duration::ZERO);
    let (mut meter, mut tally, start) = (StreamMeter::new(90_000), Tally::default(), Instant::now());
    for index in 0..2_000_u64 {
        // Every other packet comes 10 ms late: each transit differs by 10 ms from the one before.
        let at = start + Duration::from_millis(index * 20 + index % 2 * 10);
        let timestamp = u32::MAX.wrapping_sub(900_000).wrapping_add(index as u32 * 1_800);
        meter.packet(&mut tally, index, timestamp, at, 100);
    }
    let jitter = meter.jitter();
    assert!((Duration::from_millis(9)..Duration::from_millis(11)).contains(&jitter), "{jitter:?}");
}

/// Frames with stamps at these milliseconds; `None` is one that is lost.
struct Frames {
    meter: StreamMeter,
    tally: Tally,
    start: Instant,
    counter: u64,
}

impl Frames {
    fn new() -> Self {
        Self { meter: StreamMeter::new(90_000), tally: Tally::default(), start: Instant::now(), counter: 0 }
    }

    fn take(&mut self, at_ms: u64, keyframe: bool) -> &mut Self {
        self.counter += 1;
        let stamp = Stamp { counter: self.counter, sent_micros: micros(SystemTime::now()) - 50_000 };
        self.meter.frame(&mut self.tally, self.start + Duration::from_millis(at_ms), keyframe, Some(stamp));
        self
    }

    fn lose(&mut self) -> &mut Self {
        self.counter += 1;
        self
    }

    fn freezes(&self) -> [u64; 3] {
        [Count::Freezes200, Count::Freezes500, Count::FrozenMillis].map(|count| self.tally.count(count))
    }
}

#[test]
fn pauses_between_frames_are_freezes() {
    let mut frames = Frames::new();
    frames.take(0, true).take(40, false).take(240, false).take(441, false).take(1_041, false);
    assert_eq!(frames.freezes(), [2, 1, 801]);
    assert_eq!(frames.tally.longest_freeze, Duration::from_millis(600));
    frames.meter.end(&mut frames.tally, frames.start + Duration::from_millis(3_041));
    assert_eq!(frames.freezes(), [3, 2, 2_801], "a pause that lasts until the end counts");
}

#[test]
fn after_a_lost_frame_nothing_is_decodable_until_a_keyframe() {
    let mut frames = Frames::new();
    frames.take(0, true).take(40, false).lose().take(120, false).take(160, false).take(300, true).take(340, false);
    assert_eq!(frames.tally.count(Count::FramesLost), 1);
    assert_eq!(frames.freezes(), [1, 0, 260], "from 40 to 300 ms");
}

#[test]
fn a_publisher_that_begins_anew_is_no_loss() {
    let mut frames = Frames::new();
    frames.take(0, true).take(40, false);
    frames.counter = 5_000_000;
    frames.take(80, true).take(120, false);
    frames.counter = u64::MAX;
    frames.counter = frames.counter.wrapping_sub(1);
    assert_eq!(frames.tally.count(Count::FramesLost), 0);
    assert_eq!(frames.tally.count(Count::Stamped), 4);
}

#[test]
fn latency_is_the_stamps_age_once_the_stream_runs() {
    let mut frames = Frames::new();
    for n in 0..50 {
        frames.take(n * 40, n == 0);
    }
    let latency = &frames.tally;
    assert_eq!(latency.count(Count::Frames), 50);
    let collector = super::super::Collector::new();
    *collector.recorder().lock() = frames.tally.clone();
    let all = collector.snapshot();
    assert_eq!(all.timed(Times::Latency), 25, "those of the first second are old");
    let p50 = all.percentile(Times::Latency, 50.0).unwrap();
    assert!((Duration::from_millis(49)..Duration::from_millis(80)).contains(&p50), "{p50:?}");
}

#[test]
fn of_what_is_looked_at_late_only_certain_pauses_count() {
    let (mut meter, mut tally, start) = (StreamMeter::new(0).looked_at_late(), Tally::default(), Instant::now());
    let at = |ms: u64| start + Duration::from_millis(ms);
    // Each look, the one before it, and frames that it finds.
    for (looked, now, frames) in [(0, 0, 1), (0, 1_100, 3), (1_100, 1_700, 2), (2_150, 2_250, 1), (2_800, 2_900, 1)] {
        meter.looked(at(looked));
        for _ in 0..frames {
            let stamp = Stamp::now(tally.count(Count::Frames));
            meter.frame(&mut tally, at(now), true, Some(stamp));
        }
    }
    // 550 ms between 2,250 and 2,800; all else may have been shorter.
    assert_eq!(tally.count(Count::LazyFreezes500), 1);
    assert_eq!([Count::Freezes200, Count::Freezes500, Count::FrozenMillis].map(|count| tally.count(count)), [0; 3]);
    assert_eq!((tally.count(Count::Stamped), tally.count(Count::FramesLost)), (8, 0));
    assert!(tally.times[Times::Latency as usize].is_empty() && tally.longest_freeze.is_zero());
}

#[test]
fn segments_do_not_freeze() {
    let mut frames = Frames::new();
    frames.meter = StreamMeter::new(0).in_bursts();
    frames.take(0, true).take(0, false).take(4_000, true);
    assert_eq!(frames.freezes(), [0, 0, 0]);
}

#[test]
fn a_meter_is_small() {
    assert!(size_of::<StreamMeter>() < 200, "{}", size_of::<StreamMeter>());
}
