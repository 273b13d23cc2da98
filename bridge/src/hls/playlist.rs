//! The sliding window of segments and the playlist that lists them (RFC 8216).

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::segmenter::Cut;

/// The most bytes of segments kept for a stream, whatever the window: with the default window of
/// 12 s, listed and as much again for slow players, enough up to 40 Mb/s. The newest three
/// segments stay in any case, so the worst is three times the segment bound.
const STREAM_BYTES_MAX: usize = 128 << 20;
/// A player that starts three target durations before the end must find that much (RFC 8216
/// 6.2.2 forbids to list less).
const SEGMENTS_MIN: usize = 3;

/// What the HTTP side reads: never changed, replaced whole.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Empty before the first segment.
    pub(super) playlist: Bytes,
    pub(super) segments: HashMap<Arc<str>, Bytes>,
}

impl Snapshot {
    /// Whether a player may start with this. With one segment it would play to the end of what
    /// there is before the next is cut, and stand still.
    pub(super) fn is_enough(&self) -> bool {
        self.segments.len() >= 2
    }
}

/// The segments of one run of a segmenter.
#[derive(Debug)]
pub(super) struct Window {
    /// `{stream}-{run}`: names are never used again, whatever caches still hold.
    prefix: String,
    /// Before the names in the playlist.
    entry: String,
    span: Duration,
    /// Oldest first; the first `unlisted` are kept for players that have an older playlist.
    segments: VecDeque<Segment>,
    unlisted: usize,
    next_seq: u64,
    discontinuities_gone: u64,
    target_secs: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Segment {
    seq: u64,
    name: Arc<str>,
    data: Bytes,
    duration: Duration,
    discontinuity: bool,
}

impl Window {
    /// `first_seq` should rise from run to run, so that a player that stays sees numbers rise.
    pub(super) fn new(prefix: String, first_seq: u64, fragment: Duration, span: Duration) -> Self {
        Self {
            prefix,
            entry: String::new(),
            span,
            segments: VecDeque::new(),
            unlisted: 0,
            next_seq: first_seq,
            discontinuities_gone: 0,
            target_secs: ceil_secs(fragment),
            bytes: 0,
        }
    }

    /// What stands before the names of segments in the playlist.
    pub(super) fn set_entry(&mut self, entry: String) {
        self.entry = entry;
    }

    /// How much the playlist lists from the next segment on.
    pub(super) fn set_span(&mut self, span: Duration) {
        self.span = span;
    }

    /// Adds a segment and slides the window. Its name and number.
    pub(super) fn push(&mut self, cut: Cut) -> (Arc<str>, u64) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let name: Arc<str> = format!("{}-{seq}.ts", self.prefix).into();
        let named = (Arc::clone(&name), seq);
        // It must not change in a playlist's life (RFC 8216 6.2.1). It starts as what the rules
        // promise and grows only if a publisher breaks them: players take that well.
        self.target_secs = self.target_secs.max(ceil_secs(cut.duration));
        self.bytes += cut.data.len();
        self.segments.push_back(Segment { seq, name, data: cut.data, duration: cut.duration, discontinuity: cut.discontinuity });
        self.slide();
        named
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let segments = self.segments.iter().map(|segment| (Arc::clone(&segment.name), segment.data.clone())).collect();
        Snapshot { playlist: self.render(), segments }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn slide(&mut self) {
        let span = self.span.max(Duration::from_secs(self.target_secs) * 3);
        while let Some(oldest) = self.segments.get(self.unlisted) {
            let listed = self.segments.len() - self.unlisted;
            if listed <= SEGMENTS_MIN || self.seconds(self.unlisted + 1..) < span {
                break;
            }
            self.discontinuities_gone += u64::from(oldest.discontinuity);
            self.unlisted += 1;
        }
        // A segment stays as long as its own and the longest playlist's duration after it left
        // the list (RFC 8216 6.2.2).
        while self.unlisted > 0 {
            let enough = self.seconds(1..self.unlisted) >= span;
            if !enough && self.bytes <= STREAM_BYTES_MAX {
                break;
            }
            self.remove_oldest();
        }
        while self.bytes > STREAM_BYTES_MAX && self.segments.len() > SEGMENTS_MIN {
            self.discontinuities_gone += u64::from(self.segments.front().is_some_and(|oldest| oldest.discontinuity));
            self.unlisted = 1;
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(gone) = self.segments.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.data.len());
            self.unlisted = self.unlisted.saturating_sub(1);
        }
    }

    fn seconds(&self, range: impl std::ops::RangeBounds<usize>) -> Duration {
        self.segments.range(range).map(|segment| segment.duration).sum()
    }

    fn render(&self) -> Bytes {
        let listed = self.segments.range(self.unlisted..);
        let mut text = String::with_capacity(128 + listed.len() * 64);
        let first = listed.clone().next().map_or(self.next_seq, |segment| segment.seq);
        let _infallible = write!(
            text,
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{first}\n",
            self.target_secs
        );
        if self.discontinuities_gone > 0 {
            let _infallible = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuities_gone);
        }
        for segment in listed {
            if segment.discontinuity {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            let _infallible = writeln!(text, "#EXTINF:{:.3},\n{}{}", segment.duration.as_secs_f64(), self.entry, segment.name);
        }
        Bytes::from(text)
    }
}

fn ceil_secs(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// The stream that a segment's name `{stream}-{run}-{seq}.ts` belongs to.
pub fn stream_of_segment(name: &str) -> Option<&str> {
    let mut parts = name.strip_suffix(".ts")?.rsplitn(3, '-');
    let seq = parts.next()?;
    let run = parts.next()?;
    let legal = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit()) && !run.is_empty();
    parts.next().filter(|stream| legal && !stream.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(ms: u64, discontinuity: bool, bytes: usize) -> Cut {
        Cut { data: vec![0; bytes].into(), duration: Duration::from_millis(ms), discontinuity, forced: false }
    }

    fn window() -> Window {
        Window::new("cam-x1".into(), 100, Duration::from_secs(2), Duration::from_secs(12))
    }

    fn text(window: &Window) -> String {
        String::from_utf8(window.snapshot().playlist.to_vec()).unwrap()
    }

    #[test]
    fn a_playlist_reads_as_players_expect() {
        let mut window = window();
        window.push(cut(2_000, false, 10));
        window.push(cut(1_984, true, 10));
        let expected = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:100\n\
                        #EXTINF:2.000,\ncam-x1-100.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.984,\ncam-x1-101.ts\n";
        assert_eq!(text(&window), expected);
    }

    #[test]
    fn names_lead_back_to_their_stream() {
        assert_eq!(stream_of_segment("cam-1-x1y2z3-17.ts"), Some("cam-1"));
        for bad in ["cam.ts", "a-b.ts", "-r-1.ts", "a-r-.ts", "a-r-1x.ts", "a-r-1.m3u8", "a--1.ts", ""] {
            assert_eq!(stream_of_segment(bad), None, "{bad}");
        }
    }

    #[test]
    fn huge_segments_push_out_the_oldest() {
        let mut window = window();
        for _ in 0..6 {
            window.push(cut(2_000, true, 50 << 20));
        }
        assert_eq!(window.segments.len(), SEGMENTS_MIN);
        assert_eq!(window.bytes(), 150 << 20);
        assert!(text(&window).contains("#EXT-X-MEDIA-SEQUENCE:103\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n"));
    }

    struct Listed {
        target: u64,
        first: u64,
        gone: u64,
        entries: Vec<(f64, String, bool)>,
    }

    fn parse(text: &str) -> Listed {
        let number = |tag: &str| text.lines().find_map(|l| l.strip_prefix(tag)).map_or(0, |v| v.parse().unwrap());
        let mut entries = Vec::new();
        let (mut broken, mut duration) = (false, 0.0);
        for line in text.lines() {
            if line == "#EXT-X-DISCONTINUITY" {
                broken = true;
            } else if let Some(value) = line.strip_prefix("#EXTINF:") {
                duration = value.trim_end_matches(',').parse().unwrap();
            } else if !line.starts_with('#') {
                entries.push((duration, line.to_owned(), std::mem::take(&mut broken)));
            }
        }
        Listed {
            target: number("#EXT-X-TARGETDURATION:"),
            first: number("#EXT-X-MEDIA-SEQUENCE:"),
            gone: number("#EXT-X-DISCONTINUITY-SEQUENCE:"),
            entries,
        }
    }

    proptest! {
        #[test]
        fn the_window_keeps_its_promises(cuts in proptest::collection::vec((100u64..6_000, proptest::bool::weighted(0.2), 1usize..1_000), 1..120)) {
            let mut window = window();
            let mut before: Option<Listed> = None;
            for (pushed, (ms, discontinuity, bytes)) in cuts.iter().enumerate() {
                window.push(cut(*ms, *discontinuity, *bytes));
                let snapshot = window.snapshot();
                let now = parse(std::str::from_utf8(&snapshot.playlist).unwrap());
                let total = now.entries.iter().map(|entry| entry.0).sum::<f64>() + 1e-6;
                prop_assert!(now.entries.iter().all(|entry| now.target as f64 >= entry.0), "target covers every segment");
                prop_assert_eq!(now.first + now.entries.len() as u64, 100 + pushed as u64 + 1, "numbers count up by one");
                for (offset, (_, name, _)) in now.entries.iter().enumerate() {
                    prop_assert_eq!(name, &format!("cam-x1-{}.ts", now.first + offset as u64));
                    prop_assert_eq!(snapshot.segments.get(name.as_str()).map(Bytes::len), Some(cuts[(now.first - 100) as usize + offset].2));
                }
                let gone = cuts[..(now.first - 100) as usize].iter().filter(|cut| cut.1).count() as u64;
                prop_assert_eq!(now.gone, gone, "discontinuities are counted as they leave");
                if let Some(before) = before {
                    prop_assert!(before.target <= now.target && before.first <= now.first);
                    if now.first > before.first {
                        prop_assert!(total >= 3.0 * before.target as f64 && total >= 12.0, "never less than a player needs");
                    }
                    prop_assert!(before.entries.iter().all(|entry| snapshot.segments.contains_key(entry.1.as_str())), "what was listed is still there");
                }
                prop_assert!(snapshot.segments.len() <= 2 * 180 + 2);
                before = Some(now);
            }
        }
    }
}
