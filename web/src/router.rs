//! The two routers: 1985 for signalling and the API, 8080 for streams and pages.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{from_fn, from_fn_with_state, map_response, map_response_with_state},
    response::{IntoResponse, Response},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use weir_bridge::{hls::Hls, remux::RemuxBridge, rtmp::RtmpStats};
use weir_rtc::RtcHandle;
use weir_source::Hub;

use crate::{
    Fault, HlsSessions, Hooks, HttpStats, Problem, Rates, Readiness, Reload, ServerIds, WebConfig,
    access::{self, Door},
    api, cors, files, heartbeat, live,
    machine::Machine,
    metrics, pages,
    reached::Reached,
    rtc_api, stats,
    tls::Certificates,
    traces::{self, TraceStats},
    whip,
};

/// What the handlers work on. Cloning shares it.
#[derive(Clone)]
pub struct AppState {
    /// Streams and clients.
    pub hub: Arc<Hub>,
    /// The WebRTC server, unless it is off.
    pub rtc: Option<RtcHandle>,
    /// The HLS output, unless it is off.
    pub hls: Option<Arc<Hls>>,
    /// The callbacks, where there are any, for their figures.
    pub hooks: Option<Arc<Hooks>>,
    /// The viewers of HLS.
    pub hls_sessions: Arc<HlsSessions>,
    /// What the RTMP listeners count; fresh counters where there are none.
    pub rtmp: Arc<RtmpStats>,
    /// What the routes count.
    pub http: Arc<HttpStats>,
    /// What is counted of who comes in.
    pub door: Arc<Door>,
    /// Settings. They may be replaced at any time: a request takes those of its beginning.
    pub settings: Arc<ArcSwap<WebConfig>>,
    /// Certificates of the listeners that speak TLS.
    pub certificates: Arc<Certificates>,
    /// Whether new clients are welcome: false once the process drains.
    pub readiness: Arc<Readiness>,
    /// Reads the configuration again; none where there is nobody to do so.
    pub reload: Option<Arc<dyn Reload>>,
    /// Who we are.
    pub ids: Arc<ServerIds>,
    /// Bit rates for the API: somebody must run [`AppState::run`].
    pub rates: Arc<Rates>,
    pub(crate) machine: Arc<Machine>,
    /// The remuxers and transcoders, for their counters.
    pub remux: Option<Arc<RemuxBridge>>,
    /// What becomes of traces, where a collector is named.
    pub traces: Option<Arc<TraceStats>>,
    pub(crate) scrapes: Arc<metrics::Scrapes>,
    pub(crate) reached: Arc<Reached>,
}

impl AppState {
    /// With fresh ids and nothing sampled yet.
    pub fn new(hub: Arc<Hub>, rtc: impl Into<Option<RtcHandle>>, hls: impl Into<Option<Arc<Hls>>>, config: WebConfig) -> Self {
        let (rtc, hls) = (rtc.into(), hls.into());
        let (rtmp, http, hls_sessions) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            hub,
            rtc,
            hls,
            hooks: None,
            hls_sessions,
            rtmp,
            http,
            door: Arc::default(),
            settings: Arc::new(ArcSwap::from_pointee(config)),
            certificates: Arc::default(),
            readiness: Arc::default(),
            reload: None,
            ids: Arc::default(),
            rates: Arc::default(),
            machine: Arc::default(),
            remux: None,
            traces: None,
            scrapes: Arc::default(),
            reached: Arc::default(),
        }
    }

    /// What must run beside the routers until `stop`: the sampling of counters and of the machine, and the
    /// heartbeat.
    pub async fn run(self, stop: CancellationToken) {
        let disks = self.config().api.stats.disks.clone();
        tokio::join!(
            self.rates.run(&self.hub, stop.clone()),
            self.machine.run(disks, stop.clone()),
            heartbeat::run(&self, stop.clone()),
        );
    }

    /// The settings as they are now.
    pub(crate) fn config(&self) -> Arc<WebConfig> {
        self.settings.load_full()
    }

    /// The WebRTC server, or the answer of one that has none.
    pub(crate) fn rtc(&self) -> Result<&RtcHandle, Problem> {
        self.rtc.as_ref().ok_or_else(|| Problem::new(Fault::NotFound, "WebRTC is off on this server"))
    }

    /// The HLS output, or the answer of a server that has none.
    pub(crate) fn hls(&self) -> Result<&Arc<Hls>, Problem> {
        self.hls.as_ref().ok_or_else(|| Problem::new(Fault::NotFound, "HLS is off on this server"))
    }
}

/// Port 1985: WHIP, WHEP, SRS's JSON signalling, and the API.
pub fn api_router(state: AppState) -> Router {
    let routes = signalling(&state).merge(closed(&state, api::router(&state, false)));
    finish(routes.fallback(nothing), state)
}

/// Port 8080: live streams and the pages, and what the pages need of the API under the same
/// origin. Nothing can be changed through it but by signalling.
pub fn http_router(state: AppState) -> Router {
    let shown = closed(&state, api::router(&state, true));
    let routes = signalling(&state).merge(shown).merge(played(&state)).merge(pages::routes());
    let files = from_fn_with_state(state.clone(), files::or_file);
    finish(routes.fallback(nothing).layer(files), state)
}

/// Both on one port: signalling and the API under their own paths, all else as on 8080.
pub fn combined_router(state: AppState) -> Router {
    let (api, http) = (api_router(state.clone()), http_router(state));
    Router::new().fallback(move |request: Request| {
        let router = if is_api(request.uri().path()) { api.clone() } else { http.clone() };
        router.oneshot(request)
    })
}

/// An app may be called `api` or `rtc` all the same: its streams are no paths of these.
fn is_api(path: &str) -> bool {
    matches!(path, "/api" | "/api/" | "/metrics" | "/healthz" | "/readyz")
        || ["/api/v1", "/rtc/v1/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Port 9972: nothing but the figures for Prometheus.
pub fn exporter_router(state: AppState) -> Router {
    finish(metrics::routes().method_not_allowed_fallback(wrong_method).fallback(nothing), state)
}

fn signalling(state: &AppState) -> Router<AppState> {
    let routes = whip::routes().merge(rtc_api::routes());
    open(routes.route_layer(from_fn_with_state(state.clone(), access::limit)))
}

/// Routes that pages of every origin may use.
fn open(routes: Router<AppState>) -> Router<AppState> {
    routes.method_not_allowed_fallback(wrong_method).layer(map_response(cors::open))
}

/// Streams: pages of every origin may play them, unless the configuration closes them.
fn played(state: &AppState) -> Router<AppState> {
    let opened = map_response_with_state(state.clone(), open_to_players);
    live::routes().method_not_allowed_fallback(wrong_method).layer(opened)
}

/// Routes that only our own pages may read, unless the configuration opens them.
fn closed(state: &AppState, routes: Router<AppState>) -> Router<AppState> {
    let opened = map_response_with_state(state.clone(), open_if_allowed);
    routes.method_not_allowed_fallback(wrong_method).layer(opened)
}

fn finish(routes: Router<AppState>, state: AppState) -> Router {
    let count = map_response_with_state(state.clone(), stats::count);
    let guard = from_fn_with_state(state.clone(), api::guard::of_prefix);
    routes.layer(guard).layer(map_response(cors::no_sniff)).layer(count).layer(from_fn(traces::request)).with_state(state)
}

async fn open_if_allowed(State(state): State<AppState>, response: Response) -> Response {
    if state.config().api.crossdomain { cors::open(response).await } else { response }
}

async fn open_to_players(State(state): State<AppState>, response: Response) -> Response {
    if state.config().crossdomain { cors::open(response).await } else { response }
}

async fn wrong_method() -> Problem {
    Problem::new(Fault::Method, "see Allow")
}

/// The path is not repeated: it is whatever the client wrote (A40).
async fn nothing() -> Response {
    cors::open(Problem::new(Fault::NotFound, "there is nothing at this path").into_response()).await
}
