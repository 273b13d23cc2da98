//! What is done to each server.

use crate::{
    clients::{Churn, Kind},
    media::Shape,
};
use std::time::Duration;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// WebRTC viewers of one stream.
    Whep,
    /// WebRTC publishers without viewers.
    Whip,
    /// RTMP players of one stream.
    Rtmp,
    /// HTTP-FLV players of one stream.
    Flv,
    /// HLS players of one stream.
    Hls,
    /// Clients that come and go.
    Churn,
}

/// How a server is set up for a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tuning {
    /// As its configuration is by default.
    Default,
    /// Nothing waits for company.
    LowLatency,
}

/// One kind of load.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) protocol: Protocol,
    pub(super) tuning: Tuning,
    /// The publisher's kind.
    pub(super) source: Kind,
    /// The clients that are counted; the publishers themselves where nobody plays.
    pub(super) clients: Kind,
    pub(super) count: usize,
    pub(super) churn: Option<Churn>,
}

/// Of every stream.
pub(super) const SHAPE: Shape = Shape { kbps: 670, fps: 25, gop: 50 };

/// All of them, with `scale` per cent of their clients.
pub(super) fn all(scale: u32) -> impl Iterator<Item = Workload> {
    use Kind::{FlvPlay, HlsPlay, RtmpPlay, RtmpPublish, WebrtcPlay, WebrtcPublish};
    let plain =
        |protocol, source, clients, count| Workload { protocol, tuning: Tuning::Default, source, clients, count, churn: None };
    let fast = |workload| Workload { tuning: Tuning::LowLatency, ..workload };
    let churning = |source, clients, count| Workload {
        churn: Some(Churn { stay: Duration::from_secs(1), pause: Duration::from_millis(100) }),
        ..plain(Protocol::Churn, source, clients, count)
    };
    let list = [
        plain(Protocol::Whep, WebrtcPublish, WebrtcPlay, 200),
        plain(Protocol::Whep, WebrtcPublish, WebrtcPlay, 500),
        plain(Protocol::Whep, WebrtcPublish, WebrtcPlay, 1_000),
        plain(Protocol::Whep, RtmpPublish, WebrtcPlay, 500),
        plain(Protocol::Whip, WebrtcPublish, WebrtcPublish, 50),
        plain(Protocol::Whip, WebrtcPublish, WebrtcPublish, 150),
        plain(Protocol::Rtmp, RtmpPublish, RtmpPlay, 500),
        plain(Protocol::Rtmp, RtmpPublish, RtmpPlay, 1_000),
        fast(plain(Protocol::Rtmp, RtmpPublish, RtmpPlay, 500)),
        plain(Protocol::Flv, RtmpPublish, FlvPlay, 500),
        plain(Protocol::Hls, RtmpPublish, HlsPlay, 300),
        churning(WebrtcPublish, WebrtcPlay, 40),
        churning(RtmpPublish, RtmpPlay, 100),
    ];
    list.into_iter().map(move |workload| Workload { count: (workload.count * scale as usize).div_ceil(100), ..workload })
}

impl Workload {
    /// In a line.
    pub(super) fn describe(&self) -> String {
        let tuning = if self.tuning == Tuning::LowLatency { ", low latency" } else { "" };
        if self.clients.publishes() {
            return format!("{} × {}, no viewers", self.count, self.clients.name());
        }
        let churn = self.churn.map_or(String::new(), |churn| {
            format!(
                ", each leaves {} s after its first media and comes back {} ms later",
                churn.stay.as_secs(),
                churn.pause.as_millis()
            )
        });
        format!("{} × {} of one stream by {}{tuning}{churn}", self.count, self.clients.name(), by(self.source))
    }

    /// How many streams are published.
    pub(super) fn streams(&self) -> usize {
        if self.clients.publishes() { self.count } else { 1 }
    }
}

fn by(source: Kind) -> &'static str {
    if source.is_webrtc() { "WebRTC" } else { "RTMP" }
}
