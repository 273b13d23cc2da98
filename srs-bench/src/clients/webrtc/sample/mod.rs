//! A viewer on an independent stack, as a check on the light ones: webrtc-rs's peer connection does its
//! ICE, SRTP, reports and requests. Only the signalling, the counting and the look into frames are ours.
//!
//! `peer` is the connection on its socket, `seen` what its packets come to.

mod peer;
mod seen;

use std::time::{Duration, Instant};

use self::{
    peer::{Offered, Peer},
    seen::Seen,
};
use super::{
    answer::Answer,
    janus::Wanted,
    offer::Offer,
    signal::{self, Resource},
};
use crate::{
    clients::crew::{Crew, Failure, Report, Stop},
    measure::Stage,
};

/// How often it is looked whether something should have come by now.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// The connection is not called again sooner for its timers, whatever it says.
const TURN_MIN: Duration = Duration::from_millis(1);

/// One session of client number `number`.
pub(super) async fn session(crew: &Crew, number: usize, mut report: Report, stop: &mut Stop) {
    let outcome = tokio::select! {
        biased;
        () = stop.wait() => return report.finish(None),
        outcome = Box::pin(signal(crew, number)) => outcome,
    };
    let (mut peer, mut seen, resource) = match outcome {
        Ok(signalled) => signalled,
        Err(failure) => return report.finish(Some(&failure)),
    };
    let failure = tokio::select! {
        biased;
        () = stop.wait() => None,
        failure = Box::pin(receive(crew, &mut peer, &mut seen, &mut report)) => Some(failure),
    };
    peer.close();
    seen.end(Instant::now(), &mut crew.recorder.lock());
    report.finish(failure.as_ref());
    resource.delete(&crew.http).await;
}

/// Offer and answer, by the same requests as the light clients'.
async fn signal(crew: &Crew, number: usize) -> Result<(Box<Peer>, Seen, Resource), Failure> {
    let url = crew.url(number).map_err(|error| Failure::of(Stage::Http, &error))?;
    let offered = Offered::new(crew.options.cipher).map_err(|error| Failure::of(Stage::Sdp, &error))?;
    // The credentials are the connection's own business: only Janus's way needs them here, and is not taken.
    let offer = Offer { ufrag: String::new(), pwd: String::new(), sdp: offered.sdp().to_owned() };
    let wanted = Wanted { publish: false, offer: &offer, fingerprint: "", feedback: crew.options.feedback };
    let (text, resource) = signal::negotiate(&crew.http, &url, &wanted).await?;
    let accept = async {
        let answer = Answer::read(&text).map_err(|error| Failure::of(Stage::Sdp, &error))?;
        let peer = offered.accept(&text, &answer, crew.source(number)).await?;
        Ok((Box::new(peer), Seen::new(answer.types)))
    };
    match accept.await {
        Ok((peer, seen)) => Ok((peer, seen, resource)),
        Err(failure) => {
            resource.delete(&crew.http).await;
            Err(failure)
        }
    }
}

/// Receives until something is wrong.
async fn receive(crew: &Crew, peer: &mut Peer, seen: &mut Seen, report: &mut Report) -> Failure {
    let mut connected_at = None;
    loop {
        let now = Instant::now();
        peer.turn(now);
        if peer.is_connected() {
            connected_at.get_or_insert(now);
        }
        {
            let tally = &mut *crew.recorder.lock();
            if connected_at.is_some() {
                report.connected(tally, now);
            }
            while let Some((at, packet)) = peer.poll_packet() {
                seen.handle(at, &packet, report, tally);
            }
            seen.handle_timeout(now, report, tally);
        }
        if let Some(ssrc) = seen.poll_keyframe_wish(now) {
            peer.ask_for_keyframe(now, ssrc);
        }
        if let Some(failure) = peer.failure().or_else(|| overdue(crew, peer, seen, report, connected_at, now)) {
            return failure;
        }
        let due = peer.poll_timeout().unwrap_or(now + WATCH_EVERY).clamp(now + TURN_MIN, now + WATCH_EVERY);
        tokio::select! {
            () = peer.readable() => {}
            () = tokio::time::sleep_until(due.into()) => {}
        }
    }
}

/// What should have come by now and has not.
fn overdue(
    crew: &Crew,
    peer: &Peer,
    seen: &Seen,
    report: &Report,
    connected_at: Option<Instant>,
    now: Instant,
) -> Option<Failure> {
    let options = &crew.options;
    let Some(connected_at) = connected_at else {
        let late = now.saturating_duration_since(report.asked()) > options.setup_patience;
        return late.then(|| peer.lateness());
    };
    let (since, patience) = match seen.last_media() {
        Some(at) => (at, options.stall),
        None => (connected_at, options.media_patience),
    };
    if now.saturating_duration_since(since) <= patience {
        return None;
    }
    let seconds = patience.as_secs_f32();
    Some(match seen.last_media() {
        _ if !peer.is_connected() => Failure::new(Stage::Ended, "the server does not answer any more"),
        Some(_) => Failure::new(Stage::Stalled, format!("no media for {seconds} s")),
        None => Failure::new(Stage::FirstMedia, format!("no media within {seconds} s")),
    })
}
