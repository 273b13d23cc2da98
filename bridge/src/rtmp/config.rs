//! What can be set.

use std::{sync::Arc, time::Duration};

use weir_source::PerVhost;

use super::RtmpStats;
use crate::Begin;

/// RTMP's settings. Each has a default that suits.
#[derive(Clone, Debug, PartialEq)]
pub struct RtmpConfig {
    /// Connections at one time; more are closed at once. One that waits costs about 10 KiB.
    /// Default 10,000.
    pub connections_max: usize,
    /// For the handshake, and again from it to `publish` or `play`. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long whoever decides about a client may think; then it is refused. A callback server's own
    /// time is shorter. Default 30 s.
    pub decision_timeout: Duration,
    /// For one write. A player that takes longer is closed. Default 10 s.
    pub write_timeout: Duration,
    /// How often a player that is sent nothing is pinged, so that a dead one is noticed.
    /// Default 30 s.
    pub ping_interval: Duration,
    /// What differs by vhost.
    pub vhosts: PerVhost<RtmpVhost>,
    /// Where all connections count what they do.
    pub stats: Arc<RtmpStats>,
}

/// RTMP's settings of one vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtmpVhost {
    /// Size of the chunks that we send, in bytes, 128 to 65,536. One for all players of a stream,
    /// because they share the same bytes. Default 60,000.
    pub chunk_size_out: usize,
    /// Bytes after which clients are asked to acknowledge (`out_ack_size`); 0: they are not asked.
    /// Default 2,500,000.
    pub ack_window_out: u32,
    /// Bytes after which we acknowledge where a client has not said otherwise (`in_ack_size`); 0, the
    /// default: never.
    pub ack_window_in: u32,
    /// From `publish` to the first media. Default 20 s.
    pub first_media_timeout: Duration,
    /// Silence of a publisher. Default 30 s.
    pub idle_timeout: Duration,
    /// With what players begin (`gop_cache`).
    pub begin: Begin,
    /// How long frames are gathered before a player is sent them in one write (`mw_latency`): it is
    /// later by as much, and costs as many system calls less. Default zero: never.
    pub gather: Duration,
}

impl Default for RtmpConfig {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            decision_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(30),
            vhosts: PerVhost::default(),
            stats: Arc::default(),
        }
    }
}

impl Default for RtmpVhost {
    fn default() -> Self {
        Self {
            chunk_size_out: 60_000,
            ack_window_out: 2_500_000,
            ack_window_in: 0,
            first_media_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(30),
            begin: Begin::default(),
            gather: Duration::ZERO,
        }
    }
}

impl RtmpVhost {
    /// Some clients take no chunks longer than 65,536 bytes, and none may be shorter than before.
    pub(crate) fn chunk_size(&self) -> usize {
        self.chunk_size_out.clamp(128, 65_536)
    }
}
