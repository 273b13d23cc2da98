//! `exporter`: metrics for Prometheus.

use std::net::SocketAddr;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("exporter", "Metrics for Prometheus"),
    Row::new("exporter.enabled", Kind::Flag, "off", "Serve /metrics, there and where http_api listens"),
    Row::new("exporter.listen", Kind::Listen, "9972", "Where"),
    Row::new("exporter.label", Kind::Text, "", "A label of srs_build_info"),
    Row::new("exporter.tag", Kind::Text, "", "Another one"),
];

/// Metrics for Prometheus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Where they are served.
    pub listen: Vec<SocketAddr>,
    /// The label of `srs_build_info`; may be empty.
    pub label: String,
    /// Its tag; may be empty.
    pub tag: String,
}

/// `None`: off.
pub(super) fn read(settings: &Settings) -> Option<Exporter> {
    let view = settings.server("exporter");
    let exporter = Exporter { listen: view.listens("listen"), label: view.text("label"), tag: view.text("tag") };
    view.flag("enabled").then_some(exporter)
}
