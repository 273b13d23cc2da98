//! WHIP (RFC 9725) and WHEP endpoints under SRS's paths.
//!
//! POST opens a session and names its resource in `Location`; `session` serves that resource. A player
//! whose offer has no codec of the stream is answered 406 with an offer of ours, to be answered there.

mod config;
mod fragment;
mod links;
mod session;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use weir_rtc::{Opened, sdp::Direction};
use weir_source::StreamKey;

pub use config::{IceLogin, IceServer, IceServerError, WhipConfig};

use crate::{
    Fault, Problem, body, cors,
    peer::Peer,
    query::Params,
    router::AppState,
    signalling::{self, Asked},
};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_POST: &str = "accept-post";
const ACCEPT_PATCH: &str = "accept-patch";

/// The three names that SRS knows: what a POST does, and where its sessions are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Whip,
    Whep,
}

impl Endpoint {
    const fn direction(self) -> Direction {
        match self {
            Self::Whip => Direction::Publish,
            Self::Whep => Direction::Play,
        }
    }
}

/// The endpoints, with and without the last slash, and the sessions below them.
pub(crate) fn routes() -> Router<AppState> {
    [("/rtc/v1/whip", Endpoint::Whip), ("/rtc/v1/whep", Endpoint::Whep), ("/rtc/v1/whip-play", Endpoint::Whep)].into_iter().fold(
        Router::new(),
        |router, (path, endpoint)| {
            let methods = get(move || async move { describe(endpoint) })
                .options(|| async { options() })
                .post(move |state, peer, uri, headers, body| offer(endpoint, state, peer, uri, headers, body))
                .delete(delete_by_query);
            router
                .route(path, methods.clone())
                .route(&format!("{path}/"), methods)
                .route(&format!("{path}/session/{{id}}"), session::methods())
        },
    )
}

/// RFC 9725 section 4.2: GET answers without content; the WHEP draft wants HEAD, and so GET, to
/// name the type that a POST brings.
fn describe(endpoint: Endpoint) -> Response {
    let accept = (HeaderName::from_static(ACCEPT_POST), HeaderValue::from_static(SDP));
    match endpoint {
        Endpoint::Whip => (StatusCode::NO_CONTENT, HeaderMap::from_iter([accept])).into_response(),
        Endpoint::Whep => {
            let mut response = (HeaderMap::from_iter([accept]), Body::empty()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
            response
        }
    }
}

fn options() -> Response {
    cors::options("POST, GET, HEAD, OPTIONS, PATCH, DELETE", &[(ACCEPT_POST, SDP)])
}

async fn offer(
    endpoint: Endpoint,
    State(state): State<AppState>,
    peer: Peer,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let direction = match endpoint {
        // SRS plays through the WHIP path too when it is asked to.
        Endpoint::Whip => params.action()?.unwrap_or(Direction::Publish),
        Endpoint::Whep => endpoint.direction(),
    };
    let key = params.key(&state.hub.vhosts(), signalling::host(&headers))?;
    if body::media_type(&headers).as_deref() != Some(SDP) {
        return Err(Problem::new(Fault::MediaType, "the body must be application/sdp").accepting(ACCEPT_POST, SDP));
    }
    let offer = text(body::read(&headers, body, &state.config()).await?)?;
    let asked = Asked { direction, key: key.clone(), params: &params, peer, headers: &headers, counter_offer: true };
    let opened = signalling::open(&state, asked, offer).await?;
    Ok(created(&state, opened, direction, &key))
}

/// 201 with the answer, or 406 with an offer of ours.
fn created(state: &AppState, opened: Opened, direction: Direction, key: &StreamKey) -> Response {
    let path = match direction {
        Direction::Publish => "whip",
        Direction::Play => "whep",
    };
    // App and stream are for the reader of logs and for SRS's tools; the session alone decides.
    let location = format!("/rtc/v1/{path}/session/{}?app={}&stream={}", opened.session, key.app(), key.stream());
    let now = SystemTime::now();
    let (status, kind, patch) = match opened.answer_within {
        None => (StatusCode::CREATED, SDP.to_owned(), FRAGMENT.to_owned()),
        Some(limit) => {
            let until = httpdate::fmt_http_date(now + limit);
            (StatusCode::NOT_ACCEPTABLE, format!("{SDP}; valid-until=\"{until}\""), format!("{SDP}, {FRAGMENT}"))
        }
    };
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::LOCATION, location),
        (header::ETAG, opened.etag),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (HeaderName::from_static(ACCEPT_PATCH), patch),
    ];
    let mut response = (status, headers, opened.answer).into_response();
    let config = state.config();
    let (servers, client) = (&config.vhosts.get(key.vhost()).whip.ice_servers, &opened.client);
    for link in links::ice_servers(servers, client, now) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

/// SRS's own form of ending a session: the secret as `token` in the query. As with SRS it succeeds
/// too when the session is already gone.
async fn delete_by_query(State(state): State<AppState>, uri: Uri) -> Result<StatusCode, Problem> {
    let params = Params::of(&uri)?;
    if params.get("action").is_some_and(|action| action != "delete") {
        return Err(Problem::new(Fault::Query, "the action of a DELETE can only be delete"));
    }
    let token = params.get("token").ok_or_else(|| Problem::new(Fault::Query, "DELETE needs the session's token"))?;
    close(&state, token.to_owned()).await;
    Ok(StatusCode::OK)
}

/// SDP and its fragments are UTF-8 without NUL (RFC 8866 section 5).
fn text(body: bytes::Bytes) -> Result<String, Problem> {
    let malformed = || Problem::new(Fault::Malformed, "the body is not UTF-8 text");
    let text = String::from_utf8(body.into()).map_err(|_| malformed())?;
    if text.contains('\0') { Err(malformed()) } else { Ok(text) }
}

/// Ends a session. It waits some milliseconds for the thread that owns the session, so it must not
/// hold up the runtime's.
async fn close(state: &AppState, session: String) -> bool {
    let Some(rtc) = state.rtc.clone() else { return false };
    tokio::task::spawn_blocking(move || rtc.close(&session)).await.unwrap_or(false)
}
