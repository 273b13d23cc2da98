//! Tokens are in no log, list or metric (A67).

use std::time::Duration;

use super::ask::{Place, SECRET, Show, Try, Way, keep_publishing};
use crate::support::{
    Weir, eventually,
    server::{Extra, http_get},
};

#[test]
fn a67_no_token_is_in_any_log_or_list() {
    let vhost = format!("token {{ enabled on; publish on; play on; secret {SECRET}; }}");
    let server = Weir::start_configured(&Extra { vhost: &vhost, log: Some("trace"), ..Extra::default() });
    let mut secrets = vec![SECRET.to_owned()];
    let mut token = |show: Show, stream: &str, publish: bool| {
        let token = show.token(stream, publish).expect("a token");
        // The parts alone would do harm too.
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
        token
    };
    let publisher = token(Show::Right, "cam", true);
    let publisher = keep_publishing(&server, "cam", &format!("?token={publisher}"));
    server.wait_for_publisher("cam");
    for show in [Show::Right, Show::Wrong, Show::Expired, Show::OtherStream] {
        for way in [Way::Rtmp, Way::Whep, Way::Json, Way::Flv, Way::Hls] {
            let token = token(show, "cam", false);
            Try { server: &server, way, publish: false, stream: "cam", token: Some(&token), place: Place::Query }.go();
        }
        let token = token(show, "cam", true);
        for way in [Way::Rtmp, Way::Whip, Way::Json] {
            Try { server: &server, way, publish: true, stream: "cam", token: Some(&token), place: Place::Query }.go();
        }
    }
    let lists: String = ["/api/v1/clients/?count=1000", "/api/v1/streams/", "/api/v1/summaries", "/api/v1/vhosts/"]
        .iter()
        .filter_map(|path| server.try_get(path))
        .map(|list| list.to_string())
        .collect();
    assert!(lists.contains("/live/cam") || lists.contains("cam"), "{lists}");
    let metrics = http_get(server.api, "/metrics").map(|(_, body)| body).unwrap_or_default();
    drop(publisher);
    eventually("the publisher has gone", Duration::from_secs(10), || server.log().contains("publishing ended").then_some(()));
    for (where_, text) in [("log", server.log()), ("lists", lists), ("metrics", metrics)] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} is in the {where_}");
        }
    }
}
