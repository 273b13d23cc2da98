//! Pages of other origins.

use super::*;
use crate::{IceLogin, IceServer};

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
async fn h09_pages_may_read_the_headers_they_need_whatever_the_status() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag").to_owned());
    let full = Server::limited(WebConfig::default(), 0);
    let answers = [
        (server.send(Method::OPTIONS, WHIP, None, "").await, 200),
        (server.send(Method::GET, WHIP, None, "").await, 204),
        (server.send(Method::GET, WHEP, None, "").await, 200),
        (server.send(Method::GET, &session, None, "").await, 204),
        (patch(&server, &session, Some(&tag), Some(FRAGMENT), CANDIDATES).await, 204),
        (server.send(Method::POST, WHEP, SDP, "v=0").await, 400),
        (server.send(Method::GET, "/rtc/v1/none", None, "").await, 404),
        (server.send(Method::PUT, WHIP, None, "").await, 405),
        (server.send(Method::POST, WHEP, SDP, offer_without_pictures()).await, 406),
        (post(&server).await, 409),
        (server.send(Method::POST, WHIP, None, "").await, 415),
        (patch(&server, &session, None, Some(FRAGMENT), CANDIDATES).await, 428),
        (post(&full).await, 503),
        (created, 201),
    ];
    for (answer, status) in &answers {
        assert_eq!(answer.status, *status, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{status}");
        for name in ["Location", "ETag", "Link", "Retry-After", "Accept-Post"] {
            assert!(answer.header("access-control-expose-headers").contains(name), "{status} {name}");
        }
    }
}

#[tokio::test]
async fn h38_ice_servers_are_told_to_nobody_without_a_session() {
    let login = IceLogin::Static { username: "u1".to_owned(), credential: weir_source::Secret::new("p1") };
    let server = told(WhipConfig {
        ice_servers: vec![IceServer { url: "turn:turn.example.net".to_owned(), login }],
        ..WhipConfig::default()
    });
    for path in [WHIP, WHEP] {
        let preflight = Request::options(path).header("origin", "https://page.example");
        let preflight = preflight.header("access-control-request-method", "POST").body(Body::empty()).unwrap();
        assert_eq!(server.ask(preflight).await.header("link"), "", "the Fetch standard sends it without credentials");
        // A plain OPTIONS may have them, but nobody has asked yet who it is from.
        assert_eq!(server.send(Method::OPTIONS, path, None, "").await.header("link"), "");
        assert_eq!(server.send(Method::GET, path, None, "").await.header("link"), "");
    }
    assert_ne!(post(&server).await.header("link"), "");
}
