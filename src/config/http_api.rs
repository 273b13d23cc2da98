//! `http_api`: the JSON API and WebRTC's signalling.

use std::net::SocketAddr;

use weir_source::Secret;

use super::{
    settings::Settings,
    table::{Kind, Row},
    tls::{self, TlsListener},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("http_api", "The JSON API, WHIP and WHEP"),
    Row::new("http_api.enabled", Kind::Flag, "off", "Serve it"),
    Row::new("http_api.listen", Kind::Listen, "1985", "Where; may be where http_server listens"),
    Row::new(
        "http_api.crossdomain",
        Kind::Flag,
        "off",
        "Let pages of other origins read /api/v1 (SRS: on). WHIP and WHEP are open to all pages",
    ),
    Row::new("http_api.jsonp", Kind::Flag, "off", "Answer ?callback=name with a script (SRS: on)"),
    Row::block("http_api.raw_api", "Reload over HTTP"),
    Row::new("http_api.raw_api.enabled", Kind::Flag, "off", "Take /api/v1/raw"),
    Row::new("http_api.raw_api.allow_reload", Kind::Flag, "off", "Let it reload"),
    Row::new("http_api.raw_api.allow_query", Kind::Flag, "off", "Of SRS 2").without_effect("SRS has dropped it"),
    Row::new("http_api.raw_api.allow_update", Kind::Flag, "off", "Of SRS 2").without_effect("SRS has dropped it"),
    Row::block("http_api.auth", "Who may read /api/ and change things by it"),
    Row::new("http_api.auth.enabled", Kind::Flag, "off", "Ask for a name and a password (HTTP Basic), or a token"),
    Row::new("http_api.auth.username", Kind::Text, "", "The name"),
    Row::new("http_api.auth.password", Kind::Text, "", "The password"),
    Row::new(
        "http_api.auth.token",
        Kind::Rules(token),
        "",
        "A name, read or operate, and what Authorization: Bearer must say, 16 letters or more; may be repeated",
    ),
    Row::block("http_api.https", "The API over TLS"),
    Row::new("http_api.https.enabled", Kind::Flag, "off", "Serve it; http_api must be on as well"),
    Row::new("http_api.https.listen", Kind::Listen, "1990", "Where"),
    Row::new("http_api.https.key", Kind::Path, tls::KEY, "The private key, PEM"),
    Row::new("http_api.https.cert", Kind::Path, tls::CERT, "The certificate and its chain, PEM"),
    Row::new("http_api.https.self_signed", Kind::Flag, "off", tls::SELF_SIGNED),
    Row::new("http_api.https.acme", Kind::Flag, "off", tls::ACME),
];

/// The API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpApi {
    /// Where it listens; empty: it is off.
    pub listen: Vec<SocketAddr>,
    /// Pages of other origins may read `/api/v1`.
    pub crossdomain: bool,
    /// `?callback=name` is answered with a script.
    pub jsonp: bool,
    /// `/api/v1/raw` is there.
    pub raw_enabled: bool,
    /// `/api/v1/raw` may reload.
    pub raw_reload: bool,
    /// The name and the password to ask for.
    pub auth: Option<BasicAuth>,
    /// The tokens that do as well.
    pub tokens: Vec<Token>,
    /// The API over TLS.
    pub https: Option<TlsListener>,
}

/// A name and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A token of `Authorization: Bearer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// It may change something, rather than only look.
    pub operate: bool,
    /// The token.
    pub secret: Secret,
}

/// Shorter ones can be guessed: at a thousand guesses a second so many of a random token's letters last
/// for ever.
const TOKEN_CHARS_MIN: usize = 16;

fn token(words: &[String]) -> Result<(), String> {
    parse_token(words).map(|_| ())
}

fn parse_token(words: &[String]) -> Result<Token, String> {
    let [name, role, secret] = words else { return Err("must be a name, read or operate, and the token".to_owned()) };
    let operate = match role.as_str() {
        "read" => false,
        "operate" => true,
        _ => return Err("the second word must be read or operate".to_owned()),
    };
    // RFC 6750 section 2.1.
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
    if secret.len() < TOKEN_CHARS_MIN || !secret.bytes().all(legal) {
        return Err(format!("a token is {TOKEN_CHARS_MIN} letters or more of A-Z, a-z, 0-9 and -._~+/="));
    }
    Ok(Token { name: name.clone(), operate, secret: Secret::new(secret.as_str()) })
}

pub(super) fn read(settings: &Settings) -> HttpApi {
    let (view, raw, auth) = (settings.server("http_api"), settings.server("http_api.raw_api"), settings.server("http_api.auth"));
    let tokens: Vec<Token> = auth.entries("token").iter().filter_map(|words| parse_token(words).ok()).collect();
    // Tokens do without a password.
    let basic = BasicAuth { username: auth.text("username"), password: auth.secret("password") };
    HttpApi {
        listen: if view.flag("enabled") { view.listens("listen") } else { Vec::new() },
        crossdomain: view.flag("crossdomain"),
        jsonp: view.flag("jsonp"),
        raw_enabled: raw.flag("enabled"),
        raw_reload: raw.flag("enabled") && raw.flag("allow_reload"),
        auth: (auth.flag("enabled") && !(basic.username.is_empty() && basic.password.is_empty() && !tokens.is_empty()))
            .then_some(basic),
        tokens: if auth.flag("enabled") { tokens } else { Vec::new() },
        https: tls::read(settings.server("http_api.https")),
    }
}
