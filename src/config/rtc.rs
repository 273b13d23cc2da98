//! `rtc` of a vhost: WebRTC, and the bridges to RTMP and back.

use std::time::Duration;

use weir_rtc::sdp::{DtlsRole, Terms};
use weir_web::{IceServer, IceServerError, WhipConfig};

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.rtc", "WebRTC"),
    Row::new("vhost.rtc.enabled", Kind::Flag, "off", "Let WebRTC clients in"),
    Row::new("vhost.rtc.rtmp_to_rtc", Kind::Flag, "off", "RTMP publishers reach WebRTC players"),
    Row::new("vhost.rtc.rtc_to_rtmp", Kind::Flag, "off", "WebRTC publishers reach RTMP, HTTP-FLV and HLS players"),
    Row::new("vhost.rtc.nack", Kind::Flag, "on", "Ask for lost packets and send them again, where the client does too"),
    Row::new("vhost.rtc.nack_no_copy", Kind::Flag, "on", "Without copying them").without_effect("packets are never copied"),
    Row::new("vhost.rtc.nack_prefer_rtx", Kind::Flag, "off", "On a stream of their own")
        .without_effect("they are where the client offers RTX"),
    Row::new("vhost.rtc.twcc", Kind::Flag, "on", "Transport feedback, where the client has it too"),
    Row::new(
        "vhost.rtc.stun_timeout",
        Kind::Seconds(1.0, 3_600.0),
        "30",
        "Seconds without a check that end a session, 13 to 30; less counts as 13, more as 30 (RFC 7675)",
    ),
    Row::new("vhost.rtc.stun_strict_check", Kind::Flag, "off", "Check what STUN says").without_effect("it is always checked"),
    Row::new(
        "vhost.rtc.dtls_role",
        Kind::Choice(&["passive", "active"]),
        "passive",
        "What we are in DTLS where the client leaves it open; active: we begin it",
    ),
    Row::new("vhost.rtc.dtls_version", Kind::Choice(&["auto", "dtls1.0", "dtls1.2"]), "auto", "Its version")
        .without_effect("DTLS 1.2 is spoken"),
    Row::new("vhost.rtc.drop_for_pt", Kind::Number(0, 127), "0", "A payload type to leave out, for debugging")
        .without_effect("nothing is left out"),
    Row::new("vhost.rtc.keep_bframe", Kind::Flag, "off", "Send B-frames to WebRTC players")
        .without_effect("they show B-frames in the wrong order, so these are left out"),
    Row::new(
        "vhost.rtc.keep_avc_nalu_sei",
        Kind::Flag,
        "on",
        "Send WebRTC players of an RTMP stream what stands beside its pictures (SEI); counts for those that begin later",
    ),
    Row::new(
        "vhost.rtc.pli_for_rtmp",
        Kind::Seconds(0.5, 30.0),
        "2",
        "Seconds from one request for a keyframe to the next, while RTMP, HTTP-FLV or HLS is played (SRS: 6)",
    ),
    Row::new(
        "vhost.rtc.opus_bitrate",
        Kind::Number(8_000, 320_000),
        "96000",
        "Bits per second of sound made for WebRTC players (SRS: 48000)",
    ),
    Row::new(
        "vhost.rtc.opus_frame",
        Kind::Choice(&["20", "40"]),
        "20",
        "Milliseconds of sound in a packet for WebRTC players of an RTMP stream; 40 halves the socket calls of many viewers at 25 \
         pictures a second (browsers and ffmpeg take it, aiortc does not)",
    ),
    Row::new(
        "vhost.rtc.aac_bitrate",
        Kind::Number(8_000, 320_000),
        "128000",
        "Bits per second of sound made for RTMP, HTTP-FLV and HLS players (SRS: 48000)",
    ),
    Row::new("vhost.rtc.init_rate_from_sdp", Kind::Flag, "off", "Take clock rates from the offer before the first report")
        .without_effect("they are taken from it"),
    Row::new("vhost.rtc.keep_original_ssrc", Kind::Flag, "off", "Give players the publisher's numbers")
        .without_effect("each stream has numbers of its own"),
    Row::new("vhost.rtc.trickle", Kind::Flag, "on", "Take a client's candidates by PATCH"),
    Row::new("vhost.rtc.ice_restart", Kind::Flag, "on", "Restart ICE by PATCH"),
    Row::new("vhost.rtc.whep_wait", Kind::Flag, "on", "Hold WebRTC players of a stream that nobody publishes; off: 409"),
    Row::new(
        "vhost.rtc.ice_server",
        Kind::Rules(ice_server),
        "",
        "A STUN or TURN server that clients are told of: its URL, then username= and credential=, or secret= and ttl=; may be repeated",
    ),
];

/// WebRTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtc {
    /// WebRTC clients are let in.
    pub enabled: bool,
    /// RTMP publishers reach WebRTC players.
    pub rtmp_to_rtc: bool,
    /// WebRTC publishers reach the others.
    pub rtc_to_rtmp: bool,
    /// What its sessions are granted.
    pub terms: Terms,
    /// Bits per second of sound made for WebRTC players.
    pub opus_bitrate: u32,
    /// Sound for WebRTC players goes two Opus frames a packet.
    pub opus_pairs: bool,
    /// WebRTC players of an RTMP stream get SEI.
    pub keep_sei: bool,
    /// Bits per second of sound made for the others.
    pub aac_bitrate: u32,
    /// From one request for a keyframe to the next.
    pub pli_for_rtmp: Duration,
    /// WHIP and WHEP.
    pub whip: WhipConfig,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Rtc {
    let view = settings.vhost(vhost, "vhost.rtc");
    Rtc {
        enabled: view.flag("enabled"),
        rtmp_to_rtc: view.flag("rtmp_to_rtc"),
        rtc_to_rtmp: view.flag("rtc_to_rtmp"),
        terms: Terms {
            nack: view.flag("nack"),
            transport_cc: view.flag("twcc"),
            dtls_role: if view.text("dtls_role") == "active" { DtlsRole::Active } else { DtlsRole::Passive },
            consent: view.seconds("stun_timeout"),
        },
        opus_bitrate: view.number("opus_bitrate"),
        opus_pairs: view.text("opus_frame") == "40",
        keep_sei: view.flag("keep_avc_nalu_sei"),
        aac_bitrate: view.number("aac_bitrate"),
        pli_for_rtmp: view.seconds("pli_for_rtmp"),
        whip: WhipConfig {
            trickle: view.flag("trickle"),
            ice_restart: view.flag("ice_restart"),
            whep_wait: view.flag("whep_wait"),
            ice_servers: view.entries("ice_server").iter().filter_map(|words| parse(words).ok()).collect(),
        },
    }
}

fn ice_server(words: &[String]) -> Result<(), String> {
    parse(words).map(|_| ()).map_err(|error| error.to_string())
}

fn parse(words: &[String]) -> Result<IceServer, IceServerError> {
    IceServer::parse(words.iter().map(String::as_str))
}
