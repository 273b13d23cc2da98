//! The HTTP side of a run: WHEP offers, the server's own counters.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Posts a WHEP offer; the answer.
pub(crate) async fn whep(
    client: &reqwest::Client,
    api: SocketAddr,
    app: &str,
    stream: &str,
    offer: String,
) -> anyhow::Result<String> {
    let url = format!("http://{api}/rtc/v1/whep/?app={app}&stream={stream}");
    let response = client.post(url).header("Content-Type", "application/sdp").body(offer).send().await?;
    let (status, body) = (response.status(), response.text().await?);
    if status.as_u16() != 201 {
        bail!("WHEP was refused with {status}: {body}");
    }
    Ok(body)
}

/// Weir's own counters: `/api/v1/summaries`, `data.weir`.
pub(crate) async fn counters(api: SocketAddr) -> anyhow::Result<Value> {
    let text = reqwest::get(format!("http://{api}/api/v1/summaries")).await?.text().await?;
    let mut json: Value = serde_json::from_str(&text).context("the summaries are no JSON")?;
    Ok(json["data"]["weir"].take())
}
