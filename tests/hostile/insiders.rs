//! Peers that are what they say and have the keys, and then send what no honest peer would: RTP
//! headers and H.264 that lie, RTCP that floods.

use std::time::{Duration, Instant};

use weir_rtc::{
    dtls::KeyingMaterial,
    srtp::Protect,
    wire::demux::{Class, classify},
};

use super::{
    Arena,
    bombs::{HLS_STREAM_RTC, flv_tags, read_for},
    http::get,
    noise::Noise,
    rtc::{Peer, watch},
    rtmp::{AUDIO, VIDEO},
};

const VIDEO_TYPE: u8 = 96;
const AUDIO_TYPE: u8 = 111;
/// RTP payload in one packet.
const PAYLOAD_BYTES: usize = 1_000;

/// Sends sealed packets.
struct Sender<'a> {
    peer: &'a Peer,
    protect: Protect,
    sequences: [u64; 2],
}

impl<'a> Sender<'a> {
    fn new(peer: &'a Peer, keys: &KeyingMaterial) -> Self {
        let protect = Protect::new(keys.profile, &keys.local_key, &keys.local_salt).expect("keys");
        Self { peer, protect, sequences: [0; 2] }
    }

    /// An RTP packet that is what it should be but for its payload.
    fn rtp(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) {
        let track = usize::from(payload_type == VIDEO_TYPE);
        let sequence = self.sequences[track];
        self.sequences[track] += 1;
        let mut header = vec![0x80, payload_type | u8::from(marker) << 7];
        header.extend_from_slice(&(sequence as u16).to_be_bytes());
        header.extend_from_slice(&timestamp.to_be_bytes());
        header.extend_from_slice(&(0x1000 + track as u32).to_be_bytes());
        self.raw((sequence >> 16) as u32, &header, payload);
    }

    fn raw(&self, roc: u32, header: &[u8], payload: &[u8]) {
        let mut out = [0; 2_048];
        // What our own side cannot seal is not sent.
        if let Some(len) = self.protect.rtp_into(roc, header, payload, &mut out) {
            self.send(&out[..len]);
        }
    }

    fn rtcp(&mut self, packet: &[u8]) {
        let mut out = Vec::new();
        if self.protect.rtcp(packet, &mut out) {
            self.send(&out);
        }
    }

    fn send(&self, bytes: &[u8]) {
        self.peer.socket.send_to(bytes, self.peer.server).expect("it is sent");
    }
}

/// A publisher whose pictures were tampered with after packetizing, and whose headers lie. Its
/// readers of every kind may see nothing; the session goes on: reports still come.
pub(crate) fn a_lying_webrtc_publisher_is_borne(arena: &Arena<'_>) {
    let pictures = packets(arena);
    assert!(pictures.len() > 30, "{} packets of the canary", pictures.len());
    let peer = Peer::publish(arena, HLS_STREAM_RTC);
    let keys = peer.connect();
    let mut sender = Sender::new(&peer, &keys);
    std::thread::scope(|scope| {
        scope.spawn(|| read_for(arena, &format!("/live/{HLS_STREAM_RTC}.flv"), Duration::from_secs(3)));
        scope.spawn(|| get(arena.server.http, &format!("/live/{HLS_STREAM_RTC}.m3u8")));
        scope.spawn(|| watch(arena, HLS_STREAM_RTC, Duration::from_secs(2)));
        let mut noise = Noise::new(0x10fe);
        for round in 0..10_u32 {
            for (marker, timestamp, payload) in &pictures {
                let mut payload = payload.clone();
                spoil(&mut noise, &mut payload, round);
                sender.rtp(VIDEO_TYPE, *marker, timestamp + round * 360_000, &payload);
                let len = noise.below(200);
                sender.rtp(AUDIO_TYPE, false, timestamp / 2 + round * 192_000, &noise.bytes(len));
            }
            lie_in_headers(&mut noise, &sender);
            lie_in_reports(&mut noise, &mut sender);
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let _what_was_queued = peer.hear(Duration::from_millis(200));
    let deadline = Instant::now() + Duration::from_secs(4);
    while !peer.hear(Duration::from_millis(200)).iter().any(|datagram| classify(datagram) == Class::Rtcp) {
        assert!(Instant::now() < deadline, "no report comes any more");
    }
    peer.leave();
}

/// The first round is honest. Then the first bytes, which say what a payload is, are changed, cut
/// away, or the ones of every structure there is.
fn spoil(noise: &mut Noise, payload: &mut Vec<u8>, round: u32) {
    const TYPES: [u8; 10] = [0, 24, 25, 26, 27, 28, 29, 30, 31, 7];
    match round % 5 {
        _ if round == 0 => {}
        0 => payload.truncate(noise.below(4)),
        1 => payload[0] = 0x60 | TYPES[noise.below(TYPES.len())],
        2 => {
            // STAP-A whose sizes lie.
            *payload = [vec![0x78], noise.bytes(30)].concat();
        }
        3 => {
            let at = noise.below(payload.len().min(12));
            payload[at] = noise.byte();
        }
        _ => payload.resize(noise.below(1_300), 0),
    }
}

/// Sources by the dozen, unknown payload types, extensions and paddings longer than the packet.
fn lie_in_headers(noise: &mut Noise, sender: &Sender<'_>) {
    for n in 0..60_u32 {
        let mut header = noise.bytes(12);
        header[0] = 0x80 | noise.byte() & 0x3f;
        header[1] = if n % 2 == 0 { VIDEO_TYPE } else { noise.byte() % 64 };
        let csrcs = usize::from(header[0] & 15) * 4;
        header.extend(noise.bytes(csrcs));
        if header[0] & 0x10 != 0 {
            let words = noise.below(6);
            header.extend_from_slice(&[[0xbe, 0xde], [0x10, 0]][noise.below(2)]);
            header.extend_from_slice(&(words as u16).to_be_bytes());
            header.extend(noise.bytes(words * 4));
        }
        let len = noise.below(40);
        sender.raw(0, &header, &noise.bytes(len));
    }
}

/// Reports and feedback of every type but BYE, whose counts and lengths lie.
fn lie_in_reports(noise: &mut Noise, sender: &mut Sender<'_>) {
    for _ in 0..100 {
        let words = 1 + noise.below(20);
        let mut packet = noise.bytes(4 + words * 4);
        packet[0] = 0x80 | noise.byte() & 0x1f;
        packet[1] = [200, 201, 202, 204, 205, 206, 207][noise.below(7)];
        let told = if noise.below(3) == 0 { noise.below(40) } else { words };
        packet[2..4].copy_from_slice(&(told as u16).to_be_bytes());
        sender.rtcp(&packet);
    }
}

/// A player that asks for everything again and again, and whose reports lie. It still sees the
/// canary, and gets no more for it than there is.
pub(crate) fn a_flooding_player_is_borne(arena: &Arena<'_>) {
    let peer = Peer::play(arena, "canary", None);
    let keys = peer.connect();
    let plain = peer.watch(&keys, Duration::from_secs(1));
    assert!(plain > 5, "it sees the canary: {plain}");
    let mut noise = Noise::new(0xf100d);
    let mut sender = Sender::new(&peer, &keys);
    for n in 0..300_u16 {
        let ssrc = noise.bytes(8);
        // Generic NACK of 16 runs of 17 (RFC 4585 section 6.2.1), PLI, FIR.
        let lost: Vec<u8> = (0..16_u16).flat_map(|k| [(n.wrapping_mul(16) + k * 17).to_be_bytes(), [0xff; 2]].concat()).collect();
        sender.rtcp(&[&[0x81, 205, 0, 18][..], &ssrc, &lost].concat());
        sender.rtcp(&[&[0x81, 206, 0, 2][..], &ssrc].concat());
        sender.rtcp(&[&[0x84, 206, 0, 4][..], &ssrc, &noise.bytes(8)].concat());
    }
    lie_in_reports(&mut noise, &mut sender);
    let flooded = peer.watch(&keys, Duration::from_secs(1));
    assert!(flooded > 5, "it still sees the canary: {flooded}");
    assert!(flooded < plain * 8 + 200, "{flooded} packets in a second instead of {plain}");
    peer.leave();
}

/// The canary's pictures as RFC 6184 packets: marker, timestamp, payload.
fn packets(arena: &Arena<'_>) -> Vec<(bool, u32, Vec<u8>)> {
    let mut packets = Vec::new();
    for (kind, millis, body) in flv_tags(arena) {
        if kind == AUDIO || body.len() < 5 {
            continue;
        }
        assert_eq!(kind, VIDEO);
        let timestamp = millis.wrapping_mul(90);
        if body[1] == 0 {
            packets.push((false, timestamp, parameter_sets(&body[5..])));
            continue;
        }
        let mut rest = &body[5..];
        while let Some((len, after)) = rest.split_first_chunk::<4>() {
            let len = (u32::from_be_bytes(*len) as usize).min(after.len());
            fragment(&after[..len], timestamp, after.len() == len, &mut packets);
            rest = &after[len..];
        }
    }
    packets
}

/// SPS and PPS of an AVCDecoderConfigurationRecord with one of each, in a STAP-A.
fn parameter_sets(config: &[u8]) -> Vec<u8> {
    let sps_end = 8 + usize::from(u16::from_be_bytes([config[6], config[7]]));
    let pps = &config[sps_end + 1..];
    let pps_end = 2 + usize::from(u16::from_be_bytes([pps[0], pps[1]]));
    [&[0x78][..], &config[6..sps_end], &pps[..pps_end]].concat()
}

/// One NAL unit alone or in FU-A.
fn fragment(nal: &[u8], timestamp: u32, is_last: bool, packets: &mut Vec<(bool, u32, Vec<u8>)>) {
    let Some((head, rest)) = nal.split_first() else { return };
    if nal.len() <= PAYLOAD_BYTES {
        packets.push((is_last, timestamp, nal.to_vec()));
        return;
    }
    let parts: Vec<&[u8]> = rest.chunks(PAYLOAD_BYTES).collect();
    for (n, part) in parts.iter().enumerate() {
        let (starts, ends) = (n == 0, n + 1 == parts.len());
        let fu = [head & 0xe0 | 28, head & 0x1f | u8::from(starts) << 7 | u8::from(ends) << 6];
        packets.push((is_last && ends, timestamp, [&fu[..], part].concat()));
    }
}
