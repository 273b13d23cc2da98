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
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use weir_source::PacketExtensions;

    use super::*;

    const SEED: u64 = 0xdead_beef_1234_7fff;

    fn packet(epoch: u32, seq: u64, ms: i64, keyframe: bool) -> Packet {
        Packet {
            track: TrackId::VIDEO,
            epoch,
            seq,
            timestamp: 1_000_000 + u64::try_from(ms).unwrap_or(0) * 90,
            capture: MediaTime::from_millis(ms),
            marker: true,
            keyframe,
            extensions: PacketExtensions::default(),
            payload: Bytes::new(),
        }
    }

    fn video() -> Rewrite {
        Rewrite::new(true, 90_000, SEED)
    }

    #[test]
    fn starts_at_a_keyframe_with_a_number_below_half_the_range() {
        let mut rewrite = video();
        assert_eq!(rewrite.map(&packet(1, 70_000, 0, false), None), Err(Refusal::Waiting));
        let first = rewrite.map(&packet(1, 70_001, 33, true), None).unwrap();
        assert_eq!(first.seq, SEED % (1 << 15), "late joiners start with roll-over counter zero");
        let next = rewrite.map(&packet(1, 70_002, 66, false), None).unwrap();
        assert_eq!(next.seq, first.seq + 1);
        assert_eq!(next.timestamp.wrapping_sub(first.timestamp), 33 * 90);
    }

    #[test]
    fn a_real_hole_stays_and_is_filled_under_its_own_number() {
        let mut rewrite = video();
        let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
        let after = rewrite.map(&packet(1, 13, 99, false), None).unwrap();
        assert_eq!(after.seq, first.seq + 3);
        let late = rewrite.map(&packet(1, 11, 33, false), None).unwrap();
        assert_eq!((late.seq, late.late), (first.seq + 1, true));
        assert_eq!(rewrite.map(&packet(1, 9, -33, false), None), Err(Refusal::Late), "from before the start");
    }

    #[test]
    fn what_we_leave_out_makes_no_hole() {
        let mut rewrite = video();
        let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
        rewrite.interrupt();
        for seq in 11..40 {
            assert_eq!(rewrite.map(&packet(1, seq, 33, false), None), Err(Refusal::Waiting));
        }
        let again = rewrite.map(&packet(1, 40, 999, true), None).unwrap();
        assert_eq!(again.seq, first.seq + 1);
        assert_eq!(again.timestamp.wrapping_sub(first.timestamp), 999 * 90, "time goes on all the same");
        assert_eq!(rewrite.map(&packet(1, 39, 990, false), None), Err(Refusal::Late));
    }

    #[test]
    fn a_new_publisher_continues_at_its_first_keyframe() {
        let mut rewrite = video();
        let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
        assert_eq!(rewrite.map(&packet(2, 11, 33, false), None), Err(Refusal::Waiting));
        assert!(rewrite.is_waiting());
        assert_eq!(rewrite.map(&packet(2, 14, 99, true), None).unwrap().seq, first.seq + 1);
        assert_eq!(rewrite.map(&packet(1, 12, 50, true), None), Err(Refusal::Late), "the former one is over");
        assert_eq!(rewrite.map(&packet(2, 15, 132, false), None).unwrap().seq, first.seq + 2);
    }

    #[test]
    fn a_hole_too_large_for_srtp_is_closed_up() {
        let mut rewrite = video();
        let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
        assert_eq!(rewrite.map(&packet(1, 60_000, 33, false), None), Err(Refusal::Waiting));
        assert_eq!(rewrite.map(&packet(1, 60_001, 66, true), None).unwrap().seq, first.seq + 1);
    }

    #[test]
    fn backlog_is_squeezed_and_ends_on_live_time() {
        let mut rewrite = video();
        rewrite.join(MediaTime::from_millis(3_000));
        let stamps: Vec<u32> =
            (0..=94).map(|n| rewrite.map(&packet(1, n, n as i64 * 32, n == 0), None).unwrap().timestamp).collect();
        for pair in stamps[..93].windows(2) {
            assert_eq!(pair[1].wrapping_sub(pair[0]), 90, "one millisecond apart");
        }
        let live = rewrite.timestamp(1_000_000 + 94 * 32 * 90);
        assert_eq!(stamps[94], live);
        assert_eq!(rewrite.timestamp(1_000_000 + 95 * 32 * 90).wrapping_sub(live), 32 * 90);
        assert_eq!(live.wrapping_sub(rewrite.timestamp(1_000_000 + 3_000 * 90)), 8 * 90, "no step at the seam");
    }

    #[test]
    fn what_is_sent_again_fits_between_what_was_sent_and_what_is_live() {
        for (seconds, lost_ms) in [(1, 0), (1, 33), (10, 0), (10, 3_000)] {
            let mut rewrite = video();
            let pictures = seconds * 30;
            let all = |n: u64| packet(1, n, n as i64 * 33, n == 0);
            let last = pictures - lost_ms / 33;
            let stamps: Vec<u32> = (0..=last).map(|n| rewrite.map(&all(n), None).unwrap().timestamp).collect();
            let (sent, seq) = (stamps[last as usize], rewrite.next_seq);
            rewrite.rejoin(MediaTime::from_millis(pictures as i64 * 33));
            let again: Vec<Numbers> = (0..=pictures + 3).map(|n| rewrite.map(&all(n), None).unwrap()).collect();
            assert_eq!(again[0].seq, seq);
            let mut before = sent;
            for numbers in &again {
                let step = numbers.timestamp.wrapping_sub(before) as i32;
                assert!(step > 0 && !numbers.late, "{seconds} s, {lost_ms} ms: {step}");
                before = numbers.timestamp;
            }
            let live = again.last().map(|numbers| numbers.timestamp.wrapping_sub(stamps[0]));
            assert_eq!(live, Some((pictures as u32 + 3) * 33 * 90), "it ends where it would have been");
        }
    }

    #[test]
    fn sound_starts_at_the_live_point() {
        let mut rewrite = Rewrite::new(false, 48_000, SEED);
        rewrite.join(MediaTime::from_millis(100));
        assert_eq!(rewrite.map(&packet(1, 5, 80, false), None), Err(Refusal::Waiting));
        let first = rewrite.map(&packet(1, 6, 100, false), None).unwrap();
        assert_eq!(first.seq, SEED % (1 << 15));
        assert!(rewrite.map(&packet(2, 7, 120, false), None).is_ok(), "no keyframe needed on a new epoch");
    }

    #[test]
    fn what_is_left_out_of_a_stream_makes_no_hole_and_late_packets_keep_their_places() {
        let mut rewrite = video();
        let at = |seq: u64| packet(1, seq, seq as i64 * 33, seq == 10);
        let first = rewrite.map(&at(10), None).unwrap();
        assert!(rewrite.leave_out(&at(11), true));
        assert_eq!(rewrite.map(&at(12), None).unwrap().seq, first.seq + 1);
        // 13 is lost for now.
        assert!(rewrite.leave_out(&at(14), true));
        let next = rewrite.map(&at(15), None).unwrap();
        assert_eq!((next.seq, next.patch.picture), (first.seq + 3, 0u16.wrapping_sub(2)));
        let late = rewrite.map(&at(13), None).unwrap();
        assert_eq!((late.seq, late.late, late.patch.picture), (first.seq + 2, true, u16::MAX));
        for seq in (16..200).step_by(2) {
            assert!(rewrite.leave_out(&at(seq), true));
            rewrite.map(&at(seq + 1), None).unwrap();
        }
        assert!(!rewrite.leave_out(&at(150), true), "it came late");
        assert_eq!(rewrite.map(&at(13), None), Err(Refusal::Late), "too long ago");
        assert_eq!(rewrite.map(&at(200), None).unwrap().seq, first.seq + 4 + 92);
        assert!(rewrite.run.as_ref().unwrap().past.len() <= CUTS_MAX);
    }

    proptest! {
        #[test]
        fn no_number_is_used_twice_while_some_are_left_out(
            steps in proptest::collection::vec((0u64..6, any::<bool>(), 0u8..3), 1..300),
        ) {
            let mut rewrite = video();
            let (mut used, mut given) = (std::collections::HashSet::new(), std::collections::HashSet::new());
            let mut base = 100_000u64;
            for (ahead, leave, track) in steps {
                base += ahead / 2;
                let (seq, track) = (base + ahead, TrackId::new(1 + track / 2).unwrap());
                if !given.insert((track, seq)) {
                    continue;
                }
                let packet = Packet { track, ..packet(1, seq, seq as i64, ahead == 5) };
                if leave {
                    rewrite.leave_out(&packet, true);
                } else if let Ok(numbers) = rewrite.map(&packet, None) {
                    prop_assert!(used.insert(numbers.seq));
                }
            }
        }

        #[test]
        fn no_number_is_used_twice(steps in proptest::collection::vec((0u64..40, 0u32..3, any::<bool>(), any::<bool>()), 1..300)) {
            let mut rewrite = video();
            let (mut used, mut given) = (std::collections::HashSet::new(), std::collections::HashSet::new());
            let (mut epoch, mut base) = (1, 100_000u64);
            for (ahead, bump, keyframe, interrupt) in steps {
                epoch += bump / 2;
                base += ahead / 2;
                if interrupt && ahead == 0 {
                    rewrite.interrupt();
                }
                let seq = base + ahead;
                // A ring holds each number of an epoch once.
                if !given.insert((epoch, seq)) {
                    continue;
                }
                if let Ok(numbers) = rewrite.map(&packet(epoch, seq, seq as i64, keyframe), None) {
                    prop_assert!(used.insert(numbers.seq));
                }
            }
        }
    }
}
