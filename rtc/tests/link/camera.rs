//! A browser that publishes: numbered H.264 frames and Opus packets, answers to NACK and PLI.

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
    packets: u32,
    kept: BTreeMap<u64, (Vec<u8>, Vec<u8>)>,
}

impl Track {
    fn send(&mut self, client: &mut Client, fields: Fields, mid: &str, transport_seq: &mut u16, payload: Vec<u8>) {
        let values = Values { mid: Some(mid), transport_seq: Some(*transport_seq), ..Values::default() };
        *transport_seq = transport_seq.wrapping_add(1);
        let ids = ExtensionIds { mid: Some(MID), transport_cc: Some(TRANSPORT_CC), ..ExtensionIds::default() };
        let mut header = [0; 64];
        let fields = Fields { sequence: self.index as u16, ssrc: self.ssrc, ..fields };
        let len = fields.emit_with(false, &values, &ids, &mut header).unwrap();
        client.send_rtp(self.index, &header[..len], &payload);
        self.kept.insert(self.index, (header[..len].to_vec(), payload));
        if self.kept.len() > KEEP {
            self.kept.pop_first();
        }
        self.index += 1;
        self.packets += 1;
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
        let track = |ssrc, index| Track { ssrc, index, packets: 0, kept: BTreeMap::new() };
        Self {
            start,
            video: track(ssrc, 65_000),
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
            self.audio.send(client, fields, "0", &mut self.transport_seq, payload);
            self.sounds += 1;
        }
        while Duration::from_millis(self.frames * 1_000 / FPS) + self.video_delay <= elapsed {
            self.send_frame(client);
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
            self.video.send(client, fields, "1", &mut self.transport_seq, label.write(900));
        }
        self.frames += 1;
    }

    /// The sender's wall clock runs on its own.
    fn report(&self, ms: u64, client: &mut Client) {
        let ntp = Ntp::from_unix(Duration::from_millis(1_500_000_000_000 + ms));
        let rtp_of = |origin: u32, rate: u64| origin.wrapping_add((ms * rate / 1_000) as u32);
        for (track, rtp_timestamp) in
            [(&self.video, rtp_of(Self::video_timestamp(0), 90_000)), (&self.audio, rtp_of(Self::audio_timestamp(0), 48_000))]
        {
            let mut data = Vec::new();
            let info = SenderInfo { ssrc: track.ssrc, ntp, rtp_timestamp, packets: track.packets, octets: 0 };
            rtcp::emit_sr(&info, &[], &mut data);
            rtcp::emit_sdes_cname(track.ssrc, "camera", &mut data);
            client.send_rtcp(&data);
        }
    }

    pub(crate) fn handle_rtcp(&mut self, data: &[u8], client: &mut Client) {
        for packet in Compound::new(data) {
            match packet {
                Rtcp::Nack(nack) => {
                    let track = if nack.media_ssrc == self.video.ssrc { &self.video } else { &self.audio };
                    for seq in nack.lost() {
                        self.nacked += 1;
                        track.resend(client, seq);
                    }
                }
                Rtcp::Pli { media_ssrc, .. } => {
                    assert_eq!(media_ssrc, self.video.ssrc);
                    self.plis += 1;
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
