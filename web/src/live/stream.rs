//! HTTP-FLV, HTTP-TS, AAC and MP3: a body that reads the frames ring as fast as its connection takes it.
//!
//! There is no task and no queue per viewer: hyper polls the body when the socket has room, and
//! the ring is the queue. A viewer that stops reading is left behind there and, after the
//! connection's write stall time, closed.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::Body,
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::Frame;
use tokio::time::Sleep;
use tracing::debug;
use weir_source::{ClientInfo, ClientKind, Codec, MediaKind, StreamKey, Wake};

use super::viewer::{Container, Patience, Step, Viewer};
use crate::{
    Fault, Problem,
    peer::{Peer, Scheme, kept_header},
    query::Params,
    router::AppState,
    signalling::bearer,
    trace_id,
};

/// Who asks for which stream.
pub(super) struct Asked<'a> {
    pub(super) key: StreamKey,
    pub(super) params: &'a Params,
    pub(super) peer: Peer,
    pub(super) scheme: Scheme,
    pub(super) headers: &'a HeaderMap,
}

pub(super) async fn play<C: Container>(state: &AppState, asked: Asked<'_>, method: &Method) -> Result<Response, Problem> {
    let kinds = [(header::CONTENT_TYPE, C::KIND), (header::CACHE_CONTROL, "no-cache, no-store")];
    if method == Method::HEAD {
        return Ok(kinds.into_response());
    }
    let Asked { key, params, peer, scheme, headers } = asked;
    let now = Instant::now();
    let info = ClientInfo {
        id: trace_id(),
        kind: ClientKind::FlvPlay,
        ip: peer.0,
        url: format!("{}://{}/{}", scheme.name(), kept_header(headers, &header::HOST), key.app()),
        page_url: kept_header(headers, &header::REFERER),
        param: params.whole().clone(),
        since: now,
        key: key.clone(),
    };
    debug!(id = %info.id, stream = %key, peer = %peer.0, kind = C::KIND, "http play");
    let pass = state.hub.admit(info, bearer(headers)).await?;
    let config = state.config();
    let vhost = config.vhosts.get(key.vhost());
    // Only whoever may play it learns what it is made of.
    if let Some(is_had) = C::SOUND {
        if !vhost.content.takes(MediaKind::Audio) {
            return Err(Problem::new(Fault::NotFound, "sound is left out here (has_audio)"));
        }
        check_sound(state, &key, is_had)?;
    }
    let wake = Arc::new(WakeBody::default());
    let mut subscriber = state.hub.subscribe_frames(&key, now);
    vhost.begin.place(&mut subscriber);
    subscriber.watch(wake.clone());
    let client = state.hub.clients().enter(pass, wake.clone());
    let patience = Patience { first: config.first_publish_wait, again: config.republish_wait };
    let viewer = Viewer::<C>::new(subscriber, client, vhost.content, patience, vhost.gather);
    Ok((kinds, Body::new(LiveBody { viewer, wake, timer: None })).into_response())
}

/// These endings are of files too, which would be out of reach if a stream of their name were waited for. A
/// stream that has told of no sound yet is given the time of any other.
fn check_sound(state: &AppState, key: &StreamKey, is_had: fn(Codec) -> bool) -> Result<(), Problem> {
    let published = state.hub.get(key).and_then(|source| source.publisher_lane().map(|lane| source.tracks(lane)));
    let Some(tracks) = published else {
        return Err(Problem::new(Fault::NotFound, "nobody publishes the stream"));
    };
    match tracks.audio() {
        Some(track) if !is_had(track.codec) => Err(Problem::new(
            Fault::NotFound,
            format!("the sound of the stream is {}: it cannot be had in this form", track.codec.name()),
        )),
        _ => Ok(()),
    }
}

/// Wakes the task that polls the body.
#[derive(Default)]
struct WakeBody(AtomicWaker);

impl Wake for WakeBody {
    fn wake(&self) {
        self.0.wake();
    }
}

struct LiveBody<C> {
    viewer: Viewer<C>,
    wake: Arc<WakeBody>,
    timer: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<C: Container> http_body::Body for LiveBody<C> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        loop {
            // Before the look, so that what comes after it wakes.
            body.wake.0.register(cx.waker());
            match body.viewer.step(Instant::now()) {
                Step::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Step::End => return Poll::Ready(None),
                Step::Wait(None) => {
                    body.timer = None;
                    return Poll::Pending;
                }
                Step::Rest(until) => {
                    // The frames that come meanwhile need not wake anybody.
                    drop(body.wake.0.take());
                    if body.poll_timer(until, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                Step::Wait(Some(until)) => {
                    if body.poll_timer(until, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl<C> LiveBody<C> {
    fn poll_timer(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (_, timer) = match &mut self.timer {
            Some(timer) if timer.0 == until => timer,
            timer => timer.insert((until, Box::pin(tokio::time::sleep_until(until.into())))),
        };
        timer.as_mut().poll(cx)
    }
}
