//! A viewer's media: the source's packets out under the viewer's own numbers, its RTCP in.
//!
//! [`Outbound::forward`] is the hot path: no allocation (but for a table that grows a few times in
//! its life), no lock, no log. It owns no keys: the caller lends the one to seal with.

use std::time::{Duration, Instant};

use weir_source::{Codec, LayerState, MediaKind, MediaTime, Packet, TrackId, TrackSet, Tracks};

use super::{
    bandwidth::Sound,
    config::Wall,
    descriptor::{self, Descriptor},
    estimate::Estimator,
    gate::KeyframeGate,
    history::Sent,
    layers::{Admission, Layers},
    outgoing::{Form, Outgoing, Place},
    output::{Compounds, Output, Outputs, Resend},
    rewrite::Refusal,
    silence::Silence,
    stats::SessionStats,
    temporal::Temporal,
    trial::Trial,
};
use crate::{sdp::SessionParams, srtp::Protect, wire::rtcp};

/// The longest header: 12 bytes and an extension block with a dependency descriptor of 255.
const HEADER_MAX: usize = 384;
/// Time between sender reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// All temporal layers fit, whatever was left out before.
const FULL_SHARE: u64 = 10_000;

/// All streams to one viewer.
pub(super) struct Outbound {
    pub(super) streams: Vec<Outgoing>,
    /// Place in `streams` by track.
    by_track: [Option<u8>; TrackId::MAX],
    /// The server sends lost packets again.
    pub(super) answers_nack: bool,
    cname: String,
    pub(super) wall: Wall,
    pub(super) made: Instant,
    pub(super) keyframes: KeyframeGate,
    pub(super) layers: Layers,
    temporal: Temporal,
    next_report: Option<Instant>,
    pub(super) silence: Silence,
    pub(super) rtt: Option<Duration>,
    /// Bits per second on the wire that the viewer may be sent, whatever its path carries.
    pub(super) budget: Option<u64>,
    pub(super) sound: Sound,
    trial: Trial,
    /// The viewer's bandwidth, where knowing it is of use.
    pub(super) estimator: Option<Box<Estimator>>,
    header: Box<[u8; HEADER_MAX]>,
}

impl Outbound {
    pub(super) fn new(params: &SessionParams, made: Instant, wall: Wall) -> Self {
        let mut by_track = [None; TrackId::MAX];
        for (place, media) in params.media.iter().enumerate().take(TrackId::MAX) {
            if let Some(slot) = by_track.get_mut(media.track.index()) {
                *slot = u8::try_from(place).ok();
            }
        }
        Self {
            streams: params.media.iter().map(Outgoing::new).collect(),
            by_track,
            answers_nack: params.terms.nack,
            cname: params.cname.clone(),
            wall,
            made,
            keyframes: KeyframeGate::of_viewer(),
            layers: Layers::new(params.layer_max.clone()),
            temporal: Temporal::default(),
            next_report: None,
            silence: Silence::default(),
            rtt: None,
            budget: None,
            sound: Sound::default(),
            trial: Trial::default(),
            estimator: None,
            header: Box::new([0; HEADER_MAX]),
        }
    }

    /// See [`Session::set_tracks`](super::Session::set_tracks).
    pub(super) fn set_tracks(&mut self, tracks: &Tracks) {
        // With one layer there is nothing to choose.
        self.set_estimating(tracks.pictures().len() > 1);
        for stream in &mut self.streams {
            // A source without this track keeps what was: its next publisher may have it again.
            let Some(track) = tracks.get(stream.media.track) else { continue };
            stream.codec = track.codec;
            let codec = stream.media.codec(track.codec);
            let payload_type = codec.map(|codec| codec.payload_type);
            if payload_type != stream.payload_type {
                stream.payload_type = payload_type;
                stream.clock_rate = codec.map_or(stream.clock_rate, |codec| codec.clock_rate);
                stream.rewrite.interrupt();
            }
        }
        self.layers.set_tracks(tracks);
        // All layers of the picture feed its one stream.
        let picture = self.by_track.get(TrackId::VIDEO.index()).copied().flatten();
        for (index, slot) in self.by_track.iter_mut().enumerate().skip(TrackId::VIDEO.index() + 1) {
            *slot = picture.filter(|_| self.layers.tracks().any(|track| track.index() == index));
        }
    }

    /// See [`Session::set_layers`](super::Session::set_layers).
    pub(super) fn set_layers(&mut self, now: Instant, states: &[LayerState]) {
        self.measure_sound(now);
        let known = self.video_budget();
        let budget = match known {
            Some(known) if self.budget.is_none() && !self.is_probed() => {
                Some(self.trial.lift(now, known, self.layers.next(states)))
            }
            known => known,
        };
        self.layers.set_budget(budget);
        let before = self.layers.wanted();
        self.layers.update(now, states);
        // What a viewer estimates of a line that it is sent little over says nothing of its end.
        let sure = self.budget.is_some() || self.is_probed();
        self.temporal.set_share(if sure { self.layers.share() } else { FULL_SHARE });
        self.want_rate(self.layers.useful().map(|rate| self.wire_rate(rate)));
        if before != self.layers.wanted() {
            self.keyframes.wish(now);
        }
    }

    pub(super) fn join(&mut self, live: MediaTime, cached: TrackSet) {
        self.layers.join(live, cached);
        self.streams.iter_mut().for_each(|stream| stream.rewrite.join(live));
    }

    pub(super) fn rejoin(&mut self, live: MediaTime) {
        self.streams.iter_mut().for_each(|stream| stream.rewrite.rejoin(live));
    }

    pub(super) fn skip_to_keyframe(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.rewrite.interrupt());
    }

    /// Reports begin.
    pub(super) fn connected(&mut self, now: Instant) {
        self.next_report = Some(now + REPORT_INTERVAL);
    }

    /// See [`Session::forward`](super::Session::forward).
    pub(super) fn forward(
        &mut self,
        now: Instant,
        place: Place,
        packet: &Packet,
        protect: &Protect,
        stats: &mut SessionStats,
        out: &mut [u8],
    ) -> Option<usize> {
        let stream = self.streams.get_mut(usize::from((*self.by_track.get(packet.track.index())?)?))?;
        let Some(payload_type) = stream.payload_type else {
            stats.drops.codec += 1;
            return None;
        };
        let Some(read) = admit(stream, &mut self.layers, &mut self.temporal, packet, || self.keyframes.wish(now)) else {
            stats.drops.waiting += u64::from(stream.rewrite.is_waiting());
            return None;
        };
        let before = stream.rewrite.track();
        let first = stream.rewrite.is_waiting();
        let numbers = match stream.rewrite.map(packet, read.as_ref()) {
            Ok(numbers) => numbers,
            Err(refusal) => {
                stats.drops.waiting += 1;
                if refusal == Refusal::Waiting && stream.media.kind == MediaKind::Video {
                    self.keyframes.wish(now);
                }
                return None;
            }
        };
        if numbers.late && stream.history.contains(numbers.seq) {
            stats.drops.duplicate += 1;
            return None;
        }
        if before != Some(packet.track) {
            self.temporal.restart();
            stream.reports.restart();
        }
        let estimator = self.estimator.as_deref_mut().filter(|_| stream.ids.transport_cc.is_some());
        let mut sent = Sent {
            out_seq: numbers.seq,
            position: place.position,
            timestamp: numbers.timestamp,
            len: 0,
            payload_type,
            padding: 0,
            transport_seq: estimator.as_ref().map(|estimator| estimator.next_seq()),
            sent_ms: now.saturating_duration_since(self.made).as_millis() as u32,
            patch: numbers.patch,
        };
        let form = Form { fill: place.fill, read, ..stream.original(&sent) };
        let Some((len, padding)) = stream.seal(&form, packet, self.wall, protect, &mut self.header[..], out) else {
            stats.drops.too_large += 1;
            return None;
        };
        (sent.len, sent.padding) = (len as u16, padding);
        stream.history.record(sent);
        if packet.keyframe && !numbers.late {
            stream.history.begin(numbers.seq, before.is_some_and(|before| self.layers.is_lesser(packet.track, before)));
        }
        if let Some(estimator) = estimator {
            estimator.sent(now, len);
        }
        stream.reports.note(now, packet.payload.len(), packet.timestamp, packet.capture);
        if first {
            // What starts is reported at once: until then a browser cannot lip-sync it.
            self.next_report = Some(now);
            stats.milestones.media.get_or_insert(now);
        }
        if packet.keyframe {
            self.keyframes.fulfil();
            stats.milestones.keyframe.get_or_insert(now);
        }
        stats.packets_out += 1;
        stats.bytes_out += len as u64;
        stats.padding_out += u64::from(padding);
        Some(len)
    }

    /// See [`Session::resend`](super::Session::resend).
    pub(super) fn resend(
        &mut self,
        now: Instant,
        resend: &Resend,
        packet: &Packet,
        protect: &Protect,
        stats: &mut SessionStats,
        out: &mut [u8],
    ) -> Option<usize> {
        let place = (*self.by_track.get(resend.track.index())?)?;
        let stream = self.streams.get_mut(usize::from(place))?;
        let sent = stream.history.get(resend.out_seq)?;
        // Of a picture it may be any layer that was sent.
        if sent.position != resend.position || self.by_track.get(packet.track.index()) != Some(&Some(place)) {
            stats.nack_refused += 1;
            return None;
        }
        let estimator = self.estimator.as_deref_mut().filter(|_| stream.ids.transport_cc.is_some());
        let repair = stream.repair(&sent).map(|form| Form {
            transport_seq: estimator.as_ref().map(|estimator| estimator.next_seq()),
            sent_ms: now.saturating_duration_since(self.made).as_millis() as u32,
            ..form
        });
        // Under its number it must be read as it was then, whatever codec the source has changed to.
        let codec = stream.media.payload_type(sent.payload_type).map_or(stream.codec, |params| params.codec);
        let read = descriptor::read(codec, packet);
        let form = Form { read, ..repair.unwrap_or_else(|| stream.original(&sent)) };
        let Some((len, _)) = stream.seal(&form, packet, self.wall, protect, &mut self.header[..], out) else {
            stats.drops.too_large += 1;
            return None;
        };
        match &mut stream.rtx {
            Some(rtx) if repair.is_some() => {
                rtx.advance();
                if let Some(estimator) = estimator {
                    estimator.sent(now, len);
                }
            }
            _ => stream.reports.note_again(packet.payload.len()),
        }
        if resend.probe {
            stats.probes_sent += 1;
        } else {
            stats.nack_served += 1;
            stats.nack_served_rtx += u64::from(repair.is_some());
        }
        stats.packets_out += 1;
        stats.bytes_out += len as u64;
        Some(len)
    }

    /// Emits what is due.
    pub(super) fn poll(&mut self, now: Instant, outputs: &mut Outputs, rtcp: &mut Compounds) {
        if self.keyframes.poll(now) {
            outputs.push(Output::KeyframeWanted(self.layers.wanted()));
        }
        self.probe(now, outputs);
        if self.next_report.is_none_or(|due| now < due) {
            return;
        }
        self.next_report = Some(now + REPORT_INTERVAL);
        let time = self.time(now);
        for stream in &self.streams {
            let wire = |timestamp| stream.rewrite.live_timestamp(timestamp);
            let Some(info) = stream.reports.report(stream.ssrc, stream.clock_rate, now, time, self.wall, wire) else { continue };
            rtcp::emit_sr(&info, &[], &mut rtcp.data);
            // RFC 3550 6.1: every compound packet names its sender.
            rtcp::emit_sdes_cname(stream.ssrc, &self.cname, &mut rtcp.data);
            rtcp.end();
        }
    }

    /// When [`Outbound::poll`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let probe = self.estimator.as_deref().and_then(Estimator::next_due);
        self.keyframes.next_due().into_iter().chain(self.next_report).chain(probe).min()
    }

    pub(super) fn fill_stats(&self, stats: &mut SessionStats) {
        stats.lost = self.streams.iter().map(|stream| stream.lost).sum();
        stats.rtt = self.rtt;
        stats.estimate = self.estimate();
        stats.jitter = self.streams.iter().map(|stream| stream.jitter).max().unwrap_or_default();
        let picture = self.streams.iter().find(|stream| stream.media.kind == MediaKind::Video);
        stats.layer = picture.and_then(|stream| self.layers.stats(stream.rewrite.track()));
        if let Some(layer) = &mut stats.layer {
            layer.temporal_max = self.temporal.limit();
        }
    }

    pub(super) fn time(&self, now: Instant) -> MediaTime {
        MediaTime::ZERO + now.saturating_duration_since(self.made)
    }
}

/// The descriptor of a packet that goes on, if it has one. `None`: the packet is of another layer, or of
/// a temporal one that is left out. `wish` is called where a keyframe must come first.
fn admit(
    stream: &mut Outgoing,
    layers: &mut Layers,
    temporal: &mut Temporal,
    packet: &Packet,
    wish: impl FnOnce(),
) -> Option<Option<Descriptor>> {
    if stream.media.kind != MediaKind::Video {
        return Some(None);
    }
    match layers.admit(packet, stream.rewrite.track()) {
        Admission::Take => {}
        Admission::Leave => return None,
        Admission::Wish => {
            wish();
            return None;
        }
    }
    let read = descriptor::read(stream.codec, packet);
    if let Some(read) = &read
        && !temporal.takes(stream.codec, packet, read)
    {
        // VP9 pictures name those that they build on by distance: their numbers stay.
        stream.rewrite.leave_out(packet, stream.codec == Codec::Vp8);
        return None;
    }
    Some(read)
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
