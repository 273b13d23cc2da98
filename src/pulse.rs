//! Lines every five seconds on how the server does, in SRS's words.
//!
//! `rpkts=(5120,rtp:5000,stun:20,rtcp:100)` and `spkts` are datagrams per second, and what they were of
//! sessions. The other groups count what happened since the last line, and stand there only if something
//! did: `rtcp=(pli:3,twcc:50,rr:5)` keyframe requests that came, feedback and receiver reports that
//! publishers were sent; `snk=(5)` packets that publishers were asked for again; `rnk=(7,h:6,m:1)` those
//! that viewers asked for again, hits and misses. Sessions that came and went between two lines count.
//!
//! `loss=(r:49,s:0)` are datagrams that this machine lost: `r` the kernel dropped before they were
//! read, its receive buffer being full; `s` it would not send, or a viewer's TCP connection. What the network loses is not among
//! them. Scripts made for SRS look for it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_rtc::{RtcHandle, RtcStats, SessionTotals};

use crate::process::Usage;

/// SRS's interval.
const INTERVAL: Duration = Duration::from_secs(5);

/// Logs until `stop`: of the process always, of WebRTC while there is any.
pub(crate) async fn run(rtc: Option<RtcHandle>, stop: CancellationToken) {
    let mut pulse = Pulse::default();
    let mut since = Instant::now();
    let mut usage = Usage::new(since);
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let now = Instant::now();
        let (cpu, megabytes) = usage.look(now);
        tracing::info!("Process: cpu={cpu:.2}%,{megabytes}MB");
        if let Some(rtc) = &rtc {
            let line = pulse.beat(&rtc.stats(), now.saturating_duration_since(since));
            line.into_iter().for_each(|line| tracing::info!("{line}"));
        }
        since = now;
    }
}

/// What was counted up to the last line.
#[derive(Default)]
struct Pulse {
    totals: Totals,
    counts: Counts,
}

/// The server's datagrams.
#[derive(Clone, Copy, Default)]
struct Totals {
    recv: u64,
    sent: u64,
    recv_lost: u64,
    send_lost: u64,
}

/// Packets and requests of all sessions, those that have ended among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    rtp_in: u64,
    rtp_out: u64,
    stun_in: u64,
    stun_out: u64,
    rtcp_in: u64,
    rtcp_out: u64,
    pli: u64,
    twcc: u64,
    reports: u64,
    nack_sent: u64,
    nack_received: u64,
    hits: u64,
    misses: u64,
}

impl Totals {
    fn of(stats: &RtcStats) -> Self {
        let traffic = &stats.traffic;
        Self {
            recv: traffic.recv.datagrams.saturating_add(traffic.tcp.frames_in),
            sent: traffic.send.datagrams.saturating_add(traffic.tcp.frames_out),
            recv_lost: traffic.kernel_drops,
            send_lost: [traffic.send.full, traffic.send.refused, traffic.tcp.dropped].into_iter().fold(0, u64::saturating_add),
        }
    }

    fn since(self, was: Self) -> Self {
        Self {
            recv: self.recv.saturating_sub(was.recv),
            sent: self.sent.saturating_sub(was.sent),
            recv_lost: self.recv_lost.saturating_sub(was.recv_lost),
            send_lost: self.send_lost.saturating_sub(was.send_lost),
        }
    }

    const fn is_zero(self) -> bool {
        self.recv == 0 && self.sent == 0 && self.recv_lost == 0 && self.send_lost == 0
    }
}

impl Counts {
    const fn of(totals: &SessionTotals) -> Self {
        Self {
            rtp_in: totals.packets_in,
            rtp_out: totals.packets_out,
            stun_in: totals.stun_in,
            stun_out: totals.stun_out,
            rtcp_in: totals.rtcp_in,
            rtcp_out: totals.rtcp_out,
            pli: totals.pli_received,
            twcc: totals.twcc_sent,
            reports: totals.reports_sent,
            nack_sent: totals.nack_sent,
            nack_received: totals.nack_received,
            hits: totals.nack_served,
            misses: totals.nack_refused,
        }
    }

    const fn since(self, was: Self) -> Self {
        Self {
            rtp_in: self.rtp_in.saturating_sub(was.rtp_in),
            rtp_out: self.rtp_out.saturating_sub(was.rtp_out),
            stun_in: self.stun_in.saturating_sub(was.stun_in),
            stun_out: self.stun_out.saturating_sub(was.stun_out),
            rtcp_in: self.rtcp_in.saturating_sub(was.rtcp_in),
            rtcp_out: self.rtcp_out.saturating_sub(was.rtcp_out),
            pli: self.pli.saturating_sub(was.pli),
            twcc: self.twcc.saturating_sub(was.twcc),
            reports: self.reports.saturating_sub(was.reports),
            nack_sent: self.nack_sent.saturating_sub(was.nack_sent),
            nack_received: self.nack_received.saturating_sub(was.nack_received),
            hits: self.hits.saturating_sub(was.hits),
            misses: self.misses.saturating_sub(was.misses),
        }
    }
}

impl Pulse {
    /// What to say of the `span` since the last call; nothing if nothing happened.
    fn beat(&mut self, stats: &RtcStats, span: Duration) -> Option<String> {
        let (totals, counts) = (Totals::of(stats), Counts::of(&stats.sessions));
        let of_span = totals.since(std::mem::replace(&mut self.totals, totals));
        let counts = counts.since(std::mem::replace(&mut self.counts, counts));
        let conns = stats.publishers + stats.players;
        (conns > 0 || !of_span.is_zero() || counts != Counts::default()).then(|| line(conns, of_span, counts, span))
    }
}

fn line(conns: usize, totals: Totals, counts: Counts, span: Duration) -> String {
    let per_second = |count: u64| u128::from(count) * 1_000 / span.as_millis().max(1);
    let packets = |name: &str, counts: [u64; 4]| {
        let [all, rtp, stun, rtcp] = counts.map(per_second);
        format!("{name}=({all},rtp:{rtp},stun:{stun},rtcp:{rtcp})")
    };
    let Counts { pli, twcc, reports, nack_sent, nack_received, hits, misses, .. } = counts;
    let groups = [
        Some(packets("rpkts", [totals.recv, counts.rtp_in, counts.stun_in, counts.rtcp_in])),
        Some(packets("spkts", [totals.sent, counts.rtp_out, counts.stun_out, counts.rtcp_out])),
        (pli + twcc + reports > 0).then(|| format!("rtcp=(pli:{pli},twcc:{twcc},rr:{reports})")),
        (nack_sent > 0).then(|| format!("snk=({nack_sent})")),
        (nack_received > 0).then(|| format!("rnk=({nack_received},h:{hits},m:{misses})")),
        Some(format!("loss=(r:{},s:{})", totals.recv_lost, totals.send_lost)),
    ];
    format!("RTC: Server conns={conns}, {}", groups.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_happened_since_the_last() {
        let mut pulse = Pulse::default();
        let mut stats = RtcStats::default();
        assert_eq!(pulse.beat(&stats, INTERVAL), None, "nobody is there");
        (stats.publishers, stats.players) = (1, 2);
        stats.traffic.recv.datagrams = 5_000;
        stats.traffic.send.datagrams = 10_004;
        stats.traffic.kernel_drops = 49;
        let line = |rpkts: u32, spkts: u32, loss: &str| {
            let [rpkts, spkts] = [rpkts, spkts].map(|all| format!("({all},rtp:0,stun:0,rtcp:0)"));
            Some(format!("RTC: Server conns=3, rpkts={rpkts}, spkts={spkts}, loss=({loss})"))
        };
        assert_eq!(pulse.beat(&stats, INTERVAL), line(1_000, 2_000, "r:49,s:0"));
        stats.traffic.kernel_drops = 50;
        (stats.traffic.send.full, stats.traffic.send.refused, stats.traffic.tcp.dropped) = (3, 2, 2);
        (stats.traffic.tcp.frames_in, stats.traffic.tcp.frames_out) = (50, 100);
        assert_eq!(pulse.beat(&stats, INTERVAL), line(10, 20, "r:1,s:7"));
        (stats.publishers, stats.players) = (0, 0);
        assert_eq!(pulse.beat(&stats, INTERVAL), None, "they have gone");
        stats.traffic.kernel_drops = 51;
        assert!(pulse.beat(&stats, INTERVAL).is_some(), "lost before anybody was there");
    }

    #[test]
    fn what_sessions_counted_that_have_ended_since_the_last_line_is_told() {
        let mut pulse = Pulse::default();
        let mut stats = RtcStats::default();
        stats.traffic.recv.datagrams = 600;
        stats.traffic.send.datagrams = 1_200;
        // Whoever counted this is there no longer: nobody publishes or plays.
        let sessions = &mut stats.sessions;
        (sessions.packets_in, sessions.packets_out, sessions.stun_in, sessions.stun_out) = (500, 1_000, 15, 10);
        (sessions.rtcp_in, sessions.rtcp_out, sessions.twcc_sent, sessions.reports_sent) = (5, 60, 50, 4);
        (sessions.pli_sent, sessions.pli_received, sessions.nack_sent) = (9, 3, 5);
        (sessions.nack_received, sessions.nack_served, sessions.nack_refused) = (7, 6, 1);
        assert_eq!(
            pulse.beat(&stats, INTERVAL).as_deref(),
            Some(
                "RTC: Server conns=0, rpkts=(120,rtp:100,stun:3,rtcp:1), spkts=(240,rtp:200,stun:2,rtcp:12), \
                 rtcp=(pli:3,twcc:50,rr:4), snk=(5), rnk=(7,h:6,m:1), loss=(r:0,s:0)"
            )
        );
        assert_eq!(pulse.beat(&stats, INTERVAL), None, "once");
        stats.sessions.nack_received += 2;
        stats.sessions.nack_served += 2;
        let line = pulse.beat(&stats, INTERVAL).expect("a session ended before the line");
        assert!(line.contains("rnk=(2,h:2,m:0)"), "{line}");
    }
}
