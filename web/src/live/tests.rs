//! FLV viewers over a real hub in virtual time, and the paths of streams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use tower::ServiceExt;
use weir_bridge::{
    Begin,
    flv::{self, TagReader},
};
use weir_source::{ClientKind, Codec, Frame, Hub, MediaTime, PerVhost, Publisher, StreamKey, Track, TrackId, Tracks};

use super::viewer::{Patience, Step, Viewer};
use crate::{
    Content, VhostConfig, WebConfig,
    peer::Scheme,
    testing::{self, NoWake, Server, ask},
};

pub(super) fn key() -> StreamKey {
    StreamKey::new("live", "s").unwrap()
}

fn audio() -> Arc<Track> {
    let mut track = Track::new(TrackId::AUDIO, Codec::Aac, 48_000, 2);
    track.config = Bytes::from_static(&[0x11, 0x90]);
    Arc::new(track)
}

fn video() -> Arc<Track> {
    let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    track.config = Bytes::from_static(&[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 2, 0x68, 1]);
    Arc::new(track)
}

pub(super) fn both() -> Tracks {
    Tracks::default().with(audio()).with(video())
}

pub(super) fn picture(ms: i64, keyframe: bool) -> Frame {
    let time = MediaTime::from_millis(ms);
    Frame::new(video(), time, time, keyframe, Bytes::from_static(&[0, 0, 0, 2, 0x65, 1]))
}

pub(super) fn sound(ms: i64) -> Frame {
    let time = MediaTime::from_millis(ms);
    Frame::new(audio(), time, time, true, Bytes::from_static(&[0x21; 16]))
}

/// The media tags in what was sent: `v40` for a picture at 40 ms, `a50` for a sound, `head` for the
/// file header. Metadata and configurations are left out.
fn media(bytes: &[u8]) -> String {
    let mut reader = TagReader::default();
    reader.push(bytes);
    let mut out = Vec::new();
    let tags: Vec<_> = std::iter::from_fn(|| reader.next_tag()).collect();
    if reader.flags.is_some() {
        out.push("head".to_owned());
    }
    for tag in tags {
        match (tag.kind, tag.body.get(1)) {
            (9, Some(1)) => out.push(format!("v{}", tag.timestamp)),
            (8, Some(1)) => out.push(format!("a{}", tag.timestamp)),
            _ => {}
        }
    }
    out.join(" ")
}

/// A hub, one viewer, and a clock that only tests move.
struct Bed {
    hub: Arc<Hub>,
    viewer: Viewer<flv::Muxer>,
    now: Instant,
    /// What was sent before: FLV is read from its beginning.
    sent: Vec<u8>,
}

impl Bed {
    fn new() -> Self {
        let (hub, now) = (Hub::new(), Instant::now());
        let viewer = viewer(&hub, now);
        Self { hub, viewer, now, sent: Vec::new() }
    }

    fn publish(&self, tracks: Tracks) -> Publisher<Frame> {
        let publisher = self.hub.publish_frames(&key(), "pub", Arc::new(NoWake), self.now).unwrap();
        publisher.set_tracks(tracks);
        publisher
    }

    /// Sends what there is, and tells what comes then.
    fn drain(&mut self) -> Step {
        loop {
            match self.viewer.step(self.now) {
                Step::Data(data) => self.sent.extend_from_slice(&data),
                other => return other,
            }
        }
    }

    /// All that was ever sent.
    fn media(&mut self) -> String {
        self.drain();
        media(&self.sent)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn viewer(hub: &Arc<Hub>, now: Instant) -> Viewer<flv::Muxer> {
    gathering(hub, now, Duration::ZERO)
}

fn gathering(hub: &Arc<Hub>, now: Instant, gather: Duration) -> Viewer<flv::Muxer> {
    wanting(hub, now, Content::default(), gather)
}

fn wanting(hub: &Arc<Hub>, now: Instant, content: Content, gather: Duration) -> Viewer<flv::Muxer> {
    let client = testing::client(hub, &key(), "viewer01", ClientKind::FlvPlay);
    let patience = Patience { first: Duration::from_secs(300), again: Duration::from_secs(30) };
    Viewer::new(hub.subscribe_frames(&key(), now), client, content, patience, gather)
}

#[test]
fn a_viewer_may_come_before_the_publisher() {
    let mut bed = Bed::new();
    assert!(matches!(bed.drain(), Step::Wait(Some(at)) if at == bed.now + Duration::from_secs(300)));
    let publisher = bed.publish(Tracks::default());
    assert!(matches!(bed.drain(), Step::Wait(None)));
    publisher.set_tracks(both());
    publisher.push(&mut vec![picture(0, true), sound(10), picture(40, false)], bed.now);
    assert_eq!(bed.media(), "head v0 a10 v40");
    publisher.push(&mut vec![sound(50)], bed.now);
    assert_eq!(bed.media(), "head v0 a10 v40 a50");
}

#[test]
fn a_gathering_viewer_gets_what_came_meanwhile_at_once() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![picture(0, true)], bed.now);
    bed.viewer = gathering(&bed.hub, bed.now, Duration::from_millis(350));
    let rest = bed.now + Duration::from_millis(350);
    assert!(matches!(bed.drain(), Step::Rest(until) if until == rest));
    assert_eq!(bed.media(), "head v0", "who joins is served at once");
    bed.pass(Duration::from_millis(200));
    publisher.push(&mut vec![sound(10), picture(40, false)], bed.now);
    assert!(matches!(bed.drain(), Step::Rest(until) if until == rest));
    assert_eq!(bed.media(), "head v0");
    bed.pass(Duration::from_millis(150));
    assert_eq!(bed.media(), "head v0 a10 v40");
    bed.pass(Duration::from_millis(350));
    assert!(matches!(bed.drain(), Step::Wait(None)), "nothing came: the next frame is sent at once");
}

#[test]
fn a_late_viewer_starts_at_the_last_keyframe() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![picture(0, true), picture(40, false), picture(80, true), sound(90)], bed.now);
    bed.viewer = viewer(&bed.hub, bed.now);
    assert_eq!(bed.media(), "head v80 a90");
}

#[test]
fn a_viewer_that_fell_behind_goes_on_at_a_keyframe() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![picture(0, true)], bed.now);
    assert_eq!(bed.media(), "head v0");
    for n in 1..5_000 {
        publisher.push(&mut vec![picture(n, n == 4_000)], bed.now);
    }
    assert!(bed.media().starts_with("head v0 v4000 v4001 "));
}

#[test]
fn a_viewer_outlives_its_publisher_for_thirty_seconds() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![picture(0, true)], bed.now);
    bed.drain();
    drop(publisher);
    assert!(matches!(bed.drain(), Step::Wait(Some(at)) if at == bed.now + Duration::from_secs(30)));
    bed.pass(Duration::from_secs(29));
    let again = bed.publish(both());
    again.push(&mut vec![picture(29_000, false), picture(29_040, true)], bed.now);
    assert_eq!(bed.media(), "head v0 v29040", "no second header, and from a keyframe on");
    drop(again);
    bed.drain();
    bed.pass(Duration::from_secs(30));
    assert!(matches!(bed.drain(), Step::End));
}

#[test]
fn a_kicked_viewer_ends_and_leaves_nothing() {
    let mut bed = Bed::new();
    bed.hub.clients().get("viewer01").unwrap().kick();
    assert!(matches!(bed.drain(), Step::End));
    let Bed { hub, viewer, .. } = bed;
    drop(viewer);
    assert_eq!((hub.clients().count(), hub.list().len()), (0, 0));
}

#[test]
fn bytes_are_counted_as_they_are_sent() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![picture(0, true)], bed.now);
    bed.drain();
    let client = bed.hub.clients().get("viewer01").unwrap();
    assert_eq!(client.traffic.sent.load(std::sync::atomic::Ordering::Relaxed), bed.sent.len() as u64);
}

#[tokio::test]
async fn sound_alone_is_had_of_streams_that_have_it() {
    let server = Server::new();
    let hub = &server.state.hub;
    for (name, published, path, want) in [
        ("nobody", None, "/live/nobody.aac", 404),
        ("aac", Some(Codec::Aac), "/live/aac.aac", 200),
        ("aac", Some(Codec::Aac), "/live/aac.mp3", 404),
        ("mp3", Some(Codec::Mp3), "/live/mp3.mp3", 200),
        ("mp3", Some(Codec::Mp3), "/live/mp3.aac", 404),
    ] {
        let key = StreamKey::new("live", name).unwrap();
        let publisher = published.map(|codec| {
            let publisher = hub.publish_frames(&key, "pub", Arc::new(NoWake), Instant::now()).unwrap();
            let mut track = Track::new(TrackId::AUDIO, codec, 48_000, 2);
            track.config = Bytes::from_static(&[0x11, 0x90]);
            publisher.set_tracks(Tracks::default().with(Arc::new(track)));
            publisher
        });
        let request = Request::get(path).header("host", "h").body(Body::empty()).unwrap();
        let response = server.http.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), want, "{path}");
        if want == 404 {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let said = if published.is_some() { "the sound of the stream is" } else { "nobody publishes" };
            assert!(String::from_utf8_lossy(&body).contains(said), "{path}: {body:?}");
            assert_eq!(hub.clients().count(), 0, "{path}");
        } else {
            assert!(response.headers()["content-type"].to_str().unwrap().starts_with("audio/"));
            assert_eq!(hub.clients().count(), 1, "{path}");
        }
        drop(publisher);
    }
}

#[tokio::test]
async fn the_url_of_a_viewer_says_how_it_came() {
    let proxied = WebConfig { trusted_proxies: vec!["192.0.2.5".parse().unwrap()], ..WebConfig::default() };
    for (config, over, said, want) in [
        (WebConfig::default(), None, None, "http"),
        (WebConfig::default(), Some(Scheme::Http), None, "http"),
        (WebConfig::default(), Some(Scheme::Https), None, "https"),
        (WebConfig::default(), None, Some("https"), "http"),
        (proxied.clone(), None, Some("https"), "https"),
        (proxied, Some(Scheme::Https), Some("gopher"), "https"),
    ] {
        let server = Server::with(config);
        for path in ["/live/s.flv", "/live/s.ts"] {
            let mut request = Request::get(path).header("host", "h:1");
            if let Some(said) = said {
                request = request.header("x-forwarded-proto", said);
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo::<std::net::SocketAddr>("192.0.2.5:1".parse().unwrap()));
            if let Some(scheme) = over {
                request.extensions_mut().insert(scheme);
            }
            let response = server.http.clone().oneshot(request).await.unwrap();
            assert_eq!(server.client().info.url, format!("{want}://h:1/live"), "{over:?} {said:?}");
            drop(response);
        }
    }
}

#[tokio::test]
async fn pages_of_other_origins_play_unless_the_configuration_says_no() {
    for (crossdomain, opened) in [(true, Some("*")), (false, None)] {
        let server = Server::with(WebConfig { crossdomain, ..WebConfig::default() });
        let request = Request::get("/live/s.flv").header("host", "h").body(Body::empty()).unwrap();
        let response = server.http.clone().oneshot(request).await.unwrap();
        let said = response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), said), (200, opened));
    }
}

#[tokio::test]
async fn an_flv_body_flows_while_the_publisher_pushes() {
    let server = Server::new();
    let hub = Arc::clone(&server.state.hub);
    let mut request = Request::get("/live/s.flv?token=x").header("host", "localhost:8080").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo::<std::net::SocketAddr>("192.0.2.5:1".parse().unwrap()));
    let response = server.http.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "video/x-flv");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let mut body = response.into_body();
    let info = server.client().info.clone();
    assert_eq!((info.kind, info.ip.to_string().as_str()), (ClientKind::FlvPlay, "192.0.2.5"));
    assert_eq!(info.url, "http://localhost:8080/live");

    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        while let Some(Ok(part)) = body.frame().await {
            got.extend_from_slice(part.data_ref().unwrap());
        }
        got
    });
    tokio::task::yield_now().await;
    let publisher = hub.publish_frames(&key(), "pub", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(both());
    for n in 0..5 {
        publisher.push(&mut vec![picture(n * 40, n == 0)], Instant::now());
        tokio::task::yield_now().await;
    }
    server.client().kick();
    assert_eq!(media(&reading.await.unwrap()), "head v0 v40 v80 v120 v160");
    drop(publisher);
    assert_eq!((hub.clients().count(), hub.list().len()), (0, 0));
}

#[tokio::test]
async fn a_ts_body_begins_with_its_tables_at_a_keyframe() {
    let server = Server::new();
    let publisher = server.state.hub.publish_frames(&key(), "pub", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(both());
    publisher.push(&mut vec![picture(0, true), sound(10), picture(40, false)], Instant::now());
    let response = server.http.clone().oneshot(Request::get("/live/s.ts").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["content-type"].to_str().unwrap()),
        (200.try_into().unwrap(), "video/mp2t")
    );
    let first = response.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((first.len() % 188, first[0], first[2]), (0, 0x47, 0), "the program association table first");
}

#[test]
fn what_is_excluded_is_neither_announced_nor_sent_unless_it_need_not_match() {
    let all = Content::default();
    for (content, want, flags) in [
        (all, "head v0 a10 v40", (true, true)),
        (Content { audio: false, ..all }, "head v0 v40", (false, true)),
        (Content { video: false, ..all }, "head a10", (true, false)),
        (Content { audio: false, drop_excluded: false, ..all }, "head v0 a10 v40", (false, true)),
        (Content { video: false, guess: false, ..all }, "head a10", (true, false)),
    ] {
        let mut bed = Bed::new();
        let publisher = bed.publish(both());
        bed.viewer = wanting(&bed.hub, bed.now, content, Duration::ZERO);
        publisher.push(&mut vec![picture(0, true), sound(10), picture(40, false)], bed.now);
        assert_eq!(bed.media(), want, "{content:?}");
        let mut reader = TagReader::default();
        reader.push(&bed.sent);
        while reader.next_tag().is_some() {}
        assert_eq!(reader.flags, Some(flags), "{content:?}");
        let told = bed.sent.windows(12).any(|bytes| bytes == b"audiocodecid");
        assert_eq!(told, content.audio || !content.drop_excluded, "{content:?}");
    }
}

#[tokio::test]
async fn without_the_cache_a_viewer_begins_with_the_next_keyframe() {
    let begin = Begin { cached: false, frames_max: 0 };
    let vhosts = PerVhost::all(VhostConfig { begin, ..VhostConfig::default() });
    let server = Server::with(WebConfig { vhosts, ..WebConfig::default() });
    let publisher = server.state.hub.publish_frames(&key(), "pub", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(both());
    publisher.push(&mut vec![picture(0, true), sound(10), picture(40, false)], Instant::now());
    let request = Request::get("/live/s.flv").extension(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 1))));
    let response = server.http.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    publisher.push(&mut vec![picture(80, false), picture(120, true)], Instant::now());
    let mut body = response.into_body();
    let mut got = Vec::new();
    while !media(&got).contains("v120") {
        got.extend_from_slice(body.frame().await.unwrap().unwrap().data_ref().unwrap());
    }
    assert_eq!(media(&got), "head v120");
}

#[tokio::test]
async fn flv_may_be_off() {
    let server = Server::with(WebConfig {
        vhosts: PerVhost::all(VhostConfig { flv: false, ..VhostConfig::default() }),
        ..WebConfig::default()
    });
    let answer = server.get("/live/s.flv").await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("HTTP-FLV is off"), "{}", answer.text());
}

#[tokio::test]
async fn playlists_and_segments_have_their_types() {
    let server = Server::new();
    let key = StreamKey::new("live", "cam-1").unwrap();
    let publisher = server.state.hub.publish_frames(&key, "pub", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(both());
    publisher.push(&mut vec![picture(0, true)], Instant::now());
    let first = server.get("/live/cam-1.m3u8").await;
    assert_eq!((first.status, first.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    let path = format!("/live/{}", first.text().lines().last().unwrap());
    let asking = server.get(&path);
    let publishing = async {
        // The segmenter has started by the time the request waits.
        tokio::task::yield_now().await;
        for ms in (0..9_000).step_by(40) {
            publisher.push(&mut vec![picture(ms, ms % 1_000 == 0), sound(ms)], Instant::now());
            tokio::task::yield_now().await;
        }
    };
    let (playlist, ()) = tokio::join!(asking, publishing);
    assert_eq!((playlist.status, playlist.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    assert_eq!((playlist.header("cache-control"), playlist.header("access-control-allow-origin")), ("no-cache", "*"));
    let name = playlist.text().lines().find(|line| line.contains(".ts?hls_ctx=")).unwrap();
    let segment = server.get(&format!("/live/{name}")).await;
    assert_eq!((segment.status, segment.header("content-type"), segment.body[0]), (200, "video/mp2t", 0x47));
    assert_eq!(segment.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn a46_names_that_leave_a_directory_are_as_absent_as_any_other() {
    let server = Server::new();
    let absent = server.get("/live/absent.m3u8").await;
    assert_eq!((absent.status, absent.header("access-control-allow-origin")), (404, "*"));
    let long = "a".repeat(4_096);
    let parts =
        ["..%2fx", "%2e%2e", "%252e%252e", "a%00", "a%5cb", "%2fetc%2fpasswd", "a%0d%0ab", "a%E2%80%AEb", "...%2f...", &long];
    let paths = parts.iter().flat_map(|part| {
        [format!("/live/{part}.m3u8"), format!("/{part}/s.m3u8"), format!("/live/{part}.flv"), format!("/live/{part}-1-1.ts")]
    });
    let others = ["/live/s-a-1.ts", "/live/.ts", "/live/s.mp4", "/live/s", "/live/.flv", "/live/.m3u8"].map(str::to_owned);
    for path in paths.chain(others) {
        let answer = server.get(&path).await;
        assert_eq!((answer.status, &answer.body), (404, &absent.body), "{path}");
    }
    assert_eq!(server.state.hub.list().len(), 0, "nothing is kept of them");
}

#[tokio::test]
async fn head_and_options_open_no_stream() {
    let server = Server::new();
    for method in [Method::HEAD, Method::OPTIONS] {
        let request = Request::builder().method(method.clone()).uri("/live/s.flv").body(Body::empty()).unwrap();
        let answer = ask(&server.http, "127.0.0.1:1", request).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{method}");
    }
    let post = Request::post("/live/s.flv").body(Body::empty()).unwrap();
    assert_eq!(ask(&server.http, "127.0.0.1:1", post).await.status, 405);
    assert_eq!(server.state.hub.list().len(), 0);
}
