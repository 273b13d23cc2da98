//! One WebRTC client: its transport, what it does on it, and when it has waited long enough.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use weir_rtc::net::{Poller, Socket};

use super::{
    publisher::Publisher,
    transport::{Out, Transport},
    viewer::Viewer,
};
use crate::{
    clients::{
        Options,
        crew::{Failure, Report},
    },
    measure::{Stage, Tally},
};

/// How often it is looked whether something should have come by now.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// A client is not called again sooner, whatever it says: the others have their turn.
const STEP_MIN: Duration = Duration::from_micros(200);
/// Media that is quiet for so long is reason to ask whether the server is there at all.
const QUIET: Duration = Duration::from_secs(1);
/// Three checks without an answer, of those that follow the first one.
const GONE: Duration = Duration::from_millis(1_500);
/// A publisher hears of its server only every few seconds.
const PUBLISHER_QUIET: Duration = Duration::from_secs(3);

/// What a client does.
pub(super) enum Part {
    Viewer(Box<Viewer>),
    Publisher(Box<Publisher>),
}

/// See the module.
pub(super) struct Client {
    transport: Transport,
    part: Part,
    report: Report,
    patience: Patience,
    connected_at: Option<Instant>,
    leave_at: Option<Instant>,
    next_watch: Instant,
    scheduled: Instant,
    /// Dropped with the client: who waits for its end hears of it.
    _over: oneshot::Sender<()>,
}

/// How long it waits for what.
#[derive(Clone, Copy, Debug)]
struct Patience {
    setup: Duration,
    media: Duration,
    stall: Duration,
    stay: Option<Duration>,
}

impl Client {
    pub(super) fn new(
        transport: Transport,
        part: Part,
        report: Report,
        options: &Options,
        over: oneshot::Sender<()>,
        now: Instant,
    ) -> Self {
        let patience = Patience {
            setup: options.setup_patience,
            media: options.media_patience,
            stall: options.stall,
            stay: options.churn.map(|churn| churn.stay),
        };
        Self {
            transport,
            part,
            report,
            patience,
            connected_at: None,
            leave_at: None,
            next_watch: now,
            scheduled: now,
            _over: over,
        }
    }

    pub(super) const fn socket(&self) -> &Socket {
        &self.transport.socket
    }

    pub(super) fn handle_stun(&mut self, now: Instant, remote: SocketAddr, data: &[u8], io: &mut Out) -> Result<(), Failure> {
        self.transport.handle_stun(now, remote, data, io);
        Ok(())
    }

    pub(super) fn handle_dtls(&mut self, now: Instant, data: &[u8], io: &mut Out, tally: &mut Tally) -> Result<(), Failure> {
        self.transport.handle_dtls(now, data, io)?;
        if self.transport.is_closed() {
            return Err(Failure::new(Stage::Ended, "the server closed the session (DTLS)"));
        }
        self.note_connected(now, tally);
        Ok(())
    }

    pub(super) fn handle_rtp(&mut self, now: Instant, data: &mut [u8], tally: &mut Tally) -> Result<(), Failure> {
        if let Part::Viewer(viewer) = &mut self.part {
            viewer.handle_rtp(now, data, &mut self.transport, &mut self.report, tally);
        }
        Ok(())
    }

    pub(super) fn handle_rtcp(&mut self, now: Instant, data: &mut [u8], io: &mut Out, tally: &mut Tally) -> Result<(), Failure> {
        match &mut self.part {
            Part::Viewer(viewer) => viewer.handle_rtcp(now, data, &mut self.transport, tally),
            Part::Publisher(publisher) => publisher.handle_rtcp(data, &mut self.transport, io, tally),
        }
        Ok(())
    }

    /// What is due; false: its time here is over.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        io: &mut Out,
        poller: &Poller,
        number: u64,
        tally: &mut Tally,
    ) -> Result<bool, Failure> {
        self.transport.handle_timeout(now, io, poller, number)?;
        self.note_connected(now, tally);
        if self.transport.is_connected() {
            match &mut self.part {
                Part::Viewer(viewer) => viewer.handle_timeout(now, &mut self.transport, io, &mut self.report, tally),
                Part::Publisher(publisher) => publisher.handle_timeout(now, &mut self.transport, io, &mut self.report, tally),
            }
        }
        if now >= self.next_watch {
            self.next_watch = now + WATCH_EVERY;
            self.watch(now)?;
        }
        Ok(self.leave_at.is_none_or(|at| now < at))
    }

    fn note_connected(&mut self, now: Instant, tally: &mut Tally) {
        if self.connected_at.is_none() && self.transport.is_connected() {
            self.connected_at = Some(now);
            self.report.connected(tally, now);
        }
    }

    /// Whether something should have come by now.
    fn watch(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(connected_at) = self.connected_at else {
            let late = now.saturating_duration_since(self.report.asked()) > self.patience.setup;
            return if late { Err(self.transport.lateness()) } else { Ok(()) };
        };
        if let (Some(stay), true, None) = (self.patience.stay, self.report.has_media(), self.leave_at) {
            self.leave_at = Some(now + stay);
        }
        let gone = || Failure::new(Stage::Ended, "the server does not answer any more");
        let silence = self.transport.silence(now);
        let Part::Viewer(viewer) = &self.part else {
            if silence > PUBLISHER_QUIET {
                self.transport.hurry(now);
            }
            return if silence > self.patience.stall.max(PUBLISHER_QUIET + GONE) { Err(gone()) } else { Ok(()) };
        };
        let (since, patience) = match viewer.last_media() {
            Some(at) => (at, self.patience.stall),
            None => (connected_at, self.patience.media),
        };
        let quiet = now.saturating_duration_since(since);
        if quiet > QUIET {
            self.transport.hurry(now);
        }
        if quiet <= patience {
            return Ok(());
        }
        let seconds = patience.as_secs_f32();
        Err(match viewer.last_media() {
            _ if silence > GONE => gone(),
            Some(_) => Failure::new(Stage::Stalled, format!("no media for {seconds} s")),
            None => Failure::new(Stage::FirstMedia, format!("no media within {seconds} s")),
        })
    }

    /// When it is to be called next, as far as it was told to its thread.
    pub(super) const fn due(&self) -> Instant {
        self.scheduled
    }

    /// When it is to be called next.
    pub(super) fn schedule(&mut self, now: Instant) -> Instant {
        self.scheduled = self.poll_timeout(now).max(now + STEP_MIN);
        self.scheduled
    }

    /// The same if it is sooner than was said before.
    pub(super) fn sooner(&mut self, now: Instant) -> Option<Instant> {
        let next = self.poll_timeout(now);
        (next < self.scheduled).then(|| {
            self.scheduled = next;
            next
        })
    }

    fn poll_timeout(&self, now: Instant) -> Instant {
        let part = self.transport.is_connected().then(|| match &self.part {
            Part::Viewer(viewer) => viewer.poll_timeout(),
            Part::Publisher(publisher) => publisher.poll_timeout(now),
        });
        [part, self.leave_at].into_iter().flatten().fold(self.next_watch.min(self.transport.poll_timeout()), Instant::min)
    }

    /// Ends it as planned.
    pub(super) fn leave(&mut self, now: Instant, io: &mut Out, tally: &mut Tally) {
        self.transport.leave(now, io);
        self.end(now, tally);
        self.report.left(tally);
    }

    /// Ends it as not planned.
    pub(super) fn fail(&mut self, failure: &Failure, tally: &mut Tally) {
        self.end(Instant::now(), tally);
        self.report.failed(tally, failure);
    }

    fn end(&mut self, now: Instant, tally: &mut Tally) {
        if let Part::Viewer(viewer) = &mut self.part {
            viewer.end(now, tally);
        }
    }
}
