//! What WHEP has besides.

use std::time::{Duration, SystemTime};

use super::*;

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

/// What a player that takes all of our `offer` answers.
fn answer_to(offer: &str) -> String {
    let digest = ["AB"; 32].join(":");
    let theirs =
        format!("a=ice-ufrag:theirs\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {digest}\r\na=setup:active\r\n");
    let ours = ["a=ssrc", "a=msid", "a=candidate", "a=end-of", "a=ice-", "a=fingerprint"];
    let kept = offer.lines().filter(|line| !ours.iter().any(|prefix| line.starts_with(prefix)));
    kept.map(|line| match line {
        "a=setup:actpass" => theirs.clone(),
        "a=sendonly" => "a=recvonly\r\n".to_owned(),
        line => format!("{line}\r\n"),
    })
    .collect()
}

#[tokio::test]
async fn w04_a_player_without_the_codec_is_made_an_offer() {
    let server = Server::new();
    let head = OFFER[..OFFER.find("m=audio").unwrap()].replace("a=group:BUNDLE 0 1\r\n", "");
    for offer in [offer_without_pictures(), head] {
        let refused = server.send(Method::POST, WHEP, SDP, offer.clone()).await;
        assert_eq!(refused.status, 406, "{}", refused.text());
        assert!(refused.header("content-type").starts_with("application/sdp"));
        assert_eq!(refused.text().matches("a=sendonly\r\n").count(), 2);
        assert!(refused.text().contains("a=setup:actpass\r\n") && refused.text().contains("a=candidate:"));
        let session = location(&refused);
        assert!(session.starts_with("/rtc/v1/whep/session/"), "{session}");
        assert_eq!(server.send(Method::GET, &session, None, "").await.header("etag"), refused.header("etag"));
        assert_eq!(server.send(Method::DELETE, &session, None, "").await.status, 200);
        // A publisher, and SRS's clients, cannot answer one.
        assert!(matches!(server.send(Method::POST, WHIP, SDP, offer).await.status, 400 | 422));
    }
    let json = serde_json::json!({"streamurl": "webrtc://h/live/s", "sdp": offer_without_pictures()}).to_string();
    let answer = server.send(Method::POST, "/rtc/v1/play/", Some("application/json"), json).await;
    assert_eq!(answer.json()["code"], 422);
    assert_eq!(server.sessions(), 0);
}

#[tokio::test]
async fn w05_our_offer_says_until_when_it_is_good_and_is_void_then() {
    let rtc = weir_rtc::RtcConfig { answer_within: Duration::from_millis(400), ..weir_rtc::RtcConfig::default() };
    let server = Server::built(WebConfig::default(), rtc);
    let usual = Server::new();
    let until = |answer: &Answer| {
        let kind = answer.header("content-type");
        let date = kind.split_once("; valid-until=\"").and_then(|(_, rest)| rest.strip_suffix('"')).expect(kind);
        httpdate::parse_http_date(date).expect(date)
    };
    let refused = usual.send(Method::POST, WHEP, SDP, offer_without_pictures()).await;
    let left = until(&refused).duration_since(SystemTime::now()).expect("it is to come");
    assert!((28..=30).contains(&left.as_secs()), "{left:?}");

    let refused = server.send(Method::POST, WHEP, SDP, offer_without_pictures()).await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    let late = patch(&server, &location(&refused), None, SDP, &answer_to(refused.text())).await;
    assert!(matches!(late.status, 404), "{}", late.status);
    assert_eq!((server.rtc.handle().stats().waiting, server.state.hub.clients().count()), (0, 0));
}

#[tokio::test]
async fn w06_the_answer_to_our_offer_is_204_once_and_a_malformed_one_4xx() {
    let server = Server::new();
    let refused = server.send(Method::POST, WHEP, SDP, offer_without_pictures()).await;
    let (session, answer) = (location(&refused), answer_to(refused.text()));
    assert_problem(&patch(&server, &session, None, SDP, "v=0").await, 400, "malformed");
    let sending = answer.replace("a=recvonly", "a=sendonly");
    assert_problem(&patch(&server, &session, None, SDP, &sending).await, 400, "malformed");
    assert_problem(&patch(&server, &session, None, SDP, &answer.replace(" 9 UDP", " 0 UDP")).await, 422, "unprocessable-offer");
    assert_problem(&patch(&server, &session, None, Some("text/plain"), &answer).await, 415, "media-type");
    // A player may send candidates before its answer.
    assert_eq!(patch(&server, &session, Some(refused.header("etag")), Some(FRAGMENT), CANDIDATES).await.status, 204);
    let taken = patch(&server, &session, None, SDP, &answer).await;
    assert_eq!((taken.status, taken.body.len()), (204, 0));
    assert_problem(&patch(&server, &session, None, SDP, &answer).await, 415, "media-type");
    let info = server.rtc.handle().list().remove(0);
    assert!(info.username.ends_with(":theirs") && !info.awaits_answer, "{}", info.username);
}

#[tokio::test]
async fn w07_a_viewer_without_a_publisher_is_held_or_sent_away_as_configured() {
    let held = Server::new();
    assert_eq!(held.send(Method::POST, WHEP, SDP, OFFER).await.status, 201);

    let server = told(WhipConfig { whep_wait: false, ..WhipConfig::default() });
    let refused = server.send(Method::POST, WHEP, SDP, OFFER).await;
    assert_problem(&refused, 409, "not-published");
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    let json = serde_json::json!({"streamurl": "webrtc://h/live/s", "sdp": OFFER}).to_string();
    let answer = server.send(Method::POST, "/rtc/v1/play/", Some("application/json"), json).await;
    assert_eq!(answer.json()["code"], 2048, "SRS's number for a stream that is not there");
    assert_eq!((server.sessions(), server.state.hub.clients().count()), (0, 0));
    assert_eq!(post(&server).await.status, 201);
    assert_eq!(server.send(Method::POST, WHEP, SDP, OFFER).await.status, 201, "now there is one");
}

#[tokio::test]
async fn w08_both_tracks_are_of_one_stream() {
    let server = Server::new();
    let answer = server.send(Method::POST, WHEP, SDP, OFFER).await;
    let ids: Vec<_> = answer.text().lines().filter_map(|line| line.strip_prefix("a=msid:")?.split(' ').next()).collect();
    assert_eq!(ids, ["live-s", "live-s"]);
    for kind in ["m=audio ", "m=video "] {
        assert_eq!(answer.text().matches(kind).count(), 1);
    }
}

#[tokio::test]
async fn w09_what_holds_for_whip_sessions_holds_for_players() {
    let server = Server::new();
    let created = server.send(Method::POST, WHEP, SDP, OFFER).await;
    let (session, tag) = (location(&created), created.header("etag").to_owned());
    assert_problem(&patch(&server, &session, None, Some(FRAGMENT), CANDIDATES).await, 428, "if-match-required");
    assert_problem(&patch(&server, &session, Some("\"x\""), Some(FRAGMENT), CANDIDATES).await, 412, "if-match-failed");
    assert_problem(&patch(&server, &session, Some(&tag), Some("text/plain"), CANDIDATES).await, 415, "media-type");
    assert_problem(&patch(&server, &session, Some(&tag), Some(FRAGMENT), "x").await, 400, "malformed");
    assert_eq!(patch(&server, &session, Some(&tag), Some(FRAGMENT), CANDIDATES).await.status, 204);
    let restart = "a=ice-ufrag:other\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
    let restarted = patch(&server, &session, Some("*"), Some(FRAGMENT), restart).await;
    assert_eq!((restarted.status, restarted.header("content-type")), (200, FRAGMENT));
    assert_ne!(restarted.header("etag"), tag);
    assert_problem(&patch(&server, &session, Some(&tag), Some(FRAGMENT), CANDIDATES).await, 412, "if-match-failed");
    assert_eq!(server.send(Method::DELETE, &session, None, "").await.status, 200);
    assert_problem(&server.send(Method::DELETE, &session, None, "").await, 404, "no-session");
    let full = Server::limited(WebConfig::default(), 0);
    let refused = full.send(Method::POST, WHEP, SDP, OFFER).await;
    assert_problem(&refused, 503, "too-many-sessions");
    assert_ne!(refused.header("retry-after"), "");
}
