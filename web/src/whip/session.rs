//! The resource of one session: GET, PATCH (trickle and ICE restart) and DELETE on the URL that `Location` named.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};

use weir_rtc::{RestartError, SessionInfo, sdp::IceCredentials};

use super::{ACCEPT_PATCH, FRAGMENT, close, fragment::Fragment, text};
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
    if body::media_type(&headers).as_deref() != Some(FRAGMENT) {
        let problem = Problem::new(Fault::MediaType, "the body must be application/trickle-ice-sdpfrag");
        return Err(problem.accepting(ACCEPT_PATCH, FRAGMENT));
    }
    if !headers.contains_key(header::IF_MATCH) {
        return Err(Problem::new(Fault::PreconditionRequired, "If-Match must name the session's ETag"));
    }
    let body = text(body::read(&headers, body, &state.config()).await?)?;
    let fragment = Fragment::parse(&body)
        .ok_or_else(|| Problem::new(Fault::Malformed, "the body is not an SDP fragment (RFC 8840 section 9)"))?;
    // RFC 9725 section 4.3.3: other credentials are a restart.
    let theirs = info.username.split_once(':').map(|(_ours, theirs)| theirs);
    let new = fragment.credentials.filter(|(ufrag, _)| Some(*ufrag) != theirs);
    check_if_match(&headers, &info.etag, new.is_some())?;
    match new {
        Some((ufrag, pwd)) => restart(&state, &info, IceCredentials { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() }),
        // The candidates themselves are not needed: an ICE-lite agent sends no checks (RFC 8445
        // section 2.5) and learns its peer's addresses from the peer's.
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

fn restart(state: &AppState, info: &SessionInfo, remote: IceCredentials) -> Result<Response, Problem> {
    let restarted = state.rtc()?.restart_ice(&info.session, &info.etag, remote).map_err(|error| match error {
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

/// A restart names any ICE session; the example of RFC 9725 section 4.3.3 writes the asterisk in
/// quotes, and clients copy that.
fn check_if_match(headers: &HeaderMap, etag: &str, restarts: bool) -> Result<(), Problem> {
    let names = |tag: &str| tag == "*" || tag == etag || (restarts && tag == "\"*\"");
    let matches = |list: &str| list.split(',').map(str::trim).any(names);
    let mut tags = headers.get_all(header::IF_MATCH).iter();
    if tags.any(|value| value.to_str().is_ok_and(matches)) {
        return Ok(());
    }
    Err(Problem::new(Fault::PreconditionFailed, "the session has another ETag by now"))
}

fn find(state: &AppState, id: &str) -> Result<SessionInfo, Problem> {
    state.rtc()?.info(id).ok_or_else(no_session)
}

fn no_session() -> Problem {
    Problem::new(Fault::NoSession, "it has ended or never was")
}
