//! Every way in to every way out: seven viewers at once for each kind of publisher.

use std::time::Duration;

use crate::media::{
    client::{aiortc_plays, chromium_plays, ffmpeg_plays},
    publisher::{Kind, Publisher},
    report::{Expected, OFFSET_MS_MAX, Report, judge_all},
    server::Server,
    turn,
};

/// What each viewer plays: Chromium takes about ten seconds to have its sound and pictures agree.
const SECONDS: u32 = 20;
/// Recorded frames have the source's own times: none is missing, none is late. The first may be
/// a step of a re-timed start.
const RECORDED: Expected = Expected { seconds: SECONDS as f64, pictures: 1.0, step_max: 0.1, offset_ms_max: OFFSET_MS_MAX };
/// Browsers show pictures when two busy cores let them.
const SHOWN: Expected = Expected { seconds: SECONDS as f64 - 1.0, pictures: 0.9, step_max: 0.5, offset_ms_max: OFFSET_MS_MAX };

/// Plays a stream by every protocol at once.
async fn all_viewers(server: &Server, stream: &str) -> Vec<(&'static str, Report)> {
    let name = |viewer: &str| format!("{stream}-{viewer}");
    let pages = [("whep", server.whep_url(stream)), ("flv", server.flv_url(stream)), ("hls", server.hls_url(stream))];
    let (rtmp_name, flv_name, hls_name) = (name("ffmpeg-rtmp"), name("ffmpeg-flv"), name("ffmpeg-hls"));
    let (rtmp_url, flv_url, hls_url) = (server.rtmp_url(stream), server.flv_url(stream), server.hls_url(stream));
    let (aiortc_name, whep_url, chromium_name) = (name("aiortc"), server.whep_url(stream), name("chromium"));
    let (rtmp, flv, hls, aiortc, chromium) = tokio::join!(
        ffmpeg_plays(&rtmp_name, &rtmp_url, SECONDS),
        ffmpeg_plays(&flv_name, &flv_url, SECONDS),
        ffmpeg_plays(&hls_name, &hls_url, SECONDS),
        aiortc_plays(&aiortc_name, &whep_url, SECONDS),
        chromium_plays(&chromium_name, &pages, SECONDS),
    );
    let mut reports = vec![("rtmp", rtmp), ("flv", flv), ("hls", hls), ("aiortc", aiortc)];
    reports.extend(["whep", "mpegts.js", "hls.js"].into_iter().zip(chromium));
    reports
}

/// `recorded` and `shown` say what is expected of viewers that keep the source's times and of
/// viewers that play in real time.
async fn every_viewer_gets(kind: Kind, stream: &str, recorded: Expected, shown: Expected) {
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(kind, &server, stream).await;
    let reports = all_viewers(&server, stream).await;
    let sent = publisher.stop().await;
    let (recorded, shown) = (sent.of(recorded), sent.of(shown));
    let reports: Vec<_> = reports
        .into_iter()
        .map(|(viewer, report)| (report, if matches!(viewer, "rtmp" | "flv" | "hls") { recorded } else { shown }))
        .collect();
    judge_all(&reports);
    server.wait_for_rows("clients", <[_]>::is_empty, Duration::from_secs(40)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rtmp_from_ffmpeg_reaches_every_viewer() {
    every_viewer_gets(Kind::FfmpegRtmp, "from-rtmp", RECORDED, SHOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_from_ffmpeg_reaches_every_viewer() {
    every_viewer_gets(Kind::FfmpegWhip, "from-ffmpeg-whip", RECORDED, SHOWN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whip_from_chromium_reaches_every_viewer() {
    // A browser's own rate varies with its load, so that a part of the run may have less of it.
    // What it says of when it captured sound and canvas strays by up to 35 ms: a viewer's own error
    // comes on top.
    let offset_ms_max = OFFSET_MS_MAX + 35.0;
    let recorded = Expected { pictures: 0.85, step_max: 0.5, offset_ms_max, ..RECORDED };
    let shown = Expected { pictures: 0.8, offset_ms_max, ..SHOWN };
    every_viewer_gets(Kind::ChromiumWhip, "from-chromium", recorded, shown).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_stay_in_rtmp_and_hls_and_are_left_out_of_webrtc() {
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(Kind::FfmpegRtmpBFrames, &server, "b-frames").await;
    let whep_url = server.whep_url("b-frames");
    let pages = [("whep", whep_url.clone()), ("hls", server.hls_url("b-frames"))];
    let (rtmp_url, hls_url) = (server.rtmp_url("b-frames"), server.hls_url("b-frames"));
    let (rtmp, hls, aiortc, chromium) = tokio::join!(
        ffmpeg_plays("b-frames-rtmp", &rtmp_url, SECONDS),
        ffmpeg_plays("b-frames-hls", &hls_url, SECONDS),
        aiortc_plays("b-frames-aiortc", &whep_url, SECONDS),
        chromium_plays("b-frames-chromium", &pages, SECONDS),
    );
    // One picture in four is left, in order and evenly: 160 ms apart.
    let thinned = Expected { pictures: 0.22, ..SHOWN };
    let mut reports = vec![(rtmp, RECORDED), (hls, RECORDED), (aiortc, thinned)];
    reports.extend(chromium.into_iter().zip([thinned, SHOWN]));
    judge_all(&reports);
    publisher.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_hear_opus_of_forty_milliseconds() {
    let _turn = turn().await;
    let server = Server::start_rtc("opus_frame 40;").await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "forty").await;
    let report = chromium_plays("forty", &[("whep", server.whep_url("forty"))], SECONDS).await.remove(0);
    let received = report.received_a_second("audio");
    judge_all(&[(report, SHOWN)]);
    assert!((20.0..30.0).contains(&received), "{received:.1} packets of sound a second");
    publisher.stop().await;
    server.stop().await;
}
