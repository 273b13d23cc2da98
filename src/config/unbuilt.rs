//! What SRS has and Weir does not have yet. Enabled, each of these is refused; else it is checked and
//! left aside, so that a file with all of them turned off loads.

use super::table::{Kind, Label, Row};

const NO_EDGE: &str = "there are no edges yet";
const INT_MAX: i64 = 2_147_483_647;

const fn many(path: &'static str, doc: &'static str) -> Row {
    Row::new(path, Kind::Block(Label::Many), "", doc)
}

/// Other protocols' listeners.
pub(super) const SERVERS: &[Row] = &[
    Row::block("srt_server", "SRT").not_yet(),
    Row::new("srt_server.enabled", Kind::Flag, "off", "Listen"),
    Row::new("srt_server.listen", Kind::Listen, "10080", "Where"),
    Row::new("srt_server.maxbw", Kind::Number(-1, i64::MAX), "-1", "Bytes per second at most"),
    Row::new("srt_server.mss", Kind::Number(76, 65_536), "1500", "Bytes of a packet"),
    Row::new("srt_server.connect_timeout", Kind::Millis(0.0, 3_600_000.0), "3000", "Milliseconds to connect"),
    Row::new("srt_server.peer_idle_timeout", Kind::Millis(0.0, 3_600_000.0), "10000", "Milliseconds of silence"),
    Row::new("srt_server.default_app", Kind::Text, "live", "The app of clients that name none"),
    Row::new(
        "srt_server.default_streamid",
        Kind::Text,
        "#!::r=live/livestream,m=request",
        "The stream of clients that name none",
    ),
    Row::new("srt_server.latency", Kind::Millis(0.0, 3_600_000.0), "120", "Milliseconds kept"),
    Row::new("srt_server.peerlatency", Kind::Millis(0.0, 3_600_000.0), "0", "Milliseconds kept by the client"),
    Row::new("srt_server.recvlatency", Kind::Millis(0.0, 3_600_000.0), "120", "Milliseconds kept when receiving"),
    Row::new("srt_server.tsbpdmode", Kind::Flag, "on", "Deliver by time"),
    Row::new("srt_server.tlpktdrop", Kind::Flag, "on", "Leave out what is late"),
    Row::new("srt_server.sendbuf", Kind::Number(0, INT_MAX), "12058624", "Bytes of buffer"),
    Row::new("srt_server.recvbuf", Kind::Number(0, INT_MAX), "12058624", "Bytes of buffer"),
    Row::new("srt_server.payloadsize", Kind::Number(0, 1_456), "1316", "Bytes of media in a packet"),
    Row::new("srt_server.passphrase", Kind::Text, "", "The password"),
    Row::new("srt_server.pbkeylen", Kind::Number(0, 32), "0", "Bytes of the key"),
    Row::new("srt_server.sei_filter", Kind::Flag, "on", "Leave out SEI"),
    Row::new("srt_server.mix_correct", Kind::Flag, "on", "Sort sound and pictures by time"),
    Row::block("rtsp_server", "RTSP").not_yet(),
    Row::new("rtsp_server.enabled", Kind::Flag, "off", "Listen"),
    Row::new("rtsp_server.listen", Kind::Listen, "554", "Where"),
    many("stream_caster", "Streams by other ways: MPEG-TS over UDP, FLV by POST, GB28181").not_yet(),
    Row::new("stream_caster.enabled", Kind::Flag, "off", "Listen"),
    Row::new("stream_caster.caster", Kind::Text, "mpegts_over_udp", "Which way"),
    Row::new("stream_caster.output", Kind::Text, "rtmp://127.0.0.1/live/livestream", "The stream they become"),
    Row::new("stream_caster.listen", Kind::Listen, "8935", "Where"),
    Row::block("stream_caster.sip", "SIP of GB28181"),
    Row::new("stream_caster.sip.enabled", Kind::Flag, "on", "Listen"),
    Row::new("stream_caster.sip.listen", Kind::Listen, "5060", "Where"),
    Row::new("stream_caster.sip.timeout", Kind::Decimal(0.0, 86_400.0), "60", "Seconds of silence"),
    Row::new("stream_caster.sip.reinvite", Kind::Decimal(0.0, 86_400.0), "5", "Seconds to the next invitation"),
    Row::new("stream_caster.sip.candidate", Kind::Words, "*", "The address to send to"),
];

/// What vhosts cannot do yet.
pub(super) const OF_VHOSTS: &[Row] = &[
    Row::block("vhost.forward", "Pushes streams to other servers").not_yet(),
    Row::new("vhost.forward.enabled", Kind::Flag, "off", "Push"),
    Row::new("vhost.forward.destination", Kind::Words, "", "Where to: HOST:PORT"),
    Row::new("vhost.forward.backend", Kind::Urls, "", "Who says where to"),
    Row::block("vhost.cluster", "Edges and origins"),
    Row::new("vhost.cluster.mode", Kind::Choice(&["local", "remote"]), "local", "remote: an edge").not_yet(),
    Row::new("vhost.cluster.origin", Kind::Words, "", "Its origins").without_effect(NO_EDGE),
    Row::new("vhost.cluster.token_traverse", Kind::Flag, "off", "Origins decide about clients").without_effect(NO_EDGE),
    Row::new("vhost.cluster.vhost", Kind::Text, "[vhost]", "The vhost at the origin").without_effect(NO_EDGE),
    Row::new("vhost.cluster.debug_srs_upnode", Kind::Flag, "on", "Tell origins who asks").without_effect(NO_EDGE),
    Row::new("vhost.cluster.origin_cluster", Kind::Flag, "off", "Ask other origins").not_yet(),
    Row::new("vhost.cluster.coworkers", Kind::Words, "", "Those").without_effect(NO_EDGE),
    Row::new("vhost.cluster.protocol", Kind::Choice(&["rtmp", "flv", "flvs"]), "rtmp", "How edges ask").without_effect(NO_EDGE),
    Row::new("vhost.cluster.follow_client", Kind::Flag, "off", "Ask as the client does").without_effect(NO_EDGE),
    Row::block("vhost.dvr", "Records streams").not_yet(),
    Row::new("vhost.dvr.enabled", Kind::Flag, "off", "Record"),
    Row::new("vhost.dvr.dvr_apply", Kind::Words, "all", "Which: all or APP/STREAM"),
    Row::new("vhost.dvr.dvr_plan", Kind::Choice(&["session", "segment", "append"]), "session", "When a file ends"),
    Row::new("vhost.dvr.dvr_path", Kind::Path, "./objs/nginx/html/[app]/[stream].[timestamp].flv", "Its name"),
    Row::new("vhost.dvr.dvr_duration", Kind::Seconds(0.0, 86_400.0), "30", "Seconds of a segment"),
    Row::new("vhost.dvr.dvr_wait_keyframe", Kind::Flag, "on", "Begin it with a keyframe"),
    Row::new("vhost.dvr.time_jitter", Kind::Choice(&["full", "zero", "off"]), "full", "How times are mended"),
    Row::block("vhost.dash", "DASH").not_yet(),
    Row::new("vhost.dash.enabled", Kind::Flag, "off", "Serve it"),
    Row::new("vhost.dash.dash_fragment", Kind::Seconds(0.0, 3_600.0), "10", "Seconds of a segment"),
    Row::new("vhost.dash.dash_update_period", Kind::Seconds(0.0, 3_600.0), "5", "Seconds to the next manifest"),
    Row::new("vhost.dash.dash_timeshift", Kind::Seconds(0.0, 86_400.0), "300", "Seconds that may be played"),
    Row::new("vhost.dash.dash_path", Kind::Path, "./objs/nginx/html", "The folder of segments"),
    Row::new("vhost.dash.dash_mpd_file", Kind::Path, "[app]/[stream].mpd", "The manifest"),
    Row::new("vhost.dash.dash_window_size", Kind::Number(0, 1_000), "5", "Segments kept"),
    Row::new("vhost.dash.dash_cleanup", Kind::Flag, "on", "Remove old ones"),
    Row::new("vhost.dash.dash_dispose", Kind::Seconds(0.0, 86_400.0), "120", "Seconds that the last ones are kept"),
    Row::block("vhost.hds", "HDS").not_yet(),
    Row::new("vhost.hds.enabled", Kind::Flag, "off", "Serve it"),
    Row::new("vhost.hds.hds_fragment", Kind::Seconds(0.0, 3_600.0), "10", "Seconds of a segment"),
    Row::new("vhost.hds.hds_window", Kind::Seconds(0.0, 86_400.0), "60", "Seconds listed"),
    Row::new("vhost.hds.hds_path", Kind::Path, "./objs/nginx/html", "The folder of segments"),
    Row::block("vhost.srt", "SRT").not_yet(),
    Row::new("vhost.srt.enabled", Kind::Flag, "off", "Let SRT clients in"),
    Row::new("vhost.srt.srt_to_rtmp", Kind::Flag, "on", "SRT publishers reach the other players"),
    Row::block("vhost.rtsp", "RTSP").not_yet(),
    Row::new("vhost.rtsp.enabled", Kind::Flag, "off", "Let RTSP clients in"),
    Row::new("vhost.rtsp.rtmp_to_rtsp", Kind::Flag, "off", "RTMP publishers reach RTSP players"),
    Row::block("vhost.http_static", "Files of a vhost").not_yet(),
    Row::new("vhost.http_static.enabled", Kind::Flag, "off", "Serve them"),
    Row::new("vhost.http_static.mount", Kind::Text, "[vhost]/", "Their path"),
    Row::new("vhost.http_static.dir", Kind::Path, "./objs/nginx/html", "Their folder"),
    Row::block("vhost.exec", "Programs that run while a stream is published").not_yet(),
    Row::new("vhost.exec.enabled", Kind::Flag, "off", "Run them"),
    Row::new("vhost.exec.publish", Kind::Rules(command), "", "A program and its arguments; may be repeated"),
    many("vhost.transcode", "Streams made of others by ffmpeg; its name is the app or app/stream").not_yet(),
    Row::new("vhost.transcode.enabled", Kind::Flag, "off", "Make them"),
    Row::new("vhost.transcode.ffmpeg", Kind::Path, "./objs/ffmpeg/bin/ffmpeg", "The program"),
];

/// What ffmpeg is told, for those that make streams and those that take them in.
macro_rules! engine {
    ($block:literal) => {
        &[
            many($block, "What ffmpeg is told"),
            Row::new(concat!($block, ".enabled"), Kind::Flag, "off", "Use it"),
            Row::new(concat!($block, ".perfile"), Kind::Free, "", "Options before the input"),
            Row::new(concat!($block, ".iformat"), Kind::Text, "flv", "The input's format"),
            Row::new(concat!($block, ".vfilter"), Kind::Free, "", "Filters"),
            Row::new(concat!($block, ".vcodec"), Kind::Text, "", "The codec of pictures"),
            Row::new(concat!($block, ".vbitrate"), Kind::Number(0, INT_MAX), "0", "Kilobits per second"),
            Row::new(concat!($block, ".vfps"), Kind::Decimal(0.0, 1_000.0), "0", "Pictures per second"),
            Row::new(concat!($block, ".vwidth"), Kind::Number(0, 65_536), "0", "Their width"),
            Row::new(concat!($block, ".vheight"), Kind::Number(0, 65_536), "0", "Their height"),
            Row::new(concat!($block, ".vthreads"), Kind::Number(0, 1_024), "1", "Threads"),
            Row::new(concat!($block, ".vprofile"), Kind::Text, "", "The codec's profile"),
            Row::new(concat!($block, ".vpreset"), Kind::Text, "", "The codec's preset"),
            Row::new(concat!($block, ".vparams"), Kind::Free, "", "More options"),
            Row::new(concat!($block, ".acodec"), Kind::Text, "", "The codec of sound"),
            Row::new(concat!($block, ".abitrate"), Kind::Number(0, INT_MAX), "0", "Kilobits per second"),
            Row::new(concat!($block, ".asample_rate"), Kind::Number(0, INT_MAX), "0", "Samples per second"),
            Row::new(concat!($block, ".achannels"), Kind::Number(0, 64), "0", "Channels"),
            Row::new(concat!($block, ".aparams"), Kind::Free, "", "More options"),
            Row::new(concat!($block, ".oformat"), Kind::Text, "flv", "The output's format"),
            Row::new(concat!($block, ".output"), Kind::Text, "", "Where to"),
        ]
    };
}

/// Engines of `transcode`.
pub(super) const TRANSCODE_ENGINE: &[Row] = engine!("vhost.transcode.engine");

/// `ingest`.
pub(super) const INGEST: &[Row] = &[
    many("vhost.ingest", "Streams taken in by ffmpeg; each has a name").not_yet(),
    Row::new("vhost.ingest.enabled", Kind::Flag, "off", "Take them in"),
    Row::block("vhost.ingest.input", "Where from"),
    Row::new("vhost.ingest.input.type", Kind::Choice(&["file", "stream", "device"]), "file", "What it is"),
    Row::new("vhost.ingest.input.url", Kind::Text, "", "Its file or URL"),
    Row::new("vhost.ingest.ffmpeg", Kind::Path, "./objs/ffmpeg/bin/ffmpeg", "The program"),
];

/// Engines of `ingest`.
pub(super) const INGEST_ENGINE: &[Row] = engine!("vhost.ingest.engine");

fn command(words: &[String]) -> Result<(), String> {
    if words.is_empty() { Err("needs a program".to_owned()) } else { Ok(()) }
}
