//! A line every five seconds on how WebRTC does, in SRS's words.
//!
//! `loss=(r:49,s:0)` are datagrams that this machine lost: `r` the kernel dropped before they were
//! read, its receive buffer being full; `s` it would not send, or a viewer's TCP connection. What the network loses is not among
//! them. Scripts made for SRS look for it.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_rtc::{RtcHandle, RtcStats};

/// SRS's interval.
const INTERVAL: Duration = Duration::from_secs(5);

/// Logs until `stop`.
pub(crate) async fn run(rtc: RtcHandle, stop: CancellationToken) {
    let mut pulse = Pulse::default();
    let mut since = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let now = Instant::now();
        if let Some(line) = pulse.beat(&rtc.stats(), now.saturating_duration_since(since)) {
            tracing::info!("{line}");
        }
        since = now;
    }
}

/// The totals as of the last line.
#[derive(Default)]
struct Pulse {
    recv: u64,
    sent: u64,
    recv_lost: u64,
    send_lost: u64,
}

impl Pulse {
    /// What to say of the `span` since the last call; nothing if nothing happened.
    fn beat(&mut self, stats: &RtcStats, span: Duration) -> Option<String> {
        let traffic = &stats.traffic;
        let now = Self {
            recv: traffic.recv.datagrams.saturating_add(traffic.tcp.frames_in),
            sent: traffic.send.datagrams.saturating_add(traffic.tcp.frames_out),
            recv_lost: traffic.kernel_drops,
            send_lost: [traffic.send.full, traffic.send.refused, traffic.tcp.dropped].into_iter().fold(0, u64::saturating_add),
        };
        let was = std::mem::replace(self, now);
        let [recv, sent] = [self.recv.saturating_sub(was.recv), self.sent.saturating_sub(was.sent)];
        let [recv_lost, send_lost] = [self.recv_lost.saturating_sub(was.recv_lost), self.send_lost.saturating_sub(was.send_lost)];
        let sessions = stats.publishers + stats.players;
        if sessions == 0 && [recv, sent, recv_lost, send_lost] == [0; 4] {
            return None;
        }
        let per_second = |count: u64| u128::from(count) * 1_000 / span.as_millis().max(1);
        let (recv, sent) = (per_second(recv), per_second(sent));
        Some(format!("RTC: Server conns={sessions}, rpkts=({recv}), spkts=({sent}), loss=(r:{recv_lost},s:{send_lost})"))
    }
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
        let line = pulse.beat(&stats, INTERVAL);
        assert_eq!(line.as_deref(), Some("RTC: Server conns=3, rpkts=(1000), spkts=(2000), loss=(r:49,s:0)"));
        stats.traffic.kernel_drops = 50;
        (stats.traffic.send.full, stats.traffic.send.refused, stats.traffic.tcp.dropped) = (3, 2, 2);
        (stats.traffic.tcp.frames_in, stats.traffic.tcp.frames_out) = (50, 100);
        let line = pulse.beat(&stats, INTERVAL);
        assert_eq!(line.as_deref(), Some("RTC: Server conns=3, rpkts=(10), spkts=(20), loss=(r:1,s:7)"));
        (stats.publishers, stats.players) = (0, 0);
        assert_eq!(pulse.beat(&stats, INTERVAL), None, "they have gone");
        stats.traffic.kernel_drops = 51;
        assert!(pulse.beat(&stats, INTERVAL).is_some(), "lost before anybody was there");
    }
}
