//! The one table of the API. The routers, the document at `/api/v1/openapi.json` and the test that asks
//! every route with every kind of credentials are made from it, so that no route can be forgotten.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    routing::{self, MethodRouter},
};
use serde_json::Value;

use super::{
    clients, clusters, features,
    guard::{self, Access},
    index, jsonp, mirrors, openapi, probes, raw, schema, streams, summaries, vhosts, webrtc_sessions,
};
use crate::{cors, metrics, peer::Peer, router::AppState};

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    /// As OpenAPI writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// What a route answers when all is well.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// JSON of this schema.
    Json(fn() -> Value),
    /// Text of this type.
    Text(&'static str),
    /// Nothing but this status: where to go, or that it is not built.
    Only(u16),
}

/// One method of one path.
pub(crate) struct Route {
    pub(crate) verb: Verb,
    /// In the form that axum and OpenAPI share.
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    /// The pages' port has it too.
    pub(crate) for_pages: bool,
    pub(crate) summary: &'static str,
    /// Names and meanings of its query's parameters.
    pub(crate) query: &'static [(&'static str, &'static str)],
    pub(crate) body: Body,
    handler: fn() -> MethodRouter<AppState>,
}

const PAGED: &[(&str, &str)] =
    &[("start", "how many to leave out"), ("count", "how many to list: 10 if not given, 2000 at most")];
const CLUSTER: &[(&str, &str)] = &[
    ("ip", "who asks"),
    ("vhost", "the vhost"),
    ("app", "the app"),
    ("stream", "the stream"),
    ("coworker", "how the asker names this server: host:port"),
];

/// GET, for those who may look.
const fn read(path: &'static str, summary: &'static str, body: fn() -> Value, handler: fn() -> MethodRouter<AppState>) -> Route {
    Route { verb: Verb::Get, path, access: Access::Read, for_pages: false, summary, query: &[], body: Body::Json(body), handler }
}

impl Route {
    const fn for_pages(mut self) -> Self {
        self.for_pages = true;
        self
    }

    const fn query(mut self, query: &'static [(&'static str, &'static str)]) -> Self {
        self.query = query;
        self
    }

    const fn open(mut self) -> Self {
        self.access = Access::Open;
        self
    }

    const fn answers(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    const fn operate(mut self, verb: Verb) -> Self {
        self.verb = verb;
        self.access = Access::Operate;
        self
    }

    fn methods(&self, state: &AppState) -> MethodRouter<AppState> {
        let access = self.access;
        let guard = move |state: State<AppState>, peer: Peer, request: Request, next: Next| {
            guard::of_route(access, state, peer, request, next)
        };
        let guard = middleware::from_fn_with_state(state.clone(), guard);
        (self.handler)().route_layer(guard)
    }
}

/// All of them.
pub(crate) static ROUTES: &[Route] = &[
    read("/", "What is below /", schema::urls, || routing::get(index::root)).open(),
    read("/api", "What is below /api", schema::urls, || routing::get(index::api)),
    read("/api/v1", "What is below /api/v1", schema::urls, || routing::get(index::v1)),
    read("/api/v1/versions", "The version of the server", schema::versions, || routing::get(index::versions)).for_pages(),
    read("/api/v1/summaries", "The process, the machine and all counters", schema::summaries, || {
        routing::get(summaries::summaries)
    })
    .for_pages(),
    read("/api/v1/rusages", "What the process has used", schema::numbers, || routing::get(mirrors::rusages)),
    read("/api/v1/self_proc_stats", "The process as the kernel sees it", schema::figures, || {
        routing::get(mirrors::self_proc_stats)
    }),
    read("/api/v1/system_proc_stats", "What the processors do", schema::numbers, || routing::get(mirrors::system_proc_stats)),
    read("/api/v1/meminfos", "The machine's memory", schema::numbers, || routing::get(mirrors::meminfos)),
    read("/api/v1/authors", "Licence and authors", schema::authors, || routing::get(features::authors)),
    read("/api/v1/features", "What the server can do", schema::features, || routing::get(features::features)),
    read("/api/v1/vhosts", "All vhosts", schema::vhosts, || routing::get(vhosts::list)).query(PAGED),
    read("/api/v1/vhosts/{id}", "One vhost", schema::vhost, || routing::get(vhosts::one)),
    read("/api/v1/streams", "What is published or waited for", schema::streams, || routing::get(streams::list))
        .query(PAGED)
        .for_pages(),
    read("/api/v1/streams/{id}", "One stream", schema::stream, || routing::get(streams::one)).for_pages(),
    read("/api/v1/clients", "Who is connected", schema::clients, || routing::get(clients::list)).query(PAGED).for_pages(),
    read("/api/v1/clients/{id}", "One client", schema::client, || routing::get(clients::one)).for_pages(),
    read("/api/v1/clients/{id}", "Ends a client", schema::done, || routing::delete(clients::kick)).operate(Verb::Delete),
    read("/api/v1/clusters", "Whether a stream is published here", schema::clusters, || routing::get(clusters::clusters))
        .query(CLUSTER),
    read("/api/v1/webrtc/sessions", "WebRTC sessions, and those that ended lately", schema::webrtc_sessions, || {
        routing::get(webrtc_sessions::list)
    })
    .query(PAGED)
    .for_pages(),
    read("/api/v1/webrtc/sessions/{id}", "What happened in a WebRTC session, and why", schema::webrtc_session, || {
        routing::get(webrtc_sessions::one)
    })
    .for_pages(),
    // A GET that may reload: looking at what is configured is for everybody who may look.
    read("/api/v1/raw", "SRS's raw API", schema::raw, || routing::get(raw::raw))
        .query(&[("rpc", "raw, reload or reload-fetch")])
        .operate(Verb::Get),
    read("/api/v1/reload", "Reads the configuration anew", schema::reloaded, || routing::post(raw::reload)).operate(Verb::Post),
    read("/api/v1/streams/{id}/record", "Starts recording: not built", schema::done, || routing::post(raw::record))
        .operate(Verb::Post)
        .answers(Body::Only(501)),
    read("/api/v1/streams/{id}/record", "Stops recording: not built", schema::done, || routing::delete(raw::record))
        .operate(Verb::Delete)
        .answers(Body::Only(501)),
    read("/api/v1/tests/requests", "The request as it came", schema::request, || routing::get(probes::requests)),
    read("/api/v1/tests/errors", "An error with code 100", schema::done, || routing::get(probes::errors)),
    read("/api/v1/tests/redirects", "A redirection to the errors", schema::done, || routing::get(probes::redirects))
        .answers(Body::Only(301)),
    read("/api/v1/openapi.json", "This document", schema::any, || routing::get(openapi::document)),
    read("/metrics", "Figures for Prometheus", schema::any, || routing::get(metrics::of_api))
        .open()
        .answers(Body::Text("text/plain")),
    read("/healthz", "The process is alive", schema::any, || routing::get(probes::healthz))
        .open()
        .answers(Body::Text("text/plain")),
    read("/readyz", "It takes clients", schema::any, || routing::get(probes::readyz)).open().answers(Body::Text("text/plain")),
];

/// The paths that the API's port has, or of these the ones that the pages' port has, each with and
/// without a slash at its end as SRS serves them.
pub(crate) fn router(state: &AppState, of_pages: bool) -> Router<AppState> {
    let mut by_path = BTreeMap::<_, MethodRouter<AppState>>::new();
    for route in ROUTES.iter().filter(|route| !of_pages || route.for_pages) {
        let methods = by_path.remove(route.path).unwrap_or_else(|| routing::options(preflight));
        by_path.insert(route.path, methods.merge(route.methods(state)));
    }
    let script = middleware::from_fn_with_state(state.clone(), jsonp::wrap);
    let router = by_path.into_iter().fold(Router::new(), |router, (path, methods)| match path {
        "/" | "/metrics" | "/healthz" | "/readyz" | "/api/v1/openapi.json" => router.route(path, methods),
        _ => router.route(&format!("{path}/"), methods.clone()).route(path, methods),
    });
    router.layer(script)
}

async fn preflight() -> axum::response::Response {
    cors::options("GET, HEAD, OPTIONS", &[])
}
