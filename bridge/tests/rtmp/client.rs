//! A server in this process, and publishers and players by another implementation.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
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
use weir_bridge::rtmp::{Door, OpenDoor, RtmpConfig, serve_behind};
use weir_source::Hub;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: Arc<ArcSwap<RtmpConfig>>,
    pub(crate) retire: CancellationToken,
    stop: CancellationToken,
    pub(crate) runtime: tokio::runtime::Runtime,
    serving: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(config: RtmpConfig) -> Self {
        Self::start_behind(OpenDoor, config)
    }

    pub(crate) fn start_behind(door: impl Door, config: RtmpConfig) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (address, hub, stop) = (listener.local_addr().unwrap(), Hub::new(), CancellationToken::new());
        let (settings, retire) = (Arc::new(ArcSwap::from_pointee(config)), stop.child_token());
        let serving = serve_behind(door, listener, Arc::clone(&hub), Arc::clone(&settings), retire.clone(), stop.clone());
        let serving = Some(runtime.spawn(serving));
        Self { address, hub, settings, retire, stop, runtime, serving }
    }

    pub(crate) fn raw(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Ends it and waits until all is cleaned up.
    pub(crate) fn end(mut self) {
        self.stop.cancel();
        self.runtime.block_on(self.serving.take().unwrap()).unwrap();
        assert_eq!(self.hub.clients().count(), 0);
        assert!(self.hub.list().is_empty());
    }
}

/// Waits for something that another thread does.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) session: ClientSession,
    events: std::collections::VecDeque<ClientSessionEvent>,
}

impl Client {
    pub(crate) fn connect(server: &Server, app: &str) -> Self {
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

    pub(crate) fn publish(server: &Server, app: &str, name: &str) -> Self {
        let mut client = Self::connect(server, app);
        let request = client.session.request_publishing(name.to_owned(), PublishRequestType::Live).unwrap();
        client.carry_out(vec![request]);
        client.wait_for("publishing", |event| matches!(event, ClientSessionEvent::PublishRequestAccepted));
        client
    }

    pub(crate) fn play(server: &Server, app: &str, name: &str) -> Self {
        let mut client = Self::connect(server, app);
        let request = client.session.request_playback(name.to_owned()).unwrap();
        client.carry_out(vec![request]);
        client.wait_for("playing", |event| matches!(event, ClientSessionEvent::PlaybackRequestAccepted));
        client
    }

    pub(crate) fn carry_out(&mut self, results: Vec<ClientSessionResult>) {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.stream.write_all(&packet.bytes).unwrap(),
                ClientSessionResult::RaisedEvent(event) => self.events.push_back(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
    }

    pub(crate) fn next(&mut self) -> ClientSessionEvent {
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

    pub(crate) fn wait_for(&mut self, what: &str, mut is_it: impl FnMut(&ClientSessionEvent) -> bool) -> ClientSessionEvent {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let event = self.next();
            if is_it(&event) {
                return event;
            }
            assert!(Instant::now() < deadline, "waiting for {what}");
        }
    }

    pub(crate) fn send_video(&mut self, ms: u32, body: Vec<u8>) {
        let result = self.session.publish_video_data(body.into(), RtmpTimestamp::new(ms), false).unwrap();
        self.carry_out(vec![result]);
    }

    pub(crate) fn send_audio(&mut self, ms: u32, body: Vec<u8>) {
        let result = self.session.publish_audio_data(body.into(), RtmpTimestamp::new(ms), false).unwrap();
        self.carry_out(vec![result]);
    }

    pub(crate) fn send_headers(&mut self) {
        let mut metadata = StreamMetadata::new();
        metadata.encoder = Some("test".to_owned());
        let result = self.session.publish_metadata(&metadata).unwrap();
        self.carry_out(vec![result]);
        self.send_video(0, avc_config(0xcb));
        self.send_audio(0, vec![0xaf, 0, 0x12, 0x10]);
    }

    /// The next media: whether video, time, body.
    pub(crate) fn media(&mut self) -> (bool, u32, Bytes) {
        loop {
            match self.next() {
                ClientSessionEvent::VideoDataReceived { timestamp, data } => return (true, timestamp.value, data),
                ClientSessionEvent::AudioDataReceived { timestamp, data } => return (false, timestamp.value, data),
                _ => {}
            }
        }
    }

    pub(crate) fn code(&mut self) -> String {
        loop {
            if let ClientSessionEvent::UnhandleableOnStatusCode { code } = self.next() {
                return code;
            }
        }
    }
}

/// A sequence header for 640x360; `last` is the PPS's last byte.
pub(crate) fn avc_config(last: u8) -> Vec<u8> {
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
pub(crate) fn picture(is_key: bool, composition: u8, len: usize, fill: u8) -> Vec<u8> {
    let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, composition];
    body.extend(((len + 1) as u32).to_be_bytes());
    body.push(if is_key { 0x65 } else { 0x41 });
    body.extend(vec![fill; len]);
    body
}
