//! HTTP streaming: `/{app}/{stream}.flv`, `.ts`, `.aac` and `.mp3`, `.m3u8` and the segments that a playlist names.

mod content;
mod hls;
mod hls_session;
#[cfg(test)]
mod hls_tests;
mod stream;
#[cfg(test)]
mod tests;
mod viewer;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Method, Uri},
    response::Response,
    routing::get,
};

pub use content::Content;
pub use hls_session::HlsSessions;
use weir_bridge::{
    flv,
    hls::stream_of_segment,
    sound::{AacMuxer, Mp3Muxer},
    ts,
};
use weir_source::StreamKey;

use self::stream::Asked;
use crate::{
    Fault, Problem, cors,
    peer::{Peer, Scheme},
    query::Params,
    router::AppState,
    signalling::host,
};

/// One route for all: the suffix of the last part says what is asked for.
pub(crate) fn routes() -> Router<AppState> {
    Router::new().route("/{app}/{file}", get(serve).options(|| async { cors::options("GET, HEAD, OPTIONS", &[]) }))
}

async fn serve(
    State(state): State<AppState>,
    (peer, scheme): (Peer, Scheme),
    method: Method,
    headers: HeaderMap,
    uri: Uri,
    Path((app, file)): Path<(String, String)>,
) -> Result<Response, Problem> {
    // A part that is no name cannot be there: the answer is that of anything else that is not there.
    let absent = || Problem::new(Fault::NotFound, "there is no such stream");
    let params = Params::of(&uri).map_err(|_| absent())?;
    let vhosts = state.hub.vhosts();
    let key = |stream: &str| -> Result<StreamKey, Problem> {
        vhosts.key(params.vhost().unwrap_or_else(|| host(&headers)), &app, stream).map_err(|_| absent())
    };
    let asked = |stream: &str| {
        let key = key(stream)?;
        if !state.config().vhosts.get(key.vhost()).flv {
            return Err(Problem::new(Fault::NotFound, "HTTP-FLV is off here"));
        }
        Ok(Asked { key, params: &params, peer, scheme, headers: &headers })
    };
    match file.rsplit_once('.') {
        Some((stream, "flv")) => stream::play::<flv::Muxer>(&state, asked(stream)?, &method).await,
        Some((stream, "aac")) => stream::play::<AacMuxer>(&state, asked(stream)?, &method).await,
        Some((stream, "mp3")) => stream::play::<Mp3Muxer>(&state, asked(stream)?, &method).await,
        Some((stream, "m3u8")) => {
            let asked = hls::Asked { key: key(stream)?, params: &params, peer, scheme, headers: &headers };
            if method == Method::HEAD { Ok(hls::head()) } else { hls::playlist(&state, asked).await }
        }
        Some((stream, "ts")) => match stream_of_segment(&file) {
            Some(stream) => {
                let asked = hls::Asked { key: key(stream)?, params: &params, peer, scheme, headers: &headers };
                hls::segment(&state, &asked, &file)
            }
            None => stream::play::<ts::LiveMuxer>(&state, asked(stream)?, &method).await,
        },
        _ => Err(absent()),
    }
}
