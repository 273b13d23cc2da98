//! The RTMP server over real TCP, with another implementation as publisher and as player.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType, StreamMetadata},
    time::RtmpTimestamp,
};
use tokio_util::sync::CancellationToken;
use weir_bridge::{
    Begin,
    rtmp::{Door, OpenDoor, RtmpConfig, RtmpVhost, serve_behind},
};
use weir_source::{Caller, ClientInfo, ClientKind, Gatekeeper, Hub, PerVhost, StreamKey, Traffic, Verdict, Visit};

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    hub: Arc<Hub>,
    settings: Arc<ArcSwap<RtmpConfig>>,
    retire: CancellationToken,
    stop: CancellationToken,
    runtime: tokio::runtime::Runtime,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    fn start(config: RtmpConfig) -> Self {
        Self::start_behind(OpenDoor, config)
    }

    fn start_behind(door: impl Door, config: RtmpConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, hub, stop) = (listener.local_addr().unwrap(), Hub::new(), CancellationToken::new());
        let (settings, retire) = (Arc::new(ArcSwap::from_pointee(config)), stop.child_token());
        let serving = serve_behind(door, listener, Arc::clone(&hub), Arc::clone(&settings), retire.clone(), stop.clone());
        let serving = Some(runtime.spawn(serving));
        Self { address, hub, settings, retire, stop, runtime, serving }
    }

    fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Ends it and waits until all is cleaned up.
    fn end(mut self) {
        self.stop.cancel();
        self.runtime.block_on(self.serving.take().unwrap()).unwrap();
        assert_eq!(self.hub.clients().count(), 0);
        assert!(self.hub.list().is_empty());
    }
}

/// Waits for something that another thread does.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

struct Client {
    stream: TcpStream,
    session: ClientSession,
    events: std::collections::VecDeque<ClientSessionEvent>,
}

impl Client {
    fn connect(server: &Server, app: &str) -> Self {
        let mut stream = server.raw();
        let mut handshake = Handshake::new(PeerType::Client);
        stream.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).unwrap();
        let mut buffer = [0; 4096];
        let rest = loop {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "closed in the handshake");
            match handshake.process_bytes(&buffer[..read]).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => stream.write_all(&response_bytes).unwrap(),
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    stream.write_all(&response_bytes).unwrap();
                    break remaining_bytes;
                }
            }
        };
        let mut config = ClientSessionConfig::new();
        config.tc_url = Some(format!("rtmp://localhost/{app}"));
        let (session, first) = ClientSession::new(config).unwrap();
        let mut client = Self { stream, session, events: Default::default() };
        client.carry_out(first);
        let results = client.session.handle_input(&rest).unwrap();
        client.carry_out(results);
        let request = client.session.request_connection(app.to_owned()).unwrap();
        client.carry_out(vec![request]);
        client.wait_for("acceptance", |event| matches!(event, ClientSessionEvent::ConnectionRequestAccepted));
        client
    }

    fn publish(server: &Server, app: &str, name: &str) -> Self {
        let mut client = Self::connect(server, app);
        let request = client.session.request_publishing(name.to_owned(), PublishRequestType::Live).unwrap();
        client.carry_out(vec![request]);
        client.wait_for("publishing", |event| matches!(event, ClientSessionEvent::PublishRequestAccepted));
        client
    }

    fn play(server: &Server, app: &str, name: &str) -> Self {
        let mut client = Self::connect(server, app);
        let request = client.session.request_playback(name.to_owned()).unwrap();
        client.carry_out(vec![request]);
        client.wait_for("playing", |event| matches!(event, ClientSessionEvent::PlaybackRequestAccepted));
        client
    }

    fn carry_out(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.stream.write_all(&packet.bytes).unwrap(),
                ClientSessionResult::RaisedEvent(event) => self.events.push_back(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    fn next(&mut self) -> ClientSessionEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let mut buffer = [0; 65_536];
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server closed the connection");
            let results = self.session.handle_input(&buffer[..read]).unwrap();
            self.carry_out(results);
        }
    }

    fn wait_for(&mut self, what: &str, mut is_it: impl FnMut(&ClientSessionEvent) -> bool) -> ClientSessionEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            if is_it(&event) {
                return event;
            }
            assert!(Instant::now() < deadline, "waiting for {what}");
        }
    }

    fn send_video(&mut self, ms: u32, body: Vec<u8>) {
        let result = self.session.publish_video_data(body.into(), RtmpTimestamp::new(ms), false).unwrap();
        self.carry_out(vec![result]);
    }

    fn send_audio(&mut self, ms: u32, body: Vec<u8>) {
        let result = self.session.publish_audio_data(body.into(), RtmpTimestamp::new(ms), false).unwrap();
        self.carry_out(vec![result]);
    }

    fn send_headers(&mut self) {
        let mut metadata = StreamMetadata::new();
        metadata.encoder = Some("test".to_owned());
        let result = self.session.publish_metadata(&metadata).unwrap();
        self.carry_out(vec![result]);
        self.send_video(0, avc_config(0xcb));
        self.send_audio(0, vec![0xaf, 0, 0x12, 0x10]);
    }

    /// The next media: whether video, time, body.
    fn media(&mut self) -> (bool, u32, Bytes) {
        loop {
            match self.next() {
                ClientSessionEvent::VideoDataReceived { timestamp, data } => return (true, timestamp.value, data),
                ClientSessionEvent::AudioDataReceived { timestamp, data } => return (false, timestamp.value, data),
                _ => {}
            }
        }
    }

    fn code(&mut self) -> String {
        loop {
            if let ClientSessionEvent::UnhandleableOnStatusCode { code } = self.next() {
                return code;
            }
        }
    }
}

/// A sequence header for 640x360; `last` is the PPS's last byte.
fn avc_config(last: u8) -> Vec<u8> {
    let sps = [
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
        0x00, 0x3c, 0x0f, 0x16, 0x2d, 0x96,
    ];
    let mut body = vec![0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, sps.len() as u8];
    body.extend(sps);
    body.extend([1, 0, 4, 0x68, 0xef, 0x8f, last]);
    body
}

/// A picture of `len` bytes.
fn picture(is_key: bool, composition: u8, len: usize, fill: u8) -> Vec<u8> {
    let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, composition];
    body.extend(((len + 1) as u32).to_be_bytes());
    body.push(if is_key { 0x65 } else { 0x41 });
    body.extend(vec![fill; len]);
    body
}

#[test]
fn a_player_gets_metadata_headers_cached_pictures_and_live_media() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s?token=1");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 80, 150_000, 1));
    publisher.send_video(40, picture(false, 0, 500, 2));
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("the pictures arrive", || source.frames().live() == 2);

    let mut player = Client::play(&server, "live", "s");
    let metadata = player.wait_for("metadata", |event| matches!(event, ClientSessionEvent::StreamMetadataReceived { .. }));
    let ClientSessionEvent::StreamMetadataReceived { metadata } = metadata else { unreachable!() };
    assert_eq!((metadata.video_width, metadata.video_height), (Some(640), Some(360)));
    assert_eq!((metadata.audio_sample_rate, metadata.encoder.as_deref()), (Some(44_100), Some("test")));
    let (_, _, asc) = player.media();
    assert_eq!(&asc[..], [0xaf, 0, 0x12, 0x10]);
    let (_, _, avcc) = player.media();
    assert_eq!(&avcc[..], avc_config(0xcb));
    let (is_video, first, body) = player.media();
    assert!(is_video);
    assert_eq!(body, picture(true, 80, 150_000, 1), "in chunks, with its composition time");
    let (_, second, body) = player.media();
    assert_eq!((second - first, body.len()), (40, picture(false, 0, 500, 2).len()));

    publisher.send_audio(60, vec![0xaf, 1, 9, 9]);
    let (is_video, third, body) = player.media();
    assert_eq!((is_video, third - first, &body[..]), (false, 60, &[0xaf, 1, 9, 9][..]));
    publisher.send_video(80, avc_config(0xca));
    publisher.send_video(80, picture(true, 0, 10, 3));
    assert_eq!(&player.media().2[..], avc_config(0xca), "the new parameters come before their picture");
    assert_eq!(player.media().1 - first, 80);

    let kinds: Vec<_> = server.hub.clients().list().iter().map(|client| client.info.kind).collect();
    assert_eq!(kinds, [ClientKind::RtmpPublish, ClientKind::RtmpPlay]);
    assert!(
        server.hub.clients().list().iter().all(|client| client.traffic.received.load(std::sync::atomic::Ordering::Relaxed) > 0)
    );
    server.end();
}

/// Lets everybody through and says that it was by TLS.
#[derive(Clone)]
struct SecureDoor;

impl Door for SecureDoor {
    type Stream = tokio::net::TcpStream;
    const IS_TLS: bool = true;

    async fn open(&self, stream: tokio::net::TcpStream, _peer: SocketAddr) -> std::io::Result<Self::Stream> {
        Ok(stream)
    }
}

#[test]
fn the_url_of_a_client_is_rtmps_if_it_came_by_tls_whatever_it_says() {
    let url = |server: &Server| {
        let _publisher = Client::publish(server, "live", "s");
        server.hub.clients().list()[0].info.url.clone()
    };
    let (open, secure) = (Server::start(RtmpConfig::default()), Server::start_behind(SecureDoor, RtmpConfig::default()));
    let (said, known) = (url(&open), url(&secure));
    assert!(said.starts_with("rtmp://"), "{said}");
    assert_eq!(known, said.replacen("rtmp://", "rtmps://", 1));
    open.end();
    secure.end();
}

#[test]
fn a_player_may_come_first_and_survives_a_republish() {
    let server = Server::start(RtmpConfig::default());
    let mut player = Client::play(&server, "live", "s");
    let mut last = 0;
    for round in 0..3u8 {
        let mut publisher = Client::publish(&server, "live", "s");
        if round == 0 {
            assert_eq!(player.code(), "NetStream.Play.PublishNotify");
        }
        publisher.send_headers();
        publisher.send_video(0, picture(false, 0, 50, 9));
        publisher.send_video(40, picture(true, 0, 50, round));
        loop {
            let (is_video, time, body) = player.media();
            if is_video && body[1] == 1 {
                assert_eq!(body, picture(true, 0, 50, round), "it starts at a keyframe");
                assert!(time > last, "and its times go on");
                last = time;
                break;
            }
        }
        drop(publisher);
        let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
        until("the publisher is gone", || source.publisher_lane().is_none());
    }
    server.end();
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let server = Server::start(RtmpConfig::default());
    let mut first = Client::publish(&server, "live", "s");
    let mut second = Client::connect(&server, "live");
    let request = second.session.request_publishing("s".to_owned(), PublishRequestType::Live).unwrap();
    second.carry_out(vec![request]);
    assert_eq!(second.code(), "NetStream.Publish.BadName");
    let mut rest = Vec::new();
    second.stream.read_to_end(&mut rest).unwrap();

    let mut player = Client::play(&server, "live", "s");
    first.send_headers();
    first.send_audio(0, vec![0xaf, 1, 5]);
    until("the first publisher is heard", || player.media().2[..] == [0xaf, 1, 5]);
    server.end();
}

#[test]
fn a_player_on_another_message_stream_gets_the_same_media() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    let mut player = Client::connect(&server, "live");
    // Two streams are made first; the third is played.
    for _ in 0..2 {
        player.stream.write_all(&command(0, b"createStream")).unwrap();
    }
    let request = player.session.request_playback("s".to_owned()).unwrap();
    player.carry_out(vec![request]);
    player.wait_for("playing", |event| matches!(event, ClientSessionEvent::PlaybackRequestAccepted));
    publisher.send_video(0, picture(true, 0, 70_000, 1));
    until("the picture comes", || player.media().2 == picture(true, 0, 70_000, 1));
    server.end();
}

/// A command without arguments, transaction 0 aside, as its bytes on the wire.
fn command(transaction: u8, name: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 0, name.len() as u8];
    body.extend(name);
    body.push(0);
    body.extend(f64::from(transaction).to_be_bytes());
    body.push(5);
    let mut bytes = vec![8, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0];
    bytes.extend(body);
    bytes
}

#[test]
fn a_player_that_does_not_read_is_closed_and_disturbs_nobody() {
    let server = Server::start(RtmpConfig { write_timeout: Duration::from_millis(300), ..RtmpConfig::default() });
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    let stalled = Client::play(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    let mut sent = 0u32;
    let mut seen = 0;
    // A kernel takes several megabytes for a reader that does not read.
    until("the stalled player is closed", || {
        publisher.send_video(sent * 40, picture(true, 0, 300_000, sent as u8));
        sent += 1;
        while seen < sent {
            let (is_video, _, body) = player.media();
            if is_video && body[1] == 1 {
                assert_eq!(body[10], seen as u8, "the other player misses nothing");
                seen += 1;
            }
        }
        server.hub.clients().count() == 2
    });
    drop(stalled);
    server.end();
}

#[test]
fn kicked_clients_are_closed() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    for client in server.hub.clients().list() {
        client.kick();
    }
    let mut rest = Vec::new();
    publisher.stream.read_to_end(&mut rest).unwrap();
    player.stream.read_to_end(&mut rest).unwrap();
    until("both are off the list", || server.hub.clients().count() == 0);
    server.end();
}

#[test]
fn other_protocols_silence_and_slow_handshakes_are_closed() {
    let config = RtmpConfig { handshake_timeout: Duration::from_millis(200), ..RtmpConfig::default() };
    let server = Server::start(config);
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1], &[], &[3], &[3; 1_537]] {
        let mut stream = server.raw();
        stream.write_all(hello).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(rest.len() <= 2 * hello.len(), "no more than the handshake is sent back");
    }
    server.end();
}

#[test]
fn connections_past_the_cap_are_closed_at_once() {
    let server = Server::start(RtmpConfig { connections_max: 2, ..RtmpConfig::default() });
    let _first = Client::publish(&server, "live", "a");
    let second = Client::publish(&server, "live", "b");
    let mut rest = Vec::new();
    assert!(matches!(server.raw().read_to_end(&mut rest), Ok(0) | Err(_)));
    drop(second);
    until("the place is free again", || server.hub.clients().count() == 1);
    let mut byte = [0];
    until("a new one is let in", || {
        let mut stream = server.raw();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.read(&mut byte).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    server.end();
}

#[test]
fn a_retired_listener_takes_nobody_and_keeps_its_connections() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    server.retire.cancel();
    until("nobody listens", || TcpStream::connect(server.address).is_err());
    publisher.send_headers();
    publisher.send_audio(0, vec![0xaf, 1, 5]);
    until("the publisher is heard", || player.media().2[..] == [0xaf, 1, 5]);
    server.end();
}

#[test]
fn a_connection_has_the_settings_of_its_beginning() {
    let server = Server::start(RtmpConfig { connections_max: 1, ..RtmpConfig::default() });
    let _first = Client::publish(&server, "live", "a");
    let mut rest = Vec::new();
    assert!(matches!(server.raw().read_to_end(&mut rest), Ok(0) | Err(_)), "one is all");
    server.settings.store(Arc::new(RtmpConfig { connections_max: 4, ..RtmpConfig::default() }));
    let mut publisher = Client::publish(&server, "live", "b");
    let mut before = Client::play(&server, "live", "b");
    let vhosts = PerVhost::all(RtmpVhost { chunk_size_out: 128, ..RtmpVhost::default() });
    server.settings.store(Arc::new(RtmpConfig { connections_max: 4, vhosts, ..RtmpConfig::default() }));
    let mut after = Client::play(&server, "live", "b");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 70_000, 1));
    for (what, player) in [("large", &mut before), ("small", &mut after)] {
        until(&format!("the picture comes in {what} chunks"), || player.media().2 == picture(true, 0, 70_000, 1));
    }
    server.end();
}

#[test]
fn without_the_cache_a_player_begins_with_the_next_keyframe() {
    let begin = Begin { cached: false, frames_max: 0 };
    let vhosts = PerVhost::all(RtmpVhost { begin, ..RtmpVhost::default() });
    let server = Server::start(RtmpConfig { vhosts, ..RtmpConfig::default() });
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 100, 1));
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("the picture has come", || source.frames().live() > 0);
    let mut player = Client::play(&server, "live", "s");
    until("it reads", || source.readers(weir_source::Lane::Frames) == 1);
    publisher.send_video(40, picture(false, 0, 100, 2));
    publisher.send_video(80, picture(true, 0, 100, 3));
    let pictures = std::iter::repeat_with(|| player.media()).filter(|(is_video, _, body)| *is_video && body[1] == 1);
    assert_eq!(pictures.map(|(_, _, body)| body).next().unwrap(), picture(true, 0, 100, 3));
    drop((player, source));
    server.end();
}

#[test]
fn a_publisher_of_a_vhost_may_be_silent_for_as_long_as_that_says() {
    let mut vhosts = PerVhost::default();
    let quick = RtmpVhost { first_media_timeout: Duration::from_millis(300), ..RtmpVhost::default() };
    vhosts.insert("quick", quick);
    let server = Server::start(RtmpConfig { vhosts, ..RtmpConfig::default() });
    server.hub.set_vhosts(weir_source::Vhosts::new(["quick", weir_source::DEFAULT_VHOST]));
    let mut patient = Client::publish(&server, "live", "a");
    let mut quick = Client::publish(&server, "live?vhost=quick", "b");
    until("the quick vhost's publisher is ended", || server.hub.clients().count() == 1);
    let mut rest = Vec::new();
    let _closed_or_reset = quick.stream.read_to_end(&mut rest);
    patient.send_headers();
    assert_eq!(server.hub.clients().list()[0].info.key.stream(), "a");
    drop(patient);
    server.end();
}

#[test]
fn stopping_closes_all_connections_at_once() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut waiting = Client::play(&server, "live", "other");
    let mut silent = server.raw();
    let began = Instant::now();
    server.end();
    assert!(began.elapsed() < Duration::from_secs(2));
    let mut rest = Vec::new();
    for stream in [&mut publisher.stream, &mut waiting.stream, &mut silent] {
        let _closed_or_reset = stream.read_to_end(&mut rest);
    }
}

#[test]
fn two_hundred_joins_and_leaves_leave_nothing() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 100, 1));
    for _ in 0..200 {
        Client::play(&server, "live", "s").media();
    }
    until("all players are off the list", || server.hub.clients().count() == 1);
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("no reader is left", || source.readers(weir_source::Lane::Frames) == 0);
    drop(source);
    server.end();
}

/// Decides when it is told to, and writes down what it hears.
#[derive(Default)]
struct Keeper {
    decides: tokio::sync::Notify,
    heard: Arc<Mutex<Vec<String>>>,
}

/// A decision; dropped before it is made, it says so.
struct Deciding(Option<(Arc<Mutex<Vec<String>>>, String)>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if let Some((heard, what)) = self.0.take() {
            heard.lock().unwrap().push(format!("{what} forgotten"));
        }
    }
}

impl Keeper {
    fn decide(self: Arc<Self>, what: &str) -> Verdict {
        self.heard.lock().unwrap().push(what.to_owned());
        let mut deciding = Deciding(Some((Arc::clone(&self.heard), what.to_owned())));
        Box::pin(async move {
            self.decides.notified().await;
            drop(deciding.0.take());
            Ok(())
        })
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

struct Gate(Arc<Keeper>);

impl Gatekeeper for Gate {
    fn admit(&self, _visit: Visit) -> Verdict {
        Arc::clone(&self.0).decide("publish")
    }

    fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {
        self.0.heard.lock().unwrap().push("left".to_owned());
    }

    fn admit_connection(&self, _caller: Arc<Caller>) -> Verdict {
        Arc::clone(&self.0).decide("connect")
    }

    fn closed(&self, _caller: &Arc<Caller>, traffic: &Traffic) {
        let (sent, received) = traffic.totals();
        self.0.heard.lock().unwrap().push(format!("closed {}", sent > 3_073 && received > 3_073));
    }
}

fn gated(config: RtmpConfig) -> (Server, Arc<Keeper>) {
    let (server, keeper) = (Server::start(config), Arc::<Keeper>::default());
    server.hub.set_gatekeeper(Arc::new(Gate(Arc::clone(&keeper))));
    (server, keeper)
}

#[test]
fn a_connection_and_a_client_are_decided_about_before_they_are_answered() {
    let (server, keeper) = gated(RtmpConfig::default());
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| Client::publish(&server, "live", "s"));
        until("the connection is asked about", || keeper.heard() == ["connect"]);
        keeper.decides.notify_one();
        until("the client is asked about", || keeper.heard() == ["connect", "publish"]);
        assert_eq!((server.hub.clients().count(), server.hub.list().len()), (0, 0), "nothing of it exists yet");
        keeper.decides.notify_one();
        drop(publishing.join().unwrap());
    });
    until("its end is told, the client's first", || keeper.heard()[2..] == ["left", "closed true"]);
    server.end();
}

/// A client that has said `connect` with the app "live", and hears what comes.
fn connecting(server: &Server) -> TcpStream {
    let mut stream = server.raw();
    let mut handshake = vec![3];
    handshake.resize(1 + 1_536 + 1_536, 0);
    let object = [&[3, 0, 3][..], b"app", &[2, 0, 4], b"live", &[0, 0, 9]].concat();
    let body = [&[2, 0, 7][..], b"connect", &[0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], &object].concat();
    let length = u8::try_from(body.len()).unwrap();
    stream.write_all(&[&handshake, &[3, 0, 0, 0, 0, 0, length, 20, 0, 0, 0, 0][..], &body].concat()).unwrap();
    stream
}

#[test]
fn a_client_that_goes_while_it_is_decided_about_is_noticed() {
    let (server, keeper) = gated(RtmpConfig::default());
    let stream = connecting(&server);
    until("the connection is asked about", || keeper.heard() == ["connect"]);
    drop(stream);
    until("nobody waits for the decision", || keeper.heard() == ["connect", "connect forgotten"]);
    server.end();
}

#[test]
fn a_decision_that_never_comes_is_a_refusal() {
    let (server, keeper) = gated(RtmpConfig { decision_timeout: Duration::from_millis(50), ..RtmpConfig::default() });
    let mut said = Vec::new();
    let _closed_or_reset = connecting(&server).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("NetConnection.Connect.Rejected") && said.contains("it was not decided in time"));
    assert_eq!(keeper.heard(), ["connect", "connect forgotten"]);
    server.end();
}
