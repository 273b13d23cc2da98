//! A whole server for this crate's tests: a real hub, a real WebRTC server on a port of loopback,
//! and real HLS.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
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
use serde_json::Value;
use tower::ServiceExt;
use weir_bridge::hls::Hls;
use weir_rtc::{RtcConfig, RtcServer};
use weir_source::{Client, ClientGuard, ClientInfo, ClientKind, Hub, Pass, PerVhost, Secret, StreamKey, Wake};

use crate::{AppState, WebConfig, api_router, http_router};

/// What a browser offers, for either direction. Its ICE user fragment is `EsAw`.
pub(crate) const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 106\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
    a=fingerprint:sha-256 19:E2:1C:3B:4B:9F:81:E6:B8:5C:F4:A5:A8:D8:73:04:BB:05:2F:70:9F:04:A9:0E:05:E9:26:33:E8:70:88:A2\r\n\
    a=setup:actpass\r\na=mid:1\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:106 H264/90000\r\na=rtcp-fb:106 nack\r\n\
    a=rtcp-fb:106 nack pli\r\na=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

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
        param: Secret::default(),
        since: Instant::now(),
    };
    hub.clients().enter(Pass::free(info), Arc::new(NoWake))
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

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// Both routers over one state.
pub(crate) struct Server {
    pub(crate) state: AppState,
    pub(crate) rtc: RtcServer,
    pub(crate) api: Router,
    pub(crate) http: Router,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self::with(WebConfig::default())
    }

    pub(crate) fn with(config: WebConfig) -> Self {
        Self::limited(config, RtcConfig::default().sessions_max)
    }

    pub(crate) fn limited(config: WebConfig, sessions_max: usize) -> Self {
        Self::built(config, RtcConfig { sessions_max, ..RtcConfig::default() })
    }

    /// With one worker on a free port of loopback.
    pub(crate) fn built(config: WebConfig, rtc: RtcConfig) -> Self {
        let hub = Hub::new();
        let listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        let rtc = RtcConfig { listen, workers: 1, recv_buffer: 1 << 16, send_buffer: 1 << 16, ..rtc };
        let rtc = RtcServer::start(rtc, Arc::clone(&hub)).expect("loopback has a free port");
        let hls = Hls::new(Arc::clone(&hub), PerVhost::default(), tokio::runtime::Handle::current());
        let state = AppState::new(hub, rtc.handle(), hls, config);
        Self { rtc, api: api_router(state.clone()), http: http_router(state.clone()), state }
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.rtc.handle().list().len()
    }

    /// The only client.
    pub(crate) fn client(&self) -> Arc<Client> {
        let list = self.state.hub.clients().list();
        assert_eq!(list.len(), 1);
        Arc::clone(&list[0])
    }

    /// Ends all sessions.
    pub(crate) fn end_all(&self) {
        let rtc = self.rtc.handle();
        rtc.list().iter().for_each(|info| assert!(rtc.close(&info.session)));
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
