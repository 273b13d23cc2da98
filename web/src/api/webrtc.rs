//! What WebRTC sessions add to the list of clients.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use weir_rtc::{RtcHandle, SessionInfo, sdp::Direction, session::LayerStats, srtp::SrtpProfile};
use weir_source::{Lane, Layer};

use crate::router::AppState;

/// All sessions by their trace ids.
pub(super) struct Sessions(HashMap<String, SessionInfo>);

impl Sessions {
    pub(super) fn of(state: &AppState) -> Self {
        let list = state.rtc.as_ref().map(RtcHandle::list).unwrap_or_default();
        Self(list.into_iter().map(|info| (info.id.clone(), info)).collect())
    }

    pub(super) fn take(&mut self, state: &AppState, id: &str) -> Option<WebRtc> {
        self.0.remove(id).map(|info| WebRtc::of(state, info))
    }
}

/// A session's state and counters. Its secret name is not among them.
#[derive(Serialize)]
pub(super) struct WebRtc {
    connected: bool,
    remote: Option<String>,
    /// `udp` or `tcp`: what its packets come by.
    transport: &'static str,
    /// How often it was followed to another address.
    moves: u64,
    codecs: Vec<&'static str>,
    recv_kbps: u64,
    send_kbps: u64,
    packets_in: u64,
    packets_out: u64,
    lost: u64,
    recovered: u64,
    nack_sent: u64,
    nack_received: u64,
    nack_served: u64,
    nack_served_rtx: u64,
    nack_refused: u64,
    pli_sent: u64,
    pli_received: u64,
    rtt_ms: Option<f64>,
    jitter_ms: f64,
    dropped: u64,
    srtp: Option<&'static str>,
    /// A publisher's simulcast layers, the best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Sent>,
    /// The simulcast layer that a player gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    layer: Option<Chosen>,
}

/// A layer that a publisher was agreed.
#[derive(Serialize)]
struct Sent {
    #[serde(flatten)]
    layer: Named,
    /// It is being sent.
    active: bool,
    kbps: u64,
}

#[derive(Serialize)]
struct Named {
    rid: String,
    width: u32,
    height: u32,
}

impl Named {
    fn of(layer: &Layer) -> Self {
        let (width, height) = layer.size.unwrap_or_default();
        Self { rid: layer.rid.clone(), width, height }
    }
}

/// Which layer a player gets, and why.
#[derive(Serialize)]
struct Chosen {
    /// What it is being sent, while it does not wait for a keyframe.
    #[serde(flatten)]
    current: Option<Named>,
    /// The name of the layer that it should get.
    wanted: String,
    reason: &'static str,
    /// What its line carries of video, as far as is known.
    budget_kbps: Option<u64>,
    /// The highest temporal layer sent, where not all are.
    temporal_max: Option<u8>,
}

impl Chosen {
    fn of(stats: LayerStats) -> Self {
        Self {
            current: stats.current.as_ref().map(Named::of),
            wanted: stats.wanted,
            reason: stats.reason.name(),
            budget_kbps: stats.budget_bps.map(|bps| bps / 1_000),
            temporal_max: stats.temporal_max,
        }
    }
}

/// The layers of the session's stream, if it publishes several.
fn layers(state: &AppState, info: &SessionInfo) -> Vec<Sent> {
    let source = (info.direction == Direction::Publish).then(|| state.hub.get(&info.key)).flatten();
    let Some(source) = source else { return Vec::new() };
    let tracks = source.tracks(Lane::Packets);
    let states = source.layers().into_iter();
    let sent = |state: weir_source::LayerState| {
        let layer = tracks.get(state.track)?.layer.as_ref()?;
        Some(Sent { layer: Named::of(layer), active: state.flowing.is_some(), kbps: state.bits_per_second / 1_000 })
    };
    states.filter_map(sent).collect()
}

impl WebRtc {
    pub(super) fn of(state: &AppState, info: SessionInfo) -> Self {
        let layers = layers(state, &info);
        let millis = |time: Duration| time.as_secs_f64() * 1_000.0;
        let stats = info.stats;
        Self {
            connected: info.connected,
            remote: info.remote.map(|remote| remote.to_string()),
            transport: if stats.over_tcp { "tcp" } else { "udp" },
            moves: stats.moves,
            codecs: info.codecs.iter().map(|codec| codec.name()).collect(),
            recv_kbps: info.recv_bps / 1_000,
            send_kbps: info.send_bps / 1_000,
            packets_in: stats.packets_in,
            packets_out: stats.packets_out,
            lost: stats.lost,
            recovered: stats.recovered,
            nack_sent: stats.nack_sent,
            nack_received: stats.nack_received,
            nack_served: stats.nack_served,
            nack_served_rtx: stats.nack_served_rtx,
            nack_refused: stats.nack_refused,
            pli_sent: stats.pli_sent,
            pli_received: stats.pli_received,
            rtt_ms: stats.rtt.map(millis),
            jitter_ms: millis(stats.jitter),
            dropped: stats.drops.total(),
            srtp: stats.profile.map(SrtpProfile::name),
            layers,
            layer: stats.layer.map(Chosen::of),
        }
    }
}
