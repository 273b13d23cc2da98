//! A publisher's media: authenticated RTP and RTCP in, packets and feedback out.
//!
//! It owns the streams (SSRCs) of one publisher and the clock they share. It never decrypts and
//! never sends: plain packets come in, plain RTCP goes out.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use weir_source::{MediaKind, MediaTime, Packet, Track, Tracks};

use super::{
    arrival::ArrivalRecorder,
    clock::PublisherClock,
    gate::KeyframeGate,
    output::Compounds,
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

/// Streams that one publisher may send: audio, video and what a restart of either leaves behind.
const STREAMS_MAX: usize = 8;
/// Packets kept until the owner takes them. A worker takes them each turn; this is a tenth of a
/// second at 100 Mb/s.
const PENDING_MAX: usize = 1_024;
/// Time between receiver reports; RFC 3550 6.2 allows less than its 5 s at these bandwidths, and
/// senders judge loss by them.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A stream that sent nothing for this long makes room for another of its media section.
const SILENT: Duration = Duration::from_secs(2);

/// All streams of one publisher.
pub(super) struct Inbound {
    media: Vec<MediaParams>,
    ids: ExtensionIds,
    made: Instant,
    streams: Vec<Stream>,
    clock: PublisherClock,
    tracks: Tracks,
    /// Tracks changed since they were last taken.
    tracks_changed: bool,
    arrivals: ArrivalRecorder,
    transport_cc: bool,
    feedback_count: u8,
    keyframes: KeyframeGate,
    next_report: Option<Instant>,
    pending: VecDeque<Packet>,
    rtt: Option<Duration>,
    /// Scratch of `Gaps::poll`.
    asked: Vec<u64>,
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
            keyframes: KeyframeGate::default(),
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
        let Some(place) = self.bind(now, &fields, &values) else {
            stats.drops.unbound += 1;
            return;
        };
        self.next_report.get_or_insert(now + REPORT_INTERVAL / 2);
        let Some(stream) = self.streams.get_mut(place) else { return };
        let Some(media) = self.media.get(stream.section) else { return };
        let Some(codec) = media.payload_type(fields.payload_type) else {
            // It took a number all the same: a hole would be asked for again and again.
            let _ = media.codecs.first().map(|codec| stream.receive(now, index, &fields, &[], codec));
            stats.drops.unbound += 1;
            return;
        };
        let accepted = match stream.receive(now, index, &fields, packet.payload, codec) {
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
        let placed = self.clock.place(media.track, codec.clock_rate, fields.timestamp, arrival, accepted.in_order);
        let (section, track) = (stream.section, media.track);
        if accepted.keyframe {
            self.keyframes.fulfil();
        }
        let payload = stream.freeze(packet.payload);
        let packet = Packet {
            track,
            epoch: 0,
            seq: accepted.seq,
            timestamp: placed.timestamp,
            capture: placed.capture,
            marker: fields.marker,
            keyframe: accepted.keyframe,
            extensions: super::extensions::to_packet(&values),
            payload,
        };
        if self.tracks.get(track).is_none_or(|track| track.codec != codec.codec || track.clock_rate != codec.clock_rate) {
            let payload_type = codec.payload_type;
            self.declare(section, payload_type);
        }
        self.push(now, packet, stats);
    }

    fn push(&mut self, now: Instant, packet: Packet, stats: &mut SessionStats) {
        if self.pending.len() >= PENDING_MAX {
            // The oldest is of least use. The hole that it leaves is repaired by nobody.
            self.pending.pop_front();
            stats.drops.overflow += 1;
            self.keyframes.wish(now);
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
                        if let Some(media) = self.media.get(stream.section).filter(|_| stream.active) {
                            self.clock.sender_report(media.track, info.ntp, info.rtp_timestamp);
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
    pub(super) fn request_keyframe(&mut self, now: Instant) {
        self.keyframes.wish(now);
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
        let keyframe = self.has_video().then(|| self.keyframes.next_due()).flatten();
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

    fn has_video(&self) -> bool {
        self.active().any(|stream| stream.kind == MediaKind::Video)
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
        let mut track = Track::new(media.track, codec.codec, codec.clock_rate, codec.channels);
        track.fmtp.clone_from(&codec.fmtp);
        self.tracks = self.tracks.with(track.into());
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
        let section = stream.section;
        let rival = self.streams.iter_mut().find(|stream| stream.active && stream.section == section);
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
        let stream = Stream::new(fields.ssrc, section, media, now);
        if self.streams.len() < STREAMS_MAX {
            self.streams.push(stream);
            return Some(self.streams.len() - 1);
        }
        // A publisher that restarts again and again gets its oldest dead stream's place.
        let (place, old) = self.streams.iter_mut().enumerate().filter(|(_, old)| !old.active).min_by_key(|(_, old)| old.last)?;
        *old = stream;
        Some(place)
    }

    fn poll_gaps(&mut self, now: Instant, stats: &mut SessionStats, rtcp: &mut Compounds) {
        for stream in self.streams.iter_mut().filter(|stream| stream.active) {
            if stream.gaps.next_due().is_none_or(|due| now < due) {
                continue;
            }
            if stream.gaps.poll(now, self.rtt, &mut self.asked) && stream.kind == MediaKind::Video {
                self.keyframes.wish(now);
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
        if !self.has_video() || !self.keyframes.poll(now) {
            return;
        }
        for stream in self.active().filter(|stream| stream.kind == MediaKind::Video) {
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
