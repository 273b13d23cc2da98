//! The server's own page: what is chosen there is what is published, and every player there plays it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::media::{process, server::Server, turn};

/// Three players one after the other, of which HLS waits for its second segment, and half a minute
/// after the publisher's end.
const PATIENCE: Duration = Duration::from_secs(200);

#[tokio::test(flavor = "multi_thread")]
async fn the_page_publishes_in_the_codec_that_is_chosen_and_plays_it() {
    let _turn = turn().await;
    let server = Server::start().await;
    for (codec, protocols) in [("H264", &["whep", "flv", "hls"][..]), ("VP8", &["whep"])] {
        let url = server.page_url(codec);
        let mut command = process::browser();
        command.args(["page", &url, codec]).args(protocols);
        let output = process::run("the page", command, PATIENCE).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        let seen: BTreeMap<String, Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{codec}: {error}: {stderr}"));
        assert_eq!(seen.len(), 1 + protocols.len(), "{seen:#?}");
        for (who, figures) in &seen {
            let shown = (figures["state"].as_str(), figures["videoCodec"].as_str());
            assert_eq!(shown, (Some("running"), Some(codec)), "{who}: {figures:#}\n{stderr}");
            // A browser short of time sends less than the 640 that were asked for.
            assert!(figures["decoded"].as_u64() > Some(30) && figures["width"].as_u64() >= Some(160), "{who}: {figures:#}");
            assert_eq!(figures["errors"].as_array().map(Vec::len), Some(0), "{who}: {figures:#}");
        }
        assert_eq!(seen["publisher"]["after"], "idle");
        // What the others have left in their buffers is shown to its end.
        if let Some(flv) = seen.get("flv") {
            assert_eq!(flv["after"], "waiting", "{flv:#}");
        }
    }
    server.stop().await;
}
