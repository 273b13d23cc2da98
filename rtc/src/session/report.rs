//! Sender reports of one stream to a viewer (RFC 3550 6.4.1).

use std::time::{Duration, Instant};

use weir_source::MediaTime;

use super::config::Wall;
use crate::wire::rtcp::SenderInfo;

/// A stream that sent nothing for this long reports nothing: RFC 3550 6.4 makes it a receiver.
const SILENT: Duration = Duration::from_secs(5);

/// What was sent, and where its timestamps stand on the source's clock.
#[derive(Debug, Default)]
pub(super) struct SenderReports {
    packets: u32,
    octets: u32,
    newest: Option<Newest>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp: u64,
    capture: MediaTime,
    at: Instant,
}

impl SenderReports {
    /// A packet was sent. `timestamp` is the source's.
    pub(super) fn note(&mut self, now: Instant, payload_len: usize, timestamp: u64, capture: MediaTime) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        if self.newest.is_none_or(|newest| newest.timestamp <= timestamp) {
            self.newest = Some(Newest { timestamp, capture, at: now });
        }
    }

    /// Packets and octets of payload sent so far, modulo 2^32.
    pub(super) const fn sent(&self) -> (u32, u32) {
        (self.packets, self.octets)
    }

    /// What follows counts time from another point.
    pub(super) fn restart(&mut self) {
        self.newest = None;
    }

    /// A packet was sent again.
    pub(super) fn note_again(&mut self, payload_len: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }

    /// The report for `now`, which is `time` on the source's clock. `wire` turns the source's
    /// timestamps into the viewer's.
    pub(super) fn report(
        &self,
        ssrc: u32,
        clock_rate: u32,
        now: Instant,
        time: MediaTime,
        wall: Wall,
        wire: impl FnOnce(u64) -> u32,
    ) -> Option<SenderInfo> {
        let newest = self.newest.filter(|newest| now.saturating_duration_since(newest.at) < SILENT)?;
        // RFC 3550 6.4.1: the timestamp "corresponds to the same time as the NTP timestamp", which
        // is later than that of any packet sent.
        let ahead = MediaTime::from_micros(time - newest.capture).to_ticks(clock_rate);
        Some(SenderInfo {
            ssrc,
            ntp: wall.ntp(time),
            rtp_timestamp: wire(newest.timestamp).wrapping_add(ahead as u32),
            packets: self.packets,
            octets: self.octets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::SessionConfig;
    use super::*;

    #[test]
    fn picture_and_sound_of_one_moment_are_reported_at_one_wall_time() {
        let made = Instant::now();
        let wall = Wall::new(&SessionConfig::new(made, Duration::from_secs(1_700_000_000)), made);
        let (mut audio, mut video) = (SenderReports::default(), SenderReports::default());
        let at = |ms: u64| made + Duration::from_millis(ms);
        audio.note(at(1_010), 100, 48_000, MediaTime::from_millis(1_000));
        video.note(at(1_080), 1_200, 90_000, MediaTime::from_millis(1_000));
        let report = |reports: &SenderReports, rate, ms: u64| {
            reports.report(7, rate, at(ms), MediaTime::from_millis(ms as i64), wall, |ts| ts as u32).unwrap()
        };
        let (a, v) = (report(&audio, 48_000, 1_500), report(&video, 90_000, 1_500));
        assert_eq!(a.ntp, v.ntp);
        assert_eq!((a.rtp_timestamp, v.rtp_timestamp), (72_000, 135_000));
        assert_eq!((v.packets, v.octets), (1, 1_200));
    }

    #[test]
    fn a_silent_stream_reports_nothing() {
        let made = Instant::now();
        let wall = Wall::new(&SessionConfig::new(made, Duration::ZERO), made);
        let mut reports = SenderReports::default();
        assert!(reports.report(7, 90_000, made, MediaTime::ZERO, wall, |_| 0).is_none());
        reports.note(made, 1, 0, MediaTime::ZERO);
        let later = made + Duration::from_secs(6);
        assert!(reports.report(7, 90_000, later, MediaTime::from_millis(6_000), wall, |_| 0).is_none());
    }
}
