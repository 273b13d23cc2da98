//! Weir's own counters.

use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;

/// `/api/v1/summaries`, `data.weir`, for callers that may wait.
pub(crate) fn counters(api: SocketAddr) -> anyhow::Result<Value> {
    // The client wants to know of a provider, although the API is spoken to without TLS.
    let _known = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async { reqwest::get(format!("http://{api}/api/v1/summaries")).await?.text().await })?;
    let mut json: Value = serde_json::from_str(&text).context("the summaries are no JSON")?;
    Ok(json["data"]["weir"].take())
}
