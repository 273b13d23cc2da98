//! The API as SRS's clients read it.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    http::{Method, Request},
};
use bytes::Bytes;
use weir_source::{ClientKind, Codec, Frame, MediaTime, StreamKey, Track, TrackId, Tracks, VideoInfo};

use crate::{
    WebConfig,
    testing::{self, Answer, NoWake, OFFER, Server, ask},
};

async fn get(server: &Server, path: &str) -> Answer {
    let answer = server.send(Method::GET, path, None, "").await;
    assert_eq!(answer.status, 200, "{path}");
    let json = answer.json();
    assert!(json["server"].as_str().unwrap().starts_with("vid-"));
    assert!(json["service"].is_string() && json["pid"].as_str().unwrap().parse::<u32>().is_ok());
    answer
}

fn key(name: &str) -> StreamKey {
    StreamKey::new("live", name).unwrap()
}

fn tracks() -> Tracks {
    let mut audio = Track::new(TrackId::AUDIO, Codec::Aac, 44_100, 2);
    audio.config = Bytes::from_static(&[0x12, 0x10]);
    let mut video = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    let info = VideoInfo { width: 1280, height: 720, fps: Some(30.0), profile: "High".into(), level: "3.1".into() };
    video.video = Some(info);
    Tracks::default().with(Arc::new(audio)).with(Arc::new(video))
}

#[tokio::test]
async fn versions_and_indexes_have_srs_fields() {
    let server = Server::new();
    for path in ["/api/v1/versions", "/api/v1/versions/"] {
        let json = get(&server, path).await.json();
        assert_eq!(json["code"], 0);
        assert_eq!(json["data"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(json["data"]["major"].is_u64() && json["data"]["minor"].is_u64() && json["data"]["revision"].is_u64());
    }
    for path in ["/", "/api", "/api/", "/api/v1", "/api/v1/"] {
        assert!(get(&server, path).await.json()["urls"].is_object(), "{path}");
    }
}

#[tokio::test]
async fn a_published_stream_has_srs_fields() {
    let server = Server::new();
    let hub = &server.state.hub;
    let publisher = hub.publish_frames(&key("s"), "pub00001", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(tracks());
    let track = Arc::clone(tracks().video().unwrap());
    let frame = Frame::new(track, MediaTime::ZERO, MediaTime::ZERO, true, Bytes::from_static(b"12345"));
    publisher.push(&mut vec![frame], Instant::now());
    let _publishing = testing::client(hub, &key("s"), "pub00001", ClientKind::RtmpPublish);
    let playing = testing::client(hub, &key("s"), "play0001", ClientKind::FlvPlay);
    playing.sent(77);
    server.state.rates.sample(hub, Instant::now());

    let json = get(&server, "/api/v1/streams/").await.json();
    assert_eq!((json["code"].as_u64(), json["total"].as_u64()), (Some(0), Some(1)));
    let stream = &json["streams"][0];
    let id = stream["id"].as_str().unwrap();
    assert!(id.starts_with("vid-") && id.len() == 11);
    assert_eq!(stream["name"], "s");
    assert_eq!(stream["app"], "live");
    assert_eq!(stream["url"], "/live/s");
    assert_eq!(stream["tcUrl"], "rtmp://localhost/live");
    assert_eq!(stream["clients"], 2);
    assert_eq!(
        (stream["frames"].as_u64(), stream["recv_bytes"].as_u64(), stream["send_bytes"].as_u64()),
        (Some(1), Some(5), Some(77))
    );
    assert_eq!(stream["publish"], serde_json::json!({"active": true, "cid": "pub00001"}));
    assert_eq!(
        stream["video"],
        serde_json::json!({"codec": "H264", "profile": "High", "level": "3.1", "width": 1280, "height": 720})
    );
    assert_eq!(stream["audio"], serde_json::json!({"codec": "AAC", "sample_rate": 44100, "channel": 2, "profile": "LC"}));
    assert!(stream["live_ms"].as_u64().unwrap() > 1_600_000_000_000);
    assert!(stream["kbps"]["recv_30s"].is_u64() && stream["kbps"]["send_30s"].is_u64());
    assert!(stream["vhost"].is_string());

    let one = get(&server, &format!("/api/v1/streams/{id}")).await.json();
    assert_eq!(one["stream"]["name"], "s");
    assert_eq!(get(&server, "/api/v1/streams/vid-unknown").await.json()["code"], 2048);
}

#[tokio::test]
async fn a_waited_for_stream_is_listed_as_inactive() {
    let server = Server::new();
    let _reader = server.state.hub.subscribe_frames(&key("s"), Instant::now());
    let stream = get(&server, "/api/v1/streams").await.json()["streams"][0].clone();
    assert_eq!(stream["publish"]["active"], false);
    assert!(stream["video"].is_null() && stream["audio"].is_null());
}

#[tokio::test]
async fn lists_are_cut_by_start_and_count_and_give_the_total() {
    let server = Server::new();
    let guards: Vec<_> =
        (10..35).map(|n| testing::client(&server.state.hub, &key("s"), &format!("client{n}"), ClientKind::FlvPlay)).collect();
    for (query, rows, first) in [
        ("", 10, Some("client10")),
        ("?count=3", 3, Some("client10")),
        ("?start=20&count=100", 5, Some("client30")),
        ("?start=99", 0, None),
        ("?start=-1&count=99999999999999999999999", 10, Some("client10")),
    ] {
        let json = get(&server, &format!("/api/v1/clients/{query}")).await.json();
        let list = json["clients"].as_array().unwrap();
        assert_eq!((list.len(), json["total"].as_u64()), (rows, Some(25)), "{query}");
        assert_eq!(list.first().map(|row| row["id"].as_str().unwrap()), first, "{query}");
    }
    drop(guards);
    assert_eq!(get(&server, "/api/v1/clients").await.json()["total"], 0);
}

#[tokio::test]
async fn a_client_has_srs_fields_and_a_session_its_statistics() {
    let server = Server::new();
    server.send(Method::POST, "/rtc/v1/whep/?stream=s", Some("application/sdp"), OFFER).await;
    let id = server.client().info.id.clone();
    let json = get(&server, &format!("/api/v1/clients/{id}")).await.json();
    let client = &json["client"];
    assert_eq!(client["id"], id);
    assert_eq!((&client["type"], &client["publish"], &client["ip"]), (&"rtc-play".into(), &false.into(), &"127.0.0.1".into()));
    for (field, value) in [("name", "s"), ("url", "/live/s"), ("tcUrl", "webrtc:///live"), ("pageUrl", ""), ("swfUrl", "")] {
        assert_eq!(client[field], value, "{field}");
    }
    assert!(client["alive"].as_f64().unwrap() >= 0.0);
    for field in ["send_bytes", "recv_bytes"] {
        assert!(client[field].is_u64(), "{field}");
    }
    assert!(client["vhost"].is_string() && client["stream"].is_string() && client["kbps"]["recv_30s"].is_u64());
    assert_eq!((&client["webrtc"]["connected"], &client["webrtc"]["lost"]), (&false.into(), &0.into()));
    let session = server.rtc.handle().list()[0].session.clone();
    assert!(!client.to_string().contains(&session), "the secret name stays secret");
    assert_eq!(get(&server, "/api/v1/clients/none").await.json()["code"], 2049);
}

#[tokio::test]
async fn a38_only_loopback_may_kick() {
    let server = Server::new();
    let kicked = testing::client(&server.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    let delete = || Request::delete("/api/v1/clients/client01").header("host", "localhost:1985").body(Body::empty()).unwrap();
    let answer = ask(&server.api, "192.0.2.9:1000", delete()).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(ask(&server.http, "127.0.0.1:1000", delete()).await.status, 405, "not through the pages' port");
    assert!(!kicked.is_kicked());
    let answer = ask(&server.api, "127.0.0.1:1000", delete()).await;
    assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(0)));
    assert!(kicked.is_kicked());

    let open = Server::with(WebConfig { kick_from_anywhere: true, ..WebConfig::default() });
    let kicked = testing::client(&open.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    assert_eq!(ask(&open.api, "192.0.2.9:1000", delete()).await.status, 200);
    assert!(kicked.is_kicked());
    let gone = Request::delete("/api/v1/clients/none").body(Body::empty()).unwrap();
    assert_eq!(ask(&open.api, "192.0.2.9:1000", gone).await.json()["code"], 2049);
}

#[tokio::test]
async fn a39_other_pages_can_neither_read_nor_change_anything() {
    let server = Server::new();
    let kicked = testing::client(&server.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    for (host, origin, status) in
        [("evil.example", None, 421), ("localhost:1985", Some("null"), 403), ("localhost:1985", Some("http://evil.example"), 403)]
    {
        let mut request = Request::delete("/api/v1/clients/client01").header("host", host);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        assert_eq!(server.ask(request.body(Body::empty()).unwrap()).await.status, status, "{host} {origin:?}");
    }
    assert!(!kicked.is_kicked());
    assert_eq!(get(&server, "/api/v1/clients").await.header("access-control-allow-origin"), "");
    let open = Server::with(WebConfig { api_crossdomain: true, ..WebConfig::default() });
    assert_eq!(get(&open, "/api/v1/clients").await.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn a40_answers_are_never_scripts_and_repeat_nothing() {
    let server = Server::new();
    let mark = "zq4script";
    for path in ["/api/v1/streams/?callback=zq4script", "/api/v1/clients/?callback=zq4script&method=DELETE"] {
        let answer = get(&server, path).await;
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.body.starts_with(b"{"));
    }
    for path in ["/%3Czq4script%3E", "/api/v1/clients/%3Czq4script%3E", "/rtc/v1/whip/?app=%3Czq4script%3E", "/api/v1/zq4script"]
    {
        for router in [&server.api, &server.http] {
            for method in [Method::GET, Method::POST] {
                let request = Request::builder().method(method).uri(path).header("content-type", "application/sdp");
                let answer = ask(router, "127.0.0.1:1", request.body(Body::from(OFFER)).unwrap()).await;
                assert!(!String::from_utf8_lossy(&answer.body).contains(mark), "{path} {:?}", answer.body);
                assert_eq!(answer.header("x-content-type-options"), "nosniff");
            }
        }
    }
}

#[tokio::test]
async fn the_pages_port_has_the_lists() {
    let server = Server::new();
    for path in ["/api/v1/versions", "/api/v1/streams/", "/api/v1/clients/"] {
        assert_eq!(server.get(path).await.json()["code"], 0, "{path}");
    }
}
