//! Offers of the bench's clients: one Opus and one H.264 stream, as Chromium writes them.

use weir_rtc::wire::ext::ExtensionIds;

use crate::clients::{Cipher, Feedback};

/// Payload types and header extension ids, as Chromium numbers them.
pub(super) const OPUS_PT: u8 = 111;
pub(super) const H264_PT: u8 = 106;
const RTX_PT: u8 = 107;
const ABS_SEND_TIME: u8 = 2;
const TRANSPORT_CC: u8 = 3;
const MID: u8 = 4;
/// The extensions by name.
pub(super) const ABS_SEND_TIME_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
pub(super) const TRANSPORT_CC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
pub(super) const MID_URI: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// Media sections.
pub(super) const AUDIO_MID: &str = "0";
pub(super) const VIDEO_MID: &str = "1";

/// What a server has taken before its answer is read.
pub(super) const NO_EXTENSIONS: ExtensionIds = ExtensionIds {
    mid: None,
    rid: None,
    repaired_rid: None,
    transport_cc: None,
    abs_send_time: None,
    audio_level: None,
    video_orientation: None,
    playout_delay: None,
    abs_capture_time: None,
    dependency_descriptor: None,
};

/// Which way an offer wants media to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To play, and what is sent back.
    Receive(Feedback),
    /// To publish, with the SSRCs of sound and pictures.
    Send([u32; 2]),
}

/// An offer and the credentials in it.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    pub(super) sdp: String,
}

impl Offer {
    pub(super) fn new(fingerprint: &str, cipher: Cipher, wish: Wish) -> Self {
        let ufrag = format!("{:08x}", rand::random::<u32>());
        let pwd = format!("{:032x}", rand::random::<u128>());
        // Only the active side of DTLS can narrow the SRTP profiles down.
        let setup = if cipher == Cipher::Any { "actpass" } else { "active" };
        let session: u64 = rand::random::<u64>() >> 2;
        let transport = format!(
            "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n"
        );
        let (audio, video) = match wish {
            Wish::Receive(feedback) => ("a=recvonly\r\n".to_owned(), receiving(feedback)),
            Wish::Send([audio, video]) => (sending(audio, OPUS_PT), sending(video, H264_PT) + &nack()),
        };
        let rtx = matches!(wish, Wish::Receive(Feedback { rtx: true, .. }));
        let formats = if rtx { format!("{H264_PT} {RTX_PT}") } else { H264_PT.to_string() };
        let rtx = if rtx { format!("a=rtpmap:{RTX_PT} rtx/90000\r\na=fmtp:{RTX_PT} apt={H264_PT}\r\n") } else { String::new() };
        let sdp = format!(
            "v=0\r\no=- {session} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {AUDIO_MID} {VIDEO_MID}\r\n\
             a=msid-semantic: WMS bench\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF {OPUS_PT}\r\n{transport}a=mid:{AUDIO_MID}\r\n{audio}\
             a=rtpmap:{OPUS_PT} opus/48000/2\r\na=fmtp:{OPUS_PT} minptime=10;useinbandfec=1\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {formats}\r\n{transport}a=mid:{VIDEO_MID}\r\n{video}\
             a=rtpmap:{H264_PT} H264/90000\r\n\
             a=fmtp:{H264_PT} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n{rtx}"
        );
        Self { ufrag, pwd, sdp }
    }
}

fn nack() -> String {
    format!("a=rtcp-fb:{H264_PT} nack\r\na=rtcp-fb:{H264_PT} nack pli\r\n")
}

fn receiving(feedback: Feedback) -> String {
    let mut lines = "a=recvonly\r\n".to_owned();
    if feedback.nack {
        lines += &format!("a=rtcp-fb:{H264_PT} nack\r\n");
    }
    if feedback.pli {
        lines += &format!("a=rtcp-fb:{H264_PT} nack pli\r\n");
    }
    if feedback.transport_cc {
        lines += &format!("a=rtcp-fb:{H264_PT} transport-cc\r\na=extmap:{TRANSPORT_CC} {TRANSPORT_CC_URI}\r\n");
    }
    lines
}

fn sending(ssrc: u32, payload_type: u8) -> String {
    format!(
        "a=sendonly\r\na=msid:bench bench{ssrc}\r\na=ssrc:{ssrc} cname:bench\r\na=rtcp-fb:{payload_type} transport-cc\r\n\
         a=extmap:{ABS_SEND_TIME} {ABS_SEND_TIME_URI}\r\na=extmap:{TRANSPORT_CC} {TRANSPORT_CC_URI}\r\n\
         a=extmap:{MID} {MID_URI}\r\n"
    )
}
