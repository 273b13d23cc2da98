//! A viewer that was out of reach and is back: what it was sent meanwhile is lost to it, and it may not
//! say so for seconds. Chromium asks for a keyframe after three seconds without a picture, once, and
//! if that is lost on the same dead line, three seconds later.

use std::time::{Duration, Instant};

/// Viewers report once a second, browsers up to half a second later (RFC 3550 section 6.3.5 spreads them).
const SILENT: Duration = Duration::from_secs(2);

/// When the viewer was heard last, and how much had been sent to it by then.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard: Option<(Instant, u32)>,
}

impl Silence {
    /// Something was heard of it, after `sent` packets of pictures (modulo 2^32). Whether it had been
    /// silent for long while they went out.
    pub(super) fn end(&mut self, now: Instant, sent: u32) -> bool {
        let before = self.heard.replace((now, sent));
        before.is_some_and(|(at, then)| sent != then && now.saturating_duration_since(at) >= SILENT)
    }
}
