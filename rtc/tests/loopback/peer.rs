//! An independent WebRTC peer (webrtc-rs's sans-IO core) on a loopback socket of its own.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use crate::wire::{Tcp, Wire};
use bytes::{Bytes, BytesMut};
use rtc::{
    interceptor::Registry,
    media_stream::MediaStreamTrack,
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder,
        configuration::{
            interceptor_registry::register_default_interceptors,
            media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine},
        },
        event::RTCPeerConnectionEvent,
        message::{RTCMessage, TaggedRTCMessage},
        sdp::RTCSessionDescription,
        state::RTCPeerConnectionState,
        transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate},
    },
    rtp,
    rtp_transceiver::{
        RTCRtpSenderId,
        rtp_sender::{
            RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
        },
    },
    sansio::Protocol,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol},
};
use weir_rtc::{
    Opened,
    wire::stun::{IntegrityKey, Request, Role, TransactionId},
};

const AUDIO_PT: u8 = 111;
const VIDEO_PT: u8 = 125;

/// One RTP packet as a viewer got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Bytes,
}

pub(crate) struct Peer {
    pc: RTCPeerConnection,
    wire: Wire,
    /// What the connection believes to be its address, though a NAT may have moved it.
    local: SocketAddr,
    /// When its first check since it moved went out.
    pub(crate) checked: Option<Instant>,
    /// It makes no checks any more.
    pub(crate) is_mute: bool,
    /// It answers no checks any more.
    pub(crate) is_deaf: bool,
    /// The user name and the key for checks that do not nominate.
    plain: Option<(String, IntegrityKey)>,
    pub(crate) state: RTCPeerConnectionState,
    pub(crate) got: Vec<Got>,
    senders: HashMap<u8, (RTCRtpSenderId, u32)>,
    pub(crate) sequences: HashMap<u8, u16>,
}

impl Peer {
    /// A peer that will send H.264 and Opus.
    pub(crate) fn publisher() -> Self {
        Self::new().sending()
    }

    /// The same, over TCP.
    pub(crate) fn tcp_publisher() -> Self {
        Self::new().over_tcp().sending()
    }

    /// As [`Peer::viewer`], over TCP.
    pub(crate) fn tcp_viewer() -> Self {
        Self::viewer().over_tcp()
    }

    fn over_tcp(mut self) -> Self {
        self.wire = Wire::Unconnected;
        self
    }

    fn sending(mut self) -> Self {
        let peer = &mut self;
        for (kind, payload_type, ssrc) in [(RtpCodecKind::Audio, AUDIO_PT, 1111), (RtpCodecKind::Video, VIDEO_PT, 2222)] {
            let encoding = RTCRtpEncodingParameters {
                rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() },
                codec: codec(payload_type).rtp_codec,
                ..Default::default()
            };
            let track =
                MediaStreamTrack::new("stream".into(), format!("track-{payload_type}"), "label".into(), kind, vec![encoding]);
            let sender = peer.pc.add_track(track).expect("a sender");
            peer.senders.insert(payload_type, (sender, ssrc));
        }
        self
    }

    /// A peer that will receive.
    pub(crate) fn viewer() -> Self {
        let mut peer = Self::new();
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            peer.pc.add_transceiver_from_kind(kind, None).expect("a transceiver");
        }
        peer
    }

    fn new() -> Self {
        let mut engine = MediaEngine::default();
        engine.register_codec(codec(AUDIO_PT), RtpCodecKind::Audio).expect("a codec");
        engine.register_codec(codec(VIDEO_PT), RtpCodecKind::Video).expect("a codec");
        let registry = register_default_interceptors(Registry::new(), &mut engine).expect("interceptors");
        let builder = RTCPeerConnectionBuilder::new().with_media_engine(engine).with_interceptor_registry(registry);
        let socket = bind();
        Self {
            pc: builder.build(Instant::now()).expect("a peer connection"),
            local: socket.local_addr().expect("bound"),
            wire: Wire::Udp(socket),
            checked: None,
            is_mute: false,
            is_deaf: false,
            plain: None,
            state: RTCPeerConnectionState::New,
            got: Vec::new(),
            senders: HashMap::new(),
            sequences: HashMap::new(),
        }
    }

    pub(crate) fn offer(&mut self) -> String {
        let offer = self.pc.create_offer(None).expect("an offer");
        self.pc.set_local_description(Instant::now(), offer.clone()).expect("a local description");
        self.add_candidate();
        offer.sdp
    }

    fn add_candidate(&mut self) {
        let base_config = CandidateConfig {
            network: "udp".to_owned(),
            address: self.local.ip().to_string(),
            port: self.local.port(),
            component: 1,
            ..Default::default()
        };
        let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host().expect("a candidate");
        let candidate = RTCIceCandidate::from(&candidate).to_json().expect("a candidate");
        self.pc.add_local_candidate(candidate).expect("a candidate");
    }

    pub(crate) fn answer(&mut self, sdp: &str) {
        // The connection knows UDP only: what it sends goes where the answer says, by TCP.
        let mut sdp = sdp.to_owned();
        if matches!(self.wire, Wire::Unconnected) {
            self.wire = Wire::connect(&sdp);
            sdp = sdp.replace(" 1 tcp ", " 1 udp ").replace(" tcptype passive", "");
        }
        let answer = RTCSessionDescription::answer(sdp).expect("an answer");
        self.pc.set_remote_description(Instant::now(), answer).expect("an answer that fits");
    }

    /// A peer that takes what the server offers, and its answer.
    pub(crate) fn answering(offer: &str) -> (Self, String) {
        let mut peer = Self::new();
        let offer = RTCSessionDescription::offer(offer.to_owned()).expect("an offer");
        peer.pc.set_remote_description(Instant::now(), offer).expect("an offer that can be read");
        let answer = peer.pc.create_answer(None).expect("an answer");
        peer.pc.set_local_description(Instant::now(), answer.clone()).expect("a local description");
        peer.add_candidate();
        (peer, answer.sdp)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state == RTCPeerConnectionState::Connected
    }

    /// From now on it is heard from another port, as behind a NAT that forgot it. What it was heard by.
    pub(crate) fn move_away(&mut self) -> Wire {
        let wire = match &self.wire {
            Wire::Tcp(tcp) => Wire::Tcp(Box::new(Tcp::to(tcp.server))),
            _ => Wire::Udp(bind()),
        };
        self.checked = None;
        std::mem::replace(&mut self.wire, wire)
    }

    /// From now on its checks do not nominate: some clients do so once only.
    pub(crate) fn nominate_no_more(&mut self, opened: &Opened) {
        let pwd = opened.answer.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).expect("a password");
        self.plain = Some((opened.username.clone(), IntegrityKey::new(pwd)));
    }

    /// A check of ours instead of the connection's, under its transaction.
    fn plain_check(&self, check: &[u8]) -> Option<Vec<u8>> {
        let (username, key) = self.plain.as_ref()?;
        let transaction = TransactionId(*check.get(8..)?.first_chunk()?);
        let request = Request { transaction, username, priority: 1, role: Role::Controlling(1), use_candidate: false };
        let mut out = vec![0; 600];
        let len = request.emit(key, &mut out)?;
        out.truncate(len);
        Some(out)
    }

    /// Sends a datagram that the connection knows nothing of.
    pub(crate) fn send_raw(&mut self, data: &[u8]) {
        self.wire.send_to(data, self.local);
    }

    pub(crate) fn close(&mut self) {
        self.pc.close().expect("it closes");
        self.drain();
    }

    /// Sends one packet of the stream with this payload type.
    pub(crate) fn send(&mut self, video: bool, timestamp: u32, marker: bool, payload: Bytes) {
        let payload_type = if video { VIDEO_PT } else { AUDIO_PT };
        let (sender, ssrc) = self.senders[&payload_type];
        let sequence = self.sequences.entry(payload_type).or_insert(65_530);
        let header = rtp::header::Header {
            version: 2,
            marker,
            payload_type,
            sequence_number: *sequence,
            timestamp,
            ssrc,
            ..Default::default()
        };
        *sequence = sequence.wrapping_add(1);
        let packet = rtp::Packet { header, payload };
        self.pc.rtp_sender(sender).expect("a sender").write_rtp(Instant::now(), packet).expect("it is sent");
    }

    /// Does what there is to do, without waiting.
    pub(crate) fn step(&mut self) {
        let mut buffer = [0; 2_000];
        while let Some((len, peer_addr)) = self.wire.recv_from(&mut buffer) {
            let transport =
                TransportContext { local_addr: self.local, peer_addr, ecn: None, transport_protocol: TransportProtocol::UDP };
            let message = BytesMut::from(&buffer[..len]);
            let _ignored = self.pc.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            // Keys are only in place once events were taken: media may follow at once.
            self.drain();
        }
        if self.pc.poll_timeout().is_some_and(|at| at <= Instant::now()) {
            let _ignored = self.pc.handle_timeout(Instant::now());
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(message) = self.pc.poll_write() {
            let mut plain = None;
            // RFC 8489 section 5: a success response.
            if message.message.starts_with(&[1, 1]) && self.is_deaf {
                continue;
            }
            // RFC 8489 section 5: a Binding request.
            if message.message.starts_with(&[0, 1]) {
                if self.is_mute {
                    continue;
                }
                self.checked.get_or_insert_with(Instant::now);
                plain = self.plain_check(&message.message);
            }
            let data = plain.as_deref().unwrap_or(&message.message);
            self.wire.send_to(data, message.transport.peer_addr);
        }
        while let Some(event) = self.pc.poll_event() {
            if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
                self.state = state;
            }
        }
        while let Some(TaggedRTCMessage { message, .. }) = self.pc.poll_read() {
            if let RTCMessage::RtpPacket(_, packet) = message {
                self.got.push(Got {
                    payload_type: packet.header.payload_type,
                    sequence: packet.header.sequence_number,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    payload: packet.payload,
                });
            }
        }
    }
}

/// Lets all peers run until `done`, for ten seconds at most.
pub(crate) fn run_until(peers: &mut [&mut Peer], what: &str, mut done: impl FnMut(&mut [&mut Peer]) -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !done(peers) {
        assert!(Instant::now() < limit, "in vain: {what}");
        peers.iter_mut().for_each(|peer| peer.step());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets all peers run for a while.
pub(crate) fn run_for(peers: &mut [&mut Peer], span: Duration) {
    let limit = Instant::now() + span;
    run_until(peers, "time passes", |_| Instant::now() >= limit);
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("non-blocking");
    socket
}

fn codec(payload_type: u8) -> RTCRtpCodecParameters {
    let feedback = |parameter: &str, typ: &str| RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
    let rtp_codec = if payload_type == VIDEO_PT {
        RTCRtpCodec {
            mime_type: MIME_TYPE_H264.to_owned(),
            clock_rate: 90_000,
            channels: 0,
            sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
            rtcp_feedback: vec![feedback("fir", "ccm"), feedback("", "nack"), feedback("pli", "nack")],
        }
    } else {
        RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: vec![],
        }
    };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}
