//! Telling another server every few seconds that this one is there, as SRS does: its proxy learns its
//! origins by it.
//!
//! One at a time, each bounded in time: a server that does not answer costs nothing but a line in the log.

use std::time::Duration;

use axum::http::{Method, Request, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    HeartbeatConfig, WebConfig, api,
    router::AppState,
    tls::{Connector, TlsError, connector, system_roots},
};

/// How long the other server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Never more often than this, whatever is configured.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How often the settings are looked at while it is off.
const LOOK: Duration = Duration::from_secs(2);

/// Beats until `stop`, as the settings say at each time.
pub(crate) async fn run(state: &AppState, stop: CancellationToken) {
    let (mut failing, mut way) = (false, Way::new(None));
    loop {
        let config = state.config();
        let wait = if config.heartbeat.enabled {
            let beat = beat(state, &config, &mut way, PATIENCE);
            let Some(sent) = stop.run_until_cancelled(beat).await else { return };
            note(&mut failing, &config.heartbeat, sent);
            config.heartbeat.interval.max(INTERVAL_MIN)
        } else {
            LOOK
        };
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// One line when it begins to fail, one when it works again.
fn note(failing: &mut bool, config: &HeartbeatConfig, sent: Result<(), String>) {
    match sent {
        Ok(()) if *failing => debug!("heartbeats are taken again"),
        Ok(()) => {}
        Err(reason) if !*failing => {
            // The query may hold a token.
            let url = config.url.split('?').next().unwrap_or_default();
            warn!(%url, %reason, "heartbeats are not taken");
            *failing = true;
            return;
        }
        Err(reason) => {
            debug!(%reason, "a heartbeat was not taken");
            return;
        }
    }
    *failing = false;
}

/// How the other server is connected to.
struct Way {
    plain: HttpConnector,
    /// Made at the first https URL: a system without certificates has plain HTTP.
    tls: Option<Connector>,
    /// Who is believed about certificates, where that is not whom the system believes.
    roots: Option<RootCertStore>,
}

impl Way {
    fn new(roots: Option<RootCertStore>) -> Self {
        Self { plain: HttpConnector::new(), tls: None, roots }
    }

    async fn tls(&mut self) -> Result<Connector, String> {
        if self.tls.is_none() {
            let roots = self.roots.clone();
            let make = move || roots.map_or_else(system_roots, Ok).and_then(|roots| connector(roots, PATIENCE));
            let made = tokio::task::spawn_blocking(make).await.map_err(|error| error.to_string())?;
            self.tls = Some(made.map_err(|error: TlsError| error.to_string())?);
        }
        self.tls.clone().ok_or_else(|| "there is no TLS".to_owned())
    }
}

async fn beat(state: &AppState, config: &WebConfig, way: &mut Way, patience: Duration) -> Result<(), String> {
    let uri: Uri = config.heartbeat.url.parse().map_err(|_| "the URL is none".to_owned())?;
    let body = body(state, config).to_string();
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(0);
    let sent = match request.uri().scheme_str() {
        Some("https") => builder.build(way.tls().await?).request(request),
        _ => builder.build(way.plain.clone()).request(request),
    };
    let response = tokio::time::timeout(patience, sent).await;
    let response = response.map_err(|_elapsed| "it does not answer".to_owned())?.map_err(|error| explained(&error))?;
    // What it answers is nobody's business: SRS reads it and throws it away.
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answers {status}")) }
}

/// The cause below the client's own word for it.
fn explained(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// SRS's fields.
fn body(state: &AppState, config: &WebConfig) -> Value {
    let heartbeat = &config.heartbeat;
    let mut body = json!({
        "device_id": heartbeat.device_id,
        "ip": address(config.api.stats.network),
        "server": state.ids.server,
        "service": state.ids.service,
        "pid": state.ids.pid,
    });
    if heartbeat.summaries {
        body["summaries"] = json!({"code": 0, "data": api::summaries_data(state)});
    }
    if heartbeat.ports {
        let endpoints = &config.endpoints;
        let lists = [("rtmp", &endpoints.rtmp), ("http", &endpoints.http), ("api", &endpoints.api), ("rtc", &endpoints.rtc)];
        for (name, list) in lists.into_iter().filter(|(name, list)| *name == "rtmp" || !list.is_empty()) {
            body[name] = json!(list);
        }
    }
    body
}

/// The address of this machine with this number, loopback last; SRS's variable goes before it.
fn address(number: usize) -> String {
    if let Some(ip) = std::env::var("SRS_DEVICE_IP").ok().filter(|ip| !ip.is_empty()) {
        return ip;
    }
    let mut all: Vec<_> = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip()).collect();
    all.retain(std::net::IpAddr::is_ipv4);
    all.sort_by_key(|ip| ip.is_loopback());
    let index = number.checked_rem(all.len()).unwrap_or(0);
    all.get(index).map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::{Endpoints, testing::Server};

    fn config(url: String) -> WebConfig {
        let heartbeat = HeartbeatConfig {
            enabled: true,
            url,
            device_id: "device-7".to_owned(),
            summaries: true,
            ports: true,
            ..HeartbeatConfig::default()
        };
        let endpoints = Endpoints { rtmp: vec!["1935".to_owned()], rtc: vec!["udp://8000".to_owned()], ..Endpoints::default() };
        WebConfig { heartbeat, endpoints, ..WebConfig::default() }
    }

    #[tokio::test]
    async fn a_heartbeat_has_srs_fields() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/servers", listener.local_addr().unwrap());
        let server = Server::with(config(url));
        let stop = CancellationToken::new();
        let (state, until) = (server.state.clone(), stop.clone());
        let beating = tokio::spawn(async move { run(&state, until).await });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        let json: Value = loop {
            let mut part = [0; 4_096];
            let n = stream.read(&mut part).await.unwrap();
            assert!(n > 0, "the whole body comes");
            got.extend_from_slice(&part[..n]);
            let text = String::from_utf8_lossy(&got).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            if let Ok(json) = serde_json::from_str(body) {
                assert!(head.starts_with("POST /api/v1/servers HTTP/1.1") && head.contains("application/json"), "{head}");
                break json;
            }
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0").await.unwrap();
        assert_eq!((&json["device_id"], &json["rtmp"]), (&"device-7".into(), &json!(["1935"])));
        assert_eq!((&json["rtc"], &json["http"]), (&json!(["udp://8000"]), &Value::Null));
        assert_eq!(json["server"], server.state.ids.server);
        assert!(json["ip"].is_string() && json["service"].is_string() && json["pid"].is_string());
        assert!(json["summaries"]["data"]["self"]["pid"].is_u64());
        stop.cancel();
        beating.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_hangs_costs_a_bounded_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::with(config(format!("http://{}/", listener.local_addr().unwrap())));
        let mut way = Way::new(None);
        let sent = beat(&server.state, &server.state.config(), &mut way, Duration::from_millis(50)).await;
        assert_eq!(sent, Err("it does not answer".to_owned()));
        drop(listener);
        let sent = beat(&server.state, &server.state.config(), &mut way, Duration::from_secs(5)).await;
        assert!(sent.is_err_and(|reason| reason != "it does not answer"), "nobody is there");
    }

    #[tokio::test]
    async fn a_heartbeat_goes_over_tls_to_who_is_believed_and_to_nobody_else() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/api/v1/servers", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 4];
                stream.read_exact(&mut head).await.unwrap();
                assert_eq!(&head, b"POST");
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n0").await.unwrap();
            }
        });
        let server = Server::with(config(url));
        let mut believed = RootCertStore::empty();
        believed.add(made.cert.der().clone()).unwrap();
        let mut way = Way::new(Some(believed));
        assert_eq!(beat(&server.state, &server.state.config(), &mut way, PATIENCE).await, Ok(()));
        let mut way = Way::new(Some(RootCertStore::empty()));
        let reason = beat(&server.state, &server.state.config(), &mut way, PATIENCE).await.unwrap_err();
        assert!(reason.contains("certificate"), "{reason}");
    }
}
