//! The way to the collector: HTTP/1.1, over TLS where its URL says so, on the exporter's own thread.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, Uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Runtime;
use weir_web::tls::{Connector, connector, system_roots};

/// For one request. The spans of this time wait.
const TIMEOUT: Duration = Duration::from_secs(5);
/// An answer names the spans that were refused, if any.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Where the variable that is for all signals leads (OTLP 1.x, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// The collector that the environment names, if it names one.
pub(super) fn endpoint() -> anyhow::Result<Option<Uri>> {
    endpoint_of(|name| std::env::var(name).ok())
}

fn endpoint_of(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Uri>> {
    for (name, path) in [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", PATH)] {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
        let whole = if path.is_empty() { value.clone() } else { format!("{}{path}", value.trim_end_matches('/')) };
        let uri: Option<Uri> = whole.parse().ok();
        let uri = uri
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()));
        return uri.map(Some).with_context(|| format!("{name} must begin with http://HOST or https://HOST, not '{value}'"));
    }
    Ok(None)
}

/// Takes requests to the collector.
#[derive(Debug)]
pub(super) struct Collector {
    /// Of the exporter's thread, which waits in it: the server's has better to do.
    runtime: Runtime,
    client: Way,
}

/// TLS only where it is asked for: a system without certificates has plain HTTP.
#[derive(Debug)]
enum Way {
    Plain(Client<HttpConnector, Full<Bytes>>),
    Tls(Client<Connector, Full<Bytes>>),
}

impl Collector {
    /// The way to `endpoint`.
    pub(super) fn new(endpoint: &Uri) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let builder = Client::builder(TokioExecutor::new());
        let client = match endpoint.scheme_str() {
            Some("https") => Way::Tls(builder.build(system_roots().and_then(|roots| connector(roots, TIMEOUT))?)),
            _ => Way::Plain(builder.build(HttpConnector::new())),
        };
        Ok(Self { runtime, client })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(Full::new);
        let response = match &self.client {
            Way::Plain(client) => client.request(request).await?,
            Way::Tls(client) => client.request(request).await?,
        };
        let (parts, body) = response.into_parts();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_by_the_variables_of_opentelemetry() {
        let found = |all: &str, traces: &str| {
            let variable = |name: &str| Some(if name.contains("TRACES") { traces } else { all }.to_owned());
            endpoint_of(variable).map(|uri| uri.map(|uri| uri.to_string())).map_err(|error| error.to_string())
        };
        assert_eq!(found("", ""), Ok(None));
        assert_eq!(found("http://10.0.0.1:4318/", ""), Ok(Some("http://10.0.0.1:4318/v1/traces".to_owned())));
        assert_eq!(found("https://otel.example/x", ""), Ok(Some("https://otel.example/x/v1/traces".to_owned())));
        let own = found("http://10.0.0.1:4318", "http://10.0.0.2:4318/mine");
        assert_eq!(own, Ok(Some("http://10.0.0.2:4318/mine".to_owned())));
        for wrong in ["10.0.0.1:4318", "grpc://10.0.0.1:4317", "http://", "http:/x", " "] {
            let error = found(wrong, "").unwrap_err();
            assert_eq!(error, format!("OTEL_EXPORTER_OTLP_ENDPOINT must begin with http://HOST or https://HOST, not '{wrong}'"));
        }
    }
}
