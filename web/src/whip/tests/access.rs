//! Who is let in: what a gatekeeper denies, and how the answer says so.

use std::{sync::Arc, time::Duration};

use weir_source::{ClientInfo, Denied, Gatekeeper, Traffic, Verdict, Visit};

use super::*;

/// Lets in who shows `right`, if it is for the stream `s`, and nobody into `crowded`.
struct Door;

impl Gatekeeper for Door {
    fn admit(&self, visit: Visit) -> Verdict {
        let stream = visit.info.key.stream();
        let verdict = match visit.bearer.as_ref().map(weir_source::Secret::expose) {
            _ if stream == "crowded" => Err(Denied::TooMany { retry_after: Duration::from_secs(7) }),
            _ if stream == "unknown" => Err(Denied::Unavailable("the callback server does not answer".to_owned())),
            Some("right") if stream == "s" => Ok(()),
            Some("right") => Err(Denied::Forbidden("the token is for another stream".to_owned())),
            _ => Err(Denied::Unauthorized),
        };
        Box::pin(std::future::ready(verdict))
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {}
}

async fn post_with(server: &Server, stream: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::post(format!("/rtc/v1/whip/?stream={stream}")).header("content-type", "application/sdp");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    server.ask(request.body(Body::from(OFFER)).unwrap()).await
}

#[tokio::test]
async fn h39_h45_who_is_denied_learns_why_and_leaves_nothing() {
    let server = Server::new();
    server.state.hub.set_gatekeeper(Arc::new(Door));
    for wrong in [None, Some("Bearer wrong"), Some("Basic cmlnaHQ="), Some("Bearer"), Some("right")] {
        let answer = post_with(&server, "s", wrong).await;
        assert_problem(&answer, 401, "unauthorized");
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{wrong:?}");
    }
    assert_problem(&post_with(&server, "other", Some("Bearer right")).await, 403, "forbidden");
    let crowded = post_with(&server, "crowded", Some("Bearer right")).await;
    assert_problem(&crowded, 429, "too-many-requests");
    assert!(crowded.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 7));
    let undecided = post_with(&server, "unknown", Some("Bearer right")).await;
    assert_problem(&undecided, 503, "undecided");
    assert_eq!((server.sessions(), server.state.hub.list().len(), server.state.hub.clients().count()), (0, 0, 0));
    assert_eq!(post_with(&server, "s", Some("bearer right")).await.status, 201, "the scheme is in any case");
}

#[tokio::test]
async fn h40_preflights_and_looks_need_no_credentials() {
    let server = Server::new();
    server.state.hub.set_gatekeeper(Arc::new(Door));
    for path in ENDPOINTS {
        assert_eq!(server.send(Method::OPTIONS, path, None, "").await.status, 200);
        assert!(matches!(server.send(Method::GET, path, None, "").await.status, 200 | 204));
    }
}
