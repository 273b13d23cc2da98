//! What is told of a session to who asks why it stays black: its state, its timeline and the most
//! likely cause, while it lives and for a while after.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use weir_source::{Codec, Lane, MediaKind, StreamKey};

use crate::{
    EndReason, Event, Moment, RtcHandle, SessionInfo, Stage,
    handle::Shared,
    record::Record,
    timeline::{Situation, StreamState, cause},
};

/// The story of one session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionReport {
    /// Its facts and figures; of one that has ended, the last ones.
    pub info: SessionInfo,
    /// How far it got.
    pub stage: Stage,
    /// How it ended, and how long ago.
    pub end: Option<(EndReason, Duration)>,
    /// What happened, in the order of time.
    pub timeline: Vec<Moment>,
    /// Moments in the middle that were not kept.
    pub skipped: u64,
    /// What is most likely wrong, in plain words.
    pub cause: Option<String>,
}

impl RtcHandle {
    /// All sessions and those that have ended lately, the latest first.
    pub fn reports(&self) -> Vec<SessionReport> {
        let (shared, now) = (self.shared(), Instant::now());
        shared.sweep(now);
        let mut all = shared.records(now);
        all.sort_by_key(|record| std::cmp::Reverse(record.since));
        all.iter().map(|record| shared.report(record, now)).collect()
    }

    /// The session of the client with this id, or the one that it had.
    pub fn report(&self, id: &str) -> Option<SessionReport> {
        let (shared, now) = (self.shared(), Instant::now());
        shared.sweep(now);
        let record = shared.records(now).into_iter().find(|record| record.id == id)?;
        Some(shared.report(&record, now))
    }
}

impl Shared {
    /// The living are read first: one that ends meanwhile is then among both, and counts as ended.
    fn records(&self, now: Instant) -> Vec<Arc<Record>> {
        let (living, _) = self.lobby.sessions();
        let mut all = self.lobby.past.list(now);
        let is_gone = |record: &Arc<Record>| all.iter().any(|gone| Arc::ptr_eq(gone, record));
        let living: Vec<_> = living.into_iter().filter(|record| !is_gone(record)).collect();
        all.extend(living);
        all
    }

    fn report(&self, record: &Record, now: Instant) -> SessionReport {
        let (info, told) = (record.info(now), record.told());
        let end = told.end;
        let stream = format!("{}/{}", record.key.app(), record.key.stream());
        let answered = told.moments.iter().find(|moment| moment.event == Event::ClientAnswer);
        let is_video = |codec: &Codec| codec.kind() == MediaKind::Video;
        let situation = Situation {
            direction: record.direction,
            client: record.client_ip,
            stream: &stream,
            has_video: info.codecs.iter().any(is_video),
            named: &record.named,
            unanswered: info.awaits_answer,
            bad_check: told.bad_check,
            media: told.media,
            keyframe: told.keyframe,
            stats: &info.stats,
            source: match end {
                None => self.stream_state(&record.key),
                // As it was then.
                Some(_) if told.had_stream => StreamState::Live { keyframe: told.keyframe.is_some() },
                Some(_) => StreamState::Absent,
            },
            answered: answered.map_or(record.answered, |moment| record.since + moment.at),
            now: end.map_or(now, |(at, _)| at),
            end: end.map(|(_, reason)| reason),
        };
        SessionReport {
            stage: situation.stage(),
            cause: cause(&situation),
            end: end.map(|(at, reason)| (reason, now.saturating_duration_since(at))),
            timeline: told.moments,
            skipped: told.skipped,
            info,
        }
    }

    fn stream_state(&self, key: &StreamKey) -> StreamState {
        let Some(source) = self.hub.get(key) else { return StreamState::Absent };
        let is_there = !source.tracks(Lane::Packets).list.is_empty();
        match source.publisher_lane() {
            None => StreamState::Absent,
            Some(Lane::Frames) if !is_there => StreamState::NotBridged,
            Some(Lane::Packets) if source.packets().live() == 0 => StreamState::Silent,
            Some(_) => StreamState::Live { keyframe: source.packets().join().is_some() },
        }
    }
}
