//! The rows of WHIP (H) and WHEP (W), each a test that is named by its id, against a real WebRTC server.
//!
//! Those that need media or time are where these are: `h10`, `h28`, `w04` to `w06` and `h46` in
//! `rtc/tests/loopback`, `h12` and `h29` in `rtc/src/ice` and `rtc/tests/link`, `h24` in `tests/e2e`, `h41` in
//! `rtc/src/sdp` and `tests/e2e/simulcast.rs`, `h44` in `rtc/src/names.rs`. `tests/tidy.rs` counts them.

mod access;
mod cors;
mod offer;
mod refusals;
mod session;
mod whep;

use axum::{
    body::Body,
    http::{Method, Request},
};

use crate::{
    VhostConfig, WebConfig, WhipConfig,
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

/// A server whose vhosts are all told this.
fn told(whip: WhipConfig) -> Server {
    let vhosts = weir_source::PerVhost::all(VhostConfig { whip, ..VhostConfig::default() });
    Server::with(WebConfig { vhosts, ..WebConfig::default() })
}

/// An offer without the codec of any picture that we know.
fn offer_without_pictures() -> String {
    OFFER.replace("H264/90000", "H261/90000")
}
