//! The most likely cause of a session's trouble, in plain words. A pure function of what is known of it.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::{EndReason, Named};
use crate::{
    sdp::Direction,
    session::{Milestones, SessionStats},
};

/// How far a session got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// It has our offer and has not answered it.
    Unanswered,
    /// It has our answer; no check came yet.
    Waiting,
    /// Checks came.
    Checking,
    /// The DTLS handshake began.
    Handshaking,
    /// The handshake is done.
    Connected,
    /// Media flows, or did.
    Flowing,
}

impl Stage {
    /// One lower-case word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Waiting => "waiting",
            Self::Checking => "checking",
            Self::Handshaking => "handshaking",
            Self::Connected => "connected",
            Self::Flowing => "flowing",
        }
    }
}

/// What a player's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamState {
    /// Nobody publishes it.
    Absent,
    /// Somebody does, by RTMP, and none of it is there for WebRTC.
    NotBridged,
    /// Somebody does, by WebRTC, and has sent nothing.
    Silent,
    /// It is there.
    Live {
        /// A keyframe is cached.
        keyframe: bool,
    },
}

/// What is known of a session.
pub(crate) struct Situation<'a> {
    pub(crate) direction: Direction,
    pub(crate) client: IpAddr,
    /// The stream's name for people.
    pub(crate) stream: &'a str,
    /// It was agreed to carry pictures.
    pub(crate) has_video: bool,
    pub(crate) named: &'a Named,
    /// An offer of ours is not answered.
    pub(crate) unanswered: bool,
    /// Where a wrongly signed check came from.
    pub(crate) bad_check: Option<SocketAddr>,
    /// Publisher: its first packet and its first keyframe. Player: what the milestones say.
    pub(crate) media: Option<Instant>,
    pub(crate) keyframe: Option<Instant>,
    pub(crate) stats: &'a SessionStats,
    pub(crate) source: StreamState,
    /// Since when the answer was there.
    pub(crate) answered: Instant,
    /// Now, or when it ended.
    pub(crate) now: Instant,
    pub(crate) end: Option<EndReason>,
}

/// What takes less time than this is not in trouble.
const GRACE: Duration = Duration::from_secs(1);
/// Browsers report within a second of the first packet.
const REPORT_WAIT: Duration = Duration::from_secs(3);
/// Of these no judgement is made.
const PACKETS_MIN: u64 = 200;

impl Situation<'_> {
    pub(crate) fn stage(&self) -> Stage {
        let Milestones { checked, shaking, connected, .. } = &self.stats.milestones;
        match () {
            () if self.media.is_some() => Stage::Flowing,
            () if connected.is_some() => Stage::Connected,
            () if shaking.is_some() => Stage::Handshaking,
            () if checked.is_some() => Stage::Checking,
            () if self.unanswered => Stage::Unanswered,
            () => Stage::Waiting,
        }
    }

    fn is_longer(&self, since: Option<Instant>, limit: Duration) -> bool {
        since.is_some_and(|since| self.now.saturating_duration_since(since) >= limit)
    }
}

/// `None`: nothing is wrong, or not for long enough to say.
pub(crate) fn cause(situation: &Situation<'_>) -> Option<String> {
    let end = situation.end;
    if let Some(fixed) = end.and_then(|end| by_end(situation, end)) {
        return Some(fixed);
    }
    let milestones = &situation.stats.milestones;
    let checked = milestones.checked.map(|(at, _)| at);
    let since = match situation.stage() {
        Stage::Unanswered => return end.map(|_| "the client did not answer the counter-offer".to_owned()),
        Stage::Waiting => Some(situation.answered),
        Stage::Checking => checked,
        Stage::Handshaking => milestones.shaking,
        Stage::Connected => milestones.connected,
        Stage::Flowing => situation.media,
    };
    // What a client ends by itself after a moment need not have failed.
    if !situation.is_longer(since, GRACE) {
        return None;
    }
    match situation.stage() {
        Stage::Unanswered => None,
        Stage::Waiting => Some(unheard(situation)),
        Stage::Checking => Some(unshaken(situation)),
        Stage::Handshaking => {
            let text = "DTLS began but did not finish: packets of the handshake are lost on the way, or the client gave up; a path \
                that carries no packets of 1,200 bytes does that too";
            Some(text.to_owned())
        }
        Stage::Connected if situation.direction == Direction::Publish => {
            Some("no media: the publisher is connected but has sent no packet".to_owned())
        }
        Stage::Connected => Some(waits(situation)),
        Stage::Flowing => flows_badly(situation).or_else(|| vanished(end)),
    }
}

/// Reasons that say all by themselves.
fn by_end(situation: &Situation<'_>, end: EndReason) -> Option<String> {
    let text = match end {
        EndReason::BadFingerprint => {
            "the client's certificate is not the one of its SDP: the offer was changed on its way, or comes from another client"
                .to_owned()
        }
        EndReason::DtlsFailed => match &situation.stats.milestones.failure {
            Some(failure) => format!("the DTLS handshake failed: {failure}"),
            None => "the DTLS handshake failed".to_owned(),
        },
        EndReason::NeverAnswered => {
            "the client was made a counter-offer (406), because its own had no codec of the stream, and did not answer it"
                .to_owned()
        }
        EndReason::Stuck => "the client's TCP connection took nothing for five seconds: it hangs, or its line is gone".to_owned(),
        EndReason::Replaced => {
            format!("another publisher took {} over after this one had sent nothing for two seconds", situation.stream)
        }
        EndReason::Kicked => "it was ended through the API".to_owned(),
        EndReason::Panicked => "a bug in the server ended it: see the log".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// No check came.
fn unheard(situation: &Situation<'_>) -> String {
    if let Some(remote) = situation.bad_check {
        return format!(
            "STUN arrived from {remote}, but its password was wrong: the client uses another answer than this session's, or one \
             that was changed on its way"
        );
    }
    let Named { udp, tcp } = situation.named;
    let all = || udp.iter().chain(tcp);
    let place = match (udp.first(), tcp.first()) {
        (Some(udp), Some(tcp)) => format!("{udp}/udp or {tcp}/tcp"),
        (Some(udp), None) => format!("{udp}/udp"),
        (None, Some(tcp)) => format!("{tcp}/tcp"),
        (None, None) => "any address".to_owned(),
    };
    let said = format!("the client's checks never came: no STUN arrived at {place}");
    let (client, port) = (situation.client, all().next().map_or(0, SocketAddr::port));
    if client.is_loopback() && all().any(|addr| addr.ip().is_loopback()) {
        let firefox = if all().all(|addr| addr.ip().is_loopback()) { "Firefox connects to no loopback address, " } else { "" };
        return format!("{said}; {firefox}the client did not use the answer, or something on this machine drops its packets");
    }
    if all().all(|addr| addr.ip().is_loopback()) {
        return format!(
            "{said}; the candidate is a loopback address, which {client} cannot reach: set CANDIDATE to one that it can"
        );
    }
    if all().all(|addr| is_private(addr.ip())) && !is_private(client) {
        return format!("{said}; the candidate is private, and {client} is not: set CANDIDATE to the public address");
    }
    if tcp.is_empty() {
        return format!(
            "{said}; the UDP port {port} is closed on the way, or the candidate is not this server's address as {client} sees it: \
             open the port, set CANDIDATE, or enable TCP (rtc_server.tcp)"
        );
    }
    format!(
        "{said}; the ports are closed on the way, or the candidate is not this server's address as {client} sees it: set CANDIDATE"
    )
}

/// Checks came, DTLS did not begin.
fn unshaken(situation: &Situation<'_>) -> String {
    let nominated = situation.stats.milestones.nominated.is_some();
    let from = situation.stats.milestones.checked.map(|(_, path)| path.remote.to_string()).unwrap_or_default();
    if nominated {
        format!("the client nominated {from} but did not begin DTLS: it gave up, or a firewall passes STUN and nothing else")
    } else {
        format!("STUN arrives from {from}, but the client chooses no pair: the answers to it do not get back")
    }
}

/// A player is connected and gets nothing.
fn waits(situation: &Situation<'_>) -> String {
    let stream = situation.stream;
    match situation.source {
        StreamState::Absent => format!("the viewer waits: nobody publishes {stream}"),
        StreamState::NotBridged => format!(
            "the viewer waits: {stream} comes by RTMP, and nothing of it is there for WebRTC: rtmp_to_rtc is off, or no keyframe has \
             come yet"
        ),
        StreamState::Silent => format!("the viewer waits: {stream} has a publisher, which has sent no packet"),
        StreamState::Live { .. } if situation.stats.drops.codec > 0 => {
            format!("the viewer gets nothing: it did not agree to the codec that {stream} has now")
        }
        StreamState::Live { keyframe: false } if situation.has_video => {
            format!("the viewer waits: no keyframe from the publisher of {stream} yet")
        }
        StreamState::Live { .. } => format!("the viewer waits: {stream} is there, but nothing of it was for this viewer yet"),
    }
}

/// Media flows, and yet it may stay black.
fn flows_badly(situation: &Situation<'_>) -> Option<String> {
    let stats = situation.stats;
    let publishes = situation.direction == Direction::Publish;
    if situation.has_video && situation.keyframe.is_none() {
        let text = match (publishes, situation.source) {
            (true, _) => "no keyframe from the publisher yet: without one nobody can see its picture".to_owned(),
            (false, _) if stats.drops.codec > 0 => {
                "only sound goes out: the viewer did not agree to the codec that the picture has now".to_owned()
            }
            (false, StreamState::Live { keyframe: true }) => "only sound goes out so far".to_owned(),
            (false, _) => format!("only sound goes out: no keyframe from the publisher of {} yet", situation.stream),
        };
        return Some(text);
    }
    if !publishes && stats.milestones.reported.is_none() && situation.is_longer(situation.media, REPORT_WAIT) {
        return Some(
            "media goes out, but the viewer reports nothing: the packets do not reach it, or its reports do not get back"
                .to_owned(),
        );
    }
    let packets = if publishes { stats.packets_in } else { stats.packets_out };
    let percent = stats.lost.saturating_mul(100) / packets.saturating_add(stats.lost).max(1);
    (packets >= PACKETS_MIN && percent >= 10)
        .then(|| format!("{percent} % of the packets are lost on the way: the line is bad, or too narrow for the stream"))
}

fn vanished(end: Option<EndReason>) -> Option<String> {
    (end == Some(EndReason::ConsentExpired))
        .then(|| "the client fell silent for 30 s: it ended without a goodbye, or its network is gone".to_owned())
}

/// Addresses that the internet does not carry.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        // RFC 6598: carrier-grade NAT.
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
