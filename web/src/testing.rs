//! A whole server in memory for this crate's tests: a real hub, pretended WebRTC and HLS.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir_source::{ClientGuard, ClientInfo, ClientKind, Frame, Hub, StreamKey, Tracks, Wake};

use crate::{
    AppState, FlvMux, HlsOutput, HlsUnavailable, OpenError, OpenRequest, Opened, Rates, Rtc, ServerIds, SessionInfo, WebConfig,
    api_router, http_router, ids,
};

/// Enough of an offer for [`FakeRtc`].
pub(crate) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n";

/// Wakes nobody.
pub(crate) struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// A client on the list.
pub(crate) fn client(hub: &Hub, key: &StreamKey, id: &str, kind: ClientKind) -> ClientGuard {
    let info = ClientInfo {
        id: id.to_owned(),
        kind,
        key: key.clone(),
        ip: IpAddr::from([192, 0, 2, 1]),
        url: "rtmp://localhost/live".to_owned(),
        page_url: String::new(),
        since: Instant::now(),
    };
    hub.clients().enter(info, Arc::new(NoWake))
}

/// Opens a session for any text that starts as SDP does.
#[derive(Default)]
pub(crate) struct FakeRtc {
    pub(crate) sessions: Mutex<HashMap<String, SessionInfo>>,
    pub(crate) requests: Mutex<Vec<OpenRequest>>,
    /// What the next `open` fails with.
    pub(crate) failure: Mutex<Option<OpenError>>,
}

impl FakeRtc {
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.lock().len()
    }

    pub(crate) fn last_request(&self) -> OpenRequest {
        self.requests.lock().last().cloned().expect("a request was made")
    }
}

impl Rtc for FakeRtc {
    fn open(&self, request: OpenRequest) -> Result<Opened, OpenError> {
        if let Some(error) = self.failure.lock().take() {
            return Err(error);
        }
        if !request.offer.starts_with("v=0\r\n") {
            return Err(OpenError::Malformed("no version".to_owned()));
        }
        if !request.offer.contains("m=audio") {
            return Err(OpenError::Unprocessable("no media".to_owned()));
        }
        let session = ids::random(32);
        let info = SessionInfo { etag: ids::random(16), remote_ufrag: "EsAw".to_owned(), client: request.id.clone() };
        let etag = info.etag.clone();
        self.sessions.lock().insert(session.clone(), info);
        self.requests.lock().push(request);
        Ok(Opened { session, answer: "v=0\r\na=ice-lite\r\n".to_owned(), etag, username: "abcdefgh:EsAw".to_owned() })
    }

    fn close(&self, session: &str) -> bool {
        self.sessions.lock().remove(session).is_some()
    }

    fn info(&self, session: &str) -> Option<SessionInfo> {
        self.sessions.lock().get(session).cloned()
    }

    fn client_stats(&self, client: &str) -> Option<Value> {
        self.sessions.lock().values().any(|info| info.client == client).then(|| json!({"rtt_ms": 12}))
    }
}

/// One stream, `live/s-1`, with one segment.
struct FakeHls;

impl HlsOutput for FakeHls {
    fn playlist<'a>(&'a self, key: &'a StreamKey) -> Pin<Box<dyn Future<Output = Result<Bytes, HlsUnavailable>> + Send + 'a>> {
        let known = key.to_string() == "/live/s-1";
        let text = known.then(|| Bytes::from_static(b"#EXTM3U\ns-1-7-1.ts\n")).ok_or(HlsUnavailable::NoStream);
        Box::pin(async move { text })
    }

    fn segment(&self, key: &StreamKey, name: &str) -> Option<Bytes> {
        (key.to_string() == "/live/s-1" && name == "s-1-7-1.ts").then(|| Bytes::from_static(b"\x47ts"))
    }
}

/// Writes one byte string per call, so that tests can read them.
struct TextMux;

impl FlvMux for TextMux {
    fn start(&mut self, audio: bool, video: bool, _tracks: &Tracks, out: &mut VecDeque<Bytes>) {
        out.push_back(Bytes::from(format!("[head a={audio} v={video}]")));
    }

    fn frame(&mut self, frame: &Frame, out: &mut VecDeque<Bytes>) {
        out.push_back(frame.data.clone());
    }
}

/// An answer with its body read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Both routers over one state.
pub(crate) struct Server {
    pub(crate) state: AppState,
    pub(crate) rtc: Arc<FakeRtc>,
    pub(crate) api: Router,
    pub(crate) http: Router,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(WebConfig::default())
    }

    pub(crate) fn with(config: WebConfig) -> Self {
        let rtc = Arc::new(FakeRtc::default());
        let state = AppState {
            hub: Hub::new(),
            rtc: rtc.clone(),
            hls: Arc::new(FakeHls),
            config: Arc::new(config),
            ids: Arc::new(ServerIds::new()),
            rates: Arc::new(Rates::default()),
            flv: || Box::new(TextMux),
        };
        Self { rtc, api: api_router(state.clone()), http: http_router(state.clone()), state }
    }

    /// Sends to the API port from loopback.
    pub(crate) async fn send(&self, method: Method, path: &str, kind: Option<&str>, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        self.ask(request.body(body.into()).unwrap()).await
    }

    /// Sends to the API port from loopback.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        ask(&self.api, "127.0.0.1:40000", request).await
    }

    /// GET from port 8080.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        ask(&self.http, "127.0.0.1:40000", Request::get(path).body(Body::empty()).unwrap()).await
    }
}

/// Sends a request as if from `peer`.
pub(crate) async fn ask(router: &Router, peer: &str, mut request: Request<Body>) -> Answer {
    request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}
