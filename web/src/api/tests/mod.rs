//! The API as SRS's clients read it.

mod guard;
mod reload;
mod shape;

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    http::{Method, Request},
};
use bytes::Bytes;
use weir_source::{ClientKind, Codec, Frame, MediaTime, StreamKey, Track, TrackId, Tracks, VideoInfo};

use super::routes::{Body as Shape, ROUTES, Verb};
use crate::{
    ApiConfig, WebConfig,
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
    let gone = Request::delete("/api/v1/clients/none").header("host", "localhost").body(Body::empty()).unwrap();
    assert_eq!(ask(&server.api, "127.0.0.1:1000", gone).await.json()["code"], 2049);
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
    let open = Server::with(WebConfig { api: ApiConfig { crossdomain: true, ..ApiConfig::default() }, ..WebConfig::default() });
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

/// Every answer has SRS's fields, with a publisher and a player of each kind.
#[tokio::test]
async fn every_answer_has_the_shape_that_the_document_says() {
    let server = Server::new();
    server.state.machine.read_once();
    let hub = &server.state.hub;
    let publisher = hub.publish_frames(&key("s"), "pub00001", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(tracks());
    let _publishing = testing::client(hub, &key("s"), "pub00001", ClientKind::RtmpPublish);
    for (n, kind) in [ClientKind::RtmpPlay, ClientKind::FlvPlay, ClientKind::HlsPlay].into_iter().enumerate() {
        std::mem::forget(testing::client(hub, &key("s"), &format!("play000{n}"), kind));
    }
    for (action, stream) in [("publish", "webrtc"), ("play", "s")] {
        let path = format!("/rtc/v1/whip/?action={action}&stream={stream}");
        assert_eq!(server.send(Method::POST, &path, Some("application/sdp"), OFFER).await.status, 201);
    }
    server.state.rates.sample(hub, Instant::now());
    let mut checked = 0;
    for route in ROUTES.iter().filter(|route| route.verb == Verb::Get) {
        let Shape::Json(shape) = route.body else { continue };
        let ids: Vec<String> = match route.path.strip_suffix("/{id}").map(|path| path.rsplit('/').next().unwrap()) {
            Some("vhosts") => vec![server.state.ids.vhost(key("s").vhost()), "vid-unknown".into()],
            Some("streams") => vec![server.state.ids.stream(&key("s")), server.state.ids.stream(&key("webrtc")), "no".into()],
            Some("clients" | "sessions") => {
                hub.clients().list().iter().map(|client| client.info.id.clone()).chain(["no".into()]).collect()
            }
            _ => vec![String::new()],
        };
        for id in ids {
            let request = Request::get(route.path.replace("{id}", &id)).header("host", "localhost");
            let answer = server.ask(request.body(Body::empty()).unwrap()).await;
            let mistakes = shape::mistakes(&shape(), &answer.json());
            assert_eq!((answer.status, mistakes), (200, vec![]), "{} {id}", route.path);
            checked += 1;
        }
    }
    assert!(checked > 25, "{checked}");
    server.end_all();
}

#[tokio::test]
async fn the_mirrors_have_srs_fields_and_true_values() {
    let server = Server::new();
    server.state.machine.read_once();
    let data = |path: &'static str| {
        let server = &server;
        async move { get(server, path).await.json()["data"].clone() }
    };
    let own = data("/api/v1/self_proc_stats").await;
    assert_eq!((own["pid"].as_u64(), own["ok"].as_bool()), (Some(u64::from(std::process::id())), Some(true)));
    assert!(own["num_threads"].as_u64().unwrap() > 1 && own["rss"].as_u64().unwrap() > 100 && own["percent"].is_number());
    for field in ["cguest_time", "startstack", "rsslim", "delayacct_blkio_ticks", "sigcatch", "wchan", "exit_signal"] {
        assert!(own[field].is_number(), "{field}");
    }
    let usage = data("/api/v1/rusages").await;
    assert!(usage["ru_maxrss"].as_u64().unwrap() > 1_000 && usage["ru_nvcsw"].as_u64().unwrap() > 0, "{usage}");
    assert!(usage["ru_nivcsw"].is_number() && usage["ru_utime"].is_number());
    let system = data("/api/v1/system_proc_stats").await;
    assert!(system["idle"].as_u64().unwrap() > 0 && system["sys"].is_number() && system["guest"].is_number());
    let memory = data("/api/v1/meminfos").await;
    let of = |name: &str| memory[name].as_u64().unwrap();
    assert_eq!(of("RealInUse") + of("NotInUse"), of("MemTotal"));
    assert!((0.0..1.0).contains(&memory["percent_ram"].as_f64().unwrap()));
    let all = data("/api/v1/summaries").await;
    assert_eq!(all["self"]["pid"], std::process::id());
    assert_eq!((&all["system"]["mem_ram_kbyte"], &all["ok"]), (&memory["MemTotal"], &true.into()));
    assert!(all["self"]["argv"].as_str().unwrap().contains("weir") && all["self"]["cwd"].as_str().unwrap().starts_with('/'));
    let features = data("/api/v1/features").await;
    assert_eq!((&features["features"]["hls"], &features["features"]["dvr"]), (&true.into(), &false.into()));
    assert!(features["build2"].as_u64().unwrap() > 1_600_000_000);
    assert_eq!(data("/api/v1/authors").await["license"], "MIT");
}

#[tokio::test]
async fn vhosts_are_all_that_are_configured() {
    let server = Server::new();
    let hub = &server.state.hub;
    hub.set_vhosts(weir_source::Vhosts::new(["a.example", weir_source::DEFAULT_VHOST]));
    let inner = StreamKey::with_vhost("a.example", "live", "s").unwrap();
    let _reader = hub.subscribe_frames(&inner, Instant::now());
    let player = testing::client(hub, &inner, "play0001", ClientKind::FlvPlay);
    player.sent(90);
    server.state.rates.sample(hub, Instant::now());
    let json = get(&server, "/api/v1/vhosts/").await.json();
    let rows = json["vhosts"].as_array().unwrap();
    assert_eq!((rows.len(), json["total"].as_u64()), (2, Some(2)));
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap().clone();
    let (outer, inner) = (row("__defaultVhost__"), row("a.example"));
    assert_eq!((&outer["clients"], &outer["streams"], &outer["send_bytes"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!((&inner["clients"], &inner["streams"], &inner["send_bytes"]), (&1.into(), &1.into(), &90.into()));
    assert_eq!((&inner["enabled"], &inner["hls"]), (&true.into(), &serde_json::json!({"enabled": false})));
    let one = get(&server, &format!("/api/v1/vhosts/{}", inner["id"].as_str().unwrap())).await.json();
    assert_eq!(one["vhost"]["name"], "a.example");
    assert_eq!(get(&server, "/api/v1/vhosts/vid-0").await.json()["code"], 2014);
    let stream = &get(&server, "/api/v1/streams/").await.json()["streams"][0];
    assert_eq!(stream["vhost"], inner["id"], "a stream names its vhost by the same id");
}

#[tokio::test]
async fn a_stream_that_has_ended_is_listed_as_inactive_for_a_while() {
    let server = Server::new();
    let hub = &server.state.hub;
    let publisher = hub.publish_frames(&key("s"), "pub00001", Arc::new(NoWake), Instant::now()).unwrap();
    publisher.set_tracks(tracks());
    let publishing = testing::client(hub, &key("s"), "pub00001", ClientKind::RtmpPublish);
    let frame = Frame::new(Arc::clone(tracks().video().unwrap()), MediaTime::ZERO, MediaTime::ZERO, true, "12345".into());
    publisher.push(&mut vec![frame], Instant::now());
    server.state.rates.sample(hub, Instant::now());
    let id = server.state.ids.stream(&key("s"));
    drop((publisher, publishing));
    assert_eq!(hub.list().len(), 0);
    let stream = get(&server, &format!("/api/v1/streams/{id}")).await.json()["stream"].clone();
    assert_eq!(stream["publish"], serde_json::json!({"active": false, "cid": ""}));
    assert_eq!(
        (&stream["frames"], &stream["recv_bytes"], &stream["tcUrl"]),
        (&1.into(), &5.into(), &"rtmp://localhost/live".into())
    );
    assert_eq!((&stream["clients"], &stream["video"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(get(&server, "/api/v1/streams/").await.json()["total"], 1);
    let later = Instant::now() + std::time::Duration::from_secs(11);
    server.state.rates.sample(hub, later);
    assert_eq!(get(&server, "/api/v1/streams/").await.json()["total"], 0);
    assert_eq!(get(&server, &format!("/api/v1/streams/{id}")).await.json()["code"], 2048);
}

#[tokio::test]
async fn clusters_tell_whether_a_stream_is_published_here() {
    let server = Server::new();
    let path = "/api/v1/clusters?vhost=__defaultVhost__&ip=10.0.0.1&app=live&stream=s&coworker=node1.example:1985";
    let data = get(&server, path).await.json()["data"].clone();
    let query = serde_json::json!({"ip": "10.0.0.1", "vhost": "__defaultVhost__", "app": "live", "stream": "s"});
    assert_eq!((&data["query"], &data["origin"]), (&query, &serde_json::Value::Null));
    let _publisher = server.state.hub.publish_frames(&key("s"), "pub", Arc::new(NoWake), Instant::now()).unwrap();
    let origin = get(&server, path).await.json()["data"]["origin"].clone();
    assert_eq!(
        (&origin["ip"], &origin["port"], &origin["api"]),
        (&"node1.example".into(), &1935.into(), &"node1.example:1985".into())
    );
}

#[tokio::test]
async fn tests_and_probes_answer() {
    let server = Server::new();
    let request = Request::get("/api/v1/tests/requests?a=b").header("authorization", "Bearer t0ken").header("x-mark", "m");
    let data = server.ask(request.body(Body::empty()).unwrap()).await.json()["data"].clone();
    assert_eq!(
        (&data["path"], &data["METHOD"], &data["headers"]["x-mark"]),
        (&"/api/v1/tests/requests".into(), &"GET".into(), &"m".into())
    );
    assert!(!data.to_string().contains("t0ken"));
    assert_eq!(get(&server, "/api/v1/tests/errors").await.json()["code"], 100);
    let redirect = server.send(Method::GET, "/api/v1/tests/redirects", None, "").await;
    assert_eq!((redirect.status, redirect.header("location")), (301, "/api/v1/tests/errors"));
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answer = server.send(Method::GET, path, None, "").await;
        assert_eq!((answer.status, answer.text()), (200, text));
    }
    server.state.readiness.drain();
    assert_eq!(server.send(Method::GET, "/readyz", None, "").await.status, 503);
    assert_eq!(server.send(Method::GET, "/healthz", None, "").await.status, 200, "it is alive until it ends");
}

#[tokio::test]
async fn a40_an_answer_is_a_script_only_where_that_is_configured() {
    let token = crate::ApiToken { name: "o".into(), secret: weir_source::Secret::new("t0ken"), role: crate::Role::Operate };
    let api = ApiConfig { jsonp: true, tokens: vec![token], ..ApiConfig::default() };
    let server = Server::with(WebConfig { api, ..WebConfig::default() });
    let kicked = testing::client(&server.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    let ask = |path: &'static str, headers: &[(&'static str, &'static str)]| {
        let mut request = Request::get(path).header("host", "localhost").header("authorization", "Bearer t0ken");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.ask(request.body(Body::empty()).unwrap())
    };
    let answer = ask("/api/v1/clients/?callback=jQuery_1.done", &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/javascript; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let text = answer.text();
    let json = text.strip_prefix("/**/jQuery_1.done(").and_then(|rest| rest.strip_suffix(");")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["total"], 1);
    assert_eq!(ask("/api/v1/clients/?callback=alert(1)", &[]).await.status, 400);
    assert_eq!(ask("/api/v1/clients/", &[]).await.header("content-type"), "application/json");
    let kick = "/api/v1/clients/client01?callback=fn&method=DELETE";
    assert_eq!(ask(kick, &[("sec-fetch-site", "cross-site")]).await.status, 403);
    assert!(!kicked.is_kicked());
    assert_eq!(ask(kick, &[]).await.status, 200);
    assert!(kicked.is_kicked());

    let nobody = Server::with(WebConfig { api: ApiConfig { jsonp: true, ..ApiConfig::default() }, ..WebConfig::default() });
    let spared = testing::client(&nobody.state.hub, &key("s"), "client01", ClientKind::FlvPlay);
    assert_eq!(nobody.send(Method::GET, kick, None, "").await.status, 403, "there are no credentials to show");
    assert!(!spared.is_kicked());
}
