//! One call of a callback server: a request out, a bounded answer in.
//!
//! No redirect is followed and no proxy of the environment is used: what is called is what the
//! configuration names, so that an answer cannot point us at another machine (A64).

use std::{future::Future, pin::Pin, sync::OnceLock, time::Duration};

use axum::http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::RootCertStore;
use tracing::{Instrument as _, field::Empty, trace_span};

use crate::{
    TRACES,
    tls::{Connector, connector, system_roots},
};

/// The longest answer to a decision. A real one has some ten bytes; SRS's documents show 50.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long an idle connection is kept. Servers close theirs after two seconds or more, and one that
/// is closed while a request goes out costs a client its stream.
const IDLE: Duration = Duration::from_secs(1);
/// Idle connections kept of a server: a burst of viewers, not more.
const IDLE_PER_SERVER: usize = 16;
/// A packet lost at the start of a connection is sent again after one second, and after two more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// The head of an answer; servers send some 300 bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) uri: Uri,
    /// JSON to post; without it is a GET.
    pub(super) body: Option<Bytes>,
    /// Bytes of the answer that are of interest. More are an error for a POST, and left unread for a GET.
    pub(super) read_max: usize,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why nothing came back that could be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it did not answer in time")]
    TimedOut,
    #[error("its answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("{0}")]
    Broken(String),
}

pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// Takes requests to callback servers.
pub(super) trait Wire: Send + Sync {
    /// The answer to one request, in the server's own time.
    fn send(&self, ask: Ask) -> Answering<'_>;
}

type Body = Full<Bytes>;

/// HTTP/1.1, over TLS where the URL says so.
pub(super) struct Http {
    plain: Client<HttpConnector, Body>,
    /// Made at the first https URL: reading the system's certificates takes some milliseconds.
    tls: OnceLock<Result<Client<Connector, Body>, String>>,
    /// Who is believed about certificates, where that is not whom the system believes.
    roots: Option<RootCertStore>,
}

impl Http {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self { plain: builder().build(connector), tls: OnceLock::new(), roots: None }
    }

    #[cfg(test)]
    pub(super) fn trusting(roots: RootCertStore) -> Self {
        Self { roots: Some(roots), ..Self::new() }
    }

    async fn request(&self, ask: &Ask) -> Result<Response<Incoming>, Failure> {
        let request = request(ask)?;
        let response = match ask.uri.scheme_str() {
            Some("https") => match self.tls.get_or_init(|| secure(self.roots.clone())) {
                Ok(client) => client.request(request).await,
                Err(reason) => return Err(Failure::Broken(reason.clone())),
            },
            _ => self.plain.request(request).await,
        };
        response.map_err(|error| Failure::Broken(explained(&error)))
    }
}

impl Wire for Http {
    fn send(&self, ask: Ask) -> Answering<'_> {
        let span = trace_span!(
            target: TRACES, "callback", otel.kind = "client", otel.status_code = Empty,
            server.address = ask.uri.host(), http.response.status_code = Empty,
        );
        let recorded = span.clone();
        let answering = async move {
            let answer = self.exchange(ask).await;
            match &answer {
                Ok(answer) => recorded.record("http.response.status_code", answer.status.as_u16()),
                Err(_) => recorded.record("otel.status_code", "ERROR"),
            };
            answer
        };
        Box::pin(answering.instrument(span))
    }
}

impl Http {
    async fn exchange(&self, ask: Ask) -> Result<Answer, Failure> {
        let response = self.request(&ask).await?;
        let (parts, mut body) = response.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::Broken(error.to_string()))?;
            let Some(data) = frame.data_ref() else { continue };
            let room = ask.read_max.saturating_sub(read.len());
            read.extend_from_slice(data.get(..room).unwrap_or(data));
            if data.len() > room {
                if ask.body.is_some() {
                    return Err(Failure::TooLong);
                }
                break;
            }
        }
        Ok(Answer { status: parts.status, body: read.into() })
    }
}

fn builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_SERVER)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(HEAD_BYTES_MAX);
    builder
}

fn secure(roots: Option<RootCertStore>) -> Result<Client<Connector, Body>, String> {
    let made = roots.map_or_else(system_roots, Ok).and_then(|roots| connector(roots, CONNECT_TIMEOUT));
    made.map(|connector| builder().build(connector)).map_err(|error| error.to_string())
}

fn request(ask: &Ask) -> Result<Request<Body>, Failure> {
    let mut request = Request::new(Full::new(ask.body.clone().unwrap_or_default()));
    *request.uri_mut() = ask.uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("Weir/", env!("CARGO_PKG_VERSION"))));
    if ask.body.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.method_mut() = Method::POST;
    }
    Ok(request)
}

/// The cause below the client's own word for it. It names addresses, not the URL's query.
fn explained(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match error.is_connect() {
        true => format!("it could not be reached: {cause}"),
        false => format!("the connection failed: {cause}"),
    }
}
