//! One engine thread's share of the run, and the sum of all.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::Stage;

/// Distinct reasons of failure that are kept apart; a server under load has a handful, and addresses
/// or ids in a message must not fill the memory.
const REASONS_MAX: usize = 32;
/// Characters of a reason that are kept.
const REASON_LEN_MAX: usize = 200;
/// What all further reasons are filed under.
const OTHER_REASONS: &str = "other reasons";
/// The longest time that is told apart, in microseconds: ten minutes.
const TIME_MAX_MICROS: u64 = 600_000_000;
/// Times are exact to a thousandth: about 90 KB for each kind of time and thread.
const DIGITS: u8 = 3;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Sessions begun.
    Asked,
    /// Sessions whose signalling and transport were done.
    Connected,
    /// Sessions that ended as planned.
    Left,
    /// Sessions that failed, at whatever stage.
    Failed,
    /// Of these, those that had been connected.
    FailedLater,
    /// Sessions with media.
    WithMedia,
    /// Media packets (RTP) or messages received, duplicates not included.
    Packets,
    /// Their bytes, headers of RTP included.
    Bytes,
    /// RTP packets missing by their sequence numbers.
    Lost,
    /// RTP packets that came after a later one: reordered on the way, or sent again.
    Late,
    /// RTP packets that came more than once.
    Duplicates,
    /// Packets that failed their check: SRTP authentication, or a broken format.
    Bad,
    /// Frames received whole.
    Frames,
    /// Of these, keyframes.
    Keyframes,
    /// Frames with our stamp.
    Stamped,
    /// Frames missing by the counter in their stamps, or given up by the engine.
    FramesLost,
    /// Stamped frames older than one received before.
    FramesLate,
    /// Pauses of more than 200 ms between decodable frames.
    Freezes200,
    /// Pauses of more than 500 ms.
    Freezes500,
    /// Milliseconds of all pauses of more than 200 ms together.
    FrozenMillis,
    /// Connected sessions whose frames are looked at some time after they came: they feed no latency and none of the
    /// three counts above.
    Lazy,
    /// Of these, those that have left or failed.
    LazyOver,
    /// Pauses between decodable frames of these that lasted more than 500 ms whenever the frames came.
    LazyFreezes500,
    /// Packets or messages sent by publishers.
    SentPackets,
    /// Their bytes.
    SentBytes,
    /// Frames sent by publishers.
    SentFrames,
    /// Frames that publishers could not send in time and left out.
    SentSkipped,
    /// RTP packets of publishers that the server's reports call lost.
    SentLost,
    /// Packets that the server asked a publisher for again.
    Nacked,
    /// Keyframes that the server asked a publisher for.
    KeyframesAsked,
}

const COUNTS: usize = Count::KeyframesAsked as usize + 1;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// From asking to connected.
    Setup,
    /// From asking to the first media packet.
    FirstPacket,
    /// From asking to the first decodable keyframe.
    FirstKeyframe,
    /// From a frame's making to its last byte.
    Latency,
    /// Interarrival jitter of RTP (RFC 3550 A.8), looked at every 64 packets of a stream.
    Jitter,
}

impl Times {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Setup, Self::FirstPacket, Self::FirstKeyframe, Self::Latency, Self::Jitter];

    /// As in the summary and in expectations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::FirstPacket => "first-packet",
            Self::FirstKeyframe => "first-keyframe",
            Self::Latency => "latency",
            Self::Jitter => "jitter",
        }
    }
}

/// Sessions that failed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// In words.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What one thread has counted. About 0.5 MB, whatever the run's length.
#[derive(Clone, Debug)]
pub struct Tally {
    counts: [u64; COUNTS],
    pub(super) times: [Histogram<u32>; Times::ALL.len()],
    failures: Vec<Failure>,
    pub(super) longest_freeze: Duration,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: [0; COUNTS],
            times: std::array::from_fn(|_| histogram()),
            failures: Vec::new(),
            longest_freeze: Duration::ZERO,
        }
    }
}

fn histogram() -> Histogram<u32> {
    // The bounds are constants that hdrhistogram takes: low >= 1, high >= 2 * low, digits <= 5.
    Histogram::new_with_bounds(1, TIME_MAX_MICROS, DIGITS).unwrap_or_else(|_| unreachable!("constant bounds"))
}

impl Tally {
    /// A session is being set up.
    pub fn asked(&mut self) {
        self.add(Count::Asked, 1);
    }

    /// Signalling and transport are done (WebRTC: ICE and DTLS; RTMP: play or publish accepted; FLV:
    /// the response's head; HLS: the first playlist), so long after [`Tally::asked`].
    pub fn connected(&mut self, setup: Duration) {
        self.add(Count::Connected, 1);
        self.time(Times::Setup, setup);
    }

    /// A session failed and will not be heard of again. After [`Tally::connected`] only with a stage
    /// of which [`Stage::after_connected`] is true, and before it only with the others.
    pub fn failed(&mut self, stage: Stage, reason: &str) {
        self.add(Count::Failed, 1);
        if stage.after_connected() {
            self.add(Count::FailedLater, 1);
        }
        let reason: String = reason.chars().take(REASON_LEN_MAX).collect();
        self.file(Failure { stage, reason, count: 1 });
    }

    /// The first media packet came, so long after [`Tally::asked`]; once a session.
    pub fn first_packet(&mut self, since_asked: Duration) {
        self.add(Count::WithMedia, 1);
        self.time(Times::FirstPacket, since_asked);
    }

    /// The first keyframe was whole, so long after [`Tally::asked`]; once a session.
    pub fn first_keyframe(&mut self, since_asked: Duration) {
        self.time(Times::FirstKeyframe, since_asked);
    }

    /// A connected session ended as planned.
    pub fn left(&mut self) {
        self.add(Count::Left, 1);
    }

    /// Media received without sequence numbers, as over TCP.
    pub fn received(&mut self, packets: u64, bytes: usize) {
        self.add(Count::Packets, packets);
        self.add(Count::Bytes, bytes as u64);
    }

    /// Media sent by a publisher.
    pub fn sent(&mut self, packets: u64, bytes: usize) {
        self.add(Count::SentPackets, packets);
        self.add(Count::SentBytes, bytes as u64);
    }

    /// Whatever else there is to count.
    pub fn add(&mut self, count: Count, number: u64) {
        let sum = &mut self.counts[count as usize];
        *sum = sum.saturating_add(number);
    }

    /// What was counted turned out not to be so.
    pub(super) fn take_back(&mut self, count: Count, number: u64) {
        let sum = &mut self.counts[count as usize];
        *sum = sum.saturating_sub(number);
    }

    /// How often so far.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    pub(super) fn time(&mut self, times: Times, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(TIME_MAX_MICROS);
        self.times[times as usize].saturating_record(micros.max(1));
    }

    pub(super) fn freeze(&mut self, lasted: Duration, over: Count) {
        self.add(over, 1);
        if over == Count::Freezes200 {
            self.add(Count::FrozenMillis, u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
        }
        self.longest_freeze = self.longest_freeze.max(lasted);
    }

    fn file(&mut self, failure: Failure) {
        let known = self.failures.iter_mut().find(|f| f.stage == failure.stage && f.reason == failure.reason);
        if let Some(known) = known {
            known.count = known.count.saturating_add(failure.count);
        } else if self.failures.len() < REASONS_MAX || failure.reason == OTHER_REASONS {
            // At most one more for each stage.
            self.failures.push(failure);
        } else {
            self.file(Failure { reason: OTHER_REASONS.to_owned(), ..failure });
        }
    }

    fn merge(&mut self, other: &Self) {
        for (sum, number) in self.counts.iter_mut().zip(other.counts) {
            *sum = sum.saturating_add(number);
        }
        for (sum, times) in self.times.iter_mut().zip(&other.times) {
            // Of equal bounds: adding cannot fail.
            let _added = sum.add(times);
        }
        other.failures.iter().for_each(|failure| self.file(failure.clone()));
        self.longest_freeze = self.longest_freeze.max(other.longest_freeze);
    }
}

/// A thread's access to its tally. Lock it once a turn, not once a packet.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    tally: Arc<Mutex<Tally>>,
}

impl Recorder {
    /// The tally; nobody but a snapshot, a few times a second, waits for it.
    pub fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes recorders and adds up what they hold.
#[derive(Debug, Default)]
pub struct Collector {
    recorders: Mutex<Vec<Recorder>>,
}

impl Collector {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One for a further thread, or for a group of clients. It is kept: make one for each thread and
    /// clone it, never one for each client.
    pub fn recorder(&self) -> Recorder {
        let recorder = Recorder::default();
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner).push(recorder.clone());
        recorder
    }

    /// The sum of all, now.
    pub fn snapshot(&self) -> Snapshot {
        let recorders = self.recorders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Tally::default();
        recorders.iter().for_each(|recorder| sum.merge(&recorder.lock()));
        Snapshot { taken: Instant::now(), tally: sum }
    }
}

/// What all threads have counted until one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub taken: Instant,
    tally: Tally,
}

impl Snapshot {
    /// Several of about the same moment as one.
    pub fn sum<'a>(snapshots: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut tally = Tally::default();
        snapshots.into_iter().for_each(|snapshot| tally.merge(&snapshot.tally));
        Self { taken: Instant::now(), tally }
    }

    /// How often.
    pub fn count(&self, count: Count) -> u64 {
        self.tally.count(count)
    }

    /// How often since an earlier snapshot.
    pub fn grown(&self, count: Count, earlier: &Self) -> u64 {
        self.count(count).saturating_sub(earlier.count(count))
    }

    /// Sessions that are connected now.
    pub fn active(&self) -> u64 {
        self.count(Count::Connected).saturating_sub(self.count(Count::Left)).saturating_sub(self.count(Count::FailedLater))
    }

    /// Of these, those whose frames are looked at some time after they came.
    pub fn active_lazily(&self) -> u64 {
        self.count(Count::Lazy).saturating_sub(self.count(Count::LazyOver))
    }

    /// Whether frames of anybody are looked at when they come.
    pub fn has_prompt(&self) -> bool {
        self.count(Count::Connected) > self.count(Count::Lazy)
    }

    /// Sessions that are being set up now.
    pub fn pending(&self) -> u64 {
        let failed_early = self.count(Count::Failed).saturating_sub(self.count(Count::FailedLater));
        self.count(Count::Asked).saturating_sub(self.count(Count::Connected)).saturating_sub(failed_early)
    }

    /// How often something was timed.
    pub fn timed(&self, times: Times) -> u64 {
        self.tally.times[times as usize].len()
    }

    /// The time that so many per cent were not above; none if nothing was timed. 100 is the longest.
    pub fn percentile(&self, times: Times, percent: f64) -> Option<Duration> {
        let histogram = &self.tally.times[times as usize];
        (!histogram.is_empty()).then(|| Duration::from_micros(histogram.value_at_percentile(percent)))
    }

    /// The mean; none if nothing was timed.
    pub fn mean(&self, times: Times) -> Option<Duration> {
        let histogram = &self.tally.times[times as usize];
        (!histogram.is_empty()).then(|| Duration::from_secs_f64(histogram.mean() / 1e6))
    }

    /// The longest pause between decodable frames; zero if none was above 200 ms.
    pub fn longest_freeze(&self) -> Duration {
        self.tally.longest_freeze
    }

    /// What failed, the most frequent first.
    pub fn failures(&self) -> Vec<Failure> {
        let mut failures = self.tally.failures.clone();
        failures.sort_by(|a, b| (b.count, a.stage, &a.reason).cmp(&(a.count, b.stage, &b.reason)));
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_the_sum_of_all_threads() {
        let collector = Collector::new();
        let (one, two) = (collector.recorder(), collector.recorder());
        for n in 1..=100_u64 {
            let recorder = if n % 2 == 0 { &one } else { &two };
            let mut tally = recorder.lock();
            tally.asked();
            tally.connected(Duration::from_millis(n));
        }
        two.lock().left();
        two.lock().failed(Stage::Stalled, "no media for 5 s");
        let all = collector.snapshot();
        assert_eq!((all.count(Count::Connected), all.active(), all.pending()), (100, 98, 0));
        let p99 = all.percentile(Times::Setup, 99.0).unwrap();
        assert!((Duration::from_millis(99)..Duration::from_micros(99_200)).contains(&p99), "{p99:?}");
        assert!(all.percentile(Times::Setup, 100.0).unwrap() >= Duration::from_millis(100));
        let mean = all.mean(Times::Setup).unwrap().as_millis();
        assert!((50..=51).contains(&mean), "{mean}");
        assert_eq!(all.percentile(Times::Latency, 50.0), None, "nothing was timed");
    }

    #[test]
    fn reasons_are_counted_together_and_bounded() {
        let collector = Collector::new();
        for thread in 0..3 {
            let recorder = collector.recorder();
            for n in 0..1_000 {
                recorder.lock().failed(Stage::Refused, &format!("busy {}", n % 100 + thread));
            }
            recorder.lock().failed(Stage::Dtls, "alert");
        }
        let all = collector.snapshot();
        let failures = all.failures();
        assert!(failures.len() <= REASONS_MAX + 2, "{}", failures.len());
        assert_eq!(failures[0].reason, OTHER_REASONS);
        assert_eq!(failures.iter().map(|failure| failure.count).sum::<u64>(), 3_003);
        assert_eq!(failures.iter().filter(|f| f.stage == Stage::Dtls).map(|f| f.count).sum::<u64>(), 3);
    }

    #[test]
    fn a_time_beyond_the_scale_is_the_longest() {
        let collector = Collector::new();
        collector.recorder().lock().first_packet(Duration::from_secs(100_000));
        assert!(collector.snapshot().percentile(Times::FirstPacket, 50.0).unwrap() >= Duration::from_secs(599));
    }
}
