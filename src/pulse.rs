//! Lines every five seconds on how the server does, in SRS's words.
//!
//! `rpkts` and `spkts` are datagrams per second, and RTP packets among them. The other groups count
//! what happened since the last line, and stand there only if something did: `rtcp=(pli:3)` keyframe
//! requests that came, `snk=(5)` packets that publishers were asked for again, `rnk=(7,h:6,m:1)` those
//! that viewers asked for again, hits and misses.
//!
//! `loss=(r:49,s:0)` are datagrams that this machine lost: `r` the kernel dropped before they were
//! read, its receive buffer being full; `s` it would not send, or a viewer's TCP connection. What the network loses is not among
//! them. Scripts made for SRS look for it.

use std::{
    collections::HashMap,
    ops::AddAssign,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use weir_rtc::{RtcHandle, RtcStats, SessionInfo, session::SessionStats};

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
            let line = pulse.beat(&rtc.stats(), &rtc.list(), now.saturating_duration_since(since));
            line.into_iter().for_each(|line| tracing::info!("{line}"));
        }
        since = now;
    }
}

/// What was counted up to the last line.
#[derive(Default)]
struct Pulse {
    totals: Totals,
    /// By session: as many as there are.
    sessions: HashMap<String, Counts>,
}

/// The server's datagrams.
#[derive(Clone, Copy, Default)]
struct Totals {
    recv: u64,
    sent: u64,
    recv_lost: u64,
    send_lost: u64,
}

/// One session's packets and requests, or those of all in an interval.
#[derive(Clone, Copy, Default)]
struct Counts {
    rtp_in: u64,
    rtp_out: u64,
    pli: u64,
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
    const fn of(stats: &SessionStats) -> Self {
        Self {
            rtp_in: stats.packets_in,
            rtp_out: stats.packets_out,
            pli: stats.pli_received,
            nack_sent: stats.nack_sent,
            nack_received: stats.nack_received,
            hits: stats.nack_served,
            misses: stats.nack_refused,
        }
    }

    const fn since(self, was: Self) -> Self {
        Self {
            rtp_in: self.rtp_in.saturating_sub(was.rtp_in),
            rtp_out: self.rtp_out.saturating_sub(was.rtp_out),
            pli: self.pli.saturating_sub(was.pli),
            nack_sent: self.nack_sent.saturating_sub(was.nack_sent),
            nack_received: self.nack_received.saturating_sub(was.nack_received),
            hits: self.hits.saturating_sub(was.hits),
            misses: self.misses.saturating_sub(was.misses),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rtp_in += other.rtp_in;
        self.rtp_out += other.rtp_out;
        self.pli += other.pli;
        self.nack_sent += other.nack_sent;
        self.nack_received += other.nack_received;
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

impl Pulse {
    /// What to say of the `span` since the last call; nothing if nothing happened.
    fn beat(&mut self, stats: &RtcStats, sessions: &[SessionInfo], span: Duration) -> Option<String> {
        let counts = self.count(sessions.iter().map(|info| (info.session.as_str(), &info.stats)));
        let now = Totals::of(stats);
        let of_span = now.since(std::mem::replace(&mut self.totals, now));
        let conns = stats.publishers + stats.players;
        (conns > 0 || !of_span.is_zero()).then(|| line(conns, of_span, counts, span))
    }

    /// What the sessions that there are have counted since the last call.
    fn count<'a>(&mut self, sessions: impl Iterator<Item = (&'a str, &'a SessionStats)>) -> Counts {
        let mut sum = Counts::default();
        let mut seen = HashMap::new();
        for (name, stats) in sessions {
            let now = Counts::of(stats);
            sum += now.since(self.sessions.get(name).copied().unwrap_or_default());
            seen.insert(name.to_owned(), now);
        }
        self.sessions = seen;
        sum
    }
}

fn line(conns: usize, totals: Totals, counts: Counts, span: Duration) -> String {
    let per_second = |count: u64| u128::from(count) * 1_000 / span.as_millis().max(1);
    let packets = |name: &str, all: u64, rtp: u64| match rtp {
        0 => format!("{name}=({})", per_second(all)),
        rtp => format!("{name}=({},rtp:{})", per_second(all), per_second(rtp)),
    };
    let Counts { rtp_in, rtp_out, pli, nack_sent, nack_received, hits, misses } = counts;
    let groups = [
        Some(packets("rpkts", totals.recv, rtp_in)),
        Some(packets("spkts", totals.sent, rtp_out)),
        (pli > 0).then(|| format!("rtcp=(pli:{pli})")),
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
        assert_eq!(pulse.beat(&stats, &[], INTERVAL), None, "nobody is there");
        (stats.publishers, stats.players) = (1, 2);
        stats.traffic.recv.datagrams = 5_000;
        stats.traffic.send.datagrams = 10_004;
        stats.traffic.kernel_drops = 49;
        let line = pulse.beat(&stats, &[], INTERVAL);
        assert_eq!(line.as_deref(), Some("RTC: Server conns=3, rpkts=(1000), spkts=(2000), loss=(r:49,s:0)"));
        stats.traffic.kernel_drops = 50;
        (stats.traffic.send.full, stats.traffic.send.refused, stats.traffic.tcp.dropped) = (3, 2, 2);
        (stats.traffic.tcp.frames_in, stats.traffic.tcp.frames_out) = (50, 100);
        let line = pulse.beat(&stats, &[], INTERVAL);
        assert_eq!(line.as_deref(), Some("RTC: Server conns=3, rpkts=(10), spkts=(20), loss=(r:1,s:7)"));
        (stats.publishers, stats.players) = (0, 0);
        assert_eq!(pulse.beat(&stats, &[], INTERVAL), None, "they have gone");
        stats.traffic.kernel_drops = 51;
        assert!(pulse.beat(&stats, &[], INTERVAL).is_some(), "lost before anybody was there");
    }

    #[test]
    fn sessions_count_from_line_to_line_whoever_comes_and_goes() {
        let mut pulse = Pulse::default();
        let first = SessionStats { packets_in: 500, nack_sent: 5, pli_sent: 9, ..SessionStats::default() };
        let second = SessionStats {
            packets_out: 1_000,
            nack_received: 7,
            nack_served: 6,
            nack_refused: 1,
            pli_received: 3,
            ..SessionStats::default()
        };
        let counts = pulse.count([("a", &first), ("b", &second)].into_iter());
        let totals = Totals { recv: 600, sent: 1_200, ..Totals::default() };
        assert_eq!(
            line(2, totals, counts, INTERVAL),
            "RTC: Server conns=2, rpkts=(120,rtp:100), spkts=(240,rtp:200), rtcp=(pli:3), snk=(5), rnk=(7,h:6,m:1), loss=(r:0,s:0)"
        );
        let later = SessionStats { packets_in: 600, ..first };
        let counts = pulse.count([("a", &later)].into_iter());
        assert_eq!((counts.rtp_in, counts.rtp_out, counts.nack_sent), (100, 0, 0));
        assert_eq!(pulse.sessions.len(), 1, "who has gone is forgotten");
    }
}
