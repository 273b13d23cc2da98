//! The resource of a session: GET, PATCH, DELETE.

use super::*;

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
async fn a36_h14_other_types_and_broken_fragments_are_refused() {
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
async fn h13_h25_a_restart_brings_new_credentials_and_a_new_tag() {
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
async fn a36_h17_h19_trickle_needs_the_right_tag() {
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

/// A fragment that restarts ICE.
fn restart(ufrag: &str) -> String {
    format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n")
}

#[tokio::test]
async fn h15_what_is_switched_off_is_422_and_both_off_405() {
    for (trickle, ice_restart, trickled, restarted) in
        [(true, false, 204, 422), (false, true, 422, 200), (false, false, 405, 405)]
    {
        let server = told(WhipConfig { trickle, ice_restart, ..WhipConfig::default() });
        let created = post(&server).await;
        let (session, tag) = (location(&created), created.header("etag"));
        for (body, status) in [(CANDIDATES.to_owned(), trickled), (restart("other"), restarted)] {
            let answer = patch(&server, &session, Some(tag), Some(FRAGMENT), &body).await;
            assert_eq!(answer.status, status, "{trickle} {ice_restart}: {}", answer.text());
            match status {
                422 => assert_problem(&answer, 422, "unprocessable-offer"),
                405 => assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS, DELETE"),
                _ => {}
            }
        }
        assert_eq!(server.send(Method::DELETE, &session, None, "").await.status, 200, "it lives on");
    }
}

#[tokio::test]
async fn a36_h18_another_tag_is_412_and_changes_nothing() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    let state = || server.rtc.handle().list().remove(0);
    let before = state();
    for body in [CANDIDATES.to_owned(), restart("other")] {
        assert_problem(&patch(&server, &session, Some("\"stale\""), Some(FRAGMENT), &body).await, 412, "if-match-failed");
    }
    assert_eq!((state().etag, state().username), (before.etag, before.username));
    assert_eq!(patch(&server, &session, Some(tag), Some(FRAGMENT), CANDIDATES).await.status, 204);
}

#[tokio::test]
async fn a09_h20_candidates_that_cannot_be_used_are_skipped_silently() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    for line in [
        "a=candidate:1 1 udp 2122260223 6f0a.local 61764 typ host",
        "a=candidate:2 1 udp 1 no.such.name.example 1 typ host",
        "a=candidate:3 1 sctp 1 192.0.2.1 9 typ host",
        "a=candidate:4 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "a=candidate:5 1 udp 1 999.0.0.1 99999 typ host",
        "a=candidate:garbage",
        "a=candidate:",
        "a=x-unknown:1",
        "a=end-of-candidates",
    ] {
        let body =
            format!("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n{line}\r\n");
        let answer = patch(&server, &session, Some(tag), Some(FRAGMENT), &body).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{line}");
    }
}

/// We learn a peer's addresses from its checks: what it lists is read and left.
#[tokio::test]
async fn a08_ten_thousand_candidates_are_refused_or_left_and_change_nothing() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    let head = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n";
    let lines = |count: usize| {
        let line = |n: usize| format!("a=candidate:{n} 1 udp {n} 192.0.2.{} {} typ host\r\n", n % 250, 1_024 + n);
        head.to_owned() + &(0..count).map(line).collect::<String>()
    };
    assert_problem(&patch(&server, &session, Some(tag), Some(FRAGMENT), &lines(10_000)).await, 413, "too-large");
    for _ in 0..20 {
        let answer = patch(&server, &session, Some(tag), Some(FRAGMENT), &lines(500)).await;
        assert!(matches!(answer.status, 204 | 400 | 413 | 429), "{}", answer.status);
    }
    let answer = patch(&server, &session, Some(tag), Some(FRAGMENT), CANDIDATES).await;
    assert!(matches!(answer.status, 204 | 429), "the same tag is still good: {}", answer.status);
    assert_eq!(server.sessions(), 1);
}

#[tokio::test]
async fn h23_twenty_patches_at_once_leave_the_session_whole() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag").to_owned());
    // Of the restarts that name a tag only one can be the next; those that name any all can.
    let ask = |n: usize| {
        let (api, session, tag) = (server.api.clone(), session.clone(), tag.clone());
        async move {
            let (if_match, body) = match n % 4 {
                0 => (tag, restart(&format!("named{n}"))),
                1 => ("*".to_owned(), restart(&format!("any{n}x"))),
                _ => (tag, CANDIDATES.to_owned()),
            };
            let request = Request::patch(session).header("if-match", if_match).header("content-type", FRAGMENT);
            (n % 4, ask(&api, "127.0.0.1:1", request.body(Body::from(body)).unwrap()).await)
        }
    };
    let tasks: Vec<_> = (0..20).map(|n| tokio::spawn(ask(n))).collect();
    let (mut named, mut tags) = (0, std::collections::HashSet::new());
    for task in tasks {
        let (kind, answer) = task.await.unwrap();
        match (kind, answer.status) {
            (0, 200) => named += 1,
            (1, 200) | (0, 412) | (2 | 3, 204 | 412) => {}
            (kind, status) => panic!("{kind}: {status} {}", answer.text()),
        }
        if answer.status == 200 {
            assert!(tags.insert(answer.header("etag").to_owned()), "each ICE session has its own tag");
        }
    }
    assert!(named <= 1 && (5..=6).contains(&tags.len()), "{named} {tags:?}");
    let last = server.send(Method::GET, &session, None, "").await.header("etag").to_owned();
    assert!(tags.contains(&last));
    assert_eq!(patch(&server, &session, Some(&last), Some(FRAGMENT), "a=end-of-candidates\r\n").await.status, 204);
    assert_eq!(patch(&server, &session, Some(&tag), Some(FRAGMENT), "a=end-of-candidates\r\n").await.status, 412);
}

#[tokio::test]
async fn h27_a_restart_says_the_same_of_ice_as_the_answer() {
    let server = Server::new();
    let created = post(&server).await;
    let answer = patch(&server, &location(&created), Some("*"), Some(FRAGMENT), &restart("other")).await;
    let general = |text: &str| {
        let lines =
            text.lines().filter(|line| ["a=ice-lite", "a=ice-options", "a=ice-pacing"].iter().any(|p| line.starts_with(p)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(general(answer.text()), general(created.text()));
    assert_eq!(general(answer.text()), ["a=ice-lite"]);
}

#[tokio::test]
async fn h28_a_restart_that_is_wrong_is_refused_and_changes_nothing() {
    let server = Server::new();
    let created = post(&server).await;
    let (session, tag) = (location(&created), created.header("etag"));
    let before = server.rtc.handle().list().remove(0).username;
    for body in [
        "a=ice-ufrag:other\r\na=ice-pwd:short\r\n".to_owned(),
        format!("a=ice-ufrag:other\r\na=ice-pwd:{}\r\n", "x".repeat(257)),
        "a=ice-ufrag:o\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n".to_owned(),
        "a=ice-ufrag:other\r\n".to_owned(),
        "a=ice-ufrag:ot er\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n".to_owned(),
    ] {
        assert_problem(&patch(&server, &session, Some("*"), Some(FRAGMENT), &body).await, 400, "malformed");
    }
    assert_eq!(server.rtc.handle().list().remove(0).username, before);
    assert_eq!(patch(&server, &session, Some(tag), Some(FRAGMENT), CANDIDATES).await.status, 204, "the tag is what it was");
}
