//! `hls`: playlists and segments.

use std::time::Duration;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

const IN_MEMORY: &str = "segments are kept in memory and served by http_server";
const NO_KEYS: &str = "segments are not encrypted";
const FMP4: &str = "segments are MPEG-TS";

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.hls", "HLS, made while somebody asks for it"),
    Row::new("vhost.hls.enabled", Kind::Flag, "off", "Serve it"),
    Row::new(
        "vhost.hls.hls_fragment",
        Kind::Seconds(0.5, 60.0),
        "10",
        "Seconds after which a segment ends, at the next keyframe",
    ),
    Row::new("vhost.hls.hls_td_ratio", Kind::Decimal(1.0, 10.0), "1.0", "hls_fragment is multiplied by this"),
    Row::new(
        "vhost.hls.hls_aof_ratio",
        Kind::Decimal(1.0, 10.0),
        "2.1",
        "Without a keyframe a segment ends after hls_fragment times this",
    ),
    Row::new(
        "vhost.hls.hls_window",
        Kind::Seconds(1.0, 3_600.0),
        "60",
        "Seconds that the playlist lists, three segments at least",
    ),
    Row::new(
        "vhost.hls.hls_dispose",
        Kind::Seconds(0.0, 86_400.0),
        "120",
        "Seconds that the last segments are kept after the publisher's end",
    ),
    Row::new("vhost.hls.hls_wait_keyframe", Kind::Flag, "on", "Begin segments with keyframes")
        .without_effect("they begin so where the stream lets them"),
    Row::new("vhost.hls.hls_on_error", Kind::Choice(&["continue", "ignore", "disconnect"]), "continue", "What an error does")
        .without_effect("HLS goes on and no publisher is ended"),
    Row::new("vhost.hls.hls_path", Kind::Path, "./objs/nginx/html", "The folder of segments").without_effect(IN_MEMORY),
    Row::new("vhost.hls.hls_m3u8_file", Kind::Path, "[app]/[stream].m3u8", "Their playlist").without_effect(IN_MEMORY),
    Row::new("vhost.hls.hls_ts_file", Kind::Path, "[app]/[stream]-[seq].ts", "Their names").without_effect(IN_MEMORY),
    Row::new("vhost.hls.hls_ts_floor", Kind::Flag, "off", "Name them by time").without_effect(IN_MEMORY),
    Row::new("vhost.hls.hls_cleanup", Kind::Flag, "on", "Remove old ones").without_effect(IN_MEMORY),
    Row::new(
        "vhost.hls.hls_entry_prefix",
        Kind::Text,
        "",
        "What stands before their names in playlists, http://cdn.example.net say; the app follows unless it ends in a slash",
    ),
    Row::new("vhost.hls.hls_master_m3u8_path_relative", Kind::Flag, "off", "Relative names in the first playlist")
        .without_effect("names are relative to the playlist"),
    Row::new("vhost.hls.hls_recover", Kind::Flag, "on", "Go on with the old playlist after a restart").without_effect(IN_MEMORY),
    Row::new("vhost.hls.hls_nb_notify", Kind::Number(0, 1_000_000), "64", "Bytes to read of an answer to on_hls_notify"),
    Row::new("vhost.hls.hls_ctx", Kind::Flag, "on", "Give each player a playlist of its own, so that it is a client of its own"),
    Row::new("vhost.hls.hls_ts_ctx", Kind::Flag, "on", "Name it in segments too, so that their bytes are counted"),
    Row::new("vhost.hls.hls_dts_directly", Kind::Flag, "on", "Keep the stream's times").without_effect("they are kept"),
    Row::new("vhost.hls.hls_acodec", Kind::Text, "aac", "The sound that is announced first")
        .without_effect("what there is is announced"),
    Row::new("vhost.hls.hls_vcodec", Kind::Text, "h264", "The pictures that are announced first")
        .without_effect("what there is is announced"),
    Row::new("vhost.hls.hls_keys", Kind::Flag, "off", "Encrypt segments").not_yet(),
    Row::new("vhost.hls.hls_fragments_per_key", Kind::Number(1, 1_000_000), "5", "Segments for each key").without_effect(NO_KEYS),
    Row::new("vhost.hls.hls_key_file", Kind::Path, "[app]/[stream]-[seq].key", "Names of keys").without_effect(NO_KEYS),
    Row::new("vhost.hls.hls_key_file_path", Kind::Path, "./objs/nginx/html", "The folder of keys").without_effect(NO_KEYS),
    Row::new("vhost.hls.hls_key_url", Kind::Text, "", "Their URL").without_effect(NO_KEYS),
    Row::new("vhost.hls.hls_use_fmp4", Kind::Flag, "off", "Fragmented MP4").without_effect(FMP4),
    Row::new("vhost.hls.hls_fmp4_file", Kind::Path, "[app]/[stream]-[seq].m4s", "Names of its segments").without_effect(FMP4),
    Row::new("vhost.hls.hls_init_file", Kind::Path, "[app]/[stream]/init.mp4", "The name of its first part").without_effect(FMP4),
];

/// HLS.
#[derive(Clone, Debug, PartialEq)]
pub struct Hls {
    /// It is served.
    pub enabled: bool,
    /// A segment ends at the first keyframe after this: `hls_fragment` times `hls_td_ratio`.
    pub fragment: Duration,
    /// Without a keyframe it ends after `fragment` times this.
    pub aof_ratio: f64,
    /// How much the playlist lists.
    pub window: Duration,
    /// What stands before their names in playlists.
    pub entry_prefix: String,
    /// How long the last segments are kept after the publisher's end.
    pub dispose: Duration,
    /// Each player has a session of its own.
    pub ctx: bool,
    /// It is named in segments too.
    pub ts_ctx: bool,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Hls {
    let view = settings.vhost(vhost, "vhost.hls");
    Hls {
        enabled: view.flag("enabled"),
        // Both are positive and bounded, so the product is.
        fragment: view.seconds("hls_fragment").mul_f64(view.decimal("hls_td_ratio")),
        aof_ratio: view.decimal("hls_aof_ratio"),
        window: view.seconds("hls_window"),
        entry_prefix: view.text("hls_entry_prefix"),
        dispose: view.seconds("hls_dispose"),
        ctx: view.flag("hls_ctx"),
        ts_ctx: view.flag("hls_ts_ctx"),
    }
}
