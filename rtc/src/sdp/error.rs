//! Why an offer is refused, and whose fault that is.

use weir_source::MediaKind;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The offer breaks SDP or the rules of WHIP/WHEP: HTTP 400.
    Malformed,
    /// The offer is fine and asks for what we do not do: HTTP 422.
    Unprocessable,
}

impl ErrorClass {
    /// The HTTP status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unprocessable => 422,
        }
    }
}

/// Why an offer is refused. The text is for the peer's developer and shows none of our insides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiateError {
    /// A hard limit, checked before parsing.
    #[error("the offer exceeds a limit: {0}")]
    TooLarge(&'static str),
    /// Not SDP, or SDP that contradicts itself.
    #[error("the offer is malformed: {0}")]
    Malformed(&'static str),
    /// A mandatory attribute is missing (RFC 8829 section 5.2.1).
    #[error("the offer has no usable {0}")]
    Missing(&'static str),
    /// `inactive`, or pointing the wrong way (RFC 9725 section 4.2).
    #[error("m-line {mid:?} is {offered}: a publisher offers sendonly or sendrecv, a player recvonly or sendrecv")]
    WrongDirection {
        /// Which m-line.
        mid: String,
        /// Its direction.
        offered: &'static str,
    },
    /// No group, or an m-line outside it.
    #[error("all media must be in one a=group:BUNDLE")]
    NotBundled,
    /// RTP and RTCP on separate ports.
    #[error("a=rtcp-mux is missing for m-line {0:?}")]
    NoRtcpMux(String),
    /// An m-line that is neither RTP media nor a data channel.
    #[error("media of this kind or transport is not supported: {0}")]
    UnsupportedMedia(String),
    /// No m-line at all.
    #[error("the offer has no m-line")]
    Empty,
    /// Nothing to send or receive: only data channels or disabled m-lines.
    #[error("the offer has no audio or video")]
    NoMedia,
    /// A second audio or video.
    #[error("more than one {} track", name(*.0))]
    TooManyTracks(MediaKind),
    /// Tracks of different MediaStreams.
    #[error("the tracks belong to more than one MediaStream")]
    TooManyStreams,
    /// The m-line offers nothing that we (or the live stream) speak.
    #[error("no common codec for the {} m-line {mid:?}", name(*.kind))]
    NoCommonCodec {
        /// Audio or video.
        kind: MediaKind,
        /// Which m-line.
        mid: String,
    },
}

impl NegotiateError {
    /// A player may be made an offer of ours instead: nothing but its codecs is in the way.
    pub const fn may_be_countered(&self) -> bool {
        matches!(self, Self::Empty | Self::NoCommonCodec { .. })
    }

    /// Malformed or unprocessable.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::TooLarge(_) | Self::Malformed(_) | Self::Missing(_) | Self::WrongDirection { .. } => ErrorClass::Malformed,
            Self::NotBundled
            | Self::NoRtcpMux(_)
            | Self::UnsupportedMedia(_)
            | Self::Empty
            | Self::NoMedia
            | Self::TooManyTracks(_)
            | Self::TooManyStreams
            | Self::NoCommonCodec { .. } => ErrorClass::Unprocessable,
        }
    }
}

const fn name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}
