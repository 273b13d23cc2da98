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

const INDEX: Asset = Asset { path: "/", kind: "text/html; charset=utf-8", bytes: include_bytes!("../assets/index.html") };

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

/// Where browsers look for an icon that no page names.
const ICON: &str = "/favicon.ico";

pub(crate) fn routes() -> Router<AppState> {
    let files = std::iter::once(&INDEX).chain(ASSETS).fold(Router::new(), |router, asset| {
        let etag = etag(asset.bytes);
        router.route(asset.path, get(move |headers: HeaderMap| async move { serve(asset, &etag, &headers) }))
    });
    let pages = REDIRECTS
        .iter()
        .fold(files, |router, (path, to)| router.route(path, get(move || async move { Redirect::temporary(to) })));
    pages.route(ICON, get(|| async { Redirect::temporary("/assets/icon.svg") })).route("/assets/server.json", get(server))
}

/// Whether there is a page at this path: files of the operator's own go before it.
pub(crate) fn has(path: &str) -> bool {
    path == INDEX.path || path == ICON || REDIRECTS.iter().any(|(from, _)| *from == path)
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
        "rtmp_port": state.config().rtmp_port,
        "api_port": state.config().api_port,
    }))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};

    use super::*;
    use crate::testing::{Server, ask};

    #[tokio::test]
    async fn a41_pages_run_nothing_but_their_own_files() {
        let server = Server::new();
        let index = server.get("/").await;
        assert_eq!((index.status, index.header("content-type")), (200, "text/html; charset=utf-8"));
        assert_eq!(index.header("content-security-policy"), POLICY);
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*') && !POLICY.contains("http:"));
        for forbidden in ["<script>", "style=", "onclick", "http://", "https://"] {
            assert!(!index.text().contains(forbidden), "{forbidden}");
        }
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT && !asset.path.contains("vendor")) {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(forbidden), "{} has {forbidden}", asset.path);
            }
        }
    }

    #[tokio::test]
    async fn every_file_that_a_page_names_is_there() {
        let server = Server::new();
        let texts = std::iter::once(&INDEX).chain(ASSETS).filter(|asset| !asset.path.contains("vendor"));
        let mut named = 0;
        for asset in texts {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            for found in text.match_indices("\"/assets/").map(|(at, _)| &text[at + 1..]) {
                let path = found.split('"').next().unwrap();
                assert_eq!(server.get(path).await.status, 200, "{path} in {}", asset.path);
                named += 1;
            }
        }
        assert!(named > 10);
    }

    #[tokio::test]
    async fn an_unchanged_file_is_304() {
        let server = Server::new();
        let first = server.get("/assets/style.css").await;
        assert_eq!((first.status, first.header("content-type")), (200, "text/css; charset=utf-8"));
        let request = Request::get("/assets/style.css").header("if-none-match", first.header("etag"));
        let again = ask(&server.http, "127.0.0.1:1", request.body(Body::empty()).unwrap()).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
    }

    #[tokio::test]
    async fn srs_page_names_lead_to_the_right_tab() {
        let server = Server::new();
        let answer = server.get("/players/whip.html").await;
        assert_eq!((answer.status, answer.header("location")), (307, "/?tab=publish"));
        assert_eq!(server.get("/players/whep.html").await.header("location"), "/?tab=play&protocol=whep");
        assert_eq!(server.get("/assets/server.json").await.json()["rtmp_port"], 1935);
    }
}
