//! The timeline of transcoded sound: counted in samples, held to the input's times.

use weir_source::MediaTime;

use super::RATE;

/// How far the count may stand from the input's times before it is corrected at once. Less than
/// the 125 ms at which viewers notice that sound is late (ITU-R BT.1359).
const BREAK_US: i64 = 100_000;
/// The longest gap that is filled with silence: longer ones move the timeline instead.
const FILL_US_MAX: i64 = 1_000_000;
/// Slewing starts at this mean error and ends when it is below [`SLEW_STOP_US`]: RTMP's times are
/// rounded to milliseconds and jitter by one or two, which must not be followed.
const SLEW_START_US: i64 = 5_000;
const SLEW_STOP_US: i64 = 500;
/// One over the weight of a new error in the mean: a third of a second of 20 ms frames.
const MEAN_FRAMES: i64 = 16;
/// After this many frames in a row that were too early (about a second), the input's times have
/// lost their meaning, and counting simply goes on.
const EARLY_FRAMES_MAX: u32 = 50;

/// What is to be done with the input frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it, longer or shorter by this many samples (-1, 0 or 1).
    Append(i64),
    /// Append this many samples of silence, then the frame.
    FillThenAppend(i64),
    /// Leave it out: the time that it belongs to is already filled.
    Drop,
    /// The timeline starts anew with this frame.
    Restart,
}

/// Counts samples from an anchor and compares the count with the times of the input.
#[derive(Debug, Default)]
pub(super) struct Clock {
    anchor: Option<MediaTime>,
    /// Samples at [`RATE`] since the anchor, and what is left of the division that gave them.
    written: i64,
    remainder: i64,
    /// Accepted distance between count and input, in microseconds.
    bias_us: i64,
    mean_us: i64,
    slewing: bool,
    early: u32,
}

impl Clock {
    /// Where sample 0 stands; `None` before the first frame.
    pub(super) const fn anchor(&self) -> Option<MediaTime> {
        self.anchor
    }

    /// Judges an input frame that starts at `time`.
    pub(super) fn judge(&mut self, time: MediaTime) -> Verdict {
        let Some(anchor) = self.anchor else {
            self.restart(time);
            return Verdict::Restart;
        };
        let expected = anchor.offset(samples_us(self.written).saturating_add(self.bias_us));
        let error = time - expected;
        if error > FILL_US_MAX {
            self.restart(time);
            return Verdict::Restart;
        }
        if error > BREAK_US {
            self.settle();
            return Verdict::FillThenAppend(us_samples(error));
        }
        let tolerance = if self.early > 0 { 0 } else { BREAK_US };
        if error < -tolerance {
            self.early += 1;
            if self.early <= EARLY_FRAMES_MAX {
                return Verdict::Drop;
            }
            self.bias_us = self.bias_us.saturating_add(error);
            self.settle();
            return Verdict::Append(0);
        }
        self.early = 0;
        self.mean_us += (error - self.mean_us) / MEAN_FRAMES;
        self.slewing = self.mean_us.abs() > if self.slewing { SLEW_STOP_US } else { SLEW_START_US };
        Verdict::Append(if self.slewing { self.mean_us.signum() } else { 0 })
    }

    /// `samples` of `rate` Hz were appended, and `extra` samples of [`RATE`].
    pub(super) fn advance(&mut self, samples: usize, rate: u32, extra: i64) {
        let rate = i64::from(rate.max(1));
        let scaled = i64::try_from(samples).unwrap_or(0) * i64::from(RATE) + self.remainder.min(rate - 1);
        self.remainder = scaled % rate;
        self.written += scaled / rate + extra;
    }

    fn restart(&mut self, time: MediaTime) {
        *self = Self { anchor: Some(time), ..Self::default() };
    }

    fn settle(&mut self) {
        self.mean_us = 0;
        self.slewing = false;
        self.early = 0;
    }
}

/// The duration of `samples` at [`RATE`] in microseconds.
pub(super) fn samples_us(samples: i64) -> i64 {
    MediaTime::from_ticks(samples, RATE).as_micros()
}

/// The samples at [`RATE`] that last `us` microseconds.
pub(super) fn us_samples(us: i64) -> i64 {
    MediaTime::from_micros(us).to_ticks(RATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(micros: i64) -> MediaTime {
        MediaTime::from_micros(micros)
    }

    /// Feeds frames of 1,024 samples at 44.1 kHz whose times come from `time`; gives the count's
    /// last distance from them in microseconds.
    fn run(clock: &mut Clock, frames: i64, time: impl Fn(i64) -> MediaTime) -> i64 {
        let mut distance = 0;
        for index in 0..frames {
            let time = time(index);
            if let Verdict::Append(extra) = clock.judge(time) {
                let anchor = clock.anchor().expect("set by the first");
                distance = time - anchor.offset(samples_us(clock.written));
                clock.advance(1_024, 44_100, extra);
            } else {
                clock.advance(1_024, 44_100, 0);
            }
        }
        distance
    }

    #[test]
    fn rounded_times_are_not_followed() {
        let mut clock = Clock::default();
        let distance = run(&mut clock, 100_000, |index| us(MediaTime::from_ticks(index * 1_024, 44_100).as_millis() * 1_000));
        assert!(distance.abs() <= 500, "{distance}");
        assert!(!clock.slewing);
    }

    #[test]
    fn drift_of_five_hundred_parts_in_a_million_is_slewed_within_a_few_milliseconds() {
        for (ppm, frames) in [(-500, 300), (-500, 20_000), (500, 300), (500, 20_000)] {
            let distance = run(&mut Clock::default(), frames, |index| {
                let exact = MediaTime::from_ticks(index * 1_024, 44_100).as_micros();
                us(exact + exact * ppm / 1_000_000)
            });
            assert!(distance.abs() < 8_000, "{distance} at {ppm}");
        }
    }

    #[test]
    fn a_gap_is_filled_a_long_one_restarts() {
        let mut clock = Clock::default();
        assert_eq!(clock.judge(us(0)), Verdict::Restart);
        clock.advance(960, RATE, 0);
        assert_eq!(clock.judge(us(320_000)), Verdict::FillThenAppend(14_400));
        clock.advance(960, RATE, 14_400);
        assert_eq!(clock.judge(us(340_000)), Verdict::Append(0));
        assert_eq!(clock.judge(us(9_000_000)), Verdict::Restart);
        assert_eq!(clock.anchor(), Some(us(9_000_000)));
    }

    #[test]
    fn frames_that_come_again_are_left_out_until_the_count_is_reached() {
        let mut clock = Clock::default();
        for index in 0..20 {
            clock.judge(us(index * 20_000));
            clock.advance(960, RATE, 0);
        }
        let verdicts: Vec<_> = (10..24).map(|index| clock.judge(us(index * 20_000))).collect();
        assert!(verdicts[..10].iter().all(|verdict| *verdict == Verdict::Drop));
        assert_eq!(verdicts[10], Verdict::Append(0));
    }

    #[test]
    fn times_that_stand_still_do_not_stop_the_sound_for_more_than_a_second() {
        let mut clock = Clock::default();
        let mut appended = 0;
        for _ in 0..1_000 {
            if clock.judge(us(5)) != Verdict::Drop {
                appended += 1;
                clock.advance(960, RATE, 0);
            }
        }
        assert!(appended >= 100, "{appended}");
    }
}
