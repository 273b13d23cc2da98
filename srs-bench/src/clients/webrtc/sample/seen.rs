//! What a sampled viewer's packets come to, counted as the light viewers' are: by the same meter of the
//! stream, and the same look into frames.

use std::time::{Duration, Instant};

use rtc::{rtp::Packet, shared::marshal::MarshalSize as _};

use super::super::{
    answer::PayloadTypes,
    inbound::Inbound,
    picture::{Pictures, Piece},
};
use crate::{
    clients::crew::Report,
    measure::{StreamMeter, Tally},
};

const OPUS_CLOCK: u32 = 48_000;
const VIDEO_CLOCK: u32 = 90_000;
/// A keyframe that was asked for may be on its way.
const PLI_EVERY: Duration = Duration::from_secs(1);
/// Servers begin with a keyframe by themselves, most of them.
const FIRST_PLI: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Seen {
    types: PayloadTypes,
    audio: Option<Stream>,
    video: Option<Stream>,
    pictures: Pictures,
    last_media: Option<Instant>,
    next_pli: Option<Instant>,
}

struct Stream {
    inbound: Inbound,
    meter: StreamMeter,
}

impl Seen {
    pub(super) fn new(types: PayloadTypes) -> Self {
        Self { types, audio: None, video: None, pictures: Pictures::default(), last_media: None, next_pli: None }
    }

    /// When the last packet came.
    pub(super) const fn last_media(&self) -> Option<Instant> {
        self.last_media
    }

    /// A packet that came at `now`.
    pub(super) fn handle(&mut self, now: Instant, packet: &Packet, report: &mut Report, tally: &mut Tally) {
        let header = &packet.header;
        let video = Some(header.payload_type) == self.types.video;
        if !video && Some(header.payload_type) != self.types.audio {
            return;
        }
        self.last_media = Some(now);
        report.media(tally, now);
        let stream = self.stream(video, header.ssrc, header.sequence_number, now);
        let placed = stream.inbound.place(header.sequence_number, header.timestamp, now);
        let bytes = header.marshal_size() + packet.payload.len();
        stream.meter.packet(tally, placed.index, header.timestamp, now, bytes);
        if video {
            if placed.interrupted && self.pictures.give_up(placed.index.saturating_sub(1)) {
                self.lose_frame(tally);
            }
            let (timestamp, marker, payload) = (header.timestamp, header.marker, Some(&packet.payload[..]));
            self.pictures.handle(&Piece { index: placed.index, timestamp, marker, payload });
            self.count_frames(now, report, tally);
        }
    }

    /// The stream of a packet; a new one if the server began anew under another SSRC.
    fn stream(&mut self, video: bool, ssrc: u32, sequence: u16, now: Instant) -> &mut Stream {
        let (slot, clock) = if video { (&mut self.video, VIDEO_CLOCK) } else { (&mut self.audio, OPUS_CLOCK) };
        if slot.as_ref().is_some_and(|stream| stream.inbound.ssrc != ssrc) {
            *slot = None;
            if video {
                self.pictures = Pictures::default();
            }
        }
        slot.get_or_insert_with(|| Stream {
            // The stack asks for what is missing, not this: it is given up after as long as by the light ones.
            inbound: Inbound::new(ssrc, sequence, clock, (video, true), now),
            meter: StreamMeter::new(clock),
        })
    }

    fn count_frames(&mut self, now: Instant, report: &mut Report, tally: &mut Tally) {
        while let Some(frame) = self.pictures.poll() {
            match frame {
                Ok(whole) => {
                    let Some(video) = &mut self.video else { return };
                    video.meter.frame(tally, now, whole.keyframe, whole.stamp);
                    if whole.keyframe {
                        report.keyframe(tally, now);
                    }
                }
                Err(()) => self.lose_frame(tally),
            }
        }
        if self.pictures.needs_keyframe() {
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

    /// Gives up what does not come any more.
    pub(super) fn handle_timeout(&mut self, now: Instant, report: &mut Report, tally: &mut Tally) {
        let Some(video) = &mut self.video else { return };
        let (mut asked_by_the_stack, mut given_up) = (Vec::new(), Vec::new());
        video.inbound.due(now, &mut asked_by_the_stack, &mut given_up);
        let lost = given_up.into_iter().filter(|index| self.pictures.give_up(*index)).count();
        (0..lost).for_each(|_| self.lose_frame(tally));
        self.count_frames(now, report, tally);
    }

    /// The stream that cannot be shown without a keyframe, when it is time to ask for one.
    pub(super) fn poll_keyframe_wish(&mut self, now: Instant) -> Option<u32> {
        let ssrc = self.video.as_ref()?.inbound.ssrc;
        self.next_pli.filter(|at| now >= *at)?;
        self.next_pli = Some(now + PLI_EVERY);
        Some(ssrc)
    }

    /// The session ends.
    pub(super) fn end(&mut self, now: Instant, tally: &mut Tally) {
        if let Some(video) = &mut self.video {
            video.meter.end(tally, now);
        }
    }
}
