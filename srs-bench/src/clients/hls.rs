//! HLS players: playlist, segments, playlist again, and a clock that says when the buffer is empty.

mod playlist;
mod ts;

use std::time::{Duration, Instant};

use reqwest::{Method, Response, Url};
use tokio::time::sleep;

use self::{
    playlist::{Media, Playlist},
    ts::TsReader,
};
use super::{
    crew::{Crew, Failure, Report, Stop},
    request,
};
use crate::measure::{Count, Stage, StreamMeter};

/// A playlist is some kilobytes.
const PLAYLIST_MAX: usize = 1 << 20;
/// Variants that lead to variants.
const MASTERS_MAX: usize = 4;
/// Failures in a row that a player puts up with.
const FAILURES_MAX: usize = 3;
/// A playlist that has nothing new is asked for again after half a target duration (RFC 8216 section
/// 6.3.4), and never more often than this.
const POLL_MIN: Duration = Duration::from_millis(200);
/// Pauses that a viewer notices, and those that disturb.
const FREEZE: Duration = Duration::from_millis(200);
const LONG_FREEZE: Duration = Duration::from_millis(500);

/// One session.
pub(super) async fn play(crew: &Crew, number: usize, report: Report, stop: &mut Stop) {
    let mut player = Player { crew, report, meter: StreamMeter::new(0).in_bursts(), empty_at: None, last_media: None };
    let outcome = tokio::select! {
        biased;
        () = stop.wait() => Ok(()),
        outcome = player.run(number) => outcome,
    };
    player.report.finish(outcome.err().as_ref());
}

struct Player<'a> {
    crew: &'a Crew,
    report: Report,
    meter: StreamMeter,
    /// When what was loaded has been played.
    empty_at: Option<Instant>,
    last_media: Option<Instant>,
}

impl Player<'_> {
    /// Plays until its time is over.
    async fn run(&mut self, number: usize) -> Result<(), Failure> {
        let url = self.crew.url(number).map_err(|error| Failure::of(Stage::Http, &error))?;
        let (mut url, mut list) = self.first_list(url).await?;
        let connected_at = Instant::now();
        self.report.connected(&mut self.crew.recorder.lock(), connected_at);
        let (mut next, mut failures, mut leave_at) = (list.start(), 0, None);
        loop {
            if next < list.sequence {
                // The server has taken away what was not loaded yet.
                self.crew.recorder.lock().add(Count::Lost, list.sequence - next);
                next = list.sequence;
            }
            while let Some(segment) = list.segment(next) {
                let uri = url.join(&segment.uri).map_err(|_| Failure::new(Stage::Ended, "an odd segment URI"))?;
                match self.load(uri, segment.duration).await {
                    Ok(()) => failures = 0,
                    Err(failure) if failures >= FAILURES_MAX => return Err(failure),
                    Err(_) => failures += 1,
                }
                next += 1;
            }
            if list.ended {
                self.play_out().await;
                return Ok(());
            }
            let now = Instant::now();
            leave_at =
                leave_at.or_else(|| self.crew.options.churn.filter(|_| self.report.has_media()).map(|churn| now + churn.stay));
            if leave_at.is_some_and(|at| now >= at) {
                return Ok(());
            }
            self.check(now, connected_at, list.target)?;
            sleep((list.target / 2).max(POLL_MIN)).await;
            match self.list(url.clone()).await {
                Ok((at, Playlist::Media(media))) => (url, list, failures) = (at, media, 0),
                Ok((_, Playlist::Master(_))) => return Err(Failure::new(Stage::Ended, "the playlist became one of variants")),
                Err(failure) if failures >= FAILURES_MAX => return Err(Failure::new(Stage::Ended, failure.reason)),
                Err(_) => failures += 1,
            }
        }
    }

    /// The playlist of segments behind the URL.
    async fn first_list(&self, mut url: Url) -> Result<(Url, Media), Failure> {
        for _ in 0..MASTERS_MAX {
            match self.list(url).await? {
                (at, Playlist::Media(media)) => return Ok((at, media)),
                (at, Playlist::Master(uri)) => {
                    url = at.join(&uri).map_err(|_| Failure::new(Stage::Http, "an odd variant URI"))?;
                }
            }
        }
        Err(Failure::new(Stage::Http, "variants without end"))
    }

    async fn list(&self, url: Url) -> Result<(Url, Playlist), Failure> {
        let response = self.get(url).await?;
        let at = response.url().clone();
        let text = request::text(response, PLAYLIST_MAX).await?;
        Ok((at, Playlist::parse(&text).map_err(|what| Failure::new(Stage::Http, what))?))
    }

    async fn get(&self, url: Url) -> Result<Response, Failure> {
        let http = &self.crew.http;
        let response = http.send(http.request(Method::GET, url)).await?;
        if response.status().is_success() { Ok(response) } else { Err(request::refusal(response).await) }
    }

    /// Loads a segment, whose bytes are looked at and dropped.
    async fn load(&mut self, url: Url, duration: Duration) -> Result<(), Failure> {
        let ended = |failure: Failure| Failure::new(Stage::Ended, format!("segment: {}", failure.reason));
        let mut response = self.get(url).await.map_err(ended)?;
        let mut ts = TsReader::default();
        while let Some(data) = response.chunk().await.map_err(|error| ended(request::failure(&error)))? {
            let now = Instant::now();
            let Self { meter, report, last_media, .. } = self;
            let tally = &mut *self.crew.recorder.lock();
            tally.received(0, data.len());
            report.media(tally, now);
            *last_media = Some(now);
            ts.feed(&data, |frame| {
                meter.frame(tally, now, frame.keyframe, frame.stamp);
                if frame.keyframe {
                    report.keyframe(tally, now);
                }
            });
        }
        let now = Instant::now();
        let Self { meter, .. } = self;
        let tally = &mut *self.crew.recorder.lock();
        tally.received(1, 0);
        ts.finish(|frame| meter.frame(tally, now, frame.keyframe, frame.stamp));
        // A player shows what it has, and stands still until the next segment is there.
        if let Some(pause) = self.empty_at.and_then(|at| now.checked_duration_since(at)) {
            tally.add(Count::Freezes200, (pause > FREEZE).into());
            tally.add(Count::Freezes500, (pause > LONG_FREEZE).into());
            if pause > FREEZE {
                tally.add(Count::FrozenMillis, u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
            }
        }
        self.empty_at = Some(self.empty_at.map_or(now, |at| at.max(now)) + duration);
        Ok(())
    }

    /// Whether media should have come by now. Segments come once a target duration.
    fn check(&self, now: Instant, connected_at: Instant, target: Duration) -> Result<(), Failure> {
        let options = &self.crew.options;
        let quiet = now.saturating_duration_since(self.last_media.unwrap_or(connected_at));
        let patience = if self.last_media.is_some() { options.stall } else { options.media_patience }.max(target * 2);
        if quiet <= patience {
            return Ok(());
        }
        let reason = format!("no new segment for {} s", patience.as_secs_f32());
        Err(Failure::new(if self.last_media.is_some() { Stage::Stalled } else { Stage::FirstMedia }, reason))
    }

    async fn play_out(&self) {
        if let Some(at) = self.empty_at {
            tokio::time::sleep_until(at.into()).await;
        }
    }
}
