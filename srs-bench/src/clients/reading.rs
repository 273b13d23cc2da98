//! How what a player's connection brings is taken: at once, or now and then.
//!
//! To be woken for each message costs several times what the message does: a server that sends every frame by itself
//! has 70 of them a second for each player. A player that is no part of the sample (`Prompt`) is therefore taken out of
//! the readiness queue once it has joined, and read every [`Options::read_every`](super::Options::read_every): what
//! came meanwhile lies in its receive window. Its counts stay exact, and whether it has stalled or ended is seen by the next
//! look. When its frames came is not known: the kernel's receive stamps do not tell it, since TCP joins segments in
//! its queue and keeps the stamp of the last one.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{
    crew::{Crew, Failure, Stop},
    player::{Intake, Player, ended},
    wire::{Unwatched, Wire},
};
use crate::measure::Stage;

/// How often it is looked whether something should have come by now.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Looks come so often that about this much lies there: half of the receive window that a connection has at its
/// start, so that the server never waits for it.
const LOOK_BYTES: f64 = 32e3;
/// So much may have filled the window, and the rest waits at the server.
const FULL_BYTES: usize = 48 << 10;
/// The next look then, and the shortest time between two at any bitrate.
const EVERY_MIN: Duration = Duration::from_millis(2);
/// Connections that are looked at in one turn of their thread: to sleep and wake costs as much as a few looks, and a
/// player that is read at once waits for them all, half a millisecond.
const TOGETHER: u32 = 64;
/// Looks are put off no further for that.
const SLOT_MAX: Duration = Duration::from_millis(10);
/// The rate that is expected follows the one that is seen in about this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Reads of one look: a TLS connection gives some 4 KB with each.
const READS_MAX: usize = 64;

/// Reads a connection to the end of the session: `Ok` is as planned.
pub(super) async fn read(
    crew: &Crew,
    mut wire: Wire,
    player: &mut Player,
    intake: &mut impl Intake,
    stop: &mut Stop,
) -> Result<(), Failure> {
    if !at_once(crew, &mut wire, player, intake, stop).await? {
        return Ok(());
    }
    let unwatched = wire.unwatch().map_err(|error| ended(&error))?;
    crew.lazy.set(crew.lazy.get() + 1);
    let outcome = now_and_then(crew, unwatched, player, intake, stop).await;
    crew.lazy.set(crew.lazy.get().saturating_sub(1));
    outcome
}

/// Reads as things come. True: the session goes on, and the player can wait.
async fn at_once(
    crew: &Crew,
    wire: &mut Wire,
    player: &mut Player,
    intake: &mut impl Intake,
    stop: &mut Stop,
) -> Result<bool, Failure> {
    let tick = sleep_until((Instant::now() + WATCH_EVERY).into());
    tokio::pin!(tick);
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return Ok(false),
            () = &mut tick => {
                let now = Instant::now();
                if !player.watch(now, &crew.options)? {
                    return Ok(false);
                }
                tick.as_mut().reset((now + WATCH_EVERY).into());
            }
            ready = wire.readable() => {
                ready.map_err(|error| ended(&error))?;
                let now = Instant::now();
                let buffer = &mut crew.buffer.borrow_mut();
                let Some((_, answer)) = take(crew, wire.try_read(buffer), buffer, player, intake, now)? else { continue };
                if !answer.is_empty() {
                    // A few bytes: a kernel that has no room for them has a server that does not read.
                    let _sent = wire.try_write(&answer);
                }
                if player.may_wait(now) {
                    return Ok(true);
                }
            }
        }
    }
}

/// Reads when it is time to look.
async fn now_and_then(
    crew: &Crew,
    mut wire: Unwatched,
    player: &mut Player,
    intake: &mut impl Intake,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let mut looks = Looks::new(crew.options.read_every, crew.began, Instant::now());
    let mut watch_at = Instant::now() + WATCH_EVERY;
    let (tick, stopped) = (sleep_until(looks.due.into()), stop.wait());
    tokio::pin!(tick, stopped);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return Ok(()),
            () = &mut tick => {}
        }
        let now = Instant::now();
        player.looked(looks.last);
        let len = look(crew, &mut wire, player, intake, now)?;
        if now >= watch_at {
            if !player.watch(now, &crew.options)? {
                return Ok(());
            }
            watch_at = now + WATCH_EVERY;
        }
        looks.looked(now, len, crew.lazy.get());
        tick.as_mut().reset(looks.due.into());
    }
}

/// Takes all that has come; how many bytes.
fn look(
    crew: &Crew,
    wire: &mut Unwatched,
    player: &mut Player,
    intake: &mut impl Intake,
    now: Instant,
) -> Result<usize, Failure> {
    let (mut sum, buffer) = (0, &mut crew.buffer.borrow_mut());
    for _ in 0..READS_MAX {
        let Some((len, answer)) = take(crew, wire.try_read(buffer), buffer, player, intake, now)? else { break };
        sum += len;
        if !answer.is_empty() {
            let _sent = wire.try_write(&answer);
        }
        if !wire.has_more(len, buffer.len()) {
            break;
        }
    }
    Ok(sum)
}

/// What one read brought: its length, and what is to be sent; nothing if it would have had to wait.
fn take(
    crew: &Crew,
    read: io::Result<usize>,
    buffer: &[u8],
    player: &mut Player,
    intake: &mut impl Intake,
    now: Instant,
) -> Result<Option<(usize, Vec<u8>)>, Failure> {
    match read {
        Ok(0) => Err(Failure::new(Stage::Ended, "the server closed the connection")),
        Ok(len) => {
            let data = buffer.get(..len).unwrap_or_default();
            Ok(Some((len, intake.handle(data, player, now, &mut crew.recorder.lock())?)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(ended(&error)),
    }
}

/// When a connection is looked at.
#[derive(Debug)]
struct Looks {
    every: Duration,
    /// Slots are counted from then.
    epoch: Instant,
    last: Instant,
    due: Instant,
    /// Bytes a second.
    rate: f64,
}

impl Looks {
    fn new(every: Duration, epoch: Instant, now: Instant) -> Self {
        Self { every, epoch, last: now, due: now + every, rate: 0.0 }
    }

    /// A look at `now` brought so many bytes. `lazy` connections share the thread.
    fn looked(&mut self, now: Instant, len: usize, lazy: usize) {
        let since = now.saturating_duration_since(self.last).as_secs_f64().max(1e-3);
        let share = (since / RATE_WINDOW.as_secs_f64()).min(1.0);
        self.rate += share * (len as f64 / since - self.rate);
        self.last = now;
        if len >= FULL_BYTES {
            self.due = now + EVERY_MIN;
            return;
        }
        let wait = self.wait();
        // From when it was due: connections that one busy moment made late stay apart.
        self.due = self.in_slot((self.due + wait).max(now + EVERY_MIN), slot(wait, lazy));
    }

    /// The slot's beginning next to `due`.
    fn in_slot(&self, due: Instant, slot: Duration) -> Instant {
        let (since, slot) = (due.saturating_duration_since(self.epoch).as_micros(), slot.as_micros().max(1));
        let begins = (since + slot / 2) / slot * slot;
        self.epoch + Duration::from_micros(u64::try_from(begins).unwrap_or(u64::MAX))
    }

    fn wait(&self) -> Duration {
        let fits = Duration::try_from_secs_f64(LOOK_BYTES / self.rate).unwrap_or(Duration::MAX);
        fits.min(self.every).max(EVERY_MIN)
    }
}

/// The time in which so many connections, each looked at every `wait`, are as many looks as go together.
fn slot(wait: Duration, lazy: usize) -> Duration {
    let lazy = u32::try_from(lazy).unwrap_or(u32::MAX).max(1);
    (wait * TOGETHER / lazy).min(SLOT_MAX).min(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    /// Bytes of each look in ten seconds of a stream that comes evenly, but for bursts of `burst` bytes every second.
    fn looks(bytes_per_second: f64, burst: usize) -> (Vec<usize>, Duration) {
        let start = Instant::now();
        let mut looks = Looks::new(EVERY, start, start);
        let (mut taken, mut all, mut bursts) = (0.0, Vec::new(), 0);
        while looks.due < start + Duration::from_secs(10) {
            let now = looks.due;
            let since = now.duration_since(start).as_secs_f64();
            let due = since as usize;
            let len = (since * bytes_per_second - taken) as usize + (due - bursts) * burst;
            taken = since * bytes_per_second;
            bursts = due;
            looks.looked(now, len, 10_000);
            all.push(len);
        }
        (all, looks.wait())
    }

    #[test]
    fn a_slow_stream_is_looked_at_as_often_as_was_said() {
        let (looks, wait) = looks(75e3, 0);
        assert!((99..=100).contains(&looks.len()) && wait == EVERY, "{} looks, {wait:?}", looks.len());
        assert!(looks.iter().all(|len| *len <= 7_600), "{looks:?}");
    }

    #[test]
    fn a_fast_stream_is_looked_at_before_it_fills_the_window() {
        for bits in [5e6, 20e6, 80e6] {
            let (looks, wait) = looks(bits / 8.0, 0);
            let late = looks.iter().skip(looks.len() / 5).max().copied().unwrap_or(0);
            assert!(late < FULL_BYTES, "{bits} b/s: {late} bytes at a look, {wait:?}");
        }
    }

    #[test]
    fn what_may_have_filled_the_window_is_looked_at_again_at_once() {
        let start = Instant::now();
        let mut looks = Looks::new(EVERY, start, start);
        let now = looks.due;
        looks.looked(now, 64 << 10, 1);
        assert_eq!(looks.due, now + EVERY_MIN);
        // A pause makes up for it: bursts alone are no bitrate.
        let (looks, wait) = self::looks(20e3, 60_000);
        assert_eq!(wait, EVERY, "{looks:?}");
    }

    #[test]
    fn a_look_that_was_late_is_not_made_up_for() {
        let start = Instant::now();
        let mut looks = Looks::new(EVERY, start, start);
        looks.looked(start + EVERY * 5, 100, 10_000);
        let next = looks.due.duration_since(start);
        assert!(next > EVERY * 5 && next < EVERY * 5 + EVERY_MIN * 2, "{next:?}");
        looks.looked(looks.due, 100, 10_000);
        assert!(looks.due.duration_since(start) > next + EVERY / 2, "{:?}", looks.due.duration_since(start));
    }

    #[test]
    fn few_connections_are_looked_at_together_and_many_in_turn() {
        assert_eq!(slot(EVERY, 1), SLOT_MAX);
        assert_eq!(slot(EVERY, 10_000), Duration::from_micros(640));
        assert_eq!(slot(EVERY_MIN, 1), EVERY_MIN);
        let start = Instant::now();
        let due = |offset: u64| {
            let at = start + Duration::from_millis(offset);
            let mut looks = Looks::new(EVERY, start, at);
            looks.looked(looks.due, 7_500, 300);
            looks.due.duration_since(start)
        };
        assert_eq!(due(13), due(14), "moments that are close become one");
        assert!(due(33) > due(14));
    }
}
