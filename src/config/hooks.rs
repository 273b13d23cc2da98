//! `http_hooks`: the callback servers that decide about clients and are told of them.

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.http_hooks", "Callback servers, several for each event, asked in order by POST").not_yet(),
    Row::new("vhost.http_hooks.enabled", Kind::Flag, "off", "Ask them"),
    Row::new("vhost.http_hooks.on_connect", Kind::Urls, "", "An RTMP client has connected; may refuse it"),
    Row::new("vhost.http_hooks.on_close", Kind::Urls, "", "It has gone"),
    Row::new("vhost.http_hooks.on_publish", Kind::Urls, "", "A client wants to publish; may refuse it"),
    Row::new("vhost.http_hooks.on_unpublish", Kind::Urls, "", "It does no longer"),
    Row::new("vhost.http_hooks.on_play", Kind::Urls, "", "A client wants to play; may refuse it"),
    Row::new("vhost.http_hooks.on_stop", Kind::Urls, "", "It does no longer"),
    Row::new("vhost.http_hooks.on_dvr", Kind::Urls, "", "A recording has been finished")
        .without_effect("nothing is recorded yet"),
    Row::new("vhost.http_hooks.on_hls", Kind::Urls, "", "A segment has been finished")
        .without_effect("segments are not written to files yet"),
    Row::new("vhost.http_hooks.on_hls_notify", Kind::Urls, "", "The same by GET of a URL with variables")
        .without_effect("segments are not written to files yet"),
];

/// Callback servers by event; an empty list: nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// An RTMP client has connected.
    pub on_connect: Vec<String>,
    /// It has gone.
    pub on_close: Vec<String>,
    /// A client wants to publish.
    pub on_publish: Vec<String>,
    /// It does no longer.
    pub on_unpublish: Vec<String>,
    /// A client wants to play.
    pub on_play: Vec<String>,
    /// It does no longer.
    pub on_stop: Vec<String>,
}

/// `None`: off.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<Hooks> {
    let view = settings.vhost(vhost, "vhost.http_hooks");
    let hooks = Hooks {
        on_connect: view.words("on_connect"),
        on_close: view.words("on_close"),
        on_publish: view.words("on_publish"),
        on_unpublish: view.words("on_unpublish"),
        on_play: view.words("on_play"),
        on_stop: view.words("on_stop"),
    };
    view.flag("enabled").then_some(hooks)
}
