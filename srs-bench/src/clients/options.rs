//! How clients behave.

use std::{str::FromStr, time::Duration};

use weir_rtc::{dtls::Identity, srtp::SrtpProfile};

use crate::media::Studio;

/// How many clients there are and how each behaves. The default is one client that does all that a
/// browser or player does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Clients.
    pub count: usize,
    /// The number of the first one: it counts for `{n}` and for the source address.
    pub first: usize,
    /// Streams that the clients spread over; 0: each has its own. The client's number modulo this
    /// is what `{n}` in the URL becomes.
    pub streams: usize,
    /// The time over which all are started.
    pub ramp: Duration,
    /// Sessions being set up at a time.
    pub setups_max: usize,
    /// Threads, each of which drives its share of the clients.
    pub threads: usize,
    /// A session must be set up by then.
    pub setup_patience: Duration,
    /// After set-up, media must come by then.
    pub media_patience: Duration,
    /// Media that stops for so long has stalled: the session has failed.
    pub stall: Duration,
    /// Connect, see media, leave, again.
    pub churn: Option<Churn>,
    /// `Authorization: Bearer` of HTTP requests.
    pub bearer: Option<String>,
    /// Any certificate of a TLS server is good enough.
    pub insecure: bool,
    /// Which packets WebRTC viewers decrypt and check.
    pub verify: Verify,
    /// Which RTMP and FLV players are read as soon as something comes.
    pub prompt: Prompt,
    /// How often the other RTMP and FLV players are read, [`READ_EVERY_MAX`] at most; sooner where the stream's bitrate
    /// wants it. Default 200 ms: 15 KB of a stream of 600 kb/s.
    pub read_every: Duration,
    /// Which SRTP profile WebRTC clients offer.
    pub cipher: Cipher,
    /// What WebRTC clients are made of.
    pub stack: Stack,
    /// What WebRTC viewers send back.
    pub feedback: Feedback,
    /// Bytes of the kernel's receive buffer of each WebRTC viewer.
    pub recv_buffer: usize,
    /// Each client has an address of its own in 127.0.0.0/8 (`127.0.(n/250).(n%250+1)`): past some
    /// 28,000 ports, and where a server limits sessions by address. For servers on this machine only.
    pub spread_sources: bool,
    /// What publishers send.
    pub studio: Studio,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            count: 1,
            first: 0,
            streams: 0,
            ramp: Duration::ZERO,
            setups_max: 32,
            threads: 1,
            setup_patience: Duration::from_secs(15),
            media_patience: Duration::from_secs(15),
            stall: Duration::from_secs(10),
            churn: None,
            bearer: None,
            insecure: false,
            verify: Verify::All,
            prompt: Prompt::Some,
            read_every: Duration::from_millis(200),
            cipher: Cipher::Any,
            stack: Stack::Light,
            feedback: Feedback::default(),
            recv_buffer: 512 << 10,
            spread_sources: false,
            studio: Studio::default(),
        }
    }
}

/// A client that leaves and comes back.
#[derive(Clone, Copy, Debug)]
pub struct Churn {
    /// How long it stays after its first media.
    pub stay: Duration,
    /// How long it is away.
    pub pause: Duration,
}

/// What does a WebRTC client's ICE, SRTP and feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Ours, made for thousands of clients.
    Light,
    /// webrtc-rs's peer connection, for a few viewers that check ours. They take no notice of [`Options::verify`],
    /// [`Options::feedback`], [`Options::churn`] and [`Options::recv_buffer`].
    Independent,
}

/// Which packets are decrypted and checked. The others are counted by their header, which SRTP leaves
/// in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every packet.
    All,
    /// Every `n`th, and all while a keyframe is waited for.
    Every(u32),
    /// None. Keyframes and the stamps in frames are not seen then.
    None,
}

impl FromStr for Verify {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => share(text).map(Self::Every).ok_or_else(|| anyhow::anyhow!("{text:?} is none of all, none, 1/N")),
        }
    }
}

/// Which RTMP and FLV players are read as soon as something comes. When what the others received came is not known, so
/// that these alone feed latency and freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Every one of up to [`PROMPT_MAX`], and of more every so-manieth, so that no more than that are.
    Some,
    /// Every one.
    All,
    /// Every `n`th of each thread.
    Every(u32),
    /// None: then there is no latency, and there are no freezes.
    None,
}

/// Players of a group that are read at once unless told otherwise: they take a tenth of a thread at 600 kb/s, and ten
/// seconds of them are 60,000 frames, of which the slowest thousandth is still sixty.
pub const PROMPT_MAX: usize = 250;
/// Longer, and a stream of 600 kb/s would fill the receive window that a connection has at its start, 64 KB.
pub const READ_EVERY_MAX: Duration = Duration::from_millis(500);

impl Prompt {
    /// Of `count` players every so-manieth; 0: none.
    pub(crate) fn step(self, count: usize) -> usize {
        match self {
            Self::Some => count.div_ceil(PROMPT_MAX).max(1),
            Self::All => 1,
            Self::Every(n) => usize::try_from(n).unwrap_or(usize::MAX),
            Self::None => 0,
        }
    }
}

impl FromStr for Prompt {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "some" => Ok(Self::Some),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => share(text).map(Self::Every).ok_or_else(|| anyhow::anyhow!("{text:?} is none of some, all, none, 1/N")),
        }
    }
}

/// N of `1/N`.
fn share(text: &str) -> Option<u32> {
    text.strip_prefix("1/").and_then(|n| n.parse().ok()).filter(|n| *n > 0)
}

/// What a WebRTC viewer sends back, all of it as browsers do by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// Receiver reports, once a second.
    pub reports: bool,
    /// NACK for packets that are missing.
    pub nack: bool,
    /// PLI at first, and when the picture cannot be decoded any more.
    pub pli: bool,
    /// Transport-wide congestion control feedback, if the server agrees.
    pub transport_cc: bool,
    /// Retransmission in a stream of its own (RFC 4588), if the server agrees.
    pub rtx: bool,
}

impl Default for Feedback {
    fn default() -> Self {
        Self { reports: true, nack: true, pli: true, transport_cc: true, rtx: true }
    }
}

impl Feedback {
    /// Nothing at all.
    pub const NONE: Self = Self { reports: false, nack: false, pli: false, transport_cc: false, rtx: false };
}

/// Which SRTP profile the clients offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Cipher {
    /// Both, GCM first
    Any,
    /// AEAD_AES_128_GCM
    Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80
    Cm80,
}

impl Cipher {
    /// A client's certificate, which offers what this says.
    pub(crate) fn identity(self) -> anyhow::Result<Identity> {
        let profiles: &[SrtpProfile] = match self {
            Self::Any => &[SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80],
            Self::Gcm => &[SrtpProfile::AeadAes128Gcm],
            Self::Cm80 => &[SrtpProfile::AesCm128HmacSha1_80],
        };
        Identity::offering(profiles).map_err(|error| anyhow::anyhow!("certificate: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_is_read_from_words() {
        assert_eq!("all".parse::<Verify>().unwrap(), Verify::All);
        assert_eq!("1/16".parse::<Verify>().unwrap(), Verify::Every(16));
        assert_eq!("none".parse::<Verify>().unwrap(), Verify::None);
        for text in ["1/0", "2/3", "", "1/"] {
            assert!(text.parse::<Verify>().is_err(), "{text}");
        }
    }

    #[test]
    fn few_players_are_read_at_once_and_of_many_a_sample() {
        let prompt = |text: &str, count: usize| {
            let step = text.parse::<Prompt>().unwrap().step(count);
            if step == 0 { 0 } else { count.div_ceil(step) }
        };
        for (text, count, expected) in [
            ("some", 1, 1),
            ("some", 250, 250),
            ("some", 251, 126),
            ("some", 10_000, 250),
            ("all", 10_000, 10_000),
            ("1/16", 10_000, 625),
            ("none", 10_000, 0),
        ] {
            assert_eq!(prompt(text, count), expected, "{text} of {count}");
        }
        assert!((1..20_000).all(|count| (1..=PROMPT_MAX).contains(&prompt("some", count))));
        for text in ["1/0", "few", ""] {
            assert!(text.parse::<Prompt>().is_err(), "{text}");
        }
    }
}
