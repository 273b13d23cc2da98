//! ICE restarts in the middle of a session (RFC 9725 section 4.3.3): media goes on.

use crate::media::{
    client::chromium_plays_and_restarts,
    publisher::{Kind, Publisher},
    report::{Expected, OFFSET_MS_MAX, judge_all},
    server::Server,
    turn,
};

const SECONDS: u32 = 16;
/// After the publisher connected: about 4 s into what the viewer sees, which restarts after 8 s.
const PUBLISHER_RESTARTS_AFTER: u32 = 6;
/// The longest time without a picture.
const STEP_MAX: f64 = 1.0;

#[tokio::test(flavor = "multi_thread")]
async fn h24_media_goes_on_while_publisher_and_viewer_restart_ice() {
    let _turn = turn().await;
    let server = Server::start().await;
    let kind = Kind::ChromiumWhipRestarts(PUBLISHER_RESTARTS_AFTER);
    let publisher = Publisher::start(kind, &server, "restart").await;
    let mut reports = chromium_plays_and_restarts("restart", &[("whep", server.whep_url("restart"))], SECONDS).await;
    let seconds = f64::from(SECONDS - 1);
    let expected = Expected { seconds, pictures: 0.7, step_max: STEP_MAX, offset_ms_max: 2.0 * OFFSET_MS_MAX };
    let sent = publisher.stop().await;
    judge_all(&[(reports.remove(0), sent.of(expected))]);
    let log = server.log();
    assert_eq!(log.matches("ICE restarts").count(), 2, "the publisher and the viewer");
    assert_eq!(log.matches("session connected").count(), 2, "and nobody had to connect anew");
    assert!(log.matches("peer moved").count() >= 2, "both went on from a new port");
    server.stop().await;
}
