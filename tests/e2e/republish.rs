//! A publisher goes and comes back: no viewer has to do anything.

use std::time::Duration;

use tokio::time::sleep;

use crate::media::{
    client::{aiortc_plays, chromium_plays, ffmpeg_plays},
    publisher::{FPS, Kind, Publisher},
    report::Report,
    server::Server,
    turn,
};

/// Long enough for a publisher, a pause, and the publisher again, in browsers too.
const SECONDS: u32 = 24;
const FIRST: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_secs(3);

/// After the gap in the arrivals there must be this much again.
const AGAIN_SECONDS: f64 = 4.0;

/// A live viewer's pictures stop for about the pause and then come for some seconds more.
fn goes_on(report: &Report) -> Result<(), String> {
    let failures = report.failures();
    if !failures.is_empty() {
        return Err(failures.join("\n"));
    }
    let times = report.times("arrivals");
    let gap = times.windows(2).max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
    let Some([before, after]) = gap else { return Err(format!("no pictures: {}", report.line())) };
    let last = times.last().copied().unwrap_or_default();
    if after - before < 1.0 {
        // A player of segments may have more in store than the pause: then it has shown more pictures
        // than the first publisher sent.
        let shown = report.number("fps") * report.number("video_seconds");
        let both = (FIRST.as_secs_f64() + AGAIN_SECONDS) * FPS;
        return if shown >= both { Ok(()) } else { Err(format!("no pause was seen: {}", report.line())) };
    }
    if last - after < AGAIN_SECONDS {
        return Err(format!("only {:.1} s of pictures after the pause: {}", last - after, report.line()));
    }
    Ok(())
}

/// A recording has pictures and sound of both runs.
fn recorded_both(report: &Report) -> Result<(), String> {
    let failures = report.failures();
    let (frames, back) = (report.number("video_frames"), report.number("steps_back"));
    let wanted = (FIRST.as_secs_f64() - 2.0 + AGAIN_SECONDS) * FPS;
    if !failures.is_empty() || frames < wanted || back > 0.0 {
        return Err(format!("{frames} pictures of {wanted}: {}\n{}", report.line(), failures.join("\n")));
    }
    Ok(())
}

async fn viewers_outlive(stream: &str, first: Kind, second: Kind) {
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(first, &server, stream).await;
    let names = ["rtmp", "flv", "aiortc", "chromium"].map(|viewer| format!("{stream}-{viewer}"));
    let (rtmp_url, flv_url, whep_url) = (server.rtmp_url(stream), server.flv_url(stream), server.whep_url(stream));
    let pages = [("whep", whep_url.clone()), ("flv", flv_url.clone()), ("hls", server.hls_url(stream))];
    let republish = async {
        sleep(FIRST).await;
        publisher.stop().await;
        sleep(PAUSE).await;
        Publisher::start(second, &server, stream).await
    };
    let (rtmp, flv, aiortc, chromium, publisher) = tokio::join!(
        ffmpeg_plays(&names[0], &rtmp_url, SECONDS - 4),
        ffmpeg_plays(&names[1], &flv_url, SECONDS - 4),
        aiortc_plays(&names[2], &whep_url, SECONDS),
        chromium_plays(&names[3], &pages, SECONDS),
        republish,
    );
    let recorded = [&rtmp, &flv].map(recorded_both);
    let live = std::iter::once(&aiortc).chain(&chromium).map(goes_on);
    let complaints: Vec<_> = recorded.into_iter().chain(live).filter_map(Result::err).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    publisher.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_every_protocol_go_on_when_an_rtmp_publisher_returns() {
    viewers_outlive("again-rtmp", Kind::FfmpegRtmp, Kind::FfmpegRtmp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_every_protocol_go_on_when_a_whip_publisher_follows_an_rtmp_one() {
    viewers_outlive("again-whip", Kind::FfmpegRtmp, Kind::FfmpegWhip).await;
}
