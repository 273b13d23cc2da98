//! A publisher, the server's sessions around one source, and viewers, in virtual time.

use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use weir_rtc::{
    dtls::Identity,
    sdp::{
        CodecParams, Direction, DtlsRole, Fingerprint, HashAlgorithm, IceCredentials, LayerParams, MediaParams, SessionParams,
    },
    session::{CloseReason, Fill, Output, Session, SessionConfig},
    wire::ext::ExtensionIds,
};
use weir_source::{Codec, Hub, Lane, MediaKind, Packet, PacketSubscriber, Publisher, StreamKey, TrackId, Tracks, Wake};

use super::{
    camera::{self, AUDIO_PT, Camera, LAYERS, MID, RID, TRANSPORT_CC, VIDEO_PT},
    client::{Client, Ends, Plain, SERVER},
    netem::{Link, Weather},
    screen::{AUDIO_SSRC, RTX_PT, RTX_SSRC, Screen, VIDEO_SSRC},
    tape::Tape,
};

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// The parts of a session that are the same on both sides.
pub(crate) struct Wire {
    pub(crate) session: Session,
    pub(crate) client: Client,
    pub(crate) up: Link,
    pub(crate) down: Link,
    pub(crate) connected_at: Option<Instant>,
    pub(crate) closed: Option<CloseReason>,
}

pub(crate) struct PublisherEnd {
    pub(crate) wire: Wire,
    pub(crate) camera: Camera,
    pub(crate) handle: Publisher<Packet>,
}

pub(crate) struct ViewerEnd {
    pub(crate) wire: Wire,
    pub(crate) screen: Screen,
    /// Records in place of the screen.
    pub(crate) tape: Option<Tape>,
    reader: PacketSubscriber,
    tracks: Arc<Tracks>,
    joined: bool,
    choose_at: Option<Instant>,
    forwarded: HashSet<(u32, u64)>,
    /// Recorded viewers: what was sent, by SSRC and number.
    sealed: HashMap<(u32, u16), Vec<u8>>,
    last_seq: [u64; 2],
}

pub(crate) struct World {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    hub: Arc<Hub>,
    key: StreamKey,
    server: Identity,
    browser: Identity,
    config: SessionConfig,
    pub(crate) publisher: Option<PublisherEnd>,
    pub(crate) viewers: Vec<ViewerEnd>,
    made: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_browsers(Identity::generate().unwrap())
    }

    /// A world whose browsers offer what `browser` does.
    pub(crate) fn with_browsers(browser: Identity) -> Self {
        let start = Instant::now();
        Self {
            start,
            now: start,
            hub: Hub::new(),
            key: StreamKey::new("live", "test").unwrap(),
            server: Identity::generate().unwrap(),
            browser,
            config: SessionConfig::new(start, Duration::from_secs(1_700_000_000)),
            publisher: None,
            viewers: Vec::new(),
            made: 0,
        }
    }

    pub(crate) fn publish(&mut self, weather: Weather) -> &mut PublisherEnd {
        self.publish_with(weather, |_| {})
    }

    fn publish_with(&mut self, weather: Weather, change: impl FnOnce(&mut SessionParams)) -> &mut PublisherEnd {
        self.publisher = None;
        let handle = self.hub.publish_packets(&self.key, "camera", Arc::new(NoWake), self.now).unwrap();
        let source = Arc::clone(handle.source());
        let mut wire = self.wire(Direction::Publish, weather, source.made(), change);
        wire.session.set_floor(source.floor());
        let camera = Camera::new(self.now, 0x5000 + 16 * self.made as u32);
        self.publisher.insert(PublisherEnd { wire, camera, handle })
    }

    /// A publisher of several layers in VP8.
    pub(crate) fn publish_layers(&mut self, weather: Weather) -> &mut PublisherEnd {
        let publisher = self.publish_with(weather, |params| {
            let video = params.media.last_mut().expect("a video section");
            video.codecs[0].codec = Codec::Vp8;
            video.extensions.rid = Some(RID);
            let layer = |(n, layer): (u8, &camera::Layer)| LayerParams {
                rid: layer.rid.into(),
                track: TrackId::new(n).unwrap(),
                paused: false,
                ssrc: None,
            };
            video.layers = (1..).zip(&LAYERS).map(layer).collect();
        });
        publisher.camera.split();
        publisher
    }

    /// A viewer of VP8 whose packets are recorded, with the best layer that it asks for.
    pub(crate) fn tape(&mut self, weather: Weather, layer_max: Option<&str>) -> usize {
        self.tape_with(weather, |params| params.layer_max = layer_max.map(str::to_owned))
    }

    /// The same that tells when packets arrive and takes retransmissions on a stream of their own.
    pub(crate) fn tape_with_feedback(&mut self, weather: Weather) -> usize {
        self.tape_with(weather, |params| {
            params.media.iter_mut().for_each(|media| media.extensions.transport_cc = Some(TRANSPORT_CC));
            let video = params.media.last_mut().expect("a video section");
            video.rtx_ssrc = Some(RTX_SSRC);
            video.codecs[0].rtx_payload_type = Some(RTX_PT);
        })
    }

    fn tape_with(&mut self, weather: Weather, change: impl FnOnce(&mut SessionParams)) -> usize {
        let place = self.view_with(weather, |params| {
            params.media.last_mut().expect("a video section").codecs[0].codec = Codec::Vp8;
            change(params);
        });
        self.viewers[place].tape = Some(Tape::new());
        place
    }

    /// A viewer that gets what it lost under its own number once more.
    pub(crate) fn view(&mut self, weather: Weather) -> usize {
        self.view_with(weather, |_| {})
    }

    /// A viewer that has offered a stream for retransmissions.
    pub(crate) fn view_with_rtx(&mut self, weather: Weather) -> usize {
        self.view_with(weather, |params| {
            let video = params.media.last_mut().expect("a video section");
            video.rtx_ssrc = Some(RTX_SSRC);
            video.codecs[0].rtx_payload_type = Some(RTX_PT);
        })
    }

    fn view_with(&mut self, weather: Weather, change: impl FnOnce(&mut SessionParams)) -> usize {
        let reader = self.hub.subscribe_packets(&self.key, self.now);
        let made = reader.source().made();
        let wire = self.wire(Direction::Play, weather, made, change);
        self.viewers.push(ViewerEnd {
            wire,
            screen: Screen::new(),
            tape: None,
            reader,
            tracks: Arc::default(),
            joined: false,
            choose_at: None,
            forwarded: HashSet::new(),
            sealed: HashMap::new(),
            last_seq: [0; 2],
        });
        self.viewers.len() - 1
    }

    /// A session and the browser at its other end.
    pub(crate) fn wire(
        &mut self,
        direction: Direction,
        weather: Weather,
        made: Instant,
        change: impl FnOnce(&mut SessionParams),
    ) -> Wire {
        self.made += 1;
        let n = self.made;
        let local = IceCredentials { ufrag: format!("serv{n}"), pwd: format!("server-password-{n:010}") };
        let remote = IceCredentials { ufrag: format!("brow{n}"), pwd: format!("browser-password-{n:010}") };
        let mut params = params(direction, &local, &remote, fingerprint(&self.browser));
        change(&mut params);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + n as u16));
        let ends = Ends { identity: &self.browser, local: &remote, remote: &local, fingerprint: fingerprint(&self.server) };
        Wire {
            session: Session::new(params, &self.server, &self.config, self.now, made, &format!("peer{n:04}")),
            client: Client::new(&ends, address, self.now, n),
            up: Link::new(weather, n * 2),
            down: Link::new(weather, n * 2 + 1),
            connected_at: None,
            closed: None,
        }
    }

    /// A player's session alone, and its offer's and its answer's credentials.
    #[allow(dead_code, reason = "not all programs that share this file have use for it")]
    pub(crate) fn session(&self, number: u64) -> (Session, IceCredentials, IceCredentials) {
        let local = IceCredentials { ufrag: format!("serv{number}"), pwd: format!("server-password-{number:010}") };
        let remote = IceCredentials { ufrag: format!("brow{number}"), pwd: format!("browser-password-{number:010}") };
        let params = params(Direction::Play, &local, &remote, fingerprint(&self.browser));
        let session = Session::new(params, &self.server, &self.config, self.now, self.now, &format!("peer{number:04}"));
        (session, remote, local)
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(1);
            let now = self.now;
            if let Some(publisher) = &mut self.publisher {
                publisher.tick(now);
            }
            for viewer in &mut self.viewers {
                viewer.tick(now);
            }
        }
    }
}

impl Wire {
    /// One millisecond of the server's side; `take` sees outputs other than datagrams.
    pub(crate) fn tick(&mut self, now: Instant, mut take: impl FnMut(&mut Session, &mut Link, Output)) {
        self.client.poll(now);
        for data in self.client.take_out() {
            self.up.send(now, data);
        }
        while let Some(mut data) = self.up.receive(now) {
            self.session.handle_datagram(now, self.client.address, SERVER, &mut data);
            self.drain(now, &mut take);
        }
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.handle_timeout(now);
            assert!(self.session.poll_timeout().is_none_or(|due| due > now), "a timeout that was handled is over");
        }
        self.drain(now, &mut take);
    }

    fn drain(&mut self, now: Instant, take: &mut impl FnMut(&mut Session, &mut Link, Output)) {
        while let Some(output) = self.session.poll_output() {
            assert!(self.closed.is_none(), "nothing follows the end");
            match output {
                Output::Transmit { path, data } => {
                    assert_eq!(path.local, SERVER);
                    if path.remote == self.client.address {
                        self.down.send(now, data.to_vec());
                    }
                }
                Output::Connected => {
                    assert!(self.connected_at.replace(now).is_none());
                }
                Output::Closed(reason) => self.closed = Some(reason),
                other => take(&mut self.session, &mut self.down, other),
            }
        }
    }
}

impl PublisherEnd {
    fn tick(&mut self, now: Instant) {
        let Self { wire, camera, handle } = self;
        if wire.client.is_connected() {
            camera.poll(now, &mut wire.client);
        }
        wire.tick(now, |_, _, output| match output {
            Output::Tracks(tracks) => assert!(handle.set_tracks(tracks)),
            other => panic!("unexpected {other:?}"),
        });
        let mut batch = Vec::new();
        wire.session.take_packets(&mut batch);
        assert!(handle.push(&mut batch, now));
        for track in handle.take_keyframe_requests().iter() {
            wire.session.request_keyframe(now, track);
        }
        while let Some(data) = wire.down.receive(now) {
            match wire.client.handle(now, data) {
                Some(Plain::Rtcp(data)) => camera.handle_rtcp(&data, &mut wire.client),
                Some(Plain::Rtp { .. }) => panic!("media to a publisher"),
                None => {}
            }
        }
    }
}

impl ViewerEnd {
    fn tick(&mut self, now: Instant) {
        let source = Arc::clone(self.reader.source());
        let sealed = &self.sealed;
        self.wire.tick(now, |session, down, output| match output {
            Output::KeyframeWanted(track) => source.request_keyframe_of(track),
            Output::Resend(resend) => {
                let Some(packet) = source.packets().get(resend.position) else { return };
                let mut out = [0; 1_500];
                if let Some(len) = session.resend(now, &resend, &packet, &mut out) {
                    let before = sealed.get(&numbers(&out));
                    assert!(before.is_none_or(|before| before[..] == out[..len]), "one number, one content");
                    down.send(now, out[..len].to_vec());
                }
            }
            other => panic!("unexpected {other:?}"),
        });
        if self.wire.session.is_connected() {
            self.forward(now);
        }
        while let Some(data) = self.wire.down.receive(now) {
            match self.wire.client.handle(now, data) {
                Some(Plain::Rtp { index, data }) => match &mut self.tape {
                    Some(tape) => tape.handle_rtp(now, index, &data),
                    None => self.screen.handle_rtp(now, index, &data),
                },
                Some(Plain::Rtcp(data)) if self.tape.is_none() => self.screen.handle_rtcp(now, &data),
                Some(Plain::Rtcp(_)) | None => {}
            }
        }
        match &mut self.tape {
            _ if !self.wire.client.is_connected() => {}
            Some(tape) => tape.poll(now, &mut self.wire.client),
            None => self.screen.poll(now, &mut self.wire.client),
        }
    }

    fn forward(&mut self, now: Instant) {
        let tracks = self.reader.source().tracks(Lane::Packets);
        if !Arc::ptr_eq(&tracks, &self.tracks) {
            self.wire.session.set_tracks(&tracks);
            self.tracks = tracks;
        }
        if self.choose_at.is_none_or(|at| at <= now) {
            self.choose_at = Some(now + Duration::from_millis(200));
            self.wire.session.set_layers(now, &self.reader.source().layers());
        }
        if !std::mem::replace(&mut self.joined, true) {
            self.reader.seek_join();
            let ring = self.reader.source().packets();
            if let Some(newest) = ring.live().checked_sub(1).and_then(|position| ring.get(position)) {
                self.wire.session.join(newest.capture, ring.join_tracks());
            }
        }
        let position = self.reader.position();
        let mut batch = Vec::new();
        self.reader.read(&mut batch, usize::MAX);
        for (position, packet) in (position..).zip(&batch) {
            let mut out = [0; 1_500];
            if let Some(len) = self.wire.session.forward(now, position, packet, Fill::None, &mut out) {
                self.check_number(&out);
                if self.tape.is_some() {
                    self.sealed.insert(numbers(&out), out[..len].to_vec());
                }
                self.wire.down.send(now, out[..len].to_vec());
            }
        }
    }

    /// No number is used for two packets, over any number of roll-overs.
    fn check_number(&mut self, datagram: &[u8]) {
        let (ssrc, seq) = numbers(datagram);
        let last = &mut self.last_seq[usize::from(ssrc == AUDIO_SSRC)];
        let step = i64::from(seq.wrapping_sub(*last as u16) as i16);
        let extended = last.saturating_add_signed(step);
        *last = extended.max(*last);
        assert!(self.forwarded.insert((ssrc, extended)), "{ssrc:x} used {extended} twice");
    }
}

/// SSRC and sequence number.
fn numbers(datagram: &[u8]) -> (u32, u16) {
    let ssrc = u32::from_be_bytes(datagram[8..12].try_into().unwrap());
    (ssrc, u16::from_be_bytes(datagram[2..4].try_into().unwrap()))
}

pub(crate) fn fingerprint(identity: &Identity) -> Fingerprint {
    let text = identity.fingerprint_sha256();
    let digest = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    Fingerprint { algorithm: HashAlgorithm::Sha256, digest }
}

fn params(direction: Direction, local: &IceCredentials, remote: &IceCredentials, fingerprint: Fingerprint) -> SessionParams {
    let publish = direction == Direction::Publish;
    let section = |mid: &str, kind, track, codec, payload_type, clock_rate, local_ssrc| MediaParams {
        mid: mid.into(),
        kind,
        track,
        codecs: vec![CodecParams {
            codec,
            payload_type,
            clock_rate,
            channels: if kind == MediaKind::Audio { 2 } else { 0 },
            fmtp: String::new(),
            rtx_payload_type: None,
            nack: kind == MediaKind::Video,
            pli: kind == MediaKind::Video,
            transport_cc: publish,
            remb: false,
        }],
        extensions: ExtensionIds { mid: Some(MID), transport_cc: publish.then_some(TRANSPORT_CC), ..ExtensionIds::default() },
        local_ssrc,
        remote_ssrcs: vec![],
        layers: vec![],
        rtx_ssrc: None,
    };
    SessionParams {
        direction,
        local_ice: local.clone(),
        remote_ice: remote.clone(),
        remote_fingerprints: vec![fingerprint],
        dtls_role: DtlsRole::Passive,
        cname: "server".into(),
        layer_max: None,
        terms: weir_rtc::sdp::Terms::default(),
        media: vec![
            section("0", MediaKind::Audio, TrackId::AUDIO, Codec::Opus, AUDIO_PT, 48_000, AUDIO_SSRC),
            section("1", MediaKind::Video, TrackId::VIDEO, Codec::H264, VIDEO_PT, 90_000, VIDEO_SSRC),
        ],
    }
}
