//! The rules at the door of signalling: how often it may be knocked at, and who may change a session.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use weir_rtc::{SessionInfo, sdp::Direction};
use weir_source::Denied;

use super::{
    Action,
    token::{Ask, is_shown_in},
};
use crate::{AppState, Problem, ids::now_ms, peer::Peer, signalling::bearer};

/// Counts what begins or changes something against its address (H45).
pub(crate) async fn limit(State(state): State<AppState>, peer: Peer, request: Request, next: Next) -> Response {
    if ![Method::POST, Method::PATCH, Method::DELETE].contains(request.method()) {
        return next.run(request).await;
    }
    match state.door.take(&state.config(), peer.0) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            state.door.count(refusal);
            Problem::from(Denied::from(refusal)).into_response()
        }
    }
}

/// Whether a request may change or end a session (H39, A35). Its URL is a secret that only its owner
/// has; where streams need tokens, the request must show one for the same stream and action as well,
/// expired or not. Players that showed theirs in a query have no header to show it in again: for them
/// the URL is enough.
pub(crate) fn may_touch(state: &AppState, session: &SessionInfo, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let config = state.config();
    let rules = &config.vhosts.get(session.key.vhost()).access;
    let action = match session.direction {
        Direction::Publish => Action::Publish,
        Direction::Play => Action::Play,
    };
    let Some(token) = rules.token.as_ref().filter(|token| token.is_needed(action)) else { return Ok(()) };
    let query = uri.query().filter(|_| token.query).unwrap_or_default();
    let bearer = bearer(headers);
    let came_by_query = || state.hub.clients().get(&session.id).is_some_and(|client| is_shown_in(client.info.param.expose()));
    if bearer.is_none() && !is_shown_in(query) && came_by_query() {
        return Ok(());
    }
    let ask = Ask {
        action,
        key: &session.key,
        // A phone that changes its network restarts ICE from another address.
        ip: None,
        bearer: bearer.as_ref().map(|bearer| bearer.expose()),
        query: Some(query),
        lasts: true,
    };
    token.check(&ask, now_ms() / 1_000).map(|_identity| ()).map_err(|refusal| {
        state.door.count(refusal);
        Denied::from(refusal).into()
    })
}
