//! The pages: plain files in the binary, with a policy that lets nothing else in.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::{Value, json};

use crate::router::AppState;

/// Nothing from elsewhere, no inline script or style, no frame. Players need blob URLs for media
/// source extensions, hls.js for its worker too.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// A file of the pages.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($file:literal, $kind:expr) => {
        Asset { path: concat!("/assets/", $file), kind: $kind, bytes: include_bytes!(concat!("../assets/", $file)) }
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: Asset =
    Asset { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("../assets/index.html") };

const ASSETS: &[Asset] = &[
    asset!("style.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("app.js", SCRIPT),
    asset!("media.js", SCRIPT),
    asset!("ticker.js", SCRIPT),
    asset!("players.js", SCRIPT),
    asset!("publisher.js", SCRIPT),
    asset!("signal.js", SCRIPT),
    asset!("stats.js", SCRIPT),
    asset!("vendor/hls.light.min.js", SCRIPT),
    asset!("vendor/hls.LICENSE.txt", TEXT),
    asset!("vendor/mpegts.js", SCRIPT),
    asset!("vendor/mpegts.LICENSE.txt", TEXT),
    asset!("vendor/mpegts.js.LICENSE.txt", TEXT),
];

/// Pages that SRS's users know by name, and the tab that does the same here.
const REDIRECTS: &[(&str, &str)] = &[
    ("/players", "/"),
    ("/players/", "/"),
    ("/index.html", "/"),
    ("/players/whip.html", "/?tab=publish"),
    ("/players/rtc_publisher.html", "/?tab=publish"),
    ("/players/whep.html", "/?tab=play&protocol=whep"),
    ("/players/rtc_player.html", "/?tab=play&protocol=whep"),
    ("/players/srs_player.html", "/?tab=play&protocol=flv"),
];

pub(crate) fn routes() -> Router<AppState> {
    let files = std::iter::once(&INDEX).chain(ASSETS).fold(Router::new(), |router, asset| {
        let etag = etag(asset.bytes);
        router.route(asset.path, get(move |headers: HeaderMap| async move { serve(asset, &etag, &headers) }))
    });
    let pages = REDIRECTS.iter().fold(files, |router, (path, to)| {
        router.route(path, get(move || async move { Redirect::temporary(to) }))
    });
    pages
        .route("/favicon.ico", get(|| async { Redirect::temporary("/assets/icon.svg") }))
        .route("/assets/server.json", get(server))
}

fn serve(asset: &Asset, etag: &str, headers: &HeaderMap) -> Response {
    let etag_value = HeaderValue::from_str(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    let common = [
        (header::ETAG, etag_value),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (common, [(header::CONTENT_TYPE, asset.kind)], asset.bytes).into_response()
}

fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// What the pages cannot know: where the other ports are.
async fn server(State(state): State<AppState>) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "rtmp_port": state.config.rtmp_port,
        "api_port": state.config.api_port,
    }))
}
