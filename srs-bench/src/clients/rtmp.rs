//! RTMP players and publishers.
//!
//! `setup` brings a connection to where the server grants what is wanted; from there on `chunks` reads
//! along and keeps nothing.

mod chunks;
mod setup;

use std::time::{Duration, Instant};

use rml_rtmp::{
    sessions::{ClientSession, ClientSessionResult},
    time::RtmpTimestamp,
};
use tokio::time::{sleep_until, timeout};

use self::{
    chunks::{COMMAND, ChunkReader, error_status},
    setup::{Setup, Wish},
};
use super::{
    crew::{Crew, Failure, Report, Stop},
    player::{self, Intake, Player},
    reading, target,
    wire::Wire,
};
use crate::{
    measure::{Count, Stage, Tally},
    media::{Sound, Source, Track, flv},
};

const PORT: u16 = 1935;
const TLS_PORT: u16 = 443;
/// A publisher that is further behind than this leaves frames out, as encoders do.
const BEHIND_MAX: Duration = Duration::from_secs(2);
/// Bytes read at a time until media comes.
const SETUP_READ: usize = 4 << 10;

/// One session of a player.
pub(super) async fn play(crew: &Crew, number: usize, report: Report, stop: &mut Stop) {
    let mut player = Player::new(report);
    let opened = tokio::select! {
        biased;
        () = stop.wait() => return player.finish(crew, None),
        opened = Box::pin(open(crew, number, Wish::Play)) => opened,
    };
    let outcome = match opened {
        Ok(open) => {
            player.connected(&mut crew.recorder.lock());
            let mut stream = Stream { chunks: open.chunks };
            // Media that came with the grant.
            let first = stream.handle(&open.rest, &mut player, Instant::now(), &mut crew.recorder.lock());
            match first {
                Ok(_) => reading::read(crew, open.wire, &mut player, &mut stream, stop).await,
                Err(failure) => Err(failure),
            }
        }
        Err(failure) => Err(failure),
    };
    player.finish(crew, outcome.err().as_ref());
}

/// A connection that was granted its wish.
struct Open {
    wire: Wire,
    session: ClientSession,
    chunks: ChunkReader,
    /// What came behind the grant and was not read yet.
    rest: Vec<u8>,
}

async fn open(crew: &Crew, number: usize, wish: fn(String) -> Wish) -> Result<Open, Failure> {
    let url = crew.url(number).map_err(|error| Failure::of(Stage::Resolve, &error))?;
    let (app, stream) = target::app_and_stream(&url).map_err(|error| Failure::of(Stage::Resolve, &error))?;
    let default = if url.scheme() == "rtmps" { TLS_PORT } else { PORT };
    let port = url.port().unwrap_or(default);
    let tc_url = format!("{}://{}:{port}/{app}", url.scheme(), url.host_str().unwrap_or_default());
    let wire = player::connect(crew, number, &url, default).await?;
    let (setup, hello) = Setup::new(&app, &tc_url, wish(stream))?;
    negotiate(wire, setup, &hello, crew.options.setup_patience).await
}

async fn negotiate(mut wire: Wire, mut setup: Setup, hello: &[u8], patience: Duration) -> Result<Open, Failure> {
    let deadline = Instant::now() + patience;
    let mut chunks = ChunkReader::default();
    let mut buffer = vec![0; SETUP_READ];
    let broke = |stage: Stage, error: std::io::Error| Failure::new(stage, format!("the connection broke: {}", error.kind()));
    wire.write_all(hello).await.map_err(|error| broke(Stage::Handshake, error))?;
    loop {
        let stage = setup.stage();
        let read = timeout(deadline.saturating_duration_since(Instant::now()), wire.read(&mut buffer)).await;
        let len = read.map_err(|_| Failure::new(stage, "no answer in time"))?.map_err(|error| broke(stage, error))?;
        if len == 0 {
            return Err(Failure::new(stage, "the server closed the connection"));
        }
        let step = setup.feed(buffer.get(..len).unwrap_or_default())?;
        wire.write_all(&step.out).await.map_err(|error| broke(stage, error))?;
        if setup.granted
            && let Some(session) = setup.session
        {
            return Ok(Open { wire, session, chunks, rest: step.chunks });
        }
        // The session answers for itself until then.
        chunks.feed(&step.chunks, |_| {}).map_err(|what| Failure::new(stage, what))?;
        let _answered = chunks.take_answers();
    }
}

/// What comes, read along.
struct Stream {
    chunks: ChunkReader,
}

impl Intake for Stream {
    fn handle(&mut self, data: &[u8], player: &mut Player, now: Instant, tally: &mut Tally) -> Result<Vec<u8>, Failure> {
        let mut status = None;
        let read = self.chunks.feed(data, |message| {
            player.handle(message, now, tally);
            if message.kind == COMMAND {
                status = error_status(message.head);
            }
        });
        read.map_err(|what| Failure::new(Stage::Ended, what))?;
        match status {
            Some(code) => Err(Failure::new(Stage::Ended, code)),
            None => Ok(self.chunks.take_answers()),
        }
    }
}

/// One session of a publisher.
pub(super) async fn publish(crew: &Crew, number: usize, mut report: Report, stop: &mut Stop) {
    let opened = tokio::select! {
        biased;
        () = stop.wait() => return report.finish(None),
        opened = Box::pin(open(crew, number, Wish::Publish)) => opened,
    };
    let outcome = match opened {
        Ok(open) => {
            report.connected(&mut crew.recorder.lock(), Instant::now());
            Publisher { crew, source: crew.options.studio.source(Sound::Aac), open, start: Instant::now() }
                .run(&mut report, stop)
                .await
        }
        Err(failure) => Err(failure),
    };
    report.finish(outcome.err().as_ref());
}

struct Publisher<'a> {
    crew: &'a Crew,
    source: Source,
    open: Open,
    start: Instant,
}

impl Publisher<'_> {
    /// Sends in real time until the end.
    async fn run(&mut self, report: &mut Report, stop: &mut Stop) -> Result<(), Failure> {
        let headers = [Track::Video, Track::Audio].map(|track| self.source.format(track).and_then(flv::header));
        for message in headers.into_iter().flatten() {
            self.send(message).await?;
        }
        let (mut leave_at, stay) = (None, self.crew.options.churn.map(|churn| churn.stay));
        let rest = std::mem::take(&mut self.open.rest);
        self.hear(&rest)?;
        loop {
            let due = self.start + self.source.due();
            self.wait_until(due, stop).await?;
            let now = Instant::now();
            let frame = self.source.frame();
            let message = flv::message(&frame);
            if stop.is_set() || leave_at.is_some_and(|at| now >= at) {
                let _goodbye = self.open.session.stop_publishing();
                return Ok(());
            }
            if now.saturating_duration_since(due) > BEHIND_MAX {
                self.crew.recorder.lock().add(Count::SentSkipped, 1);
                continue;
            }
            let (len, video) = (message.body.len(), message.video);
            self.send(message).await?;
            let tally = &mut *self.crew.recorder.lock();
            tally.sent(1, len);
            tally.add(Count::SentFrames, video.into());
            report.media(tally, now);
            leave_at = leave_at.or_else(|| stay.map(|stay| now + stay));
        }
    }

    async fn send(&mut self, message: flv::Message) -> Result<(), Failure> {
        let time = RtmpTimestamp::new(message.timestamp_ms);
        let session = &mut self.open.session;
        let result = match message.video {
            true => session.publish_video_data(message.body, time, false),
            false => session.publish_audio_data(message.body, time, false),
        };
        if let Ok(ClientSessionResult::OutboundResponse(packet)) = result {
            let stall = self.crew.options.stall;
            let sent = timeout(stall, self.open.wire.write_all(&packet.bytes)).await;
            sent.map_err(|_| Failure::new(Stage::Stalled, format!("the server took nothing for {} s", stall.as_secs_f32())))?
                .map_err(|error| player::ended(&error))?;
        }
        Ok(())
    }

    /// Hears the server out meanwhile.
    async fn wait_until(&mut self, due: Instant, stop: &mut Stop) -> Result<(), Failure> {
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => return Ok(()),
                ready = self.open.wire.readable() => {
                    ready.map_err(|error| player::ended(&error))?;
                    let mut data = [0; 1 << 10];
                    match self.open.wire.try_read(&mut data) {
                        Ok(0) => return Err(Failure::new(Stage::Ended, "the server closed the connection")),
                        Ok(len) => self.hear(data.get(..len).unwrap_or_default())?,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        Err(error) => return Err(player::ended(&error)),
                    }
                }
                () = sleep_until(due.into()) => return Ok(()),
            }
        }
    }

    fn hear(&mut self, data: &[u8]) -> Result<(), Failure> {
        let mut status = None;
        let read = self.open.chunks.feed(data, |message| {
            if message.kind == COMMAND {
                status = error_status(message.head);
            }
        });
        read.map_err(|what| Failure::new(Stage::Ended, what))?;
        if let Some(code) = status {
            return Err(Failure::new(Stage::Ended, code));
        }
        let answers = self.open.chunks.take_answers();
        if !answers.is_empty() {
            // A few bytes; a kernel without room for them has a server that does not read.
            let _sent = self.open.wire.try_write(&answers);
        }
        Ok(())
    }
}
