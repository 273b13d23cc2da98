//! `stats`: which network address and disks the summaries tell of.

use super::{
    settings::Settings,
    table::{Kind, Row},
};

const NOT_READ: &str = "the summaries tell of all of them";

pub(super) const ROWS: &[Row] = &[
    Row::block("stats", "Which of the machine's parts the summaries tell of"),
    Row::new("stats.enabled", Kind::Flag, "on", "Tell of them").without_effect(NOT_READ),
    Row::new("stats.network", Kind::Number(0, 1_000), "0", "The number of the address in heartbeats"),
    Row::new("stats.disk", Kind::Words, "", "The disks by name: sda vda; nothing: all"),
];

/// What the summaries tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Tell of the machine.
    pub enabled: bool,
    /// The number of the machine's address that heartbeats give.
    pub network: usize,
    /// Disks by name; none: all.
    pub disk: Vec<String>,
}

pub(super) fn read(settings: &Settings) -> Stats {
    let view = settings.server("stats");
    Stats { enabled: view.flag("enabled"), network: view.number("network"), disk: view.words("disk") }
}
