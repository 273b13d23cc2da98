//! What a viewer's RTCP says and asks for.

use std::time::{Duration, Instant};

use weir_source::MediaKind;

use super::{
    history::Asked,
    outbound::Outbound,
    output::{Output, Outputs, Resend},
    stats::SessionStats,
};
use crate::wire::{
    Ntp, ntp,
    rtcp::{Compound, ReportBlock, Rtcp},
};

/// What a viewer still asks for so long after it was sent, and a round trip, it will not get in time; a
/// browser would wait for three seconds before it asked for a keyframe.
const STUCK: Duration = Duration::from_millis(400);
/// A round trip beyond this is a receiver report gone wrong.
const RTT_MAX: Duration = Duration::from_secs(10);

impl Outbound {
    /// A decrypted RTCP packet.
    pub(super) fn handle_rtcp(&mut self, now: Instant, data: &[u8], stats: &mut SessionStats, outputs: &mut Outputs) {
        let ntp = self.wall.ntp(self.time(now));
        let pictures = self.streams.iter().filter(|stream| stream.media.kind == MediaKind::Video);
        let sent = pictures.fold(0_u32, |sent, stream| sent.wrapping_add(stream.reports.sent().0));
        if self.silence.end(now, sent) {
            self.keyframes.wish(now);
        }
        stats.milestones.reported.get_or_insert(now);
        let mut compound = Compound::new(data);
        for packet in compound.by_ref() {
            match packet {
                Rtcp::Sr(report) => report.blocks().for_each(|block| self.take_report(&block, ntp)),
                Rtcp::Rr(report) => report.blocks().for_each(|block| self.take_report(&block, ntp)),
                Rtcp::Nack(nack) => self.take_nack(now, nack.media_ssrc, nack.lost(), stats, outputs),
                Rtcp::Pli { media_ssrc, .. } => self.take_keyframe_request(now, media_ssrc, stats),
                Rtcp::TransportFeedback(feedback) => {
                    if let Some(estimator) = &mut self.estimator {
                        estimator.handle_feedback(now, &feedback, self.rtt);
                    }
                }
                Rtcp::Remb(remb) => {
                    if let Some(estimator) = &mut self.estimator {
                        estimator.handle_remb(remb.bitrate);
                    }
                }
                Rtcp::Fir(fir) => fir.entries().for_each(|(ssrc, _)| self.take_keyframe_request(now, ssrc, stats)),
                _ => {}
            }
        }
        stats.drops.malformed += u64::from(compound.malformed());
    }

    fn take_report(&mut self, block: &ReportBlock, now: Ntp) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == block.ssrc) else { return };
        stream.lost = u64::try_from(block.cumulative_lost).unwrap_or(0);
        let micros = u64::from(block.jitter) * 1_000_000 / u64::from(stream.clock_rate.max(1));
        stream.jitter = Duration::from_micros(micros);
        // RFC 3550 6.4.1: A - LSR - DLSR, modulo 2^32. A round trip below zero is a clock's rounding.
        if block.last_sr != 0 {
            let units = now.middle().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr) as i32;
            let rtt = ntp::from_short(u32::try_from(units).unwrap_or(0));
            self.rtt = (rtt < RTT_MAX).then_some(rtt).or(self.rtt);
        }
    }

    fn take_nack(
        &mut self,
        now: Instant,
        ssrc: u32,
        lost: impl Iterator<Item = u16>,
        stats: &mut SessionStats,
        outputs: &mut Outputs,
    ) {
        if !self.answers_nack {
            let lost = lost.count() as u64;
            stats.nack_received += lost;
            stats.nack_refused += lost;
            return;
        }
        let since_ms = now.saturating_duration_since(self.made).as_millis() as u32;
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) else { return };
        let stuck = STUCK + self.rtt.unwrap_or_default().min(STUCK);
        let several = stream.media.kind == MediaKind::Video && self.layers.tracks().nth(1).is_some();
        for seq in lost {
            stats.nack_received += 1;
            if several && stream.history.age(seq, since_ms).is_some_and(|age| age >= stuck) {
                self.keyframes.wish(now);
            }
            match stream.history.ask(seq, since_ms, self.rtt) {
                Asked::Resend(sent) => outputs.push(Output::Resend(Resend {
                    position: sent.position,
                    track: stream.media.track,
                    out_seq: sent.out_seq,
                    probe: false,
                })),
                Asked::TooSoon | Asked::Unknown => stats.nack_refused += 1,
            }
        }
    }

    fn take_keyframe_request(&mut self, now: Instant, ssrc: u32, stats: &mut SessionStats) {
        if self.streams.iter().any(|stream| stream.ssrc == ssrc && stream.media.kind == MediaKind::Video) {
            stats.pli_received += 1;
            self.keyframes.wish(now);
        }
    }
}
