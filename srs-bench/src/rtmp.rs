//! RTMP clients: one paced publisher, many players that read and discard.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rml_rtmp::{
    handshake::{Handshake, HandshakeProcessResult, PeerType},
    sessions::{ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType},
    time::RtmpTimestamp,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::media::flv::Source;

const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client wants after it is connected.
enum Wish<'a> {
    Publish(&'a str),
    Play(&'a str),
}

/// The client half of RTMP, bytes in and bytes out, until the wish is granted.
struct Setup<'a> {
    handshake: Option<Handshake>,
    session: Option<ClientSession>,
    app: String,
    wish: Wish<'a>,
    granted: bool,
}

impl<'a> Setup<'a> {
    fn new(app: &str, wish: Wish<'a>) -> anyhow::Result<(Self, Vec<u8>)> {
        let mut handshake = Handshake::new(PeerType::Client);
        let hello = handshake.generate_outbound_p0_and_p1().map_err(|e| anyhow::anyhow!("handshake: {e:?}"))?;
        Ok((Self { handshake: Some(handshake), session: None, app: app.to_owned(), wish, granted: false }, hello))
    }

    fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = bytes.to_vec();
        if let Some(mut handshake) = self.handshake.take() {
            match handshake.process_bytes(&rest).map_err(|e| anyhow::anyhow!("handshake: {e:?}"))? {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    self.handshake = Some(handshake);
                    return Ok(response_bytes);
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    out.extend(response_bytes);
                    rest = remaining_bytes;
                    let mut config = ClientSessionConfig::new();
                    config.chunk_size = 60_000;
                    let (mut session, first) = ClientSession::new(config).map_err(|e| anyhow::anyhow!("session: {e:?}"))?;
                    self.sort(first, &mut out, &mut session)?;
                    let connect = session.request_connection(self.app.clone()).map_err(|e| anyhow::anyhow!("connect: {e:?}"))?;
                    self.sort(vec![connect], &mut out, &mut session)?;
                    self.session = Some(session);
                }
            }
        }
        if let Some(mut session) = self.session.take() {
            let results = session.handle_input(&rest).map_err(|e| anyhow::anyhow!("the server's answer: {e:?}"))?;
            self.sort(results, &mut out, &mut session)?;
            self.session = Some(session);
        }
        Ok(out)
    }

    fn sort(&mut self, results: Vec<ClientSessionResult>, out: &mut Vec<u8>, session: &mut ClientSession) -> anyhow::Result<()> {
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => out.extend(packet.bytes),
                ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestAccepted) => {
                    let next = match self.wish {
                        Wish::Publish(stream) => session.request_publishing(stream.to_owned(), PublishRequestType::Live),
                        Wish::Play(stream) => session.request_playback(stream.to_owned()),
                    };
                    let next = next.map_err(|e| anyhow::anyhow!("request: {e:?}"))?;
                    self.sort(vec![next], out, session)?;
                }
                ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestRejected { description }) => {
                    bail!("the server refused the connection: {description}")
                }
                ClientSessionResult::RaisedEvent(
                    ClientSessionEvent::PlaybackRequestAccepted | ClientSessionEvent::PublishRequestAccepted,
                ) => self.granted = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A publisher on a thread of its own; it stops when dropped.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    sent_bytes: Arc<AtomicU64>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Publisher {
    /// Connects, publishes `app/stream` and keeps sending in real time.
    pub(crate) fn start(addr: SocketAddr, app: &str, stream: &str, mut source: Source) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect_timeout(&addr, SETUP_TIMEOUT).context("RTMP connect")?;
        socket.set_read_timeout(Some(SETUP_TIMEOUT))?;
        socket.set_nodelay(true)?;
        let (mut setup, hello) = Setup::new(app, Wish::Publish(stream))?;
        socket.write_all(&hello)?;
        let mut buffer = vec![0; 16 << 10];
        while !setup.granted {
            let n = socket.read(&mut buffer).context("the server did not grant the publishing")?;
            if n == 0 {
                bail!("the server closed the connection");
            }
            let out = setup.feed(buffer.get(..n).unwrap_or_default())?;
            socket.write_all(&out)?;
        }
        let mut session = setup.session.context("no session")?;
        let (stop, sent, sent_bytes) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stopping, counted, counted_bytes) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&sent_bytes));
        let thread = thread::spawn(move || -> anyhow::Result<()> {
            let start = Instant::now();
            let mut headers = source.headers().collect::<Vec<_>>().into_iter();
            while !stopping.load(Ordering::Relaxed) {
                let message = headers.next().unwrap_or_else(|| source.next());
                let due = Duration::from_millis(u64::from(message.timestamp_ms));
                thread::sleep(due.saturating_sub(start.elapsed()));
                counted_bytes.fetch_add(message.body.len() as u64, Ordering::Relaxed);
                let time = RtmpTimestamp::new(message.timestamp_ms);
                let result = match message.video {
                    true => session.publish_video_data(message.body, time, false),
                    false => session.publish_audio_data(message.body, time, false),
                };
                if let ClientSessionResult::OutboundResponse(packet) = result.map_err(|e| anyhow::anyhow!("{e:?}"))? {
                    socket.write_all(&packet.bytes).context("the server ended the publishing")?;
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Self { stop, sent, sent_bytes, thread: Some(thread) })
    }

    /// Messages and payload bytes sent so far.
    pub(crate) fn sent(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.sent_bytes.load(Ordering::Relaxed))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the publisher failed: {error:#}");
        }
    }
}

/// Connects a player and reads until `stop`; counts bytes.
pub(crate) async fn play(
    addr: SocketAddr,
    app: String,
    stream: String,
    bytes: Arc<AtomicU64>,
    ready: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut socket = tokio::net::TcpStream::connect(addr).await.context("RTMP connect")?;
    let mut buffer = vec![0; 32 << 10];
    {
        let (mut setup, hello) = Setup::new(&app, Wish::Play(&stream))?;
        socket.write_all(&hello).await?;
        while !setup.granted {
            let n = tokio::time::timeout(SETUP_TIMEOUT, socket.read(&mut buffer)).await.context("no answer to play")??;
            if n == 0 {
                bail!("the server closed the connection");
            }
            let out = setup.feed(buffer.get(..n).unwrap_or_default())?;
            socket.write_all(&out).await?;
        }
    }
    ready.fetch_add(1, Ordering::Relaxed);
    loop {
        let n = socket.read(&mut buffer).await?;
        if n == 0 {
            bail!("the server closed the connection");
        }
        bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}
