//! Probing: a burst of packets, whose spread on arrival is what the path carries.

/// A probe's size: at 3 Mb/s they take 12 ms, at 500 kb/s 70 ms, which a jitter buffer stands.
const BYTES: usize = 4_500;
/// Small packets make it longer than this only in number.
const PACKETS: usize = 10;
/// Fewer say nothing.
const PACKETS_MIN: usize = 3;
/// Probes take one part in so many of what the path is known to carry, …
const PARTS: u64 = 7;
/// … within these bounds: a path that has become better is found within three seconds, and mostly, when one
/// probe was lost, too.
const EVERY_MIN_US: u64 = 1_000_000;
const EVERY_MAX_US: u64 = 2_000_000;
/// A path that is not calm is looked at again after this.
const LATER_US: u64 = 100_000;
/// A probe without an answer by then had none.
const ANSWER_US: u64 = 1_000_000;
/// What a probe shows is believed up to this many times what was asked for.
const BEYOND: f64 = 1.5;
/// And a little less than it shows: the path has other traffic, too.
const MARGIN: f64 = 0.9;

/// At most one probe at a time.
#[derive(Debug, Default)]
pub(super) struct Probe {
    wanted: Option<u64>,
    running: Option<Running>,
    /// When the last was asked for, in microseconds.
    asked: Option<u64>,
    /// Not before then, in microseconds: it was not the time for one.
    later: u64,
    result: Option<f64>,
}

#[derive(Debug)]
struct Running {
    since: u64,
    wanted: f64,
    /// Still to be numbered.
    to_send: usize,
    first_seq: Option<u16>,
    sent: u16,
    first_at: Option<i64>,
    last_at: i64,
    /// Bytes that arrived after the first packet.
    bytes: usize,
    received: usize,
}

impl Probe {
    pub(super) fn want(&mut self, rate: Option<u64>) {
        self.wanted = rate;
    }

    /// What to send now. `target`: what the path is known to carry.
    pub(super) fn poll(&mut self, now: u64, target: u64, calm: bool) -> Option<super::ProbeWish> {
        if self.running.as_ref().is_some_and(|run| now.saturating_sub(run.since) >= ANSWER_US) {
            self.running = None;
        }
        let wanted = self.wanted.filter(|wanted| *wanted > target)?;
        if self.next_due(target).is_none_or(|due| now < due) {
            return None;
        }
        if !calm || self.running.is_some() {
            self.later = now.saturating_add(LATER_US);
            return None;
        }
        self.asked = Some(now);
        self.running = Some(Running {
            since: now,
            wanted: wanted as f64,
            to_send: 0,
            first_seq: None,
            sent: 0,
            first_at: None,
            last_at: i64::MIN,
            bytes: 0,
            received: 0,
        });
        Some(super::ProbeWish { packets: PACKETS, bytes: BYTES })
    }

    /// So many packets will now be sent for it, one after the other.
    pub(super) fn begin(&mut self, packets: usize) {
        match &mut self.running {
            Some(run) if packets >= PACKETS_MIN => run.to_send = packets,
            _ => self.running = None,
        }
    }

    /// A packet was numbered.
    pub(super) fn sent(&mut self, seq: u16) {
        if let Some(run) = self.running.as_mut().filter(|run| run.to_send > 0) {
            run.to_send -= 1;
            run.first_seq.get_or_insert(seq);
            run.sent += 1;
        }
    }

    /// A packet arrived at `at`, microseconds of the viewer's clock.
    pub(super) fn received(&mut self, seq: u16, at: i64, size: usize) {
        let Some(run) = &mut self.running else { return };
        let Some(first) = run.first_seq.filter(|first| seq.wrapping_sub(*first) < run.sent) else { return };
        if run.first_at.replace(run.first_at.map_or(at, |known| known.min(at))).is_some() {
            run.bytes += size;
        }
        run.last_at = run.last_at.max(at);
        run.received += 1;
        let last = seq.wrapping_sub(first) + 1 == run.sent;
        if run.to_send == 0 && last {
            self.result = self.running.take().and_then(|run| run.rate());
        }
    }

    /// The rate that the last probe has shown, once.
    pub(super) fn result(&mut self) -> Option<f64> {
        self.result.take()
    }

    /// When [`Probe::poll`] has something to do next, in microseconds.
    pub(super) fn next_due(&self, target: u64) -> Option<u64> {
        self.wanted.filter(|wanted| *wanted > target)?;
        Some(self.asked.map_or(0, |asked| asked.saturating_add(every(target))).max(self.later))
    }
}

/// Between two probes of a path that carries `target`, in microseconds.
fn every(target: u64) -> u64 {
    (BYTES as u64 * 8 * PARTS * 1_000_000 / target.max(1)).clamp(EVERY_MIN_US, EVERY_MAX_US)
}

impl Running {
    fn rate(&self) -> Option<f64> {
        if self.received < PACKETS_MIN || self.received * 5 < usize::from(self.sent) * 4 {
            return None;
        }
        // A feedback's unit is 250 µs: within one it is faster than can be told.
        let spread_us = self.last_at.saturating_sub(self.first_at?).max(250);
        let rate = self.bytes as f64 * 8e6 / spread_us as f64;
        Some((rate * MARGIN).min(self.wanted * BEYOND))
    }
}
