//! Peers behind a NAT that forgets them (see `media::relay`): how long media is away.

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
const FAIR: Weather = Weather { loss: 0.0, delay: Duration::from_millis(25), down_rate: None, dark: false };
/// Two busy cores stumble for less than that.
const STUMBLE: f64 = 0.35;
/// The longest time without a picture that a new address may cost.
const FOLLOWED_MAX: f64 = 1.0;
/// Times at which the NAT forgets, one after the other: no multiple of any interval of the browser.
const MOVES: [Duration; 4] =
    [Duration::from_millis(7_000), Duration::from_millis(4_330), Duration::from_millis(4_710), Duration::from_millis(5_130)];

async fn forget(relay: &Relay) {
    for pause in MOVES {
        sleep(pause).await;
        relay.rebind();
    }
}

/// What the API says of the one client that publishes or does not.
async fn moves(server: &Server, publish: bool) -> u64 {
    let rows = server.rows("clients").await;
    let row = rows.iter().find(|row| row["publish"] == publish && row["webrtc"].is_object()).expect("it is there");
    assert_eq!(row["webrtc"]["transport"], "udp");
    row["webrtc"]["moves"].as_u64().expect("a counter")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_plays_is_followed_within_a_second() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), FAIR).await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "moving").await;
    let pages = [("whep", relay.through(&server.whep_url("moving")))];
    let moving = async {
        server.wait_for_rows("clients", |rows| rows.iter().any(|row| row["publish"] == false), Duration::from_secs(20)).await;
        forget(&relay).await;
        sleep(Duration::from_millis(2_500)).await;
        moves(&server, false).await
    };
    let (mut seen, moved) = tokio::join!(chromium_plays("moving", &pages, 30), moving);
    let seen = seen.remove(0);
    let gaps = seen.gaps(STUMBLE);
    println!("{}\ngaps {gaps:.2?}, {moved} moves", seen.line());
    assert_eq!(moved, MOVES.len() as u64);
    publisher.stop().await;
    server.stop().await;
    assert!(seen.number("step_max") <= FOLLOWED_MAX, "{gaps:.2?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_publishes_is_seen_without_a_gap_while_it_moves() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), FAIR).await;
    let publisher =
        Publisher::start_at(Kind::ChromiumWhip, &server, "moving-up", &relay.through(&server.whip_url("moving-up"))).await;
    let rtmp_url = server.rtmp_url("moving-up");
    let moving = async {
        forget(&relay).await;
        sleep(Duration::from_millis(1_500)).await;
        moves(&server, true).await
    };
    let (seen, moved) = tokio::join!(ffmpeg_plays("moving-up-ffmpeg", &rtmp_url, 24), moving);
    println!("{}\n{moved} moves", seen.line());
    assert_eq!(moved, MOVES.len() as u64);
    assert!(seen.number("step_max") <= 1.0, "{}", seen.line());
    publisher.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aiortc_that_plays_answers_our_checks_and_is_followed() {
    let _turn = turn().await;
    let server = Server::start().await;
    let relay = Relay::start(server.rtc(), FAIR).await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "moving-aiortc").await;
    let url = relay.through(&server.whep_url("moving-aiortc"));
    let moving = async {
        server.wait_for_rows("clients", |rows| rows.iter().any(|row| row["publish"] == false), Duration::from_secs(20)).await;
        forget(&relay).await;
        sleep(Duration::from_millis(2_500)).await;
        moves(&server, false).await
    };
    let (seen, moved) = tokio::join!(aiortc_plays("moving-aiortc", &url, 28), moving);
    // How long it takes to get over what it lost meanwhile is its own affair.
    println!("{}\ngaps {:.2?}, {moved} moves", seen.line(), seen.gaps(STUMBLE));
    assert_eq!(moved, MOVES.len() as u64);
    publisher.stop().await;
    server.stop().await;
}
