//! One RTMP connection as a state machine: bytes in; events and bytes out. It reads no clock and
//! does no I/O. Feed [`Session::handle_input`] until it gives no more events, answer the request it
//! asks about, and send [`Session::take_output`].

mod commands;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use weir_source::Secret;

use self::commands::{denial, metadata, refusal};
use super::{
    RtmpConfig, RtmpVhost,
    aggregate::Aggregate,
    chunk::{ChunkError, ChunkReader, Limits, Message, MessageKind},
    command::Connect,
    handshake::{Handshake, HandshakeError},
    reply::Replies,
};

/// What a peer may make us hold and read before it publishes. The commands of all known clients
/// take 15 messages and 3 KiB; players never need more than this per message.
const LIMITS_BEFORE: Limits = Limits { message_bytes: 64 << 10, partial_bytes: 64 << 10 };
const MESSAGES_BEFORE_MAX: u32 = 32;
const BYTES_BEFORE_MAX: usize = 64 << 10;
/// A publisher's: a keyframe of 8 MiB is one second of 64 Mb/s.
const LIMITS_PUBLISHING: Limits = Limits { message_bytes: 8 << 20, partial_bytes: 16 << 20 };
/// Message streams of one connection; one is usual.
const STREAMS_MAX: u32 = 8;
/// How long a connection that has unpublished may wait to publish again (SRS: three minutes).
const REPUBLISH_WAIT: Duration = Duration::from_secs(180);
/// How long a refused client may take to read why and go.
const REFUSED_LINGER: Duration = Duration::from_secs(3);
/// The shortest acknowledgement window honoured: smaller ones would make us send more than we get.
const ACK_WINDOW_MIN: u64 = 64 << 10;
/// Pings answered in a second; clients send one every few seconds.
const PINGS_PER_SECOND: u32 = 10;

/// Why a connection must be closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum SessionError {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The chunks cannot be read on.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command that does not fit the state.
    #[error("the client sent {0} out of turn")]
    OutOfTurn(&'static str),
    /// More than 32 messages or 64 KiB without publishing or playing.
    #[error("the client sent too much before it published or played")]
    TooMuchBefore,
    /// Nothing came in time.
    #[error("the client was silent {0}")]
    TimedOut(&'static str),
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRequest {
    /// The app, as the client wrote it.
    pub app: String,
    /// The stream, as the client wrote it.
    pub stream: String,
    /// The vhost or host that the client named.
    pub host: String,
    /// The query of the stream's name, or else of `tcUrl`, with its `?`.
    pub param: Secret,
    /// `tcUrl` without its query.
    pub tc_url: String,
    /// `pageUrl` without its query.
    pub page_url: String,
}

/// What a connection wants or brings.
#[derive(Debug)]
pub enum Event {
    /// It has said `connect`: answer with [`Session::accept_connect`] or [`Session::refuse`].
    Connect(Connect),
    /// It wants to publish: answer with [`Session::accept_publish`] or [`Session::refuse`].
    Publish(StreamRequest),
    /// It wants to play: answer with [`Session::accept_play`] or [`Session::refuse`].
    Play(StreamRequest),
    /// The body of an audio tag, with its timestamp.
    Audio(u32, Bytes),
    /// The body of a video tag, with its timestamp.
    Video(u32, Bytes),
    /// The `onMetaData` value as AMF0.
    Metadata(Bytes),
    /// The player pauses (`true`) or goes on.
    Paused(bool),
    /// It has stopped publishing or playing and may ask again.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Publish,
    Play,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Idle,
    /// `connect` waits for its answer, under this transaction.
    Connecting(f64),
    Asking(Ask, u32),
    Publishing(u32),
    Playing(u32),
    Refused,
}

/// One connection.
pub struct Session {
    config: Arc<RtmpConfig>,
    handshake: Option<Box<Handshake>>,
    reader: ChunkReader,
    replies: Replies,
    /// Of the vhost that it publishes to.
    idle_timeout: Duration,
    connect: Option<Connect>,
    /// One bit per message stream id, 1 to 8.
    streams: u16,
    role: Role,
    aggregate: Option<Aggregate>,
    said_fc_publish: bool,
    deadline: Option<(Instant, &'static str)>,
    messages_before: u32,
    bytes_before: usize,
    received: u64,
    acknowledged: u64,
    ack_window: Option<u64>,
    pings: (Option<Instant>, u32),
    ignored: u64,
}

impl Session {
    /// A connection that was accepted at `now`.
    pub fn new(config: Arc<RtmpConfig>, now: Instant) -> Self {
        Self {
            handshake: Some(Box::default()),
            reader: ChunkReader::new(LIMITS_BEFORE),
            replies: Replies::default(),
            idle_timeout: RtmpVhost::default().idle_timeout,
            connect: None,
            streams: 0,
            role: Role::Idle,
            aggregate: None,
            said_fc_publish: false,
            deadline: Some((now + config.handshake_timeout, "in its handshake")),
            messages_before: 0,
            bytes_before: 0,
            received: 0,
            acknowledged: 0,
            ack_window: None,
            pings: (None, 0),
            ignored: 0,
            config,
        }
    }

    /// Takes from the front of `input` until there is an event; call it again until it gives
    /// `None`. While a request is unanswered it takes nothing.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) -> Result<Option<Event>, SessionError> {
        if let Some(handshake) = &mut self.handshake {
            let before = input.len();
            let is_done = handshake.handle_input(input, &mut self.replies.out)?;
            self.received += (before - input.len()) as u64;
            if !is_done {
                return Ok(None);
            }
            self.handshake = None;
            self.deadline = Some((now + self.config.handshake_timeout, "before it published or played"));
        }
        loop {
            match self.role {
                Role::Asking(..) | Role::Connecting(_) => return Ok(None),
                Role::Refused => {
                    input.clear();
                    return Ok(None);
                }
                _ => {}
            }
            let Some(message) = self.next_message(now, input)? else {
                self.acknowledge();
                return Ok(None);
            };
            if let Some(event) = self.handle_message(now, message)? {
                return Ok(Some(event));
            }
        }
    }

    /// What is to be sent, once.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.replies.out)
    }

    /// When [`Session::handle_timeout`] must be called, if it must.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }

    /// An error once the time is up.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        match self.deadline {
            Some((at, when)) if at <= now => Err(SessionError::TimedOut(when)),
            _ => Ok(()),
        }
    }

    /// Lets the client go on after its `connect` to a vhost. Its time to publish or play begins here.
    pub fn accept_connect(&mut self, now: Instant, vhost: &RtmpVhost) {
        let Role::Connecting(transaction) = self.role else { return };
        self.role = Role::Idle;
        self.deadline = Some((now + self.config.handshake_timeout, "before it published or played"));
        let object_encoding = self.connect.as_ref().map_or(0.0, |connect| connect.object_encoding);
        self.ack_window = self.ack_window.or_else(|| ack_window(vhost.ack_window_in));
        self.replies.connected(transaction, object_encoding, vhost);
    }

    /// Lets the client publish what it asked for, to a vhost that need not be that of its `connect`.
    pub fn accept_publish(&mut self, now: Instant, vhost: &RtmpVhost) {
        let Role::Asking(Ask::Publish, stream_id) = self.role else { return };
        self.role = Role::Publishing(stream_id);
        self.reader.set_limits(LIMITS_PUBLISHING);
        self.deadline = Some((now + vhost.first_media_timeout, "after it began to publish"));
        self.idle_timeout = vhost.idle_timeout;
        self.replies.set_chunk_size(vhost.chunk_size());
        if std::mem::take(&mut self.said_fc_publish) {
            self.replies.on_fc_publish(stream_id);
        }
        self.replies.on_status(stream_id, "status", "NetStream.Publish.Start", "Started publishing stream.");
    }

    /// Lets the client play what it asked for, of a vhost that need not be that of its `connect`. It is
    /// told of this one's size of chunks, by which its messages are to be made.
    pub fn accept_play(&mut self, vhost: &RtmpVhost) {
        let Role::Asking(Ask::Play, stream_id) = self.role else { return };
        self.role = Role::Playing(stream_id);
        self.deadline = None;
        self.replies.set_chunk_size(vhost.chunk_size());
        self.replies.play_started(stream_id);
    }

    /// Refuses what the client asked for, and reads no more of it.
    pub fn refuse(&mut self, now: Instant, why: &str) {
        match self.role {
            Role::Connecting(transaction) => self.replies.connect_rejected(transaction, why),
            Role::Asking(ask, stream_id) => self.replies.on_status(stream_id, "error", refusal(ask), why),
            _ => return,
        }
        self.let_go(now);
    }

    /// As [`Session::refuse`], for who may not do what it asked for.
    pub fn deny(&mut self, now: Instant, why: &str) {
        let Role::Asking(ask, stream_id) = self.role else { return };
        self.replies.on_status(stream_id, "error", denial(ask), why);
        self.let_go(now);
    }

    /// Tells a publisher that another one has taken its place, and reads no more of it.
    pub fn replaced(&mut self, now: Instant) {
        let Role::Publishing(stream_id) = self.role else { return };
        self.replies.on_status(stream_id, "error", refusal(Ask::Publish), "another publisher has taken over");
        self.let_go(now);
    }

    fn let_go(&mut self, now: Instant) {
        self.role = Role::Refused;
        self.deadline = Some((now + REFUSED_LINGER, "after it was refused"));
    }

    /// Tells a player that its stream has a publisher again. That it has none is not told
    /// (`NetStream.Play.UnpublishNotify`): FFmpeg and librtmp take it for the end and leave, while a
    /// player that is told nothing goes on with the next publisher.
    pub fn notify_published(&mut self) {
        let Role::Playing(stream_id) = self.role else { return };
        self.replies.on_status(stream_id, "status", "NetStream.Play.PublishNotify", "The stream is published.");
    }

    /// Asks the peer for a sign of life; `timestamp` in milliseconds.
    pub fn ping(&mut self, timestamp: u32) {
        self.replies.ping(timestamp);
    }

    /// The message stream that is played or published, 0 for none.
    pub fn stream_id(&self) -> u32 {
        match self.role {
            Role::Publishing(id) | Role::Playing(id) | Role::Asking(_, id) => id,
            Role::Idle | Role::Connecting(_) | Role::Refused => 0,
        }
    }

    /// The client was refused: it is only waited for to go.
    pub fn is_refused(&self) -> bool {
        self.role == Role::Refused
    }

    /// Bytes taken in so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Messages and data that were of no use.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn next_message(&mut self, now: Instant, input: &mut BytesMut) -> Result<Option<Message>, SessionError> {
        if let Some(inner) = self.aggregate.as_mut().and_then(Iterator::next) {
            return Ok(Some(inner));
        }
        self.aggregate = None;
        let before = input.len();
        let message = self.reader.next_message(input);
        let taken = before.saturating_sub(input.len());
        self.received += taken as u64;
        let message = message?;
        match self.role {
            Role::Publishing(_) if taken > 0 && self.deadline.is_some_and(|(_, when)| when == IDLE) => {
                self.deadline = Some((now + self.idle_timeout, IDLE));
            }
            Role::Idle => {
                self.bytes_before = self.bytes_before.saturating_add(taken);
                self.messages_before = self.messages_before.saturating_add(u32::from(message.is_some()));
                if self.bytes_before > BYTES_BEFORE_MAX || self.messages_before > MESSAGES_BEFORE_MAX {
                    return Err(SessionError::TooMuchBefore);
                }
            }
            _ => {}
        }
        Ok(message)
    }

    fn handle_message(&mut self, now: Instant, message: Message) -> Result<Option<Event>, SessionError> {
        match message.kind {
            MessageKind::Audio | MessageKind::Video => return Ok(self.media(now, message)),
            MessageKind::Aggregate if self.aggregate.is_none() => self.aggregate = Some(Aggregate::new(message)),
            MessageKind::Command => return self.command(now, message.stream_id, &message.payload),
            // Type 17 and 15 bodies are AMF0 behind one byte for the format.
            MessageKind::CommandAmf3 => {
                return self.command(now, message.stream_id, message.payload.get(1..).unwrap_or_default());
            }
            MessageKind::Data => return Ok(self.data(&message.payload)),
            MessageKind::DataAmf3 => return Ok(self.data(message.payload.get(1..).unwrap_or_default())),
            MessageKind::WindowAckSize => {
                let window = message.payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
                self.ack_window = window.and_then(ack_window);
            }
            MessageKind::UserControl => self.user_control(now, &message.payload),
            MessageKind::Acknowledgement | MessageKind::SetPeerBandwidth => {}
            _ => self.ignored += 1,
        }
        Ok(None)
    }

    fn media(&mut self, now: Instant, message: Message) -> Option<Event> {
        if !matches!(self.role, Role::Publishing(_)) {
            self.ignored += 1;
            return None;
        }
        self.deadline = Some((now + self.idle_timeout, IDLE));
        Some(match message.kind {
            MessageKind::Audio => Event::Audio(message.timestamp, message.payload),
            _ => Event::Video(message.timestamp, message.payload),
        })
    }

    fn data(&mut self, body: &[u8]) -> Option<Event> {
        let is_publishing = matches!(self.role, Role::Publishing(_));
        let metadata = is_publishing.then(|| metadata(body)).flatten();
        if metadata.is_none() {
            self.ignored += 1;
        }
        metadata.map(Event::Metadata)
    }

    fn user_control(&mut self, now: Instant, body: &[u8]) {
        let (since, count) = &mut self.pings;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            (*since, *count) = (Some(now), 0);
        }
        if *count < PINGS_PER_SECOND && self.replies.answer_ping(body) {
            *count += 1;
        }
    }

    /// RTMP 1.0, section 5.4.3: the total so far, which wraps at 2^32.
    fn acknowledge(&mut self) {
        let Some(window) = self.ack_window else { return };
        if self.received - self.acknowledged >= window {
            self.acknowledged = self.received;
            self.replies.acknowledge(u32::try_from(self.received & 0xffff_ffff).unwrap_or_default());
        }
    }
}

/// Zero: none.
fn ack_window(bytes: u32) -> Option<u64> {
    (bytes > 0).then(|| u64::from(bytes).max(ACK_WINDOW_MIN))
}

/// The deadline that each input of a publisher moves on.
const IDLE: &str = "while it published";

#[cfg(test)]
mod tests;
