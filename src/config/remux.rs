//! `http_remux`: HTTP-FLV, and the same as MPEG-TS, AAC and MP3.

use weir_web::Content;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.http_remux", "HTTP-FLV"),
    Row::new("vhost.http_remux.enabled", Kind::Flag, "off", "Serve it"),
    Row::new("vhost.http_remux.mount", Kind::Checked(mount), "[vhost]/[app]/[stream].flv", "The path of streams"),
    Row::new("vhost.http_remux.fast_cache", Kind::Seconds(0.0, 3_600.0), "0", "Seconds of sound that .mp3 and .aac begin with")
        .without_effect("sound is sent from now on"),
    Row::new(
        "vhost.http_remux.drop_if_not_match",
        Kind::Flag,
        "on",
        "Leave out what has_audio and has_video exclude; off: only FLV's header does not tell of it",
    ),
    Row::new("vhost.http_remux.has_audio", Kind::Flag, "on", "With sound"),
    Row::new("vhost.http_remux.has_video", Kind::Flag, "on", "With pictures"),
    Row::new(
        "vhost.http_remux.guess_has_av",
        Kind::Flag,
        "on",
        "FLV's header tells what of these the stream has when it begins; off: what the two say",
    ),
];

/// HTTP-FLV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remux {
    /// It is served.
    pub enabled: bool,
    /// What of a stream is sent.
    pub content: Content,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Remux {
    let view = settings.vhost(vhost, "vhost.http_remux");
    let content = Content {
        audio: view.flag("has_audio"),
        video: view.flag("has_video"),
        guess: view.flag("guess_has_av"),
        drop_excluded: view.flag("drop_if_not_match"),
    };
    Remux { enabled: view.flag("enabled"), content }
}

/// Players would ask in vain for what is mounted in another way.
fn mount(word: &str) -> Result<(), String> {
    // Whichever ending stands here, a stream is there under all four.
    match word.trim_start_matches("[vhost]").trim_start_matches('/').split_once('.') {
        Some(("[app]/[stream]", "flv" | "ts" | "aac" | "mp3")) => Ok(()),
        _ => Err(format!(
            "is [vhost]/[app]/[stream] with .flv, .ts, .aac or .mp3 behind it, not '{word}': other forms are not built yet"
        )),
    }
}
