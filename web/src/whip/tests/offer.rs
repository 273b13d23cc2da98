//! An offer that can be served, and its answer.

use super::*;
use crate::{IceLogin, IceServer, ReachedConfig};

#[tokio::test]
async fn h01_an_offer_is_answered_with_201_and_a_session_url() {
    let server = Server::new();
    for path in ENDPOINTS {
        let answer = server.send(Method::POST, &format!("{path}?app=a&stream=b"), SDP, OFFER).await;
        assert_eq!(answer.status, 201, "{path}");
        assert_eq!(answer.header("content-type"), "application/sdp");
        assert!(answer.text().starts_with("v=0"));
        assert!(location(&answer).starts_with("/rtc/v1/wh"), "{:?}", location(&answer));
        assert_eq!(server.send(Method::GET, answer.header("location"), None, "").await.status, 204);
        let info = server.client().info.clone();
        assert_eq!((info.key.to_string().as_str(), info.ip.to_string().as_str()), ("/a/b", "127.0.0.1"));
        assert_eq!(info.kind.is_publisher(), path.trim_end_matches('/') == "/rtc/v1/whip", "{path}");
        server.end_all();
    }
}

#[tokio::test]
async fn queries_choose_stream_direction_candidate_and_credentials() {
    let server = Server::new();
    server.send(Method::POST, "/rtc/v1/whip/", SDP, OFFER).await;
    assert_eq!(server.client().info.key.to_string(), "/live/livestream", "SRS's defaults");
    server.end_all();
    let query = "action=play&eip=192.0.2.9:99&ice-ufrag=myufrag&ice-pwd=0123456789012345678901&codec=h264";
    let request = Request::post(format!("/rtc/v1/whip/?{query}")).header("content-type", "application/sdp");
    let request = request.header("host", "server:1985").header("referer", "https://page/x?token=1");
    let answer = server.ask(request.body(Body::from(OFFER)).unwrap()).await;
    assert_eq!(answer.status, 201);
    let info = server.client().info.clone();
    assert!(!info.kind.is_publisher());
    assert_eq!((info.url.as_str(), info.page_url.as_str()), ("webrtc://server:1985/live", "https://page/x"));
    let sdp = answer.text();
    assert!(sdp.contains("a=ice-ufrag:myufrag") && sdp.contains("a=ice-pwd:0123456789012345678901"), "{sdp}");
    let first = sdp.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
    assert!(first.contains(" 192.0.2.9 99 typ host"), "{first}");
    for bad in ["eip=evil.example", "codec=theora", "action=record", "ice-ufrag=x"] {
        let answer = server.send(Method::POST, &format!("/rtc/v1/whip/?stream=z&{bad}"), SDP, OFFER).await;
        assert_problem(&answer, 400, "bad-query");
    }
}

#[tokio::test]
async fn the_host_of_the_request_is_a_candidate_if_that_is_wanted_and_it_is_an_address() {
    let first_after = |reached| async move {
        let server = Server::with(WebConfig { reached, ..WebConfig::default() });
        let mut named = Vec::new();
        for host in ["203.0.113.9:1985", "127.0.0.1:1985", "weir.invalid"] {
            let request = Request::post(WHEP).header("content-type", "application/sdp").header("host", host);
            let answer = server.ask(request.body(Body::from(OFFER)).unwrap()).await;
            assert_eq!(answer.status, 201, "{host}");
            let first = answer.text().lines().find_map(|line| line.strip_prefix("a=candidate:")).unwrap().to_owned();
            named.push(first.split(' ').nth(4).unwrap().to_owned());
        }
        named
    };
    let own = "127.0.0.1";
    assert_eq!(first_after(ReachedConfig { host: true, resolve: false }).await, ["203.0.113.9", own, own]);
    assert_eq!(first_after(ReachedConfig::default()).await, [own; 3]);
}

#[tokio::test]
async fn a_vhost_grants_nack_and_transport_feedback_or_not() {
    const FEEDBACK: &str = "a=rtcp-fb:106 nack pli\r\na=rtcp-fb:106 transport-cc\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let offer = OFFER.replace("a=rtcp-fb:106 nack pli", FEEDBACK);
    for (nack, transport_cc) in [(true, true), (false, true), (true, false)] {
        let terms = weir_rtc::sdp::Terms { nack, transport_cc, ..Default::default() };
        let vhosts = weir_source::PerVhost::all(VhostConfig { terms, ..VhostConfig::default() });
        let server = Server::with(WebConfig { vhosts, ..WebConfig::default() });
        for path in [WHIP, WHEP] {
            let answer = server.send(Method::POST, path, SDP, offer.clone()).await;
            let says = |end: &str| answer.text().lines().any(|line| line.starts_with("a=rtcp-fb:") && line.ends_with(end));
            assert_eq!((says(" nack"), says(" transport-cc")), (nack, transport_cc), "{path} {}", answer.text());
        }
        server.end_all();
    }
}

#[tokio::test]
async fn h04_h30_w02_the_answer_points_the_other_way_and_bundles() {
    let server = Server::new();
    for (path, direction) in [(WHIP, "a=recvonly"), (WHEP, "a=sendonly")] {
        let answer = server.send(Method::POST, path, SDP, OFFER).await;
        let count = |line: &str| answer.text().lines().filter(|found| *found == line).count();
        assert_eq!((count(direction), count("a=rtcp-mux"), count("a=ice-lite")), (2, 2, 1), "{}", answer.text());
        assert!(answer.text().contains("a=group:BUNDLE 0 1"));
        assert!(answer.text().matches("a=candidate:").count() >= 2, "in every media section");
    }
}

#[tokio::test]
async fn h05_w03_offers_that_point_the_wrong_way_are_400() {
    let server = Server::new();
    let cases = [
        (WHIP, "sendonly", 201),
        (WHIP, "recvonly", 400),
        (WHIP, "inactive", 400),
        (WHEP, "recvonly", 201),
        (WHEP, "sendonly", 400),
        (WHEP, "inactive", 400),
    ];
    for (path, direction, status) in cases {
        let answer = server.send(Method::POST, path, SDP, OFFER.replace("sendrecv", direction)).await;
        assert_eq!(answer.status, status, "{path} {direction}");
        server.end_all();
    }
}

#[tokio::test]
async fn h02_only_application_sdp_is_taken() {
    let server = Server::new();
    for kind in [None, Some("text/plain"), Some("application/json"), Some("application/sdpx"), Some("")] {
        let answer = server.send(Method::POST, WHIP, kind, OFFER).await;
        assert_problem(&answer, 415, "media-type");
        assert_eq!(answer.header("accept-post"), "application/sdp");
    }
    assert_eq!(server.sessions(), 0);
    for kind in ["application/sdp; charset=utf-8", "APPLICATION/SDP", "application/sdp"] {
        assert_eq!(server.send(Method::POST, WHEP, Some(kind), OFFER).await.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn h16_every_session_has_its_own_strong_tag() {
    let server = Server::new();
    let mut tags = std::collections::HashSet::new();
    for _ in 0..200 {
        let created = server.send(Method::POST, WHEP, SDP, OFFER).await;
        let tag = created.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2 && !tag.contains('*'), "{tag}");
        assert!(tags.insert(tag));
    }
}

#[tokio::test]
async fn a35_h44_session_urls_do_not_tell_and_are_never_reused() {
    let server = Server::new();
    let a = post(&server).await;
    server.end_all();
    let b = post(&server).await;
    assert_ne!(location(&a), location(&b));
    let id = location(&a).rsplit('/').next().unwrap().to_owned();
    assert!(id.len() >= 22 && !id.contains("live"), "{id}");
}

#[tokio::test]
async fn h48_created_names_the_patch_type() {
    assert_eq!(post(&Server::new()).await.header("accept-patch"), FRAGMENT);
}

#[tokio::test]
async fn the_pages_port_takes_offers_too() {
    let server = Server::new();
    let request = Request::post(WHIP).header("content-type", "application/sdp").body(Body::from(OFFER)).unwrap();
    assert_eq!(ask(&server.http, "192.0.2.3:5", request).await.status, 201);
    assert_eq!(server.client().info.ip.to_string(), "192.0.2.3");
}

#[tokio::test]
async fn h21_the_answer_has_all_candidates_and_comes_at_once() {
    let server = Server::new();
    let began = std::time::Instant::now();
    let answer = post(&server).await;
    // It asks nobody for its addresses: what it has, it knows since its start.
    assert!(began.elapsed().as_millis() < 300, "{:?}", began.elapsed());
    let own = server.rtc.handle().candidates()[0];
    for section in answer.text().split("\r\nm=").skip(1) {
        assert!(section.contains(&format!(" {} {} typ host", own.ip(), own.port())), "{section}");
        assert!(section.contains("a=end-of-candidates"));
    }
}

#[tokio::test]
async fn h33_an_active_offerer_is_answered_passive() {
    let server = Server::new();
    let answer = server.send(Method::POST, WHIP, SDP, OFFER.replace("a=setup:actpass", "a=setup:active")).await;
    assert_eq!((answer.status, answer.text().matches("a=setup:passive\r\n").count()), (201, 2));
}

#[tokio::test]
async fn h35_no_request_is_redirected() {
    let server = Server::new();
    for path in ENDPOINTS.iter().chain(&["/rtc/v1/publish", "/rtc/v1/publish/", "/rtc/v1/play", "/rtc/v1/play/"]) {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PATCH, Method::DELETE] {
            for router in [&server.api, &server.http] {
                let request = Request::builder().method(method.clone()).uri(format!("{path}?app=live&stream=x"));
                let request = request.header("content-type", "application/sdp").body(Body::from(OFFER)).unwrap();
                let status = ask(router, "127.0.0.1:1", request).await.status;
                assert!(!(300..400).contains(&status), "{method} {path} {status}");
                server.end_all();
            }
        }
    }
}

#[tokio::test]
async fn h37_ice_servers_are_linked_from_the_answer() {
    let login = |username: &str| IceLogin::Static { username: username.to_owned(), credential: weir_source::Secret::new("p1") };
    let server = told(WhipConfig {
        ice_servers: vec![
            IceServer { url: "stun:stun.example.net".to_owned(), login: IceLogin::None },
            IceServer { url: "turn:turn.example.net?transport=udp".to_owned(), login: login("u1") },
        ],
        ..WhipConfig::default()
    });
    for (path, offer, status) in
        [(WHIP, OFFER.to_owned(), 201), (WHEP, OFFER.to_owned(), 201), (WHEP, offer_without_pictures(), 406)]
    {
        let answer = server.send(Method::POST, path, SDP, offer).await;
        let links: Vec<_> = answer.headers.get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
        assert_eq!(answer.status, status);
        assert_eq!(
            links,
            [
                "<stun:stun.example.net>; rel=\"ice-server\"",
                "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"u1\"; credential=\"p1\"",
            ]
        );
    }
}

#[tokio::test]
async fn h42_w10_what_is_not_offered_is_not_advertised_and_nothing_is_required() {
    let server = Server::new();
    for path in [WHIP, WHEP] {
        // A bare client: no header but the type.
        let answer = server.send(Method::POST, path, SDP, OFFER).await;
        assert_eq!((answer.status, answer.header("link")), (201, ""), "no extension is offered yet");
    }
}
