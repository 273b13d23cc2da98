//! A viewer: counts and checks what comes, and sends back what a browser does.

use std::time::{Duration, Instant};

use weir_rtc::wire::{
    ext::{ExtensionIds, Values},
    rtcp::{self, Compound, Rtcp},
    rtp::{Fields, Header, Packet},
};

use super::{
    answer::{Answer, PayloadTypes},
    inbound::Inbound,
    picture::{Pictures, Piece},
    transport::{Out, Transport},
};
use crate::{
    clients::{Feedback, Options, Verify, crew::Report},
    measure::{Count, StreamMeter, Tally},
};

const REPORT_EVERY: Duration = Duration::from_secs(1);
const TRANSPORT_EVERY: Duration = Duration::from_millis(100);
/// A keyframe that was asked for may be on its way.
const PLI_EVERY: Duration = Duration::from_secs(1);
/// Servers begin with a keyframe by themselves, most of them.
const FIRST_PLI: Duration = Duration::from_millis(200);
/// Arrivals until the next feedback: 100 ms of a 100 Mb/s stream.
const ARRIVALS_MAX: usize = 1_024;
const OPUS_CLOCK: u32 = 48_000;
const VIDEO_CLOCK: u32 = 90_000;
/// RFC 4588 section 4: the number that the packet had at first.
const OSN_LEN: usize = 2;

/// See the module.
pub(super) struct Viewer {
    types: PayloadTypes,
    extensions: ExtensionIds,
    transport_cc: bool,
    verify: Verify,
    feedback: Feedback,
    own_ssrc: u32,
    audio: Option<Stream>,
    video: Option<Stream>,
    pictures: Pictures,
    /// Counts packets for a share to be opened.
    turn: u32,
    last_media: Option<Instant>,
    next_report: Instant,
    next_pli: Option<Instant>,
    arrivals: Vec<(u16, Option<Duration>)>,
    next_feedback: Option<Instant>,
    feedbacks: u8,
    epoch: Instant,
}

struct Stream {
    inbound: Inbound,
    meter: StreamMeter,
}

impl Viewer {
    pub(super) fn new(answer: &Answer, options: &Options, now: Instant) -> Self {
        Self {
            types: answer.types,
            extensions: answer.extensions,
            transport_cc: options.feedback.transport_cc && answer.transport_cc && answer.extensions.transport_cc.is_some(),
            verify: options.verify,
            feedback: options.feedback,
            own_ssrc: rand::random::<u32>() | 1,
            audio: None,
            video: None,
            pictures: Pictures::default(),
            turn: 0,
            last_media: None,
            // Spread over the second: clients that began together do not report together.
            next_report: now + REPORT_EVERY.mul_f32(rand::random::<f32>()),
            next_pli: None,
            arrivals: Vec::new(),
            next_feedback: None,
            feedbacks: 0,
            epoch: now,
        }
    }

    /// When the last packet came.
    pub(super) const fn last_media(&self) -> Option<Instant> {
        self.last_media
    }

    /// An SRTP packet.
    pub(super) fn handle_rtp(
        &mut self,
        now: Instant,
        data: &mut [u8],
        transport: &mut Transport,
        report: &mut Report,
        tally: &mut Tally,
    ) {
        let Ok(header) = Header::parse(data) else { return tally.add(Count::Bad, 1) };
        let (fields, seq) = (header.fields, self.transport_seq(&header));
        let payload_type = Some(fields.payload_type);
        if payload_type == self.types.rtx {
            return self.handle_rtx(now, data, transport, report, tally);
        }
        let video = payload_type == self.types.video;
        if !video && payload_type != self.types.audio {
            return;
        }
        let Some(unprotect) = &mut transport.unprotect else { return };
        let opened = self.opens(video);
        if opened && unprotect.rtp(data).is_err() {
            return tally.add(Count::Bad, 1);
        }
        if let Some(seq) = seq.filter(|_| self.transport_cc) {
            self.note_arrival(seq, now);
        }
        self.last_media = Some(now);
        report.media(tally, now);
        let tag = transport.tag_len();
        let stream = self.stream(video, &fields, now);
        let placed = stream.inbound.place(fields.sequence, fields.timestamp, now);
        stream.meter.packet(tally, placed.index, fields.timestamp, now, data.len().saturating_sub(tag));
        if video {
            if placed.interrupted && self.pictures.give_up(placed.index.saturating_sub(1)) {
                self.lose_frame(tally);
            }
            let plain = data.get(..data.len().saturating_sub(tag)).unwrap_or_default();
            let payload = if opened { Packet::parse(plain).ok().map(|packet| packet.payload) } else { None };
            self.show(now, &fields, placed.index, payload, report, tally);
        }
    }

    /// RFC 4588 section 4. Only what is missing is taken: the rest are probes, or came twice.
    fn handle_rtx(&mut self, now: Instant, data: &mut [u8], transport: &mut Transport, report: &mut Report, tally: &mut Tally) {
        let Some(unprotect) = &mut transport.unprotect else { return };
        let Ok(opened) = unprotect.rtp(data) else { return tally.add(Count::Bad, 1) };
        let plain = data.get(..opened.plain_len).unwrap_or_default();
        let Ok(packet) = Packet::parse(plain) else { return };
        if let Some(seq) = self.transport_seq(&packet.header).filter(|_| self.transport_cc) {
            self.note_arrival(seq, now);
        }
        let Some((sequence, payload)) = packet.payload.split_first_chunk::<OSN_LEN>() else { return };
        let Some(video) = &mut self.video else { return };
        let Some(index) = video.inbound.fill(u16::from_be_bytes(*sequence)) else { return };
        let fields = packet.header.fields;
        video.meter.packet(tally, index, fields.timestamp, now, plain.len() - OSN_LEN);
        self.pictures.handle(&Piece { index, timestamp: fields.timestamp, marker: fields.marker, payload: Some(payload) });
        self.count_frames(now, report, tally);
    }

    fn transport_seq(&self, header: &Header<'_>) -> Option<u16> {
        self.transport_cc.then(|| Values::read(&header.extensions, &self.extensions).transport_seq).flatten()
    }

    /// Whether the next packet is opened.
    fn opens(&mut self, video: bool) -> bool {
        self.turn = self.turn.wrapping_add(1);
        match self.verify {
            Verify::All => true,
            Verify::Every(share) => (video && self.pictures.needs_keyframe()) || self.turn.is_multiple_of(share),
            Verify::None => false,
        }
    }

    /// The stream of a packet; a new one if the server began anew under another SSRC.
    fn stream(&mut self, video: bool, fields: &Fields, now: Instant) -> &mut Stream {
        let asks = video && self.feedback.nack;
        let (slot, clock) = if video { (&mut self.video, VIDEO_CLOCK) } else { (&mut self.audio, OPUS_CLOCK) };
        if slot.as_ref().is_some_and(|stream| stream.inbound.ssrc != fields.ssrc) {
            *slot = None;
            if video {
                self.pictures = Pictures::default();
            }
        }
        slot.get_or_insert_with(|| Stream {
            inbound: Inbound::new(fields.ssrc, fields.sequence, clock, (video, asks), now),
            meter: StreamMeter::new(clock),
        })
    }

    fn show(
        &mut self,
        now: Instant,
        fields: &Fields,
        index: u64,
        payload: Option<&[u8]>,
        report: &mut Report,
        tally: &mut Tally,
    ) {
        self.pictures.handle(&Piece { index, timestamp: fields.timestamp, marker: fields.marker, payload });
        self.count_frames(now, report, tally);
    }

    fn count_frames(&mut self, now: Instant, report: &mut Report, tally: &mut Tally) {
        while let Some(frame) = self.pictures.poll() {
            let Some(video) = &mut self.video else { return };
            match frame {
                Ok(whole) => {
                    video.meter.frame(tally, now, whole.keyframe, whole.stamp);
                    if whole.keyframe {
                        report.keyframe(tally, now);
                    }
                }
                Err(()) => self.lose_frame(tally),
            }
        }
        // Packets that were not opened do not show whether there is a keyframe.
        if self.feedback.pli && self.verify != Verify::None && self.pictures.needs_keyframe() {
            let patience = if self.pictures.has_keyframe() { Duration::ZERO } else { FIRST_PLI };
            self.next_pli.get_or_insert(now + patience);
        } else {
            self.next_pli = None;
        }
    }

    fn lose_frame(&mut self, tally: &mut Tally) {
        if let Some(video) = &mut self.video {
            video.meter.frame_lost(tally);
        }
    }

    fn note_arrival(&mut self, seq: u16, now: Instant) {
        if self.arrivals.len() < ARRIVALS_MAX {
            let at = now.saturating_duration_since(self.epoch);
            // In order, as the feedback wants them: almost always at the end.
            let place = self.arrivals.iter().rposition(|(other, _)| seq.wrapping_sub(*other) < 1 << 15).map_or(0, |at| at + 1);
            self.arrivals.insert(place, (seq, Some(at)));
            self.next_feedback.get_or_insert(now + TRANSPORT_EVERY);
        }
    }

    /// An SRTCP packet.
    pub(super) fn handle_rtcp(&mut self, now: Instant, data: &mut [u8], transport: &mut Transport, tally: &mut Tally) {
        let Some(unprotect) = &mut transport.unprotect else { return };
        let Ok(opened) = unprotect.rtcp(data) else { return tally.add(Count::Bad, 1) };
        for packet in Compound::new(data.get(..opened.plain_len).unwrap_or_default()) {
            if let Rtcp::Sr(report) = packet {
                let own = [&mut self.audio, &mut self.video].into_iter().flatten();
                for stream in own.filter(|stream| stream.inbound.ssrc == report.info.ssrc) {
                    stream.inbound.note_report(report.info.ntp, now);
                }
            }
        }
    }

    /// Reports and requests that are due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        transport: &mut Transport,
        io: &mut Out,
        report: &mut Report,
        tally: &mut Tally,
    ) {
        let mut plain = Vec::new();
        if self.feedback.reports && now >= self.next_report {
            self.next_report = now + REPORT_EVERY;
            let streams = [&mut self.audio, &mut self.video].into_iter().flatten();
            let blocks: Vec<_> = streams.map(|stream| stream.inbound.report(now)).collect();
            rtcp::emit_rr(self.own_ssrc, &blocks, &mut plain);
            rtcp::emit_sdes_cname(self.own_ssrc, "bench", &mut plain);
        }
        let (mut ask, mut given_up) = (Vec::new(), Vec::new());
        if let Some(video) = &mut self.video {
            video.inbound.due(now, &mut ask, &mut given_up);
            rtcp::emit_nack(self.own_ssrc, video.inbound.ssrc, ask, &mut plain);
        }
        let lost = given_up.into_iter().filter(|index| self.pictures.give_up(*index)).count();
        (0..lost).for_each(|_| self.lose_frame(tally));
        self.count_frames(now, report, tally);
        if let (Some(video), true) = (&self.video, self.next_pli.is_some_and(|at| now >= at)) {
            rtcp::emit_pli(self.own_ssrc, video.inbound.ssrc, &mut plain);
            self.next_pli = Some(now + PLI_EVERY);
        }
        if self.next_feedback.is_some_and(|at| now >= at) {
            self.next_feedback = None;
            self.emit_feedback(&mut plain);
        }
        if !plain.is_empty() {
            transport.send_rtcp(io, &plain);
        }
    }

    fn emit_feedback(&mut self, plain: &mut Vec<u8>) {
        let media = self.video.as_ref().or(self.audio.as_ref()).map_or(0, |stream| stream.inbound.ssrc);
        // One packet is enough for all but a burst after silence; what it leaves is not worth a second.
        let _covered = rtcp::emit_transport_feedback(self.own_ssrc, media, self.feedbacks, &self.arrivals, plain);
        self.feedbacks = self.feedbacks.wrapping_add(1);
        self.arrivals.clear();
    }

    /// When [`Viewer::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self) -> Instant {
        let reports = if self.feedback.reports { self.next_report } else { self.next_report + Duration::from_secs(3_600) };
        let holes = self.video.as_ref().and_then(|video| video.inbound.poll_timeout());
        let pli = self.next_pli.filter(|_| self.video.is_some());
        [holes, pli, self.next_feedback].into_iter().flatten().fold(reports, Instant::min)
    }

    /// The session ends.
    pub(super) fn end(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(video) = &mut self.video {
            video.meter.end(tally, now);
        }
    }
}
