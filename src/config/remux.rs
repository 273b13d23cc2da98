//! `http_remux`: HTTP-FLV, and the same as MPEG-TS, AAC and MP3.

use super::{
    settings::Settings,
    table::{Kind, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.http_remux", "HTTP-FLV"),
    Row::new("vhost.http_remux.enabled", Kind::Flag, "off", "Serve it"),
    Row::new("vhost.http_remux.mount", Kind::Checked(mount), "[vhost]/[app]/[stream].flv", "The path of streams"),
    Row::new("vhost.http_remux.fast_cache", Kind::Seconds(0.0, 3_600.0), "0", "Seconds of sound for those that come later")
        .without_effect("players begin with what the stream keeps"),
    Row::new("vhost.http_remux.drop_if_not_match", Kind::Flag, "on", "Leave out what the header does not announce")
        .without_effect("headers announce what there is"),
    Row::new("vhost.http_remux.has_audio", Kind::Flag, "on", "With sound").without_effect("what the stream has is sent"),
    Row::new("vhost.http_remux.has_video", Kind::Flag, "on", "With pictures").without_effect("what the stream has is sent"),
    Row::new("vhost.http_remux.guess_has_av", Kind::Flag, "on", "Announce what there is")
        .without_effect("that is what is announced"),
];

/// HTTP-FLV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remux {
    /// It is served.
    pub enabled: bool,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Remux {
    Remux { enabled: settings.vhost(vhost, "vhost.http_remux").flag("enabled") }
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
