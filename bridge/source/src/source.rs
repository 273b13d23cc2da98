//! One stream by name: two rings, their tracks, and who fills and reads them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::{MappedMutexGuard, Mutex};

use crate::{
    Claim, Frame, LayerState, Limits, MediaTime, Packet, Ring, StreamKey, TrackId, TrackSet, Tracks, lane::Resume, layer::Meter,
};

/// Two groups of pictures of a 20 Mb/s stream, or ten seconds at 60 frames a second with sound
/// three times over. SRS keeps 2,500 frames.
const FRAMES: Limits = Limits { items: 4_096, bytes: 32 << 20, span: Duration::from_secs(6) };
/// A ten-second group at 8 Mb/s in packets of 1,200 bytes. Three seconds outlast any retransmission
/// that a player's jitter buffer would still take.
const PACKETS: Limits = Limits { items: 8_192, bytes: 16 << 20, span: Duration::from_secs(3) };

/// The two lanes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// RTP packets: native to WebRTC.
    Packets,
    /// Coded frames: native to RTMP, FLV and HLS.
    Frames,
}

impl Lane {
    /// The lane that a remuxer reads to fill this one.
    pub const fn other(self) -> Self {
        match self {
            Self::Packets => Self::Frames,
            Self::Frames => Self::Packets,
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Packets => 0,
            Self::Frames => 1,
        }
    }
}

/// Tells a reader or a publisher that there is something to look at. Called often and from any
/// thread, so it must be cheap, must not block and should coalesce.
pub trait Wake: Send + Sync {
    /// Something changed.
    fn wake(&self);
}

/// Counters of a source. Each is one relaxed atomic, touched once per batch at most.
#[derive(Debug, Default)]
pub struct SourceStats {
    /// Payload bytes from publishers.
    pub recv_bytes: AtomicU64,
    /// Audio frames or packets from publishers.
    pub audio: AtomicU64,
    /// Video frames (RTP: packets with the marker) from publishers.
    pub video: AtomicU64,
    /// Pushes refused because the publisher had been replaced.
    pub refused: AtomicU64,
    /// Items that readers lost by falling behind.
    pub lagged: AtomicU64,
    /// Keyframe requests that reached the publisher, coalesced.
    pub keyframe_requests: AtomicU64,
}

/// One stream by name. It lives while somebody publishes or reads it.
pub struct Source {
    pub(crate) key: StreamKey,
    pub(crate) made: Instant,
    pub(crate) packets: Ring<Packet>,
    pub(crate) frames: Ring<Frame>,
    pub(crate) tracks: [ArcSwap<Tracks>; 2],
    pub(crate) control: Mutex<Control>,
    pub(crate) stats: SourceStats,
    /// When the publisher last sent media, in milliseconds after the source was made.
    pub(crate) last_media_ms: AtomicU64,
    /// The bits of the tracks that are wished a keyframe.
    keyframes_wanted: AtomicU8,
    meters: [Meter; TrackId::MAX],
    floor_us: AtomicI64,
}

/// Who may write a lane, and how its numbering goes on from one writer to the next.
#[derive(Default)]
pub(crate) struct WriterState {
    pub(crate) epoch: u32,
    pub(crate) resume: Resume,
}

impl WriterState {
    /// The next writer's right begins, and every former one's ends.
    pub(crate) fn advance(&mut self) -> u32 {
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.epoch
    }
}

/// Control plane state: changed when somebody comes or goes.
#[derive(Default)]
pub(crate) struct Control {
    pub(crate) seat: Option<Seat>,
    pub(crate) readers: [usize; 2],
    pub(crate) remux: Option<Arc<RemuxSeat>>,
    pub(crate) seats_taken: u64,
}

/// The publisher that holds the source.
pub(crate) struct Seat {
    pub(crate) number: u64,
    pub(crate) lane: Lane,
    pub(crate) client: String,
    pub(crate) claim: Claim,
    pub(crate) wake: Arc<dyn Wake>,
    pub(crate) since: Instant,
}

/// A running remuxer.
pub(crate) struct RemuxSeat {
    pub(crate) lane: Lane,
    pub(crate) stop: AtomicBool,
}

impl Source {
    pub(crate) fn new(key: StreamKey, now: Instant) -> Self {
        Self {
            key,
            made: now,
            packets: Ring::new(PACKETS),
            frames: Ring::new(FRAMES),
            tracks: [ArcSwap::default(), ArcSwap::default()],
            control: Mutex::default(),
            stats: SourceStats::default(),
            last_media_ms: AtomicU64::new(0),
            keyframes_wanted: AtomicU8::new(0),
            meters: Default::default(),
            floor_us: AtomicI64::new(0),
        }
    }

    /// Its name.
    pub fn key(&self) -> &StreamKey {
        &self.key
    }

    /// `now` on the source's clock.
    pub fn media_time(&self, now: Instant) -> MediaTime {
        MediaTime::ZERO + now.saturating_duration_since(self.made)
    }

    /// When the source was made: time zero of its clock.
    pub fn made(&self) -> Instant {
        self.made
    }

    /// `now` in milliseconds after it was made.
    pub(crate) fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.made).as_millis()).unwrap_or(u64::MAX)
    }

    /// Who may write a lane.
    pub(crate) fn writer(&self, lane: Lane) -> MappedMutexGuard<'_, WriterState> {
        match lane {
            Lane::Packets => self.packets.writer(),
            Lane::Frames => self.frames.writer(),
        }
    }

    /// The latest time that any publisher has stamped so far. A new publisher's timeline starts
    /// after it.
    pub fn floor(&self) -> MediaTime {
        MediaTime::from_micros(self.floor_us.load(Ordering::Relaxed))
    }

    pub(crate) fn raise_floor(&self, time: MediaTime) {
        self.floor_us.fetch_max(time.as_micros(), Ordering::Relaxed);
    }

    /// The tracks of a lane as they stand now; empty while nobody fills it.
    pub fn tracks(&self, lane: Lane) -> Arc<Tracks> {
        self.tracks[lane.index()].load_full()
    }

    /// The native lane of the present publisher, or `None` while there is none.
    pub fn publisher_lane(&self) -> Option<Lane> {
        self.control.lock().seat.as_ref().map(|seat| seat.lane)
    }

    /// The present publisher's client id and how long it has been there.
    pub fn publisher(&self, now: Instant) -> Option<(String, Duration)> {
        let control = self.control.lock();
        control.seat.as_ref().map(|seat| (seat.client.clone(), now.saturating_duration_since(seat.since)))
    }

    /// How many subscribers read a lane (remuxers not counted).
    pub fn readers(&self, lane: Lane) -> usize {
        self.control.lock().readers[lane.index()]
    }

    /// The counters.
    pub fn stats(&self) -> &SourceStats {
        &self.stats
    }

    /// The ring of packets, for retransmission.
    pub fn packets(&self) -> &Ring<Packet> {
        &self.packets
    }

    /// The ring of frames.
    pub fn frames(&self) -> &Ring<Frame> {
        &self.frames
    }

    /// Wishes for a keyframe of the picture, of the best layer that flows. See
    /// [`Source::request_keyframe_of`].
    pub fn request_keyframe(&self) {
        let best = self.layers().into_iter().find(|layer| layer.flowing.is_some());
        self.request_keyframe_of(best.map_or(TrackId::VIDEO, |layer| layer.track));
    }

    /// Wishes for a keyframe of a track. Wishes coalesce until the publisher takes them; publishers
    /// that cannot be asked (RTMP) leave them.
    pub fn request_keyframe_of(&self, track: TrackId) {
        let wish = TrackSet::of(track);
        let before = TrackSet::from_bits(self.keyframes_wanted.fetch_or(wish.bits(), Ordering::AcqRel));
        if before.contains(track) {
            return;
        }
        let wake = self.control.lock().seat.as_ref().map(|seat| Arc::clone(&seat.wake));
        if let Some(wake) = wake {
            wake.wake();
        }
    }

    pub(crate) fn take_keyframe_requests(&self) -> TrackSet {
        let wanted = TrackSet::from_bits(self.keyframes_wanted.swap(0, Ordering::AcqRel));
        if !wanted.is_empty() {
            self.stats.keyframe_requests.fetch_add(wanted.iter().count() as u64, Ordering::Relaxed);
        }
        wanted
    }

    /// The encodings of the picture in the packets lane as they flow now, the best first: one, or
    /// simulcast layers. Only what a publisher sends is measured, not what a remuxer does.
    pub fn layers(&self) -> Vec<LayerState> {
        let tracks = self.tracks[Lane::Packets.index()].load();
        let pictures = tracks.pictures();
        let meter = |track: TrackId| self.meters.get(track.index());
        let newest = pictures.iter().filter_map(|track| meter(track.id)).map(Meter::last).max().unwrap_or(0);
        pictures.iter().filter_map(|track| Some(meter(track.id)?.state(track.id, newest))).collect()
    }

    /// Called by the publisher alone, under its lane's lock.
    pub(crate) fn measure(&self, now_ms: u64, track: TrackId, bytes: usize) {
        if let Some(meter) = self.meters.get(track.index()) {
            meter.add(now_ms, bytes);
        }
    }

    pub(crate) fn reset_meters(&self) {
        self.meters.iter().for_each(Meter::reset);
    }

    pub(crate) fn is_idle(&self) -> bool {
        let control = self.control.lock();
        control.seat.is_none() && control.readers == [0, 0] && control.remux.is_none()
    }

    pub(crate) fn wake_readers(&self) {
        self.packets.wake_all();
        self.frames.wake_all();
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("key", &self.key).finish_non_exhaustive()
    }
}
