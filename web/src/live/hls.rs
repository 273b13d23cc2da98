//! HLS: playlists and segments as the segmenter holds them in memory.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use weir_source::StreamKey;

use crate::{Fault, HlsUnavailable, Problem, router::AppState};

/// A segment's name is its stream's name, a dash and more. Stream names may have dashes too, so
/// the longest stream names are tried first, and no more than this many.
const DASHES_TRIED: usize = 4;

/// The live playlist. It changes with every segment and must not be kept; its query (player's
/// tokens, cache busters) is not looked at.
pub(super) async fn playlist(state: &AppState, key: &StreamKey) -> Result<Response, Problem> {
    let text = state.hls.playlist(key).await.map_err(|error| match error {
        HlsUnavailable::NoStream => Problem::new(Fault::NotFound, "there is no such stream"),
        HlsUnavailable::Busy => Problem::new(Fault::TooManySessions, "too many players wait for this stream"),
    })?;
    let headers = [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl"), (header::CACHE_CONTROL, "no-cache")];
    Ok((StatusCode::OK, headers, text).into_response())
}

/// A segment. Its name is never used again for other bytes, so it may be kept.
pub(super) fn segment(state: &AppState, app: &str, file: &str) -> Result<Response, Problem> {
    let found = file.rmatch_indices('-').take(DASHES_TRIED).find_map(|(dash, _)| {
        let key = StreamKey::new(app, file.get(..dash)?).ok()?;
        state.hls.segment(&key, file)
    });
    let bytes = found.ok_or_else(|| Problem::new(Fault::NotFound, "there is no such stream"))?;
    let headers = [(header::CONTENT_TYPE, "video/mp2t"), (header::CACHE_CONTROL, "public, max-age=60")];
    Ok((StatusCode::OK, headers, bytes).into_response())
}
