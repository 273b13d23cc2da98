//! One media stream of one client: loss, order, duplicates, jitter, freezes, latency.

use std::time::{Duration, Instant, SystemTime};

use super::{Count, Stamp, Tally, Times, stamp::micros};

/// Packets before the newest one of which it is known whether they came: 256 is a second and a half
/// of a 2 Mb/s stream, longer than any player waits for a packet sent again.
const WINDOW: u64 = 256;
const WORDS: usize = (WINDOW / 64) as usize;
/// Pauses that a viewer notices, and those that disturb.
const FREEZE: Duration = Duration::from_millis(200);
const LONG_FREEZE: Duration = Duration::from_millis(500);
/// At the start a server sends what it has kept since the last keyframe: these frames are old, and
/// come at once. Latency is of frames after that.
const SETTLE: Duration = Duration::from_secs(1);
/// Jitter is looked at once in so many packets.
const JITTER_EVERY: u64 = 64;
/// A stamp's counter that jumps by more is another stream's: the publisher began anew.
const FRAMES_LOST_MAX: u64 = 10_000;

/// Watches one media stream of one client.
#[derive(Debug)]
pub struct StreamMeter {
    clock_rate: u32,
    /// RTP, once there was a packet.
    order: Option<Order>,
    /// Arrival less timestamp of the packet before, in ticks (RFC 3550 A.8), and the estimate in
    /// sixteenths of a tick.
    transit: Option<(u32, u32)>,
    jitter: u32,
    epoch: Option<Instant>,
    first_frame: Option<Instant>,
    last_decodable: Option<Instant>,
    /// The highest counter of a stamp.
    counter: Option<u64>,
    /// A frame is missing: what follows cannot be decoded until a keyframe.
    broken: bool,
    bursts: bool,
    lazy: bool,
    /// What comes next had not come then.
    looked: Option<Instant>,
}

/// Which packets came, of the newest ones.
#[derive(Debug)]
struct Order {
    first: u64,
    highest: u64,
    /// Bit `index % WINDOW` for the window's packets.
    seen: [u64; WORDS],
}

impl StreamMeter {
    /// `clock_rate` is RTP's, in Hz; 0 where there are no RTP timestamps.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            order: None,
            transit: None,
            jitter: 0,
            epoch: None,
            first_frame: None,
            last_decodable: None,
            counter: None,
            broken: false,
            bursts: false,
            lazy: false,
            looked: None,
        }
    }

    /// For segments: frames come many at a time, and pauses between them are no freezes.
    pub fn in_bursts(mut self) -> Self {
        self.bursts = true;
        self
    }

    /// For players that are read some time after their frames came: there is no latency, and of pauses only those are
    /// counted, apart from others', that lasted more than 500 ms whenever the frames came.
    pub fn looked_at_late(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// Nothing of what is given next had come at `at`.
    pub const fn looked(&mut self, at: Instant) {
        self.looked = Some(at);
    }

    /// An RTP packet that passed its check. `index` is the sequence number, extended.
    pub fn packet(&mut self, tally: &mut Tally, index: u64, rtp_timestamp: u32, now: Instant, bytes: usize) {
        if self.in_order(tally, index) {
            tally.received(1, bytes);
            self.arrival(tally, rtp_timestamp, now);
        }
    }

    /// Notes the packet's place; false for one that came before.
    fn in_order(&mut self, tally: &mut Tally, index: u64) -> bool {
        let Some(order) = &mut self.order else {
            let mut order = Order { first: index, highest: index, seen: [0; WORDS] };
            order.see(index);
            self.order = Some(order);
            return true;
        };
        if index > order.highest {
            let missing = index - order.highest - 1;
            for skipped in order.highest.saturating_add(1).max(index.saturating_sub(WINDOW - 1))..index {
                order.forget(skipped);
            }
            order.highest = index;
            order.see(index);
            tally.add(Count::Lost, missing);
            return true;
        }
        if index < order.first || order.highest - index >= WINDOW {
            // From before the first one, or too old to tell: never counted as lost, or given up.
            tally.add(Count::Late, 1);
            return true;
        }
        if order.has(index) {
            tally.add(Count::Duplicates, 1);
            return false;
        }
        order.see(index);
        tally.take_back(Count::Lost, 1);
        tally.add(Count::Late, 1);
        true
    }

    /// RFC 3550 A.8.
    fn arrival(&mut self, tally: &mut Tally, rtp_timestamp: u32, now: Instant) {
        if self.clock_rate == 0 {
            return;
        }
        let epoch = *self.epoch.get_or_insert(now);
        let ticks = now.saturating_duration_since(epoch).as_micros() * u128::from(self.clock_rate) / 1_000_000;
        let transit = (ticks as u32).wrapping_sub(rtp_timestamp);
        let Some((before, packets)) = self.transit else {
            self.transit = Some((transit, 1));
            return;
        };
        let moved = transit.wrapping_sub(before) as i32;
        let moved = moved.unsigned_abs().min(self.clock_rate.saturating_mul(10));
        self.jitter = self.jitter.saturating_add(moved).saturating_sub(self.jitter.saturating_add(8) >> 4);
        let packets = packets.wrapping_add(1);
        self.transit = Some((transit, packets));
        if u64::from(packets).is_multiple_of(JITTER_EVERY) {
            tally.time(Times::Jitter, self.jitter());
        }
    }

    /// The interarrival jitter now.
    pub fn jitter(&self) -> Duration {
        if self.clock_rate == 0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64(f64::from(self.jitter >> 4) / f64::from(self.clock_rate))
    }

    /// A whole frame came.
    pub fn frame(&mut self, tally: &mut Tally, now: Instant, keyframe: bool, stamp: Option<Stamp>) {
        tally.add(Count::Frames, 1);
        if keyframe {
            tally.add(Count::Keyframes, 1);
        }
        let first = *self.first_frame.get_or_insert(now);
        if let Some(stamp) = stamp {
            tally.add(Count::Stamped, 1);
            self.follow(tally, stamp.counter, keyframe);
            if !self.lazy && now.saturating_duration_since(first) >= SETTLE {
                let age = micros(SystemTime::now()).saturating_sub(stamp.sent_micros);
                tally.time(Times::Latency, Duration::from_micros(age));
            }
        }
        if keyframe {
            self.broken = false;
        }
        if !self.broken {
            self.pause_until(tally, now);
            self.last_decodable = Some(now);
        }
    }

    /// A frame was given up: not all of its packets came. To be called by engines that know; the
    /// counters of stamps tell it too, and a stamped stream's losses are counted by these only.
    pub fn frame_lost(&mut self, tally: &mut Tally) {
        self.broken = true;
        if self.counter.is_none() {
            tally.add(Count::FramesLost, 1);
        }
    }

    fn follow(&mut self, tally: &mut Tally, counter: u64, keyframe: bool) {
        match self.counter {
            Some(highest) if counter > highest && counter - highest <= FRAMES_LOST_MAX => {
                let missing = counter - highest - 1;
                tally.add(Count::FramesLost, missing);
                self.broken |= missing > 0 && !keyframe;
            }
            Some(highest) if counter <= highest && highest - counter <= FRAMES_LOST_MAX && counter > 0 => {
                tally.add(Count::FramesLate, 1);
                if counter < highest {
                    tally.take_back(Count::FramesLost, 1);
                }
                return;
            }
            _ => {}
        }
        self.counter = Some(counter);
    }

    fn pause_until(&self, tally: &mut Tally, now: Instant) {
        let Some(last) = self.last_decodable.filter(|_| !self.bursts) else { return };
        if self.lazy {
            // The frame before came at the last moment, this one just after nothing was there.
            let surely = self.looked.unwrap_or(now).saturating_duration_since(last);
            tally.add(Count::LazyFreezes500, (surely > LONG_FREEZE).into());
            return;
        }
        let pause = now.saturating_duration_since(last);
        if pause > FREEZE {
            tally.freeze(pause, Count::Freezes200);
        }
        if pause > LONG_FREEZE {
            tally.freeze(pause, Count::Freezes500);
        }
    }

    /// How long no whole frame has come; none before the first.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.last_decodable?))
    }

    /// The session ends: a pause that goes on is counted.
    pub fn end(&mut self, tally: &mut Tally, now: Instant) {
        self.pause_until(tally, now);
        self.last_decodable = None;
    }
}

impl Order {
    fn bit(index: u64) -> (usize, u64) {
        let place = index % WINDOW;
        ((place / 64) as usize, 1 << (place % 64))
    }

    fn has(&self, index: u64) -> bool {
        let (word, bit) = Self::bit(index);
        self.seen[word] & bit != 0
    }

    fn see(&mut self, index: u64) {
        let (word, bit) = Self::bit(index);
        self.seen[word] |= bit;
    }

    fn forget(&mut self, index: u64) {
        let (word, bit) = Self::bit(index);
        self.seen[word] &= !bit;
    }
}

#[cfg(test)]
mod tests;
