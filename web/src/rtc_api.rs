//! SRS's JSON signalling: POST /rtc/v1/publish/ and /rtc/v1/play/.
//!
//! It answers 200 whatever happens; `code` says whether it worked.

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::json;
use weir_rtc::{Opened, sdp::Direction};

use crate::{
    Fault, Problem, api, body, cors,
    peer::Peer,
    query::Params,
    router::AppState,
    signalling::{self, Asked},
};

/// The fields that are used of SRS's `{api, tid, streamurl, clientip, sdp}`. `clientip` is not
/// believed.
#[derive(Deserialize)]
struct Request {
    streamurl: String,
    sdp: String,
}

pub(crate) fn routes() -> Router<AppState> {
    [("/rtc/v1/publish", Direction::Publish), ("/rtc/v1/play", Direction::Play)].into_iter().fold(
        Router::new(),
        |router, (path, direction)| {
            let methods = post(move |state, peer, uri, headers, body| answer(direction, state, peer, uri, headers, body))
                .options(|| async { cors::options("POST, OPTIONS", &[("accept-post", "application/json")]) });
            router.route(path, methods.clone()).route(&format!("{path}/"), methods)
        },
    )
}

async fn answer(
    direction: Direction,
    State(state): State<AppState>,
    peer: Peer,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match try_answer(direction, &state, peer, &uri, &headers, body).await {
        Ok(opened) => {
            let fields = json!({"sdp": opened.answer, "sessionid": opened.username});
            api::envelope(&state, fields).into_response()
        }
        // A body of another type can only come from a page's form, not from a client of SRS.
        Err(problem) if problem.fault == Fault::MediaType => problem.into_response(),
        Err(problem) => {
            let failure = json!({
                "code": problem.fault.code(),
                "server": state.ids.server,
                "reason": problem.fault.slug(),
                "detail": problem.detail,
            });
            (StatusCode::OK, Json(failure)).into_response()
        }
    }
}

async fn try_answer(
    direction: Direction,
    state: &AppState,
    peer: Peer,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Opened, Problem> {
    let params = Params::of(uri)?;
    // Clients of SRS send application/json, curl's form type or nothing. The types that a foreign
    // page's form can send besides are refused (A39).
    if body::media_type(headers).is_some_and(|kind| !kind.starts_with("application/")) {
        return Err(Problem::new(Fault::MediaType, "the body must be application/json"));
    }
    let body = body::read(headers, body, &state.config()).await?;
    let request: Request = serde_json::from_slice(&body)
        .map_err(|_| Problem::new(Fault::Malformed, "the body must be JSON with streamurl and sdp"))?;
    let named = stream_of(&request.streamurl)?;
    let params = params.with(named.query);
    let key = state.hub.vhosts().key(params.vhost().unwrap_or(named.host), named.app, named.stream)?;
    signalling::open(state, Asked { direction, key, params: &params, peer, headers, counter_offer: false }, request.sdp).await
}

/// The stream of `scheme://host[:port]/app/stream[?query]`, of any scheme.
fn stream_of(url: &str) -> Result<Named<'_>, Problem> {
    let problem = || Problem::new(Fault::Name, "streamurl must be scheme://host/app/stream");
    let (_scheme, rest) = url.split_once("://").ok_or_else(problem)?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = rest.split_once('/').ok_or_else(problem)?;
    let (app, stream) = path.split_once('/').ok_or_else(problem)?;
    Ok(Named { host, app, stream, query })
}

/// The parts of a `streamurl`.
#[derive(Debug)]
struct Named<'a> {
    host: &'a str,
    app: &'a str,
    stream: &'a str,
    query: &'a str,
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::testing::{OFFER, Server};

    fn request(url: &str, sdp: &str) -> String {
        json!({"api": "x", "tid": "1", "streamurl": url, "clientip": null, "sdp": sdp}).to_string()
    }

    #[test]
    fn any_scheme_names_a_stream() {
        for url in ["webrtc://h/live/s", "http://h:1985/live/s?vhost=a", "x://[::1]:8/live/s#y", "webrtc:///live/s"] {
            let named = stream_of(url).unwrap();
            assert_eq!((named.app, named.stream), ("live", "s"), "{url}");
        }
        for bad in ["", "live/s", "webrtc://h", "webrtc://h/live"] {
            assert!(stream_of(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn srs_clients_get_code_0_with_answer_and_session() {
        let server = Server::new();
        for path in ["/rtc/v1/publish/", "/rtc/v1/publish", "/rtc/v1/play/", "/rtc/v1/play"] {
            for kind in [Some("application/json"), None] {
                let body = request("webrtc://localhost/live/s", OFFER);
                let answer = server.send(Method::POST, path, kind, body).await;
                assert_eq!(answer.status, 200);
                let json = answer.json();
                assert_eq!(json["code"], 0, "{path} {json}");
                assert!(json["sdp"].as_str().unwrap().starts_with("v=0"));
                assert!(json["sessionid"].as_str().unwrap().contains(':'));
                assert!(json["server"].is_string() && json["service"].is_string() && json["pid"].is_string());
                assert_eq!(answer.header("access-control-allow-origin"), "*");
                let client = server.client();
                assert_eq!(client.info.key.to_string(), "/live/s");
                assert_eq!(client.info.kind.is_publisher(), path.contains("publish"));
                server.end_all();
            }
        }
    }

    #[tokio::test]
    async fn failures_are_200_with_a_code() {
        let server = Server::new();
        let bodies = [
            ("{}".to_owned(), 400),
            ("[".to_owned(), 400),
            (request("webrtc://h/live/../x", OFFER), 400),
            (request("webrtc://h/live/s", "v=0"), 400),
            (request("webrtc://h/live/s", &OFFER.replace("a=group:BUNDLE 0 1\r\n", "")), 422),
            ("[".repeat(20_000), 400),
            (request("webrtc://h/live/s", &"x".repeat(70_000)), 413),
        ];
        for (body, code) in bodies {
            let answer = server.send(Method::POST, "/rtc/v1/publish/", Some("application/json"), body).await;
            assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(code)));
            assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
        }
        assert_eq!(server.sessions(), 0);
    }

    #[tokio::test]
    async fn a39_a_pages_form_types_are_refused() {
        let server = Server::new();
        for kind in ["text/plain", "multipart/form-data; boundary=x"] {
            let body = request("webrtc://h/live/s", OFFER);
            assert_eq!(server.send(Method::POST, "/rtc/v1/publish/", Some(kind), body).await.status, 415);
        }
        assert_eq!(server.sessions(), 0);
    }
}
