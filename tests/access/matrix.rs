//! Protocol by credential by direction.

use super::ask::{Place, SECRET, Show, Try, Way, Went, aiortc, keep_publishing, now};
use crate::support::Weir;

fn server() -> Weir {
    Weir::start_with(&format!("token {{ enabled on; publish on; play on; secret {SECRET}; }}"))
}

fn publisher_token(stream: &str) -> String {
    format!("?token={}", Show::Right.token(stream, true).expect("a token"))
}

/// Who is kept out gets the same answer whether the stream is there or not.
fn assert_kept_out(server: &Weir, way: Way, publish: bool, place: Place) {
    for show in Show::BAD {
        let try_on = |stream: &str| {
            let token = show.token(stream, publish);
            Try { server, way, publish, stream, token: token.as_deref(), place }.go()
        };
        let (there, absent) = (try_on("cam"), try_on("absent"));
        assert_eq!(there.status, show.status(), "{way:?} publish={publish} {show:?} {place:?}: {there:?}");
        assert_eq!(there, absent, "{way:?} publish={publish} {show:?} {place:?}");
        assert_eq!(there.challenge, show.status() == 401, "{way:?} {show:?}");
    }
}

fn assert_let_in(server: &Weir, way: Way, publish: bool, place: Place, stream: &str) -> Went {
    let token = Show::Right.token(stream, publish);
    let went = Try { server, way, publish, stream, token: token.as_deref(), place }.go();
    assert_eq!(went.status, 0, "{way:?} publish={publish} {place:?}: {went:?}\n{}", server.log());
    went
}

#[test]
fn players_get_in_with_the_right_token_only() {
    let server = server();
    let _publisher = keep_publishing(&server, "cam", &publisher_token("cam"));
    server.wait_for_publisher("cam");
    for way in [Way::Whep, Way::Json, Way::Flv, Way::Hls] {
        for place in [Place::Header, Place::Query] {
            assert_kept_out(&server, way, false, place);
            assert_let_in(&server, way, false, place, "cam");
        }
    }
    assert_kept_out(&server, Way::Rtmp, false, Place::Query);
    assert_let_in(&server, Way::Rtmp, false, Place::Query, "cam");
}

#[test]
fn publishers_get_in_with_the_right_token_only() {
    let server = server();
    let _publisher = keep_publishing(&server, "cam", &publisher_token("cam"));
    server.wait_for_publisher("cam");
    for (n, way) in [Way::Whip, Way::Json].into_iter().enumerate() {
        for place in [Place::Header, Place::Query] {
            assert_kept_out(&server, way, true, place);
            assert_let_in(&server, way, true, place, &format!("new-{n}-{place:?}"));
        }
    }
    assert_kept_out(&server, Way::Rtmp, true, Place::Query);
    assert_let_in(&server, Way::Rtmp, true, Place::Query, "new");
}

#[test]
fn only_who_may_publish_hears_that_the_stream_is_busy() {
    let server = server();
    let _publisher = keep_publishing(&server, "cam", &publisher_token("cam"));
    server.wait_for_publisher("cam");
    let token = Show::Right.token("cam", true);
    let ask = |way| Try { server: &server, way, publish: true, stream: "cam", token: token.as_deref(), place: Place::Query }.go();
    assert_eq!(ask(Way::Whip).status, 409);
    assert!(ask(Way::Rtmp).said.contains("StreamBusy"), "{:?}", ask(Way::Rtmp));
}

#[test]
fn a_real_publisher_shows_its_token_in_the_header() {
    let server = server();
    let token = Show::Right.token("cam", true).expect("a token");
    let said = aiortc("whip.py", &[&server.whip_url("cam"), "--seconds", "1", "--bearer", &token]);
    assert_eq!(
        (said["status"].as_u64(), said["connected"].as_bool(), said["deleted"].as_u64()),
        (Some(201), Some(true), Some(200))
    );
    let other = Show::OtherStream.token("cam", true).expect("a token");
    assert_eq!(aiortc("whip.py", &[&server.whip_url("cam"), "--bearer", &other])["status"], 403);
    assert_eq!(aiortc("whip.py", &[&server.whip_url("cam")])["status"], 401);
    assert!(!server.log().contains(&token));
}

#[test]
fn a_signed_url_is_made_with_openssl_alone() {
    let server = server();
    let expires = now() + 600;
    let recipe = format!("printf 'publish:/live/cam:{expires}' | openssl dgst -sha256 -hmac '{SECRET}' -r | cut -d' ' -f1");
    let made = std::process::Command::new("sh").args(["-c", &recipe]).output().expect("a shell");
    let sign = String::from_utf8(made.stdout).expect("hexadecimal digits").trim().to_owned();
    assert_eq!(sign.len(), 64, "openssl is there");
    let _publisher = keep_publishing(&server, "cam", &format!("?expires={expires}&sign={sign}"));
    server.wait_for_publisher("cam");
    assert!(!server.log().contains(&sign));
}
