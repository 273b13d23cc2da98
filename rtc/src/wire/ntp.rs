//! NTP time stamps: 32 bits of seconds since 1900 and 32 bits of fraction (RFC 5905 section 6).

use std::time::Duration;

/// A wall-clock instant in NTP's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ntp(pub u64);

/// From NTP's epoch (1900) to Unix's (1970).
const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

impl Ntp {
    /// The instant `since_epoch` after 1970-01-01. Wraps in 2036, as the format does.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH_SECONDS);
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, as reports echo them (RFC 3550 section 6.4.1, "LSR"): units of 1/65536 s.
    #[must_use]
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// This instant, `later` afterwards.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        let fraction = (u64::from(later.subsec_nanos()) << 32) / 1_000_000_000;
        Self(self.0.wrapping_add(later.as_secs() << 32).wrapping_add(fraction))
    }

    /// Microseconds from `earlier` to this instant, negative when it is later. Right for distances
    /// under 68 years, across the format's wrap too.
    #[must_use]
    pub fn micros_since(self, earlier: Self) -> i64 {
        let distance = i128::from(self.0.wrapping_sub(earlier.0) as i64);
        // At most 2^31 seconds: fits after the division.
        ((distance * 1_000_000) >> 32) as i64
    }
}

/// A distance in units of 1/65536 s (RFC 3550 section 6.4.1, "DLSR") of `distance`; saturates at 18 hours.
#[must_use]
pub fn short(distance: Duration) -> u32 {
    let units = distance.as_nanos().saturating_mul(65_536) / 1_000_000_000;
    u32::try_from(units).unwrap_or(u32::MAX)
}

/// The distance that `units` of 1/65536 s stand for.
#[must_use]
pub fn from_short(units: u32) -> Duration {
    Duration::from_nanos(u64::from(units) * 1_000_000_000 / 65_536)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unix_epoch_is_seventy_years_after_ntps() {
        assert_eq!(Ntp::from_unix(Duration::ZERO).0, 2_208_988_800 << 32);
        assert_eq!(Ntp::from_unix(Duration::from_millis(1500)).0, (2_208_988_801 << 32) + (1 << 31));
    }

    #[test]
    fn distances_have_a_sign_and_survive_the_wrap_of_2036() {
        let at = Ntp(u64::MAX - (1 << 31));
        let later = at.plus(Duration::from_secs(2));
        assert!(later < at, "the format wrapped");
        assert_eq!(later.micros_since(at), 2_000_000);
        assert_eq!(at.micros_since(later), -2_000_000);
    }

    #[test]
    fn short_form_keeps_tenths_of_milliseconds() {
        let distance = Duration::from_millis(1250);
        assert_eq!(short(distance), 81_920);
        assert_eq!(from_short(81_920), distance);
        assert_eq!(short(Duration::MAX), u32::MAX);
    }

    #[test]
    fn the_middle_bits_are_seconds_and_sixteen_bits_of_fraction() {
        assert_eq!(Ntp(0x1122_3344_5566_7788).middle(), 0x3344_5566);
    }
}
