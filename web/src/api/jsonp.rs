//! JSONP: an answer as a script that calls a function of the asking page. Off unless configured (A40).

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt as _, Limited};

use crate::{Fault, Problem, query::Params, router::AppState};

/// The longest name of a function: jQuery's have 40 letters.
const NAME_BYTES_MAX: usize = 128;
/// The largest answer that is wrapped: a list of the most rows is half of it.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Wraps an answer of JSON where `callback` is given, and JSONP is on.
pub(super) async fn wrap(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let wants = request.method() == Method::GET && state.config().api.jsonp;
    let Some(name) = wants.then(|| Params::of(request.uri()).ok()?.get("callback").map(str::to_owned)).flatten() else {
        return next.run(request).await;
    };
    if !is_function(&name) {
        return Problem::new(Fault::Query, "callback must be the name of a function").into_response();
    }
    let response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !json || response.status() != StatusCode::OK {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(whole) = Limited::new(body, ANSWER_BYTES_MAX).collect().await else {
        return Problem::new(Fault::TooLarge, "the answer is too large for a script; ask for fewer rows").into_response();
    };
    // The comment keeps the first bytes from being the asker's choice.
    let mut script = format!("/**/{name}(").into_bytes();
    script.extend_from_slice(&whole.to_bytes());
    script.extend_from_slice(b");");
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/javascript; charset=utf-8"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(script))
}

/// Dotted identifiers of ASCII.
fn is_function(name: &str) -> bool {
    let legal = |part: &str| {
        let starts = part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'$'));
        starts && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$'))
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a40_only_names_of_functions_are_called() {
        for good in ["fn", "jQuery1_2", "a.b.c", "$", "_x9"] {
            assert!(is_function(good), "{good}");
        }
        for bad in ["", ".", "a.", "9a", "a b", "a(", "alert(1)//", "<script>", "a\n", "é", "a;b", "a[0]", &"a".repeat(129)] {
            assert!(!is_function(bad), "{bad}");
        }
    }
}
