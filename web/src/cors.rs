//! Cross-origin access (the Fetch standard) and the headers that every answer carries.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// What pages of other origins may read of a signalling answer, errors included (H09).
const EXPOSED: &str = "Location, ETag, Link, Retry-After, Accept-Post, Accept-Patch";
/// What they may send.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, Range";
/// How long a browser may remember a preflight, in seconds. Chromium's own limit is two hours.
const PREFLIGHT_AGE: &str = "7200";

/// Opens an answer to pages of every origin. No credentials are ever allowed with it.
pub(crate) async fn open(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    response
}

/// Keeps browsers from reading an answer as anything but what it says it is (A40).
pub(crate) async fn no_sniff(mut response: Response) -> Response {
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to OPTIONS, preflight or not: status 200 (H08) and what may be sent.
pub(crate) fn options(methods: &'static str, accepts: &[(&'static str, &'static str)]) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    for (name, media_type) in accepts {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(media_type));
    }
    (StatusCode::OK, headers).into_response()
}
