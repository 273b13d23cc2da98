//! A browser that publishes: numbered frames and Opus packets, answers to NACK and PLI. One picture
//! in H.264, or several layers of it in VP8 with three temporal layers each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weir_rtc::wire::{
    Ntp,
    ext::{ExtensionIds, Values},
    rtcp::{self, Compound, Rtcp, SenderInfo},
    rtp::Fields,
};

use super::client::Client;

pub(crate) const VIDEO_PT: u8 = 96;
pub(crate) const AUDIO_PT: u8 = 111;
/// Ids of header extensions, as both sides' SDP would say.
pub(crate) const MID: u8 = 4;
pub(crate) const TRANSPORT_CC: u8 = 3;
pub(crate) const RID: u8 = 10;
/// Frames a second.
pub(crate) const FPS: u64 = 25;
const KEEP: usize = 2_000;

/// What a video packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) frame: u32,
    pub(crate) index: u16,
    pub(crate) count: u16,
    pub(crate) keyframe: bool,
}

/// How one of several layers looks. In the order of the offer, which is not that of quality.
pub(crate) struct Layer {
    pub(crate) rid: &'static str,
    pub(crate) size: (u16, u16),
    packets: u16,
}

/// About 2,200, 550 and 180 kb/s.
pub(crate) const LAYERS: [Layer; 3] = [
    Layer { rid: "m", size: (640, 360), packets: 3 },
    Layer { rid: "h", size: (1_280, 720), packets: 12 },
    Layer { rid: "l", size: (320, 180), packets: 1 },
];

/// What a VP8 packet of a layer says of its picture (RFC 7741 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vp8 {
    pub(crate) layer: u8,
    pub(crate) picture: u16,
    pub(crate) base: u8,
    pub(crate) key: u8,
    pub(crate) temporal: u8,
    pub(crate) sync: bool,
}

impl Vp8 {
    const LEN: usize = 6;

    fn write(self, label: Label, len: usize) -> Vec<u8> {
        let start = if label.index == 0 { 0x10 } else { 0 };
        let [high, low] = self.picture.to_be_bytes();
        let last = self.temporal << 6 | u8::from(self.sync) << 5 | self.key & 0x1f;
        let mut payload = vec![0x80 | start, 0xf0, high | 0x80, low, self.base, last];
        let (width, height) = LAYERS[usize::from(self.layer)].size;
        payload.extend([u8::from(!label.keyframe), 0, 0, 0x9d, 0x01, 0x2a]);
        payload.extend(width.to_le_bytes());
        payload.extend(height.to_le_bytes());
        payload.extend(label.frame.to_be_bytes());
        payload.extend(label.index.to_be_bytes());
        payload.extend(label.count.to_be_bytes());
        payload.push(self.layer);
        payload.resize(len.max(payload.len()), 0xab);
        payload
    }

    pub(crate) fn read(payload: &[u8]) -> (Self, Label) {
        let [first, _, high, low, base, last] = *payload.first_chunk::<{ Self::LEN }>().unwrap();
        assert_eq!((first & 0xef, payload[1]), (0x80, 0xf0), "a descriptor of the camera's");
        let rest = &payload[Self::LEN + 10..];
        let label = Label {
            frame: u32::from_be_bytes(rest[..4].try_into().unwrap()),
            index: u16::from_be_bytes(rest[4..6].try_into().unwrap()),
            count: u16::from_be_bytes(rest[6..8].try_into().unwrap()),
            keyframe: payload[Self::LEN] & 1 == 0,
        };
        let picture = u16::from_be_bytes([high & 0x7f, low]);
        let own = Self { layer: rest[8], picture, base, key: last & 0x1f, temporal: last >> 6, sync: last & 0x20 != 0 };
        (own, label)
    }
}

/// One of several layers.
struct Video {
    track: Track,
    on: bool,
    key_wanted: bool,
    keyframes: u64,
    since_key: u64,
    next: Vp8,
}

impl Label {
    fn write(self, len: usize) -> Vec<u8> {
        let first = self.keyframe && self.index == 0;
        let nal = if self.keyframe { 5 } else { 1 };
        let start = if self.index == 0 { 0x80 } else { 0 };
        let mut payload = if first { vec![24, 0, 9, 0x67] } else { vec![0x7c, start | nal, 0, 0] };
        payload.extend(self.frame.to_be_bytes());
        payload.extend(self.index.to_be_bytes());
        payload.extend(self.count.to_be_bytes());
        payload.resize(len.max(payload.len()), 0xab);
        payload
    }

    pub(crate) fn read(payload: &[u8]) -> Self {
        Self {
            keyframe: payload[0] == 24 || payload[1] & 0x1f == 5,
            frame: u32::from_be_bytes(payload[4..8].try_into().unwrap()),
            index: u16::from_be_bytes(payload[8..10].try_into().unwrap()),
            count: u16::from_be_bytes(payload[10..12].try_into().unwrap()),
        }
    }
}

struct Track {
    ssrc: u32,
    index: u64,
    kept: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
}

impl Track {
    fn send(
        &mut self,
        client: &mut Client,
        fields: Fields,
        names: (&str, Option<&str>),
        transport_seq: &mut u16,
        payload: Vec<u8>,
    ) {
        let (mid, rid) = (Some(names.0), names.1);
        let values = Values { mid, rid, transport_seq: Some(*transport_seq), ..Values::default() };
        *transport_seq = transport_seq.wrapping_add(1);
        let ids = ExtensionIds { mid: Some(MID), rid: Some(RID), transport_cc: Some(TRANSPORT_CC), ..ExtensionIds::default() };
        let mut header = [0; 64];
        let fields = Fields { sequence: self.index as u16, ssrc: self.ssrc, ..fields };
        let len = fields.emit_with(false, &values, &ids, &mut header).unwrap();
        client.send_rtp(self.index, &header[..len], &payload);
        self.kept.insert(self.index, (header[..len].to_vec(), payload));
        if self.kept.len() > KEEP {
            self.kept.pop_first();
        }
        self.index += 1;
    }

    fn resend(&self, client: &mut Client, wire_seq: u16) -> bool {
        let behind = (self.index as u16).wrapping_sub(wire_seq);
        let index = self.index - u64::from(behind);
        let Some((header, payload)) = self.kept.get(&index) else { return false };
        client.send_rtp(index, header, payload);
        true
    }
}

pub(crate) struct Camera {
    start: Instant,
    video: Track,
    /// With layers `video` is silent.
    layers: Vec<Video>,
    audio: Track,
    transport_seq: u16,
    /// Frames and sound packets made so far.
    pub(crate) frames: u64,
    pub(crate) sounds: u64,
    /// Frames from one keyframe to the next, unless asked.
    pub(crate) gop: u64,
    /// Packets of a frame between keyframes.
    pub(crate) delta_packets: u16,
    /// Frames and sound packets are labelled from here on.
    pub(crate) labels_from: u64,
    /// Pictures leave this much later than the sound of their moment.
    pub(crate) video_delay: Duration,
    since_key: u64,
    key_wanted: bool,
    pub(crate) keyframes: u64,
    next_report: u64,
    /// What the server asked for.
    pub(crate) nacked: u64,
    pub(crate) plis: u64,
    pub(crate) reports: Vec<(u32, u8, i32)>,
    pub(crate) feedbacks: u64,
}

impl Camera {
    pub(crate) fn new(start: Instant, ssrc: u32) -> Self {
        let track = |ssrc, index| Track { ssrc, index, kept: BTreeMap::new() };
        Self {
            start,
            video: track(ssrc, 65_000),
            layers: Vec::new(),
            audio: track(ssrc + 1, 12),
            transport_seq: 60_000,
            frames: 0,
            sounds: 0,
            gop: 250,
            delta_packets: 3,
            labels_from: 0,
            video_delay: Duration::ZERO,
            since_key: 0,
            key_wanted: true,
            keyframes: 0,
            next_report: 0,
            nacked: 0,
            plis: 0,
            reports: Vec::new(),
            feedbacks: 0,
        }
    }

    /// Sends layers from now on, those of `LAYERS`.
    pub(crate) fn split(&mut self) {
        let layer = |n: u8| Video {
            track: Track { ssrc: self.video.ssrc + 2 + u32::from(n), index: 100 + 1_000 * u64::from(n), kept: BTreeMap::new() },
            on: true,
            key_wanted: true,
            keyframes: 0,
            since_key: 0,
            next: Vp8 { layer: n, picture: 32_700 + u16::from(n) * 13, base: 250 + n, key: 28 + n, temporal: 0, sync: false },
        };
        self.layers = (0..LAYERS.len() as u8).map(layer).collect();
    }

    /// Sends a layer or not.
    pub(crate) fn turn(&mut self, rid: &str, on: bool) {
        let place = LAYERS.iter().position(|layer| layer.rid == rid).unwrap();
        let video = &mut self.layers[place];
        video.key_wanted |= on && !video.on;
        video.on = on;
    }

    /// Keyframes of a layer so far.
    pub(crate) fn keyframes_of(&self, rid: &str) -> u64 {
        self.layers[LAYERS.iter().position(|layer| layer.rid == rid).unwrap()].keyframes
    }

    fn send_layers(&mut self, client: &mut Client) {
        for (number, layer) in self.layers.iter_mut().enumerate().filter(|(_, layer)| layer.on) {
            let keyframe = std::mem::take(&mut layer.key_wanted);
            layer.keyframes += u64::from(keyframe);
            layer.since_key = if keyframe { 0 } else { layer.since_key + 1 };
            // T0 T2 T1 T2: the first T2 and T1 build on T0 alone.
            let (temporal, sync) = [(0, false), (2, true), (1, true), (2, false)][layer.since_key as usize % 4];
            let next = &mut layer.next;
            next.picture = (next.picture + 1) & 0x7fff;
            next.base = next.base.wrapping_add(u8::from(temporal == 0));
            next.key = (next.key + u8::from(keyframe)) & 0x1f;
            (next.temporal, next.sync) = (temporal, sync);
            let count = LAYERS[number].packets * if keyframe { 4 } else { 1 };
            for index in 0..count {
                let label = Label { frame: (self.labels_from + self.frames) as u32, index, count, keyframe };
                let fields = Fields {
                    marker: index + 1 == count,
                    payload_type: VIDEO_PT,
                    // Each layer's time begins elsewhere.
                    timestamp: Self::video_timestamp(self.frames).wrapping_add(1_000_000_007 * number as u32),
                    ..Fields::default()
                };
                let names = ("1", Some(LAYERS[number].rid));
                layer.track.send(client, fields, names, &mut self.transport_seq, next.write(label, 900));
            }
        }
        self.frames += 1;
    }

    fn video_timestamp(frame: u64) -> u32 {
        4_294_900_000u32.wrapping_add((frame * 90_000 / FPS) as u32)
    }

    fn audio_timestamp(sound: u64) -> u32 {
        77_000u32.wrapping_add((sound * 960) as u32)
    }

    pub(crate) fn poll(&mut self, now: Instant, client: &mut Client) {
        let elapsed = now.saturating_duration_since(self.start);
        while Duration::from_millis(self.sounds * 20) <= elapsed {
            let fields = Fields { payload_type: AUDIO_PT, timestamp: Self::audio_timestamp(self.sounds), ..Fields::default() };
            let payload = (self.labels_from + self.sounds).to_be_bytes().to_vec();
            self.audio.send(client, fields, ("0", None), &mut self.transport_seq, payload);
            self.sounds += 1;
        }
        while Duration::from_millis(self.frames * 1_000 / FPS) + self.video_delay <= elapsed {
            if self.layers.is_empty() {
                self.send_frame(client);
            } else {
                self.send_layers(client);
            }
        }
        let ms = elapsed.as_millis() as u64;
        if ms >= self.next_report {
            self.next_report = ms + 1_000;
            self.report(ms, client);
        }
    }

    fn send_frame(&mut self, client: &mut Client) {
        let keyframe = std::mem::take(&mut self.key_wanted) || self.since_key >= self.gop;
        self.since_key = if keyframe { 1 } else { self.since_key + 1 };
        self.keyframes += u64::from(keyframe);
        let count = if keyframe { 12 } else { self.delta_packets };
        for index in 0..count {
            let label = Label { frame: (self.labels_from + self.frames) as u32, index, count, keyframe };
            let fields = Fields {
                marker: index + 1 == count,
                payload_type: VIDEO_PT,
                timestamp: Self::video_timestamp(self.frames),
                ..Fields::default()
            };
            self.video.send(client, fields, ("1", None), &mut self.transport_seq, label.write(900));
        }
        self.frames += 1;
    }

    /// The sender's wall clock runs on its own.
    fn report(&self, ms: u64, client: &mut Client) {
        let ntp = Ntp::from_unix(Duration::from_millis(1_500_000_000_000 + ms));
        let rtp_of = |origin: u32, rate: u64| origin.wrapping_add((ms * rate / 1_000) as u32);
        let of_layer = |(n, layer): (u32, &Video)| (layer.track.ssrc, Self::video_timestamp(0).wrapping_add(1_000_000_007 * n));
        let mut tracks: Vec<(u32, u32, u64)> =
            (0..).zip(&self.layers).map(of_layer).map(|(ssrc, origin)| (ssrc, origin, 90_000)).collect();
        if tracks.is_empty() {
            tracks.push((self.video.ssrc, Self::video_timestamp(0), 90_000));
        }
        tracks.push((self.audio.ssrc, Self::audio_timestamp(0), 48_000));
        for (ssrc, origin, rate) in tracks {
            let rtp_timestamp = rtp_of(origin, rate);
            let mut data = Vec::new();
            let info = SenderInfo { ssrc, ntp, rtp_timestamp, packets: 0, octets: 0 };
            rtcp::emit_sr(&info, &[], &mut data);
            rtcp::emit_sdes_cname(ssrc, "camera", &mut data);
            client.send_rtcp(&data);
        }
    }

    pub(crate) fn handle_rtcp(&mut self, data: &[u8], client: &mut Client) {
        for packet in Compound::new(data) {
            match packet {
                Rtcp::Nack(nack) => {
                    let tracks = [&self.video, &self.audio].into_iter().chain(self.layers.iter().map(|layer| &layer.track));
                    let track = tracks.into_iter().find(|track| track.ssrc == nack.media_ssrc).expect("a stream of ours");
                    for seq in nack.lost() {
                        self.nacked += 1;
                        track.resend(client, seq);
                    }
                }
                Rtcp::Pli { media_ssrc, .. } => {
                    self.plis += 1;
                    match self.layers.iter_mut().find(|layer| layer.track.ssrc == media_ssrc) {
                        Some(layer) => layer.key_wanted = true,
                        None => assert_eq!(media_ssrc, self.video.ssrc),
                    }
                    self.key_wanted = true;
                }
                Rtcp::Rr(report) => {
                    self.reports.extend(report.blocks().map(|b| (b.ssrc, b.fraction_lost, b.cumulative_lost)));
                }
                Rtcp::TransportFeedback(feedback) => {
                    self.feedbacks += 1;
                    assert!(feedback.arrivals().any(|arrival| arrival.at_micros.is_some()));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}
