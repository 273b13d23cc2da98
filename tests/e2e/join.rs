//! A viewer that joins in the middle of a long group of pictures.

use std::time::Duration;

use tokio::time::sleep;

use crate::media::{
    client::chromium_plays,
    publisher::{Kind, Publisher},
    report::{Expected, OFFSET_MS_MAX, judge_all},
    server::Server,
    turn,
};

/// Into the ten seconds between two keyframes.
const INTO_THE_GROUP: Duration = Duration::from_secs(4);
const EARLY_SECONDS: u32 = 20;
const LATE_SECONDS: u32 = 14;
/// A viewer without the cached pictures would wait until the next keyframe: five seconds and more.
/// What is measured on an idle machine, 0.15 s, is no matter of a test.
const FIRST_SECONDS_MAX: f64 = 2.0;
/// Two browsers on two busy cores; without fast-forward it would be four seconds.
const BEHIND_MS_MAX: f64 = 150.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_viewer_sees_at_once_and_is_soon_where_the_others_are() {
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(Kind::FfmpegRtmpLongGop, &server, "join").await;
    let pages = [("whep", server.whep_url("join"))];
    let late = async {
        sleep(INTO_THE_GROUP).await;
        chromium_plays("join-late", &pages, LATE_SECONDS).await.remove(0)
    };
    let (mut early, late) = tokio::join!(chromium_plays("join-early", &pages, EARLY_SECONDS), late);
    let early = early.remove(0);
    let (first, behind) = (late.number("first_seconds"), late.latency_ms() - early.latency_ms());
    assert!(first <= FIRST_SECONDS_MAX, "the first picture came after {first} s");
    // Ahead is no fault of the late one: the other's jitter buffer has seen more of a busy machine.
    assert!(behind <= BEHIND_MS_MAX, "the late viewer is {behind} ms behind");
    // Chromium has had less time than elsewhere to bring its sound and pictures together.
    let offset_ms_max = 2.0 * OFFSET_MS_MAX;
    let shown = |seconds: u32| Expected { seconds: f64::from(seconds), pictures: 0.9, step_max: 0.5, offset_ms_max };
    judge_all(&[(early, shown(EARLY_SECONDS - 1)), (late, shown(LATE_SECONDS - 1))]);
    publisher.stop().await;
    server.stop().await;
}
