//! Numbering of one RTP stream to one viewer: sequence numbers and timestamps of its own.
//!
//! A viewer's stream starts at a keyframe with a fresh number, whatever the source has reached.
//! What we leave out ourselves (before the keyframe, between two publishers, between two simulcast
//! layers, upper temporal layers, a codec not negotiated) makes no hole; packets that never reached us stay holes, and take their own number
//! when a retransmission brings them late. A stream that changes to another layer goes on in the time of
//! its captures. It keeps no packets.

use std::collections::VecDeque;

use weir_source::{MediaTime, Packet, TrackId};

use super::descriptor::{Descriptor, Patch, Picture};

/// First sequence numbers are drawn below this: half the range is left before the first roll-over,
/// so that a viewer whose first packets are lost or reordered cannot guess the roll-over counter
/// wrongly (RFC 3711 3.3.1).
const FIRST_SEQ_BELOW: u64 = 1 << 15;

/// A hole larger than this is closed up: RFC 3711 3.3.1 finds the roll-over counter only for jumps
/// below 2^15, and half of that leaves room for more loss behind us.
const HOLE_MAX: u64 = 1 << 14;

/// Backlog runs this many times faster than live: frames 33 ms apart become 1 ms apart, which a
/// jitter buffer shows at once, and a group of three seconds fits into 100 ms.
const SQUEEZE: u64 = 32;

/// Places where something was left out that are remembered, to number what comes late around them: a
/// second of pictures of which every other is left out.
const CUTS_MAX: usize = 32;

/// What is sent again may end this part of a second after the live point: less than the next
/// picture's distance at 60 a second, and room for some hundred pictures a few ticks apart.
const OVERRUN_DIVISOR: u64 = 100;

/// Where a stream's numbers start. `seed` is any random number.
pub(super) const fn first_seq(seed: u64) -> u64 {
    seed % FIRST_SEQ_BELOW
}

/// The numbers of one packet in the viewer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Extended sequence number: the SRTP index (RFC 3711 3.3.1), its low 16 bits go on the wire.
    pub(crate) seq: u64,
    /// RTP timestamp on the wire.
    pub(crate) timestamp: u32,
    /// Fills a hole: later numbers were used already.
    pub(crate) late: bool,
    /// What its picture's numbers are changed by.
    pub(crate) patch: Patch,
}

/// Why a packet is not for the viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A keyframe must come first (for sound: the live point).
    Waiting,
    /// It belongs before the place where the viewer started.
    Late,
}

/// State of one stream to one viewer.
#[derive(Debug)]
pub(crate) struct Rewrite {
    video: bool,
    clock_rate: u32,
    run: Option<Run>,
    /// Epoch of the newest packet sent.
    epoch: Option<u32>,
    /// First number not used yet.
    next_seq: u64,
    timestamp_offset: u32,
    /// The newest packet sent.
    newest: Option<Newest>,
    /// Capture time where the backlog ends.
    live: Option<MediaTime>,
    /// The same in the source's timestamps, once a packet has tied the two.
    live_timestamp: Option<u64>,
    /// How many times faster than live the backlog runs …
    squeeze: u64,
    /// … and how many ticks after the live point it ends.
    overrun: u64,
    /// The next keyframe may be older than what was sent last.
    again: bool,
}

/// A stretch of one track's numbers that goes to the viewer in order.
#[derive(Clone, Debug)]
struct Run {
    epoch: u32,
    track: TrackId,
    first: u64,
    highest: u64,
    /// Since something was left out last, or from `first` on.
    now: Cut,
    /// Before that, oldest first.
    past: VecDeque<Cut>,
    /// The timestamp of the picture that was left out last.
    left_out: Option<u64>,
}

/// From this number on, packets go one to one.
#[derive(Clone, Copy, Debug)]
struct Cut {
    from: u64,
    /// Source number minus viewer number, modulo 2^64.
    offset: u64,
    patch: Patch,
}

/// What the next layer goes on from.
#[derive(Clone, Copy, Debug)]
struct Newest {
    track: TrackId,
    capture: MediaTime,
    /// Its place on the wire if it were live.
    timestamp: u32,
    /// The highest timestamp on the wire.
    sent: u32,
    /// How many ticks later it is than its capture says: timestamps may not go back.
    ahead: u32,
    picture: Picture,
}

impl Run {
    fn is_of(&self, packet: &Packet) -> bool {
        self.epoch == packet.epoch && self.track == packet.track
    }

    /// Where a number belongs; `None` if it is older than what is remembered.
    fn cut(&self, seq: u64) -> Option<Cut> {
        if seq >= self.now.from {
            return Some(self.now);
        }
        self.past.iter().rev().find(|cut| cut.from <= seq).copied()
    }
}

impl Rewrite {
    /// A stream that has sent nothing. `seed` is any random number.
    pub(crate) fn new(video: bool, clock_rate: u32, seed: u64) -> Self {
        Self {
            video,
            clock_rate,
            run: None,
            epoch: None,
            next_seq: first_seq(seed),
            timestamp_offset: (seed >> 32) as u32,
            newest: None,
            live: None,
            live_timestamp: None,
            squeeze: SQUEEZE,
            overrun: 0,
            again: false,
        }
    }

    /// Packets captured before `live` are backlog. Only before the first packet has been sent:
    /// later the viewer's timeline stands.
    pub(crate) fn join(&mut self, live: MediaTime) {
        if self.epoch.is_none() {
            self.live = Some(live);
        }
    }

    /// Pictures go on from a keyframe that was sent before: all up to `live` comes once more, under
    /// new numbers and between the timestamps of what was sent last and of what is live.
    pub(crate) fn rejoin(&mut self, live: MediaTime) {
        if self.video && self.epoch.is_some() {
            self.run = None;
            self.live = Some(live);
            self.again = true;
        }
    }

    /// Goes on at the next keyframe (sound: the next packet), without a hole.
    pub(crate) fn interrupt(&mut self) {
        self.run = None;
    }

    /// Sends nothing until a keyframe comes.
    pub(crate) fn is_waiting(&self) -> bool {
        self.run.is_none()
    }

    /// The track that is being sent.
    pub(crate) fn track(&self) -> Option<TrackId> {
        self.run.as_ref().map(|run| run.track)
    }

    /// Leaves a packet of the track that is being sent out: what follows closes up. With `closes` the
    /// picture ids do so too. `false`: it came late, and its number stays a hole.
    pub(crate) fn leave_out(&mut self, packet: &Packet, closes: bool) -> bool {
        let Some(run) = self.run.as_mut().filter(|run| run.is_of(packet) && packet.seq > run.highest) else { return false };
        if packet.seq > run.now.from {
            if run.past.len() >= CUTS_MAX {
                run.past.pop_front();
                run.first = run.past.front().map_or(run.now.from, |cut| cut.from);
            }
            run.past.push_back(run.now);
        }
        let mut patch = run.now.patch;
        if closes && run.left_out != Some(packet.timestamp) {
            patch.picture = patch.picture.wrapping_sub(1);
        }
        run.left_out = Some(packet.timestamp);
        run.highest = packet.seq;
        run.now = Cut { from: packet.seq.wrapping_add(1), offset: run.now.offset.wrapping_add(1), patch };
        true
    }

    /// The numbers of `packet`, whose payload has this descriptor. Taking them uses them up.
    pub(crate) fn map(&mut self, packet: &Packet, descriptor: Option<&Descriptor>) -> Result<Numbers, Refusal> {
        let late = match &mut self.run {
            Some(run) if run.is_of(packet) && packet.seq <= run.highest.saturating_add(HOLE_MAX) => {
                if packet.seq < run.first {
                    return Err(Refusal::Late);
                }
                let late = packet.seq <= run.highest;
                run.highest = run.highest.max(packet.seq);
                late
            }
            _ => {
                self.start(packet, descriptor)?;
                false
            }
        };
        let cut = self.run.as_ref().and_then(|run| run.cut(packet.seq)).ok_or(Refusal::Late)?;
        let seq = packet.seq.wrapping_sub(cut.offset);
        self.next_seq = self.next_seq.max(seq.wrapping_add(1));
        let timestamp = self.timestamp(packet.timestamp);
        if !late {
            self.note(packet, timestamp, descriptor.map(|descriptor| descriptor.patched(cut.patch)));
        }
        Ok(Numbers { seq, timestamp, late, patch: cut.patch })
    }

    fn note(&mut self, packet: &Packet, timestamp: u32, picture: Option<Picture>) {
        let (before, live) = (self.newest, self.live_timestamp(packet.timestamp));
        let sent = before.map_or(timestamp, |before| later(before.sent, timestamp));
        self.newest = Some(Newest {
            track: packet.track,
            capture: packet.capture,
            timestamp: live,
            sent,
            ahead: before.map_or(0, |before| before.ahead),
            picture: picture.or_else(|| Some(before?.picture)).unwrap_or_default(),
        });
    }

    /// The wire timestamp for one of the source's as if it were live: what reports speak of.
    pub(crate) fn live_timestamp(&self, timestamp: u64) -> u32 {
        (timestamp as u32).wrapping_add(self.timestamp_offset)
    }

    /// The wire timestamp for one of the source's.
    fn timestamp(&self, timestamp: u64) -> u32 {
        let squeezed = match self.live_timestamp {
            Some(live) if timestamp <= live => (live + self.overrun).saturating_sub((live - timestamp) / self.squeeze),
            _ => timestamp,
        };
        self.live_timestamp(squeezed)
    }

    fn start(&mut self, packet: &Packet, descriptor: Option<&Descriptor>) -> Result<(), Refusal> {
        // Epochs only grow; what is left of a former publisher must not restart its run.
        if self.epoch.is_some_and(|epoch| packet.epoch.wrapping_sub(epoch) > u32::MAX / 2) {
            return Err(Refusal::Late);
        }
        if self.video && !packet.keyframe {
            self.run = None;
            return Err(Refusal::Waiting);
        }
        let first_ever = self.epoch.is_none();
        if let (true, Some(live)) = (first_ever, self.live) {
            if !self.video && packet.capture < live {
                return Err(Refusal::Waiting);
            }
            let ahead = u64::try_from(MediaTime::from_micros(live - packet.capture).to_ticks(self.clock_rate));
            self.live_timestamp = ahead.ok().map(|ticks| packet.timestamp.saturating_add(ticks));
        }
        self.epoch = Some(packet.epoch);
        self.retie(packet);
        if std::mem::take(&mut self.again) {
            self.squeeze_in(packet);
        }
        let offset = packet.seq.wrapping_sub(self.next_seq);
        let patch = descriptor.zip(self.newest).map(|(descriptor, newest)| descriptor.following(newest.picture));
        let now = Cut { from: packet.seq, offset, patch: patch.unwrap_or_default() };
        // The room for what is left out is kept: it is not to be taken anew with every layer.
        let mut past = self.run.take().map_or_else(VecDeque::new, |run| run.past);
        past.clear();
        let (epoch, track, seq) = (packet.epoch, packet.track, packet.seq);
        self.run = Some(Run { epoch, track, first: seq, highest: seq, now, past, left_out: None });
        Ok(())
    }

    /// Lays what is sent again into the time that is left between the last packet and live.
    fn squeeze_in(&mut self, packet: &Packet) {
        let (Some(live), Some(newest)) = (self.live, self.newest) else { return };
        let backlog = MediaTime::from_micros(live - packet.capture).to_ticks(self.clock_rate);
        let Ok(backlog) = u64::try_from(backlog) else { return };
        let live = packet.timestamp.saturating_add(backlog);
        let left = self.live_timestamp(live).wrapping_sub(newest.sent) as i32;
        self.live_timestamp = Some(live);
        self.overrun = u64::from(self.clock_rate) / OVERRUN_DIVISOR;
        let room = i64::from(left.max(0)).unsigned_abs() + self.overrun;
        self.squeeze = SQUEEZE.max(backlog / room.saturating_sub(1).max(1) + 1);
    }

    /// Each simulcast layer counts time from a point of its own; what they share is the source's
    /// capture clock. By that another layer goes on, and never back.
    fn retie(&mut self, packet: &Packet) {
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.track != packet.track) else { return };
        let rate = self.clock_rate;
        let ticks = |time: i64| MediaTime::from_micros(time).to_ticks(rate) as u32;
        let due = newest.timestamp.wrapping_sub(newest.ahead).wrapping_add(ticks(packet.capture - newest.capture));
        let sent = newest.sent;
        newest.ahead = 0;
        self.timestamp_offset = due.wrapping_sub(packet.timestamp as u32);
        let backlog = self.live.map(|live| live - packet.capture).filter(|backlog| *backlog > 0);
        let ahead = |backlog| u64::try_from(MediaTime::from_micros(backlog).to_ticks(rate)).unwrap_or(0);
        self.live_timestamp = backlog.map(|backlog| packet.timestamp.saturating_add(ahead(backlog)));
        let behind = sent.wrapping_add(1).wrapping_sub(self.timestamp(packet.timestamp));
        if behind as i32 > 0 {
            self.timestamp_offset = self.timestamp_offset.wrapping_add(behind);
            if let Some(newest) = &mut self.newest {
                newest.ahead = behind;
            }
        }
    }
}

/// The later of two timestamps (RFC 3550 5.1: modulo 2^32).
const fn later(a: u32, b: u32) -> u32 {
    if (b.wrapping_sub(a) as i32) > 0 { b } else { a }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
