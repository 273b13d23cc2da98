//! Holds pictures back until it is their time.

use std::{collections::VecDeque, time::Duration};

use weir_source::{MediaTime, Packet};

/// The farthest that a picture may be ahead of its stream: sixteen frames of reordering at 30 a
/// second, the most that H.264 knows. What claims more has a broken timeline and goes at once.
const AHEAD_MAX: Duration = Duration::from_millis(533);
/// The most packets held: 533 ms of a 70 Mb/s stream. With more the oldest go at once.
const HELD_MAX: usize = 4_096;

/// The longest that pictures wait for their sound to be transcoded: an AAC frame, an Opus frame and
/// a busy machine. Sound that stops for good so delays pictures by no more than this.
const SOUND_MAX: Duration = Duration::from_millis(80);

/// The pictures that have come before their sound.
///
/// A stream with B-frames is sent in the order of decoding, so a P-frame comes together with sound
/// that is heard up to 200 ms before it is seen; and transcoding takes sound about 45 ms. A WebRTC
/// receiver shows what it has: it needs ten seconds and more to learn that pictures have to wait
/// for their sound (Chromium moves in small steps), so waiting here costs nothing that it would
/// not add itself.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    held: VecDeque<Packet>,
    clock: MediaTime,
    /// How far the transcoded sound has come; `None` where none is transcoded.
    sound: Option<MediaTime>,
}

impl Ahead {
    /// Frames up to the decoding time `now` have come.
    pub(super) fn advance(&mut self, now: MediaTime) {
        // The tracks of a stream are not quite in step, but far back is a new timeline.
        let broken = now.offset(AHEAD_MAX.as_micros() as i64) < self.clock;
        self.clock = if broken { now } else { self.clock.max(now) };
    }

    /// Transcoded sound has come up to `until`.
    pub(super) fn heard(&mut self, until: MediaTime) {
        self.sound = Some(until);
    }

    /// No sound is transcoded any more.
    pub(super) fn forget_sound(&mut self) {
        self.sound = None;
    }

    /// Up to where pictures are due.
    fn due(&self) -> MediaTime {
        let Some(sound) = self.sound else { return self.clock };
        sound.min(self.clock).max(self.clock.offset(-(SOUND_MAX.as_micros() as i64)))
    }

    /// Takes the packets of one picture.
    pub(super) fn hold(&mut self, packets: &mut Vec<Packet>) {
        self.held.extend(packets.drain(..));
    }

    /// Appends those whose time has come to `out`, in their order.
    pub(super) fn release(&mut self, out: &mut Vec<Packet>) {
        let limit = self.clock.offset(AHEAD_MAX.as_micros() as i64);
        let until = self.due();
        let due = |packet: &Packet| packet.capture <= until || packet.capture > limit;
        let over = self.held.len().saturating_sub(HELD_MAX);
        // Not only the head: what is behind a picture that goes at once must not stay behind it.
        let last = self.held.iter().rposition(due).map_or(0, |index| index + 1);
        out.extend(self.held.drain(..last.max(over)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_source::{PacketExtensions, TrackId};

    use super::*;

    fn packet(seq: u64, millis: i64) -> Packet {
        Packet {
            track: TrackId::VIDEO,
            epoch: 0,
            seq,
            timestamp: 0,
            capture: MediaTime::from_millis(millis),
            marker: true,
            keyframe: false,
            extensions: PacketExtensions::default(),
            payload: Bytes::new(),
        }
    }

    /// What comes out at each step of (decoding time, picture times).
    fn released(steps: &[(i64, &[i64])]) -> Vec<Vec<u64>> {
        let mut ahead = Ahead::default();
        let mut seq = 0;
        let run = |&(now, pictures): &(i64, &[i64])| {
            ahead.advance(MediaTime::from_millis(now));
            for millis in pictures {
                ahead.hold(&mut vec![packet(seq, *millis)]);
                seq += 1;
            }
            let mut out = Vec::new();
            ahead.release(&mut out);
            out.iter().map(|packet| packet.seq).collect()
        };
        steps.iter().map(run).collect()
    }

    #[test]
    fn pictures_without_composition_time_pass_at_once() {
        assert_eq!(released(&[(0, &[0]), (40, &[40]), (80, &[80])]), [[0], [1], [2]]);
    }

    #[test]
    fn a_picture_waits_until_sound_or_other_pictures_reach_it() {
        let steps: &[(i64, &[i64])] = &[(0, &[80]), (21, &[]), (40, &[240]), (80, &[]), (238, &[]), (240, &[])];
        assert_eq!(released(steps), [vec![], vec![], vec![], vec![0], vec![], vec![1]]);
    }

    #[test]
    fn a_picture_far_ahead_and_all_before_it_go_at_once() {
        assert_eq!(released(&[(0, &[80, 10_000]), (40, &[])]), [vec![0, 1], vec![]]);
    }

    #[test]
    fn a_timeline_that_starts_again_holds_nothing_for_long() {
        assert_eq!(released(&[(60_000, &[60_000]), (0, &[80]), (80, &[])]), [vec![0], vec![], vec![1]]);
    }

    #[test]
    fn pictures_wait_for_transcoded_sound_but_not_for_long() {
        let mut ahead = Ahead::default();
        let mut step = |now, sound: Option<i64>, picture: Option<i64>| {
            ahead.advance(MediaTime::from_millis(now));
            if let Some(until) = sound {
                ahead.heard(MediaTime::from_millis(until));
            }
            if let Some(millis) = picture {
                ahead.hold(&mut vec![packet(millis as u64, millis)]);
            }
            let mut out = Vec::new();
            ahead.release(&mut out);
            out.iter().map(|packet| packet.seq).collect::<Vec<_>>()
        };
        assert_eq!(step(1_000, None, Some(1_000)), [1_000], "no sound is known yet");
        assert_eq!(step(1_040, Some(1_000), Some(1_040)), [0_u64; 0]);
        assert_eq!(step(1_045, Some(1_040), None), [1_040]);
        assert_eq!(step(1_080, None, Some(1_080)), [0_u64; 0]);
        assert_eq!(step(1_160, None, None), [1_080], "the sound has stopped");
    }

    #[test]
    fn no_more_is_held_than_the_bound() {
        let mut ahead = Ahead::default();
        let mut packets: Vec<_> = (0..5_000).map(|seq| packet(seq, 100)).collect();
        ahead.hold(&mut packets);
        let mut out = Vec::new();
        ahead.release(&mut out);
        assert_eq!((out.len(), ahead.held.len()), (5_000 - HELD_MAX, HELD_MAX));
    }
}
