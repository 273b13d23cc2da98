//! A publisher's clocks: RTP timestamps to the source's time.
//!
//! A track is laid on its arrival at once. When sender reports come, all tracks slew onto the one
//! timeline of the sender's NTP clock, which is what makes lips and voice agree; nobody ever waits
//! for a report. That timeline follows our own clock at the pace of a crystal's error. What leaves
//! here never steps back, and moves against its timestamps by a few percent at most.

use std::time::Duration;

use weir_source::{MediaTime, TrackId};

use crate::wire::Ntp;

/// A track approaches the sender's NTP timeline by this share of the media time that passes: an
/// error of 100 ms is gone in two seconds, and 20 ms of sound lasts 19 or 21.
const SLEW_DIVISOR: i64 = 20;
/// The NTP timeline follows arrival by at most 1 in 2,000: crystals differ by 1 in 5,000.
const DRIFT_DIVISOR: i64 = 2_000;
/// Arrival is judged by its earliest packet in this time.
const WINDOW: Duration = Duration::from_secs(5);
/// Differences from arrival below this are left alone.
const DEAD_BAND_US: i64 = 5_000;
/// Media this much late (or early) for a whole window is not delay: the sender's timestamps
/// stopped while its pictures did.
const STALE_US: i64 = 1_000_000;
/// A timestamp may run this much ahead of arrival before the timeline counts as broken…
const JUMP_FORWARD_US: i64 = 3_000_000;
/// …and this much behind the newest.
const JUMP_BACK_US: i64 = 1_000_000;
/// Reports that disagree with arrival by more than this do not speak of the same timeline.
const SKEW_MAX_US: i64 = 2_000_000;
/// Two reports of one track that differ by more than this from what the timestamps say: the
/// sender's wall clock was set.
const NTP_STEP_US: i64 = 200_000;
/// After a break the timeline goes on this far behind what was already sent.
const BREAK_GAP_US: i64 = 1_000;

/// Where one RTP timestamp lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Extended timestamp, continuous over breaks of the sender's.
    pub(crate) timestamp: u64,
    /// The source's time it stands for.
    pub(crate) capture: MediaTime,
}

/// The clocks of all tracks of one publisher.
#[derive(Debug)]
pub(crate) struct PublisherClock {
    floor: MediaTime,
    /// How far ahead of arrival everything is placed, because the source's timeline already was.
    lead_us: Option<i64>,
    /// Source microseconds minus the sender's NTP microseconds.
    ntp_offset_us: Option<i64>,
    /// The sender's NTP times are counted from here.
    ntp_zero: Option<Ntp>,
    drift: Window,
    tracks: [Option<TrackClock>; TrackId::MAX],
}

#[derive(Debug)]
struct TrackClock {
    rate: u32,
    /// Highest timestamp as the sender counts, extended.
    raw_high: u64,
    /// Sent timestamp minus raw timestamp, modulo 2^64: changes at breaks only.
    shift: u64,
    /// Sent timestamp of the track's first packet: ticks are counted from here.
    origin: u64,
    /// Capture of `origin`, slewed.
    offset_us: i64,
    /// Where `offset_us` is going.
    target_us: i64,
    high_capture: MediaTime,
    high_arrival: MediaTime,
    /// NTP microseconds minus media microseconds, of the last report that was believed.
    ntp_us: Option<i64>,
    /// The same of one that was not: the next may confirm it.
    doubted_us: Option<i64>,
    late: Window,
}

/// The least lateness over a window of arrival.
#[derive(Debug, Default)]
struct Window {
    since: Option<MediaTime>,
    least_us: Option<i64>,
}

impl Window {
    /// Takes one lateness; at the end of a window returns the least.
    fn feed(&mut self, late_us: i64, arrival: MediaTime) -> Option<i64> {
        let since = *self.since.get_or_insert(arrival);
        self.least_us = Some(self.least_us.map_or(late_us, |least| least.min(late_us)));
        if arrival.saturating_since(since) < WINDOW {
            return None;
        }
        self.since = Some(arrival);
        self.least_us.take()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

impl PublisherClock {
    /// No track yet. Nothing is placed at `floor` or before.
    pub(crate) fn new(floor: MediaTime) -> Self {
        Self { floor, lead_us: None, ntp_offset_us: None, ntp_zero: None, drift: Window::default(), tracks: Default::default() }
    }

    /// Places a packet's timestamp that arrived at `arrival` (source's clock). `in_order`: no packet
    /// with a higher number came before it. Only such a one may move the clock.
    pub(crate) fn place(&mut self, track: TrackId, rate: u32, timestamp: u32, arrival: MediaTime, in_order: bool) -> Placed {
        let floor = self.floor.offset(BREAK_GAP_US);
        let lead = *self.lead_us.get_or_insert_with(|| (floor - arrival).max(0));
        let arrival = arrival.offset(lead);
        let Some(slot) = self.tracks.get_mut(track.index()) else {
            return Placed { timestamp: u64::from(timestamp), capture: arrival };
        };
        let clock = match slot {
            Some(clock) if clock.rate == rate => clock,
            // Another clock rate is another codec: a new timeline behind the former one.
            _ => {
                let after = slot.as_ref().map_or(arrival, |old| arrival.max(old.high_capture.offset(BREAK_GAP_US)));
                slot.insert(TrackClock::new(rate, timestamp, after, arrival))
            }
        };
        let (placed, newest) = clock.place(timestamp, arrival, in_order);
        if newest {
            self.follow_arrival(track, arrival - placed.capture, arrival);
        }
        placed
    }

    /// A sender report of one track: `timestamp` was the sender's RTP time at `ntp`.
    pub(crate) fn sender_report(&mut self, track: TrackId, ntp: Ntp, timestamp: u32) {
        let Some(Some(clock)) = self.tracks.get_mut(track.index()) else { return };
        // RFC 3550 6.4.1: zero where the sender has no notion of wall time.
        if ntp.0 == 0 {
            return;
        }
        let zero = *self.ntp_zero.get_or_insert(ntp);
        let media_us = clock.media_us(clock.extend(timestamp).wrapping_add(clock.shift));
        let at_report = clock.offset_us.saturating_add(media_us);
        if (at_report - clock.high_capture.as_micros()).abs() > JUMP_FORWARD_US + SKEW_MAX_US {
            return;
        }
        let ntp_us = ntp.micros_since(zero).saturating_sub(media_us);
        if let Some(known) = clock.ntp_us
            && (ntp_us - known).abs() > NTP_STEP_US
        {
            // Believed when a second report says the same; then it is a new timeline for all.
            let confirmed = clock.doubted_us.is_some_and(|doubted| (ntp_us - doubted).abs() <= NTP_STEP_US);
            clock.doubted_us = Some(ntp_us);
            if !confirmed {
                return;
            }
            self.ntp_offset_us = None;
            self.tracks.iter_mut().flatten().for_each(|clock| clock.ntp_us = None);
        }
        self.believe(track, ntp_us);
    }

    fn believe(&mut self, track: TrackId, ntp_us: i64) {
        let Some(Some(clock)) = self.tracks.get_mut(track.index()) else { return };
        let offset = *self.ntp_offset_us.get_or_insert_with(|| clock.offset_us.saturating_sub(ntp_us));
        let target = ntp_us.saturating_add(offset);
        if (target - clock.offset_us).abs() > SKEW_MAX_US {
            return;
        }
        clock.doubted_us = None;
        clock.ntp_us = Some(ntp_us);
        clock.target_us = target;
    }

    /// Lets the timeline follow our own clock, slowly: tracks on the sender's NTP timeline
    /// together, others each by itself.
    fn follow_arrival(&mut self, track: TrackId, late_us: i64, arrival: MediaTime) {
        let Some(Some(clock)) = self.tracks.get_mut(track.index()) else { return };
        let own = clock.late.feed(late_us, arrival);
        if let Some(least) = own.filter(|least| least.abs() > STALE_US) {
            clock.retie(least);
            return;
        }
        let Some(ntp_us) = clock.ntp_us else {
            if let Some(least) = own {
                clock.target_us = clock.target_us.saturating_add(correction(least));
            }
            return;
        };
        // While a track is still slewing its lateness says nothing of drift.
        let settled = (clock.target_us - clock.offset_us).abs() < DEAD_BAND_US;
        if let (Some(offset), true) = (&mut self.ntp_offset_us, settled)
            && let Some(least) = self.drift.feed(late_us, arrival)
        {
            *offset = offset.saturating_add(correction(least));
        }
        if let Some(offset) = self.ntp_offset_us {
            clock.target_us = ntp_us.saturating_add(offset);
        }
    }
}

/// How far to follow a lateness seen over one window.
fn correction(least_us: i64) -> i64 {
    let most = i64::try_from(WINDOW.as_micros()).unwrap_or(i64::MAX) / DRIFT_DIVISOR;
    if least_us.abs() <= DEAD_BAND_US { 0 } else { least_us.clamp(-most, most) }
}

impl TrackClock {
    fn new(rate: u32, timestamp: u32, capture: MediaTime, arrival: MediaTime) -> Self {
        // The sender's first 2^32 are left free below, for what was sent before and comes later.
        let first = u64::from(timestamp) + (1 << 32);
        Self {
            rate,
            raw_high: first,
            shift: 0,
            origin: first,
            offset_us: capture.as_micros(),
            target_us: capture.as_micros(),
            high_capture: capture,
            high_arrival: arrival,
            ntp_us: None,
            doubted_us: None,
            late: Window::default(),
        }
    }

    /// Also tells whether this is the newest so far.
    fn place(&mut self, timestamp: u32, arrival: MediaTime, in_order: bool) -> (Placed, bool) {
        let raw = self.extend(timestamp);
        let step_us = self.ticks_us(raw.wrapping_sub(self.raw_high));
        if !in_order {
            // Repaired from before a break: nothing is known of that timeline any more.
            let raw = if step_us.abs() > JUMP_FORWARD_US { self.raw_high } else { raw };
            let sent = raw.wrapping_add(self.shift);
            return (Placed { timestamp: sent, capture: self.capture(sent) }, false);
        }
        let waited_us = (arrival - self.high_arrival).max(0);
        if step_us > JUMP_FORWARD_US.saturating_add(waited_us) || step_us < -JUMP_BACK_US {
            self.tie_anew(raw, arrival);
        }
        let sent = raw.wrapping_add(self.shift);
        if raw > self.raw_high {
            let most = step_us.max(0) / SLEW_DIVISOR;
            self.offset_us += (self.target_us - self.offset_us).clamp(-most, most);
            self.raw_high = raw;
            self.high_capture = self.capture(sent);
            self.high_arrival = arrival;
            return (Placed { timestamp: sent, capture: self.high_capture }, true);
        }
        (Placed { timestamp: sent, capture: self.capture(sent) }, raw == self.raw_high)
    }

    /// The sender's timestamps jumped: what is sent goes on where it stood, or at arrival.
    fn tie_anew(&mut self, raw: u64, arrival: MediaTime) {
        let capture = arrival.max(self.high_capture.offset(BREAK_GAP_US));
        let sent_high = self.raw_high.wrapping_add(self.shift);
        let ticks = MediaTime::from_micros(capture - self.high_capture).to_ticks(self.rate).max(1);
        self.shift = sent_high.wrapping_add(ticks.unsigned_abs()).wrapping_sub(raw);
        self.raw_high = raw;
        self.high_capture = capture;
        self.high_arrival = arrival;
        self.forget_reports();
    }

    /// Everything has been `late_us` late for a window: the next packets go to arrival.
    fn retie(&mut self, late_us: i64) {
        if late_us > 0 {
            // Forward, timestamps and captures alike: a gap in time, as the viewer saw it.
            let ticks = MediaTime::from_micros(late_us).to_ticks(self.rate);
            self.shift = self.shift.wrapping_add(ticks.unsigned_abs());
            self.high_capture = self.high_capture.offset(late_us);
            self.forget_reports();
        } else {
            // Ahead of us: time cannot go back, so it slews.
            self.target_us = self.target_us.saturating_add(late_us);
            self.late.reset();
        }
    }

    fn forget_reports(&mut self) {
        self.ntp_us = None;
        self.doubted_us = None;
        self.target_us = self.offset_us;
        self.late.reset();
    }

    /// The extended timestamp nearest to the newest.
    fn extend(&self, timestamp: u32) -> u64 {
        let step = timestamp.wrapping_sub(self.raw_high as u32) as i32;
        self.raw_high.wrapping_add_signed(i64::from(step))
    }

    /// Microseconds from the first packet to a sent timestamp.
    fn media_us(&self, sent: u64) -> i64 {
        self.ticks_us(sent.wrapping_sub(self.origin))
    }

    /// A difference of timestamps, modulo 2^64, in microseconds.
    fn ticks_us(&self, ticks: u64) -> i64 {
        MediaTime::from_ticks(ticks as i64, self.rate).as_micros()
    }

    fn capture(&self, sent: u64) -> MediaTime {
        MediaTime::from_micros(self.offset_us.saturating_add(self.media_us(sent)))
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
