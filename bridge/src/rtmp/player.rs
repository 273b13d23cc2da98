//! A player's stream: frames → messages, and word of a publisher's coming.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use weir_source::{Frame, FrameSubscriber, MediaKind, Read, Track};

use super::{
    Session,
    chunk::{Header, MessageKind, write},
    reply::chunk_stream,
};
use crate::{
    FrameReader, NotifyWake,
    flv::{Flow, Piece, config_head, frame_head, millis},
};

/// Frames taken from the ring at a time, and bytes after which no more are taken for one write.
/// A player that cannot keep up so holds no more than one batch back; the ring forgets the rest.
const READ_FRAMES: usize = 16;
const BATCH_BYTES: usize = 256 << 10;
/// The message stream that shared bytes are made for: the first that `createStream` gives.
const SHARED_STREAM_ID: u32 = 1;

/// What its messages are made for.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) stream_id: u32,
    pub(crate) chunk_size: usize,
}

/// One player.
pub(crate) struct Player {
    reader: FrameReader,
    wake: Arc<NotifyWake>,
    flow: Flow,
    frames: Vec<Frame>,
    stream_id: u32,
    chunk_size: usize,
    is_published: Option<bool>,
    is_paused: bool,
    gather: Duration,
    /// While it gathers: until when.
    rests: Option<Instant>,
}

impl Player {
    /// `wake` may have other uses too, say a kick. Frames are sent at most every `gather`.
    pub(crate) fn new(subscriber: FrameSubscriber, wake: Arc<NotifyWake>, on: Shape, gather: Duration) -> Self {
        let Shape { stream_id, chunk_size } = on;
        Self {
            reader: FrameReader::new(subscriber, Arc::clone(&wake)),
            wake,
            flow: Flow::new(),
            frames: Vec::with_capacity(READ_FRAMES),
            stream_id,
            chunk_size,
            is_published: None,
            is_paused: false,
            gather,
            rests: None,
        }
    }

    /// Appends what can be sent now, for one write. A notice about the publisher goes to `session`.
    pub(crate) fn fill(&mut self, batch: &mut Vec<Bytes>, session: &mut Session, now: Instant) {
        if self.rests.is_some_and(|until| now < until) {
            return;
        }
        self.rests = None;
        let (mut bytes, mut has_read) = (0, false);
        while bytes < BATCH_BYTES {
            if let Read::Lagged(_) = self.reader.subscriber().read(&mut self.frames, READ_FRAMES) {
                self.flow.lagged();
            }
            if self.frames.is_empty() {
                // All is sent: what comes next is gathered.
                self.rests = (has_read && !self.gather.is_zero()).then(|| now + self.gather);
                break;
            }
            has_read = true;
            let tracks = self.reader.subscriber().tracks();
            for frame in self.frames.drain(..) {
                if self.is_paused {
                    continue;
                }
                let (stream_id, chunk_size) = (self.stream_id, self.chunk_size);
                self.flow.feed(&frame, &tracks, |piece| {
                    let from = batch.len();
                    message(piece, millis(frame.dts), stream_id, chunk_size, batch);
                    bytes += batch.iter().skip(from).map(Bytes::len).sum::<usize>();
                });
            }
        }
        if !has_read {
            self.notice_publisher(session);
        }
    }

    /// Until there may be something to send. While it gathers, the frames that come wake nobody.
    pub(crate) async fn wait(&self) {
        if let Some(until) = self.rests {
            tokio::time::sleep_until(until.into()).await;
        }
        self.wake.wait().await;
    }

    /// A paused player is sent nothing, and goes on at a keyframe.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        self.flow.lagged();
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.flow.dropped()
    }

    pub(crate) fn uncarried(&self) -> u64 {
        self.flow.uncarried()
    }

    /// A player that came while nobody published is told only when somebody does.
    fn notice_publisher(&mut self, session: &mut Session) {
        let is_published = self.reader.subscriber().source().publisher_lane().is_some();
        let was_published = self.is_published.replace(is_published);
        if is_published && was_published == Some(false) {
            session.notify_published();
        }
    }
}

/// Appends one message. Frames are serialised once for all players, on message stream 1; a player
/// on another gets the same bytes with another start.
fn message(piece: Piece<'_>, timestamp: u32, stream_id: u32, chunk_size: usize, batch: &mut Vec<Bytes>) {
    match piece {
        Piece::Metadata(body) => {
            // FFmpeg takes metadata at any other time for subtitles.
            batch.push(serialise(chunk_stream::STREAM, MessageKind::Data, 0, stream_id, &[body], chunk_size));
        }
        Piece::Config(track) => {
            let Some(head) = config_head(track) else { return };
            let (on, kind) = channel(track);
            batch.push(serialise(on, kind, timestamp, stream_id, &[head.as_ref(), &track.config], chunk_size));
        }
        Piece::Frame(frame) => {
            let Some(head) = frame_head(frame) else { return };
            let shared = frame.muxed.rtmp(chunk_size, || {
                let (on, kind) = channel(&frame.track);
                serialise(on, kind, timestamp, SHARED_STREAM_ID, &[head.as_ref(), &frame.data], chunk_size)
            });
            if stream_id == SHARED_STREAM_ID {
                batch.push(shared);
            } else {
                let at = Header::STREAM_ID_AT;
                let mut start = shared.get(..at.end).unwrap_or_default().to_vec();
                if let Some(id) = start.get_mut(at.clone()) {
                    id.copy_from_slice(&stream_id.to_le_bytes());
                }
                batch.push(start.into());
                batch.push(shared.slice(at.end.min(shared.len())..));
            }
        }
    }
}

fn channel(track: &Track) -> (u8, MessageKind) {
    match track.kind() {
        MediaKind::Audio => (chunk_stream::AUDIO, MessageKind::Audio),
        MediaKind::Video => (chunk_stream::VIDEO, MessageKind::Video),
    }
}

fn serialise(chunk_stream: u8, kind: MessageKind, timestamp: u32, stream_id: u32, parts: &[&[u8]], chunk_size: usize) -> Bytes {
    let mut out = Vec::new();
    write(&mut out, Header { chunk_stream, timestamp, kind, stream_id }, parts, chunk_size);
    out.into()
}
