//! The way to the collector: HTTP/1.1 without TLS, on the exporter's own thread.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Runtime;

/// For one request. The spans of this time wait.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An answer names the spans that were refused, if any.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Takes requests to the collector.
#[derive(Debug)]
pub(super) struct Collector {
    /// Of the exporter's thread, which waits in it: the server's has better to do.
    runtime: Runtime,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Collector {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, client: Client::builder(TokioExecutor::new()).build(HttpConnector::new()) })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = self.client.request(request.map(Full::new)).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Response::from_parts(parts, body))
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.block_on(async { tokio::time::timeout(TIMEOUT, self.exchange(request)).await })?
    }
}
