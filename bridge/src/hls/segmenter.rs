//! Where segments are cut: frames in, whole transport stream segments out.
//!
//! [`Segmenter`] owns the muxer and the segment in the making. It reads no clock: all its rules
//! are about the frames' own times.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_source::{Codec, Frame, MediaKind, MediaTime, Track, Tracks};

use crate::ts::{Layout, Muxer, Onset, declares};

/// The most bytes of a segment, one frame more at worst: 2 s at 256 Mb/s, or 17 s at 30 Mb/s. More
/// is cut, so that a stream without keyframes cannot grow a segment for ever.
const SEGMENT_BYTES_MAX: usize = 64 << 20;
/// A shorter segment is dropped: it is what a break leaves behind, a frame or two, and players
/// stumble over it. SRS takes the same limit.
const SEGMENT_MIN: Duration = Duration::from_millis(100);
/// How long sound alone waits for a picture before it is taken for all there is.
const VIDEO_WAIT: Duration = Duration::from_secs(2);
/// A hole in the times beyond this is a break, not a long frame: longer than any encoder's pause
/// between pictures, and than what players play across without being told.
const GAP_MAX: Duration = Duration::from_secs(3);
/// Times that step back this far are a break too. Tracks of one source differ by much less.
const STEP_BACK_MAX: Duration = Duration::from_secs(10);
/// How long a wish for a keyframe is given before it is repeated.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What the last frame before a break is taken to last.
const FRAME: Duration = Duration::from_millis(33);

/// When to cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Cut at the first keyframe that is at least this far into the segment …
    pub(super) fragment: Duration,
    /// … or here, whatever comes.
    pub(super) forced: Duration,
}

impl Rules {
    /// Encoders put keyframes a rounding error early; waiting for the next would double a segment.
    fn slack(&self) -> Duration {
        self.fragment / 20
    }
}

/// A finished segment.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) data: Bytes,
    pub(super) duration: Duration,
    /// Its times or parameters do not go on from the segment before it.
    pub(super) discontinuity: bool,
    /// It was cut by length rather than at a keyframe.
    pub(super) forced: bool,
}

/// What happened since the last look; added to the registry's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) frames_dropped: u64,
    pub(super) segments_dropped: u64,
}

/// Cuts one stream.
#[derive(Debug)]
pub(super) struct Segmenter {
    rules: Rules,
    onset: Onset,
    open: Option<Open>,
    epoch: Option<u32>,
    /// Something was cut before, so that a break must be told.
    started: bool,
    discontinuity: bool,
    /// First audio since no picture came, while nothing is open.
    sound_since: Option<MediaTime>,
    video_seen: bool,
    asked: Option<MediaTime>,
    wish: bool,
    tally: Tally,
}

/// The segment in the making, and the muxer that outlives it.
#[derive(Debug)]
struct Open {
    muxer: Muxer,
    /// The last frame's track of each kind: audio, video.
    tracks: [Option<Arc<Track>>; 2],
    data: Vec<u8>,
    start: MediaTime,
    high: MediaTime,
    /// A track came that the muxer does not declare: it joins at the next keyframe's cut.
    grow: bool,
}

/// Why a segment ends before a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Due,
    Forced,
    /// The tracks or their parameters are others from here on.
    Changed,
}

impl Segmenter {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            onset: Onset::default(),
            open: None,
            epoch: None,
            started: false,
            discontinuity: false,
            sound_since: None,
            video_seen: false,
            asked: None,
            wish: false,
            tally: Tally::default(),
        }
    }

    /// Other rules, from now on.
    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Takes the next frame; `tracks` is what the lane holds now. Finished segments go to `cuts`.
    pub(super) fn push(&mut self, frame: &Frame, tracks: &Tracks, cuts: &mut Vec<Cut>) {
        if !Layout::carries(frame.track.codec) {
            self.tally.frames_dropped += 1;
            return;
        }
        if self.epoch.replace(frame.epoch).is_some_and(|epoch| epoch != frame.epoch) {
            self.break_off(cuts);
        }
        if self.open.as_ref().is_some_and(|open| open.is_broken_by(frame)) {
            self.break_off(cuts);
        }
        if self.open.is_none() && self.onset.holds(frame, tracks) {
            return;
        }
        for held in self.onset.take() {
            self.place(&held, tracks, cuts);
        }
        self.place(frame, tracks, cuts);
    }

    fn place(&mut self, frame: &Frame, tracks: &Tracks, cuts: &mut Vec<Cut>) {
        let video = frame.kind() == MediaKind::Video;
        self.video_seen |= video;
        match &self.open {
            None => self.start(frame, tracks),
            Some(open) => match self.cut_before(open, frame) {
                Some(why) => self.cut(why, frame, tracks, cuts),
                None => self.ask_in_time(frame),
            },
        }
        let Some(open) = &mut self.open else {
            self.tally.frames_dropped += 1;
            if video {
                self.ask(frame.dts);
            }
            return;
        };
        if !open.write(frame) {
            self.tally.frames_dropped += 1;
            if video {
                self.ask(frame.dts);
            }
        }
    }

    /// The reader lost frames.
    pub(super) fn handle_lag(&mut self, cuts: &mut Vec<Cut>) {
        self.break_off(cuts);
    }

    /// The publisher left: what there is becomes the last segment.
    pub(super) fn finish(&mut self, cuts: &mut Vec<Cut>) {
        self.break_off(cuts);
    }

    /// A keyframe is needed, to start or to cut on time.
    pub(super) fn take_keyframe_wish(&mut self) -> bool {
        std::mem::take(&mut self.wish)
    }

    pub(super) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Nothing is open: a keyframe starts, or sound that has waited long enough for one.
    fn start(&mut self, frame: &Frame, tracks: &Tracks) {
        if frame.kind() == MediaKind::Video {
            if frame.keyframe {
                self.open = Some(Open::new(frame, Layout { video: true, audio: declares(tracks, Codec::Aac) }));
            }
            return;
        }
        let since = *self.sound_since.get_or_insert(frame.dts);
        if !self.video_seen && frame.dts.saturating_since(since) >= VIDEO_WAIT {
            self.open = Some(Open::new(frame, Layout { video: false, audio: true }));
        }
    }

    fn cut_before(&self, open: &Open, frame: &Frame) -> Option<Why> {
        let layout = open.muxer.layout();
        let age = frame.dts.saturating_since(open.start);
        let keyframe = frame.kind() == MediaKind::Video && frame.keyframe;
        if open.is_changed_by(frame) {
            // A picture with new parameters that is no keyframe cannot be decoded anyway.
            return (keyframe || frame.kind() == MediaKind::Audio).then_some(Why::Changed);
        }
        if keyframe && !layout.video {
            return Some(Why::Changed);
        }
        if (keyframe || !layout.video) && age + self.rules.slack() >= self.rules.fragment {
            return Some(if open.grow && keyframe { Why::Changed } else { Why::Due });
        }
        (age >= self.rules.forced || open.data.len() >= SEGMENT_BYTES_MAX).then_some(Why::Forced)
    }

    fn cut(&mut self, why: Why, frame: &Frame, tracks: &Tracks, cuts: &mut Vec<Cut>) {
        let Some(open) = &mut self.open else { return };
        if why == Why::Changed {
            let layout = open.muxer.layout();
            let layout = Layout {
                video: layout.video || frame.kind() == MediaKind::Video,
                audio: layout.audio || declares(tracks, Codec::Aac),
            };
            let end = frame.dts.max(open.high);
            let (data, duration) = open.roll(end);
            self.open = Some(Open::new(frame, layout));
            self.emit(data, duration, false, cuts);
            self.discontinuity = self.started;
        } else {
            let (data, duration) = open.roll(frame.dts);
            self.emit(data, duration, why == Why::Forced, cuts);
        }
    }

    /// Ends the segment where it is; what comes next starts anew at a keyframe.
    fn break_off(&mut self, cuts: &mut Vec<Cut>) {
        self.tally.frames_dropped += self.onset.take().len() as u64;
        self.sound_since = None;
        self.video_seen = false;
        if let Some(mut open) = self.open.take() {
            let end = open.high + FRAME;
            let (data, duration) = open.roll(end);
            self.emit(data, duration, false, cuts);
            self.discontinuity = self.started;
        }
    }

    fn emit(&mut self, data: Vec<u8>, duration: Duration, forced: bool, cuts: &mut Vec<Cut>) {
        self.asked = None;
        if duration < SEGMENT_MIN {
            self.tally.segments_dropped += 1;
            self.discontinuity = self.started;
            return;
        }
        let discontinuity = std::mem::take(&mut self.discontinuity);
        self.started = true;
        cuts.push(Cut { data: Bytes::from(data), duration, discontinuity, forced });
    }

    /// Publishers that can be asked put the keyframe where we want to cut.
    fn ask_in_time(&mut self, frame: &Frame) {
        let Some(open) = &self.open else { return };
        let age = frame.dts.saturating_since(open.start);
        if open.muxer.layout().video && age + self.rules.slack() >= self.rules.fragment {
            self.ask(frame.dts);
        }
    }

    fn ask(&mut self, now: MediaTime) {
        if self.asked.is_none_or(|asked| now.saturating_since(asked) >= ASK_AGAIN) {
            self.asked = Some(now);
            self.wish = true;
        }
    }
}

impl Open {
    fn new(first: &Frame, layout: Layout) -> Self {
        let mut muxer = Muxer::new(layout);
        let mut data = Vec::new();
        muxer.tables(&mut data);
        Self { muxer, tracks: [None, None], data, start: first.dts, high: first.dts, grow: false }
    }

    /// `false`: the frame was left out.
    fn write(&mut self, frame: &Frame) -> bool {
        if !self.muxer.layout().has(frame.kind()) {
            self.grow = true;
            return false;
        }
        if self.is_changed_by(frame) {
            return false;
        }
        let track = &mut self.tracks[slot(frame.kind())];
        if !track.as_ref().is_some_and(|track| Arc::ptr_eq(track, &frame.track)) {
            *track = Some(Arc::clone(&frame.track));
        }
        self.high = self.high.max(frame.dts);
        self.muxer.write(frame, &mut self.data).is_ok()
    }

    /// Hands out the segment up to `end` and starts the next there.
    fn roll(&mut self, end: MediaTime) -> (Vec<u8>, Duration) {
        self.muxer.flush(&mut self.data);
        let duration = end.saturating_since(self.start);
        self.start = end;
        // The next segment will be about as long.
        let next = Vec::with_capacity(self.data.len());
        let data = std::mem::replace(&mut self.data, next);
        self.muxer.tables(&mut self.data);
        (data, duration)
    }

    fn is_broken_by(&self, frame: &Frame) -> bool {
        frame.dts.saturating_since(self.high) > GAP_MAX || self.high.saturating_since(frame.dts) > STEP_BACK_MAX
    }

    fn is_changed_by(&self, frame: &Frame) -> bool {
        self.tracks[slot(frame.kind())]
            .as_ref()
            .is_some_and(|track| !Arc::ptr_eq(track, &frame.track) && track.config != frame.track.config)
    }
}

const fn slot(kind: MediaKind) -> usize {
    match kind {
        MediaKind::Audio => 0,
        MediaKind::Video => 1,
    }
}
