//! Two hundred viewers come and go: nothing of them is left.

use std::time::Duration;

use crate::media::{
    client::aiortc_joins,
    process::{ffmpeg, run},
    publisher::{Kind, Publisher},
    server::Server,
    turn,
};

/// Joins by HTTP-FLV, HLS, WHEP and RTMP: two hundred in all.
const FLV: u32 = 100;
const HLS: u32 = 40;
const WHEP: u32 = 40;
const RTMP: u32 = 20;
/// HLS viewers leave by not asking any more, which takes the longest to be seen.
const LEAVE_MAX: Duration = Duration::from_secs(60);

async fn join_flv(server: &Server) {
    for _ in 0..FLV {
        let mut answer = reqwest::get(server.flv_url("churn")).await.expect("FLV is answered");
        assert_eq!(answer.status(), 200);
        let first = answer.chunk().await.expect("FLV flows").expect("FLV goes on");
        assert!(first.starts_with(b"FLV"));
    }
}

async fn join_hls(server: &Server) {
    for _ in 0..HLS {
        let answer = reqwest::get(server.hls_url("churn")).await.expect("HLS is answered");
        assert_eq!(answer.status(), 200);
        assert!(answer.text().await.expect("a playlist").starts_with("#EXTM3U"));
    }
}

async fn join_rtmp(server: &Server) {
    for _ in 0..RTMP {
        let mut command = ffmpeg();
        command.arg("-i").arg(server.rtmp_url("churn")).args(["-map", "0:v", "-frames:v", "3", "-c", "copy", "-f", "null", "-"]);
        let output = run("an RTMP join", command, Duration::from_secs(30)).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_joins_and_leaves_leave_nothing_behind() {
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "churn").await;
    let whep_url = server.whep_url("churn");
    tokio::join!(join_flv(&server), join_hls(&server), join_rtmp(&server), aiortc_joins(&whep_url, WHEP));
    let only_the_publisher = |rows: &[serde_json::Value]| rows.len() == 1 && rows[0]["publish"] == true;
    server.wait_for_rows("clients", only_the_publisher, LEAVE_MAX).await;
    let resident = server.resident_kib();
    assert!(resident < 300 * 1024, "{resident} KiB are resident");
    publisher.stop().await;
    server.wait_for_rows("clients", <[_]>::is_empty, LEAVE_MAX).await;
    server.wait_for_rows("streams", <[_]>::is_empty, LEAVE_MAX).await;
    server.stop().await;
}
