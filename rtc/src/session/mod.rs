//! One peer, sans-IO: ICE, DTLS, SRTP, RTP and RTCP of a publisher or a player.
//!
//! [`Session`] owns all protocol state of one WebRTC peer. It takes datagrams and instants and
//! returns [`Output`]s; it never reads a clock, opens a socket, spawns, locks or logs per packet.
//! Contract: one mutation (`handle_*`, a run of `forward`s, `resend`, `request_keyframe`, `close`),
//! then drain [`Session::poll_output`], then sleep until [`Session::poll_timeout`].
//!
//! `transport` opens and seals. Behind it stands either `inbound` (a publisher: `stream`, `gaps`,
//! `reception`, `arrival`, `feedback`, `keyframe`, `encodings`, `clock`) or `outbound` (a player: `layers`,
//! `temporal`, `trial`, `rewrite`, `history`, `rtx`, `fill`, `estimate`, `report`, `viewer_rtcp`).

mod arrival;
mod bandwidth;
mod clock;
mod config;
mod descriptor;
mod encodings;
mod estimate;
mod extensions;
mod feedback;
mod fill;
mod gaps;
mod gate;
mod history;
mod inbound;
mod keyframe;
mod layers;
mod milestones;
mod outbound;
mod outgoing;
mod output;
mod picture;
mod player;
mod publisher;
mod reception;
mod repaired;
mod report;
mod rewrite;
mod rtx;
mod silence;
mod stats;
mod stream;
mod temporal;
mod transport;
mod trial;
mod viewer_rtcp;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tracing::debug;

pub use config::SessionConfig;
pub use fill::Fill;
pub use milestones::Milestones;
pub use output::{CloseReason, Output, Resend};
pub use stats::{Drops, LayerReason, LayerStats, SessionStats};

use crate::{
    dtls::Identity,
    ice::Path,
    sdp::{Direction, IceCredentials, SessionParams},
    wire::demux::{Class, classify},
};
use config::Wall;
use inbound::Inbound;
use outbound::Outbound;
use output::{Compounds, Outputs};
use transport::{Incoming, Transport};

/// A peer that has not connected by then holds its place in vain. Browsers give ICE up earlier.
const SETUP_MAX: Duration = Duration::from_secs(15);

/// One WebRTC peer. See the module for the contract of its calls.
pub struct Session {
    state: State,
    /// Something but media came since the owner looked last.
    stirred: bool,
    media: Media,
    /// When the transport or the session itself wants to be called.
    due: Instant,
    /// Counted here, next to what each packet touches: RTP packets that passed authentication …
    packets_in: u64,
    /// … and bytes of all datagrams.
    bytes_in: u64,
    outputs: Outputs,
    transport: Transport,
    /// Scratch of `poll_media`: empty between calls.
    rtcp: Compounds,
    stats: SessionStats,
    id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// ICE and DTLS are under way.
    Connecting {
        deadline: Instant,
    },
    Connected,
    Closed,
}

/// Which way media flows.
enum Media {
    In(Box<Inbound>),
    Out(Box<Outbound>),
}

impl Session {
    /// A session as negotiated. `made` is `Source::made()`, the zero of the clock on which packets
    /// are stamped; `id` is the peer's trace id, for its log lines.
    pub fn new(
        params: SessionParams,
        identity: &Identity,
        config: &SessionConfig,
        now: Instant,
        made: Instant,
        id: &str,
    ) -> Self {
        let media = match params.direction {
            Direction::Publish => Media::In(Box::new(Inbound::new(&params, now, made))),
            Direction::Play => Media::Out(Box::new(Outbound::new(&params, made, Wall::new(config, made)))),
        };
        let mut session = Self {
            state: State::Connecting { deadline: now + SETUP_MAX },
            stirred: true,
            media,
            due: now,
            packets_in: 0,
            bytes_in: 0,
            outputs: Outputs::default(),
            transport: Transport::new(&params, identity, now),
            rtcp: Compounds::default(),
            stats: SessionStats::default(),
            id: id.to_owned(),
        };
        session.note_due();
        session
    }

    /// One datagram that came by UDP. As [`Session::handle_input`].
    pub fn handle_datagram(&mut self, now: Instant, remote: SocketAddr, local: IpAddr, data: &mut [u8]) {
        self.handle_input(now, Path::udp(remote, local), data);
    }

    /// One datagram from the network, by UDP or over a connection. Whatever is bad is counted and
    /// dropped. `data` is decrypted in place.
    pub fn handle_input(&mut self, now: Instant, path: Path, data: &mut [u8]) {
        if self.state == State::Closed {
            return;
        }
        self.bytes_in += data.len() as u64;
        let incoming = self.transport.handle_datagram(now, path, data, &mut self.outputs, &mut self.stats);
        let is_more = matches!(incoming, Incoming::MoreRtp { .. });
        match incoming {
            Incoming::Rtp { index, len } | Incoming::MoreRtp { index, len } => {
                self.packets_in += 1;
                if let (Media::In(inbound), Some(plain)) = (&mut self.media, data.get(..len)) {
                    inbound.handle_rtp(now, index, plain, &mut self.stats);
                    if is_more && !inbound.has_news(now) {
                        return;
                    }
                }
            }
            Incoming::Rtcp { len } => {
                let Some(plain) = data.get(..len) else { return };
                match &mut self.media {
                    Media::In(inbound) => inbound.handle_rtcp(now, plain, &mut self.stats),
                    Media::Out(outbound) => outbound.handle_rtcp(now, plain, &mut self.stats, &mut self.outputs),
                }
            }
            other => self.take(now, other),
        }
        self.stirred = true;
        self.poll_media(now);
        self.note_due();
    }

    /// A packet as it is after its decryption, whoever sent it: for the fuzzer.
    pub(crate) fn handle_plain(&mut self, now: Instant, plain: &[u8]) {
        let Self { media, outputs, stats, rtcp, .. } = self;
        let is_rtcp = classify(plain) == Class::Rtcp;
        match media {
            Media::In(inbound) if is_rtcp => inbound.handle_rtcp(now, plain, stats),
            Media::In(inbound) => {
                // The roll-over counter is the cipher's.
                let sequence = plain.get(2..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
                inbound.handle_rtp(now, u64::from(sequence), plain, stats);
            }
            Media::Out(outbound) => outbound.handle_rtcp(now, plain, stats, outputs),
        }
        match media {
            Media::In(inbound) => inbound.poll(now, stats, rtcp),
            Media::Out(outbound) => outbound.poll(now, outputs, rtcp),
        }
        rtcp.clear();
    }

    /// The connection that `path` was has ended: nothing comes or goes that way any more.
    pub fn handle_lost(&mut self, now: Instant, path: Path) {
        self.transport.handle_lost(now, path, &mut self.stats);
        self.stirred = true;
        self.note_due();
    }

    /// New ICE credentials of both sides (RFC 8445 section 9). DTLS and media go on as they are.
    pub fn restart_ice(&mut self, local: IceCredentials, remote: IceCredentials) {
        self.transport.restart_ice(local, remote);
        self.stirred = true;
        self.note_due();
    }

    /// Does what has become due by `now`. Calling it too early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Closed => return,
            State::Connecting { deadline } if deadline <= now => return self.end(now, CloseReason::SetupTimeout),
            State::Connected if self.transport.consent_until() <= now => return self.end(now, CloseReason::ConsentExpired),
            State::Connecting { .. } | State::Connected => {}
        }
        let incoming = self.transport.handle_timeout(now, &mut self.outputs, &mut self.stats);
        self.take(now, incoming);
        self.stirred = true;
        self.poll_media(now);
        self.note_due();
    }

    /// When [`Session::handle_timeout`] is wanted next; `None` once closed. May be past. Changes
    /// with every input, and with a `forward` after which a report is due or a keyframe is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let media = match (&self.media, self.state) {
            (_, State::Closed) => return None,
            (_, State::Connecting { .. }) => None,
            (Media::In(inbound), State::Connected) => inbound.next_due(),
            (Media::Out(outbound), State::Connected) => outbound.next_due(),
        };
        Some(media.map_or(self.due, |media| media.min(self.due)))
    }

    /// Everything but media calls this in the end: what is due depends on nothing else.
    fn note_due(&mut self) {
        let own = match self.state {
            State::Connecting { deadline } => deadline,
            State::Connected | State::Closed => self.transport.consent_until(),
        };
        self.due = self.transport.poll_timeout().map_or(own, |due| due.min(own));
    }

    /// Whether the owner has something to look at besides packets: there are outputs, or anything but
    /// media came since the last call and [`Session::path`] may be another.
    pub fn take_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred) || !self.outputs.is_empty()
    }

    /// The next thing to do, or `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    /// Packets taken from addresses that no check had come from yet.
    pub fn roamed(&self) -> u64 {
        self.stats.roamed
    }

    /// Whether `data`, from an unknown address, looks like the peer's next report: its sender and number
    /// fit. Nothing is proven. Cheap.
    pub fn expects_report(&self, data: &[u8]) -> bool {
        self.transport.expects_report(data)
    }

    /// Forgets the addresses that the peer has left. Call about once a second.
    pub fn forget_left(&mut self, now: Instant) {
        if self.is_connected() {
            self.transport.forget_left(now);
        }
    }

    /// Whether the peer is at this address, may be, or was lately. By UDP.
    pub fn is_around(&self, now: Instant, remote: &SocketAddr) -> bool {
        self.transport.is_around(now, remote)
    }

    /// Where media goes, once ICE has chosen.
    pub fn path(&self) -> Option<Path> {
        self.transport.path()
    }

    /// Where the peer's media came from last.
    pub fn home(&self) -> Option<Path> {
        self.transport.home()
    }

    /// ICE and DTLS are done, and the session is not over.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The session is over.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Ends it: queues close_notify and `Closed(Local)`.
    pub fn close(&mut self, now: Instant) {
        if self.state != State::Closed {
            self.end(now, CloseReason::Local);
        }
    }

    /// The counters.
    pub fn stats(&self) -> SessionStats {
        let mut stats = SessionStats { packets_in: self.packets_in, bytes_in: self.bytes_in, ..self.stats.clone() };
        stats.drops.output = self.outputs.dropped();
        stats.over_tcp = self.path().is_some_and(|path| path.connection.is_some());
        match &self.media {
            Media::In(inbound) => inbound.fill_stats(&mut stats),
            Media::Out(outbound) => outbound.fill_stats(&mut stats),
        }
        stats
    }

    fn take(&mut self, now: Instant, incoming: Incoming) {
        match incoming {
            Incoming::Connected => {
                self.state = State::Connected;
                debug!(id = self.id, profile = ?self.stats.profile, "connected");
                self.outputs.push(Output::Connected);
                if let Media::Out(outbound) = &mut self.media {
                    outbound.connected(now);
                }
            }
            Incoming::Over(reason) => self.end(now, reason),
            Incoming::Rtp { .. } | Incoming::MoreRtp { .. } | Incoming::Rtcp { .. } | Incoming::Nothing => {}
        }
    }

    fn end(&mut self, now: Instant, reason: CloseReason) {
        self.transport.close(now, &mut self.outputs, &mut self.stats);
        self.state = State::Closed;
        self.stirred = true;
        debug!(id = self.id, %reason, "closed");
        self.outputs.push(Output::Closed(reason));
    }

    /// Sends what the media side has to say.
    fn poll_media(&mut self, now: Instant) {
        if self.state != State::Connected {
            return;
        }
        let Self { transport, media, outputs, stats, rtcp, .. } = self;
        match media {
            Media::In(inbound) => {
                if let Some(tracks) = inbound.take_tracks() {
                    outputs.push(Output::Tracks(tracks));
                }
                inbound.poll(now, stats, rtcp);
            }
            Media::Out(outbound) => outbound.poll(now, outputs, rtcp),
        }
        transport.send_rtcp(rtcp, outputs, stats);
        rtcp.clear();
    }
}
