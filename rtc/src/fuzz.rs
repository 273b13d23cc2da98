//! What the network reaches first, each as one function of any bytes: for the fuzzer (`fuzz/`) and
//! for the test that replays its corpora. No interface for anybody else.
//!
//! A function returns whatever it is given; what must hold of its answer it asserts.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::{
    dtls::{self, Identity},
    sdp::{Direction, IceCredentials, LocalParams, SessionParams, counter_offer, negotiate, take_answer},
    session::{Session, SessionConfig},
    wire::{
        demux::{Class, classify},
        dependency::Dependencies,
        ext,
        framing::{Deframer, FRAME_MAX, HEADER_LEN},
        rtcp::{self, Rtcp},
        rtp,
        stun::{self, IntegrityKey},
    },
};

/// Takes whatever it is given.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("stun", stun),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("sdp", sdp),
    ("hello", hello),
    ("framing", framing),
    ("dependency", dependency),
    ("session", session),
];

/// The password that the corpus of `stun` is signed with.
pub const PASSWORD: &str = "0123456789abcdef0123456789abcdef";

/// A STUN message: parsed, checked, and asked for whom it is.
pub fn stun(data: &[u8]) {
    static KEY: OnceLock<IntegrityKey> = OnceLock::new();
    let named = stun::peek_username(data);
    let Ok(message) = stun::Message::parse(data) else { return };
    assert_eq!(classify(data), Class::Stun);
    let key = KEY.get_or_init(|| IntegrityKey::new(PASSWORD));
    assert!(!message.verify(key) || message.has_integrity());
    let asks = message.class == stun::Class::Request;
    assert!(!asks || message.username.is_none() || message.username == named, "the table is asked for who signed");
}

/// Dependency descriptors of one stream, each behind a byte that is its length.
pub fn dependency(mut data: &[u8]) {
    let mut dependencies = Dependencies::default();
    while let Some((len, rest)) = data.split_first() {
        let (descriptor, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        let place = dependencies.read(descriptor);
        assert!(place.is_none_or(|place| place.layer <= 7 && place.needed >= 0x80), "the whole needs every frame");
        data = rest;
    }
}

/// An RTP packet with its header extensions, which are written again and read again.
pub fn rtp(data: &[u8]) {
    let Ok(packet) = rtp::Packet::parse(data) else { return };
    assert!(packet.header.len + packet.payload.len() <= data.len());
    let values = ext::Values::read(&packet.header.extensions, &IDS);
    let fields = rtp::Fields { payload_type: 96, ..rtp::Fields::default() };
    let mut out = [0; 1_500];
    let Some(len) = fields.emit_with(false, &values, &IDS, &mut out) else { return };
    let again = rtp::Header::parse(out.get(..len).unwrap_or_default()).map(|header| ext::Values::read(&header.extensions, &IDS));
    assert_eq!(again, Ok(values), "what is written is read back");
}

/// A compound RTCP packet, walked to its last element.
pub fn rtcp(data: &[u8]) {
    for packet in rtcp::Compound::new(data) {
        let elements = match packet {
            Rtcp::Sr(report) => report.blocks().count(),
            Rtcp::Rr(report) => report.blocks().count(),
            Rtcp::Sdes(source) => source.cnames().count(),
            Rtcp::Bye(bye) => bye.ssrcs().count(),
            Rtcp::Nack(nack) => nack.lost().count(),
            Rtcp::Fir(request) => request.entries().count(),
            Rtcp::Remb(estimate) => estimate.ssrcs().count(),
            Rtcp::TransportFeedback(feedback) => feedback.arrivals().count(),
            Rtcp::Pli { .. } | Rtcp::Other { .. } => 0,
        };
        assert!(elements <= usize::from(u16::MAX));
    }
}

/// An SDP offer, asked both ways. What is answered can be negotiated about again by nobody, but has
/// a section for each of the offer.
pub fn sdp(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for direction in [Direction::Publish, Direction::Play] {
        let Ok((answer, params)) = negotiate(text, direction, &local()) else { continue };
        assert!((1..=2).contains(&params.media.len()) && !params.remote_fingerprints.is_empty());
        assert!(answer.lines().any(|line| line.starts_with("a=candidate:")));
        assert!(answer.lines().all(|line| line.len() >= 2 && line.as_bytes().get(1) == Some(&b'=')), "lines of SDP only");
    }
    // And as the answer to an offer of ours.
    let Ok((_, offered)) = counter_offer(&local()) else { return };
    if let Ok(params) = take_answer(text, &offered, None) {
        assert!((1..=2).contains(&params.media.len()) && !params.remote_fingerprints.is_empty());
    }
}

/// A datagram of a DTLS client's first flight, up to the SRTP profiles of its ClientHello.
pub fn hello(data: &[u8]) {
    dtls::look(data);
}

/// A stream of framed datagrams, whole and in pieces.
pub fn framing(data: &[u8]) {
    let split = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut deframer, mut frames) = (Deframer::default(), Vec::new());
        for piece in pieces {
            let fed = deframer.feed(&mut piece.to_vec(), |frame| {
                assert!((1..=FRAME_MAX).contains(&frame.len()));
                frames.push(frame.to_vec());
                true
            });
            assert!(deframer.held() < HEADER_LEN + FRAME_MAX);
            if fed.is_err() {
                return (frames, true);
            }
            assert_eq!(fed, Ok(piece.len()));
        }
        (frames, false)
    };
    let whole = split(&mut std::iter::once(data));
    // The first byte says where to cut.
    let step = usize::from(data.first().copied().unwrap_or(0)) % 97 + 1;
    assert_eq!(whole, split(&mut data.chunks(step)));
    assert_eq!(whole, split(&mut data.chunks(1)));
}

/// Framed RTP and RTCP in plain text, to a publisher's session and to a viewer's.
pub fn session(data: &[u8]) {
    static PARAMS: OnceLock<Option<[SessionParams; 2]>> = OnceLock::new();
    static IDENTITY: OnceLock<Option<Identity>> = OnceLock::new();
    let made = PARAMS.get_or_init(|| {
        let of = |direction| negotiate(OFFER, direction, &local()).map(|(_, params)| params).ok();
        Some([of(Direction::Publish)?, of(Direction::Play)?])
    });
    let identity = IDENTITY.get_or_init(|| Identity::generate().ok());
    let (Some(made), Some(identity)) = (made, identity) else { panic!("the offer is good, and so is the identity") };
    let start = *START.get_or_init(Instant::now);
    let config = SessionConfig::new(start, Duration::from_secs(1_700_000_000));
    for params in made {
        let mut session = Session::new(params.clone(), identity, &config, start, start, "fuzz");
        let (mut now, mut packets) = (start, Vec::new());
        let _too_long = Deframer::default().feed(&mut data.to_vec(), |frame| {
            now += Duration::from_millis(7);
            session.handle_plain(now, frame);
            session.take_packets(&mut packets);
            while session.poll_output().is_some() {}
            true
        });
        assert!(packets.len() <= data.len());
    }
}

static START: OnceLock<Instant> = OnceLock::new();

const IDS: ext::ExtensionIds = ext::ExtensionIds {
    mid: Some(1),
    rid: Some(2),
    repaired_rid: Some(13),
    transport_cc: Some(3),
    abs_send_time: Some(4),
    audio_level: Some(5),
    video_orientation: Some(6),
    playout_delay: Some(7),
    abs_capture_time: Some(8),
    dependency_descriptor: Some(9),
};

fn local() -> LocalParams<'static> {
    const CANDIDATES: &[SocketAddr] = &[SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_000)];
    LocalParams {
        ice: IceCredentials { ufrag: "weirfrag".to_owned(), pwd: PASSWORD.to_owned() },
        fingerprint: "AA:BB:CC",
        candidates: CANDIDATES,
        tcp_candidates: CANDIDATES,
        session_id: 1,
        audio_ssrc: 1_111,
        video_ssrc: 2_222,
        rtx_ssrc: 3_333,
        stream_id: "live/livestream",
        prefer: None,
        codec: None,
        terms: crate::sdp::Terms::default(),
    }
}

/// Opus 111 and H.264 106 with RTX 107 and the extensions of [`IDS`].
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:5 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 106 107\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\na=extmap:6 urn:3gpp:video-orientation\r\n\
    a=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\na=rtcp-fb:106 nack pli\r\na=rtcp-fb:106 transport-cc\r\n\
    a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
    a=rtpmap:107 rtx/90000\r\na=fmtp:107 apt=106\r\n";
