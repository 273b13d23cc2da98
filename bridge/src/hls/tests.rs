//! Cut rules, and the registry on paused time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_source::{Codec, Frame, Hub, Lane, MediaTime, Publisher, StreamKey, Track, TrackId, Tracks, Wake};

use super::{
    segmenter::{Cut, Rules, Segmenter},
    *,
};

const RULES: Rules = Rules { fragment: Duration::from_secs(2), forced: Duration::from_millis(4_200) };

struct NoWake;
impl Wake for NoWake {
    fn wake(&self) {}
}

fn video_track(pps: u8) -> Arc<Track> {
    let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    track.config = Bytes::from(vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 2, 0x68, pps]);
    Arc::new(track)
}

fn audio_track() -> Arc<Track> {
    let mut track = Track::new(TrackId::AUDIO, Codec::Aac, 48_000, 2);
    track.config = Bytes::from_static(&[0x11, 0x90]);
    Arc::new(track)
}

/// A publisher's frames: 25 pictures and 50 sounds a second.
struct Feed {
    video: Option<Arc<Track>>,
    audio: Option<Arc<Track>>,
    epoch: u32,
    keyframe_every_ms: i64,
}

impl Default for Feed {
    fn default() -> Self {
        Self { video: Some(video_track(1)), audio: Some(audio_track()), epoch: 1, keyframe_every_ms: 2_000 }
    }
}

impl Feed {
    fn tracks(&self) -> Tracks {
        let mut tracks = Tracks::default();
        for track in [&self.audio, &self.video].into_iter().flatten() {
            tracks = tracks.with(Arc::clone(track));
        }
        tracks
    }

    fn frames(&self, span_ms: std::ops::Range<i64>) -> Vec<Frame> {
        let mut frames = Vec::new();
        for ms in span_ms.step_by(20) {
            let at = MediaTime::from_millis(ms);
            let mut push = |track: &Arc<Track>, keyframe, data: &'static [u8]| {
                let mut frame = Frame::new(Arc::clone(track), at, at, keyframe, Bytes::from_static(data));
                frame.epoch = self.epoch;
                frames.push(frame);
            };
            if let (Some(track), true) = (&self.video, ms % 40 == 0) {
                push(track, ms % self.keyframe_every_ms == 0, &[0, 0, 0, 2, 0x65, 1]);
            }
            if let Some(track) = &self.audio {
                push(track, true, &[0x21; 32]);
            }
        }
        frames
    }

    fn cut(&self, segmenter: &mut Segmenter, span_ms: std::ops::Range<i64>) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for frame in self.frames(span_ms) {
            segmenter.push(&frame, &self.tracks(), &mut cuts);
        }
        cuts
    }
}

/// Milliseconds and whether marked.
fn shape(cuts: &[Cut]) -> Vec<(u128, bool)> {
    cuts.iter().map(|cut| (cut.duration.as_millis(), cut.discontinuity)).collect()
}

#[test]
fn cuts_at_keyframes_once_a_fragment_is_full() {
    let mut segmenter = Segmenter::new(RULES);
    let feed = Feed { keyframe_every_ms: 1_200, ..Feed::default() };
    let cuts = feed.cut(&mut segmenter, 800..8_500);
    assert_eq!(shape(&cuts), [(2_400, false); 3]);
    assert!(cuts.iter().all(|cut| cut.data.starts_with(&[0x47, 0x40, 0])), "each starts with the tables");
    assert_eq!(segmenter.take_tally().frames_dropped, 30, "what came before the first keyframe");
}

#[test]
fn cuts_by_length_where_no_keyframe_comes_and_asks_for_one() {
    let mut segmenter = Segmenter::new(RULES);
    let feed = Feed { keyframe_every_ms: 60_000, ..Feed::default() };
    assert!(shape(&feed.cut(&mut segmenter, 0..1_500)).is_empty());
    assert!(!segmenter.take_keyframe_wish());
    assert!(feed.cut(&mut segmenter, 1_500..2_000).is_empty());
    assert!(segmenter.take_keyframe_wish(), "in time for the cut");
    let cuts = feed.cut(&mut segmenter, 2_000..9_000);
    assert_eq!(shape(&cuts), [(4_200, false), (4_200, false)]);
    assert!(cuts.iter().all(|cut| cut.forced));
}

#[test]
fn a_keyframe_a_rounding_error_early_still_cuts() {
    let mut segmenter = Segmenter::new(RULES);
    let feed = Feed { keyframe_every_ms: 1_960, ..Feed::default() };
    assert_eq!(shape(&feed.cut(&mut segmenter, 0..4_000)), [(1_960, false), (1_960, false)]);
}

#[test]
fn sound_alone_is_cut_by_time_after_a_short_wait_for_pictures() {
    let mut segmenter = Segmenter::new(RULES);
    let feed = Feed { video: None, ..Feed::default() };
    let cuts = feed.cut(&mut segmenter, 0..8_000);
    assert_eq!(shape(&cuts), [(1_900, false), (1_900, false), (1_900, false)]);
}

#[test]
fn pictures_that_come_late_join_at_their_first_keyframe() {
    let mut segmenter = Segmenter::new(RULES);
    let sound = Feed { video: None, ..Feed::default() };
    assert_eq!(shape(&sound.cut(&mut segmenter, 0..5_000)), [(1_900, false)]);
    let both = Feed::default();
    let cuts = both.cut(&mut segmenter, 5_000..10_020);
    assert_eq!(shape(&cuts), [(1_900, false), (200, false), (2_000, true), (2_000, false)]);
}

#[test]
fn sound_that_is_announced_soon_after_the_first_picture_is_there_from_the_first_segment() {
    let mut segmenter = Segmenter::new(RULES);
    let silent = Feed { audio: None, ..Feed::default() };
    assert!(silent.cut(&mut segmenter, 0..480).is_empty());
    let cuts = Feed::default().cut(&mut segmenter, 480..6_020);
    assert_eq!(shape(&cuts), [(2_000, false), (2_000, false), (2_000, false)], "no discontinuity where it joins");
    assert_eq!(segmenter.take_tally().frames_dropped, 0, "what waited is in the segment");
}

#[test]
fn a_publisher_that_takes_over_before_its_sound_is_known_has_it_from_its_first_segment() {
    let mut segmenter = Segmenter::new(RULES);
    assert_eq!(shape(&Feed::default().cut(&mut segmenter, 0..3_000)), [(2_000, false)]);
    let silent = Feed { audio: None, epoch: 2, ..Feed::default() };
    assert_eq!(shape(&silent.cut(&mut segmenter, 4_000..4_200)), [(1_013, false)], "the end of the one before");
    let cuts = Feed { epoch: 2, ..Feed::default() }.cut(&mut segmenter, 4_200..8_020);
    assert_eq!(shape(&cuts), [(2_000, true), (2_000, false)], "one discontinuity, and none where sound joins");
}

#[test]
fn what_waits_for_sound_is_counted_when_it_breaks_off() {
    let mut segmenter = Segmenter::new(RULES);
    let silent = Feed { audio: None, ..Feed::default() };
    assert!(silent.cut(&mut segmenter, 0..200).is_empty());
    segmenter.handle_lag(&mut Vec::new());
    assert_eq!(segmenter.take_tally().frames_dropped, 5);
    assert_eq!(shape(&silent.cut(&mut segmenter, 2_000..6_020)), [(2_000, false), (2_000, false)]);
}

#[test]
fn sound_that_comes_late_joins_at_the_next_cut() {
    let mut segmenter = Segmenter::new(RULES);
    let silent = Feed { audio: None, ..Feed::default() };
    assert!(silent.cut(&mut segmenter, 0..1_000).is_empty());
    let cuts = Feed::default().cut(&mut segmenter, 1_000..4_020);
    assert_eq!(shape(&cuts), [(2_000, false), (2_000, true)]);
}

#[test]
fn new_parameters_are_one_discontinuity_and_the_same_again_are_none() {
    let mut segmenter = Segmenter::new(RULES);
    Feed::default().cut(&mut segmenter, 0..1_000);
    // The same bytes in another track object, as each keyframe of some publishers brings.
    assert!(Feed::default().cut(&mut segmenter, 1_000..2_000).is_empty());
    let changed = Feed { video: Some(video_track(2)), ..Feed::default() };
    let cuts = changed.cut(&mut segmenter, 2_000..6_020);
    assert_eq!(shape(&cuts), [(2_000, false), (2_000, true), (2_000, false)]);
}

#[test]
fn a_new_publisher_is_one_discontinuity_and_starts_at_its_keyframe() {
    let mut segmenter = Segmenter::new(RULES);
    Feed::default().cut(&mut segmenter, 0..1_000);
    let next = Feed { epoch: 2, ..Feed::default() };
    let cuts = next.cut(&mut segmenter, 1_200..6_020);
    assert_eq!(shape(&cuts), [(1_013, false), (2_000, true), (2_000, false)]);
}

#[test]
fn a_hole_in_the_times_is_a_break_and_makes_no_giant_segment() {
    let mut segmenter = Segmenter::new(RULES);
    Feed::default().cut(&mut segmenter, 0..1_000);
    let cuts = Feed::default().cut(&mut segmenter, 3_600_000..3_604_020);
    assert_eq!(shape(&cuts), [(1_013, false), (2_000, true), (2_000, false)]);
    let mut rest = Vec::new();
    segmenter.finish(&mut rest);
    assert!(rest.is_empty(), "a frame or two is no segment");
    assert_eq!(segmenter.take_tally().segments_dropped, 1);
}

fn key(stream: &str) -> StreamKey {
    StreamKey::new("live", stream).unwrap()
}

fn publish(hub: &Arc<Hub>) -> Publisher<Frame> {
    let publisher = hub.publish_frames(&key("s"), "id", Arc::new(NoWake), Instant::now().into_std()).unwrap();
    publisher.set_tracks(Feed::default().tracks());
    publisher
}

fn push(publisher: &Publisher<Frame>, span_ms: std::ops::Range<i64>) {
    assert!(publisher.push(&mut Feed::default().frames(span_ms), Instant::now().into_std()));
}

async fn text(hls: &Arc<Hls>) -> String {
    String::from_utf8(hls.playlist(&key("s")).await.unwrap().to_vec()).unwrap()
}

/// The first request, then frames: the playlist that it gets.
async fn text_while(hls: &Arc<Hls>, publisher: &Publisher<Frame>, span_ms: std::ops::Range<i64>) -> String {
    let waiting = tokio::spawn({
        let hls = Arc::clone(hls);
        async move { text(&hls).await }
    });
    settle().await;
    assert_eq!(hls.stats().waiters, 1);
    push(publisher, span_ms);
    waiting.await.unwrap()
}

/// Lets the segmenter take what is in the ring.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn registry(config: HlsConfig) -> (Arc<Hub>, Arc<Hls>) {
    let hub = Hub::new();
    let hls = Hls::new(Arc::clone(&hub), PerVhost::all(config), Handle::current());
    (hub, hls)
}

#[tokio::test(start_paused = true)]
async fn a47_a_name_that_nobody_publishes_makes_no_state() {
    let (hub, hls) = registry(HlsConfig::default());
    for i in 0..1_000 {
        assert_eq!(hls.playlist(&key(&format!("s{i}"))).await, Err(HlsError::NotFound));
    }
    assert_eq!(hls.stats(), HlsStats::default());
    assert!(hub.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_first_request_waits_for_segments_that_can_be_fetched_by_their_names_only() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    let playlist = text_while(&hls, &publisher, 0..4_040).await;
    let name = playlist.lines().last().unwrap();
    assert_eq!(stream_of_segment(name), Some("s"));
    let segment = hls.segment(&key("s"), name).unwrap();
    assert_eq!(segment.len() % crate::ts::PACKET_BYTES, 0);
    for other in ["s-1.ts", "../s.ts", &name[1..], &format!("{name}?")] {
        assert!(hls.segment(&key("s"), other).is_none(), "{other}");
    }
    assert!(hls.segment(&key("other"), name).is_none());
}

#[tokio::test(start_paused = true)]
async fn a47_waits_end_in_time_and_are_counted() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    assert_eq!(hls.playlist(&key("s")).await, Err(HlsError::Timeout));
    assert_eq!((hls.stats().timeouts, hls.stats().waiters), (1, 0));
    drop(publisher);
    settle().await;
    assert_eq!(hls.playlist(&key("s")).await, Err(HlsError::NotFound), "with nothing to show it ends at once");
}

#[tokio::test(start_paused = true)]
async fn one_segment_is_given_when_the_second_is_late() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    let asked = Instant::now();
    let playlist = text_while(&hls, &publisher, 0..2_040).await;
    assert_eq!(playlist.matches("#EXTINF").count(), 1);
    assert_eq!((asked.elapsed().as_secs(), hls.stats().timeouts), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_segmenter_ends_when_nobody_asks_and_starts_anew_with_other_names() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    let first = text_while(&hls, &publisher, 0..4_040).await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(hls.stats().streams, 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hls.stats().streams, 0);
    assert_eq!(publisher.source().readers(Lane::Frames), 0, "it reads no more");
    let second = text_while(&hls, &publisher, 4_040..8_040).await;
    assert_ne!(first.lines().last(), second.lines().last());
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_returns_goes_on_in_the_same_playlist() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    let first = text_while(&hls, &publisher, 0..5_000).await;
    drop(publisher);
    settle().await;
    assert!(text(&hls).await.starts_with(&first), "its last, partial segment is added");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let publisher = publish(&hub);
    push(&publisher, 20_000..22_040);
    settle().await;
    let after = text(&hls).await;
    assert!(after.starts_with(&first));
    assert_eq!(after.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    assert_eq!(after.matches("#EXTINF").count(), 4);
    drop(publisher);
    for _ in 0..35 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _either = hls.playlist(&key("s")).await;
    }
    assert_eq!(hls.stats().streams, 0, "without a publisher it ends though players ask");
    assert!(hub.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn always_segments_from_publish_on() {
    let (hub, hls) = registry(HlsConfig { always: true, ..HlsConfig::default() });
    let publisher = publish(&hub);
    tokio::time::sleep(Duration::from_secs(1)).await;
    push(&publisher, 0..2_040);
    settle().await;
    assert_eq!((hls.stats().streams, hls.stats().segments), (1, 1));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(hls.stats().streams, 1, "whether or not anybody asks");
    hls.close();
    settle().await;
    assert_eq!(hls.stats().streams, 0);
    assert_eq!(hls.playlist(&key("s")).await, Err(HlsError::NotFound));
    drop(publisher);
}

#[tokio::test(start_paused = true)]
async fn names_of_segments_lead_to_the_cdn_that_is_set() {
    for (prefix, before) in [("http://cdn.example", "http://cdn.example/live/s-"), ("/hls/", "/hls/s-"), ("", "s-")] {
        let (hub, hls) = registry(HlsConfig { entry_prefix: prefix.to_owned(), ..HlsConfig::default() });
        let publisher = publish(&hub);
        let text = text_while(&hls, &publisher, 0..4_040).await;
        let names: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(names.len() == 2 && names.iter().all(|name| name.starts_with(before)), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn settings_change_while_a_stream_runs_and_switching_off_ends_it() {
    let (hub, hls) = registry(HlsConfig::default());
    let publisher = publish(&hub);
    assert_eq!(text_while(&hls, &publisher, 0..4_040).await.matches("#EXTINF:2.0").count(), 2);
    hls.set_settings(PerVhost::all(HlsConfig { fragment: Duration::from_secs(4), ..HlsConfig::default() }));
    // Piece by piece: the ring holds less than all of it.
    for from in (4_040..14_040).step_by(1_000) {
        push(&publisher, from..from + 1_000);
        settle().await;
    }
    let after = text(&hls).await;
    let lengths: Vec<&str> = after.lines().filter_map(|line| line.strip_prefix("#EXTINF:")).map(|text| &text[..3]).collect();
    assert_eq!(
        lengths,
        ["2.0", "2.0", "4.0", "4.0"],
        "the segment in the making keeps its rules; the first is out of the window"
    );
    assert_eq!(hls.stats().segments, 5);
    let mut off = PerVhost::<HlsConfig>::default();
    off.insert(weir_source::DEFAULT_VHOST, HlsConfig { enabled: false, ..HlsConfig::default() });
    hls.set_settings(off);
    assert_eq!(hls.playlist(&key("s")).await, Err(HlsError::Off));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(hls.stats().streams, 0);
    assert_eq!(publisher.source().readers(Lane::Frames), 0);
}
