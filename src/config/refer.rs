//! `refer`: the pages whose players and publishers are let in.

use weir_web::access::Refer;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.refer", "The pages whose players and publishers are let in"),
    Row::new("vhost.refer.enabled", Kind::Flag, "off", "Ask for the page"),
    Row::new("vhost.refer.all", Kind::Words, "", "Domains for both, with all below them: github.com github.io"),
    Row::new("vhost.refer.publish", Kind::Words, "", "For publishers"),
    Row::new("vhost.refer.play", Kind::Words, "", "For players"),
];

/// `None`: off.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<Refer> {
    let view = settings.vhost(vhost, "vhost.refer");
    let refer = Refer { all: view.words("all"), publish: view.words("publish"), play: view.words("play") };
    view.flag("enabled").then_some(refer)
}
