//! The HTTP side of a run: WHIP and WHEP offers, the server's own counters.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// What an offer is posted to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    /// To publish.
    Whip,
    /// To play.
    Whep,
}

/// A server's API, for callers that may wait.
pub(crate) struct Api {
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    addr: SocketAddr,
}

impl Api {
    pub(crate) fn new(addr: SocketAddr) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client: reqwest::Client::new(), addr })
    }

    /// Posts an offer; the answer.
    pub(crate) fn negotiate(&self, resource: Resource, app: &str, stream: &str, offer: String) -> anyhow::Result<String> {
        let name = match resource {
            Resource::Whip => "whip",
            Resource::Whep => "whep",
        };
        let url = format!("http://{}/rtc/v1/{name}/?app={app}&stream={stream}", self.addr);
        let request = self.client.post(url).header("Content-Type", "application/sdp").body(offer);
        let (status, body) = self.runtime.block_on(async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        })?;
        if status.as_u16() != 201 {
            bail!("{name} was refused with {status}: {body}");
        }
        Ok(body)
    }

    /// As [`counters`].
    pub(crate) fn counters(&self) -> anyhow::Result<Value> {
        self.runtime.block_on(counters(self.addr))
    }
}

/// Weir's own counters: `/api/v1/summaries`, `data.weir`.
pub(crate) async fn counters(api: SocketAddr) -> anyhow::Result<Value> {
    let text = reqwest::get(format!("http://{api}/api/v1/summaries")).await?.text().await?;
    let mut json: Value = serde_json::from_str(&text).context("the summaries are no JSON")?;
    Ok(json["data"]["weir"].take())
}
