//! Traces as a collector gets them by OTLP/HTTP: which spans, of what, of whom, without secrets; and what a
//! collector that is down, or hangs, costs. Built with the feature `otel`.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Weir, eventually,
    media::{OFFER, SMALL, publish_rtmp},
    process::Client,
    server::{Extra, free_tcp, http_get},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// What no collector may see.
const SECRET: &str = "s3cr3t-of-a-stream";

/// What an HTTP server of the test does with requests.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Takes,
    Hangs,
}

/// A collector, which is a callback server as well.
struct Collector {
    addr: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    fn start(manner: Manner, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&bodies);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, tls) = (Arc::clone(&kept), tls.clone());
                thread::spawn(move || match tls {
                    None => serve(stream, manner, &kept),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).expect("a valid configuration");
                        serve(rustls::StreamOwned::new(connection, stream), manner, &kept);
                    }
                });
            }
        });
        Self { addr, bodies }
    }

    /// All that came, as text.
    fn text(&self) -> String {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let reports = bodies.iter().map(|body| serde_json::from_str::<Value>(body).expect("OTLP is JSON"));
        reports.flat_map(|report| spans_of(&report)).collect()
    }

    /// The first span with this name, once it is there.
    fn span(&self, name: &str) -> Span {
        eventually(&format!("a span '{name}' comes"), PATIENCE, || self.spans().into_iter().find(|span| span.name == name))
    }
}

/// Requests of one connection: reports are kept, callbacks allowed.
fn serve(stream: impl Read + Write, manner: Manner, kept: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut length, mut line) = (String::new(), 0, String::new());
        while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            } else if let Some((_, value)) = line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            {
                length = value.trim().parse().expect("a number");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if path.is_empty() || stream.read_exact(&mut body).is_err() {
            return;
        }
        if manner == Manner::Hangs {
            thread::park();
        }
        if path == "/v1/traces" {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8(body).expect("text"));
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{\"code\":0}";
        if stream.get_mut().write_all(answer.as_bytes()).and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

/// A span, as OTLP tells it.
#[derive(Clone, Debug)]
struct Span {
    name: String,
    trace: String,
    id: String,
    parent: String,
    kind: u64,
    is_error: bool,
    attributes: BTreeMap<String, String>,
}

fn spans_of(report: &Value) -> Vec<Span> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |span: &Value| Span {
        name: text(&span["name"]),
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        kind: span["kind"].as_u64().unwrap_or_default(),
        is_error: span["status"]["code"] == 2,
        attributes: list(&span["attributes"]).iter().map(|pair| (text(&pair["key"]), plain(&pair["value"]))).collect(),
    };
    let resources = list(&report["resourceSpans"]);
    let scopes = resources.iter().flat_map(|resource| list(&resource["scopeSpans"]));
    scopes.flat_map(|scope| list(&scope["spans"])).map(|span| of(&span)).collect()
}

/// `{"stringValue": "x"}` and its like.
fn plain(value: &Value) -> String {
    let inner = value.as_object().and_then(|object| object.values().next()).unwrap_or(&Value::Null);
    inner.as_str().map_or_else(|| inner.to_string(), str::to_owned)
}

impl Span {
    fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).unwrap_or_else(|| panic!("{name} is missing in {self:?}"))
    }

    fn number(&self, name: &str) -> u64 {
        self.attribute(name).parse().unwrap_or_else(|_| panic!("{name} is no number in {self:?}"))
    }

    fn is_within(&self, outer: &Self) -> bool {
        self.trace == outer.trace && self.parent == outer.id
    }
}

/// A server that is told of this collector, with figures.
fn weir(endpoint: &str, vhost: &str, environment: &[(&str, &str)]) -> Weir {
    let exporter = format!("exporter {{ enabled on; listen {}; }}", free_tcp());
    let environment = [environment, &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_SERVICE_NAME", "weir-test")]].concat();
    Weir::start_configured(&Extra { global: &exporter, vhost, environment: &environment, ..Extra::default() })
}

fn metric(server: &Weir, name: &str) -> u64 {
    let (_, text) = http_get(server.api, "/metrics").expect("metrics");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} is not there:\n{text}")).trim().parse().expect("a number")
}

/// Plays two seconds of it.
fn plays(server: &Weir, file: &str) {
    let seen = Client::ffmpeg("viewer", &["-t", "2", "-i", &server.http_url(file), "-f", "null", "-"]).finish(PATIENCE);
    assert!(seen.status.success() && seen.stderr.is_empty(), "{seen:?}");
}

#[test]
fn a_publish_and_a_play_are_spans_with_their_callbacks_and_without_secrets() {
    let collector = Collector::start(Manner::Takes, None);
    let hook = format!("http://{}/hook?key={SECRET}", collector.addr);
    let vhost = format!("http_hooks {{ enabled on; on_publish {hook}; on_play {hook}; }}");
    let server = weir(&format!("http://{}", collector.addr), &vhost, &[]);
    let publisher = publish_rtmp(&server.rtmp_url(&format!("traced?token={SECRET}")), SMALL);
    server.wait_for_publisher("traced");
    plays(&server, &format!("traced.flv?token={SECRET}"));
    drop(publisher);

    let connection = collector.span("rtmp");
    assert_eq!((connection.parent.as_str(), connection.attribute("app")), ("", "live"));
    assert!(connection.number("received") > 10_000, "{connection:?}");
    let published = collector.span("fmle-publish");
    assert!(published.is_within(&connection), "{published:?} in {connection:?}");
    assert_eq!((published.attribute("stream"), published.attribute("client.address")), ("/live/traced", "127.0.0.1"));
    assert_eq!(published.attribute("session.id"), connection.attribute("session.id"));
    assert!(published.number("received") > 10_000 && !published.is_error, "{published:?}");
    let request = collector.span("GET /{app}/{file}");
    assert_eq!((request.kind, request.parent.as_str()), (2, ""), "a server's own, the first of its trace");
    assert_eq!(request.attribute("http.response.status_code"), "200");
    let played = collector.span("flv-play");
    assert!(played.is_within(&request) && played.trace != published.trace, "{played:?} in {request:?}");
    assert!(played.number("sent") > 10_000, "{played:?}");
    let callbacks = eventually("both callbacks come", PATIENCE, || {
        let all: Vec<_> = collector.spans().into_iter().filter(|span| span.name == "callback").collect();
        (all.len() == 2).then_some(all)
    });
    for outer in [&published, &played] {
        let asked = callbacks.iter().find(|asked| asked.is_within(outer)).expect("asked about within its span");
        assert_eq!((asked.kind, asked.attribute("http.response.status_code")), (3, "200"), "a client's");
    }
    let counts = || metric(&server, "weir_trace_spans_sent_total");
    eventually("they are counted", PATIENCE, || (counts() >= collector.spans().len() as u64).then_some(()));
    assert!(collector.text().contains("weir-test") && !collector.text().contains(SECRET));
}

#[test]
fn a_session_by_whip_is_a_span_and_who_is_kept_out_one_with_an_error() {
    let collector = Collector::start(Manner::Takes, None);
    let vhost = format!("token {{ enabled on; publish on; play on; secret {SECRET}-and-long-enough-for-the-check; }}");
    let server = weir(&format!("http://{}", collector.addr), &vhost, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let offer = reqwest::Client::new().post(format!("{}&token={SECRET}", server.whip_url("kept-out")));
    let offer = offer.header("content-type", "application/sdp").bearer_auth(format!("a.{SECRET}.b")).body(OFFER);
    let status = runtime.block_on(offer.send()).expect("an answer").status();
    assert_eq!(status, 401);
    let request = collector.span("POST /rtc/v1/whip/");
    assert_eq!((request.attribute("http.request.method"), request.attribute("http.response.status_code")), ("POST", "401"));
    let session = collector.span("rtc-publish");
    assert!(session.is_within(&request) && session.is_error, "{session:?} in {request:?}");
    assert!(!session.attribute("denied").is_empty(), "{session:?}");
    assert!(!collector.text().contains(SECRET));
}

#[test]
fn a_collector_that_is_down_or_hangs_costs_spans_and_nothing_else() {
    let hanging = Collector::start(Manner::Hangs, None);
    for endpoint in [format!("http://{}", free_tcp()), format!("http://{}", hanging.addr)] {
        let server = weir(&endpoint, "", &[]);
        let _publisher = publish_rtmp(&server.rtmp_url("on"), SMALL);
        server.wait_for_publisher("on");
        plays(&server, "on.flv");
        eventually("what is lost is counted", PATIENCE, || {
            (metric(&server, "weir_trace_spans_dropped_total{reason=\"failed\"}") > 0).then_some(())
        });
        assert_eq!(server.log_lines("the trace collector takes no spans"), 1, "{}", server.log());
        plays(&server, "on.flv");
        let (status, took, log) = server.stop("TERM");
        assert!(status.success() && took < Duration::from_secs(3), "{took:?}\n{log}");
    }
}

#[test]
fn a_collector_may_speak_tls_and_what_is_no_url_is_told_at_the_test_of_the_configuration() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key.into()).expect("a pair");
    let collector = Collector::start(Manner::Takes, Some(Arc::new(tls)));
    let dir = tempfile::tempdir().expect("a directory");
    let trusted = dir.path().join("ca.pem");
    fs::write(&trusted, made.cert.pem()).expect("a file");
    let trusted = trusted.display().to_string();
    let server = weir(&format!("https://localhost:{}", collector.addr.port()), "", &[("SSL_CERT_FILE", &trusted)]);
    assert_eq!(collector.span("GET /api/v1/versions").attribute("http.response.status_code"), "200");

    let since = Instant::now();
    let mut test = Command::new(env!("CARGO_BIN_EXE_weir"));
    test.args(["-t", "-c", &server.conf().to_string_lossy()]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://127.0.0.1:4317");
    let output = test.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_ENDPOINT must begin with http://HOST or https://HOST"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(5));
}
