//! Offers of the bench's clients, and what they need of an answer.

use std::net::SocketAddr;

use anyhow::Context as _;
use weir_rtc::{
    sdp::{Fingerprint, HashAlgorithm},
    wire::ext::ExtensionIds,
};

/// Payload types and header extension ids, as Chromium numbers them.
pub(crate) const OPUS_PT: u8 = 111;
pub(crate) const H264_PT: u8 = 106;
const ABS_SEND_TIME: u8 = 2;
const TRANSPORT_CC: u8 = 3;
const MID: u8 = 4;

/// Media sections.
pub(crate) const AUDIO_MID: &str = "0";
pub(crate) const VIDEO_MID: &str = "1";

/// The extensions that a publisher writes.
pub(crate) fn extension_ids() -> ExtensionIds {
    ExtensionIds {
        mid: Some(MID),
        transport_cc: Some(TRANSPORT_CC),
        abs_send_time: Some(ABS_SEND_TIME),
        ..ExtensionIds::default()
    }
}

/// Which way an offer wants media to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// WHEP.
    Receive,
    /// WHIP, with the SSRCs of sound and pictures.
    Send([u32; 2]),
}

/// An offer of one Opus and one H.264 stream.
pub(crate) struct Offer {
    pub(crate) ufrag: String,
    pub(crate) sdp: String,
}

impl Offer {
    /// The `index`th client's.
    pub(crate) fn new(index: usize, fingerprint: &str, wish: Wish) -> Self {
        let ufrag = format!("b{index:05}x");
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:benchbenchbenchbenchbench{index:05}\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\na=setup:active\r\na=rtcp-mux\r\na=rtcp-rsize\r\n"
        );
        let (audio, video) = match wish {
            Wish::Receive => ("a=recvonly\r\n".to_owned(), "a=recvonly\r\n".to_owned()),
            Wish::Send([audio, video]) => (sending(audio, OPUS_PT), sending(video, H264_PT)),
        };
        let sdp = format!(
            "v=0\r\no=- {index} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {AUDIO_MID} {VIDEO_MID}\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF {OPUS_PT}\r\n{transport}a=mid:{AUDIO_MID}\r\n{audio}\
             a=rtpmap:{OPUS_PT} opus/48000/2\r\na=fmtp:{OPUS_PT} minptime=10;useinbandfec=1\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {H264_PT}\r\n{transport}a=mid:{VIDEO_MID}\r\n{video}\
             a=rtpmap:{H264_PT} H264/90000\r\na=rtcp-fb:{H264_PT} nack\r\na=rtcp-fb:{H264_PT} nack pli\r\n\
             a=fmtp:{H264_PT} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
        );
        Self { ufrag, sdp }
    }
}

fn sending(ssrc: u32, payload_type: u8) -> String {
    format!(
        "a=sendonly\r\na=msid:bench bench{ssrc}\r\na=ssrc:{ssrc} cname:bench\r\na=rtcp-fb:{payload_type} transport-cc\r\n\
         a=extmap:{ABS_SEND_TIME} http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:{TRANSPORT_CC} http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=extmap:{MID} urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
    )
}

/// What a client needs of an answer.
pub(crate) struct Answer {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) candidate: SocketAddr,
}

impl Answer {
    pub(crate) fn read(sdp: &str) -> anyhow::Result<Self> {
        let value = |name: &str| sdp.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim().to_owned());
        let fingerprint = value("a=fingerprint:sha-256 ").context("no SHA-256 fingerprint in the answer")?;
        let digest = fingerprint.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<Vec<_>, _>>()?;
        let candidate = value("a=candidate:").context("no candidate in the answer")?;
        let fields: Vec<&str> = candidate.split(' ').collect();
        let (ip, port) = fields.get(4).zip(fields.get(5)).context("an odd candidate")?;
        Ok(Self {
            ufrag: value("a=ice-ufrag:").context("no ufrag in the answer")?,
            pwd: value("a=ice-pwd:").context("no password in the answer")?,
            fingerprint: Fingerprint { algorithm: HashAlgorithm::Sha256, digest },
            candidate: SocketAddr::new(ip.parse()?, port.parse()?),
        })
    }
}
