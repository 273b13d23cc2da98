//! `http_hooks`: the callback servers that decide about clients and are told of them.

use std::str::FromStr;

use weir_web::HooksConfig;

use super::{
    settings::{Settings, View},
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.http_hooks", "Callback servers, several for each event, asked in order by POST"),
    Row::new("vhost.http_hooks.enabled", Kind::Flag, "off", "Ask them"),
    Row::new("vhost.http_hooks.on_connect", Kind::Urls, "", "An RTMP client has connected; may refuse it"),
    Row::new("vhost.http_hooks.on_close", Kind::Urls, "", "It has gone"),
    Row::new("vhost.http_hooks.on_publish", Kind::Urls, "", "A client wants to publish; may refuse it"),
    Row::new("vhost.http_hooks.on_unpublish", Kind::Urls, "", "It does no longer"),
    Row::new("vhost.http_hooks.on_play", Kind::Urls, "", "A client wants to play; may refuse it"),
    Row::new("vhost.http_hooks.on_stop", Kind::Urls, "", "It does no longer"),
    Row::new("vhost.http_hooks.on_dvr", Kind::Urls, "", "A recording has been finished")
        .without_effect("nothing is recorded yet"),
    Row::new(
        "vhost.http_hooks.on_hls",
        Kind::Urls,
        "",
        "A segment has been finished; it is in memory, its file is the URL's path",
    ),
    Row::new(
        "vhost.http_hooks.on_hls_notify",
        Kind::UrlTemplates,
        "",
        "The same by GET of a URL with [app] [stream] [ts_url] [param] [server_id] [service_id]",
    ),
    Row::new(
        "vhost.http_hooks.decision_timeout",
        Kind::Seconds(0.1, 60.0),
        "3",
        "Seconds for a decision; then it is no (SRS: 30)",
    ),
    Row::new("vhost.http_hooks.notice_timeout", Kind::Seconds(0.1, 60.0), "5", "Seconds for one try to tell what may not refuse"),
    Row::new("vhost.http_hooks.tries", Kind::Number(1, 100), "8", "How often that is tried"),
    Row::new("vhost.http_hooks.retry_for", Kind::Seconds(0.0, 3_600.0), "60", "For how many seconds"),
];

pub(super) fn read(settings: &Settings, vhost: &str) -> HooksConfig {
    let view = settings.vhost(vhost, "vhost.http_hooks");
    HooksConfig {
        enabled: view.flag("enabled"),
        on_connect: urls(&view, "on_connect"),
        on_close: urls(&view, "on_close"),
        on_publish: urls(&view, "on_publish"),
        on_unpublish: urls(&view, "on_unpublish"),
        on_play: urls(&view, "on_play"),
        on_stop: urls(&view, "on_stop"),
        on_dvr: urls(&view, "on_dvr"),
        on_hls: urls(&view, "on_hls"),
        on_hls_notify: urls(&view, "on_hls_notify"),
        decision_timeout: view.seconds("decision_timeout"),
        notice_timeout: view.seconds("notice_timeout"),
        tries_max: view.number("tries"),
        retry_for: view.seconds("retry_for"),
        hls_nb_notify: settings.vhost(vhost, "vhost.hls").number("hls_nb_notify"),
    }
}

/// One that cannot be read must not be left out: nobody would be asked.
fn urls<T: FromStr<Err: std::fmt::Debug>>(view: &View<'_>, name: &str) -> Vec<T> {
    view.words(name).iter().map(|word| word.parse().expect("its kind lets only such words in")).collect()
}
