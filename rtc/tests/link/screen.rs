//! A browser that plays: puts frames together, asks for what is missing, shows what it can decode.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use weir_rtc::wire::{
    Ntp,
    rtcp::{self, Compound, ReportBlock, Rtcp, SenderInfo},
    rtp,
};

use super::{
    camera::{AUDIO_PT, Label, VIDEO_PT},
    client::Client,
};

pub(crate) const VIDEO_SSRC: u32 = 0xa1;
pub(crate) const AUDIO_SSRC: u32 = 0xa2;
pub(crate) const RTX_SSRC: u32 = 0xa3;
pub(crate) const RTX_PT: u8 = 97;
/// A picture that does not come within this needs a keyframe.
const PATIENCE: Duration = Duration::from_millis(400);

#[derive(Default)]
struct Frame {
    got: BTreeSet<u16>,
    count: u16,
    keyframe: bool,
    timestamp: u32,
}

impl Frame {
    fn is_whole(&self) -> bool {
        self.count > 0 && self.got.len() == usize::from(self.count)
    }
}

/// The viewer of a stream.
pub(crate) struct Screen {
    highest: Option<u64>,
    first_index: Option<u64>,
    missing: BTreeMap<u64, (Instant, u32)>,
    /// What came by retransmission: the original may still be on its way.
    repaired: BTreeSet<u64>,
    last_rtx: Option<u64>,
    frames: BTreeMap<u32, Frame>,
    shown: Option<(u32, u32)>,
    stuck_since: Option<Instant>,
    last_pli: Option<Instant>,
    last_rr: Option<Instant>,
    /// Frames shown, and jumps to a keyframe over frames that never became whole.
    pub(crate) frames_shown: u64,
    pub(crate) skips: u64,
    pub(crate) first_shown: Option<Instant>,
    pub(crate) first_frame: Option<u32>,
    pub(crate) plis: u64,
    pub(crate) nacks: u64,
    pub(crate) video_packets: u64,
    /// Packets of the retransmission stream.
    pub(crate) rtx_packets: u64,
    pub(crate) sounds: BTreeSet<u64>,
    pub(crate) sound_indices: BTreeSet<u64>,
    /// The last report and its arrival, by picture and sound.
    pub(crate) reports: [Option<(SenderInfo, Instant)>; 2],
    /// Wire timestamps by frame and by sound packet.
    pub(crate) stamps: [BTreeMap<u64, u32>; 2],
    pub(crate) cnames: BTreeSet<Vec<u8>>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self {
            highest: None,
            first_index: None,
            missing: BTreeMap::new(),
            repaired: BTreeSet::new(),
            last_rtx: None,
            rtx_packets: 0,
            frames: BTreeMap::new(),
            shown: None,
            stuck_since: None,
            last_pli: None,
            last_rr: None,
            frames_shown: 0,
            skips: 0,
            first_shown: None,
            first_frame: None,
            plis: 0,
            nacks: 0,
            video_packets: 0,
            sounds: BTreeSet::new(),
            sound_indices: BTreeSet::new(),
            reports: [None; 2],
            stamps: Default::default(),
            cnames: BTreeSet::new(),
        }
    }

    /// The newest frame that was shown.
    pub(crate) fn last_shown(&self) -> Option<u32> {
        self.shown.map(|(frame, _)| frame)
    }

    /// The newest number of the video stream.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.highest
    }

    /// Packets of the video stream between its first and its newest that have not come.
    pub(crate) fn holes(&self) -> usize {
        self.missing.len()
    }

    pub(crate) fn handle_rtp(&mut self, now: Instant, index: u64, data: &[u8]) {
        let packet = rtp::Packet::parse(data).unwrap();
        let fields = packet.header.fields;
        if fields.ssrc == AUDIO_SSRC {
            assert_eq!(fields.payload_type, AUDIO_PT);
            let sound = u64::from_be_bytes(packet.payload.try_into().unwrap());
            assert!(self.sounds.insert(sound), "one number, one packet");
            assert!(self.sound_indices.insert(index));
            self.stamps[1].insert(sound, fields.timestamp);
            return;
        }
        if fields.ssrc == RTX_SSRC {
            self.handle_rtx(now, index, &packet);
            return;
        }
        assert_eq!((fields.ssrc, fields.payload_type), (VIDEO_SSRC, VIDEO_PT));
        self.video_packets += 1;
        if !self.repaired.contains(&index) {
            self.handle_video(now, index, fields, packet.payload);
        }
    }

    /// RFC 4588 4: the original sequence number, then the original payload.
    fn handle_rtx(&mut self, now: Instant, index: u64, packet: &rtp::Packet<'_>) {
        let fields = packet.header.fields;
        assert_eq!(fields.payload_type, RTX_PT);
        assert!(self.last_rtx.is_some() || index < (1 << 15) + 100, "the roll-over counter starts at zero");
        self.last_rtx = self.last_rtx.max(Some(index));
        self.rtx_packets += 1;
        let (osn, payload) = packet.payload.split_first_chunk().expect("an original sequence number");
        let highest = self.highest.expect("a retransmission follows what it repeats");
        let behind = (highest as u16).wrapping_sub(u16::from_be_bytes(*osn));
        let original = highest - u64::from(behind);
        // Given up, or here already.
        if self.missing.contains_key(&original) {
            assert!(self.repaired.insert(original));
            self.handle_video(now, original, fields, payload);
        }
    }

    fn handle_video(&mut self, now: Instant, index: u64, fields: rtp::Fields, payload: &[u8]) {
        let first = *self.first_index.get_or_insert(index);
        assert!(first < (1 << 15) + 100, "the roll-over counter starts at zero");
        let from = self.highest.map_or(index, |highest| highest + 1);
        self.missing.extend((from..index).map(|missing| (missing, (now + Duration::from_millis(10), 0))));
        self.missing.remove(&index);
        self.highest = self.highest.max(Some(index));
        let label = Label::read(payload);
        assert_eq!(fields.marker, label.index + 1 == label.count);
        if self.shown.is_some_and(|(last, _)| label.frame <= last) {
            return;
        }
        let frame = self.frames.entry(label.frame).or_default();
        assert!(frame.got.insert(label.index), "each packet once: {label:?}");
        assert!(frame.got.len() == 1 || frame.timestamp == fields.timestamp, "one timestamp per frame");
        (frame.count, frame.keyframe, frame.timestamp) = (label.count, label.keyframe, fields.timestamp);
        self.stamps[0].insert(u64::from(label.frame), fields.timestamp);
        self.show(now);
    }

    /// Shows what can be decoded: the next frame, or a keyframe once the next one is hopeless.
    fn show(&mut self, now: Instant) {
        loop {
            let next = self.shown.map(|(frame, _)| frame + 1);
            let whole_next = next.filter(|next| self.frames.get(next).is_some_and(Frame::is_whole));
            let keyframe = || self.frames.iter().find(|(_, frame)| frame.keyframe && frame.is_whole()).map(|(n, _)| *n);
            let Some(number) = whole_next.or_else(keyframe) else { break };
            let frame = self.frames.remove(&number).unwrap();
            if let Some((last, timestamp)) = self.shown {
                assert!(number > last);
                assert!((frame.timestamp.wrapping_sub(timestamp) as i32) > 0, "time goes on");
                if number != last + 1 {
                    assert!(frame.keyframe);
                    self.skips += 1;
                }
            }
            self.shown = Some((number, frame.timestamp));
            self.first_shown.get_or_insert(now);
            self.first_frame.get_or_insert(number);
            self.frames_shown += 1;
            self.stuck_since = None;
            self.frames.retain(|other, _| *other > number);
            if frame.keyframe {
                // What is older is of no more use.
                let newest = self.highest.unwrap_or(0);
                self.missing.retain(|index, _| *index + 100 > newest);
            }
        }
    }

    pub(crate) fn poll(&mut self, now: Instant, client: &mut Client) {
        self.ask_again(now, client);
        let waiting = self.highest.is_some() && !self.frames.is_empty();
        if waiting {
            let since = *self.stuck_since.get_or_insert(now);
            let again = self.last_pli.is_none_or(|last| now - last >= Duration::from_millis(500));
            if now - since >= PATIENCE && again {
                self.last_pli = Some(now);
                self.plis += 1;
                let mut data = Vec::new();
                rtcp::emit_rr(9, &[], &mut data);
                rtcp::emit_pli(9, VIDEO_SSRC, &mut data);
                client.send_rtcp(&data);
            }
        }
        if self.last_rr.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.last_rr = Some(now);
            self.report(now, client);
        }
    }

    fn ask_again(&mut self, now: Instant, client: &mut Client) {
        let mut asked = Vec::new();
        self.missing.retain(|_, (_, tries)| *tries < 10);
        for (index, (due, tries)) in self.missing.iter_mut().filter(|(_, (due, _))| *due <= now).take(100) {
            *due = now + Duration::from_millis(60);
            *tries += 1;
            asked.push(*index as u16);
        }
        if !asked.is_empty() {
            self.nacks += asked.len() as u64;
            let mut data = Vec::new();
            rtcp::emit_nack(9, VIDEO_SSRC, asked, &mut data);
            client.send_rtcp(&data);
        }
    }

    fn report(&self, now: Instant, client: &mut Client) {
        let Some((info, at)) = self.reports[0] else { return };
        let block = ReportBlock {
            ssrc: VIDEO_SSRC,
            last_sr: info.ntp.middle(),
            delay_since_last_sr: weir_rtc::wire::ntp::short(now - at),
            ..ReportBlock::default()
        };
        let mut data = Vec::new();
        rtcp::emit_rr(9, &[block], &mut data);
        client.send_rtcp(&data);
    }

    pub(crate) fn handle_rtcp(&mut self, now: Instant, data: &[u8]) {
        for packet in Compound::new(data) {
            match packet {
                Rtcp::Sr(report) => {
                    let slot = usize::from(report.info.ssrc == AUDIO_SSRC);
                    self.reports[slot] = Some((report.info, now));
                }
                Rtcp::Sdes(sdes) => self.cnames.extend(sdes.cnames().map(|(_, name)| name.to_vec())),
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// When a frame (slot 0) or a sound packet (slot 1) was captured, by the last sender report.
    pub(crate) fn captured(&self, slot: usize, number: u64) -> Ntp {
        let (info, _) = self.reports[slot].expect("a report came");
        let rate = if slot == 0 { 90_000 } else { 48_000 };
        let ticks = i64::from(self.stamps[slot][&number].wrapping_sub(info.rtp_timestamp) as i32);
        let micros = ticks * 1_000_000 / rate;
        let distance = Ntp(0).plus(Duration::from_micros(micros.unsigned_abs())).0;
        Ntp(if micros < 0 { info.ntp.0.wrapping_sub(distance) } else { info.ntp.0.wrapping_add(distance) })
    }
}
