//! The clients of a run, by the engines that all commands share.

use std::{
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::bail;
use weir_rtc::net::{Socket, SocketOptions};

use super::Setup;
use crate::{
    clients::{self, Cipher, Feedback, Handle, Kind, Options, Prompt},
    measure::{Collector, Count, Snapshot},
    media::{Studio, Wish},
};

/// All clients must have media by then.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the start brings is over by then: a group of pictures for publishers, the first reports.
const SETTLE: Duration = Duration::from_secs(3);
/// The stream's name.
pub(super) const STREAM: &str = "bench";

/// Clients of one kind; they leave when this is dropped.
pub(super) struct Load {
    _handle: Handle,
    collector: Collector,
    count: usize,
    cipher: Cipher,
}

impl Load {
    /// Starts `count` clients against `url` and waits until each has media, or as a publisher sends.
    pub(super) fn start(setup: &Setup<'_>, kind: Kind, url: &str, count: usize) -> anyhow::Result<Self> {
        let options = Options {
            count,
            streams: if kind.publishes() { 0 } else { 1 },
            cipher: setup.cipher,
            // Reports and no more: what a viewer asks for again is another matter than what one costs.
            feedback: Feedback { reports: true, ..Feedback::NONE },
            // Each message wakes its receiver, as those of the yardstick are woken.
            prompt: Prompt::All,
            studio: Studio::plain(Wish { shape: setup.shape, stamp: false, ..Wish::default() }),
            ..Options::default()
        };
        let collector = Collector::new();
        let handle = clients::start(kind, url, &options, &collector)?;
        handle.wait_until(PATIENCE, |progress| progress.media >= count || progress.failed > 0);
        let progress = handle.progress();
        if progress.media < count || progress.failed > 0 {
            let failures = collector.snapshot().failures();
            let why =
                failures.first().map_or_else(String::new, |failure| format!(": {}: {}", failure.stage.name(), failure.reason));
            bail!("only {} of {count} clients ({}) had media{why}", progress.media, kind.name());
        }
        thread::sleep(SETTLE);
        Ok(Self { _handle: handle, collector, count, cipher: setup.cipher })
    }

    /// What they have seen so far.
    pub(super) fn seen(&self) -> Snapshot {
        self.collector.snapshot()
    }

    /// What was negotiated, which is all that was offered, and how many packets did not pass it.
    pub(super) fn cipher(&self) -> String {
        let name = match self.cipher {
            Cipher::Any => "what the server chose",
            Cipher::Gcm => "AEAD_AES_128_GCM",
            Cipher::Cm80 => "AES_CM_128_HMAC_SHA1_80",
        };
        let seen = self.seen();
        format!(
            "{} of {} on {name}, {} packets failed their check",
            seen.count(Count::Connected),
            self.count,
            seen.count(Count::Bad)
        )
    }
}

/// The kernel gives the viewers' sockets coalesced datagrams (UDP_GRO).
pub(super) fn receivers_coalesce() -> anyhow::Result<bool> {
    let options = SocketOptions { reuse_port: false, recv_buffer: 1 << 16, send_buffer: 1 << 16 };
    Ok(Socket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &options)?.coalesces())
}
