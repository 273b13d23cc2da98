//! HLS playlists (RFC 8216), as far as a player of live streams needs them.

use std::time::Duration;

/// Segments of one playlist that are kept; live ones have a handful.
const SEGMENTS_MAX: usize = 10_000;
/// What a playlist without a target duration is taken to have.
const TARGET: Duration = Duration::from_secs(10);
/// No server means more; and the arithmetic below is safe.
const SECONDS_MAX: f64 = 3_600.0;

/// A playlist.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Playlist {
    /// Of variants: the URI of the one with the most bandwidth.
    Master(String),
    /// Of segments.
    Media(Media),
}

/// A playlist of segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Media {
    pub(super) target: Duration,
    /// Number of the first segment.
    pub(super) sequence: u64,
    pub(super) segments: Vec<Segment>,
    /// Nothing will be added.
    pub(super) ended: bool,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) uri: String,
    pub(super) duration: Duration,
}

impl Playlist {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim_start_matches('\u{feff}');
        if !text.starts_with("#EXTM3U") {
            return Err("the answer is no playlist");
        }
        let mut media = Media { target: TARGET, ..Media::default() };
        let (mut duration, mut bandwidth, mut best) = (None, None, None::<(u64, String)>);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(value) = line.strip_prefix("#EXTINF:") {
                duration = Some(seconds(value.split(',').next().unwrap_or_default()));
            } else if let Some(value) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                media.target = seconds(value);
            } else if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                media.sequence = value.trim().parse().unwrap_or(0);
            } else if let Some(value) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                bandwidth = Some(attribute(value, "BANDWIDTH").and_then(|value| value.parse().ok()).unwrap_or(0));
            } else if line == "#EXT-X-ENDLIST" {
                media.ended = true;
            } else if line.starts_with('#') {
                // Comments, and tags that make no difference here.
            } else if let Some(bandwidth) = bandwidth.take() {
                if best.as_ref().is_none_or(|(most, _)| bandwidth > *most) {
                    best = Some((bandwidth, line.to_owned()));
                }
            } else if let Some(duration) = duration.take() {
                if media.segments.len() >= SEGMENTS_MAX {
                    return Err("a playlist without end");
                }
                media.segments.push(Segment { uri: line.to_owned(), duration });
            }
        }
        Ok(best.map_or(Self::Media(media), |(_, uri)| Self::Master(uri)))
    }
}

impl Media {
    /// Number of the segment behind the last one.
    pub(super) fn end(&self) -> u64 {
        self.sequence.saturating_add(self.segments.len() as u64)
    }

    /// Segment number `number`.
    pub(super) fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.get(usize::try_from(number.checked_sub(self.sequence)?).ok()?)
    }

    /// Where a player begins: at the start of what has ended, else three target durations before the
    /// end (RFC 8216 section 6.3.3).
    pub(super) fn start(&self) -> u64 {
        if self.ended {
            return self.sequence;
        }
        let (mut left, mut number) = (self.target.saturating_mul(3), self.end());
        for segment in self.segments.iter().rev() {
            let Some(rest) = left.checked_sub(segment.duration) else { break };
            left = rest;
            number -= 1;
        }
        number.min(self.end().saturating_sub(1)).max(self.sequence)
    }
}

fn seconds(text: &str) -> Duration {
    let seconds: f64 = text.trim().parse().unwrap_or(0.0);
    Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, SECONDS_MAX) } else { 0.0 })
}

/// A value of `NAME=value,NAME="value"`.
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    while let Some((key, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').map(|(value, after)| (value, after.strip_prefix(',').unwrap_or(after)))?,
            None => value.split_once(',').unwrap_or((value, "")),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = "#EXTM3U\r\n#EXT-X-VERSION:3\r\n#EXT-X-MEDIA-SEQUENCE:7\r\n#EXT-X-TARGETDURATION:2\r\n\
        #EXTINF:2.000, no desc\r\nx-7.ts\r\n#EXT-X-DISCONTINUITY\r\n#EXTINF:1.5,\r\nx-8.ts?a=b\r\n#EXTINF:2,\r\nx-9.ts\r\n\
        #EXTINF:2,\r\nx-10.ts\r\n";

    fn media(text: &str) -> Media {
        match Playlist::parse(text) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_live_playlist_is_begun_three_target_durations_before_its_end() {
        let live = media(LIVE);
        assert_eq!((live.sequence, live.end(), live.target, live.ended), (7, 11, Duration::from_secs(2), false));
        assert_eq!(live.segment(8).unwrap().uri, "x-8.ts?a=b");
        assert_eq!(live.start(), 8, "5.5 s before the end");
        assert_eq!((live.segment(6), live.segment(11)), (None, None));
        assert_eq!(media(&format!("{LIVE}#EXT-X-ENDLIST\n")).start(), 7);
        assert_eq!(media("#EXTM3U\n#EXTINF:9,\na.ts\n#EXT-X-TARGETDURATION:1\n").start(), 0, "one long segment");
        assert_eq!(media("#EXTM3U\n").start(), 0, "none yet");
    }

    #[test]
    fn of_variants_the_largest_is_taken() {
        let master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS=\"a,b=c\"\nlow.m3u8\n\
            #EXT-X-STREAM-INF:CODECS=\"avc1.1,mp4a\",AVERAGE-BANDWIDTH=900,BANDWIDTH=800\nhigh.m3u8?hls_ctx=1\n";
        assert_eq!(Playlist::parse(master), Ok(Playlist::Master("high.m3u8?hls_ctx=1".to_owned())));
    }

    #[test]
    fn nonsense_is_refused_or_harmless() {
        assert!(Playlist::parse("<html>").is_err());
        let odd = media("#EXTM3U\n#EXTINF:inf,\na.ts\n#EXTINF:-3,\nb.ts\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n");
        assert_eq!((odd.segments.len(), odd.end()), (2, u64::MAX));
        assert_eq!(odd.segments[0].duration, Duration::ZERO);
        for end in 0..LIVE.len() {
            let _any = Playlist::parse(&LIVE[..end]);
        }
    }
}
