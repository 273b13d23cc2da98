//! Media time: one signed count of microseconds on a source's own clock.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// A point on a source's one media clock, in microseconds since the source was made.
///
/// Audio and video of a source, whatever protocol brought them, are stamped on this one clock, so
/// that lip-sync is a subtraction. Microseconds hold every tick of the rates in use (90 kHz,
/// 48 kHz, milliseconds) without loss: [`MediaTime::to_ticks`] undoes [`MediaTime::from_ticks`]
/// exactly for rates up to 500 kHz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(i64);

impl MediaTime {
    /// The moment the source was made.
    pub const ZERO: Self = Self(0);

    /// From microseconds.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds (RTMP and FLV timestamps).
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From `ticks` of a clock of `rate` Hz, rounded to the nearest microsecond. A `rate` of 0
    /// gives zero.
    pub fn from_ticks(ticks: i64, rate: u32) -> Self {
        if rate == 0 {
            return Self(0);
        }
        Self(scale(ticks, 1_000_000, rate.into()))
    }

    /// Microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds, rounded to the nearest.
    pub fn as_millis(self) -> i64 {
        scale(self.0, 1, 1_000)
    }

    /// Ticks of a clock of `rate` Hz, rounded to the nearest.
    pub fn to_ticks(self, rate: u32) -> i64 {
        scale(self.0, rate.into(), 1_000_000)
    }

    /// The distance from `earlier`, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This point moved by `micros`, either way.
    pub const fn offset(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }
}

/// `n * by / over`, rounded to the nearest.
fn scale(n: i64, by: i64, over: i64) -> i64 {
    // 64 bits hold years of any rate, and are divided many times faster than 128.
    match n.checked_mul(by).and_then(|n| n.checked_add(over / 2)) {
        Some(n) => n.div_euclid(over),
        None => div_round(i128::from(n) * i128::from(by), over.into()),
    }
}

fn div_round(n: i128, d: i128) -> i64 {
    let q = (n + d / 2).div_euclid(d);
    i64::try_from(q).unwrap_or(if q < 0 { i64::MIN } else { i64::MAX })
}

impl Add<Duration> for MediaTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub for MediaTime {
    /// Signed microseconds.
    type Output = i64;
    fn sub(self, rhs: Self) -> i64 {
        self.0.saturating_sub(rhs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_survive_the_round_trip(ticks in -1_000_000_000_000i64..1_000_000_000_000, rate in prop_oneof![Just(90_000u32), Just(48_000), Just(44_100), Just(8_000), Just(1_000)]) {
            prop_assert_eq!(MediaTime::from_ticks(ticks, rate).to_ticks(rate), ticks);
        }

        #[test]
        fn the_short_way_agrees_with_the_long_one(n in prop_oneof![any::<i64>(), -100_000_000i64..100_000_000], rate in 1..u32::MAX) {
            let long = div_round(i128::from(n) * 1_000_000, rate.into());
            prop_assert_eq!(MediaTime::from_ticks(n, rate), MediaTime::from_micros(long));
            prop_assert_eq!(MediaTime::from_micros(n).to_ticks(rate), div_round(i128::from(n) * i128::from(rate), 1_000_000));
        }
    }

    #[test]
    fn rounds_to_the_nearest_on_both_sides_of_zero() {
        assert_eq!(MediaTime::from_micros(1_499).as_millis(), 1);
        assert_eq!(MediaTime::from_micros(1_500).as_millis(), 2);
        assert_eq!(MediaTime::from_micros(-1_499).as_millis(), -1);
        assert_eq!(MediaTime::from_ticks(1, 0), MediaTime::ZERO);
    }

    #[test]
    fn saturates_instead_of_wrapping() {
        assert_eq!(MediaTime::from_millis(i64::MAX).as_micros(), i64::MAX);
        assert_eq!(MediaTime::from_micros(5).saturating_since(MediaTime::from_micros(9)), Duration::ZERO);
    }
}
