//! A publisher's media: authenticated RTP and RTCP in, packets and feedback out.
//!
//! It owns the streams (SSRCs) of one publisher and the clock they share. It never decrypts and
//! never sends: plain packets come in, plain RTCP goes out.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use weir_source::{MediaKind, MediaTime, Packet, Track, TrackId, Tracks, VideoInfo};

use super::{
    arrival::ArrivalRecorder,
    clock::PublisherClock,
    descriptor,
    encodings::Encodings,
    gate::KeyframeGate,
    output::Compounds,
    picture,
    stats::SessionStats,
    stream::{Refused, Stream},
};
use crate::{
    sdp::{MediaParams, SessionParams},
    wire::{
        ext::{ExtensionIds, Values},
        rtcp::{self, Compound, ReportBlock, Rtcp},
        rtp,
    },
};

/// Streams that one publisher may send: audio, three layers of video and what a restart of any leaves
/// behind.
const STREAMS_MAX: usize = 12;
/// Packets kept until the owner takes them. A worker takes them each turn; this is a tenth of a
/// second at 100 Mb/s.
const PENDING_MAX: usize = 1_024;
/// Time between receiver reports; RFC 3550 6.2 allows less than its 5 s at these bandwidths, and
/// senders judge loss by them.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A layer that has sent so many packets without a keyframe that could be told is not asked for more.
const HEADLESS_MAX: u32 = 1_000;
/// A stream that sent nothing for this long makes room for another of its track.
const SILENT: Duration = Duration::from_secs(2);

/// All streams of one publisher.
pub(super) struct Inbound {
    pub(super) media: Vec<MediaParams>,
    ids: ExtensionIds,
    made: Instant,
    pub(super) streams: Vec<Stream>,
    clock: PublisherClock,
    tracks: Tracks,
    /// Tracks changed since they were last taken.
    tracks_changed: bool,
    arrivals: ArrivalRecorder,
    transport_cc: bool,
    feedback_count: u8,
    /// One for each track.
    keyframes: [KeyframeGate; TrackId::MAX],
    encodings: Encodings,
    /// The layers of retransmission streams, by SSRC.
    pub(super) repair_streams: Vec<(u32, TrackId)>,
    next_report: Option<Instant>,
    pending: VecDeque<Packet>,
    rtt: Option<Duration>,
    /// Scratch of `Gaps::poll`.
    asked: Vec<u64>,
}

/// A packet that came, and the stream that it is of.
#[derive(Clone, Copy)]
pub(super) struct Heard<'a> {
    /// Of the stream.
    pub(super) place: usize,
    /// Its extended sequence number there.
    pub(super) index: u64,
    pub(super) fields: rtp::Fields,
    pub(super) payload: &'a [u8],
    pub(super) values: &'a Values<'a>,
}

impl Inbound {
    pub(super) fn new(params: &SessionParams, now: Instant, made: Instant) -> Self {
        let mut inbound = Self {
            media: params.media.clone(),
            ids: super::merged_ids(&params.media),
            made,
            streams: Vec::new(),
            clock: PublisherClock::new(MediaTime::ZERO),
            tracks: Tracks::default(),
            tracks_changed: false,
            arrivals: ArrivalRecorder::new(now),
            transport_cc: params.media.iter().any(|media| media.extensions.transport_cc.is_some()),
            feedback_count: 0,
            keyframes: Default::default(),
            encodings: Encodings::new(&params.media),
            repair_streams: Vec::new(),
            next_report: None,
            pending: VecDeque::new(),
            rtt: None,
            asked: Vec::new(),
        };
        for section in 0..inbound.media.len() {
            inbound.declare_if_certain(section);
        }
        inbound
    }

    /// See [`Session::set_floor`](super::Session::set_floor).
    pub(super) fn set_floor(&mut self, floor: MediaTime) {
        self.clock = PublisherClock::new(floor);
    }

    /// The tracks, if they changed since the last call.
    pub(super) fn take_tracks(&mut self) -> Option<Tracks> {
        std::mem::take(&mut self.tracks_changed).then(|| self.tracks.clone())
    }

    pub(super) fn ssrcs(&self) -> impl Iterator<Item = u32> {
        self.streams.iter().map(|stream| stream.ssrc)
    }

    pub(super) fn take_packets(&mut self, out: &mut Vec<Packet>) {
        out.extend(self.pending.drain(..));
    }

    /// A decrypted RTP packet whose SRTP index (extended sequence number) is `index`.
    pub(super) fn handle_rtp(&mut self, now: Instant, index: u64, data: &[u8], stats: &mut SessionStats) {
        let Ok(packet) = rtp::Packet::parse(data) else {
            stats.drops.malformed += 1;
            return;
        };
        let values = Values::read(&packet.header.extensions, &self.ids);
        if let (true, Some(seq)) = (self.transport_cc, values.transport_seq) {
            self.arrivals.receive(seq, now);
        }
        let fields = packet.header.fields;
        if let Some(payload_type) = self.repairs(fields.payload_type) {
            return self.handle_repair(now, &fields, payload_type, packet.payload, &values, stats);
        }
        let Some(place) = self.bind(now, &fields, &values) else {
            stats.drops.unbound += 1;
            return;
        };
        self.next_report.get_or_insert(now + REPORT_INTERVAL / 2);
        self.take(now, &Heard { place, index, fields, payload: packet.payload, values: &values }, stats);
    }

    /// A packet of a known stream.
    pub(super) fn take(&mut self, now: Instant, heard: &Heard<'_>, stats: &mut SessionStats) {
        let Heard { place, index, fields, payload, values } = *heard;
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(media) = self.media.get(stream.section) else { return };
        let Some(codec) = media.payload_type(fields.payload_type) else {
            // It took a number all the same: a hole would be asked for again and again.
            let _ = media.codecs.first().map(|codec| stream.receive(now, index, &fields, &[], codec));
            stats.drops.unbound += 1;
            return;
        };
        let accepted = match stream.receive(now, index, &fields, payload, codec) {
            Ok(accepted) => accepted,
            Err(Refused::Duplicate) => return stats.drops.duplicate += 1,
            Err(Refused::Padding) => return stats.drops.padding += 1,
        };
        if let Some(repair) = accepted.recovered {
            stats.recovered += 1;
            self.rtt = Some(match self.rtt {
                // A round trip that is longer than the first guess would otherwise never be known:
                // everything is asked for twice before it comes.
                Some(rtt) if !repair.exact => rtt.min(repair.took),
                known => smooth(known, repair.took),
            });
        }
        let arrival = MediaTime::ZERO + now.saturating_duration_since(self.made);
        let (section, track) = (stream.section, stream.track);
        let placed = self.clock.place(track, codec.clock_rate, fields.timestamp, arrival, accepted.in_order);
        if accepted.keyframe {
            self.keyframes.get_mut(track.index()).into_iter().for_each(KeyframeGate::fulfil);
        }
        // What was lost at its very start nobody knows to be missing. A layer whose picture was never
        // seen is ranked by guess, and wished for by nobody.
        if (1..HEADLESS_MAX).contains(&stream.headless) && !media.layers.is_empty() {
            self.keyframes.get_mut(track.index()).into_iter().for_each(|gate| gate.wish(now));
        }
        let ranked = accepted.keyframe && self.encodings.look(track, codec.codec, payload);
        let info = accepted.keyframe.then(|| picture::info(codec.codec, payload)).flatten();
        let ranked = self.encodings.measure(now, track, payload.len()) || ranked;
        let dependencies = values.dependency_descriptor.filter(|_| !descriptor::is_in_payload(codec.codec));
        let temporal = stream.temporal_place(dependencies);
        let payload = stream.freeze(payload);
        let packet = Packet {
            track,
            epoch: 0,
            seq: accepted.seq,
            timestamp: placed.timestamp,
            capture: placed.capture,
            marker: fields.marker,
            keyframe: accepted.keyframe,
            extensions: super::extensions::to_packet(&Values { dependency_descriptor: dependencies, ..*values }, temporal),
            payload,
        };
        if self.tracks.get(track).is_none_or(|track| track.codec != codec.codec || track.clock_rate != codec.clock_rate) {
            let payload_type = codec.payload_type;
            self.declare(section, payload_type);
        } else if ranked {
            self.name_layers();
        }
        self.learn(track, info);
        self.push(now, packet, stats);
    }

    fn push(&mut self, now: Instant, packet: Packet, stats: &mut SessionStats) {
        if self.pending.len() >= PENDING_MAX {
            // The oldest is of least use. The hole that it leaves is repaired by nobody.
            self.pending.pop_front();
            stats.drops.overflow += 1;
            let tracks: Vec<TrackId> = self.pictures().map(|stream| stream.track).collect();
            tracks.into_iter().for_each(|track| self.request_keyframe(now, track));
        }
        self.pending.push_back(packet);
    }

    /// A decrypted RTCP packet.
    pub(super) fn handle_rtcp(&mut self, now: Instant, data: &[u8], stats: &mut SessionStats) {
        let mut compound = Compound::new(data);
        for packet in compound.by_ref() {
            match packet {
                Rtcp::Sr(report) => {
                    let info = report.info;
                    if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == info.ssrc) {
                        stream.reception.sender_report(info.ntp.0, now);
                        if stream.active {
                            self.clock.sender_report(stream.track, info.ntp, info.rtp_timestamp);
                        }
                    }
                }
                Rtcp::Bye(bye) => {
                    for ssrc in bye.ssrcs() {
                        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
                            stream.said_bye = true;
                        }
                    }
                }
                _ => {}
            }
        }
        stats.drops.malformed += u64::from(compound.malformed());
    }

    /// See [`Session::request_keyframe`](super::Session::request_keyframe).
    pub(super) fn request_keyframe(&mut self, now: Instant, track: TrackId) {
        if let Some(gate) = self.keyframes.get_mut(track.index()) {
            gate.wish(now);
        }
    }

    /// Emits the RTCP that is due.
    pub(super) fn poll(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        self.poll_gaps(now, stats, rtcp);
        self.poll_keyframes(now, stats, rtcp);
        self.poll_feedback(now, rtcp);
        if self.next_report.is_some_and(|due| due <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.report(now, rtcp);
        }
    }

    /// When [`Inbound::poll`] has something to do next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let keyframe = self.pictures().filter_map(|stream| self.keyframes.get(stream.track.index())?.next_due()).min();
        let gaps = self.streams.iter().filter(|stream| stream.active).filter_map(|stream| stream.gaps.next_due());
        gaps.chain(keyframe).chain(self.arrivals.next_due()).chain(self.next_report).min()
    }

    pub(super) fn fill_stats(&self, stats: &mut SessionStats) {
        stats.lost = self.streams.iter().map(|stream| stream.reception.lost()).sum();
        stats.rtt = self.rtt;
        let of_kind = |kind| self.active().filter(move |stream| stream.kind == kind);
        let stream = of_kind(MediaKind::Video).chain(of_kind(MediaKind::Audio)).next();
        stats.jitter = stream.map_or(Duration::ZERO, |stream| stream.reception.jitter());
    }

    fn active(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|stream| stream.active)
    }

    fn pictures(&self) -> impl Iterator<Item = &Stream> {
        self.active().filter(|stream| stream.kind == MediaKind::Video)
    }

    /// With the only codec agreed, a track is known before its first packet.
    fn declare_if_certain(&mut self, section: usize) {
        if let Some([codec]) = self.media.get(section).map(|media| media.codecs.as_slice()) {
            let payload_type = codec.payload_type;
            self.declare(section, payload_type);
        }
    }

    fn declare(&mut self, section: usize, payload_type: u8) {
        let Some(media) = self.media.get(section) else { return };
        let Some(codec) = media.payload_type(payload_type) else { return };
        let layers = media.layers.iter().map(|layer| layer.track);
        for id in std::iter::once(media.track).chain(layers.filter(|layer| *layer != media.track)) {
            let mut track = Track::new(id, codec.codec, codec.clock_rate, codec.channels);
            track.fmtp.clone_from(&codec.fmtp);
            track.layer = self.encodings.layer(id);
            self.tracks = self.tracks.with(track.into());
        }
        self.tracks_changed = true;
    }

    /// What a keyframe tells of the pictures, for the API.
    fn learn(&mut self, track: TrackId, info: Option<VideoInfo>) {
        let Some(old) = info.is_some().then(|| self.tracks.get(track)).flatten() else { return };
        if old.video != info {
            let track = Track { video: info, ..Track::clone(old) };
            self.tracks = self.tracks.with(track.into());
            self.tracks_changed = true;
        }
    }

    /// The layers' sizes or ranks have changed.
    fn name_layers(&mut self) {
        for old in std::mem::take(&mut self.tracks.list) {
            let layer = self.encodings.layer(old.id);
            let track = if layer == old.layer { old } else { Track { layer, ..Track::clone(&old) }.into() };
            self.tracks.list.push(track);
        }
        self.tracks_changed = true;
    }

    /// The place in `streams` of the packet's SSRC. One not seen before is bound to a media section
    /// by what the SDP says of it, by its MID (RFC 8843 9.2), or by its payload type.
    fn bind(&mut self, now: Instant, fields: &rtp::Fields, values: &Values<'_>) -> Option<usize> {
        let known = self.streams.iter().position(|stream| stream.ssrc == fields.ssrc);
        let place = match known {
            Some(place) => place,
            None => self.bind_new(now, fields, values)?,
        };
        let stream = self.streams.get(place)?;
        if stream.active {
            return Some(place);
        }
        let track = stream.track;
        let rival = self.streams.iter_mut().find(|stream| stream.active && stream.track == track);
        if let Some(rival) = rival {
            if !rival.said_bye && now.saturating_duration_since(rival.last) < SILENT {
                return None;
            }
            rival.active = false;
            let next_seq = rival.next_seq;
            self.streams.get_mut(place)?.take_over(next_seq);
        }
        self.streams.get_mut(place)?.active = true;
        Some(place)
    }

    fn bind_new(&mut self, now: Instant, fields: &rtp::Fields, values: &Values<'_>) -> Option<usize> {
        let carries = |media: &MediaParams| media.payload_type(fields.payload_type).is_some();
        let announced = |media: &MediaParams| media.remote_ssrcs.contains(&fields.ssrc);
        let named = |media: &MediaParams| values.mid == Some(media.mid.as_str());
        let section = (self.media.iter().position(announced))
            .or_else(|| self.media.iter().position(named))
            .or_else(|| self.media.iter().position(carries))?;
        let media = self.media.get(section).filter(|media| carries(media))?;
        let track = self.track_of(section, media, fields, values)?;
        let stream = Stream::new(fields.ssrc, section, track, media, now);
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
            return Some(self.streams.len() - 1);
        }
        // A publisher that restarts again and again gets its oldest dead stream's place.
        let (place, old) = self.streams.iter_mut().enumerate().filter(|(_, old)| !old.active).min_by_key(|(_, old)| old.last)?;
        *old = stream;
        Some(place)
    }

    /// Which track a new stream of a section is: with simulcast its first packets say so (RFC 8852
    /// section 3.1). A publisher that was agreed layers with may send just one picture without a name.
    fn track_of(&self, section: usize, media: &MediaParams, fields: &rtp::Fields, values: &Values<'_>) -> Option<TrackId> {
        if media.layers.is_empty() {
            return Some(media.track);
        }
        let listed = media.layers.iter().find(|layer| layer.ssrc == Some(fields.ssrc));
        let named = values.rid.map(|rid| media.layers.iter().find(|layer| layer.rid == rid));
        match (listed, named) {
            (Some(layer), _) | (None, Some(Some(layer))) => Some(layer.track),
            (None, Some(None)) => None,
            (None, None) => self.streams.iter().all(|stream| stream.section != section).then_some(media.track),
        }
    }

    fn poll_gaps(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        for stream in self.streams.iter_mut().filter(|stream| stream.active) {
            if stream.gaps.next_due().is_none_or(|due| now < due) {
                continue;
            }
            if stream.gaps.poll(now, self.rtt, &mut self.asked)
                && stream.kind == MediaKind::Video
                && let Some(gate) = self.keyframes.get_mut(stream.track.index())
            {
                gate.wish(now);
            }
            if self.asked.is_empty() {
                continue;
            }
            stats.nack_sent += self.asked.len() as u64;
            rtcp::emit_rr(stream.local_ssrc, &[], &mut rtcp.data);
            let lost = self.asked.iter().map(|seq| *seq as u16);
            rtcp::emit_nack(stream.local_ssrc, stream.ssrc, lost, &mut rtcp.data);
            rtcp.end();
        }
    }

    fn poll_keyframes(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        for stream in self.streams.iter().filter(|stream| stream.active && stream.kind == MediaKind::Video) {
            if !self.keyframes.get_mut(stream.track.index()).is_some_and(|gate| gate.poll(now)) {
                continue;
            }
            rtcp::emit_rr(stream.local_ssrc, &[], &mut rtcp.data);
            rtcp::emit_pli(stream.local_ssrc, stream.ssrc, &mut rtcp.data);
            rtcp.end();
            stats.pli_sent += 1;
        }
    }

    fn poll_feedback(&mut self, now: Instant, rtcp: &mut Compounds) {
        let Some((local, remote)) = self.active().map(|stream| (stream.local_ssrc, stream.ssrc)).last() else { return };
        let count = &mut self.feedback_count;
        self.arrivals.poll(now, |mut arrivals| {
            while !arrivals.is_empty() {
                rtcp::emit_rr(local, &[], &mut rtcp.data);
                let taken = rtcp::emit_transport_feedback(local, remote, *count, arrivals, &mut rtcp.data);
                if taken == 0 {
                    rtcp.discard();
                    break;
                }
                rtcp.end();
                *count = count.wrapping_add(1);
                arrivals = arrivals.get(taken..).unwrap_or(&[]);
            }
        });
    }

    fn report(&mut self, now: Instant, rtcp: &mut Compounds) {
        let Some(local) = self.active().map(|stream| stream.local_ssrc).next() else { return };
        let active = self.streams.iter_mut().filter(|stream| stream.active);
        let blocks: Vec<ReportBlock> = active.map(|stream| stream.report(now)).collect();
        rtcp::emit_rr(local, &blocks, &mut rtcp.data);
        rtcp.end();
    }
}

/// A packet that was only late comes sooner after its request than a retransmission would: short
/// samples count for little.
fn smooth(old: Option<Duration>, sample: Duration) -> Duration {
    match old {
        Some(old) if sample < old => (old * 31 + sample) / 32,
        Some(old) => (old * 3 + sample) / 4,
        None => sample,
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
