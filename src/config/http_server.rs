//! `http_server`: HTTP-FLV, HLS, pages and files.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    settings::Settings,
    table::{Kind, Row},
    tls::{self, TlsListener},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("http_server", "HTTP-FLV, HLS and the pages"),
    Row::new("http_server.enabled", Kind::Flag, "off", "Serve them"),
    Row::new("http_server.listen", Kind::Listen, "8080", "Where; may be where http_api listens"),
    Row::new(
        "http_server.dir",
        Kind::Path,
        "./objs/nginx/html",
        "The folder of files that are served beside the streams, if it is there",
    ),
    Row::new("http_server.crossdomain", Kind::Flag, "on", "Let pages of other origins play"),
    Row::block("http_server.https", "The same over TLS"),
    Row::new("http_server.https.enabled", Kind::Flag, "off", "Serve it; http_server must be on as well"),
    Row::new("http_server.https.listen", Kind::Listen, "8088", "Where"),
    Row::new("http_server.https.key", Kind::Path, tls::KEY, "The private key, PEM"),
    Row::new("http_server.https.cert", Kind::Path, tls::CERT, "The certificate and its chain, PEM"),
    Row::new("http_server.https.self_signed", Kind::Flag, "off", tls::SELF_SIGNED),
    Row::new("http_server.https.acme", Kind::Flag, "off", tls::ACME),
];

/// HTTP-FLV, HLS, pages and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServer {
    /// Where it listens; empty: it is off.
    pub listen: Vec<SocketAddr>,
    /// The folder whose files are served.
    pub dir: PathBuf,
    /// Somebody has named that folder.
    pub dir_is_set: bool,
    /// Pages of other origins may play.
    pub crossdomain: bool,
    /// The same over TLS.
    pub https: Option<TlsListener>,
}

pub(super) fn read(settings: &Settings) -> HttpServer {
    let view = settings.server("http_server");
    HttpServer {
        listen: if view.flag("enabled") { view.listens("listen") } else { Vec::new() },
        dir: view.path("dir"),
        dir_is_set: view.is_set("dir"),
        crossdomain: view.flag("crossdomain"),
        https: tls::read(settings.server("http_server.https")),
    }
}
