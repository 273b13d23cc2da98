//! What is refused, and how the answer says so.

use std::time::{Duration, Instant};

use weir_source::{Hub, StreamKey};

use super::*;

#[tokio::test]
async fn a32_h03_malformed_offers_are_400_and_leave_nothing() {
    let server = Server::new();
    let bodies = ["v=0", "", "\u{1}\u{2}", "v=0\r\n\0m=audio 9 x 1\r\n"];
    for body in bodies {
        assert_problem(&server.send(Method::POST, WHIP, SDP, body).await, 400, "malformed");
    }
    assert_problem(&server.send(Method::POST, WHIP, SDP, vec![0xff, 0xfe, 0x00]).await, 400, "malformed");
    assert_eq!(server.sessions(), 0);
}

/// Each track in a MediaStream of its own.
fn two_streams() -> String {
    let with = |text: String, mid: u8| {
        text.replace(&format!("a=mid:{mid}\r\n"), &format!("a=mid:{mid}\r\na=msid:stream{mid} track\r\n"))
    };
    with(with(OFFER.to_owned(), 0), 1)
}

#[tokio::test]
async fn a33_h31_h32_half_usable_offers_are_refused_whole() {
    let server = Server::new();
    let video = &OFFER[OFFER.find("m=video").unwrap()..];
    let second = video.replace("a=mid:1", "a=mid:2");
    let cases = [
        ("no BUNDLE", OFFER.replace("a=group:BUNDLE 0 1\r\n", "")),
        ("no fingerprint", OFFER.lines().filter(|line| !line.starts_with("a=fingerprint")).collect::<Vec<_>>().join("\r\n")),
        ("no ufrag", OFFER.replace("a=ice-ufrag:EsAw\r\n", "")),
        ("no rtcp-mux", OFFER.replace("a=rtcp-mux\r\n", "")),
        ("no common codec", OFFER.replace("H264/90000", "H261/90000")),
        ("two videos", format!("{}{second}", OFFER.replace("BUNDLE 0 1", "BUNDLE 0 1 2"))),
        ("no media", OFFER[..OFFER.find("m=audio").unwrap()].to_owned()),
        ("bad payload type", OFFER.replace("106", "206")),
    ];
    for (what, offer) in cases {
        // To a player without our codecs we make an offer (W04).
        let countered = matches!(what, "no common codec" | "no media");
        for path in [WHIP, WHEP].iter().take(if countered { 1 } else { 2 }) {
            let answer = server.send(Method::POST, path, SDP, offer.clone()).await;
            assert!(matches!(answer.status, 400 | 422), "{what}: {} {}", answer.status, answer.text());
            assert_problem(&answer, answer.status, answer.json()["type"].as_str().unwrap().rsplit(':').next().unwrap());
        }
    }
    assert_problem(&server.send(Method::POST, WHIP, SDP, two_streams()).await, 422, "unprocessable-offer");
    assert_eq!((server.sessions(), server.state.hub.list().len()), (0, 0));
}

#[tokio::test]
async fn a31_a_body_over_64_kib_is_413_before_it_is_looked_at() {
    let server = Server::new();
    let offer = |len: usize| format!("{OFFER}{}", "a".repeat(len - OFFER.len()));
    for len in [65_537, 10 << 20] {
        assert_problem(&server.send(Method::POST, WHIP, SDP, offer(len)).await, 413, "too-large");
        let chunks = futures_util::stream::iter(offer(len).into_bytes().chunks(8_192).map(<[u8]>::to_vec).collect::<Vec<_>>());
        let chunked = Body::from_stream(futures_util::StreamExt::map(chunks, Ok::<_, std::io::Error>));
        assert_problem(&server.send(Method::POST, WHIP, SDP, chunked).await, 413, "too-large");
    }
    let declared = Request::post(WHIP).header("content-type", "application/sdp").header("content-length", "65537");
    assert_problem(&server.ask(declared.body(Body::from("v=0")).unwrap()).await, 413, "too-large");
    let packed = Request::post(WHIP).header("content-type", "application/sdp").header("content-encoding", "gzip");
    assert_problem(&server.ask(packed.body(Body::from(OFFER)).unwrap()).await, 415, "media-type");
    assert_eq!(server.sessions(), 0);
    let largest = server.send(Method::POST, WHIP, SDP, offer(65_536)).await;
    assert_ne!(largest.status, 413, "the limit is 64 KiB");
}

#[tokio::test]
async fn a42_a_body_that_does_not_come_is_given_up() {
    let config = WebConfig { body_timeout: std::time::Duration::from_millis(10), ..WebConfig::default() };
    let server = Server::with(config);
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_problem(&server.send(Method::POST, WHIP, SDP, never).await, 408, "too-slow");
}

#[tokio::test]
async fn h36_h47_refusals_say_when_to_come_back() {
    let server = Server::new();
    assert_eq!(post(&server).await.status, 201);
    let busy = post(&server).await;
    assert_problem(&busy, 409, "stream-busy");
    let full = Server::limited(WebConfig::default(), 1);
    assert_eq!(post(&full).await.status, 201);
    let too_many = full.send(Method::POST, WHEP, SDP, OFFER).await;
    assert_problem(&too_many, 503, "too-many-sessions");
    server.rtc.shutdown();
    let going = server.send(Method::POST, WHEP, SDP, OFFER).await;
    assert_problem(&going, 503, "shutting-down");
    for answer in [busy, too_many, going] {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
    }
}

#[tokio::test]
async fn h46_a_deleted_publishers_name_is_free_at_once() {
    let server = Server::new();
    for _ in 0..20 {
        let session = location(&post(&server).await);
        assert_eq!(server.send(Method::DELETE, &session, None, "").await.status, 200);
    }
    let hub: &Hub = &server.state.hub;
    assert!(hub.get(&StreamKey::new("live", "s").unwrap()).is_none() && hub.clients().count() == 0);
}

#[tokio::test]
async fn h47_other_methods_are_405_with_allow() {
    let server = Server::new();
    let session = location(&post(&server).await);
    for (method, path) in [(Method::PUT, WHIP), (Method::PATCH, WHIP), (Method::POST, &session), (Method::GET, "/rtc/v1/play/")] {
        let answer = server.send(method.clone(), path, None, "").await;
        assert_problem(&answer, 405, "method");
        assert!(answer.header("allow").contains("OPTIONS"), "{method} {path} {}", answer.header("allow"));
    }
    assert_problem(&server.send(Method::GET, "/rtc/v1/none", None, "").await, 404, "not-found");
    assert_problem(&server.send(Method::GET, "/rtc/v1/whip/session/none", None, "").await, 404, "no-session");
}

#[tokio::test]
async fn a59_names_outside_the_alphabet_are_400() {
    let server = Server::new();
    let long = "a".repeat(65);
    let bad = ["..", ".", "a%2fb", "%2e%2e", "a%00b", "a%0ab", "a%1bb", "%E2%80%AE", "%ff", "a%20b", "", "a%252e", &long];
    for name in bad {
        for path in [format!("{}?app=live&stream={name}", ENDPOINTS[0]), format!("{}?app={name}&stream=s", ENDPOINTS[2])] {
            assert_problem(&server.send(Method::POST, &path, SDP, OFFER).await, 400, "bad-name");
        }
    }
    let many: String = (0..100).map(|n| format!("&p{n}=v")).collect();
    assert_eq!(server.send(Method::POST, &format!("{WHIP}{many}"), SDP, OFFER).await.status, 201);
    assert_eq!(server.sessions(), 1);
}

#[tokio::test]
async fn a_server_without_webrtc_or_hls_says_so() {
    let mut server = Server::new();
    (server.state.rtc, server.state.hls) = (None, None);
    let (api, http) = (crate::api_router(server.state.clone()), crate::http_router(server.state.clone()));
    let request = Request::post(WHIP).header("content-type", "application/sdp").body(Body::from(OFFER)).unwrap();
    assert_problem(&ask(&api, "127.0.0.1:1", request).await, 404, "not-found");
    let request = Request::get("/live/s.m3u8").body(Body::empty()).unwrap();
    assert_problem(&ask(&http, "127.0.0.1:1", request).await, 404, "not-found");
}

#[tokio::test]
async fn a34_h46_a_thousand_sessions_that_never_start_are_freed_with_their_names() {
    let rtc =
        weir_rtc::RtcConfig { unheard_max: Duration::from_millis(1_500), waiting_max: 2_000, ..weir_rtc::RtcConfig::default() };
    let server = Server::built(WebConfig::default(), rtc);
    for n in 0..1_000 {
        let answer = server.send(Method::POST, &format!("/rtc/v1/whip/?stream=s{n}"), SDP, OFFER).await;
        assert!(matches!(answer.status, 201 | 503), "{n}: {}", answer.status);
    }
    let limit = Instant::now() + Duration::from_secs(8);
    while server.rtc.handle().stats().waiting > 0 {
        assert!(Instant::now() < limit, "{:?}", server.rtc.handle().stats());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let hub: &Hub = &server.state.hub;
    assert_eq!((server.sessions(), hub.list().len(), hub.clients().count()), (0, 0, 0));
    assert_eq!(server.send(Method::POST, "/rtc/v1/whip/?stream=s0", SDP, OFFER).await.status, 201, "the name is free");
}

#[tokio::test]
async fn h49_each_refusal_is_a_problem_with_a_type_of_its_own() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag").to_owned());
    let large = "x".repeat(70_000);
    let restart = "a=ice-ufrag:other\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
    let no_codec = offer_without_pictures();
    let refused = [
        (server.send(Method::POST, "/rtc/v1/whip/?stream=t", SDP, "v=0").await, 400, "malformed"),
        (server.send(Method::POST, "/rtc/v1/whip/?stream=..", SDP, OFFER).await, 400, "bad-name"),
        (server.send(Method::POST, "/rtc/v1/whip/?eip=x", SDP, OFFER).await, 400, "bad-query"),
        (server.send(Method::GET, "/rtc/v1/whip/session/none", None, "").await, 404, "no-session"),
        (server.send(Method::GET, "/rtc/v1/none", None, "").await, 404, "not-found"),
        (server.send(Method::PUT, WHIP, SDP, OFFER).await, 405, "method"),
        (post(&server).await, 409, "stream-busy"),
        (patch(&server, &session, Some("\"x\""), Some(FRAGMENT), restart).await, 412, "if-match-failed"),
        (server.send(Method::POST, WHIP, SDP, large).await, 413, "too-large"),
        (server.send(Method::POST, WHIP, None, OFFER).await, 415, "media-type"),
        (server.send(Method::POST, "/rtc/v1/whip/?stream=t", SDP, no_codec).await, 422, "unprocessable-offer"),
        (patch(&server, &session, None, Some(FRAGMENT), restart).await, 428, "if-match-required"),
    ];
    for (answer, status, slug) in &refused {
        assert_problem(answer, *status, slug);
        let json = answer.json();
        // RFC 9457 section 3.1: these members, of these types; `code` is our extension.
        let members: Vec<_> = json.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.is_string())).collect();
        let expected = [("code", false), ("detail", true), ("status", false), ("title", true), ("type", true)];
        assert_eq!(members, expected, "{slug}");
        assert_eq!(answer.header("cache-control"), "no-store", "{slug}");
    }
    assert_eq!(server.send(Method::GET, &session, None, "").await.header("etag"), tag);
}
