//! RTMP's chunk stream as a player needs it (RTMP 1.0, 5.3 and 5.4): messages counted, the start of
//! each looked at, and what the protocol wants answered.

use crate::clients::player::{HEAD_MAX, Message};

/// Chunk streams that one connection may use. Servers use half a dozen.
const STREAMS_MAX: usize = 32;
const CHUNK_SIZE: usize = 128;
const CHUNK_SIZE_MAX: usize = 0x7fff_ffff;
/// Message types of RTMP 1.0, 5.4 and 7.1.
const SET_CHUNK_SIZE: u8 = 1;
const ACKNOWLEDGEMENT: u8 = 3;
const USER_CONTROL: u8 = 4;
const WINDOW_SIZE: u8 = 5;
/// AMF0 command.
pub(super) const COMMAND: u8 = 20;
/// Events of user control (7.1.7).
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;
/// Follows the header where the three bytes of the time do not suffice.
const EXTENDED: u32 = 0x00ff_ffff;

/// See the module.
#[derive(Debug)]
pub(super) struct ChunkReader {
    chunk_size: usize,
    streams: Vec<(u32, Stream)>,
    state: State,
    /// A header that has not come whole.
    held: Vec<u8>,
    window: u64,
    received: u64,
    acknowledged: u64,
    answers: Vec<u8>,
}

/// What is known of one chunk stream, and the message that it is in.
#[derive(Debug, Default)]
struct Stream {
    kind: u8,
    len: usize,
    left: usize,
    extended: bool,
    head: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Header,
    /// Bytes left of a chunk of the stream at this place.
    Data {
        at: usize,
        left: usize,
    },
}

impl Default for ChunkReader {
    fn default() -> Self {
        Self {
            chunk_size: CHUNK_SIZE,
            streams: Vec::new(),
            state: State::Header,
            held: Vec::new(),
            window: 0,
            received: 0,
            acknowledged: 0,
            answers: Vec::new(),
        }
    }
}

impl ChunkReader {
    /// What came behind the handshake. Gives each whole message to `take`.
    pub(super) fn feed(&mut self, mut data: &[u8], mut take: impl FnMut(&Message<'_>)) -> Result<(), &'static str> {
        self.received += data.len() as u64;
        while let Some((&first, rest)) = data.split_first() {
            match self.state {
                State::Header if self.held.is_empty() => {
                    // Mostly it is whole.
                    let used = self.read_header(data)?;
                    if used.is_none() {
                        self.held.extend_from_slice(data);
                    }
                    data = data.get(used.unwrap_or(data.len())..).unwrap_or_default();
                }
                State::Header => {
                    self.held.push(first);
                    data = rest;
                    self.try_header()?;
                }
                State::Data { at, left } => {
                    let used = left.min(data.len());
                    let (chunk, rest) = data.split_at(used);
                    data = rest;
                    self.take_data(at, chunk);
                    self.state = if left > used { State::Data { at, left: left - used } } else { State::Header };
                    self.finish_message(at, &mut take)?;
                }
            }
        }
        self.acknowledge();
        Ok(())
    }

    /// What is to be sent, since the last call.
    pub(super) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }

    /// Reads the header in `held`, if it is whole.
    fn try_header(&mut self) -> Result<(), &'static str> {
        let mut held = std::mem::take(&mut self.held);
        if self.read_header(&held)?.is_some() {
            held.clear();
        }
        self.held = held;
        Ok(())
    }

    /// The length of the header that `held` begins with, if it is whole.
    fn read_header(&mut self, held: &[u8]) -> Result<Option<usize>, &'static str> {
        let Some(&first) = held.first() else { return Ok(None) };
        // 5.3.1.1: one, two or three bytes.
        let (id, basic) = match (first & 0x3f, held) {
            (0, [_, low, ..]) => (64 + u32::from(*low), 2),
            (1, [_, low, high, ..]) => (64 + u32::from(*low) + (u32::from(*high) << 8), 3),
            (0 | 1, _) => return Ok(None),
            (id, _) => (u32::from(id), 1),
        };
        let fields = held.get(basic..).unwrap_or_default();
        // 5.3.1.2.
        let format = first >> 6;
        let fields_len = [11, 7, 3, 0].get(usize::from(format)).copied().unwrap_or(0);
        if fields.len() < fields_len {
            return Ok(None);
        }
        let (at, chunk_size) = (self.place(id)?, self.chunk_size);
        let Some((_, stream)) = self.streams.get_mut(at) else { return Ok(None) };
        let time = if let [a, b, c, ..] = *fields { u32::from_be_bytes([0, a, b, c]) } else { 0 };
        let extended = if fields_len >= 3 { time == EXTENDED } else { stream.extended };
        let len = fields_len + if extended { 4 } else { 0 };
        if fields.len() < len {
            return Ok(None);
        }
        stream.extended = extended;
        if let (true, &[_, _, _, l0, l1, l2, kind, ..]) = (fields_len >= 7, fields) {
            stream.len = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
            stream.kind = kind;
        }
        // A message that the server began anew: what there was of it is worth nothing.
        if stream.left == 0 || format != 3 {
            stream.left = stream.len;
            stream.head.clear();
        }
        let left = stream.left.min(chunk_size);
        // An empty message is whole with its header, and says nothing.
        self.state = if left == 0 { State::Header } else { State::Data { at, left } };
        Ok(Some(basic + len))
    }

    fn place(&mut self, id: u32) -> Result<usize, &'static str> {
        if let Some(at) = self.streams.iter().position(|(known, _)| *known == id) {
            return Ok(at);
        }
        if self.streams.len() >= STREAMS_MAX {
            return Err("too many chunk streams");
        }
        self.streams.push((id, Stream::default()));
        Ok(self.streams.len() - 1)
    }

    fn take_data(&mut self, at: usize, chunk: &[u8]) {
        let Some((_, stream)) = self.streams.get_mut(at) else { return };
        stream.left -= chunk.len().min(stream.left);
        let kept = chunk.len().min(HEAD_MAX.saturating_sub(stream.head.len()));
        stream.head.extend_from_slice(chunk.get(..kept).unwrap_or_default());
    }

    fn finish_message(&mut self, at: usize, take: &mut impl FnMut(&Message<'_>)) -> Result<(), &'static str> {
        let stream = self.streams.get_mut(at).map(|(_, stream)| stream);
        let Some(stream) = stream.filter(|stream| stream.left == 0 && !stream.head.is_empty()) else { return Ok(()) };
        let (kind, len) = (stream.kind, stream.len);
        take(&Message { kind, len, head: &stream.head });
        let head = std::mem::take(&mut stream.head);
        let number = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).map(|bytes| u32::from_be_bytes(*bytes));
        match kind {
            SET_CHUNK_SIZE => {
                let size = number(0).and_then(|size| usize::try_from(size).ok());
                self.chunk_size = size.filter(|size| (1..=CHUNK_SIZE_MAX).contains(size)).ok_or("an odd chunk size")?;
            }
            WINDOW_SIZE => self.window = number(0).unwrap_or(0).into(),
            USER_CONTROL => {
                let event = head.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
                if let (Some(PING_REQUEST), Some(value)) = (event, number(2)) {
                    self.answers.extend([2, 0, 0, 0, 0, 0, 6, USER_CONTROL, 0, 0, 0, 0]);
                    self.answers.extend(PING_RESPONSE.to_be_bytes());
                    self.answers.extend(value.to_be_bytes());
                }
            }
            _ => {}
        }
        // The room is used again.
        if let Some((_, stream)) = self.streams.get_mut(at) {
            stream.head = head;
            stream.head.clear();
        }
        Ok(())
    }

    /// 5.4.3: after each window.
    fn acknowledge(&mut self) {
        if self.window > 0 && self.received - self.acknowledged >= self.window {
            self.acknowledged = self.received;
            self.answers.extend([2, 0, 0, 0, 0, 0, 4, ACKNOWLEDGEMENT, 0, 0, 0, 0]);
            self.answers.extend((self.received as u32).to_be_bytes());
        }
    }
}

/// The `code` of an `onStatus` command that is an error, from the start of the message.
pub(super) fn error_status(head: &[u8]) -> Option<String> {
    let has = |word: &[u8]| head.windows(word.len()).any(|window| window == word);
    if !has(b"onStatus") || !has(b"error") {
        return None;
    }
    let at = head.windows(10).position(|window| window == b"NetStream.")?;
    let code = head.get(at..)?.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'.');
    Some(code.map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message in chunks of 128 bytes.
    fn message(id: u8, kind: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32).to_be_bytes();
        let mut wire = vec![id, 0, 0, 1, len[1], len[2], len[3], kind, 1, 0, 0, 0];
        for (place, chunk) in body.chunks(CHUNK_SIZE).enumerate() {
            if place > 0 {
                wire.push(0xc0 | id);
            }
            wire.extend(chunk);
        }
        wire
    }

    fn wire() -> Vec<u8> {
        let mut wire = message(2, USER_CONTROL, &[0, 6, 1, 2, 3, 4]);
        wire.extend(message(4, 9, &[0x17; 400]));
        wire.extend(message(6, 8, &[0xaf; 10]));
        // The same again: only the time differs, then not even that.
        wire.extend([0x86, 0, 0, 23]);
        wire.extend([0xaf; 10]);
        wire.push(0xc6);
        wire.extend([0xaf; 10]);
        // An extended time, in a chunk stream with a long id.
        wire.extend([0x00, 10, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0, 1, 0, 0, 0]);
        wire.extend([0x27; 128]);
        wire.extend([0xc0, 10, 1, 0, 0, 0, 0x27, 0x27]);
        wire
    }

    #[test]
    fn messages_are_read_at_every_split() {
        let wire = wire();
        for split in 0..wire.len() {
            let mut reader = ChunkReader::default();
            let mut found = Vec::new();
            for part in [&wire[..split], &wire[split..]] {
                reader.feed(part, |message| found.push((message.kind, message.len, message.head.len()))).unwrap();
            }
            assert_eq!(
                found,
                [(4, 6, 6), (9, 400, HEAD_MAX), (8, 10, 10), (8, 10, 10), (8, 10, 10), (9, 130, 130)],
                "at {split}"
            );
            assert_eq!(reader.take_answers(), [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn messages_of_two_streams_may_alternate() {
        let (video, sound) = (message(4, 9, &[0x17; 200]), message(6, 8, &[0xaf; 10]));
        let mut wire = video[..12 + 128].to_vec();
        wire.extend(&sound);
        wire.extend(&video[12 + 128..]);
        let (mut reader, mut found) = (ChunkReader::default(), Vec::new());
        reader.feed(&wire, |message| found.push((message.kind, message.len))).unwrap();
        assert_eq!(found, [(8, 10), (9, 200)]);
    }

    #[test]
    fn the_chunk_size_changes_and_windows_are_acknowledged() {
        let (mut reader, mut found) = (ChunkReader::default(), 0);
        let mut wire = message(2, SET_CHUNK_SIZE, &[0, 0, 0x10, 0]);
        wire.extend(message(2, WINDOW_SIZE, &[0, 0, 1, 0]));
        wire.extend([4, 0, 0, 1, 0, 0x10, 0, 9, 1, 0, 0, 0]);
        wire.extend([0x17; 0x1000]);
        reader.feed(&wire, |message| found += message.len).unwrap();
        assert_eq!(found, 4 + 4 + 0x1000);
        let answers = reader.take_answers();
        assert_eq!((answers.len(), answers[7]), (16, ACKNOWLEDGEMENT));
        assert!(ChunkReader::default().feed(&message(2, SET_CHUNK_SIZE, &[0; 4]), |_| {}).is_err());
    }

    #[test]
    fn no_bytes_panic() {
        let mut seed = 7_u32;
        for _ in 0..2_000 {
            let mut reader = ChunkReader::default();
            let noise: Vec<u8> = (0..300)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            let _any = reader.feed(&noise, |_| {});
        }
    }

    #[test]
    fn an_error_of_the_stream_is_found() {
        let status =
            b"\x02\0\x08onStatus\0\x05\x03\0\x05level\x02\0\x05error\0\x04code\x02\0\x19NetStream.Publish.BadName\0\x0bx";
        assert_eq!(error_status(status).as_deref(), Some("NetStream.Publish.BadName"));
        assert_eq!(error_status(b"\x02\0\x08onStatus level status code NetStream.Play.Start"), None);
    }
}
