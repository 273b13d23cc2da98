//! A peer connection of webrtc-rs on a socket of its own. It receives H.264 and Opus, with that stack's
//! default interceptors: NACK, receiver reports, transport-wide feedback.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Instant,
};

use anyhow::Context as _;
use bytes::BytesMut;
use rtc::{
    dtls::extension::extension_use_srtp::SrtpProtectionProfile,
    interceptor::Registry,
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder,
        configuration::{
            interceptor_registry::register_default_interceptors,
            media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine},
            setting_engine::SettingEngineBuilder,
        },
        event::{RTCPeerConnectionEvent, RTCTrackEvent},
        message::{RTCMessage, TaggedRTCMessage},
        sdp::RTCSessionDescription,
        state::{RTCIceConnectionState, RTCPeerConnectionState},
        transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate},
    },
    rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication,
    rtp,
    rtp_transceiver::{
        RTCRtpReceiverId,
        rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind},
    },
    sansio::Protocol as _,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol},
};
use tokio::net::UdpSocket;

use super::super::{
    answer::Answer,
    offer::{H264_PT, OPUS_PT},
};
use crate::{
    clients::{Cipher, crew::Failure},
    measure::Stage,
};

/// Datagrams read before their packets are counted: four keyframes of a 600 kb/s stream.
const DATAGRAMS_MAX: usize = 256;
/// No datagram of a server is longer: an Ethernet frame holds less.
const DATAGRAM_LEN_MAX: usize = 2_048;

/// A connection whose offer is on its way.
pub(super) struct Offered {
    pc: RTCPeerConnection,
    sdp: String,
}

impl Offered {
    pub(super) fn new(cipher: Cipher) -> anyhow::Result<Self> {
        let mut engine = MediaEngine::default();
        engine.register_codec(opus(), RtpCodecKind::Audio)?;
        engine.register_codec(h264(), RtpCodecKind::Video)?;
        let registry = register_default_interceptors(Registry::new(), &mut engine)?;
        let builder = RTCPeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(SettingEngineBuilder::new().with_srtp_protection_profiles(profiles(cipher)).build());
        let now = Instant::now();
        let mut pc = builder.build(now).context("no peer connection")?;
        for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
            pc.add_transceiver_from_kind(kind, None)?;
        }
        let offer = pc.create_offer(None).context("no offer")?;
        let sdp = offer.sdp.clone();
        pc.set_local_description(now, offer)?;
        Ok(Self { pc, sdp })
    }

    pub(super) fn sdp(&self) -> &str {
        &self.sdp
    }

    /// Takes the answer, and a socket that its best candidate can be reached from.
    pub(super) async fn accept(self, sdp: &str, answer: &Answer, source: Option<IpAddr>) -> Result<Peer, Failure> {
        let no_socket = |error: std::io::Error| Failure::new(Stage::Ice, format!("no socket: {error}"));
        let best = answer.candidates.first().map(|candidate| candidate.addr);
        let best = best.ok_or_else(|| Failure::new(Stage::Sdp, "no candidate in the answer"))?;
        let ip = match source {
            Some(ip) => ip,
            None => way_to(best).await.map_err(no_socket)?,
        };
        let socket = UdpSocket::bind((ip, 0)).await.map_err(no_socket)?;
        let local = socket.local_addr().map_err(no_socket)?;
        let mut pc = self.pc;
        settle(&mut pc, sdp, local).map_err(|error| Failure::of(Stage::Sdp, &error))?;
        Ok(Peer {
            pc,
            socket,
            local,
            state: RTCPeerConnectionState::New,
            checked: false,
            receivers: Vec::new(),
            buffer: vec![0; DATAGRAM_LEN_MAX].into_boxed_slice(),
        })
    }
}

/// The connection's own address, and the server's side.
fn settle(pc: &mut RTCPeerConnection, sdp: &str, local: SocketAddr) -> anyhow::Result<()> {
    let base_config = CandidateConfig {
        network: "udp".to_owned(),
        address: local.ip().to_string(),
        port: local.port(),
        component: 1,
        ..Default::default()
    };
    let candidate = CandidateHostConfig { base_config, ..Default::default() }.new_candidate_host()?;
    pc.add_local_candidate(RTCIceCandidate::from(&candidate).to_json()?)?;
    let answer = RTCSessionDescription::answer(sdp.to_owned()).context("the answer")?;
    pc.set_remote_description(Instant::now(), answer).context("the answer does not fit the offer")
}

/// The address that the kernel sends from to `remote`.
async fn way_to(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind((any, 0)).await?;
    probe.connect(remote).await?;
    Ok(probe.local_addr()?.ip())
}

/// See the module.
pub(super) struct Peer {
    pc: RTCPeerConnection,
    socket: UdpSocket,
    local: SocketAddr,
    state: RTCPeerConnectionState,
    /// The server has answered a check.
    checked: bool,
    /// Who receives which SSRC: one entry for each of the two media.
    receivers: Vec<(RTCRtpReceiverId, u32)>,
    buffer: Box<[u8]>,
}

impl Peer {
    /// Does what there is to do, without waiting.
    pub(super) fn turn(&mut self, now: Instant) {
        for _ in 0..DATAGRAMS_MAX {
            let Ok((len, peer_addr)) = self.socket.try_recv_from(&mut self.buffer) else { break };
            let transport =
                TransportContext { local_addr: self.local, peer_addr, ecn: None, transport_protocol: TransportProtocol::UDP };
            let message = BytesMut::from(self.buffer.get(..len).unwrap_or_default());
            // What it cannot use it drops, and then counts it as lost like anybody else.
            let _dropped = self.pc.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
            // The keys are there once their event has been taken: media may follow in the next datagram.
            self.drain();
        }
        if self.pc.poll_timeout().is_some_and(|at| at <= now) {
            let _ignored = self.pc.handle_timeout(now);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(out) = self.pc.poll_write() {
            // A socket without room loses it as a network would.
            let _sent = self.socket.try_send_to(&out.message, out.transport.peer_addr);
        }
        while let Some(event) = self.pc.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => self.state = state,
                RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(
                    RTCIceConnectionState::Connected | RTCIceConnectionState::Completed,
                ) => self.checked = true,
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(track)) => {
                    self.receivers.retain(|(id, _)| *id != track.receiver_id);
                    self.receivers.push((track.receiver_id, track.ssrc));
                }
                _ => {}
            }
        }
    }

    /// A packet that the stack hands on, and when it came.
    pub(super) fn poll_packet(&mut self) -> Option<(Instant, rtp::Packet)> {
        while let Some(TaggedRTCMessage { now, message }) = self.pc.poll_read() {
            if let RTCMessage::RtpPacket(_, packet) = message {
                return Some((now, packet));
            }
        }
        None
    }

    /// When [`Peer::turn`] has something to do.
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        self.pc.poll_timeout()
    }

    /// Waits until a datagram is there.
    pub(super) async fn readable(&self) {
        // An error is the socket's own; the watch sees that nothing comes.
        let _ready = self.socket.readable().await;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == RTCPeerConnectionState::Connected
    }

    /// Asks for a keyframe of the stream `ssrc`.
    pub(super) fn ask_for_keyframe(&mut self, now: Instant, ssrc: u32) {
        let Some((id, _)) = self.receivers.iter().find(|(_, other)| *other == ssrc) else { return };
        if let Some(mut receiver) = self.pc.rtp_receiver(*id) {
            let _sent = receiver.write_rtcp(now, vec![Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc: ssrc })]);
        }
        self.drain();
    }

    /// Why the stack has given up, if it has.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self.state {
            RTCPeerConnectionState::Failed if self.checked => Some(Failure::new(Stage::Dtls, "the connection failed")),
            RTCPeerConnectionState::Failed => Some(Failure::new(Stage::Ice, "no candidate pair works")),
            RTCPeerConnectionState::Closed => Some(Failure::new(Stage::Ended, "the server closed the session (DTLS)")),
            _ => None,
        }
    }

    /// What it waits for, should it wait no longer.
    pub(super) fn lateness(&self) -> Failure {
        match self.checked {
            true => Failure::new(Stage::Dtls, "the handshake did not end"),
            false => Failure::new(Stage::Ice, "no answer to checks"),
        }
    }

    /// Says goodbye (close_notify).
    pub(super) fn close(&mut self) {
        let _closed = self.pc.close();
        self.drain();
    }
}

fn profiles(cipher: Cipher) -> Vec<SrtpProtectionProfile> {
    let (gcm, cm80) = (SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm, SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80);
    match cipher {
        Cipher::Any => vec![gcm, cm80],
        Cipher::Gcm => vec![gcm],
        Cipher::Cm80 => vec![cm80],
    }
}

fn opus() -> RTCRtpCodecParameters {
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
        rtcp_feedback: Vec::new(),
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: OPUS_PT }
}

fn h264() -> RTCRtpCodecParameters {
    let feedback = |parameter: &str| RTCPFeedback { typ: "nack".to_owned(), parameter: parameter.to_owned() };
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: vec![feedback(""), feedback("pli")],
    };
    RTCRtpCodecParameters { rtp_codec, payload_type: H264_PT }
}
