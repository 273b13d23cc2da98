//! Addresses, pages and rates.

use std::time::Duration;

use super::ask::{OFFER, Place, Try, Way, Went};
use crate::support::{Weir, process::Client, server::Extra};

fn ask(server: &Weir, way: Way, publish: bool, stream: &str) -> Went {
    Try { server, way, publish, stream, token: None, place: Place::Header }.go()
}

#[test]
fn security_keeps_publishers_out_by_every_protocol_and_lets_players_in() {
    let server = Weir::start_with("security { enabled on; deny publish all; }");
    for way in [Way::Whip, Way::Json, Way::Rtmp] {
        assert_eq!(ask(&server, way, true, "cam").status, 403, "{way:?}");
    }
    for way in [Way::Whep, Way::Json, Way::Flv] {
        assert_eq!(ask(&server, way, false, "cam").status, 0, "{way:?}");
    }
    assert_eq!(ask(&server, Way::Hls, false, "cam").status, 404, "there is no such stream, and that may be known");
}

#[test]
fn security_lets_in_whom_it_names() {
    let server = Weir::start_with("security { enabled on; allow publish 127.0.0.0/8; allow play 192.0.2.0/24; }");
    assert_eq!(ask(&server, Way::Rtmp, true, "cam").status, 0);
    assert_eq!(ask(&server, Way::Whip, true, "cam2").status, 0);
    for way in [Way::Whep, Way::Json, Way::Flv, Way::Hls, Way::Rtmp] {
        assert_eq!(ask(&server, way, false, "cam").status, 403, "{way:?}");
    }
}

#[test]
fn refer_looks_at_the_page() {
    let server = Weir::start_with("refer { enabled on; publish studio.example.com; play example.com; }");
    let status = |page: Option<&str>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let request = reqwest::Client::new().get(server.http_url("cam.flv"));
            let request = page.into_iter().fold(request, |request, page| request.header("referer", page));
            request.send().await.expect("an answer").status().as_u16()
        })
    };
    assert_eq!(status(Some("https://www.example.com/watch?v=1")), 200);
    for page in [None, Some("https://notexample.com/"), Some("https://example.com.evil.example/")] {
        assert_eq!(status(page), 403, "{page:?}");
    }
    // FFmpeg tells its page as a player only: as a publisher it comes from none.
    let url = server.rtmp_url("cam");
    let input = ["-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10", "-t", "0.5", "-c:v", "libx264"];
    let publish = [&input[..], &["-f", "flv", &url]].concat();
    let play = ["-rtmp_pageurl", "http://studio.example.org/go", "-i", &url, "-f", "null", "-"];
    for (name, args) in [("publisher", &publish[..]), ("player", &play)] {
        let refused = Client::ffmpeg(name, args).finish(Duration::from_secs(30));
        assert!(refused.stderr.contains("not allowed"), "{name}: {}", refused.stderr);
    }
}

#[test]
fn h45_one_address_may_begin_forty_sessions_at_once() {
    let global = "limits { per_second 1; burst 40; exempt_loopback off; }";
    let server = Weir::start_configured(&Extra { global, ..Extra::default() });
    let statuses = |path: &'static str, count: usize| -> Vec<(u16, Option<String>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = reqwest::Client::new();
            let mut all = Vec::new();
            for n in 0..count {
                let url = format!("http://{}{path}{n}", server.api);
                let request = client.post(url).header("content-type", "application/sdp").body(OFFER);
                let answer = request.send().await.expect("an answer");
                let retry = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
                all.push((answer.status().as_u16(), retry));
            }
            all
        })
    };
    let all = statuses("/rtc/v1/whep/?app=live&stream=s", 60);
    let refused: Vec<_> = all.iter().filter(|(status, _)| *status == 429).collect();
    assert!((10..=20).contains(&refused.len()), "{all:?}");
    assert!(refused.iter().all(|(_, retry)| retry.is_some()), "each says when to ask again");
    assert_eq!(ask(&server, Way::Flv, false, "s").status, 429);
}

#[test]
fn loopback_has_no_limit_by_default() {
    let server = Weir::start();
    for n in 0..100 {
        assert_eq!(ask(&server, Way::Flv, false, &format!("s{n}")).status, 0);
    }
}
