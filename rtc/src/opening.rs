//! How a session comes to be: an offer is negotiated and the peer left to wait for its first packet.
//! A player whose offer has no codec of the stream may get an offer of ours instead, and answer it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use weir_source::{Codec, Lane, Packet, Pass, Publisher, StreamKey, Track, TrackId, Tracks};

use crate::{
    AnswerError, Candidate, OpenError, RtcHandle, candidate,
    handle::Shared,
    lobby::{Refusal, Waiting},
    names,
    record::{Facts, Record},
    sdp::{self, Direction, IceCredentials, LocalParams, SessionParams, Terms, negotiate},
    timeline::{Event, Named},
    worker::PeerWake,
};

/// What a client asks for by HTTP, once it has been let in.
#[derive(Debug)]
pub struct OpenRequest {
    /// Who it is, and whether it publishes or plays which stream. Its id must be unique among living
    /// clients.
    pub pass: Pass,
    /// The SDP offer.
    pub offer: String,
    /// An address of ours to name first.
    pub extra_candidate: Option<Candidate>,
    /// Publishing: this codec or none; playing: this one first.
    pub codec: Option<Codec>,
    /// Playing: of simulcast layers none better than the one of this name.
    pub layer_max: Option<String>,
    /// Our ICE credentials, where the client wants to choose them.
    pub ice: Option<IceCredentials>,
    /// Playing: where the offer has no codec of the stream, make one of ours instead of refusing.
    pub counter_offer: bool,
    /// Addresses by which the client reached us: named after those that are configured, before those
    /// that were found.
    pub reached_by: Vec<IpAddr>,
    /// What its vhost grants.
    pub terms: Terms,
}

impl OpenRequest {
    fn direction(&self) -> Direction {
        if self.pass.info().kind.is_publisher() { Direction::Publish } else { Direction::Play }
    }
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its name: 32 random letters and digits, fit for a URL.
    pub session: String,
    /// Its id in the list of clients.
    pub client: String,
    /// The SDP answer; or, with `answer_within`, an SDP offer.
    pub answer: String,
    /// A strong entity tag of its ICE session, with its quotes.
    pub etag: String,
    /// `our ufrag:theirs`, which SRS calls the session's id.
    pub username: String,
    /// The client's offer was refused in favour of one of ours, which is good for so long: see
    /// [`RtcHandle::answer`].
    pub answer_within: Option<Duration>,
}

/// What was negotiated, and what the client is told.
struct Negotiated {
    text: String,
    params: SessionParams,
    named: Named,
    countered: bool,
}

/// What this server brings to one negotiation.
struct Brought {
    named: Named,
    stream_id: String,
    prefer: Option<Arc<Tracks>>,
    session_id: u64,
    audio_ssrc: u32,
}

impl RtcHandle {
    /// Negotiates a session and leaves it to wait for its first packet, up to ten seconds. A
    /// publisher holds its stream's name from here on.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing is left behind.
    pub fn open(&self, request: OpenRequest) -> Result<Opened, OpenError> {
        let shared = self.shared();
        let now = Instant::now();
        shared.sweep(now);
        let info = Arc::clone(request.pass.info());
        shared.lobby.admits(info.ip)?;
        let ice = names::ice_as(request.ice.as_ref())?;
        let Negotiated { text, mut params, named, countered } = shared.negotiate(&request, &ice)?;
        params.layer_max.clone_from(&request.layer_max);
        let wake = Arc::new(PeerWake::default());
        let direction = request.direction();
        let publisher = match direction {
            Direction::Publish => Some(shared.take_seat(&request.pass, &wake, now)?),
            Direction::Play => None,
        };
        let username = format!("{}:{}", ice.ufrag, params.remote_ice.ufrag);
        let etag = names::etag();
        let facts = Facts {
            session: names::session(),
            id: info.id.clone(),
            direction,
            key: info.key.clone(),
            client_ip: info.ip,
            since: info.since,
            ice,
            remote_ufrag: params.remote_ice.ufrag.clone(),
            etag: etag.clone(),
            fragment: sdp::fragment(&text),
            codecs: params.first_codecs(),
            named: named.clone(),
            answered: now,
            unanswered: countered,
        };
        let guard = shared.hub.clients().enter(request.pass, Arc::clone(&wake) as Arc<dyn weir_source::Wake>);
        let record = Record::new(facts, wake);
        record.note(info.since, Event::Offer { candidates: count_candidates(&request.offer) });
        let named = Box::new(named);
        record.note(now, if countered { Event::CounterOffer(named) } else { Event::Answer(named) });
        let session = record.session.clone();
        tracing::debug!(id = %record.id, key = %record.key, direction = ?record.direction, countered, "session negotiated");
        let config = shared.live.config();
        let answer_within = countered.then_some(config.answer_within);
        let expires = now + answer_within.unwrap_or(config.unheard_max);
        shared.lobby.enter(Waiting { record, guard, params, publisher, expires })?;
        Ok(Opened { session, client: info.id.clone(), answer: text, etag, username, answer_within })
    }

    /// A player answers the offer that [`RtcHandle::open`] made it. From now on its first packet is
    /// waited for.
    ///
    /// # Errors
    ///
    /// [`AnswerError`]; the offer stands as it did.
    pub fn answer(&self, session: &str, answer: &str) -> Result<(), AnswerError> {
        let (shared, now) = (self.shared(), Instant::now());
        shared.sweep(now);
        let record = shared.lobby.session(session).filter(|record| !record.is_deleted()).ok_or(AnswerError::NoSession)?;
        let offered = shared.lobby.offered(&record).ok_or(AnswerError::NotAsked)?;
        let prefer = shared.live_tracks(&record.key);
        let params = sdp::take_answer(answer, &offered, prefer.as_deref())?;
        if !shared.lobby.answer(&record, params, now + shared.live.config().unheard_max) {
            return Err(AnswerError::NotAsked);
        }
        record.note(now, Event::ClientAnswer);
        tracing::debug!(id = %record.id, key = %record.key, "counter-offer answered");
        Ok(())
    }

    /// A client sent candidates of its own. They are not needed (its addresses are learnt from its
    /// checks), but told of.
    pub fn trickle(&self, session: &str, candidates: usize) {
        if let Some(record) = self.shared().lobby.session(session).filter(|_| candidates > 0) {
            record.note(Instant::now(), Event::Trickle { candidates });
        }
    }
}

impl Shared {
    fn negotiate(&self, request: &OpenRequest, ice: &IceCredentials) -> Result<Negotiated, OpenError> {
        let (brought, direction) = (self.bring(request), request.direction());
        let local = LocalParams { terms: request.terms, ..brought.params(&self.fingerprint, ice, request.codec) };
        let (text, params, countered) = match negotiate(&request.offer, direction, &local) {
            Ok((answer, params)) => (answer, params, false),
            Err(error) if direction == Direction::Play && request.counter_offer && error.may_be_countered() => {
                // What the stream has now counts, and not what the client asked for.
                let local = LocalParams { codec: None, ..local };
                let (offer, params) = sdp::counter_offer(&local).map_err(|_| error)?;
                (offer, params, true)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Negotiated { text, params, named: brought.named, countered })
    }

    fn bring(&self, request: &OpenRequest) -> Brought {
        let is_configured = !self.live.config().candidates.is_empty();
        let named = |wanted: bool, base: &[SocketAddr], bound: &[SocketAddr]| match wanted {
            true => {
                let all = candidate::with_reached(base, bound, &request.reached_by, is_configured);
                candidate::with_first(&all, bound, request.extra_candidate)
            }
            false => Vec::new(),
        };
        let key = &request.pass.info().key;
        let ours = self.live.named();
        let mut rng = rand::rng();
        Brought {
            named: Named {
                udp: named(ours.protocols.has_udp(), &ours.udp, &self.bound),
                tcp: named(ours.protocols.has_tcp(), &ours.tcp, &self.tcp_bound),
            },
            stream_id: format!("{}/{}", key.app(), key.stream()),
            prefer: match request.direction() {
                Direction::Publish => None,
                Direction::Play => self.live_tracks(key),
            },
            session_id: rng.random::<u64>() >> 1,
            audio_ssrc: rng.random_range(1..u32::MAX - 1),
        }
    }

    /// What a player of this stream will get, if somebody publishes it.
    fn live_tracks(&self, key: &StreamKey) -> Option<Arc<Tracks>> {
        let source = self.hub.get(key)?;
        let native = source.publisher_lane()?;
        let tracks = source.tracks(Lane::Packets);
        match native {
            Lane::Packets => (!tracks.list.is_empty()).then_some(tracks),
            Lane::Frames if !tracks.list.is_empty() => Some(tracks),
            // What the remuxer will make of it once somebody reads.
            Lane::Frames => Some(Arc::new(Tracks {
                list: vec![
                    Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2)),
                    Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0)),
                ],
                ..Tracks::default()
            })),
        }
    }

    fn take_seat(&self, pass: &Pass, wake: &Arc<PeerWake>, now: Instant) -> Result<Publisher<Packet>, OpenError> {
        let wake = Arc::clone(wake) as Arc<dyn weir_source::Wake>;
        self.hub.publish_by(pass, wake, now).map_err(|_busy| OpenError::StreamBusy)
    }
}

impl Brought {
    fn params<'a>(&'a self, fingerprint: &'a str, ice: &IceCredentials, codec: Option<Codec>) -> LocalParams<'a> {
        LocalParams {
            ice: ice.clone(),
            fingerprint,
            candidates: &self.named.udp,
            tcp_candidates: &self.named.tcp,
            session_id: self.session_id,
            audio_ssrc: self.audio_ssrc,
            // One more is another number each, and none is zero.
            video_ssrc: self.audio_ssrc + 1,
            rtx_ssrc: self.audio_ssrc + 2,
            stream_id: &self.stream_id,
            prefer: self.prefer.as_deref(),
            codec,
            terms: Terms::default(),
        }
    }
}

impl From<Refusal> for OpenError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Closed => Self::ShuttingDown,
            Refusal::Full => Self::TooManySessions,
            Refusal::UfragTaken => Self::BadIce,
        }
    }
}

/// Of a description that has been parsed already.
fn count_candidates(description: &str) -> usize {
    description.lines().filter(|line| line.starts_with("a=candidate:")).count()
}
