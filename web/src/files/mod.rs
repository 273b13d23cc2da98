//! Files of a directory (`http_server { dir … }`): read beneath it and nowhere else.
//!
//! Live streams, signalling and the API come first; a file takes the place of what would be
//! "not found", or of a built-in page of the same path. What is not there, what may not be read and
//! what lies outside are all the same "not found" (A46).

mod conditions;
mod found;
mod kinds;
mod target;
#[cfg(test)]
mod tests;

use std::{
    io::{Seek as _, SeekFrom},
    path::PathBuf,
};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use self::{
    conditions::{Wanted, wanted},
    found::{Found, find},
    target::Target,
};
use crate::{cors, pages, router::AppState};

/// Read from the disk at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// Paths that are never files': whoever may write into the directory must not answer for these.
const RESERVED: &[&str] = &["/api/", "/rtc/", "/assets/"];

/// Puts the directory's files behind `next`, or before it where that has only a page.
pub(crate) async fn or_file(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let root = state.config().dir.clone();
    let asked = match (root, Target::of(path)) {
        (Some(root), Some(target)) if is_read && !RESERVED.iter().any(|prefix| path.starts_with(prefix)) => {
            Asked { root, target, is_head: request.method() == Method::HEAD, headers: request.headers().clone() }
        }
        _ => return next.run(request).await,
    };
    if pages::has(path) {
        return match asked.answer().await {
            Some(answer) => answer,
            None => next.run(request).await,
        };
    }
    let response = next.run(request).await;
    if response.status() != StatusCode::NOT_FOUND {
        return response;
    }
    asked.answer().await.unwrap_or(response)
}

struct Asked {
    root: PathBuf,
    target: Target,
    is_head: bool,
    headers: HeaderMap,
}

impl Asked {
    /// `None`: there is no such file.
    async fn answer(self) -> Option<Response> {
        let Self { root, target, is_head, headers } = self;
        let found = tokio::task::spawn_blocking(move || find(&root, &target)).await.ok().flatten()?;
        let response = match found {
            Found::Directory { location } => {
                let location = HeaderValue::try_from(location).ok()?;
                (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response()
            }
            Found::File(file) => send(file, is_head, &headers),
        };
        Some(cors::open(response).await)
    }
}

fn send(file: found::File, is_head: bool, headers: &HeaderMap) -> Response {
    let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    let facts = [
        (header::ETAG, value(file.etag())),
        (header::LAST_MODIFIED, value(httpdate::fmt_http_date(file.modified))),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        // It may be kept, but is asked for each time: a file that was replaced is seen at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let (status, start, len) = match wanted(&file, headers) {
        Wanted::Unchanged => return (StatusCode::NOT_MODIFIED, facts).into_response(),
        Wanted::Nothing => {
            let range = value(format!("bytes */{}", file.len));
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, range)]).into_response();
        }
        Wanted::All => (StatusCode::OK, 0, file.len),
        Wanted::Part { start, len } => (StatusCode::PARTIAL_CONTENT, start, len),
    };
    let mut more = HeaderMap::from_iter(facts);
    more.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    more.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = start + len.saturating_sub(1);
        more.insert(header::CONTENT_RANGE, value(format!("bytes {start}-{last}/{}", file.len)));
    }
    if is_head {
        return (status, more).into_response();
    }
    let mut source = file.file;
    if start > 0 && source.seek(SeekFrom::Start(start)).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    (status, more, body(source, len)).into_response()
}

/// The file's place has been set: it is read from there.
fn body(file: std::fs::File, len: u64) -> Body {
    Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file).take(len), CHUNK_BYTES))
}
