//! Frames of a video stream, seen from its packets: where one ends, whether it came whole, whether it
//! is a keyframe, and the stamp in it. Nothing of the payload is kept.

use std::collections::VecDeque;

use crate::measure::Stamp;

/// Frames that wait for packets to be sent again. A third of a second at 30 fps: who has waited for
/// longer shows the next keyframe instead.
const WAITING_MAX: usize = 12;
/// NAL unit types (H.264 table 7-1, RFC 6184 section 5.2).
const IDR: u8 = 5;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// One packet of the stream.
pub(super) struct Piece<'a> {
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// `None` for a packet that was not opened.
    pub(super) payload: Option<&'a [u8]>,
}

/// A frame that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) keyframe: bool,
    pub(super) stamp: Option<Stamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pictures {
    frames: VecDeque<Frame>,
    /// The index behind the newest frame that is over and done with.
    next: Option<u64>,
    /// Something is missing that will not come: what follows needs a keyframe.
    broken: bool,
    keyframe_seen: bool,
}

#[derive(Debug)]
struct Frame {
    timestamp: u32,
    first: u64,
    highest: u64,
    last: Option<u64>,
    packets: u64,
    keyframe: bool,
    stamp: Option<Stamp>,
}

impl Pictures {
    /// Whether a keyframe must come before anything can be shown.
    pub(super) const fn needs_keyframe(&self) -> bool {
        self.broken || !self.keyframe_seen
    }

    /// A keyframe has come whole.
    pub(super) const fn has_keyframe(&self) -> bool {
        self.keyframe_seen
    }

    /// Takes a packet, each once and in any order.
    pub(super) fn handle(&mut self, piece: &Piece<'_>) {
        if self.next.is_some_and(|next| piece.index < next) {
            return;
        }
        let at = self.frames.partition_point(|frame| frame.first <= piece.index);
        let mut near = [at.checked_sub(1), Some(at)].into_iter().flatten();
        let own = near.find(|at| self.frames.get(*at).is_some_and(|frame| frame.timestamp == piece.timestamp));
        let at = own.unwrap_or_else(|| {
            let (timestamp, first, highest) = (piece.timestamp, piece.index, piece.index);
            self.frames.insert(at, Frame { timestamp, first, highest, last: None, packets: 0, keyframe: false, stamp: None });
            at
        });
        let Some(frame) = self.frames.get_mut(at) else { return };
        frame.first = frame.first.min(piece.index);
        frame.highest = frame.highest.max(piece.index);
        frame.packets += 1;
        if piece.marker {
            frame.last = Some(piece.index);
        }
        if let Some(payload) = piece.payload {
            frame.look(payload);
        }
    }

    /// The next frame that is whole, after all before it. `Err` for one that was given up.
    pub(super) fn poll(&mut self) -> Option<Result<Whole, ()>> {
        if self.frames.len() > WAITING_MAX {
            return self.give_up(self.frames.front().map_or(0, |frame| frame.first)).then_some(Err(()));
        }
        let front = self.frames.front()?;
        let last = front.last?;
        let starts = self.next.is_none_or(|next| next == front.first);
        if !starts || front.packets < last - front.first + 1 {
            return None;
        }
        // Nothing tells the start of the very first frame: a keyframe begins with its parameter sets.
        let first = self.next.is_none();
        let frame = self.frames.pop_front()?;
        self.next = Some(last + 1);
        if frame.keyframe {
            self.broken = false;
            self.keyframe_seen = true;
        } else if first {
            self.broken = true;
        }
        Some(Ok(Whole { keyframe: frame.keyframe, stamp: frame.stamp }))
    }

    /// The packet `index` will not come any more, and so neither will its frame, nor the one behind it,
    /// whose start it may have been. Whether that is news.
    pub(super) fn give_up(&mut self, index: u64) -> bool {
        if self.next.is_some_and(|next| index < next) {
            return false;
        }
        self.broken = true;
        let mut next = index + 1;
        while let Some(frame) = self.frames.pop_front_if(|frame| frame.first <= index + 1) {
            next = next.max(frame.highest + 1);
        }
        self.next = Some(next);
        true
    }
}

impl Frame {
    /// Notes what the NAL units of a payload are.
    fn look(&mut self, payload: &[u8]) {
        match payload {
            [head, rest @ ..] if head & 0x1f == STAP_A => {
                let mut rest = rest;
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let Some((unit, after)) = after.split_at_checked(u16::from_be_bytes(*len).into()) else { return };
                    self.note(unit);
                    rest = after;
                }
            }
            // The start of a unit in fragments.
            [head, fragment, ..] if head & 0x1f == FU_A => self.keyframe |= fragment & 0x80 != 0 && fragment & 0x1f == IDR,
            unit => self.note(unit),
        }
    }

    fn note(&mut self, unit: &[u8]) {
        self.keyframe |= unit.first().is_some_and(|head| head & 0x1f == IDR);
        if self.stamp.is_none() {
            self.stamp = Stamp::find(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: &[u8] = &[0x41, 0x9a];
    const IDR_START: &[u8] = &[0x7c, 0x85, 1, 2];
    const IDR_END: &[u8] = &[0x7c, 0x45, 1, 2];

    fn piece(index: u64, timestamp: u32, marker: bool, payload: &[u8]) -> Piece<'_> {
        Piece { index, timestamp, marker, payload: Some(payload) }
    }

    /// Sound keyframe of two fragments at 10 and 11.
    fn started() -> Pictures {
        let mut pictures = Pictures::default();
        pictures.handle(&piece(10, 0, false, IDR_START));
        assert_eq!(pictures.poll(), None);
        pictures.handle(&piece(11, 0, true, IDR_END));
        assert_eq!(pictures.poll(), Some(Ok(Whole { keyframe: true, stamp: None })));
        assert!(!pictures.needs_keyframe());
        pictures
    }

    #[test]
    fn a_frame_is_whole_when_all_before_it_is() {
        let mut pictures = started();
        pictures.handle(&piece(13, 3_000, true, SLICE));
        assert_eq!(pictures.poll(), None, "12 is missing");
        pictures.handle(&piece(12, 3_000, false, SLICE));
        assert_eq!(pictures.poll(), Some(Ok(Whole { keyframe: false, stamp: None })));
        assert_eq!(pictures.poll(), None);
    }

    #[test]
    fn a_stream_that_begins_in_the_middle_needs_a_keyframe() {
        let mut pictures = Pictures::default();
        pictures.handle(&piece(5, 0, true, SLICE));
        assert!(pictures.poll().is_some());
        assert!(pictures.needs_keyframe() && !pictures.has_keyframe());
    }

    #[test]
    fn what_is_given_up_takes_its_frame_along_until_the_next_keyframe() {
        let mut pictures = started();
        pictures.handle(&piece(13, 3_000, true, SLICE));
        pictures.handle(&piece(14, 6_000, true, SLICE));
        assert!(pictures.give_up(12));
        assert!(!pictures.give_up(12), "no news");
        assert_eq!(pictures.poll(), Some(Ok(Whole { keyframe: false, stamp: None })), "14 came whole");
        assert!(pictures.needs_keyframe());
        pictures.handle(&piece(15, 9_000, false, IDR_START));
        pictures.handle(&piece(16, 9_000, true, IDR_END));
        assert!(pictures.poll().is_some_and(|frame| frame.is_ok_and(|frame| frame.keyframe)));
        assert!(!pictures.needs_keyframe());
    }

    #[test]
    fn stamps_are_found_alone_and_in_aggregates() {
        let stamp = Stamp { counter: 7, sent_micros: 1_234_567 };
        let sei = stamp.write();
        let mut aggregate = vec![0x78, 0, 2, 0x67, 0x42, 0, sei.len() as u8];
        aggregate.extend(sei);
        for payload in [&sei[..], &aggregate] {
            let mut pictures = started();
            pictures.handle(&piece(12, 3_000, false, payload));
            pictures.handle(&piece(13, 3_000, true, SLICE));
            assert_eq!(pictures.poll(), Some(Ok(Whole { keyframe: false, stamp: Some(stamp) })));
        }
        let mut pictures = started();
        for cut in 0..aggregate.len() {
            pictures.handle(&piece(12, 3_000, false, &aggregate[..cut]));
        }
    }

    #[test]
    fn frames_that_wait_have_an_end() {
        let mut pictures = started();
        for n in 0..WAITING_MAX as u64 + 1 {
            assert_eq!(pictures.poll(), None);
            pictures.handle(&piece(20 + n, 3_000 * (n as u32 + 1), true, SLICE));
        }
        assert_eq!(pictures.poll(), Some(Err(())));
        assert!(pictures.needs_keyframe());
        assert!(pictures.poll().is_some_and(|frame| frame.is_ok()), "the next ones go on");
    }
}
