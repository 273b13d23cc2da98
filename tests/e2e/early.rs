//! Viewers that come before the publisher.

use std::time::Duration;

use tokio::time::sleep;

use crate::media::{
    client::{aiortc_plays, chromium_plays, ffmpeg_plays},
    publisher::{Kind, Publisher},
    report::{Expected, OFFSET_MS_MAX, judge_all},
    server::Server,
    turn,
};

/// Chromium gets sound later than pictures, and takes about ten seconds to wait for it.
const SECONDS: u32 = 15;

#[tokio::test(flavor = "multi_thread")]
async fn viewers_may_come_before_the_publisher() {
    let _turn = turn().await;
    let server = Server::start().await;
    let (rtmp_url, flv_url, whep_url) = (server.rtmp_url("early"), server.flv_url("early"), server.whep_url("early"));
    let pages = [("whep", whep_url.clone()), ("flv", flv_url.clone())];
    let publish = async {
        sleep(Duration::from_secs(5)).await;
        Publisher::start(Kind::FfmpegRtmp, &server, "early").await
    };
    let (rtmp, flv, aiortc, chromium, publisher) = tokio::join!(
        ffmpeg_plays("early-rtmp", &rtmp_url, SECONDS),
        ffmpeg_plays("early-flv", &flv_url, SECONDS),
        aiortc_plays("early-aiortc", &whep_url, SECONDS),
        chromium_plays("early-chromium", &pages, SECONDS),
        publish,
    );
    let recorded = Expected { seconds: f64::from(SECONDS), pictures: 1.0, step_max: 0.1, offset_ms_max: OFFSET_MS_MAX };
    let shown = Expected { seconds: f64::from(SECONDS) - 1.0, pictures: 0.9, step_max: 0.5, offset_ms_max: OFFSET_MS_MAX };
    let mut reports = vec![(rtmp, recorded), (flv, recorded), (aiortc, shown)];
    reports.extend(chromium.into_iter().map(|report| (report, shown)));
    judge_all(&reports);
    publisher.stop().await;
    server.stop().await;
}
