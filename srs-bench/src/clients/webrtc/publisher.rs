//! A publisher: H.264 and Opus packets in real time at a pacer's distance, sender reports, and answers
//! to NACK and PLI, as a browser gives them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use weir_rtc::wire::{
    Ntp,
    ext::{AbsSendTime, ExtensionIds, Values},
    rtcp::{self, Compound, Rtcp, SenderInfo},
    rtp::Fields,
};

use super::{
    answer::Answer,
    offer::{AUDIO_MID, VIDEO_MID},
    transport::{Out, Transport},
};
use crate::{
    clients::{Options, crew::Report},
    measure::{Count, Tally},
    media::{Sound, Source, Track, rtp::Packetizer},
};

/// Between the packets of a picture: what libwebrtc's pacer makes of a full packet at 2.5 times
/// this bitrate; a larger picture is out within [`PICTURE_MAX`] all the same.
const PACE: Duration = Duration::from_millis(5);
const PICTURE_MAX: Duration = Duration::from_millis(100);
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Publishers begin somewhere within this, for not all to send their keyframes at once.
const BEGIN_WITHIN_MS: u64 = 1_000;
/// Packets of a stream that a NACK can ask for.
const KEPT_MAX: usize = 256;
/// A publisher that was not given time drops what is older, or it would send a burst.
const QUEUE_MAX: usize = 1_024;

/// See the module.
pub(super) struct Publisher {
    source: Source,
    packetizer: Packetizer,
    audio: Option<Stream>,
    video: Option<Stream>,
    extensions: ExtensionIds,
    transport_seq: u16,
    /// When the stream begins.
    start: Option<Instant>,
    wall: Ntp,
    /// Packets that wait for their time, in its order.
    queue: VecDeque<Due>,
    next_report: Instant,
    /// When the last packet of a picture leaves: none of the next picture does before.
    pictures_until: Option<Instant>,
}

/// One packet and when it leaves.
struct Due {
    at: Instant,
    video: bool,
    marker: bool,
    timestamp: u32,
    payload: Bytes,
}

impl Publisher {
    pub(super) fn new(answer: &Answer, [audio, video]: [u32; 2], options: &Options, now: Instant) -> Self {
        let source = options.studio.source(Sound::Opus);
        Self {
            packetizer: Packetizer::new(source.format(Track::Video)),
            source,
            audio: answer.types.audio.map(|payload_type| Stream::new(audio, payload_type, AUDIO_MID, 48_000)),
            video: answer.types.video.map(|payload_type| Stream::new(video, payload_type, VIDEO_MID, 90_000)),
            extensions: answer.extensions,
            transport_seq: 0,
            start: None,
            wall: Ntp::default(),
            queue: VecDeque::new(),
            next_report: now,
            pictures_until: None,
        }
    }

    fn begin(&mut self, now: Instant) -> Instant {
        let delay = Duration::from_millis(rand::random::<u64>() % BEGIN_WITHIN_MS);
        let start = now + delay;
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.wall = Ntp::from_unix(unix + delay);
        self.next_report = start + REPORT_EVERY / 4;
        *self.start.insert(start)
    }

    /// An SRTCP packet.
    pub(super) fn handle_rtcp(&mut self, data: &mut [u8], transport: &mut Transport, io: &mut Out, tally: &mut Tally) {
        let Some(unprotect) = &mut transport.unprotect else { return };
        let Ok(opened) = unprotect.rtcp(data) else { return tally.add(Count::Bad, 1) };
        for packet in Compound::new(data.get(..opened.plain_len).unwrap_or_default()) {
            match packet {
                Rtcp::Nack(nack) => {
                    for sequence in nack.lost() {
                        tally.add(Count::Nacked, 1);
                        let streams = [&self.audio, &self.video].into_iter().flatten();
                        streams.filter(|stream| stream.ssrc == nack.media_ssrc).for_each(|s| s.resend(transport, io, sequence));
                    }
                }
                Rtcp::Pli { .. } | Rtcp::Fir(_) => {
                    tally.add(Count::KeyframesAsked, 1);
                    self.source.force_keyframe();
                }
                Rtcp::Rr(report) => {
                    for block in report.blocks() {
                        let streams = [&mut self.audio, &mut self.video].into_iter().flatten();
                        streams
                            .filter(|stream| stream.ssrc == block.ssrc)
                            .for_each(|s| s.note_lost(block.cumulative_lost, tally));
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends what is due.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        transport: &mut Transport,
        io: &mut Out,
        report: &mut Report,
        tally: &mut Tally,
    ) {
        let start = self.start.unwrap_or_else(|| self.begin(now));
        self.capture(now, start, tally);
        self.send_due(now, start, transport, io, report, tally);
        if now >= self.next_report {
            self.next_report += REPORT_EVERY;
            self.report(now, start, transport, io);
        }
    }

    /// When [`Publisher::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let Some(start) = self.start else { return now };
        let made = (start + self.source.due()).min(self.next_report);
        self.queue.front().map_or(made, |due| due.at.min(made))
    }

    /// Makes what is due by now.
    fn capture(&mut self, now: Instant, start: Instant, tally: &mut Tally) {
        while start + self.source.due() <= now {
            let frame = self.source.frame();
            let video = frame.track == Track::Video;
            let Some(stream) = (if video { &self.video } else { &self.audio }) else { continue };
            let (timestamp, at) = (stream.timestamp(frame.pts), start + frame.due);
            let payloads = self.packetizer.payloads(&frame);
            let last = payloads.len().saturating_sub(1);
            let pace = PACE.min(PICTURE_MAX / (last.max(1) as u32));
            for (place, payload) in payloads.into_iter().enumerate() {
                self.push(Due { at: at + pace * place as u32, video, marker: video && place == last, timestamp, payload });
            }
            tally.add(Count::SentFrames, video.into());
        }
    }

    fn push(&mut self, mut due: Due) {
        if self.queue.len() < QUEUE_MAX {
            if due.video {
                let gap = PACE.min(PICTURE_MAX / (self.queue.len().max(1) as u32));
                due.at = self.pictures_until.map_or(due.at, |until| due.at.max(until + gap));
                self.pictures_until = Some(due.at);
            }
            let place = self.queue.partition_point(|other| other.at <= due.at);
            self.queue.insert(place, due);
        }
    }

    fn send_due(
        &mut self,
        now: Instant,
        start: Instant,
        transport: &Transport,
        io: &mut Out,
        report: &mut Report,
        tally: &mut Tally,
    ) {
        while let Some(due) = self.queue.pop_front_if(|due| due.at <= now) {
            let sent = AbsSendTime::from_ntp(self.wall.plus(now.saturating_duration_since(start)));
            let stream = if due.video { &mut self.video } else { &mut self.audio };
            let Some(stream) = stream else { continue };
            let len = stream.send(transport, io, &due, (self.transport_seq, sent), &self.extensions);
            self.transport_seq = self.transport_seq.wrapping_add(1);
            report.media(tally, now);
            tally.sent(1, len);
        }
    }

    /// RFC 3550 6.4: a sender report of each stream, with its name.
    fn report(&self, now: Instant, start: Instant, transport: &mut Transport, io: &mut Out) {
        let since = now.saturating_duration_since(start);
        for stream in [&self.audio, &self.video].into_iter().flatten() {
            let info = SenderInfo {
                ssrc: stream.ssrc,
                ntp: self.wall.plus(since),
                rtp_timestamp: stream.timestamp(since),
                packets: stream.packets,
                octets: stream.octets,
            };
            let mut plain = Vec::new();
            rtcp::emit_sr(&info, &[], &mut plain);
            rtcp::emit_sdes_cname(stream.ssrc, "bench", &mut plain);
            transport.send_rtcp(io, &plain);
        }
    }
}

/// One SSRC of a publisher.
struct Stream {
    ssrc: u32,
    payload_type: u8,
    mid: &'static str,
    clock_rate: u32,
    first_timestamp: u32,
    index: u64,
    packets: u32,
    octets: u32,
    /// As the server's last report says.
    lost: i32,
    /// Index, header and payload of what was sent lately.
    kept: VecDeque<(u64, Vec<u8>, Bytes)>,
}

impl Stream {
    fn new(ssrc: u32, payload_type: u8, mid: &'static str, clock_rate: u32) -> Self {
        Self {
            ssrc,
            payload_type,
            mid,
            clock_rate,
            first_timestamp: rand::random(),
            index: rand::random::<u64>() % (1 << 15),
            packets: 0,
            octets: 0,
            lost: 0,
            kept: VecDeque::new(),
        }
    }

    fn timestamp(&self, at: Duration) -> u32 {
        let ticks = at.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        self.first_timestamp.wrapping_add(ticks as u32)
    }

    fn send(
        &mut self,
        transport: &Transport,
        io: &mut Out,
        due: &Due,
        (seq, sent): (u16, AbsSendTime),
        ids: &ExtensionIds,
    ) -> usize {
        let values = Values { mid: Some(self.mid), transport_seq: Some(seq), abs_send_time: Some(sent), ..Values::default() };
        let fields = Fields {
            marker: due.marker,
            payload_type: self.payload_type,
            sequence: self.index as u16,
            timestamp: due.timestamp,
            ssrc: self.ssrc,
        };
        let mut header = [0; 64];
        let Some(header) = fields.emit_with(false, &values, ids, &mut header).and_then(|len| header.get(..len)) else { return 0 };
        transport.send_rtp(io, self.index, header, &due.payload);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((self.index, header.to_vec(), due.payload.clone()));
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(due.payload.len() as u32);
        header.len() + due.payload.len()
    }

    fn resend(&self, transport: &Transport, io: &mut Out, wire_seq: u16) {
        if let Some((index, header, payload)) = self.kept.iter().find(|(index, ..)| *index as u16 == wire_seq) {
            transport.send_rtp(io, *index, header, payload);
        }
    }

    fn note_lost(&mut self, lost: i32, tally: &mut Tally) {
        // What came late after all is not taken back: the counter only goes up.
        let more = lost.saturating_sub(self.lost);
        if more > 0 {
            tally.add(Count::SentLost, u64::from(more.unsigned_abs()));
            self.lost = lost;
        }
    }
}
