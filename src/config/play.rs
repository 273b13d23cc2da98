//! `play`: how players of RTMP and HTTP-FLV are sent to.

use std::time::Duration;

use weir_bridge::Begin;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

const AT_ONCE: &str = "everything is sent at once";
const OWN_CLOCK: &str = "each stream has one clock that never goes back";

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.play", "How players are sent to"),
    Row::new(
        "vhost.play.gop_cache",
        Kind::Flag,
        "on",
        "Players of RTMP, HTTP-FLV and TS begin with the last keyframe rather than wait for the next; WebRTC's always do",
    ),
    Row::new(
        "vhost.play.gop_cache_max_frames",
        Kind::Number(0, 1_000_000),
        "2500",
        "Not if more frames than this have followed it, sound included; 0: any number that is kept",
    ),
    Row::new("vhost.play.queue_length", Kind::Seconds(0.0, 3_600.0), "30", "Seconds that a player may be behind")
        .without_effect("one that is two seconds behind goes on at the next keyframe"),
    Row::new(
        "vhost.play.mw_latency",
        Kind::Millis(0.0, 60_000.0),
        "350",
        "Milliseconds that RTMP and HTTP-FLV players get in one write, and are later by; 0 with min_latency, unless written",
    ),
    Row::new("vhost.play.mw_msgs", Kind::Number(0, 128), "8", "Messages that are sent together")
        .without_effect("mw_latency alone says when"),
    Row::new("vhost.play.send_min_interval", Kind::Millis(0.0, 60_000.0), "0", "Milliseconds between messages")
        .without_effect(AT_ONCE),
    Row::new("vhost.play.time_jitter", Kind::Choice(&["full", "zero", "off"]), "full", "How times are mended")
        .without_effect(OWN_CLOCK),
    Row::new("vhost.play.mix_correct", Kind::Flag, "off", "Sort sound and pictures by time").without_effect(OWN_CLOCK),
    Row::new("vhost.play.atc", Kind::Flag, "off", "Keep the publisher's times").without_effect(OWN_CLOCK),
    Row::new("vhost.play.atc_auto", Kind::Flag, "off", "Keep them if the publisher asks").without_effect(OWN_CLOCK),
    Row::new("vhost.play.reduce_sequence_header", Kind::Flag, "off", "Send parameters only when they change")
        .without_effect("they are sent when they change"),
];

/// How players are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Play {
    /// With what players begin.
    pub begin: Begin,
    /// How long frames are gathered for one write; zero: never.
    pub gather: Duration,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Play {
    let play = settings.vhost(vhost, "vhost.play");
    let at_once = settings.is_on(vhost, "vhost.min_latency") && !play.is_set("mw_latency");
    let begin = Begin { cached: play.flag("gop_cache"), frames_max: play.number("gop_cache_max_frames") };
    Play { begin, gather: if at_once { Duration::ZERO } else { play.millis("mw_latency") } }
}
