//! When what happened first in a session: stamped where its state changes, never by packet, and read by
//! whoever tells its story.

use std::time::Instant;

use crate::ice::Path;

/// First times. What has not happened yet is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Milestones {
    /// A check came that was signed with our password.
    pub checked: Option<(Instant, Path)>,
    /// The peer nominated a pair.
    pub nominated: Option<(Instant, Path)>,
    /// The DTLS handshake began: our first message of it, or the peer's.
    pub shaking: Option<Instant>,
    /// The handshake was done.
    pub connected: Option<Instant>,
    /// Of the handshake itself: the suite's IANA name. Media has its own (`SessionStats::profile`).
    pub suite: Option<String>,
    /// Why there was no handshake.
    pub failure: Option<String>,
    /// Player: a packet went out.
    pub media: Option<Instant>,
    /// Player: a keyframe went out.
    pub keyframe: Option<Instant>,
    /// Player: it reported what it got.
    pub reported: Option<Instant>,
}
