//! WebRTC where UDP is blocked: browsers publish and play over TCP (RFC 6544).

use crate::media::{
    client::chromium_plays,
    publisher::{Kind, Publisher},
    report::{Expected, OFFSET_MS_MAX, judge_all},
    server::Server,
    turn,
};

const SECONDS: u32 = 12;

async fn chromium_plays_over_tcp(kind: Kind, stream: &str, expected: Expected) {
    let _turn = turn().await;
    let server = Server::start_over_tcp().await;
    let publisher = Publisher::start(kind, &server, stream).await;
    let mut reports = chromium_plays(stream, &[("whep", server.whep_url(stream))], SECONDS).await;
    for row in server.rows("clients").await.iter().filter(|row| row["webrtc"].is_object()) {
        assert_eq!(row["webrtc"]["transport"], "tcp", "{row:#}");
    }
    let sent = publisher.stop().await;
    judge_all(&[(reports.remove(0), sent.of(expected))]);
    let rtc = server.rtc_summary().await;
    let count = |group: &str, name: &str| rtc["tcp"][group][name].as_u64().expect("a counter");
    assert!(count("send", "datagrams") > 500 && count("recv", "datagrams") > 20, "{rtc:#}");
    assert_eq!((&rtc["recv"]["datagrams"], &rtc["send"]["datagrams"]), (&0.into(), &0.into()), "nothing by UDP: {rtc:#}");
    assert_eq!(rtc["dropped"]["tcp_full"], 0, "{rtc:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_plays_an_rtmp_stream_over_tcp() {
    let expected = Expected { seconds: f64::from(SECONDS - 1), pictures: 0.9, step_max: 0.5, offset_ms_max: 2.0 * OFFSET_MS_MAX };
    chromium_plays_over_tcp(Kind::FfmpegRtmp, "tcp-rtmp", expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_publishes_over_tcp() {
    // Two browsers and an encoder on two cores: what is judged is the transport.
    let expected = Expected { seconds: f64::from(SECONDS - 1), pictures: 0.7, step_max: 1.0, offset_ms_max: 2.0 * OFFSET_MS_MAX };
    chromium_plays_over_tcp(Kind::ChromiumWhip, "tcp-whip", expected).await;
}
