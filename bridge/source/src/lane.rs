//! What the two lanes of a source hold, how their numbering goes on and how it is counted.

use std::sync::atomic::Ordering;

use crate::{Frame, Lane, MediaKind, MediaTime, Packet, Ring, RingItem, Source, TrackId, Tracks};

/// How the numbering of a packets lane goes on when its writer changes.
#[derive(Default)]
pub(crate) struct Resume {
    tracks: [TrackResume; TrackId::MAX],
}

impl Resume {
    /// What of the lane's tracks each packet asks for: the snapshot itself is three loads away.
    pub(crate) fn note(&mut self, tracks: &Tracks) {
        let smallest = tracks.list.iter().map(|track| track.rank()).max();
        for (id, resume) in (0..).zip(&mut self.tracks) {
            let track = TrackId::new(id).and_then(|id| tracks.get(id));
            resume.rate = track.map_or(0, |track| track.clock_rate);
            resume.counts = match track.filter(|track| track.kind() == MediaKind::Video) {
                None => Counts::Sound,
                Some(track) if Some(track.rank()) == smallest => Counts::Picture,
                Some(_) => Counts::Nothing,
            };
        }
    }
}

/// What the packets of a track are counted as.
#[derive(Default, Clone, Copy)]
enum Counts {
    #[default]
    Sound,
    /// The last one of each picture.
    Picture,
    /// One picture in several encodings is one: the smallest is sent whatever else is not.
    Nothing,
}

/// One line of the cache.
#[derive(Default, Clone, Copy)]
#[repr(align(64))]
struct TrackResume {
    epoch: u32,
    /// 0: not known.
    rate: u32,
    counts: Counts,
    first_seq: u64,
    seq_offset: u64,
    timestamp_offset: u64,
    next_seq: u64,
    last_timestamp: u64,
    last_capture: MediaTime,
}

/// The two kinds of items that a source's lanes hold. Not to be implemented elsewhere.
pub trait LaneItem: RingItem + Sized + Send + 'static {
    /// Its lane.
    const LANE: Lane;
    #[doc(hidden)]
    fn ring(source: &Source) -> &Ring<Self>;
    #[doc(hidden)]
    fn adopt(&mut self, resume: &mut ResumeCell<'_>) -> bool;
    #[doc(hidden)]
    fn count(&self, resume: &ResumeCell<'_>, tally: &mut Tally);
    #[doc(hidden)]
    fn measure(&self, _source: &Source, _now_ms: u64) {}
}

/// What a batch adds to a source's counters.
#[doc(hidden)]
#[derive(Default)]
pub struct Tally {
    audio: u64,
    video: u64,
    pub(crate) bytes: u64,
    pub(crate) latest: MediaTime,
}

impl Tally {
    pub(crate) fn enter(&self, source: &Source) {
        let stats = &source.stats;
        for (counter, count) in [(&stats.audio, self.audio), (&stats.video, self.video), (&stats.recv_bytes, self.bytes)] {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
        source.raise_floor(self.latest);
    }
}

/// What [`LaneItem::adopt`] may change.
#[doc(hidden)]
pub struct ResumeCell<'a> {
    pub(crate) epoch: u32,
    pub(crate) resume: &'a mut Resume,
}

impl LaneItem for Packet {
    const LANE: Lane = Lane::Packets;

    fn ring(source: &Source) -> &Ring<Self> {
        &source.packets
    }

    fn count(&self, cell: &ResumeCell<'_>, tally: &mut Tally) {
        match cell.resume.tracks[self.track.index()].counts {
            Counts::Sound => tally.audio += 1,
            Counts::Picture => tally.video += u64::from(self.marker),
            Counts::Nothing => {}
        }
    }

    fn measure(&self, source: &Source, now_ms: u64) {
        source.measure(now_ms, self.track, self.payload.len());
    }

    /// Lays the writer's sequence numbers and timestamps end to end with those of the writer
    /// before it. Packets from before the writer's first one (reordered at its very start) are
    /// dropped: their numbers belong to the past.
    fn adopt(&mut self, cell: &mut ResumeCell<'_>) -> bool {
        let track = &mut cell.resume.tracks[self.track.index()];
        if track.epoch != cell.epoch {
            let rate = if track.rate == 0 { 90_000 } else { track.rate };
            let step = MediaTime::from_micros((self.capture - track.last_capture).max(0)).to_ticks(rate);
            let timestamp = if track.epoch == 0 {
                self.timestamp
            } else {
                track.last_timestamp.wrapping_add(u64::try_from(step).unwrap_or(0).max(1))
            };
            track.epoch = cell.epoch;
            track.first_seq = self.seq;
            track.seq_offset = track.next_seq.wrapping_sub(self.seq);
            track.timestamp_offset = timestamp.wrapping_sub(self.timestamp);
        }
        if self.seq < track.first_seq {
            return false;
        }
        self.epoch = cell.epoch;
        self.seq = self.seq.wrapping_add(track.seq_offset);
        self.timestamp = self.timestamp.wrapping_add(track.timestamp_offset);
        track.next_seq = track.next_seq.max(self.seq.wrapping_add(1));
        if self.timestamp > track.last_timestamp {
            track.last_timestamp = self.timestamp;
            track.last_capture = self.capture;
        }
        true
    }
}

impl LaneItem for Frame {
    const LANE: Lane = Lane::Frames;

    fn ring(source: &Source) -> &Ring<Self> {
        &source.frames
    }

    fn adopt(&mut self, cell: &mut ResumeCell<'_>) -> bool {
        self.epoch = cell.epoch;
        true
    }

    fn count(&self, _cell: &ResumeCell<'_>, tally: &mut Tally) {
        match self.kind() {
            MediaKind::Audio => tally.audio += 1,
            MediaKind::Video => tally.video += 1,
        }
    }
}
