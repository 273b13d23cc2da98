//! A publisher's media: authenticated RTP and RTCP in, packets and feedback out.
//!
//! It owns the streams (SSRCs) of one publisher and the clock they share. It never decrypts and
//! never sends: plain packets come in, plain RTCP goes out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_source::{Codec, MediaKind, MediaTime, Packet, Track, TrackId, Tracks, VideoInfo};

use super::{
    arrival::ArrivalRecorder,
    clock::PublisherClock,
    descriptor,
    encodings::Encodings,
    feedback::REPORT_INTERVAL,
    gate::KeyframeGate,
    picture,
    stats::SessionStats,
    stream::{Refused, Stream},
};
use crate::{
    sdp::{MediaParams, SessionParams},
    wire::{
        ext::{ExtensionIds, Values},
        rtcp::{Compound, Rtcp},
        rtp,
    },
};

/// Streams that one publisher may send: audio, three layers of video and what a restart of any leaves
/// behind.
const STREAMS_MAX: usize = 12;
/// Packets kept until the owner takes them. A worker takes them each turn; this is a tenth of a
/// second at 100 Mb/s.
const PENDING_MAX: usize = 1_024;
/// A layer that has sent so many packets without a keyframe that could be told is not asked for more.
const HEADLESS_MAX: u32 = 1_000;
/// A stream that sent nothing for this long makes room for another of its track.
const SILENT: Duration = Duration::from_secs(2);

/// All streams of one publisher. What each packet touches comes first: with many publishers every line
/// of the cache that it lies in is a cold one.
pub(super) struct Inbound {
    pub(super) streams: Vec<Stream>,
    pending: Vec<Packet>,
    /// Not later than when anything is due.
    pub(super) due: Option<Instant>,
    /// Tracks changed since they were last taken.
    pub(super) tracks_changed: bool,
    transport_cc: bool,
    ids: ExtensionIds,
    /// A bit for each payload type of retransmissions.
    repair_types: u128,
    pub(super) next_report: Option<Instant>,
    made: Instant,
    pub(super) arrivals: ArrivalRecorder,
    /// What `tracks` says of each.
    declared: [Option<(Codec, u32)>; TrackId::MAX],
    clock: PublisherClock,
    encodings: Encodings,
    /// One for each track.
    pub(super) keyframes: [KeyframeGate; TrackId::MAX],
    pub(super) media: Vec<MediaParams>,
    tracks: Tracks,
    pub(super) feedback_count: u8,
    /// The layers of retransmission streams, by SSRC.
    pub(super) repair_streams: Vec<(u32, TrackId)>,
    pub(super) rtt: Option<Duration>,
    /// Scratch of `Gaps::poll`.
    pub(super) asked: Vec<u64>,
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
        let repair_types = params.media.iter().flat_map(|media| &media.codecs).filter_map(|codec| codec.rtx_payload_type);
        let mut inbound = Self {
            streams: Vec::new(),
            pending: Vec::new(),
            due: None,
            tracks_changed: false,
            transport_cc: params.media.iter().any(|media| media.extensions.transport_cc.is_some()),
            ids: super::extensions::merged_ids(&params.media),
            repair_types: repair_types.fold(0, |all, payload_type| all | 1 << (payload_type & 0x7f)),
            next_report: None,
            made,
            arrivals: ArrivalRecorder::new(now),
            declared: [None; TrackId::MAX],
            clock: PublisherClock::new(MediaTime::ZERO),
            encodings: Encodings::new(&params.media),
            keyframes: std::array::from_fn(|_| KeyframeGate::of_publisher()),
            media: params.media.clone(),
            tracks: Tracks::default(),
            feedback_count: 0,
            repair_streams: Vec::new(),
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
        out.append(&mut self.pending);
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
            self.arm(self.arrivals.next_due());
        }
        let fields = packet.header.fields;
        if self.repair_types >> (fields.payload_type & 0x7f) & 1 != 0
            && let Some(payload_type) = self.repairs(fields.payload_type)
        {
            return self.handle_repair(now, &fields, payload_type, packet.payload, &values, stats);
        }
        let Some(place) = self.bind(now, &fields, &values) else {
            stats.drops.unbound += 1;
            return;
        };
        if self.next_report.is_none() {
            self.next_report = Some(now + REPORT_INTERVAL / 2);
            self.arm(self.next_report);
        }
        self.take(now, &Heard { place, index, fields, payload: packet.payload, values: &values }, stats);
    }

    /// A packet of a known stream.
    pub(super) fn take(&mut self, now: Instant, heard: &Heard<'_>, stats: &mut SessionStats) {
        let Heard { place, index, fields, payload, values } = *heard;
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(known) = stream.codec_of(fields.payload_type, &self.media) else {
            // It took a number all the same: a hole would be asked for again and again.
            let codec = stream.first_codec(&self.media);
            let _ = codec.map(|codec| stream.receive(now, index, &fields, &[], codec));
            self.due = self.due.into_iter().chain(stream.gaps.next_due()).min();
            stats.drops.unbound += 1;
            return;
        };
        let accepted = stream.receive(now, index, &fields, payload, known.codec);
        let (section, track, headless) = (stream.section, stream.track, stream.headless);
        let temporal_of = values.dependency_descriptor.filter(|_| !descriptor::is_in_payload(known.codec));
        let gap_due = stream.gaps.next_due();
        self.arm(gap_due);
        let accepted = match accepted {
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
                rtt => smooth(rtt, repair.took),
            });
        }
        let arrival = MediaTime::ZERO + now.saturating_duration_since(self.made);
        let placed = self.clock.place(track, known.clock_rate, fields.timestamp, arrival, accepted.in_order);
        if accepted.keyframe {
            self.keyframes.get_mut(track.index()).into_iter().for_each(KeyframeGate::fulfil);
        }
        // What was lost at its very start nobody knows to be missing. A layer whose picture was never
        // seen is ranked by guess, and wished for by nobody.
        if (1..HEADLESS_MAX).contains(&headless) && known.is_layered {
            self.request_keyframe(now, track);
        }
        let ranked = accepted.keyframe && self.encodings.look(track, known.codec, payload);
        let info = accepted.keyframe.then(|| picture::info(known.codec, payload)).flatten();
        let ranked = self.encodings.measure(now, track, payload.len()) || ranked;
        let temporal = self.streams.get_mut(place).and_then(|stream| stream.temporal_place(temporal_of));
        let packet = Packet {
            track,
            epoch: 0,
            seq: accepted.seq,
            timestamp: placed.timestamp,
            capture: placed.capture,
            marker: fields.marker,
            keyframe: accepted.keyframe,
            extensions: super::extensions::to_packet(&Values { dependency_descriptor: temporal_of, ..*values }, temporal),
            payload: Bytes::copy_from_slice(payload),
        };
        if self.declared.get(track.index()) != Some(&Some((known.codec, known.clock_rate))) {
            self.declare(section, fields.payload_type);
        } else if ranked {
            self.name_layers();
        }
        self.learn(track, info);
        self.push(now, packet, stats);
    }

    fn push(&mut self, now: Instant, packet: Packet, stats: &mut SessionStats) {
        if self.pending.len() >= PENDING_MAX {
            // The oldest is of least use. The hole that it leaves is repaired by nobody.
            self.pending.remove(0);
            stats.drops.overflow += 1;
            let tracks: Vec<TrackId> = self.pictures().map(|stream| stream.track).collect();
            tracks.into_iter().for_each(|track| self.request_keyframe(now, track));
        }
        self.pending.push(packet);
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
            let due = gate.next_due();
            self.arm(due);
        }
    }

    pub(super) fn fill_stats(&self, stats: &mut SessionStats) {
        stats.lost = self.streams.iter().map(|stream| stream.reception.lost()).sum();
        stats.rtt = self.rtt;
        let of_kind = |kind| self.active().filter(move |stream| stream.kind == kind);
        let stream = of_kind(MediaKind::Video).chain(of_kind(MediaKind::Audio)).next();
        stats.jitter = stream.map_or(Duration::ZERO, |stream| stream.reception.jitter());
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(|stream| stream.active)
    }

    pub(super) fn pictures(&self) -> impl Iterator<Item = &Stream> {
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
            if let Some(declared) = self.declared.get_mut(id.index()) {
                *declared = Some((codec.codec, codec.clock_rate));
            }
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
        // What waited while it did not count does now.
        self.arm(Some(now));
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
