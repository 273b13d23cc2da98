//! A viewer of VP8 layers that records: what came, and whether a decoder would have liked it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use weir_rtc::wire::{
    ext::{ExtensionIds, Values},
    rtcp, rtp,
};

use super::{
    camera::{LAYERS, Label, TRANSPORT_CC, Vp8},
    client::Client,
    screen::{AUDIO_SSRC, RTX_SSRC, VIDEO_SSRC},
};

/// How long libwebrtc's receiver waits for what it has asked for in vain, before it asks for a keyframe.
const PATIENCE: Duration = Duration::from_secs(3);

struct Packet {
    at: Instant,
    timestamp: u32,
    marker: bool,
    picture: Vp8,
    label: Label,
}

/// A whole picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) at: Instant,
    pub(crate) rid: &'static str,
    pub(crate) frame: u32,
    pub(crate) timestamp: u32,
    pub(crate) keyframe: bool,
    pub(crate) numbers: Vp8,
    first: u64,
}

pub(crate) struct Tape {
    packets: BTreeMap<u64, Packet>,
    asked: BTreeMap<u64, (Instant, u32)>,
    /// The beginning was missed: a keyframe must come.
    broken: Option<Instant>,
    /// The newest packet that was asked for in vain.
    given_up: Option<u64>,
    /// When a picture could be shown last.
    last_shown: Option<Instant>,
    /// What arrived since the last feedback, by transport-wide number, and when that was.
    arrived: BTreeMap<u64, Duration>,
    reported: u64,
    feedback_at: Option<Instant>,
    feedbacks: u8,
    start: Instant,
    pub(crate) sounds: Vec<u64>,
}

impl Tape {
    pub(crate) fn new() -> Self {
        Self {
            packets: BTreeMap::new(),
            asked: BTreeMap::new(),
            broken: None,
            given_up: None,
            last_shown: None,
            arrived: BTreeMap::new(),
            reported: 0,
            feedback_at: None,
            feedbacks: 0,
            start: Instant::now(),
            sounds: Vec::new(),
        }
    }

    pub(crate) fn handle_rtp(&mut self, now: Instant, index: u64, data: &[u8]) {
        let packet = rtp::Packet::parse(data).unwrap();
        let fields = packet.header.fields;
        let ids = ExtensionIds { transport_cc: Some(TRANSPORT_CC), ..ExtensionIds::default() };
        if let Some(seq) = Values::read(&packet.header.extensions, &ids).transport_seq {
            self.arrive(now, seq);
        }
        if fields.ssrc == AUDIO_SSRC {
            self.sounds.push(u64::from_be_bytes(packet.payload.try_into().unwrap()));
            return;
        }
        if fields.ssrc == RTX_SSRC {
            let (osn, payload) = packet.payload.split_first_chunk().unwrap();
            let highest = self.packets.last_key_value().map_or(0, |(highest, _)| *highest);
            let behind = (highest as u16).wrapping_sub(u16::from_be_bytes(*osn));
            // Those that are here already were sent to find out what the path carries.
            let original = highest.checked_sub(u64::from(behind)).filter(|index| !self.packets.contains_key(index));
            if let Some(index) = original {
                self.take(now, index, fields, payload);
            }
            return;
        }
        assert_eq!(fields.ssrc, VIDEO_SSRC, "one stream whatever the layer");
        if !self.packets.contains_key(&index) {
            self.take(now, index, fields, packet.payload);
        }
    }

    fn arrive(&mut self, now: Instant, seq: u16) {
        let near = self.arrived.last_key_value().map_or(self.reported, |(last, _)| *last);
        let step = i64::from(seq.wrapping_sub(near as u16) as i16);
        let seq = if near == 0 { u64::from(seq) + 65_536 } else { near.saturating_add_signed(step) };
        if seq > self.reported {
            self.arrived.insert(seq, now.saturating_duration_since(self.start));
        }
    }

    /// What a browser tells of arrivals, ten times a second.
    fn feed_back(&mut self, now: Instant, client: &mut Client) {
        if self.feedback_at.is_some_and(|at| now < at) {
            return;
        }
        self.feedback_at = Some(now + Duration::from_millis(100));
        let (Some((&first, _)), Some((&last, _))) = (self.arrived.first_key_value(), self.arrived.last_key_value()) else {
            return;
        };
        let from = if self.reported == 0 { first } else { self.reported + 1 };
        let arrivals: Vec<_> = (from..=last).map(|seq| (seq as u16, self.arrived.get(&seq).copied())).collect();
        let mut data = Vec::new();
        rtcp::emit_rr(9, &[], &mut data);
        rtcp::emit_transport_feedback(9, VIDEO_SSRC, self.feedbacks, &arrivals, &mut data);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        client.send_rtcp(&data);
        self.reported = last;
        self.arrived.clear();
    }

    fn take(&mut self, now: Instant, index: u64, fields: rtp::Fields, payload: &[u8]) {
        let (picture, label) = Vp8::read(payload);
        self.asked.remove(&index);
        if let Some((&highest, _)) = self.packets.last_key_value() {
            self.asked.extend((highest + 1..index).map(|missing| (missing, (now + Duration::from_millis(10), 0))));
        }
        let new = Packet { at: now, timestamp: fields.timestamp, marker: fields.marker, picture, label };
        assert!(self.packets.insert(index, new).is_none(), "one number, one packet");
        self.progress(now, index, label);
    }

    /// As browsers do: what is older than a whole keyframe is asked for no more.
    fn progress(&mut self, now: Instant, index: u64, label: Label) {
        let first = index - u64::from(label.index);
        let mut all = first..first + u64::from(label.count);
        if !all.all(|index| self.packets.contains_key(&index)) {
            return;
        }
        if label.keyframe {
            self.asked = self.asked.split_off(&first);
            self.given_up = self.given_up.filter(|given_up| *given_up >= first);
        }
        if self.given_up.is_none() && self.asked.range(..first).next().is_none() {
            self.last_shown = Some(now);
        }
    }

    pub(crate) fn poll(&mut self, now: Instant, client: &mut Client) {
        self.feed_back(now, client);
        let hopeless = self.asked.iter().filter(|(_, (_, tries))| *tries >= 10).map(|(index, _)| *index);
        self.given_up = self.given_up.max(hopeless.max());
        self.asked.retain(|_, (_, tries)| *tries < 10);
        let started = self.packets.first_key_value().is_none_or(|(_, first)| first.label.keyframe && first.label.index == 0);
        if !started && self.packets.len() == 1 {
            self.broken.get_or_insert(now);
        }
        let stands = self.last_shown.is_some_and(|shown| now - shown >= PATIENCE);
        if self.broken.is_some_and(|since| since <= now) || stands {
            self.broken = None;
            self.last_shown = self.last_shown.map(|_| now);
            let mut data = Vec::new();
            rtcp::emit_rr(9, &[], &mut data);
            rtcp::emit_pli(9, VIDEO_SSRC, &mut data);
            client.send_rtcp(&data);
        }
        let mut lost = Vec::new();
        for (index, (due, tries)) in self.asked.iter_mut().filter(|(_, (due, _))| *due <= now) {
            (*due, *tries) = (now + Duration::from_millis(100), *tries + 1);
            lost.push(*index as u16);
        }
        if !lost.is_empty() {
            let mut data = Vec::new();
            rtcp::emit_nack(9, VIDEO_SSRC, lost, &mut data);
            client.send_rtcp(&data);
        }
    }

    /// Numbers that never came.
    pub(crate) fn holes(&self) -> u64 {
        let (first, last) = (self.packets.first_key_value(), self.packets.last_key_value());
        first.zip(last).map_or(0, |((first, _), (last, _))| last - first + 1 - self.packets.len() as u64)
    }

    /// The pictures of which every packet came, in their order.
    pub(crate) fn pictures(&self) -> Vec<Picture> {
        let mut pictures = Vec::new();
        let mut got = 0;
        let mut last: Option<(u64, u32)> = None;
        let mut whole_at = self.start;
        for (&index, packet) in &self.packets {
            let follows = last == Some((index.wrapping_sub(1), packet.timestamp));
            whole_at = if packet.label.index == 0 { packet.at } else { packet.at.max(whole_at) };
            if packet.label.index == 0 {
                got = 1;
            } else if follows && got > 0 {
                got += 1;
            } else {
                got = 0;
            }
            last = Some((index, packet.timestamp));
            if packet.marker && got == packet.label.count {
                pictures.push(Picture {
                    at: whole_at,
                    rid: LAYERS[usize::from(packet.picture.layer)].rid,
                    frame: packet.label.frame,
                    timestamp: packet.timestamp,
                    keyframe: packet.label.keyframe,
                    numbers: packet.picture,
                    first: index + 1 - u64::from(got),
                });
            }
        }
        pictures
    }

    /// What a decoder relies on: time and numbers go on, another layer begins with a keyframe, and each
    /// picture builds on one that was shown. Where pictures are missing a keyframe must come.
    pub(crate) fn check(&self) {
        let mut pictures = self.pictures();
        // What was lost before the first packet that came is not known to be missing.
        let first = pictures.iter().position(|picture| picture.keyframe).expect("a keyframe");
        pictures.drain(..first);
        for pair in pictures.windows(2) {
            let [old, new] = pair else { unreachable!() };
            let case = format!("{old:?} then {new:?}");
            assert!((new.timestamp.wrapping_sub(old.timestamp) as i32) > 0, "time goes on: {case}");
            let whole = new.first == old.first + u64::from(self.packets[&old.first].label.count);
            if !whole {
                continue;
            }
            assert!(old.rid == new.rid || new.keyframe, "another layer begins with a keyframe: {case}");
            let (was, is) = (old.numbers, new.numbers);
            assert_eq!(is.picture, (was.picture + 1) & 0x7fff, "{case}");
            assert_eq!(is.base.wrapping_sub(was.base), u8::from(is.temporal == 0), "{case}");
            assert_eq!((is.key.wrapping_sub(was.key)) & 0x1f, u8::from(new.keyframe), "{case}");
        }
    }

    /// The longest time without a picture from `from` on.
    pub(crate) fn freeze(&self, from: Instant) -> Duration {
        let times: Vec<Instant> = self.pictures().iter().map(|picture| picture.at).filter(|at| *at >= from).collect();
        times.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).max().unwrap_or(Duration::MAX)
    }

    /// The longest time that a screen stands still from `from` on: pictures are shown in their order, each
    /// when all that it builds on has come, or after a keyframe.
    pub(crate) fn longest_still(&self, from: Instant) -> Duration {
        let mut shown: Vec<Instant> = Vec::new();
        let mut next = None;
        let mut due = None;
        for picture in self.pictures() {
            if next != Some(picture.first) && !picture.keyframe {
                continue;
            }
            next = Some(picture.first + u64::from(self.packets[&picture.first].label.count));
            // It waits for those before it.
            due = due.max(Some(picture.at));
            shown.extend(due);
        }
        let since = shown.windows(2).filter(|pair| pair[1] >= from);
        since.map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }

    /// The layers seen, one after the other, with the time each began.
    pub(crate) fn layers(&self) -> Vec<(&'static str, Instant)> {
        let mut layers: Vec<(&'static str, Instant)> = Vec::new();
        for picture in self.pictures() {
            if layers.last().is_none_or(|(rid, _)| *rid != picture.rid) {
                layers.push((picture.rid, picture.at));
            }
        }
        layers
    }
}
