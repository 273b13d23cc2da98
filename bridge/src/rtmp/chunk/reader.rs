//! Chunks → messages. Each chunk stream has a buffer of its own, so messages may interleave; memory
//! grows only with the bytes that came, never with what a header announces.

use std::collections::{HashMap, hash_map::Entry};

use bytes::{Buf, Bytes, BytesMut};

use super::{CHUNK_SIZE_INITIAL, Message, MessageKind, TIMESTAMP_EXTENDED};

/// Chunk streams remembered for one peer. Encoders use fewer than ten; the value of an id is free
/// up to 65,599 as some start at 64 or take a new range.
const STREAMS_MAX: usize = 256;
/// Messages begun and not finished at one time. Interleaving encoders hold two or three open.
const OPEN_MAX: usize = 64;
/// No message is longer than its 24-bit length, so larger chunks mean the same as this.
const CHUNK_SIZE_MAX: usize = 0xff_ffff;
/// A new message that repeats a type 0 extended timestamp may have moved it on by so much
/// (milliseconds); beyond it, the four bytes are taken as payload.
const TIMESTAMP_STEP_MAX: u32 = 10_000;

/// How much a peer may make us hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message.
    pub message_bytes: usize,
    /// Bytes of all unfinished messages together.
    pub partial_bytes: usize,
}

/// Why chunks could not be read on: the connection is of no more use.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum ChunkError {
    /// A header of type 2 or 3 came on a chunk stream without an earlier one.
    #[error("chunk stream {0} starts with a compressed header")]
    NoFirstHeader(u32),
    /// A header announced another message while one was unfinished on the same chunk stream.
    #[error("a message on chunk stream {0} was broken off by another")]
    Interrupted(u32),
    /// A message is longer than allowed.
    #[error("a message of {length} bytes is longer than the {allowed} allowed")]
    MessageTooLong {
        /// As announced.
        length: usize,
        /// [`Limits::message_bytes`].
        allowed: usize,
    },
    /// Unfinished messages hold more than [`Limits::partial_bytes`].
    #[error("unfinished messages hold more than {0} bytes")]
    TooMuchUnfinished(usize),
    /// More than 256 chunk streams, or 64 unfinished messages.
    #[error("too many chunk streams")]
    TooManyStreams,
    /// SetChunkSize with 0, or more than 2^31 - 1, or without a value.
    #[error("the chunk size is not valid")]
    BadChunkSize,
}

/// Reads one peer's chunks. It acts on SetChunkSize and Abort itself.
#[derive(Debug)]
pub struct ChunkReader {
    chunk_size: usize,
    limits: Limits,
    streams: HashMap<u32, Stream>,
    /// The chunk whose payload is being read: its chunk stream and the bytes still to come.
    current: Option<(u32, usize)>,
    open: usize,
    partial_bytes: usize,
}

/// One chunk stream: its last header and its unfinished message.
#[derive(Debug, Default)]
struct Stream {
    timestamp: u32,
    /// What a type 3 header adds for a new message: the last delta, or the last full timestamp
    /// (section 5.3.1.2.4).
    step: u32,
    /// The last header carried an extended timestamp: its value and whether it was a full one.
    extended: Option<(u32, bool)>,
    length: usize,
    kind: u8,
    stream_id: u32,
    is_open: bool,
    payload: Vec<u8>,
}

/// A chunk header as it stands on the wire.
struct WireHeader {
    format: u8,
    chunk_stream: u32,
    timestamp_field: u32,
    length: usize,
    kind: u8,
    stream_id: u32,
    len: usize,
}

impl ChunkReader {
    /// A reader at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self { chunk_size: CHUNK_SIZE_INITIAL, limits, streams: HashMap::new(), current: None, open: 0, partial_bytes: 0 }
    }

    /// Changes what the peer may make us hold, from the next header on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes bytes from the front of `input` until a message is whole. What is left in `input`
    /// when there is none is at most the start of a header.
    pub fn next_message(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            let Some((chunk_stream, left)) = self.current else {
                if self.read_header(input)? {
                    continue;
                }
                return Ok(None);
            };
            let whole = self.read_payload(chunk_stream, left, input)?;
            match whole {
                Some(message) => match message.kind {
                    MessageKind::SetChunkSize => self.set_chunk_size(&message.payload)?,
                    MessageKind::Abort => self.abort(&message.payload),
                    _ => return Ok(Some(message)),
                },
                None if self.current.is_some() => return Ok(None),
                None => {}
            }
        }
    }

    /// Starts a chunk; `false` when the header is not whole yet.
    fn read_header(&mut self, input: &mut BytesMut) -> Result<bool, ChunkError> {
        let Some(mut header) = parse_header(input) else { return Ok(false) };
        let known = self.streams.len();
        let stream = match self.streams.entry(header.chunk_stream) {
            Entry::Occupied(held) => held.into_mut(),
            // A ping of librtmp starts its chunk stream with type 1; the stream id it leaves out is 0.
            Entry::Vacant(free) if header.format <= 1 => {
                if known >= STREAMS_MAX {
                    return Err(ChunkError::TooManyStreams);
                }
                free.insert(Stream::default())
            }
            Entry::Vacant(_) => return Err(ChunkError::NoFirstHeader(header.chunk_stream)),
        };
        let extended = if header.format < 3 { header.timestamp_field == TIMESTAMP_EXTENDED } else { stream.extended.is_some() };
        let mut value = None;
        if extended {
            let Some(bytes) = input.get(header.len..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(false) };
            let read = u32::from_be_bytes(*bytes);
            if header.format < 3 || stream.repeats_extended(read) {
                value = Some(read);
                header.len += 4;
            }
        }
        if stream.is_open {
            if !stream.goes_on_with(&header) {
                return Err(ChunkError::Interrupted(header.chunk_stream));
            }
        } else {
            stream.begin(&header, value);
            if stream.length > self.limits.message_bytes {
                return Err(ChunkError::MessageTooLong { length: stream.length, allowed: self.limits.message_bytes });
            }
            self.open += 1;
            if self.open > OPEN_MAX {
                return Err(ChunkError::TooManyStreams);
            }
        }
        let left = stream.length.saturating_sub(stream.payload.len()).min(self.chunk_size);
        self.current = Some((header.chunk_stream, left));
        input.advance(header.len);
        Ok(true)
    }

    /// Takes what is there of the present chunk's payload.
    fn read_payload(&mut self, chunk_stream: u32, left: usize, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        let Some(stream) = self.streams.get_mut(&chunk_stream) else { return Ok(None) };
        let take = left.min(input.len());
        self.partial_bytes += take;
        if self.partial_bytes > self.limits.partial_bytes {
            return Err(ChunkError::TooMuchUnfinished(self.limits.partial_bytes));
        }
        stream.append(input.get(..take).unwrap_or_default());
        input.advance(take);
        self.current = (take < left).then_some((chunk_stream, left - take));
        if self.current.is_some() || stream.payload.len() < stream.length {
            return Ok(None);
        }
        stream.is_open = false;
        self.open -= 1;
        self.partial_bytes -= stream.payload.len();
        Ok(Some(Message {
            kind: MessageKind::new(stream.kind),
            stream_id: stream.stream_id,
            timestamp: stream.timestamp,
            payload: Bytes::from(std::mem::take(&mut stream.payload)),
        }))
    }

    /// Section 5.4.1: 31 bits, at least 1.
    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let bytes = payload.first_chunk::<4>().ok_or(ChunkError::BadChunkSize)?;
        let size = usize::try_from(u32::from_be_bytes(*bytes)).unwrap_or(usize::MAX);
        if size == 0 || size > 0x7fff_ffff {
            return Err(ChunkError::BadChunkSize);
        }
        self.chunk_size = size.min(CHUNK_SIZE_MAX);
        Ok(())
    }

    /// Section 5.4.2: what came of the message is forgotten.
    fn abort(&mut self, payload: &[u8]) {
        let Some(bytes) = payload.first_chunk::<4>() else { return };
        if let Some(stream) = self.streams.get_mut(&u32::from_be_bytes(*bytes))
            && stream.is_open
        {
            stream.is_open = false;
            self.open -= 1;
            self.partial_bytes -= stream.payload.len();
            stream.payload = Vec::new();
        }
    }
}

impl Stream {
    /// Whether the four bytes after a type 3 header are the extended timestamp. The specification
    /// wants it repeated (section 5.3.1.3), some encoders leave it out.
    fn repeats_extended(&self, read: u32) -> bool {
        let Some((value, is_full)) = self.extended else { return false };
        read == value || (!self.is_open && is_full && read.wrapping_sub(self.timestamp) <= TIMESTAMP_STEP_MAX)
    }

    /// Continuations carry a type 3 header; a longer one is taken if it says nothing new.
    fn goes_on_with(&self, header: &WireHeader) -> bool {
        let same_message = header.length == self.length && header.kind == self.kind;
        match header.format {
            0 => same_message && header.stream_id == self.stream_id,
            1 => same_message,
            _ => true,
        }
    }

    fn begin(&mut self, header: &WireHeader, extended: Option<u32>) {
        let field = extended.unwrap_or(header.timestamp_field);
        match header.format {
            0 => {
                self.timestamp = field;
                self.step = field;
                self.stream_id = header.stream_id;
                self.extended = extended.map(|value| (value, true));
            }
            1 | 2 => {
                self.timestamp = self.timestamp.wrapping_add(field);
                self.step = field;
                self.extended = extended.map(|value| (value, false));
            }
            // A full timestamp past four hours is no delta: it is the time of this message.
            _ => match (extended, self.extended) {
                (Some(value), Some((_, true))) => {
                    self.timestamp = value;
                    self.extended = Some((value, true));
                }
                (None, Some((_, true))) => {}
                _ => self.timestamp = self.timestamp.wrapping_add(self.step),
            },
        }
        if header.format <= 1 {
            self.length = header.length;
            self.kind = header.kind;
        }
        self.is_open = true;
    }

    /// Grows in steps of doubling, never past the announced length, so that a finished message
    /// holds no spare room.
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.payload.len() + bytes.len();
        if needed > self.payload.capacity() {
            let target = needed.max((self.payload.capacity() * 2).min(self.length));
            self.payload.reserve_exact(target - self.payload.len());
        }
        self.payload.extend_from_slice(bytes);
    }
}

/// Reads basic and message header (sections 5.3.1.1 and 5.3.1.2), without extended timestamp.
fn parse_header(input: &[u8]) -> Option<WireHeader> {
    let (first, rest) = input.split_first()?;
    let (chunk_stream, basic_len) = match first & 0x3f {
        0 => (64 + u32::from(*rest.first()?), 2),
        1 => {
            let [low, high] = *rest.first_chunk::<2>()?;
            (64 + u32::from(low) + u32::from(high) * 256, 3)
        }
        id => (u32::from(id), 1),
    };
    let format = first >> 6;
    let body = input.get(basic_len..)?;
    let mut header = WireHeader { format, chunk_stream, timestamp_field: 0, length: 0, kind: 0, stream_id: 0, len: basic_len };
    match format {
        0 => {
            let [t0, t1, t2, l0, l1, l2, kind, s @ ..] = *body.first_chunk::<11>()?;
            header.timestamp_field = u32::from_be_bytes([0, t0, t1, t2]);
            header.length = be24(l0, l1, l2);
            header.kind = kind;
            header.stream_id = u32::from_le_bytes(s);
            header.len += 11;
        }
        1 => {
            let [t0, t1, t2, l0, l1, l2, kind] = *body.first_chunk::<7>()?;
            header.timestamp_field = u32::from_be_bytes([0, t0, t1, t2]);
            header.length = be24(l0, l1, l2);
            header.kind = kind;
            header.len += 7;
        }
        2 => {
            let [t0, t1, t2] = *body.first_chunk::<3>()?;
            header.timestamp_field = u32::from_be_bytes([0, t0, t1, t2]);
            header.len += 3;
        }
        _ => {}
    }
    Some(header)
}

fn be24(a: u8, b: u8, c: u8) -> usize {
    usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
