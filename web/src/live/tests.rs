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
use weir_source::{ClientKind, Codec, Frame, Hub, MediaTime, Publisher, StreamKey, Track, TrackId, Tracks};

use super::viewer::{Patience, Step, Viewer};
use crate::testing::{self, NoWake, Server, ask};

fn key() -> StreamKey {
    StreamKey::new("live", "s").unwrap()
}

fn audio() -> Arc<Track> {
    Arc::new(Track::new(TrackId::AUDIO, Codec::Aac, 48_000, 2))
}

fn video() -> Arc<Track> {
    Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0))
}

fn frame(track: &Arc<Track>, ms: i64, keyframe: bool, data: &'static str) -> Frame {
    let time = MediaTime::from_millis(ms);
    Frame::new(Arc::clone(track), time, time, keyframe, Bytes::from_static(data.as_bytes()))
}

/// A hub, one viewer, and a clock that only tests move.
struct Bed {
    hub: Arc<Hub>,
    viewer: Viewer,
    now: Instant,
}

impl Bed {
    fn new() -> Self {
        let (hub, now) = (Hub::new(), Instant::now());
        let viewer = viewer(&hub, now);
        Self { hub, viewer, now }
    }

    fn publish(&self, tracks: Tracks) -> Publisher<Frame> {
        let publisher = self.hub.publish_frames(&key(), "pub", Arc::new(NoWake), self.now).unwrap();
        publisher.set_tracks(tracks);
        publisher
    }

    /// All there is to send now, in one string, and what comes then.
    fn drain(&mut self) -> (String, Step) {
        let mut sent = String::new();
        loop {
            match self.viewer.step(self.now) {
                Step::Data(data) => sent.push_str(std::str::from_utf8(&data).unwrap()),
                other => return (sent, other),
            }
        }
    }

    fn sent(&mut self) -> String {
        self.drain().0
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }
}

fn viewer(hub: &Arc<Hub>, now: Instant) -> Viewer {
    let server = Server::new();
    let client = testing::client(hub, &key(), "viewer01", ClientKind::FlvPlay);
    let patience = Patience { first: Duration::from_secs(300), again: Duration::from_secs(30) };
    Viewer::new(hub.subscribe_frames(&key(), now), client, (server.state.flv)(), patience)
}

fn both() -> Tracks {
    Tracks::default().with(audio()).with(video())
}

#[test]
fn a_viewer_may_come_before_the_publisher() {
    let mut bed = Bed::new();
    let (sent, step) = bed.drain();
    assert_eq!(sent, "", "the header waits for the tracks");
    assert!(matches!(step, Step::Wait(Some(_))));
    let publisher = bed.publish(Tracks::default());
    assert!(matches!(bed.drain(), (_, Step::Wait(None))));
    publisher.set_tracks(both());
    publisher.push(&mut vec![frame(&audio(), 0, true, "a0 "), frame(&video(), 0, true, "K0 "), frame(&video(), 40, false, "p1 ")], bed.now);
    assert_eq!(bed.sent(), "[head a=true v=true]K0 p1 ", "it starts at the keyframe");
    publisher.push(&mut vec![frame(&audio(), 50, true, "a1 ")], bed.now);
    assert_eq!(bed.sent(), "a1 ");
}

#[test]
fn a_late_viewer_starts_at_the_last_keyframe() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    let (a, v) = (audio(), video());
    publisher.push(
        &mut vec![frame(&v, 0, true, "K0 "), frame(&v, 40, false, "p1 "), frame(&v, 80, true, "K2 "), frame(&a, 90, true, "a2 ")],
        bed.now,
    );
    bed.viewer = viewer(&bed.hub, bed.now);
    assert_eq!(bed.sent(), "[head a=true v=true]K2 a2 ");
}

#[test]
fn the_header_waits_a_little_for_the_second_kind_of_track() {
    let mut bed = Bed::new();
    let publisher = bed.publish(Tracks::default().with(video()));
    publisher.push(&mut vec![frame(&video(), 0, true, "K0 ")], bed.now);
    let (sent, step) = bed.drain();
    assert!(sent.is_empty() && matches!(step, Step::Wait(Some(at)) if at == bed.now + Duration::from_millis(250)));
    publisher.set_track(audio());
    assert_eq!(bed.sent(), "[head a=true v=true]K0 ");

    let mut silent = Bed::new();
    let publisher = silent.publish(Tracks::default().with(video()));
    publisher.push(&mut vec![frame(&video(), 0, true, "K0 ")], silent.now);
    assert_eq!(silent.sent(), "");
    silent.pass(250);
    assert_eq!(silent.sent(), "[head a=false v=true]K0 ");
}

#[test]
fn the_header_waits_longer_for_a_track_that_is_still_being_transcoded() {
    let mut bed = Bed::new();
    let webrtc = bed.hub.publish_packets(&key(), "pub", Arc::new(NoWake), bed.now).unwrap();
    let opus = Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2));
    webrtc.set_tracks(Tracks::default().with(opus).with(video()));
    struct Keep(parking_lot::Mutex<Option<weir_source::RemuxJob>>);
    impl weir_source::Bridge for Keep {
        fn remux(&self, job: weir_source::RemuxJob) {
            *self.0.lock() = Some(job);
        }
    }
    let keep = Arc::new(Keep(parking_lot::Mutex::new(None)));
    bed.hub.set_bridge(keep.clone());
    bed.viewer = viewer(&bed.hub, bed.now);
    let job = keep.0.lock().take().unwrap();
    job.set_track(video());
    job.push(&mut vec![frame(&video(), 0, true, "K0 ")]);
    bed.sent();
    bed.pass(1_000);
    assert_eq!(bed.sent(), "");
    job.set_track(audio());
    job.push(&mut vec![frame(&video(), 1_000, true, "K1 "), frame(&audio(), 1_000, true, "a1 ")]);
    assert_eq!(bed.sent(), "[head a=true v=true]K1 a1 ", "what grew old while it waited is skipped");
}

#[test]
fn sound_alone_needs_no_keyframe() {
    let mut bed = Bed::new();
    let publisher = bed.publish(Tracks::default().with(audio()));
    bed.sent();
    bed.pass(250);
    assert_eq!(bed.sent(), "[head a=true v=false]");
    publisher.push(&mut vec![frame(&audio(), 0, true, "a0 ")], bed.now);
    assert_eq!(bed.sent(), "a0 ");
}

#[test]
fn a_viewer_that_fell_behind_goes_on_at_a_keyframe() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    let v = video();
    publisher.push(&mut vec![frame(&v, 0, true, "K0 ")], bed.now);
    assert_eq!(bed.sent(), "[head a=true v=true]K0 ");
    for n in 1..5_000 {
        publisher.push(&mut vec![frame(&v, n, n == 4_000, if n == 4_000 { "K " } else { "p" })], bed.now);
    }
    assert!(bed.sent().starts_with("K p"));
}

#[test]
fn a_viewer_outlives_its_publisher_for_thirty_seconds() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![frame(&video(), 0, true, "K0 ")], bed.now);
    drop(publisher);
    let (sent, step) = bed.drain();
    assert_eq!(sent, "", "an ended stream has no tracks");
    assert!(matches!(step, Step::Wait(Some(_))));

    let publisher = bed.publish(both());
    publisher.push(&mut vec![frame(&video(), 10, true, "K1 ")], bed.now);
    assert_eq!(bed.sent(), "[head a=true v=true]K1 ");
    drop(publisher);
    let (_, step) = bed.drain();
    assert!(matches!(step, Step::Wait(Some(at)) if at == bed.now + Duration::from_secs(30)));
    bed.pass(29_000);
    let again = bed.publish(both());
    again.push(&mut vec![frame(&video(), 29_000, false, "p "), frame(&video(), 29_040, true, "K2 ")], bed.now);
    assert_eq!(bed.sent(), "K2 ", "no second header, and from a keyframe on");
    drop(again);
    bed.sent();
    bed.pass(30_000);
    assert!(matches!(bed.drain(), (_, Step::End)));
}

#[test]
fn a_kicked_viewer_ends_and_leaves_nothing() {
    let mut bed = Bed::new();
    bed.hub.clients().get("viewer01").unwrap().kick();
    assert!(matches!(bed.drain(), (_, Step::End)));
    let Bed { hub, viewer, .. } = bed;
    drop(viewer);
    assert_eq!((hub.clients().count(), hub.list().len()), (0, 0));
}

#[test]
fn bytes_are_counted_as_they_are_sent() {
    let mut bed = Bed::new();
    let publisher = bed.publish(both());
    publisher.push(&mut vec![frame(&video(), 0, true, "K0 ")], bed.now);
    let sent = bed.sent().len();
    let client = bed.hub.clients().get("viewer01").unwrap();
    assert_eq!(client.send_bytes.load(std::sync::atomic::Ordering::Relaxed), sent as u64);
}

#[tokio::test]
async fn an_flv_body_flows_while_the_publisher_pushes() {
    let server = Server::new();
    let hub = server.state.hub.clone();
    let mut request = Request::get("/live/s.flv?token=x").header("host", "localhost:8080").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo::<std::net::SocketAddr>("192.0.2.5:1".parse().unwrap()));
    let response = server.http.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "video/x-flv");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let mut body = response.into_body();
    let listed = hub.clients().list();
    assert_eq!((listed[0].info.kind, listed[0].info.ip.to_string()), (ClientKind::FlvPlay, "192.0.2.5".to_owned()));
    assert_eq!(listed[0].info.url, "http://localhost:8080/live");

    let reading = tokio::spawn(async move {
        let mut got = String::new();
        while let Some(Ok(part)) = body.frame().await {
            got.push_str(std::str::from_utf8(part.data_ref().unwrap()).unwrap());
        }
        got
    });
    tokio::task::yield_now().await;
    let publisher = hub.publish_frames(&key(), "pub", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(both());
    for n in 0..10 {
        publisher.push(&mut vec![frame(&video(), n * 40, n == 0, if n == 0 { "K" } else { "p" })], Instant::now());
        tokio::task::yield_now().await;
    }
    hub.clients().list()[0].kick();
    assert_eq!(reading.await.unwrap(), "[head a=true v=true]Kppppppppp");
    drop(publisher);
    assert_eq!((hub.clients().count(), hub.list().len()), (0, 0));
}

#[tokio::test]
async fn playlists_and_segments_have_their_types() {
    let server = Server::new();
    let playlist = server.get("/live/s-1.m3u8?hls_ctx=abc").await;
    assert_eq!((playlist.status, playlist.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    assert_eq!((playlist.header("cache-control"), playlist.header("access-control-allow-origin")), ("no-cache", "*"));
    let segment = server.get("/live/s-1-7-1.ts").await;
    assert_eq!((segment.status, segment.header("content-type")), (200, "video/mp2t"));
    assert_eq!(segment.header("access-control-allow-origin"), "*");
    for absent in ["/live/other.m3u8", "/live/s-1-7-2.ts", "/live/s.ts", "/live/-.ts", "/live/s-1.mp4", "/live/s-1"] {
        let answer = server.get(absent).await;
        assert_eq!(answer.status, 404, "{absent}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn a46_names_that_leave_a_directory_are_as_absent_as_any_other() {
    let server = Server::new();
    let absent = server.get("/live/absent.m3u8").await;
    let long = "a".repeat(4_096);
    let parts = ["..%2fx", "%2e%2e", "%252e%252e", "a%00", "a%5cb", "%2fetc%2fpasswd", "a%0d%0ab", "a%E2%80%AEb", "...%2f...", &long];
    for part in parts {
        for path in [format!("/live/{part}.m3u8"), format!("/{part}/s.m3u8"), format!("/live/{part}.flv"), format!("/live/{part}-1.ts")] {
            let answer = server.get(&path).await;
            assert_eq!((answer.status, &answer.body), (404, &absent.body), "{path}");
        }
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
