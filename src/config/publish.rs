//! `publish`: how long publishers may be silent, and when others take their place.

use std::time::Duration;

use weir_source::Takeover;

use super::{
    settings::Settings,
    table::{Kind, Row},
};

const READ_AT_ONCE: &str = "what comes is read at once";

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.publish", "What publishers may do"),
    Row::new("vhost.publish.firstpkt_timeout", Kind::Millis(100.0, 3_600_000.0), "20000", "Milliseconds until the first media"),
    Row::new("vhost.publish.normal_timeout", Kind::Millis(100.0, 3_600_000.0), "5000", "Milliseconds of silence after it"),
    Row::new(
        "vhost.publish.kickoff_for_idle",
        Kind::Seconds(0.0, 86_400.0),
        "0",
        "Seconds without a player that end a publisher; 0: never",
    ),
    Row::new(
        "vhost.publish.takeover",
        Kind::Choice(&["silent", "identity", "always", "never"]),
        "silent",
        "When one publisher takes another's place: after two seconds of silence; identity: at once too, if both are the same",
    ),
    Row::new("vhost.publish.mr", Kind::Flag, "off", "Wait for more before reading").without_effect(READ_AT_ONCE),
    Row::new("vhost.publish.mr_latency", Kind::Millis(0.0, 60_000.0), "350", "Milliseconds of it").without_effect(READ_AT_ONCE),
    Row::new("vhost.publish.parse_sps", Kind::Flag, "on", "Read the size of pictures").without_effect("it is read"),
    Row::new("vhost.publish.try_annexb_first", Kind::Flag, "on", "Take Annex B before AVCC")
        .without_effect("both are told apart"),
];

/// What publishers may do. The times of silence are for those by RTMP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Until the first media.
    pub firstpkt_timeout: Duration,
    /// After it.
    pub normal_timeout: Duration,
    /// Without a player that end a publisher of any protocol; zero: never.
    pub kickoff_for_idle: Duration,
    /// When one takes the place of another.
    pub takeover: Takeover,
}

pub(super) fn read(settings: &Settings, vhost: &str) -> Publish {
    let view = settings.vhost(vhost, "vhost.publish");
    Publish {
        firstpkt_timeout: view.millis("firstpkt_timeout"),
        normal_timeout: view.millis("normal_timeout"),
        kickoff_for_idle: view.seconds("kickoff_for_idle"),
        takeover: match view.text("takeover").as_str() {
            "identity" => Takeover::Identity,
            "always" => Takeover::Always,
            "never" => Takeover::Never,
            _ => Takeover::Silent,
        },
    }
}
