//! From an offer with its circumstances to an opened session: one way for WHIP, WHEP and SRS's
//! JSON.

use std::time::Instant;

use axum::http::{HeaderMap, header};
use tracing::debug;
use weir_rtc::{OpenRequest, Opened, sdp::Direction};
use weir_source::{ClientInfo, ClientKind, Secret, StreamKey};

use crate::{
    Fault, Problem,
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
    /// A player that can answer an offer of ours.
    pub(crate) counter_offer: bool,
}

/// Opens a session for `offer`.
pub(crate) async fn open(state: &AppState, asked: Asked<'_>, offer: String) -> Result<Opened, Problem> {
    let Asked { direction, key, params, peer, headers, counter_offer } = asked;
    let (rtc, now) = (state.rtc()?, Instant::now());
    let (extra_candidate, codec, layer_max, ice) = (params.candidate()?, params.codec()?, params.layer()?, params.ice()?);
    let info = ClientInfo {
        id: trace_id(),
        kind: match direction {
            Direction::Publish => ClientKind::RtcPublish,
            Direction::Play => ClientKind::RtcPlay,
        },
        ip: peer.0,
        url: format!("webrtc://{}/{}", kept_header(headers, &header::HOST), key.app()),
        page_url: kept_header(headers, &header::REFERER),
        param: params.whole().clone(),
        since: now,
        key,
    };
    let (id, name) = (info.id.clone(), info.key.clone());
    let pass = state.hub.admit(info, bearer(headers)).await.inspect_err(|denied| {
        debug!(%id, stream = %name, ?direction, peer = %peer.0, %denied, "client not let in");
    })?;
    if direction == Direction::Play && !holds_viewers(state, &name) && !is_published(state, &name) {
        debug!(%id, stream = %name, peer = %peer.0, "nobody publishes the stream");
        return Err(Problem::new(Fault::NotPublished, "nobody publishes the stream now"));
    }
    let config = state.config();
    let reached_by = state.reached.by(config.reached, headers).await;
    let terms = config.vhosts.get(name.vhost()).terms;
    match rtc.open(OpenRequest { pass, offer, extra_candidate, codec, layer_max, ice, counter_offer, reached_by, terms }) {
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

fn holds_viewers(state: &AppState, name: &StreamKey) -> bool {
    state.config().vhosts.get(name.vhost()).whip.whep_wait
}

fn is_published(state: &AppState, name: &StreamKey) -> bool {
    state.hub.get(name).is_some_and(|source| source.publisher_lane().is_some())
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1). Two such headers are none.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()))
}

/// The host that the request names: the vhost of those that name none otherwise.
pub(crate) fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
