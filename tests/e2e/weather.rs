//! WebRTC over a bad network: a relay of our own before the media port (see `media::relay`).

use std::time::Duration;

use tokio::time::sleep;

use crate::media::{
    client::{aiortc_plays, chromium_plays, ffmpeg_plays},
    publisher::{Kind, Publisher},
    relay::{Relay, Weather},
    server::Server,
    turn,
};

/// 50 ms there and back.
const DELAY: Duration = Duration::from_millis(25);
const FAIR: Weather = Weather { loss: 0.0, delay: DELAY, down_rate: None, dark: false };
/// One packet in twenty, each way.
const LOSSY: Weather = Weather { loss: 0.05, ..FAIR };
/// What counts as a freeze.
const FREEZE: f64 = 0.5;

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_at_five_per_cent_loss_sees_no_freeze() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), LOSSY).await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "lossy").await;
    let url = relay.through(&server.whep_url("lossy"));
    let pages = [("whep", url.clone())];
    let (mut chromium, aiortc) =
        tokio::join!(chromium_plays("lossy-chromium", &pages, 15), aiortc_plays("lossy-aiortc", &url, 15));
    let chromium = chromium.remove(0);
    println!("{}\n{}", chromium.line(), aiortc.line());
    assert!(chromium.number("step_max") <= FREEZE, "{}", chromium.line());
    // Two busy cores show fewer than the source has, loss or not.
    assert!(chromium.number("fps") >= 17.0, "{}", chromium.line());
    // aiortc has no retransmission stream and waits for no packet that is late; it must go on.
    assert!(aiortc.number("fps") >= 12.0, "{}", aiortc.line());
    publisher.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_at_five_per_cent_loss_is_seen_without_freeze() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), LOSSY).await;
    let publisher =
        Publisher::start_at(Kind::ChromiumWhip, &server, "lossy-up", &relay.through(&server.whip_url("lossy-up"))).await;
    // Its encoder starts anew a few times while it learns its bandwidth.
    sleep(Duration::from_secs(3)).await;
    let rtmp_url = server.rtmp_url("lossy-up");
    let seen = ffmpeg_plays("lossy-up-ffmpeg", &rtmp_url, 12).await;
    let sent = publisher.stop().await;
    println!("{} of {:.1} fps sent", seen.line(), sent.fps);
    assert!(seen.number("step_max") <= FREEZE + sent.still, "{sent:?} {}", seen.line());
    server.stop().await;
}

/// With ten seconds from keyframe to keyframe, by an encoder that makes none when asked.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_is_back_after_an_outage_and_after_a_new_address() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), FAIR).await;
    let publisher = Publisher::start(Kind::FfmpegRtmpLongGop, &server, "outage").await;
    let pages = [("whep", relay.through(&server.whep_url("outage")))];
    let weather = async {
        server.wait_for_rows("clients", |rows| rows.iter().any(|row| row["publish"] == false), Duration::from_secs(20)).await;
        sleep(Duration::from_secs(6)).await;
        relay.set(Weather { dark: true, ..FAIR });
        sleep(Duration::from_secs(3)).await;
        relay.set(FAIR);
        sleep(Duration::from_secs(5)).await;
        relay.rebind();
    };
    let (mut seen, ()) = tokio::join!(chromium_plays("outage", &pages, 22), weather);
    let seen = seen.remove(0);
    // Two busy cores stumble for half a second now and then.
    let gaps = seen.gaps(0.8);
    println!("{}\ngaps {gaps:.2?}", seen.line());
    assert!(!gaps.is_empty() && gaps.len() <= 2, "one gap for the outage, one at most for the new address: {gaps:.2?}");
    // Three seconds of darkness, one to recover, and what the browser takes to show it.
    assert!(gaps[0] >= 2.5 && gaps[0] <= 4.5, "{gaps:.2?}");
    // Its last report on what came before the change tells where it is.
    assert!(gaps.get(1).is_none_or(|gap| *gap <= 1.2), "{gaps:.2?}");
    publisher.stop().await;
    server.stop().await;
}

/// No test but a table: `cargo test --test e2e -- --ignored --nocapture figures`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints figures"]
async fn figures_by_loss() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), FAIR).await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "figures").await;
    let url = relay.through(&server.whep_url("figures"));
    println!("| loss each way | viewer | pictures a second (25 sent) | freezes > 500 ms | longest gap |\n|---|---|---|---|---|");
    for percent in [0, 1, 5, 10, 20] {
        relay.set(Weather { loss: f64::from(percent) / 100.0, ..FAIR });
        let pages = [("whep", url.clone())];
        let (chromium, aiortc) =
            tokio::join!(chromium_plays("figures-chromium", &pages, 15), aiortc_plays("figures-aiortc", &url, 15));
        for (name, report) in [("Chromium", &chromium[0]), ("aiortc", &aiortc)] {
            let (fps, gaps) = (report.number("fps"), report.gaps(FREEZE));
            let longest = report.gaps(0.0).into_iter().fold(0.0, f64::max);
            println!("| {percent} % | {name} | {fps:.1} | {} | {longest:.2} s |", gaps.len());
        }
    }
    publisher.stop().await;
    server.stop().await;
}
