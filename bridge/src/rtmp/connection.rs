//! One connection's task: the socket, the session on it, and whom it serves now.

use std::{
    future::Future,
    io,
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tracing::{debug, info};
use weir_source::{Caller, ClientGuard, ClientInfo, ClientKind, ConnectionPass, Denied, Hub, Pass};

use super::{
    Connect, Event, RtmpConfig, Session, SessionError, StreamRequest,
    player::{Player, Shape},
    publisher::{FramesPublisher, PublishEnd},
    socket::{read, write_all},
};
use crate::NotifyWake;

/// Bytes read at a time: for commands, and for a publisher's media.
const READ_BYTES: usize = 4 << 10;
const READ_BYTES_PUBLISHING: usize = 64 << 10;
/// For the last bytes of a connection that ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// What is read of a client that waits for a decision; then only the decision is waited for.
const READ_WAITING_MAX: usize = 64 << 10;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the client took nothing for too long")]
    TooSlow,
    #[error("kicked")]
    Kicked,
    #[error("another publisher took over")]
    Replaced,
    #[error("the client was refused")]
    Refused,
}

/// Where a connection comes from, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) ip: IpAddr,
    pub(crate) is_tls: bool,
}

impl Origin {
    /// What a client says its URL is, but for what we know better: some say `rtmp` over TLS too.
    fn url(self, said: String) -> String {
        match said.strip_prefix("rtmp://") {
            Some(rest) if self.is_tls => format!("rtmps://{rest}"),
            _ => said,
        }
    }
}

pub(crate) struct Connection<S> {
    stream: S,
    origin: Origin,
    id: String,
    hub: Arc<Hub>,
    config: Arc<RtmpConfig>,
    session: Session,
    input: BytesMut,
    /// From an accepted `connect` on.
    pass: Option<ConnectionPass>,
    /// Bytes written before that.
    sent_before: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S, origin: Origin, id: String, hub: Arc<Hub>, config: Arc<RtmpConfig>) -> Self {
        let session = Session::new(Arc::clone(&config), Instant::now());
        Self { stream, origin, id, hub, config, session, input: BytesMut::new(), pass: None, sent_before: 0 }
    }

    /// Runs until one side ends it.
    pub(crate) async fn run(mut self) -> End {
        let end = self.serve().await;
        super::stats::add(&self.config.stats.ignored, self.session.ignored());
        // TLS says goodbye, so that an end is told from a cut; one who does not listen is not waited for.
        let _best_effort = timeout(GOODBYE, self.stream.shutdown()).await;
        end
    }

    async fn serve(&mut self) -> End {
        loop {
            let asked = match self.next_request().await {
                Ok(asked) => asked,
                Err(end) => return end,
            };
            let ended = match asked {
                Event::Connect(connect) => self.connect(connect).await,
                Event::Publish(request) => Box::pin(self.publish(request)).await,
                Event::Play(request) => self.play(request).await,
                _ => Ok(()),
            };
            if let Err(end) = ended {
                return end;
            }
        }
    }

    /// Reads until the client asks for something.
    async fn next_request(&mut self) -> Result<Event, End> {
        loop {
            let event = self.session.handle_input(Instant::now(), &mut self.input);
            if let Some(event) = event? {
                return Ok(event);
            }
            self.send_output().await?;
            if self.session.is_refused() {
                return Err(self.linger().await);
            }
            self.read(READ_BYTES).await?;
        }
    }

    /// Closing with unread bytes would reset the connection, and the client might never read why
    /// it was refused: end our side and let it go first.
    async fn linger(&mut self) -> End {
        if let Err(error) = self.stream.shutdown().await {
            return End::Io(error);
        }
        while self.read(READ_BYTES).await.is_ok() {
            self.input.clear();
        }
        End::Refused
    }

    async fn connect(&mut self, connect: Connect) -> Result<(), End> {
        let vhost = match self.hub.vhosts().resolve(&connect.host) {
            Ok(vhost) => vhost.to_owned(),
            Err(error) => {
                self.refuse(&error.to_string());
                return Ok(());
            }
        };
        let config = Arc::clone(&self.config);
        let settings = config.vhosts.get(&vhost);
        let caller = Caller {
            id: self.id.clone(),
            ip: self.origin.ip,
            vhost,
            app: connect.app,
            url: self.origin.url(connect.tc_url),
            page_url: connect.page_url,
            param: connect.param,
        };
        let hub = Arc::clone(&self.hub);
        match self.decided(hub.admit_connection(caller)).await? {
            Ok(pass) => {
                let received = self.session.received() + self.input.len() as u64;
                pass.traffic().received.fetch_add(received, Ordering::Relaxed);
                pass.traffic().sent.fetch_add(self.sent_before as u64, Ordering::Relaxed);
                self.pass = Some(pass);
                self.session.accept_connect(Instant::now(), settings);
            }
            Err(denied) => self.refuse(&denied.to_string()),
        }
        Ok(())
    }

    /// Waits for a decision about this client, which may be a callback server's. A client that goes
    /// meanwhile is noticed; what it sends is kept, within a bound.
    async fn decided<T>(&mut self, decision: impl Future<Output = Result<T, Denied>>) -> Result<Result<T, Denied>, End> {
        let decision = timeout(self.config.decision_timeout, decision);
        let mut decision = std::pin::pin!(decision);
        let decided = loop {
            tokio::select! {
                biased;
                decided = &mut decision => break decided,
                read = read(&mut self.stream, &mut self.input, READ_BYTES), if self.input.len() < READ_WAITING_MAX => {
                    count(self.pass.as_ref(), 0, read?);
                }
            }
        };
        Ok(decided.unwrap_or_else(|_elapsed| Err(Denied::Unavailable("it was not decided in time".to_owned()))))
    }

    async fn publish(&mut self, request: StreamRequest) -> Result<(), End> {
        let wake = NotifyWake::new();
        let Some(pass) = self.admit(ClientKind::RtmpPublish, request).await? else { return Ok(()) };
        let key = pass.info().key.clone();
        let publisher = match self.hub.publish_by(&pass, wake.clone(), Instant::now()) {
            Ok(publisher) => publisher,
            Err(error) => {
                self.refuse(&format!("StreamBusy: {error}"));
                return Ok(());
            }
        };
        let client = self.enter(pass, wake.clone());
        self.session.accept_publish(Instant::now(), self.config.vhosts.get(key.vhost()));
        info!(stream = %key, ip = %self.origin.ip, "publishing");
        let mut publisher = FramesPublisher::new(publisher);
        let end = self.publish_frames(&mut publisher, &client, &wake).await;
        let why = end.as_ref().map_or_else(ToString::to_string, |()| "unpublished".to_owned());
        super::stats::add(&self.config.stats.dropped, publisher.dropped());
        info!(stream = %key, %why, dropped = publisher.dropped(), "publishing ended");
        if !matches!(end, Err(End::Replaced)) {
            return end;
        }
        // Whoever follows it is not to wait until it has read why.
        drop((publisher, client));
        self.session.replaced(Instant::now());
        self.send_output().await?;
        Err(self.linger().await)
    }

    async fn publish_frames(
        &mut self,
        publisher: &mut FramesPublisher,
        client: &ClientGuard,
        wake: &NotifyWake,
    ) -> Result<(), End> {
        loop {
            let now = Instant::now();
            let stopped = self.take_media(publisher, now);
            publisher.flush(now).map_err(|PublishEnd| End::Replaced)?;
            if stopped? {
                return Ok(());
            }
            client.sent(self.send_output().await?);
            if client.is_kicked() {
                return Err(End::Kicked);
            }
            tokio::select! {
                read = self.read(READ_BYTES_PUBLISHING) => client.received(read?),
                () = wake.wait() => {}
            }
        }
    }

    /// Hands over what has been read; `true` when the client stopped publishing.
    fn take_media(&mut self, publisher: &mut FramesPublisher, now: Instant) -> Result<bool, End> {
        while let Some(event) = self.session.handle_input(now, &mut self.input)? {
            let taken = match event {
                Event::Audio(timestamp, body) => publisher.audio(timestamp, &body, now),
                Event::Video(timestamp, body) => publisher.video(timestamp, &body, now),
                Event::Metadata(metadata) => publisher.metadata(metadata),
                Event::Stopped => return Ok(true),
                _ => Ok(()),
            };
            taken.map_err(|PublishEnd| End::Replaced)?;
        }
        Ok(false)
    }

    async fn play(&mut self, request: StreamRequest) -> Result<(), End> {
        let wake = NotifyWake::new();
        let Some(pass) = self.admit(ClientKind::RtmpPlay, request).await? else { return Ok(()) };
        let key = pass.info().key.clone();
        let mut subscriber = self.hub.subscribe_frames(&key, Instant::now());
        self.config.vhosts.get(key.vhost()).begin.place(&mut subscriber);
        let client = self.enter(pass, wake.clone());
        let vhost = self.config.vhosts.get(key.vhost());
        self.session.accept_play(vhost);
        info!(stream = %key, ip = %self.origin.ip, "playing");
        let shape = Shape { stream_id: self.session.stream_id(), chunk_size: vhost.chunk_size() };
        let mut player = Player::new(subscriber, wake, shape, vhost.gather);
        let end = self.play_frames(&mut player, &client).await;
        let why = end.as_ref().map_or_else(ToString::to_string, |()| "stopped".to_owned());
        info!(stream = %key, %why, dropped = player.dropped(), uncarried = player.uncarried(), "playing ended");
        end
    }

    async fn play_frames(&mut self, player: &mut Player, client: &ClientGuard) -> Result<(), End> {
        let interval = self.config.ping_interval;
        let began = Instant::now();
        let mut batch = Vec::new();
        let mut has_sent = false;
        // One timer for the player's life: arming one for each write would cost more than the rest.
        let mut silence = std::pin::pin!(tokio::time::sleep(interval));
        loop {
            while let Some(event) = self.session.handle_input(Instant::now(), &mut self.input)? {
                match event {
                    Event::Stopped => return Ok(()),
                    Event::Paused(is_paused) => player.pause(is_paused),
                    _ => {}
                }
            }
            batch.push(self.session.take_output().into());
            player.fill(&mut batch, &mut self.session, Instant::now());
            batch.push(self.session.take_output().into());
            let sent = self.write(&mut batch).await?;
            client.sent(sent);
            has_sent |= sent > 0;
            if client.is_kicked() {
                return Err(End::Kicked);
            }
            tokio::select! {
                read = read(&mut self.stream, &mut self.input, READ_BYTES) => {
                    let read = read?;
                    count(self.pass.as_ref(), 0, read);
                    client.received(read);
                }
                () = player.wait() => {}
                () = &mut silence => {
                    if !std::mem::take(&mut has_sent) {
                        let millis = began.elapsed().as_millis() & 0xffff_ffff;
                        self.session.ping(u32::try_from(millis).unwrap_or_default());
                    }
                    silence.as_mut().reset(tokio::time::Instant::now() + interval);
                }
            }
        }
    }

    /// Names the stream and asks whether the client may have it. `None`: it was refused.
    async fn admit(&mut self, kind: ClientKind, request: StreamRequest) -> Result<Option<Pass>, End> {
        let now = Instant::now();
        let key = match self.hub.vhosts().key(&request.host, &request.app, &request.stream) {
            Ok(key) => key,
            Err(error) => {
                self.refuse(&error.to_string());
                return Ok(None);
            }
        };
        let info = ClientInfo {
            id: self.id.clone(),
            kind,
            key,
            ip: self.origin.ip,
            url: self.origin.url(request.tc_url),
            page_url: request.page_url,
            param: request.param,
            since: now,
        };
        let hub = Arc::clone(&self.hub);
        match self.decided(hub.admit(info, None)).await? {
            Ok(pass) => return Ok(Some(pass)),
            Err(Denied::Busy(error)) => self.refuse(&format!("StreamBusy: {error}")),
            Err(denied) => self.deny(&denied.to_string()),
        }
        Ok(None)
    }

    fn refuse(&mut self, why: &str) {
        info!(ip = %self.origin.ip, why, "refused");
        self.session.refuse(Instant::now(), why);
    }

    fn deny(&mut self, why: &str) {
        info!(ip = %self.origin.ip, why, "not let in");
        self.session.deny(Instant::now(), why);
    }

    fn enter(&self, pass: Pass, wake: Arc<NotifyWake>) -> ClientGuard {
        let client = self.hub.clients().enter(pass, wake);
        client.received(usize::try_from(self.session.received()).unwrap_or(usize::MAX));
        client
    }

    /// Reads once, within the session's time.
    async fn read(&mut self, bytes: usize) -> Result<usize, End> {
        let reading = read(&mut self.stream, &mut self.input, bytes);
        let read = match self.session.poll_timeout() {
            None => reading.await?,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), reading).await {
                Ok(read) => read?,
                Err(_) => {
                    self.session.handle_timeout(deadline)?;
                    0
                }
            },
        };
        count(self.pass.as_ref(), 0, read);
        Ok(read)
    }

    async fn send_output(&mut self) -> Result<usize, End> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(0);
        }
        self.write(&mut vec![output.into()]).await
    }

    /// Writes all of `batch` and empties it.
    async fn write(&mut self, batch: &mut Vec<Bytes>) -> Result<usize, End> {
        let total = batch.iter().map(Bytes::len).sum();
        if total > 0 {
            match timeout(self.config.write_timeout, write_all(&mut self.stream, batch)).await {
                Ok(written) => written?,
                Err(_) => {
                    debug!(bytes = total, "the client does not take what it is sent");
                    return Err(End::TooSlow);
                }
            }
        }
        if total > 0 {
            self.config.stats.wrote(total);
            count(self.pass.as_ref(), total, 0);
            if self.pass.is_none() {
                self.sent_before += total;
            }
        }
        batch.clear();
        Ok(total)
    }
}

/// For the connection as a whole; before it was let in, [`Connection::connect`] counts.
fn count(pass: Option<&ConnectionPass>, sent: usize, received: usize) {
    let Some(traffic) = pass.map(ConnectionPass::traffic) else { return };
    traffic.sent.fetch_add(sent as u64, Ordering::Relaxed);
    traffic.received.fetch_add(received as u64, Ordering::Relaxed);
}
