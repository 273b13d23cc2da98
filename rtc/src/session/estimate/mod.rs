//! How much a viewer's path carries: Google congestion control on the sending side.
//!
//! Every packet gets a transport-wide number; the viewer's feedback says when each arrived
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01). The delay trend and the loss come from
//! `rtc::interceptor`'s parts of GCC (draft-ietf-rmcat-gcc-02). What is ours:
//!
//! - a server sends what the publisher makes, not what the path carries, so that the target may rise
//!   only a little above what was received ([`Rate`]), and more is learnt by probing: a few
//!   retransmissions in one burst, whose spread on arrival is the path's rate ([`Probe`]);
//! - a queue that stands without growing counts as overuse as well ([`Queue`]): the trend filter is
//!   blind to it.
//!
//! All numbers come from the viewer and are its own matter: whatever it claims, arithmetic
//! saturates, work per feedback is bounded, and only what this viewer gets changes.

mod probe;
mod queue;
mod rate;
mod received;
mod sent;

use std::time::{Duration, Instant};

use rtc::{
    interceptor::{LossController, OveruseDetector, PacketReport, SlopeEstimator, Usage},
    rtcp::transport_feedbacks::cc_feedback_report::Ecn,
};

use self::{probe::Probe, queue::Queue, rate::Rate, received::Received, sent::SentLog};
use crate::wire::rtcp::TransportFeedback;

/// The bounds of an estimate, in bits per second. Below the first nothing but sound is left.
const RATE_MIN: f64 = 50_000.0;
const RATE_MAX: f64 = 100_000_000.0;
/// Where it starts. Most paths carry it, and a queue on one that does not is seen within a second;
/// beginning low would give every viewer a poor picture first.
const RATE_START: f64 = 3_000_000.0;

/// A path whose queue is short does not delay what is too much for it but loses it. Where this percentage is
/// lost, …
const SPILL_PERCENT: usize = 25;
/// … of at least so many packets in each …
const SPILL_PACKETS_MIN: usize = 8;
/// … of so many feedbacks one after the other, that is no noise but a queue that spills.
const SPILLS: u32 = 2;

/// A viewer's bandwidth.
pub(super) struct Estimator {
    start: Instant,
    sent: SentLog,
    slope: SlopeEstimator,
    detector: OveruseDetector,
    queue: Queue,
    received: Received,
    rate: Rate,
    loss: LossController,
    probe: Probe,
    /// Feedback has come.
    heard: bool,
    /// Feedbacks in a row that told of heavy loss.
    spills: u32,
}

/// What to send so that the path shows what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProbeWish {
    pub(super) packets: usize,
    pub(super) bytes: usize,
}

impl Estimator {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            sent: SentLog::default(),
            slope: SlopeEstimator::new(),
            detector: OveruseDetector::new(),
            queue: Queue::default(),
            received: Received::default(),
            rate: Rate::new(RATE_START),
            loss: LossController::new(RATE_START, RATE_MIN, RATE_MAX),
            probe: Probe::default(),
            heard: false,
            spills: 0,
        }
    }

    /// The transport-wide number of the next packet.
    pub(super) fn next_seq(&self) -> u16 {
        self.sent.next_seq()
    }

    /// The packet with that number was made, `size` bytes long on the wire.
    pub(super) fn sent(&mut self, now: Instant, size: usize) {
        let at = self.micros(now);
        let seq = self.sent.record(at, size);
        self.probe.sent(seq);
    }

    /// The viewer's feedback.
    pub(super) fn handle_feedback(&mut self, now: Instant, feedback: &TransportFeedback<'_>, rtt: Option<Duration>) {
        let now_us = self.micros(now);
        let (mut lost, mut total, mut over, mut usage) = (0, 0, false, self.detector.usage());
        for arrival in feedback.arrivals().take(sent::SIZE) {
            let Some(sent) = self.sent.take(arrival.sequence, now_us) else { continue };
            total += 1;
            let Some(at) = arrival.at_micros else {
                lost += 1;
                continue;
            };
            self.received.add(at, sent.size);
            self.queue.add(at, sent.at);
            self.probe.received(arrival.sequence, at, sent.size);
            if let Some(trend) = self.slope.accumulate(&report(self.start, &sent, at)) {
                usage = self.detector.update(trend.at, trend.estimate_ms);
                over |= usage == Usage::Over;
            }
        }
        if total == 0 {
            return;
        }
        self.heard = true;
        let standing = self.queue.judge(now_us);
        if total >= SPILL_PACKETS_MIN {
            self.spills = if lost * 100 >= total * SPILL_PERCENT { self.spills.saturating_add(1) } else { 0 };
        }
        let usage = if over || standing || self.spills >= SPILLS { Usage::Over } else { usage };
        if self.rate.update(now_us, usage, &self.received, rtt) && standing {
            self.queue.sent_less(now_us);
        }
        self.loss.update(now, lost, total);
        if let Some(rate) = self.probe.result() {
            self.rate.raise(rate);
            if self.loss.target() < rate {
                self.loss = LossController::new(rate, RATE_MIN, RATE_MAX);
            }
        }
    }

    /// The viewer's own estimate (REMB), where it sends no feedback to make one of.
    pub(super) fn handle_remb(&mut self, bitrate: u64) {
        if !self.heard {
            self.rate.set(bitrate as f64);
        }
    }

    /// Bits per second, RTP with its headers. `None` until the viewer has said anything.
    pub(super) fn target(&self) -> Option<u64> {
        let known = self.heard || self.rate.is_set();
        known.then(|| self.rate.target().min(self.loss.target()).clamp(RATE_MIN, RATE_MAX) as u64)
    }

    /// The rate that would be of use, if it is more than what is sent.
    pub(super) fn want(&mut self, rate: Option<u64>) {
        self.probe.want(rate);
    }

    /// What to send now to find out about the wanted rate, if anything.
    pub(super) fn poll_probe(&mut self, now: Instant) -> Option<ProbeWish> {
        let calm = self.heard && self.detector.usage() != Usage::Over && !self.rate.fell_lately(self.micros(now));
        let target = self.target()?;
        self.probe.poll(self.micros(now), target, calm)
    }

    /// So many packets will be made for the probe, next of all.
    pub(super) fn begin_probe(&mut self, packets: usize) {
        self.probe.begin(packets);
    }

    /// When [`Estimator::poll_probe`] is wanted next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        Some(self.start + Duration::from_micros(self.probe.next_due(self.target()?)?))
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }
}

fn report(start: Instant, sent: &sent::Sent, arrival: i64) -> PacketReport {
    PacketReport {
        ssrc: 0,
        id: 0,
        rtp_sequence_number: 0,
        is_twcc: true,
        twcc_sequence_number: 0,
        size: sent.size,
        arrived: true,
        departure: start + Duration::from_micros(sent.at),
        // Only differences count: shifted so that a receiver's clock before its zero is none below.
        arrival: Some(Duration::from_micros(arrival.saturating_add(1 << 40).unsigned_abs())),
        ecn: Ecn::default(),
    }
}

#[cfg(test)]
mod tests;
