//! The kinds of callbacks, in SRS's words.

/// A callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// An RTMP connection has said `connect`; decides.
    Connect,
    /// An RTMP connection was closed.
    Close,
    /// A client wants to publish; decides.
    Publish,
    /// It has gone.
    Unpublish,
    /// A client wants to play; decides.
    Play,
    /// It has gone.
    Stop,
    /// A recording was finished. Nothing records yet.
    Dvr,
    /// An HLS segment was finished.
    Hls,
    /// The same as a GET, for caches that fetch the segment.
    HlsNotify,
}

impl Hook {
    /// Every one, in the order of their indexes.
    pub const ALL: [Self; 9] = [
        Self::Connect,
        Self::Close,
        Self::Publish,
        Self::Unpublish,
        Self::Play,
        Self::Stop,
        Self::Dvr,
        Self::Hls,
        Self::HlsNotify,
    ];

    /// The name of its directive, and its `action`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Dvr => "on_dvr",
            Self::Hls => "on_hls",
            Self::HlsNotify => "on_hls_notify",
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Connect => 0,
            Self::Close => 1,
            Self::Publish => 2,
            Self::Unpublish => 3,
            Self::Play => 4,
            Self::Stop => 5,
            Self::Dvr => 6,
            Self::Hls => 7,
            Self::HlsNotify => 8,
        }
    }

    /// What it leaves behind when it is lost: a stream that a callback server takes for live, or a
    /// connection that it takes for open. Places are kept for these.
    pub(super) const fn is_vital(self) -> bool {
        matches!(self, Self::Unpublish | Self::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_has_its_place() {
        for (place, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook.index(), place, "{}", hook.name());
        }
    }
}
