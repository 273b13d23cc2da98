//! `heartbeat`: telling another server that this one lives.

use std::time::Duration;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("heartbeat", "Tells another server that this one lives"),
    Row::new("heartbeat.enabled", Kind::Flag, "off", "Send heartbeats"),
    Row::new("heartbeat.interval", Kind::Seconds(0.1, 86_400.0), "10", "Seconds from one to the next"),
    Row::new("heartbeat.url", Kind::Url, "http://127.0.0.1:8085/api/v1/servers", "Where they are posted to"),
    Row::new("heartbeat.device_id", Kind::Text, "", "The name of this server in them"),
    Row::new("heartbeat.summaries", Kind::Flag, "off", "With what /api/v1/summaries tells"),
    Row::new("heartbeat.ports", Kind::Flag, "off", "With the ports that are listened on"),
];

/// Telling another server that this one lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// From one to the next.
    pub interval: Duration,
    /// Where they are posted to.
    pub url: String,
    /// The name of this server in them; may be empty.
    pub device_id: String,
    /// With the summaries.
    pub summaries: bool,
    /// With the ports that are listened on.
    pub ports: bool,
}

/// `None`: off.
pub(super) fn read(settings: &Settings) -> Option<Heartbeat> {
    let view = settings.server("heartbeat");
    let heartbeat = Heartbeat {
        interval: view.seconds("interval"),
        url: view.text("url"),
        device_id: view.text("device_id"),
        summaries: view.flag("summaries"),
        ports: view.flag("ports"),
    };
    view.flag("enabled").then_some(heartbeat)
}
