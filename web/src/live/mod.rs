//! HTTP streaming: `/{app}/{stream}.flv`, `.m3u8` and the segments that a playlist names.

mod flv;
mod hls;
#[cfg(test)]
mod tests;
mod viewer;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Method},
    response::Response,
    routing::get,
};

use crate::{Fault, Problem, cors, peer::Peer, router::AppState};

/// One route for all: the suffix of the last part says what is asked for.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/{app}/{file}", get(serve).options(|| async { cors::options("GET, HEAD, OPTIONS", &[]) }))
}

async fn serve(
    State(state): State<AppState>,
    peer: Peer,
    method: Method,
    headers: HeaderMap,
    Path((app, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    // A part that is no name cannot be there: the answer is that of anything else that is not there.
    let absent = |_| Problem::new(Fault::NotFound, "there is no such stream");
    match file.rsplit_once('.') {
        Some((_, "flv")) if !state.config.flv => Err(Problem::new(Fault::NotFound, "HTTP-FLV is off on this server")),
        Some((stream, "flv")) => {
            let key = weir_source::StreamKey::new(&app, stream).map_err(absent)?;
            Ok(flv::play(&state, key, peer, &method, &headers))
        }
        Some((stream, "m3u8")) => hls::playlist(&state, &weir_source::StreamKey::new(&app, stream).map_err(absent)?).await,
        Some((_, "ts")) => hls::segment(&state, &app, &file),
        _ => Err(absent(weir_source::NameError::Empty("stream"))),
    }
}
