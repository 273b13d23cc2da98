//! `refer`: the pages whose players and publishers are let in.

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.refer", "The pages whose players and publishers are let in").not_yet(),
    Row::new("vhost.refer.enabled", Kind::Flag, "off", "Ask for the page"),
    Row::new("vhost.refer.all", Kind::Words, "", "Ends of host names for both: github.com github.io"),
    Row::new("vhost.refer.publish", Kind::Words, "", "For publishers"),
    Row::new("vhost.refer.play", Kind::Words, "", "For players"),
];

/// The pages whose clients are let in, by the ends of their host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refer {
    /// For both.
    pub all: Vec<String>,
    /// For publishers.
    pub publish: Vec<String>,
    /// For players.
    pub play: Vec<String>,
}

/// `None`: off.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<Refer> {
    let view = settings.vhost(vhost, "vhost.refer");
    let refer = Refer { all: view.words("all"), publish: view.words("publish"), play: view.words("play") };
    view.flag("enabled").then_some(refer)
}
