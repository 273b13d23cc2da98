//! HTTP for clients: requests that fail by stage and with a reason that a person can use.

use std::{error::Error as _, time::Duration};

use anyhow::Context as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use rustls::ClientConfig;

use super::{Options, crew::Failure, tls};
use crate::measure::Stage;

/// Connections that are kept for the next request.
const IDLE_MAX: usize = 64;
/// Of an error's body, so much is shown.
const SHOWN_MAX: usize = 200;

/// The requests of a thread's clients.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    bearer: Option<String>,
    patience: Duration,
}

impl Http {
    pub(super) fn new(options: &Options, tls: &ClientConfig) -> anyhow::Result<Self> {
        let builder = reqwest::Client::builder().pool_max_idle_per_host(IDLE_MAX).tcp_nodelay(true);
        let client = builder.use_preconfigured_tls(tls.clone()).build().context("HTTP")?;
        Ok(Self { client, bearer: options.bearer.clone(), patience: options.setup_patience })
    }

    /// A request with the bearer token, if there is one.
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.bearer {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends it and waits for the head of the answer.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.timeout(self.patience).send().await.map_err(|error| failure(&error))
    }
}

/// The text of an answer, at most `max` bytes of it.
pub(super) async fn text(mut response: Response, max: usize) -> Result<String, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > max {
            return Err(Failure::new(Stage::Http, format!("an answer of more than {max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// What an answer that is not the wanted one means: the status, and what its body says of it.
pub(super) async fn refusal(response: Response) -> Failure {
    let status = response.status();
    let body = text(response, 64 << 10).await.unwrap_or_default();
    Failure::new(Stage::Refused, describe(status, &body))
}

/// RFC 9457's `title` and `detail` where there are some, else the start of the body.
fn describe(status: StatusCode, body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let field = |name: &str| json.as_ref().and_then(|json| json.get(name)).and_then(|value| value.as_str()).map(str::to_owned);
    let named = [field("title"), field("detail"), field("error"), field("message")];
    let mut words: Vec<String> = named.into_iter().flatten().collect();
    if words.is_empty() && !body.trim_start().starts_with('<') {
        words.extend(body.split_whitespace().map(str::to_owned));
        words = vec![words.join(" ")];
    }
    let text: String = words.join(": ").chars().take(SHOWN_MAX).collect();
    if text.is_empty() { status.to_string() } else { format!("{status}: {text}") }
}

/// The stage that a request got to.
pub(super) fn failure(error: &reqwest::Error) -> Failure {
    let mut reason = error.to_string();
    let (mut cause, mut dns) = (error.source(), false);
    while let Some(inner) = cause {
        reason = inner.to_string();
        dns |= reason.contains("dns error");
        cause = inner.source();
    }
    let stage = match error {
        _ if dns => Stage::Resolve,
        error if error.is_timeout() => return Failure::new(Stage::Http, "no answer in time"),
        error if error.is_connect() => Stage::Connect,
        _ => Stage::Http,
    };
    Failure::new(stage, tls::explained(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_the_body_says() {
        let problem = r#"{"type":"about:blank","title":"Conflict","status":409,"detail":"the stream has a publisher"}"#;
        assert_eq!(describe(StatusCode::CONFLICT, problem), "409 Conflict: Conflict: the stream has a publisher");
        assert_eq!(describe(StatusCode::NOT_FOUND, "no such\n stream"), "404 Not Found: no such stream");
        assert_eq!(describe(StatusCode::BAD_GATEWAY, "<html>nothing to read</html>"), "502 Bad Gateway");
        assert!(describe(StatusCode::BAD_REQUEST, &"x ".repeat(4_000)).len() < 300);
    }
}
