//! The resource of one session: GET, PATCH and DELETE on the URL that `Location` named. A PATCH brings
//! candidates, restarts ICE, or answers an offer of ours.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};

use weir_rtc::{AnswerError, RestartError, SessionInfo, sdp::IceCredentials};

use super::{ACCEPT_PATCH, FRAGMENT, SDP, WhipConfig, close, fragment::Fragment, text};
use crate::{Fault, Problem, access::may_touch, body, cors, router::AppState};

pub(super) fn methods() -> MethodRouter<AppState> {
    get(describe).options(|| async { options() }).patch(patch).delete(delete)
}

fn options() -> Response {
    cors::options("GET, HEAD, OPTIONS, PATCH, DELETE, POST", &[(ACCEPT_PATCH, FRAGMENT)])
}

/// No content (RFC 9725 section 4.2), but the tag that a PATCH must name.
async fn describe(State(state): State<AppState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let info = find(&state, &id)?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, info.etag)]).into_response())
}

/// `If-Match` is not looked at: a session can always be ended (RFC 9725 section 4.2).
async fn delete(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    may_touch(&state, &find(&state, &id)?, &headers, &uri)?;
    if close(&state, id).await { Ok(StatusCode::OK) } else { Err(no_session()) }
}

async fn patch(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Problem> {
    let info = find(&state, &id)?;
    may_touch(&state, &info, &headers, &uri)?;
    match body::media_type(&headers).as_deref() {
        Some(SDP) if info.awaits_answer => answer(&state, &info, &headers, body).await,
        Some(FRAGMENT) => trickle(&state, &info, &headers, body).await,
        _ => Err(unwanted_type()),
    }
}

fn unwanted_type() -> Problem {
    let problem = Problem::new(Fault::MediaType, "the body must be application/trickle-ice-sdpfrag");
    problem.accepting(ACCEPT_PATCH, FRAGMENT)
}

/// The answer to our offer (draft-ietf-wish-whep: 406). It needs no `If-Match`: it can be given once.
async fn answer(state: &AppState, info: &SessionInfo, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let answer = text(body::read(headers, body, &state.config()).await?)?;
    match state.rtc()?.answer(&info.session, &answer) {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(AnswerError::Negotiate(error)) => Err(error.into()),
        // Another answer came in between.
        Err(AnswerError::NotAsked) => Err(unwanted_type()),
        Err(_) => Err(no_session()),
    }
}

async fn trickle(state: &AppState, info: &SessionInfo, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let config = state.config();
    let WhipConfig { trickle, ice_restart, .. } = config.vhosts.get(info.key.vhost()).whip;
    if !trickle && !ice_restart {
        // RFC 9725 section 4.3: then PATCH is no method of the resource.
        return Err(Problem::new(Fault::Method, "PATCH is off").accepting("allow", "GET, HEAD, OPTIONS, DELETE"));
    }
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(Fault::PreconditionRequired, "If-Match must name the session's ETag"));
    }
    let body = text(body::read(headers, body, &config).await?)?;
    let fragment = Fragment::parse(&body)
        .ok_or_else(|| Problem::new(Fault::Malformed, "the body is not an SDP fragment (RFC 8840 section 9)"))?;
    // RFC 9725 section 4.3.3: other credentials are a restart. Before its answer a client has none that we know.
    let theirs = info.username.split_once(':').map(|(_ours, theirs)| theirs);
    let new = fragment.credentials.filter(|(ufrag, _)| !info.awaits_answer && Some(*ufrag) != theirs);
    let is_any = matches_any(headers, &info.etag, new.is_some())?;
    match new {
        Some(_) if !ice_restart => Err(Problem::new(Fault::Unprocessable, "ICE restarts are off")),
        Some((ufrag, pwd)) => {
            let remote = IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() };
            restart(state, info, if is_any { None } else { Some(&info.etag) }, remote)
        }
        None if !trickle => Err(Problem::new(Fault::Unprocessable, "trickled candidates are off")),
        // The candidates themselves are not needed: an ICE-lite agent sends no checks (RFC 8445
        // section 2.5) and learns its peer's addresses from the peer's.
        None => {
            state.rtc()?.trickle(&info.session, fragment.candidates);
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

fn restart(state: &AppState, info: &SessionInfo, known: Option<&str>, remote: IceCredentials) -> Result<Response, Problem> {
    let restarted = state.rtc()?.restart_ice(&info.session, known, remote).map_err(|error| match error {
        RestartError::NoSession => no_session(),
        error => Problem::new(Fault::PreconditionFailed, error.to_string()),
    })?;
    let headers = [
        (header::CONTENT_TYPE, FRAGMENT.to_owned()),
        (header::ETAG, restarted.etag),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::OK, headers, restarted.fragment).into_response())
}

/// Whether `If-Match` names any ICE session, rather than this one. A restart names any; the example of
/// RFC 9725 section 4.3.3 writes the asterisk in quotes, and clients copy that.
fn matches_any(headers: &HeaderMap, etag: &str, restarts: bool) -> Result<bool, Problem> {
    let is_any = |tag: &str| tag == "*" || (restarts && tag == "\"*\"");
    let mut is_this = false;
    for value in headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok()) {
        let mut tags = value.split(',').map(str::trim);
        if tags.clone().any(is_any) {
            return Ok(true);
        }
        is_this |= tags.any(|tag| tag == etag);
    }
    if is_this { Ok(false) } else { Err(Problem::new(Fault::PreconditionFailed, "the session has another ETag by now")) }
}

fn find(state: &AppState, id: &str) -> Result<SessionInfo, Problem> {
    state.rtc()?.info(id).ok_or_else(no_session)
}

fn no_session() -> Problem {
    Problem::new(Fault::NoSession, "it has ended or never was")
}
