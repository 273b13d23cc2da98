//! HLS: playlists and segments as the segmenter holds them in memory, under the session of who asks.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tracing::debug;
use weir_bridge::hls::HlsError;
use weir_source::{ClientInfo, ClientKind, Secret, StreamKey};

use super::hls_session::{Session, Viewer, is_ctx};
use crate::{
    Fault, Problem,
    peer::{Peer, Scheme, kept_header},
    query::Params,
    router::AppState,
    signalling::bearer,
    trace_id,
};

/// The query parameter that names a session.
const CTX: &str = "hls_ctx";
/// The playlist changes with every segment, and the first one is for one player only.
const PLAYLIST: [(HeaderName, &str); 2] =
    [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl"), (header::CACHE_CONTROL, "no-cache")];
/// A segment's name is never used again for other bytes.
const SEGMENT: [(HeaderName, &str); 2] = [(header::CONTENT_TYPE, "video/mp2t"), (header::CACHE_CONTROL, "public, max-age=60")];

/// Who asks for a playlist.
pub(super) struct Asked<'a> {
    pub(super) key: StreamKey,
    pub(super) params: &'a Params,
    pub(super) peer: Peer,
    pub(super) scheme: Scheme,
    pub(super) headers: &'a HeaderMap,
}

/// A head alone says nothing of what is there, and makes nobody a viewer.
pub(super) fn head() -> Response {
    PLAYLIST.into_response()
}

/// The playlist of a session, or one that names a new session to a player that has none.
pub(super) async fn playlist(state: &AppState, asked: Asked<'_>) -> Result<Response, Problem> {
    let vhost = Arc::clone(state.config().vhosts.get(asked.key.vhost()));
    let hls = state.hls()?;
    if !hls.settings().get(asked.key.vhost()).enabled {
        return Err(Problem::new(Fault::NotFound, "HLS is off here"));
    }
    let viewer = asked.viewer();
    let session = match asked.params.get(CTX).filter(|ctx| is_ctx(ctx)) {
        Some(ctx) => match state.hls_sessions.get(ctx, |key| *key == asked.key) {
            Some(session) => session,
            None => begin(state, &asked, viewer, Some(ctx.to_owned())).await?,
        },
        None => match state.hls_sessions.of(&viewer, !vhost.hls_ctx) {
            Some(session) => session,
            None => begin(state, &asked, viewer, None).await?,
        },
    };
    let has_ctx = asked.params.get(CTX) == Some(session.ctx());
    if vhost.hls_ctx && !has_ctx {
        return Ok(first_playlist(&asked, session.ctx()).into_response());
    }
    session.ask()?;
    let text = hls.playlist(&asked.key).await.map_err(|error| match error {
        HlsError::NotFound | HlsError::Off => absent(),
        HlsError::Timeout => Problem::new(Fault::NotReady, error.to_string()),
        _ => Problem::new(Fault::TooManySessions, error.to_string()),
    })?;
    let text = match has_ctx && vhost.hls_ts_ctx {
        true => with_query(&text, &format!("{CTX}={}", session.ctx())),
        false => with_query(&text, asked.vhost_query()),
    };
    session.sent(text.len());
    Ok((StatusCode::OK, PLAYLIST, text).into_response())
}

/// A segment. One that is asked for under a session's name counts for it; the name alone is enough to
/// get it, for it can only be known from a playlist, and caches between may leave the query out.
pub(super) fn segment(state: &AppState, asked: &Asked<'_>, file: &str) -> Result<Response, Problem> {
    let is_of = |key: &StreamKey| key.app() == asked.key.app() && key.stream() == asked.key.stream();
    let ctx = asked.params.get(CTX).filter(|ctx| is_ctx(ctx));
    let session = ctx.and_then(|ctx| state.hls_sessions.get(ctx, is_of));
    if let Some(session) = &session {
        session.ask()?;
    }
    let key = session.as_ref().map_or(&asked.key, |session| session.key());
    let bytes = state.hls()?.segment(key, file).ok_or_else(absent)?;
    if let Some(session) = &session {
        session.sent(bytes.len());
    }
    Ok((StatusCode::OK, SEGMENT, bytes).into_response())
}

/// Whether there is such a stream is said only to those who may play it.
async fn begin(state: &AppState, asked: &Asked<'_>, viewer: Viewer, ctx: Option<String>) -> Result<Arc<Session>, Problem> {
    let hls = state.hls()?;
    let info = ClientInfo {
        id: trace_id(),
        kind: ClientKind::HlsPlay,
        ip: asked.peer.0,
        url: format!("{}://{}/{}", asked.scheme.name(), kept_header(asked.headers, &header::HOST), asked.key.app()),
        page_url: kept_header(asked.headers, &header::REFERER),
        param: Secret::new(with_mark(&asked.query_without_ctx())),
        since: Instant::now(),
        key: asked.key.clone(),
    };
    debug!(id = %info.id, stream = %asked.key, peer = %asked.peer.0, "hls play");
    let pass = state.hub.admit(info, bearer(asked.headers)).await?;
    if !hls.has(&asked.key) {
        return Err(absent());
    }
    let window = hls.settings().get(asked.key.vhost()).window;
    state.hls_sessions.begin(&state.hub, pass, viewer, ctx, window * 2)
}

/// A master playlist (RFC 8216 section 4.3.4) whose one variant is the session. What the stream needs
/// is not known yet, so its bandwidth is SRS's 1.
fn first_playlist(asked: &Asked<'_>, ctx: &str) -> impl IntoResponse + use<> {
    let mut query = asked.query_without_ctx();
    if !query.is_empty() {
        query.push('&');
    }
    let name = format!("{}.m3u8?{query}{CTX}={ctx}", asked.key.stream());
    let text = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1\n{name}\n");
    (StatusCode::OK, PLAYLIST, text)
}

fn absent() -> Problem {
    Problem::new(Fault::NotFound, "there is no such stream")
}

/// The playlist with `query` behind the name of each segment.
fn with_query(playlist: &Bytes, query: &str) -> Bytes {
    let Some(text) = std::str::from_utf8(playlist).ok().filter(|_| !query.is_empty()) else { return playlist.clone() };
    let mut out = String::with_capacity(text.len() * 2);
    for line in text.lines() {
        out.push_str(line);
        if !line.is_empty() && !line.starts_with('#') {
            let _infallible = write!(out, "?{query}");
        }
        out.push('\n');
    }
    out.into()
}

fn with_mark(query: &str) -> String {
    if query.is_empty() { String::new() } else { format!("?{query}") }
}

impl Asked<'_> {
    fn viewer(&self) -> Viewer {
        Viewer {
            key: self.key.clone(),
            ip: self.peer.0,
            query: self.params.whole().clone(),
            bearer: bearer(self.headers),
            agent: kept_header(self.headers, &header::USER_AGENT),
        }
    }

    fn pairs(&self) -> impl Iterator<Item = &str> {
        self.params.whole().expose().trim_start_matches('?').split('&').filter(|pair| !pair.is_empty())
    }

    fn query_without_ctx(&self) -> String {
        let is_ctx = |pair: &str| pair.split('=').next() == Some(CTX);
        self.pairs().filter(|pair| !is_ctx(pair)).collect::<Vec<_>>().join("&")
    }

    /// A playlist that was asked for by naming its vhost has segments that need it named too.
    fn vhost_query(&self) -> &str {
        let names_vhost = |pair: &&str| matches!(pair.split('=').next(), Some("vhost" | "domain"));
        self.pairs().find(names_vhost).unwrap_or_default()
    }
}
