//! What this crate asks of the WebRTC server and of the HLS output.

use std::{future::Future, net::IpAddr, pin::Pin};

use bytes::Bytes;
use weir_source::StreamKey;

/// As the client asked: it sends to us or receives from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcDirection {
    /// The client sends.
    Publish,
    /// The client receives.
    Play,
}

/// ICE credentials that the client wants the server to use (SRS's `ice-ufrag`, `ice-pwd`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceOverride {
    /// 4 to 32 ice-chars.
    pub ufrag: String,
    /// 22 to 32 ice-chars.
    pub pwd: String,
}

/// A WebRTC session to open.
#[derive(Clone, Debug)]
pub struct OpenRequest {
    /// Who sends.
    pub direction: RtcDirection,
    /// The stream.
    pub key: StreamKey,
    /// The SDP offer, as it came.
    pub offer: String,
    /// An address to put first among the candidates (`eip`), with its port if that differs.
    pub extra_candidate: Option<(IpAddr, Option<u16>)>,
    /// The client's address as the HTTP side sees it.
    pub client_ip: IpAddr,
    /// For the client list: `webrtc://host/app`.
    pub url: String,
    /// For the client list: the `Referer`.
    pub page_url: String,
    /// The client's trace id.
    pub id: String,
    /// Credentials that the client asked for.
    pub ice: Option<IceOverride>,
}

/// An opened session.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its secret, URL-safe id: at least 128 random bits.
    pub session: String,
    /// The SDP answer.
    pub answer: String,
    /// The tag of its ICE session, without quotes.
    pub etag: String,
    /// `localufrag:remoteufrag`, SRS's `sessionid`.
    pub username: String,
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The tag of its ICE session as it stands now, without quotes.
    pub etag: String,
    /// The client's ICE user fragment.
    pub remote_ufrag: String,
    /// The client's trace id.
    pub client: String,
}

/// Why a session was not opened.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OpenError {
    /// The offer is not SDP.
    #[error("the offer could not be read: {0}")]
    Malformed(String),
    /// The offer asks for what is not served.
    #[error("the offer cannot be served: {0}")]
    Unprocessable(String),
    /// Another client publishes the stream.
    #[error("the stream is being published by another client")]
    StreamBusy,
    /// No more sessions are taken.
    #[error("the server has as many sessions as it takes")]
    TooManySessions,
    /// The server is going down.
    #[error("the server is going down")]
    ShuttingDown,
}

/// The WebRTC server as HTTP sees it. Calls are short and do not block.
pub trait Rtc: Send + Sync {
    /// Negotiates and leaves the session waiting for its peer's first packet.
    fn open(&self, request: OpenRequest) -> Result<Opened, OpenError>;
    /// Ends a session; `false` if there is none of this id.
    fn close(&self, session: &str) -> bool;
    /// What is known of a session.
    fn info(&self, session: &str) -> Option<SessionInfo>;
    /// Statistics of the client with this trace id as a JSON object for the API.
    fn client_stats(&self, client: &str) -> Option<serde_json::Value>;
}

/// Why there is no playlist.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum HlsUnavailable {
    /// Nobody publishes the stream, or it has no segment yet.
    #[error("the stream has no segments")]
    NoStream,
    /// Too many requests wait for a first segment already.
    #[error("too many players are waiting")]
    Busy,
}

/// The HLS output as HTTP sees it.
pub trait HlsOutput: Send + Sync {
    /// The live playlist; waits a bounded time for the first segments of a starting stream.
    fn playlist<'a>(&'a self, key: &'a StreamKey) -> Pin<Box<dyn Future<Output = Result<Bytes, HlsUnavailable>> + Send + 'a>>;
    /// A segment by its file name.
    fn segment(&self, key: &StreamKey, name: &str) -> Option<Bytes>;
}
