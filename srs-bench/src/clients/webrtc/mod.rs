//! WebRTC without a browser: real ICE, DTLS and SRTP, no codecs behind them.
//!
//! A session is signalled by its crew's thread (`signal`), then a fleet's thread has it (`fleet`): that
//! drives `client`s, each a `transport` with a `viewer` or a `publisher` on it. `sample` has viewers on a stack that
//! is not ours instead.

mod answer;
mod client;
mod fleet;
mod inbound;
mod janus;
mod offer;
mod picture;
mod publisher;
mod sample;
mod signal;
mod transport;
mod viewer;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};
use weir_rtc::dtls::Identity;

use self::{
    answer::Answer,
    client::{Client, Part},
    fleet::{Command, Fleet},
    janus::Wanted,
    offer::{Offer, Wish},
    publisher::Publisher,
    signal::Resource,
    transport::{Place, Transport},
    viewer::Viewer,
};
use super::{
    Kind, Options, Stack,
    crew::{Crew, Failure, Report, Stop},
};
use crate::measure::{Collector, Stage};

/// A fleet's thread takes a client out within a turn.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// The threads that drive the clients of one load, and their certificate: one for all, as it costs a
/// server nothing to know.
#[derive(Clone)]
pub(super) struct Fleets {
    fleets: Arc<[Fleet]>,
    identity: Identity,
    joined: Arc<AtomicU64>,
}

impl Fleets {
    pub(super) fn start(threads: usize, options: &Options, collector: &Collector) -> anyhow::Result<Self> {
        let fleets: anyhow::Result<Vec<Fleet>> = (0..threads).map(|n| Fleet::start(n, collector.recorder())).collect();
        Ok(Self { fleets: fleets?.into(), identity: options.cipher.identity()?, joined: Arc::default() })
    }
}

/// One session of client number `number`.
pub(super) async fn session(crew: &Crew, number: usize, report: Report, stop: &mut Stop) {
    if crew.options.stack == Stack::Independent {
        return Box::pin(sample::session(crew, number, report, stop)).await;
    }
    let Some(fleets) = &crew.fleets else { return };
    let outcome = tokio::select! {
        biased;
        () = stop.wait() => return report.finish(None),
        outcome = Box::pin(signal(crew, fleets, number)) => outcome,
    };
    let (part, transport, resource) = match outcome {
        Ok(signalled) => signalled,
        Err(failure) => return report.finish(Some(&failure)),
    };
    let (over, mut ended) = oneshot::channel();
    let client = Box::new(Client::new(transport, part, report, &crew.options, over, Instant::now()));
    let id = fleets.joined.fetch_add(1, Ordering::Relaxed);
    let at = usize::try_from(id).unwrap_or(0) % fleets.fleets.len().max(1);
    let Some(fleet) = fleets.fleets.get(at) else { return };
    fleet.tell(Command::Join(id, client));
    tokio::select! {
        biased;
        _ = &mut ended => {}
        never = resource.keep(&crew.http) => match never {},
        () = stop.wait() => {
            fleet.tell(Command::Leave(id));
            let _in_time = timeout(LEAVE_PATIENCE, ended).await;
        }
    }
    resource.delete(&crew.http).await;
}

/// Offer and answer, and what is made of them.
async fn signal(crew: &Crew, fleets: &Fleets, number: usize) -> Result<(Part, Transport, Resource), Failure> {
    let publish = crew.target.kind() == Kind::WebrtcPublish;
    let url = crew.url(number).map_err(|error| Failure::of(Stage::Http, &error))?;
    let ssrcs = [rand::random::<u32>() | 1, rand::random::<u32>() & !1];
    let wish = if publish { Wish::Send(ssrcs) } else { Wish::Receive(crew.options.feedback) };
    let fingerprint = fleets.identity.fingerprint_sha256();
    let offer = Offer::new(&fingerprint, crew.options.cipher, wish);
    let wanted = Wanted { publish, offer: &offer, fingerprint: &fingerprint, feedback: crew.options.feedback };
    let (text, resource) = signal::negotiate(&crew.http, &url, &wanted).await?;
    let answer = match Answer::read(&text) {
        Ok(answer) => Answer { controlling: !resource.is_offered(), ..answer },
        Err(error) => {
            resource.delete(&crew.http).await;
            return Err(Failure::of(Stage::Sdp, &error));
        }
    };
    let place = Place { source: crew.source(number), recv_buffer: crew.options.recv_buffer };
    let now = Instant::now();
    let transport = Transport::new(&fleets.identity, &offer, &answer, place, now)
        .map_err(|error| Failure::new(Stage::Ice, format!("no socket: {error}")))?;
    let part = match publish {
        true => Part::Publisher(Box::new(Publisher::new(&answer, ssrcs, &crew.options, now))),
        false => Part::Viewer(Box::new(Viewer::new(&answer, &crew.options, now))),
    };
    Ok((part, transport, resource))
}
