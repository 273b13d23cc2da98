//! What a negotiation needs and what it yields. Plain values, immutable once made.

use std::fmt;
use std::net::SocketAddr;

use weir_source::{Codec, MediaKind, TrackId, Tracks};

use super::Terms;

pub use crate::wire::ext::ExtensionIds;

/// Which way media flows, as the HTTP side was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The peer sends to us (WHIP).
    Publish,
    /// The peer receives from us (WHEP).
    Play,
}

/// One side's ICE user name fragment and password.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// 4 to 256 ice-chars (RFC 8839 section 5.4).
    pub ufrag: String,
    /// 22 to 256 ice-chars.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    /// Passwords do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Our side of the DTLS handshake (RFC 5763 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We wait for the peer's ClientHello: the DTLS server.
    Passive,
    /// We send the ClientHello: the DTLS client.
    Active,
}

/// The hashes of `a=fingerprint` that we can compute, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlgorithm {
    /// Read, but never trusted alone.
    Sha1,
    /// What everybody sends.
    Sha256,
    /// Seen from security-minded builds.
    Sha384,
    /// Seen from security-minded builds.
    Sha512,
}

impl HashAlgorithm {
    /// The token of RFC 8122 section 5, in whatever case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512].into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))
    }

    /// The token of RFC 8122 section 5.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of a digest.
    pub const fn len_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A certificate's hash, as `a=fingerprint` carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Which hash.
    pub algorithm: HashAlgorithm,
    /// Always [`HashAlgorithm::len_bytes`] long when it comes from an offer.
    pub digest: Vec<u8>,
}

/// One codec that both sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecParams {
    /// The codec.
    pub codec: Codec,
    /// 0 to 127, the offer's number.
    pub payload_type: u8,
    /// RTP clock rate in Hz.
    pub clock_rate: u32,
    /// Audio channels, 0 for video.
    pub channels: u8,
    /// The peer's `a=fmtp` parameters, whole, without the payload type. Empty if it sent none.
    pub fmtp: String,
    /// Video: retransmissions go under this number on a stream of their own (RFC 4588). `None` if that
    /// was not offered.
    pub rtx_payload_type: Option<u8>,
    /// Generic NACK was agreed (RFC 4585 section 6.2.1).
    pub nack: bool,
    /// Picture loss indication was agreed (RFC 4585 section 6.3.1).
    pub pli: bool,
    /// Transport-wide feedback was agreed.
    pub transport_cc: bool,
    /// Playing video: the viewer's own estimate (draft-alvestrand-rmcat-remb-03) was agreed, because
    /// transport-wide feedback was not.
    pub remb: bool,
}

/// One accepted m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaParams {
    /// Its `a=mid`.
    pub mid: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// The track that it carries: [`TrackId::AUDIO`] or [`TrackId::VIDEO`].
    pub track: TrackId,
    /// At least one, the preferred first, each codec at most once.
    pub codecs: Vec<CodecParams>,
    /// The header extensions agreed.
    pub extensions: ExtensionIds,
    /// What we send with (play) or report with (publish).
    pub local_ssrc: u32,
    /// From `a=ssrc`, without those of repair streams; may be empty, at most 16.
    pub remote_ssrcs: Vec<u32>,
    /// Publishing video: the simulcast layers taken, in the offer's order; empty where it is sent once.
    pub layers: Vec<LayerParams>,
    /// Playing: ours, for retransmissions; there if any of the codecs has an `rtx_payload_type`.
    pub rtx_ssrc: Option<u32>,
}

/// One simulcast layer of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerParams {
    /// Its name in `a=rid` and in the header extension, 1 to 16 characters.
    pub rid: String,
    /// The track that it becomes.
    pub track: TrackId,
    /// The publisher does not send it at first.
    pub paused: bool,
    /// Where the offer names layers by SSRC.
    pub ssrc: Option<u32>,
}

impl MediaParams {
    /// What was agreed for `codec`.
    pub fn codec(&self, codec: Codec) -> Option<&CodecParams> {
        self.codecs.iter().find(|params| params.codec == codec)
    }

    /// What was agreed for a payload type.
    pub fn payload_type(&self, payload_type: u8) -> Option<&CodecParams> {
        self.codecs.iter().find(|params| params.payload_type == payload_type)
    }
}

/// All that a session needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionParams {
    /// Which way media flows.
    pub direction: Direction,
    /// Ours, as answered.
    pub local_ice: IceCredentials,
    /// The peer's.
    pub remote_ice: IceCredentials,
    /// The peer's certificate must match one; never empty, never only SHA-1.
    pub remote_fingerprints: Vec<Fingerprint>,
    /// Our side of the handshake.
    pub dtls_role: DtlsRole,
    /// For SDES: the canonical name of what we send (RFC 7022).
    pub cname: String,
    /// The accepted m-lines in their order: one or two.
    pub media: Vec<MediaParams>,
    /// Playing: of simulcast layers none better than the one of this name. Not negotiated.
    pub layer_max: Option<String>,
    /// What the server grants it.
    pub terms: Terms,
}

impl SessionParams {
    /// The codec agreed first of each m-line.
    pub fn first_codecs(&self) -> Vec<Codec> {
        self.media.iter().filter_map(|media| media.codecs.first()).map(|codec| codec.codec).collect()
    }
}

/// What this server brings to a negotiation.
#[derive(Clone, Debug)]
pub struct LocalParams<'a> {
    /// Our ICE credentials for this session.
    pub ice: IceCredentials,
    /// SHA-256 of our certificate as colon-separated upper-case hex.
    pub fingerprint: &'a str,
    /// Our UDP addresses, most wanted first; at most 16 are written.
    pub candidates: &'a [SocketAddr],
    /// Our TCP addresses (RFC 6544), as `candidates`; in the answer they come after those.
    pub tcp_candidates: &'a [SocketAddr],
    /// For the `o=` line and the CNAME: random per session.
    pub session_id: u64,
    /// Random per session.
    pub audio_ssrc: u32,
    /// Random per session, unlike `audio_ssrc`.
    pub video_ssrc: u32,
    /// Random per session, unlike the other two: the video's retransmissions.
    pub rtx_ssrc: u32,
    /// The MediaStream id that a player sees, such as `live/livestream`; made a token here.
    pub stream_id: &'a str,
    /// The packet tracks of the stream if it is live: a player gets their codecs first.
    pub prefer: Option<&'a Tracks>,
    /// The query's `codec=`: publishing, this one or none; playing, this one first.
    pub codec: Option<Codec>,
    /// What it grants.
    pub terms: Terms,
}
