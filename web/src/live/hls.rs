//! HLS: playlists and segments as the segmenter holds them in memory.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use weir_bridge::hls::HlsError;
use weir_source::StreamKey;

use crate::{Fault, Problem, router::AppState};

/// The live playlist. It changes with every segment and must not be kept; its query (player's
/// tokens, cache busters) is not looked at.
pub(super) async fn playlist(state: &AppState, key: &StreamKey) -> Result<Response, Problem> {
    let text = state.hls()?.playlist(key).await.map_err(|error| match error {
        HlsError::Off => Problem::new(Fault::NotFound, error.to_string()),
        HlsError::NotFound => Problem::new(Fault::NotFound, "there is no such stream"),
        HlsError::Timeout => Problem::new(Fault::NotReady, error.to_string()),
        _ => Problem::new(Fault::TooManySessions, error.to_string()),
    })?;
    let headers = [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl"), (header::CACHE_CONTROL, "no-cache")];
    Ok((StatusCode::OK, headers, text).into_response())
}

/// A segment. Its name is never used again for other bytes, so it may be kept.
pub(super) fn segment(state: &AppState, key: &StreamKey, file: &str) -> Result<Response, Problem> {
    let found = state.hls()?.segment(key, file);
    let bytes = found.ok_or_else(|| Problem::new(Fault::NotFound, "there is no such stream"))?;
    let headers = [(header::CONTENT_TYPE, "video/mp2t"), (header::CACHE_CONTROL, "public, max-age=60")];
    Ok((StatusCode::OK, headers, bytes).into_response())
}
