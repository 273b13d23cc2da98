//! From an offer with its circumstances to an opened session: one way for WHIP, WHEP and SRS's
//! JSON.

use axum::http::{HeaderMap, header};
use tracing::debug;
use weir_rtc::{OpenRequest, Opened, sdp::Direction};
use weir_source::StreamKey;

use crate::{
    Problem,
    peer::{Peer, kept_header},
    query::Params,
    router::AppState,
    trace_id,
};

/// Who asks for which stream, and how.
pub(crate) struct Asked<'a> {
    pub(crate) direction: Direction,
    pub(crate) key: StreamKey,
    pub(crate) params: &'a Params,
    pub(crate) peer: Peer,
    pub(crate) headers: &'a HeaderMap,
}

/// Opens a session for `offer`.
pub(crate) fn open(state: &AppState, asked: Asked<'_>, offer: String) -> Result<Opened, Problem> {
    let Asked { direction, key, params, peer, headers } = asked;
    let id = trace_id();
    let app = key.app().to_owned();
    let name = key.to_string();
    let request = OpenRequest {
        direction,
        key,
        offer,
        extra_candidate: params.candidate()?,
        codec: params.codec()?,
        layer_max: params.layer()?,
        client_ip: peer.0,
        url: format!("webrtc://{}/{app}", kept_header(headers, &header::HOST)),
        page_url: kept_header(headers, &header::REFERER),
        id: id.clone(),
        ice: params.ice()?,
    };
    match state.rtc()?.open(request) {
        Ok(opened) => {
            debug!(%id, stream = %name, ?direction, peer = %peer.0, "session opened");
            Ok(opened)
        }
        Err(error) => {
            debug!(%id, stream = %name, ?direction, peer = %peer.0, %error, "session refused");
            Err(error.into())
        }
    }
}
