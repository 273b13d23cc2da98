//! The rows of WHIP (H) and WHEP (W) that need no media, against a real WebRTC server.

use axum::{
    body::Body,
    http::{Method, Request},
};

use weir_source::{Hub, StreamKey};

use crate::{
    WebConfig,
    testing::{Answer, OFFER, Server, ask},
};

const ENDPOINTS: [&str; 6] =
    ["/rtc/v1/whip/", "/rtc/v1/whip", "/rtc/v1/whep/", "/rtc/v1/whep", "/rtc/v1/whip-play/", "/rtc/v1/whip-play"];
const WHIP: &str = "/rtc/v1/whip/?app=live&stream=s";
const WHEP: &str = "/rtc/v1/whep/?app=live&stream=s";
const SDP: Option<&str> = Some("application/sdp");
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const CANDIDATES: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
    a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\na=candidate:2 1 udp 1 x.local 1 typ host\r\n\
    a=candidate:3 1 tcp 1 ::1 9 typ host tcptype active\r\na=candidate:garbage\r\na=end-of-candidates\r\n";

async fn post(server: &Server) -> Answer {
    server.send(Method::POST, WHIP, SDP, OFFER).await
}

/// The path of a session's URL, without its query.
fn location(answer: &Answer) -> String {
    answer.header("location").split('?').next().unwrap().to_owned()
}

async fn patch(server: &Server, url: &str, if_match: Option<&str>, kind: Option<&str>, body: &str) -> Answer {
    let mut request = Request::patch(url);
    if let Some(tag) = if_match {
        request = request.header("if-match", tag);
    }
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    server.ask(request.body(Body::from(body.to_owned())).unwrap()).await
}

/// H09, H49: every refusal is readable from any origin and says why in the same form.
fn assert_problem(answer: &Answer, status: u16, slug: &str) {
    assert_eq!(answer.status, status, "{:?}", answer.body);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-expose-headers").contains("Retry-After"));
    let json = answer.json();
    assert_eq!(json["type"], format!("urn:weir:problem:{slug}"));
    assert_eq!(json["status"], status);
    for field in ["title", "detail"] {
        assert!(!json[field].as_str().unwrap().is_empty(), "{field}");
    }
    assert!(json["code"].is_number());
}

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
        for path in [WHIP, WHEP] {
            let answer = server.send(Method::POST, path, SDP, offer.clone()).await;
            assert!(matches!(answer.status, 400 | 422), "{what}: {} {}", answer.status, answer.text());
            assert_problem(&answer, answer.status, answer.json()["type"].as_str().unwrap().rsplit(':').next().unwrap());
        }
    }
    assert_eq!((server.sessions(), server.state.hub.list().len()), (0, 0));
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
async fn h03_malformed_offers_are_400_and_leave_nothing() {
    let server = Server::new();
    let bodies = ["v=0", "", "\u{1}\u{2}", "v=0\r\n\0m=audio 9 x 1\r\n"];
    for body in bodies {
        assert_problem(&server.send(Method::POST, WHIP, SDP, body).await, 400, "malformed");
    }
    assert_problem(&server.send(Method::POST, WHIP, SDP, vec![0xff, 0xfe, 0x00]).await, 400, "malformed");
    assert_eq!(server.sessions(), 0);
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
async fn h06_get_is_2xx_without_content_on_endpoint_and_session() {
    let server = Server::new();
    let session = location(&post(&server).await);
    for path in ["/rtc/v1/whip/", "/rtc/v1/whip", &session] {
        let answer = server.send(Method::GET, path, None, "").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
    }
}

#[tokio::test]
async fn w01_head_on_a_whep_endpoint_names_the_type_as_get_does() {
    let server = Server::new();
    for path in ["/rtc/v1/whep/", "/rtc/v1/whep", "/rtc/v1/whip-play/"] {
        let head = server.send(Method::HEAD, path, None, "").await;
        let get = server.send(Method::GET, path, None, "").await;
        assert_eq!((head.status, head.header("content-type")), (200, "application/sdp"));
        assert_eq!((get.status, get.body.len()), (200, 0));
        assert_eq!(head.headers, get.headers);
    }
}

#[tokio::test]
async fn h07_h08_h40_options_answer_preflights_without_credentials() {
    let server = Server::new();
    let session = location(&post(&server).await);
    for path in ENDPOINTS.iter().copied().chain([session.as_str(), "/rtc/v1/publish/", "/rtc/v1/play"]) {
        let request = Request::options(path)
            .header("origin", "https://page.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,if-match");
        let answer = server.ask(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        for name in ["Authorization", "Content-Type", "If-Match"] {
            assert!(answer.header("access-control-allow-headers").contains(name), "{path} {name}");
        }
        if path.contains("/wh") {
            for method in ["POST", "PATCH", "DELETE", "OPTIONS"] {
                assert!(answer.header("access-control-allow-methods").contains(method), "{path} {method}");
            }
        }
    }
    for path in ENDPOINTS {
        assert_eq!(server.send(Method::OPTIONS, path, None, "").await.header("accept-post"), "application/sdp");
    }
}

#[tokio::test]
async fn h09_pages_may_read_the_headers_they_need() {
    let server = Server::new();
    let exposed = post(&server).await.header("access-control-expose-headers").to_owned();
    for name in ["Location", "ETag", "Link", "Retry-After", "Accept-Post"] {
        assert!(exposed.contains(name), "{name}");
    }
}

#[tokio::test]
async fn h10_h11_delete_ends_a_session_once_whatever_if_match_says() {
    let server = Server::new();
    let session = location(&post(&server).await);
    let stale = Request::delete(&session).header("if-match", "\"other\"").body(Body::empty()).unwrap();
    assert_eq!(server.ask(stale).await.status, 200);
    assert_eq!(server.sessions(), 0);
    assert_problem(&server.send(Method::DELETE, &session, None, "").await, 404, "no-session");
    assert_problem(&patch(&server, &session, Some("*"), Some(FRAGMENT), CANDIDATES).await, 404, "no-session");
    assert_problem(&server.send(Method::GET, &session, None, "").await, 404, "no-session");
}

#[tokio::test]
async fn srs_clients_may_delete_by_token() {
    let server = Server::new();
    let session = location(&post(&server).await);
    let token = session.rsplit('/').next().unwrap();
    let url = format!("/rtc/v1/whip/?action=delete&token={token}&app=live&stream=s&session=abcdefgh:EsAw");
    assert_eq!(server.send(Method::DELETE, &url, None, "").await.status, 200);
    assert_eq!(server.sessions(), 0);
    assert_eq!(server.send(Method::DELETE, &url, None, "").await.status, 200, "SRS: also when it is gone");
    for bad in ["/rtc/v1/whip/", "/rtc/v1/whip/?token=", "/rtc/v1/whip/?action=publish&token=x"] {
        assert_problem(&server.send(Method::DELETE, bad, None, "").await, 400, "bad-query");
    }
}

#[tokio::test]
async fn h14_other_types_and_broken_fragments_are_refused() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    for kind in [None, Some("application/sdp"), Some("application/json")] {
        let answer = patch(&server, &session, Some(tag), kind, CANDIDATES).await;
        assert_problem(&answer, 415, "media-type");
        assert_eq!(answer.header("accept-patch"), FRAGMENT);
    }
    for broken in ["", "nonsense", "a=ice-ufrag:EsAw\r\n"] {
        assert_problem(&patch(&server, &session, Some(tag), Some(FRAGMENT), broken).await, 400, "malformed");
    }
    assert_eq!(patch(&server, &session, Some(tag), Some(FRAGMENT), CANDIDATES).await.status, 204, "still there");
}

#[tokio::test]
async fn h15_h28_a_restart_brings_new_credentials_and_a_new_tag() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, mut tag) = (location(&created), created.header("etag").to_owned());
    let restart = |ufrag: &str| format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n");
    let line = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    let mut ufrags = vec![line(created.text(), "a=ice-ufrag:")];
    // RFC 9725 section 4.3.3 wants an asterisk; a tag that is right does no harm.
    for (client, if_match) in [("one1", "*"), ("two2", "tag"), ("tri3", "\"*\""), ("for4", "*")] {
        let if_match = if if_match == "tag" { tag.clone() } else { if_match.to_owned() };
        let wrong = patch(&server, &session, Some("\"other\""), Some(FRAGMENT), &restart(client)).await;
        assert_problem(&wrong, 412, "if-match-failed");
        let answer = patch(&server, &session, Some(&if_match), Some(FRAGMENT), &restart(client)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, FRAGMENT));
        assert_ne!(answer.header("etag"), tag);
        tag = answer.header("etag").to_owned();
        assert!(answer.text().contains("a=ice-lite\r\n") && answer.text().contains("a=group:BUNDLE 0 1\r\n"));
        assert!(answer.text().contains("a=mid:0\r\n") && answer.text().contains("a=candidate:"));
        assert!(line(answer.text(), "a=ice-pwd:").len() >= 22);
        let ufrag = line(answer.text(), "a=ice-ufrag:");
        assert!(!ufrags.contains(&ufrag), "new each time");
        ufrags.push(ufrag);
        // Trickle goes on under the new names only.
        let trickle = format!("{}a=end-of-candidates\r\n", restart(client));
        assert_problem(
            &patch(&server, &session, Some(created.header("etag")), Some(FRAGMENT), &trickle).await,
            412,
            "if-match-failed",
        );
        assert_eq!(patch(&server, &session, Some(&tag), Some(FRAGMENT), &trickle).await.status, 204);
        assert_eq!(server.send(Method::GET, &session, None, "").await.header("etag"), tag);
    }
    assert_eq!(server.sessions(), 1);
    assert_eq!(server.send(Method::DELETE, &session, None, "").await.status, 200);
    assert_problem(&patch(&server, &session, Some("*"), Some(FRAGMENT), &restart("gone")).await, 404, "no-session");
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
async fn h17_h18_h19_trickle_needs_the_right_tag() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    assert_problem(&patch(&server, &session, None, Some(FRAGMENT), CANDIDATES).await, 428, "if-match-required");
    for other in ["\"other\"", tag.trim_matches('"'), &format!("W/{tag}"), ""] {
        assert_problem(&patch(&server, &session, Some(other), Some(FRAGMENT), CANDIDATES).await, 412, "if-match-failed");
    }
    for right in [tag, "*", &format!("\"x\", {tag}")] {
        let answer = patch(&server, &session, Some(right), Some(FRAGMENT), CANDIDATES).await;
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (204, 0, ""));
    }
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
async fn h44_session_urls_do_not_tell_and_are_never_reused() {
    let server = Server::new();
    let a = post(&server).await;
    server.end_all();
    let b = post(&server).await;
    assert_ne!(location(&a), location(&b));
    let id = location(&a).rsplit('/').next().unwrap().to_owned();
    assert!(id.len() >= 22 && !id.contains("live"), "{id}");
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
async fn h48_created_names_the_patch_type() {
    assert_eq!(post(&Server::new()).await.header("accept-patch"), FRAGMENT);
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
async fn the_pages_port_takes_offers_too() {
    let server = Server::new();
    let request = Request::post(WHIP).header("content-type", "application/sdp").body(Body::from(OFFER)).unwrap();
    assert_eq!(ask(&server.http, "192.0.2.3:5", request).await.status, 201);
    assert_eq!(server.client().info.ip.to_string(), "192.0.2.3");
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
