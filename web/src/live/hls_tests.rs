//! HLS viewers as clients: sessions from their first playlist to their end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, http::Request};
use weir_source::{ClientInfo, ClientKind, Denied, Frame, Gatekeeper, Hub, PerVhost, Publisher, Secret, Traffic, Verdict, Visit};

use super::{
    hls_session::{HlsSessions, Viewer},
    tests::{both, key, picture, sound},
};
use crate::{
    VhostConfig, WebConfig,
    testing::{self, Answer, NoWake, Server},
};

/// Lets in who has no `refuse` in its query, and counts.
#[derive(Default)]
struct Keeper {
    asked: AtomicUsize,
    left: AtomicUsize,
}

impl Gatekeeper for Keeper {
    fn admit(&self, visit: Visit) -> Verdict {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let refused = visit.info.param.expose().contains("refuse");
        Box::pin(std::future::ready(if refused { Err(Denied::Forbidden("no".to_owned())) } else { Ok(()) }))
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server with a stream of nine seconds on `/live/s`.
struct Bed {
    server: Server,
    keeper: Arc<Keeper>,
    _publisher: Publisher<Frame>,
}

impl Bed {
    async fn new(vhost: VhostConfig) -> Self {
        let server = Server::with(WebConfig { vhosts: PerVhost::all(vhost), ..WebConfig::default() });
        let keeper = Arc::<Keeper>::default();
        server.state.hub.set_gatekeeper(keeper.clone());
        let publisher = server.state.hub.publish_frames(&key(), "pub", Arc::new(NoWake), Instant::now()).unwrap();
        publisher.set_tracks(both());
        publisher.push(&mut vec![picture(0, true)], Instant::now());
        let (hls, key) = (server.state.hls.clone().unwrap(), key());
        let publishing = async {
            tokio::task::yield_now().await;
            for ms in (0..9_000).step_by(40) {
                publisher.push(&mut vec![picture(ms, ms % 1_000 == 0), sound(ms)], Instant::now());
                tokio::task::yield_now().await;
            }
        };
        let (first, ()) = tokio::join!(hls.playlist(&key), publishing);
        first.unwrap();
        Self { server, keeper, _publisher: publisher }
    }

    async fn get(&self, path: &str) -> Answer {
        self.server.get(path).await
    }

    /// The URL that the first playlist names.
    async fn session(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.apple.mpegurl"), "{}", answer.text());
        let text = answer.text();
        assert!(text.starts_with("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,"), "{text}");
        format!("/live/{}", text.lines().last().unwrap())
    }

    fn counts(&self) -> (usize, usize) {
        (self.keeper.asked.load(Ordering::Relaxed), self.keeper.left.load(Ordering::Relaxed))
    }
}

fn ctx(url: &str) -> &str {
    let (_, ctx) = url.rsplit_once("hls_ctx=").unwrap();
    &ctx[..8]
}

#[tokio::test]
async fn a_player_becomes_a_client_that_is_counted() {
    let bed = Bed::new(VhostConfig::default()).await;
    let url = bed.session("/live/s.m3u8?token=a%20b&hls_ctx=bad").await;
    assert_eq!(url, format!("/live/s.m3u8?token=a%20b&hls_ctx={}", ctx(&url)));
    let client = bed.server.client();
    assert_eq!((client.info.kind, client.info.id.as_str()), (ClientKind::HlsPlay, ctx(&url)));
    assert_eq!((client.info.param.expose(), client.info.url.as_str()), ("?token=a%20b", "http:///live"));

    let playlist = bed.get(&url).await;
    let name = playlist.text().lines().find(|line| line.contains(".ts")).unwrap().to_owned();
    assert!(name.ends_with(&format!(".ts?hls_ctx={}", ctx(&url))), "{name}");
    let segment = bed.get(&format!("/live/{name}")).await;
    assert_eq!((segment.status, segment.body[0]), (200, 0x47));
    assert_eq!(client.traffic.totals().0, (playlist.body.len() + segment.body.len()) as u64);
    assert_eq!((bed.counts(), bed.server.state.hls_sessions.count()), ((1, 0), 1));
}

#[tokio::test]
async fn who_is_refused_gets_403_and_who_asks_for_nothing_404_and_neither_leaves_anything() {
    let bed = Bed::new(VhostConfig::default()).await;
    assert_eq!(bed.get("/live/s.m3u8?refuse").await.status, 403);
    assert_eq!(bed.get("/live/absent.m3u8?refuse").await.status, 403, "a refused one learns nothing");
    assert_eq!(bed.get("/live/absent.m3u8").await.status, 404);
    assert_eq!(bed.get("/live/absent.m3u8?hls_ctx=abcd1234").await.status, 404);
    assert_eq!(bed.get("/live/s.m3u8?refuse&hls_ctx=abcd1234").await.status, 403);
    assert_eq!((bed.server.state.hub.clients().count(), bed.server.state.hls_sessions.count()), (0, 0));
    assert_eq!(bed.counts(), (5, 2), "those let in have left");
}

#[tokio::test]
async fn a_player_that_asks_twice_for_the_first_playlist_is_one_viewer() {
    let bed = Bed::new(VhostConfig::default()).await;
    let first = bed.session("/live/s.m3u8").await;
    assert_eq!(bed.session("/live/s.m3u8").await, first);
    assert_ne!(bed.session("/live/s.m3u8?other").await, first, "another query is another viewer");
    assert_eq!(bed.get(&first).await.status, 200);
    assert_ne!(bed.session("/live/s.m3u8").await, first, "a session that is played is nobody else's");
    assert_eq!(bed.server.state.hls_sessions.count(), 3);
}

#[tokio::test]
async fn a_kicked_viewer_is_gone_and_stays_gone() {
    let bed = Bed::new(VhostConfig::default()).await;
    let url = bed.session("/live/s.m3u8").await;
    let segment = bed.get(&url).await.text().lines().last().unwrap().to_owned();
    bed.server.client().kick();
    tokio::task::yield_now().await;
    assert_eq!((bed.server.state.hub.clients().count(), bed.counts()), (0, (1, 1)), "it is told to have left at once");
    for path in [&url, &format!("/live/{segment}"), &url] {
        let answer = bed.get(path).await;
        assert_eq!((answer.status, answer.json()["type"].as_str()), (410, Some("urn:weir:problem:gone")), "{path}");
    }
    assert_eq!(bed.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_stops_asking_has_left_after_two_windows_and_may_come_again() {
    let bed = Bed::new(VhostConfig::default()).await;
    let url = bed.session("/live/s.m3u8").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(bed.get(&url).await.status, 200);
        assert_eq!(bed.server.state.hub.clients().count(), 1, "it goes on asking");
    }
    tokio::time::sleep(Duration::from_millis(23_900)).await;
    assert_eq!(bed.counts(), (1, 0));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((bed.server.state.hub.clients().count(), bed.counts()), (0, (1, 1)));
    let playlist = bed.get(&url).await;
    assert!(playlist.status == 200 && playlist.text().contains(ctx(&url)), "a player that was paused plays on");
    assert_eq!((bed.counts(), bed.server.state.hls_sessions.count()), ((2, 1), 1));
    assert_ne!(bed.server.client().info.id, ctx(&url), "as another client");
}

#[tokio::test]
async fn without_ctx_players_of_one_address_and_query_are_one_client() {
    let bed = Bed::new(VhostConfig { hls_ctx: false, ..VhostConfig::default() }).await;
    for _ in 0..3 {
        let playlist = bed.get("/live/s.m3u8?a=1").await;
        let name = playlist.text().lines().last().unwrap();
        assert!(name.ends_with(".ts"), "{name}");
        assert_eq!(bed.get(&format!("/live/{name}")).await.status, 200);
    }
    assert_eq!(bed.get("/live/s.m3u8?refuse").await.status, 403);
    assert_eq!((bed.counts(), bed.server.state.hub.clients().count()), ((2, 0), 1));
    bed.server.state.hls_sessions.close();
    assert_eq!((bed.counts(), bed.server.state.hub.clients().count()), ((2, 1), 0), "the end of the server ends all");
}

#[tokio::test]
async fn segments_may_go_without_ctx_and_name_their_vhost_where_the_playlist_did() {
    let bed = Bed::new(VhostConfig { hls_ts_ctx: false, ..VhostConfig::default() }).await;
    let url = bed.session("/live/s.m3u8?vhost=any").await;
    let playlist = bed.get(&url).await;
    assert!(playlist.text().lines().last().unwrap().ends_with(".ts?vhost=any"), "{}", playlist.text());
}

#[tokio::test]
async fn a_head_makes_nobody_a_viewer() {
    let bed = Bed::new(VhostConfig::default()).await;
    let request = Request::head("/live/s.m3u8").body(Body::empty()).unwrap();
    let answer = testing::ask(&bed.server.http, "127.0.0.1:1", request).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.apple.mpegurl"));
    assert_eq!((bed.counts(), bed.server.state.hls_sessions.count()), ((0, 0), 0));
}

#[tokio::test]
async fn sessions_are_bounded_and_unplayed_ones_make_room() {
    let (hub, sessions) = (Hub::new(), Arc::<HlsSessions>::default());
    let begin = |number: u32| {
        let query = Secret::new(format!("?{number}"));
        let viewer = Viewer { key: key(), ip: [192, 0, 2, 1].into(), query, bearer: None, agent: String::new() };
        let info = ClientInfo {
            id: format!("{number:08}"),
            kind: ClientKind::HlsPlay,
            key: key(),
            ip: [192, 0, 2, 1].into(),
            url: String::new(),
            page_url: String::new(),
            param: Secret::default(),
            since: Instant::now(),
        };
        sessions.begin(&hub, weir_source::Pass::free(info), viewer, None, Duration::from_secs(24))
    };
    for number in 0..9_999 {
        begin(number).unwrap().ask().unwrap();
    }
    begin(9_999).unwrap();
    let played = begin(10_000).unwrap();
    assert_eq!((sessions.count(), hub.clients().count(), sessions.overflow()), (10_000, 10_000, (0, 1)));
    played.ask().unwrap();
    assert_eq!(begin(10_001).unwrap_err().fault.status(), 503);
    assert_eq!(sessions.overflow(), (1, 1));
    sessions.close();
    assert_eq!((sessions.count(), hub.clients().count()), (0, 0));
}
