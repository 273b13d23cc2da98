//! `listen`, `chunk_size` and `rtmps`: RTMP's listeners.

use std::net::SocketAddr;

use super::{
    settings::Settings,
    table::{Kind, Row},
    tls::{self, TlsListener},
};

pub(super) const ROWS: &[Row] = &[
    Row::new("listen", Kind::Listen, "", "Where RTMP listens, several ports or addresses; nothing: nowhere. With -e: 1935"),
    Row::new("chunk_size", Kind::Number(128, 65_536), "60000", "Bytes of the chunks that are sent"),
    Row::block("rtmps", "RTMP over TLS"),
    Row::new("rtmps.enabled", Kind::Flag, "off", "Listen for RTMP over TLS"),
    Row::new("rtmps.listen", Kind::Listen, "", "Where; there is no default"),
    Row::new("rtmps.key", Kind::Path, tls::KEY, "The private key, PEM"),
    Row::new("rtmps.cert", Kind::Path, tls::CERT, "The certificate and its chain, PEM"),
    Row::new("rtmps.self_signed", Kind::Flag, "off", tls::SELF_SIGNED),
    Row::new("rtmps.acme", Kind::Flag, "off", tls::ACME),
];

/// RTMP's listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtmp {
    /// Where RTMP listens.
    pub listen: Vec<SocketAddr>,
    /// Bytes of the chunks that are sent, 128 to 65,536.
    pub chunk_size: usize,
    /// Where RTMP over TLS listens, if it does.
    pub tls: Option<TlsListener>,
}

pub(super) fn read(settings: &Settings) -> Rtmp {
    let server = settings.server("");
    Rtmp { listen: server.listens("listen"), chunk_size: server.number("chunk_size"), tls: tls::read(settings.server("rtmps")) }
}
