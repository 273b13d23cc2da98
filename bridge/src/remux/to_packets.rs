//! Frames to packets: what an RTMP publisher sends, for WebRTC viewers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_source::{Codec, Frame, Lane, MediaTime, Packet, PacketExtensions, Read, RemuxJob, Track, TrackId};

use super::{
    RemuxConfig, RemuxStats,
    ahead::Ahead,
    h264::{PacketizeStats, Packetizer, ParameterSets},
    opus::Pairing,
};
use crate::{
    FrameReader, NotifyWake,
    transcode::{Bitrates, Coded, Pool, RATE, Transcoder},
};

/// Frames per read: all that a group of pictures holds at the start, a few from then on.
const BATCH: usize = 4_096;
/// Of what the ring holds when viewers come, only this much sound is of use: pictures are caught
/// up with, sound is not.
const OLD_SOUND: Duration = Duration::from_millis(500);
/// What one transcoded packet holds.
const OPUS_FRAME: Duration = Duration::from_millis(20);
/// Opus over RTP is stereo by its `rtpmap`, whatever it carries (RFC 7587 7).
const OPUS_CHANNELS: u8 = 2;

/// The state of one job.
pub(super) struct ToPackets {
    pool: Pool,
    bitrates: Bitrates,
    wake: Arc<NotifyWake>,
    stats: Arc<RemuxStats>,
    video: Packetizer,
    ahead: Ahead,
    /// What was counted in [`RemuxStats`] so far.
    counted: PacketizeStats,
    video_config: Option<Bytes>,
    audio: Option<Audio>,
    /// `None`: packets go as they come.
    pairing: Option<Pairing>,
    audio_seq: u64,
    audio_timestamp: Option<u64>,
    ignored: Option<Codec>,
    /// The packets of one picture, while it is made.
    picture: Vec<Packet>,
    out: Vec<Packet>,
}

/// How the sound gets across.
struct Audio {
    codec: Codec,
    config: Bytes,
    /// `None`: it is Opus already, or cannot be transcoded.
    transcoder: Option<Transcoder>,
}

impl ToPackets {
    pub(super) fn new(pool: Pool, config: RemuxConfig, wake: Arc<NotifyWake>, stats: Arc<RemuxStats>) -> Self {
        Self {
            pool,
            bitrates: config.bitrates,
            wake,
            stats,
            video: Packetizer::new(config.keep_sei),
            ahead: Ahead::default(),
            counted: PacketizeStats::default(),
            video_config: None,
            audio: None,
            pairing: config.opus_pairs.then(Pairing::default),
            audio_seq: 0,
            audio_timestamp: None,
            ignored: None,
            picture: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Fills the packets lane until the job is over.
    pub(super) async fn run(mut self, mut reader: FrameReader, job: &RemuxJob) {
        let mut frames = Vec::new();
        let mut joining = true;
        while !job.is_over() {
            frames.clear();
            if let Read::Lagged(lost) = reader.read(&mut frames, BATCH).await {
                tracing::debug!(lost, "the remuxer fell behind");
                self.video.lose_sync();
                joining = true;
            }
            self.announce(job);
            let sound_from =
                if joining { newest(&frames).offset(-i64_micros(OLD_SOUND)) } else { MediaTime::from_micros(i64::MIN) };
            joining &= frames.is_empty();
            for frame in &frames {
                self.ahead.advance(frame.dts);
                self.ahead.release(&mut self.out);
                if frame.kind() == weir_source::MediaKind::Video {
                    self.picture(frame, job);
                } else if frame.dts >= sound_from {
                    self.sound(frame, job);
                }
            }
            self.fetch_sound();
            self.count();
            if !job.push(&mut self.out) {
                return;
            }
            // A backlog must not keep the other tasks of the thread waiting.
            tokio::task::yield_now().await;
        }
    }

    /// Tells the tracks that the publisher has announced, before the first of their frames.
    fn announce(&mut self, job: &RemuxJob) {
        if self.video_config.is_some() && self.audio.is_some() {
            return;
        }
        let tracks = job.source().tracks(Lane::Frames);
        if let Some(track) = tracks.video() {
            self.video_track(track, job);
        }
        if let Some(track) = tracks.audio() {
            self.audio_track(track, job);
        }
    }

    fn video_track(&mut self, track: &Track, job: &RemuxJob) {
        if track.codec != Codec::H264 {
            self.ignore(track.codec);
            return;
        }
        if track.config.is_empty() || self.video_config.as_ref() == Some(&track.config) {
            return;
        }
        self.video_config = Some(track.config.clone());
        let mut made = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
        made.fmtp = match ParameterSets::parse(&track.config).ok().and_then(|sets| sets.profile_level_id()) {
            Some(id) => format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={id}"),
            None => return,
        };
        made.video = track.video.clone();
        job.set_track(Arc::new(made));
    }

    fn audio_track(&mut self, track: &Track, job: &RemuxJob) {
        if self.audio.as_ref().is_some_and(|audio| audio.codec == track.codec && audio.config == track.config) {
            return;
        }
        let transcoder = match track.codec {
            Codec::Opus => None,
            Codec::Aac if track.config.is_empty() => return,
            Codec::Aac => match self.pool.aac_to_opus(track.config.clone(), self.bitrates, self.wake.clone()) {
                Ok(transcoder) => Some(transcoder),
                Err(error) => {
                    tracing::warn!(%error, "viewers by WebRTC get no sound");
                    self.audio = Some(Audio { codec: track.codec, config: track.config.clone(), transcoder: None });
                    return;
                }
            },
            other => {
                self.ignore(other);
                return;
            }
        };
        self.fetch_sound();
        self.ahead.forget_sound();
        self.audio = Some(Audio { codec: track.codec, config: track.config.clone(), transcoder });
        job.set_track(Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, RATE, OPUS_CHANNELS)));
    }

    fn ignore(&mut self, codec: Codec) {
        if self.ignored != Some(codec) {
            self.ignored = Some(codec);
            tracing::warn!(codec = codec.name(), "not bridged: viewers by WebRTC do not get it");
        }
    }

    fn picture(&mut self, frame: &Frame, job: &RemuxJob) {
        if frame.keyframe {
            self.video_track(&frame.track, job);
        }
        if frame.track.codec == Codec::H264 {
            self.video.push(frame, &mut self.picture);
            self.ahead.hold(&mut self.picture);
            self.ahead.release(&mut self.out);
        }
    }

    fn sound(&mut self, frame: &Frame, job: &RemuxJob) {
        self.audio_track(&frame.track, job);
        let Some(audio) = &self.audio else { return };
        if frame.track.codec == Codec::Opus {
            self.opus(frame.pts, frame.data.clone());
        } else if let Some(transcoder) = &audio.transcoder {
            transcoder.submit(Coded { time: frame.pts, timestamp: None, data: frame.data.clone() });
        }
    }

    fn fetch_sound(&mut self) {
        let Some(transcoder) = self.audio.as_ref().and_then(|audio| audio.transcoder.as_ref()) else { return };
        let mut coded = Vec::new();
        transcoder.take(&mut coded);
        for frame in coded {
            self.ahead.heard(frame.time.offset(i64_micros(OPUS_FRAME)));
            self.opus(frame.time, frame.data);
        }
        self.ahead.release(&mut self.out);
    }

    fn opus(&mut self, time: MediaTime, payload: Bytes) {
        let Some(mut pairing) = self.pairing.take() else { return self.sound_packet(time, payload) };
        pairing.push(time, payload, |time, payload| self.sound_packet(time, payload));
        self.pairing = Some(pairing);
    }

    fn sound_packet(&mut self, time: MediaTime, payload: Bytes) {
        let Ok(timestamp) = u64::try_from(time.to_ticks(RATE)) else { return };
        if self.audio_timestamp.is_some_and(|last| timestamp <= last) {
            return;
        }
        self.out.push(Packet {
            track: TrackId::AUDIO,
            epoch: 0,
            seq: self.audio_seq,
            timestamp,
            capture: time,
            // Only the first packet of a talkspurt would have it (RFC 3551 4.1).
            marker: false,
            keyframe: false,
            extensions: PacketExtensions::default(),
            payload,
        });
        self.audio_seq += 1;
        self.audio_timestamp = Some(timestamp);
    }

    fn count(&mut self) {
        let now = self.video.stats();
        self.stats.add_reordered(now.reordered - self.counted.reordered);
        self.stats.add_undecodable(now.undecodable - self.counted.undecodable);
        self.counted = now;
    }
}

fn newest(frames: &[Frame]) -> MediaTime {
    frames.iter().map(|frame| frame.dts).max().unwrap_or_default()
}

fn i64_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
