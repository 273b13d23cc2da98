//! Who may use a route of the API.
//!
//! Without configured credentials everybody may look, and only programs of this machine may change
//! something (A38, A39). With them, everything under `/api/` wants one of them, from everywhere.

use std::sync::atomic::Ordering;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{ApiConfig, Role};
use crate::{
    Fault, Problem,
    peer::{Peer, Scheme, require_local, require_own_page},
    router::AppState,
};

/// What a route wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: it tells nothing about anybody.
    Open,
    /// It shows something.
    Read,
    /// It changes something.
    Operate,
}

/// What a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    /// No credentials, or wrong ones.
    Nothing,
    /// A token.
    Token(Role),
    /// The user's name and password, which a browser sends whatever page asks it to.
    Password,
}

/// A route's own check.
pub(crate) async fn of_route(
    access: Access,
    State(state): State<AppState>,
    peer: Peer,
    request: Request,
    next: Next,
) -> Response {
    let scheme = Scheme::of(request.extensions(), request.headers(), &state);
    match check(&state.config().api, access, (peer, scheme), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => refuse(&state, problem),
    }
}

/// What is under `/api/v1` and no route: whether it exists is nobody's business either.
pub(crate) async fn of_prefix(State(state): State<AppState>, peer: Peer, request: Request, next: Next) -> Response {
    // A preflight cannot carry credentials (the Fetch standard, section 4.8), and tells nothing.
    if request.method() == Method::OPTIONS || !request.uri().path().starts_with("/api/v1") {
        return next.run(request).await;
    }
    let scheme = Scheme::of(request.extensions(), request.headers(), &state);
    match check(&state.config().api, Access::Read, (peer, scheme), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => refuse(&state, problem),
    }
}

fn check(config: &ApiConfig, access: Access, (peer, scheme): (Peer, Scheme), headers: &HeaderMap) -> Result<(), Problem> {
    if access == Access::Open {
        return Ok(());
    }
    if !config.has_credentials() {
        return if access == Access::Operate { require_local(peer, scheme, headers) } else { Ok(()) };
    }
    match (shown(config, headers), access) {
        (Shown::Nothing, _) => Err(Problem::new(Fault::Unauthorized, "this needs credentials")),
        (Shown::Token(Role::Read), Access::Operate) => Err(Problem::new(Fault::Forbidden, "this token may only read")),
        (Shown::Password, Access::Operate) => require_own_page(scheme, headers),
        _ => Ok(()),
    }
}

/// Whether a GET that stands for something else may do it: only with credentials, and not from a page
/// of another site (whose script elements send no `Origin`).
pub(crate) fn may_operate_by_get(config: &ApiConfig, scheme: Scheme, headers: &HeaderMap) -> Result<(), Problem> {
    match shown(config, headers) {
        Shown::Nothing => Err(Problem::new(Fault::Forbidden, "this needs credentials")),
        Shown::Token(Role::Read) => Err(Problem::new(Fault::Forbidden, "this token may only read")),
        Shown::Token(Role::Operate) | Shown::Password => require_own_page(scheme, headers),
    }
}

/// Whether a request may see what only those who may read are shown.
pub(crate) fn may_read(config: &ApiConfig, headers: &HeaderMap) -> bool {
    !config.has_credentials() || shown(config, headers) != Shown::Nothing
}

/// Every credential is compared, and each as a digest, so that the time tells neither which was near
/// nor how long it is.
fn shown(config: &ApiConfig, headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Shown::Nothing };
    let Some((scheme, rest)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else { return Shown::Nothing };
    if scheme.eq_ignore_ascii_case("basic") {
        let (Some(basic), Ok(given)) = (&config.basic, STANDARD.decode(rest.trim())) else { return Shown::Nothing };
        let wanted = format!("{}:{}", basic.username, basic.password.expose());
        return if is_same(&given, wanted.as_bytes()) { Shown::Password } else { Shown::Nothing };
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Shown::Nothing;
    }
    config.tokens.iter().fold(Shown::Nothing, |shown, token| {
        let right = is_same(rest.trim().as_bytes(), token.secret.expose().as_bytes()) && !token.secret.is_empty();
        if right { Shown::Token(token.role) } else { shown }
    })
}

fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let digest = |bytes| digest::digest(&digest::SHA256, bytes);
    verify_slices_are_equal(digest(given).as_ref(), digest(wanted).as_ref()).is_ok()
}

fn refuse(state: &AppState, problem: Problem) -> Response {
    state.http.denied.fetch_add(1, Ordering::Relaxed);
    let unauthorized = problem.fault == Fault::Unauthorized;
    let mut response = problem.into_response();
    if unauthorized && state.config().api.basic.is_some() {
        // Browsers ask their user for it; SRS sends it alone.
        let headers = response.headers_mut();
        let bearer =
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"weir\", charset=\"UTF-8\""));
        if let Some(bearer) = bearer.filter(|_| !state.config().api.tokens.is_empty()) {
            headers.append(header::WWW_AUTHENTICATE, bearer);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use weir_source::Secret;

    use super::{
        super::{ApiToken, BasicAuth},
        *,
    };

    fn config() -> ApiConfig {
        let token = |name: &str, role| ApiToken { name: name.to_owned(), secret: Secret::new(name), role };
        ApiConfig {
            basic: Some(BasicAuth { username: "admin".to_owned(), password: Secret::new("pass:word") }),
            tokens: vec![token("looker", Role::Read), token("doer", Role::Operate), token("", Role::Operate)],
            ..ApiConfig::default()
        }
    }

    fn of(values: &[&str]) -> Shown {
        let headers = values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect();
        shown(&config(), &headers)
    }

    #[test]
    fn a37_only_whole_and_single_credentials_count() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(of(&[&basic("admin:pass:word")]), Shown::Password);
        assert_eq!(of(&["bearer looker"]), Shown::Token(Role::Read));
        assert_eq!(of(&["Bearer  doer "]), Shown::Token(Role::Operate));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer doe",
            "Bearer doerr",
            "doer",
            "Digest doer",
            "Basic",
            "Basic !",
            "Basic doer",
            &basic("admin"),
            &basic("admin:"),
            &basic("admin:pass"),
            &basic(":"),
            &basic("Admin:pass:word"),
            &basic(""),
        ] {
            assert_eq!(of(&[wrong]), Shown::Nothing, "{wrong}");
        }
        assert_eq!(of(&[]), Shown::Nothing);
        assert_eq!(of(&["Bearer doer", "Bearer doer"]), Shown::Nothing, "twice is not once");
        let long = format!("Bearer {}", "a".repeat(16_000));
        assert_eq!(of(&[&long]), Shown::Nothing);
    }
}
