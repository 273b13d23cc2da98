//! What all sessions of a server share: the tie to wall time and the name they report under.

use std::time::{Duration, Instant};

use weir_source::MediaTime;

/// Seconds from 1900 (NTP) to 1970 (Unix): RFC 5905 figure 4.
const NTP_UNIX_SECONDS: u64 = 2_208_988_800;

/// Settings of all sessions. Cheap to keep, read when a session is made.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// One instant and the same moment as a 64-bit NTP timestamp (RFC 5905 6: seconds since 1900
    /// in the high half, fractions in the low). Sender reports are stamped from it, so that wall
    /// time never jumps within a run of the server.
    pub ntp_epoch: (Instant, u64),
    /// CNAME of what we send (RFC 3550 6.5.1). Audio and video of a session share it, which is
    /// what lets a browser lip-sync them.
    pub cname: String,
}

impl SessionConfig {
    /// Settings for a server whose wall clock showed `unix` (time since 1970) at `at`.
    pub fn new(at: Instant, unix: Duration) -> Self {
        Self { ntp_epoch: (at, ntp_from_unix(unix)), cname: "weir".to_owned() }
    }
}

/// Wall time for a source whose clock reads zero at `made`: a pure function, fixed for the life of
/// a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    /// NTP timestamp of the source's time zero.
    zero: u64,
}

impl Wall {
    pub(crate) fn new(config: &SessionConfig, made: Instant) -> Self {
        let (at, ntp) = config.ntp_epoch;
        let ahead = ntp_fraction(made.saturating_duration_since(at));
        let behind = ntp_fraction(at.saturating_duration_since(made));
        Self { zero: ntp.wrapping_add(ahead).wrapping_sub(behind) }
    }

    /// The NTP timestamp of a point on the source's clock.
    pub(crate) fn ntp(self, time: MediaTime) -> u64 {
        let micros = i128::from(time.as_micros());
        let units = (micros << 32) / 1_000_000;
        // Two's complement: adding a negative distance modulo 2^64 subtracts it.
        self.zero.wrapping_add(units as u64)
    }
}

fn ntp_from_unix(unix: Duration) -> u64 {
    NTP_UNIX_SECONDS.wrapping_shl(32).wrapping_add(ntp_fraction(unix))
}

/// A span of time in 32.32 fixed point, modulo 2^64 as NTP eras are.
fn ntp_fraction(span: Duration) -> u64 {
    let fraction = (u64::from(span.subsec_nanos()) << 32) / 1_000_000_000;
    span.as_secs().wrapping_shl(32).wrapping_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_source_from_whatever_end_it_is_counted() {
        let at = Instant::now() + Duration::from_secs(100);
        let config = SessionConfig::new(at, Duration::from_millis(1_700_000_000_500));
        let before = Wall::new(&config, at - Duration::from_millis(1_500));
        assert_eq!(before.ntp(MediaTime::from_millis(1_500)) >> 32, NTP_UNIX_SECONDS + 1_700_000_000);
        assert_eq!(before.ntp(MediaTime::from_millis(1_500)) & 0xffff_ffff, 1 << 31);
        let after = Wall::new(&config, at + Duration::from_millis(500));
        assert_eq!(after.ntp(MediaTime::ZERO) >> 32, NTP_UNIX_SECONDS + 1_700_000_001);
        assert_eq!(after.ntp(MediaTime::from_millis(-500)) & 0xffff_ffff, 1 << 31);
    }
}
