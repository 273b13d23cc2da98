//! Packets to frames: what a WebRTC publisher sends, for RTMP, FLV and HLS.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weir_source::{Codec, Frame, Lane, MediaTime, Packet, Read, RemuxJob, Track, TrackId, TrackSet, Tracks};

use super::{
    RemuxConfig, RemuxStats,
    h264::{AssembleStats, Assembler},
    layer::{LayerChoice, Part},
    reorder::{Reorder, Step},
};
use crate::{
    NotifyWake, PacketReader,
    transcode::{Bitrates, Coded, Pool, RATE, Transcoder},
};

/// Packets per read: a keyframe and more, so that one lock and one push do for a wake.
const BATCH: usize = 1_024;

/// The state of one job.
pub(super) struct ToFrames {
    pool: Pool,
    bitrates: Bitrates,
    wake: Arc<NotifyWake>,
    stats: Arc<RemuxStats>,
    tracks: Arc<Tracks>,
    epoch: u32,
    video: Lanes,
    assembler: Assembler,
    layer: LayerChoice,
    counted: AssembleStats,
    audio: Lanes,
    sound: Sound,
    last_sound: Option<MediaTime>,
    keyframes: KeyframeWish,
    out: Vec<Frame>,
}

/// The order of one track's packets and room for what comes out of it.
#[derive(Default)]
struct Lanes {
    order: Reorder,
    steps: Vec<Step>,
}

/// Where the sound stands.
#[derive(Default)]
enum Sound {
    #[default]
    None,
    Runs(Transcoder, Arc<Track>),
    /// It cannot be transcoded; said once.
    Impossible,
}

impl ToFrames {
    pub(super) fn new(pool: Pool, config: RemuxConfig, wake: Arc<NotifyWake>, stats: Arc<RemuxStats>) -> Self {
        Self {
            pool,
            bitrates: config.bitrates,
            wake,
            stats,
            tracks: Arc::default(),
            epoch: 0,
            video: Lanes::default(),
            assembler: Assembler::default(),
            layer: LayerChoice::new(TrackSet::default(), Instant::now()),
            counted: AssembleStats::default(),
            audio: Lanes::default(),
            sound: Sound::None,
            last_sound: None,
            keyframes: KeyframeWish::new(config.keyframe_interval),
            out: Vec::new(),
        }
    }

    /// Fills the frames lane until the job is over.
    pub(super) async fn run(mut self, mut reader: PacketReader, job: &RemuxJob) {
        let mut packets = Vec::new();
        self.layer = LayerChoice::new(job.source().packets().join_tracks(), Instant::now());
        self.choose_layer(job);
        if job.source().packets().join().is_none() {
            self.ask_for_keyframe(job);
        }
        while !job.is_over() {
            packets.clear();
            if let Read::Lagged(lost) = reader.read(&mut packets, BATCH).await {
                tracing::debug!(lost, "the remuxer fell behind");
                self.lose_sync();
            }
            self.look_at_tracks(job);
            self.choose_layer(job);
            for packet in packets.drain(..) {
                self.packet(packet, job);
            }
            self.fetch_sound();
            self.wish_for_keyframe(job);
            self.count();
            if !job.push(&mut self.out) {
                return;
            }
            // A backlog must not keep the other tasks of the thread waiting.
            tokio::task::yield_now().await;
        }
    }

    fn look_at_tracks(&mut self, job: &RemuxJob) {
        let tracks = job.source().tracks(Lane::Packets);
        if Arc::ptr_eq(&tracks, &self.tracks) {
            return;
        }
        let known = |id, codec| self.tracks.get(id).is_some_and(|track| track.codec == codec);
        for track in tracks.list.iter().filter(|track| track.rank() == 0 && !known(track.id, track.codec)) {
            if !matches!(track.codec, Codec::H264 | Codec::Opus) {
                tracing::warn!(codec = track.codec.name(), "not bridged: only viewers by WebRTC get it");
            }
        }
        self.tracks = tracks;
    }

    fn packet(&mut self, packet: Packet, job: &RemuxJob) {
        if packet.epoch != self.epoch {
            if self.epoch != 0 {
                self.lose_sync();
            }
            self.epoch = packet.epoch;
        }
        match self.tracks.get(packet.track).map(|track| track.codec) {
            Some(Codec::H264) => match self.layer.part(&packet, Instant::now()) {
                Part::Next => self.picture(packet, job),
                Part::Cut => {
                    tracing::debug!(layer = ?packet.track, "another simulcast layer is made frames of");
                    self.video.order.reset();
                    self.assembler.cut();
                    self.picture(packet, job);
                }
                Part::Other => {}
            },
            Some(Codec::Opus) if packet.track == TrackId::AUDIO => self.sound(packet, job),
            _ => {}
        }
    }

    fn lose_sync(&mut self) {
        self.video.order.reset();
        self.audio.order.reset();
        self.assembler.hole();
    }

    fn picture(&mut self, packet: Packet, job: &RemuxJob) {
        let first_new = self.out.len();
        self.video.order.push(packet, &mut self.video.steps);
        for step in self.video.steps.drain(..) {
            match step {
                Step::Packet(packet) => self.assembler.push(&packet, &mut self.out),
                Step::Hole => self.assembler.hole(),
            }
        }
        for frame in self.out.iter().skip(first_new) {
            if frame.keyframe {
                self.keyframes.came();
            }
            let tracks = job.source().tracks(Lane::Frames);
            if tracks.video().is_none_or(|track| track.config != frame.track.config) {
                job.set_track(Arc::clone(&frame.track));
            }
        }
    }

    fn sound(&mut self, packet: Packet, job: &RemuxJob) {
        if matches!(self.sound, Sound::None) {
            self.sound = self.open_sound(job);
        }
        self.audio.order.push(packet, &mut self.audio.steps);
        for step in self.audio.steps.drain(..) {
            // A hole shows in the timestamps, to the sample.
            if let (Step::Packet(packet), Sound::Runs(transcoder, _)) = (step, &self.sound)
                && !packet.payload.is_empty()
            {
                transcoder.submit(Coded { time: packet.capture, timestamp: Some(packet.timestamp), data: packet.payload });
            }
        }
    }

    /// Opened by the first packet, not by the track: a publisher that offers sound and sends none
    /// must not make players wait for it.
    fn open_sound(&self, job: &RemuxJob) -> Sound {
        match self.pool.opus_to_aac(self.bitrates, self.wake.clone()) {
            Ok(transcoder) => {
                let mut track = Track::new(TrackId::AUDIO, Codec::Aac, RATE, 2);
                track.config = transcoder.config().clone();
                let track = Arc::new(track);
                job.set_track(Arc::clone(&track));
                Sound::Runs(transcoder, track)
            }
            Err(error) => {
                tracing::warn!(%error, "players by RTMP, FLV and HLS get no sound");
                Sound::Impossible
            }
        }
    }

    fn fetch_sound(&mut self) {
        let Sound::Runs(transcoder, track) = &self.sound else { return };
        let mut coded = Vec::new();
        transcoder.take(&mut coded);
        for frame in coded {
            if self.last_sound.is_none_or(|last| frame.time > last) {
                self.last_sound = Some(frame.time);
                self.out.push(Frame::new(Arc::clone(track), frame.time, frame.time, true, frame.data));
            }
        }
    }

    fn wish_for_keyframe(&mut self, job: &RemuxJob) {
        let has_video = self.tracks.video().is_some_and(|track| track.codec == Codec::H264);
        // What is late is mended soonest by a keyframe that is on its way when it is given up.
        let wanted = self.assembler.wants_keyframe() || self.layer.changes() || self.video.order.is_late();
        if has_video && self.keyframes.is_due(wanted, Instant::now()) {
            self.ask_for_keyframe(job);
        }
    }

    fn ask_for_keyframe(&mut self, job: &RemuxJob) {
        self.keyframes.asked = Some(Instant::now());
        job.source().request_keyframe_of(self.layer.wanted());
    }

    /// Nobody should wait for the turn of the next wish when another layer must be gone over to.
    fn choose_layer(&mut self, job: &RemuxJob) {
        if self.layer.look(Instant::now(), || job.source().layers()) && self.layer.changes() {
            self.ask_for_keyframe(job);
        }
    }

    fn count(&mut self) {
        let now = self.assembler.stats();
        self.stats.add_holes(now.holes - self.counted.holes);
        self.stats.add_damaged(now.damaged - self.counted.damaged);
        self.stats.add_undecodable(now.undecodable - self.counted.undecodable);
        self.counted = now;
    }
}

/// When to ask the publisher for a keyframe.
///
/// Browsers send none unless asked, but a player that comes, and a segmenter that wants to cut,
/// need one every few seconds. So the wish does not wait for somebody to miss one.
#[derive(Debug)]
struct KeyframeWish {
    interval: Duration,
    asked: Option<Instant>,
    came: bool,
}

impl KeyframeWish {
    /// While none comes at all it is asked for this often: the request may be lost. A publisher is
    /// passed no more than two wishes a second.
    const RETRY: Duration = Duration::from_millis(500);

    const fn new(interval: Duration) -> Self {
        Self { interval, asked: None, came: false }
    }

    /// A keyframe came: the next is due an interval later.
    const fn came(&mut self) {
        self.came = true;
    }

    fn is_due(&mut self, wanted: bool, now: Instant) -> bool {
        if std::mem::take(&mut self.came) {
            self.asked = Some(now);
            return false;
        }
        let wait = if wanted { Self::RETRY.min(self.interval) } else { self.interval };
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= wait);
        if due {
            self.asked = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_wished_for_at_an_interval_and_sooner_while_none_can_be_shown() {
        let mut wish = KeyframeWish::new(Duration::from_secs(2));
        let t0 = Instant::now();
        let at = |ms| t0 + Duration::from_millis(ms);
        assert!(wish.is_due(true, at(0)), "at once");
        assert!(!wish.is_due(true, at(499)));
        assert!(wish.is_due(true, at(500)));
        wish.came();
        assert!(!wish.is_due(false, at(1_100)));
        assert!(!wish.is_due(false, at(3_000)));
        assert!(wish.is_due(false, at(3_100)));
        wish.came();
        assert!(!wish.is_due(false, at(3_200)));
        assert!(wish.is_due(true, at(3_700)), "lost");
    }
}
