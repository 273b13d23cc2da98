//! What all sessions of a server share: the tie between our clock and wall time.

use std::time::{Duration, Instant};

use weir_source::MediaTime;

use crate::wire::Ntp;

/// Settings of all sessions. Cheap to keep, read when a session is made.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// One instant and the same moment on the wall clock. Sender reports are stamped from it, so
    /// that their time never jumps within a run of the server.
    pub ntp_epoch: (Instant, Ntp),
}

impl SessionConfig {
    /// Settings for a server whose wall clock showed `unix` (time since 1970) at `at`.
    pub fn new(at: Instant, unix: Duration) -> Self {
        Self { ntp_epoch: (at, Ntp::from_unix(unix)) }
    }
}

/// Wall time of a source whose clock reads zero at `made`: a pure function, fixed for the life of a
/// session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    /// The source's time zero.
    zero: Ntp,
}

impl Wall {
    pub(crate) fn new(config: &SessionConfig, made: Instant) -> Self {
        let (at, ntp) = config.ntp_epoch;
        let ahead = made.saturating_duration_since(at);
        let behind = at.saturating_duration_since(made);
        Self { zero: Ntp(ntp.plus(ahead).0.wrapping_sub(Ntp(0).plus(behind).0)) }
    }

    /// The wall time of a point on the source's clock.
    pub(crate) fn ntp(self, time: MediaTime) -> Ntp {
        let units = (i128::from(time.as_micros()) << 32) / 1_000_000;
        // Two's complement: adding a negative distance modulo 2^64 subtracts it.
        Ntp(self.zero.0.wrapping_add(units as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_follows_the_source_from_whatever_end_it_is_counted() {
        let at = Instant::now() + Duration::from_secs(100);
        let config = SessionConfig::new(at, Duration::from_millis(1_700_000_000_500));
        let whole = |seconds| Ntp::from_unix(Duration::from_secs(seconds));
        let before = Wall::new(&config, at - Duration::from_millis(1_500));
        assert_eq!(before.ntp(MediaTime::from_millis(1_000)), whole(1_700_000_000));
        let after = Wall::new(&config, at + Duration::from_millis(500));
        assert_eq!(after.ntp(MediaTime::ZERO), whole(1_700_000_001));
        assert_eq!(after.ntp(MediaTime::from_millis(-1_000)), whole(1_700_000_000));
    }
}
