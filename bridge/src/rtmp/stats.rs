//! What the RTMP listeners of a server count.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of all RTMP connections since the server started.
#[derive(Debug, Default)]
pub struct RtmpStats {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Connections closed at once because there were too many.
    pub refused: AtomicU64,
    /// Connections that did not get as far as RTMP: their TLS handshake failed, or took too long.
    pub not_opened: AtomicU64,
    /// Connections ended because of what the client sent.
    pub protocol_errors: AtomicU64,
    /// Players ended because they took nothing for too long.
    pub too_slow: AtomicU64,
    /// Connections ended by a fault of the server. Each is a bug.
    pub panics: AtomicU64,
    /// Writes to sockets.
    pub writes: AtomicU64,
    /// Bytes of these.
    pub sent_bytes: AtomicU64,
    /// Media messages of publishers that were dropped as malformed.
    pub dropped: AtomicU64,
    /// Messages that were read over: AMF that is none, media before `publish`, types that nobody
    /// knows. Counted when their connection ends.
    pub ignored: AtomicU64,
}

/// Settings are compared without what was counted under them.
impl PartialEq for RtmpStats {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl RtmpStats {
    /// Counts one write.
    pub(crate) fn wrote(&self, bytes: usize) {
        add(&self.writes, 1);
        add(&self.sent_bytes, bytes as u64);
    }
}

/// One relaxed addition.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
