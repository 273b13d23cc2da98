//! `http_api`: the JSON API and WebRTC's signalling.

use std::net::SocketAddr;

use weir_source::Secret;

use super::{
    settings::Settings,
    table::{Kind, Row},
    tls::{self, TlsListener},
};

const NO_RAW_API: &str = "a reload is asked for by SIGHUP";

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
    Row::block("http_api.raw_api", "Reload over HTTP"),
    Row::new("http_api.raw_api.enabled", Kind::Flag, "off", "Take /api/v1/raw").without_effect(NO_RAW_API),
    Row::new("http_api.raw_api.allow_reload", Kind::Flag, "off", "Let it reload").without_effect(NO_RAW_API),
    Row::new("http_api.raw_api.allow_query", Kind::Flag, "off", "Of SRS 2").without_effect("SRS has dropped it"),
    Row::new("http_api.raw_api.allow_update", Kind::Flag, "off", "Of SRS 2").without_effect("SRS has dropped it"),
    Row::block("http_api.auth", "Who may read /api/ and change things by it").not_yet(),
    Row::new("http_api.auth.enabled", Kind::Flag, "off", "Ask for a name and a password (HTTP Basic)"),
    Row::new("http_api.auth.username", Kind::Text, "", "The name"),
    Row::new("http_api.auth.password", Kind::Text, "", "The password"),
    Row::block("http_api.https", "The API over TLS"),
    Row::new("http_api.https.enabled", Kind::Flag, "off", "Serve it; http_api must be on as well"),
    Row::new("http_api.https.listen", Kind::Listen, "1990", "Where"),
    Row::new("http_api.https.key", Kind::Path, tls::KEY, "The private key, PEM"),
    Row::new("http_api.https.cert", Kind::Path, tls::CERT, "The certificate and its chain, PEM"),
    Row::new("http_api.https.self_signed", Kind::Flag, "off", tls::SELF_SIGNED),
];

/// The API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpApi {
    /// Where it listens; empty: it is off.
    pub listen: Vec<SocketAddr>,
    /// Pages of other origins may read `/api/v1`.
    pub crossdomain: bool,
    /// `/api/v1/raw` may reload.
    pub raw_reload: bool,
    /// The name and the password to ask for.
    pub auth: Option<BasicAuth>,
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

pub(super) fn read(settings: &Settings) -> HttpApi {
    let (view, raw, auth) = (settings.server("http_api"), settings.server("http_api.raw_api"), settings.server("http_api.auth"));
    let basic = BasicAuth { username: auth.text("username"), password: auth.secret("password") };
    HttpApi {
        listen: if view.flag("enabled") { view.listens("listen") } else { Vec::new() },
        crossdomain: view.flag("crossdomain"),
        raw_reload: raw.flag("enabled") && raw.flag("allow_reload"),
        auth: auth.flag("enabled").then_some(basic),
        https: tls::read(settings.server("http_api.https")),
    }
}
