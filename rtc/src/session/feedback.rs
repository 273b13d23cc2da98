//! What a publisher is told: what to send again, that a keyframe is wanted, when its packets came, how
//! many were lost. And when.

use std::time::{Duration, Instant};

use weir_source::MediaKind;

use super::{inbound::Inbound, output::Compounds, stats::SessionStats};
use crate::wire::rtcp::{self, ReportBlock};

/// Time between receiver reports; RFC 3550 6.2 allows less than its 5 s at these bandwidths, and
/// senders judge loss by them.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);

impl Inbound {
    /// Something is due by `at`, if at all.
    pub(super) fn arm(&mut self, at: Option<Instant>) {
        self.due = match (self.due, at) {
            (Some(due), Some(at)) => Some(due.min(at)),
            (due, at) => due.or(at),
        };
    }

    /// Whether there is anything to do or to tell besides packets.
    pub(super) fn has_news(&self, now: Instant) -> bool {
        self.tracks_changed || self.due.is_some_and(|due| due <= now)
    }

    /// Emits the RTCP that is due.
    pub(super) fn poll(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.poll_gaps(now, stats, rtcp);
        self.poll_keyframes(now, stats, rtcp);
        self.poll_feedback(now, stats, rtcp);
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.report(now, stats, rtcp);
        }
        self.due = self.find_due();
    }

    /// When [`Inbound::poll`] may have something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due
    }

    fn find_due(&self) -> Option<Instant> {
        let keyframe = self.pictures().filter_map(|stream| self.keyframes.get(stream.track.index())?.next_due()).min();
        let gaps = self.streams.iter().filter(|stream| stream.active).filter_map(|stream| stream.gaps.next_due());
        gaps.chain(keyframe).chain(self.arrivals.next_due()).chain(self.next_report).min()
    }

    fn poll_gaps(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        for stream in self.streams.iter_mut().filter(|stream| stream.active) {
            if stream.gaps.next_due().is_none_or(|due| now < due) {
                continue;
            }
            if stream.gaps.poll(now, self.rtt, &mut self.asked)
                && stream.kind == MediaKind::Video
                && let Some(gate) = self.keyframes.get_mut(stream.track.index())
            {
                gate.wish(now);
            }
            if self.asked.is_empty() {
                continue;
            }
            stats.nack_sent += self.asked.len() as u64;
            rtcp::emit_rr(stream.local_ssrc, &[], &mut rtcp.data);
            let lost = self.asked.iter().map(|seq| *seq as u16);
            rtcp::emit_nack(stream.local_ssrc, stream.ssrc, lost, &mut rtcp.data);
            rtcp.end();
        }
    }

    fn poll_keyframes(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        for stream in self.streams.iter().filter(|stream| stream.active && stream.kind == MediaKind::Video) {
            if !self.keyframes.get_mut(stream.track.index()).is_some_and(|gate| gate.poll(now)) {
                continue;
            }
            rtcp::emit_rr(stream.local_ssrc, &[], &mut rtcp.data);
            rtcp::emit_pli(stream.local_ssrc, stream.ssrc, &mut rtcp.data);
            rtcp.end();
            stats.pli_sent += 1;
        }
    }

    fn poll_feedback(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        let Some((local, remote)) = self.active().map(|stream| (stream.local_ssrc, stream.ssrc)).last() else { return };
        let count = &mut self.feedback_count;
        self.arrivals.poll(now, |mut arrivals| {
            while !arrivals.is_empty() {
                rtcp::emit_rr(local, &[], &mut rtcp.data);
                let taken = rtcp::emit_transport_feedback(local, remote, *count, arrivals, &mut rtcp.data);
                if taken == 0 {
                    rtcp.discard();
                    break;
                }
                rtcp.end();
                stats.twcc_sent += 1;
                *count = count.wrapping_add(1);
                arrivals = arrivals.get(taken..).unwrap_or(&[]);
            }
        });
    }

    fn report(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        let Some(local) = self.active().map(|stream| stream.local_ssrc).next() else { return };
        let active = self.streams.iter_mut().filter(|stream| stream.active);
        let blocks: Vec<ReportBlock> = active.map(|stream| stream.report(now)).collect();
        rtcp::emit_rr(local, &blocks, &mut rtcp.data);
        rtcp.end();
        stats.reports_sent += 1;
    }
}
