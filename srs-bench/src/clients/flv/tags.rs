//! FLV tags as they come (Adobe's FLV 10.1, E.2 to E.4), the start of each kept until it is whole.

use crate::clients::player::{HEAD_MAX, Message};

/// The file header with the first back pointer.
const FILE_HEADER_LEN: usize = 9 + 4;
const TAG_HEADER_LEN: usize = 11;
/// The back pointer behind each tag.
const POINTER_LEN: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TagReader {
    state: State,
    /// The header that is being read, or the start of the body.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    File,
    Tag,
    Body {
        kind: u8,
        len: usize,
        left: usize,
    },
    Pointer {
        left: usize,
    },
}

impl TagReader {
    /// Gives each message that is whole to `take`.
    pub(super) fn feed(&mut self, mut data: &[u8], mut take: impl FnMut(&Message<'_>)) -> Result<(), &'static str> {
        while !data.is_empty() {
            let used = match self.state {
                State::File => self.hold(data, FILE_HEADER_LEN),
                State::Tag => self.hold(data, TAG_HEADER_LEN),
                State::Body { left, .. } => {
                    let used = left.min(data.len());
                    let kept = used.min(HEAD_MAX.saturating_sub(self.held.len()));
                    self.held.extend_from_slice(data.get(..kept).unwrap_or_default());
                    used
                }
                State::Pointer { left } => left.min(data.len()),
            };
            data = data.get(used..).unwrap_or_default();
            self.advance(used, &mut take)?;
        }
        Ok(())
    }

    /// Adds to the header that is held, up to `len` of it.
    fn hold(&mut self, data: &[u8], len: usize) -> usize {
        let used = data.len().min(len - self.held.len());
        self.held.extend_from_slice(data.get(..used).unwrap_or_default());
        used
    }

    /// Goes on to what follows, if what there was is whole.
    fn advance(&mut self, used: usize, take: &mut impl FnMut(&Message<'_>)) -> Result<(), &'static str> {
        self.state = match (self.state, self.held.as_slice()) {
            (State::File, held) => {
                let start = held.len().min(3);
                if held.get(..start) != b"FLV".get(..start) {
                    return Err("the answer is no FLV");
                }
                if held.len() < FILE_HEADER_LEN { State::File } else { State::Tag }
            }
            (State::Tag, &[kind, l0, l1, l2, _, _, _, _, _, _, _]) => {
                let len = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
                // Reserved bits and the filter, which is for encrypted tags.
                State::Body { kind: kind & 0x1f, len, left: len }
            }
            (State::Body { kind, len, left }, _) => State::Body { kind, len, left: left - used },
            (State::Pointer { left }, _) => State::Pointer { left: left - used },
            (State::Tag, _) => return Ok(()),
        };
        match self.state {
            State::Body { kind, len, left: 0 } => {
                // An empty tag has its header still in there.
                let head = if len == 0 { &[][..] } else { &self.held };
                take(&Message { kind, len, head });
                self.state = State::Pointer { left: POINTER_LEN };
                self.held.clear();
            }
            State::Body { len, left, .. } if len == left => self.held.clear(),
            State::Pointer { left: 0 } => self.state = State::Tag,
            State::Tag => self.held.clear(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = (body.len() as u32).to_be_bytes();
        let mut tag = vec![kind, len[1], len[2], len[3], 0, 0, 0, 0, 0, 0, 0];
        tag.extend(body);
        tag.extend((body.len() as u32 + 11).to_be_bytes());
        tag
    }

    fn file() -> Vec<u8> {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        file.extend(tag(18, b"metadata"));
        file.extend(tag(9, &[0x17; 400]));
        file.extend(tag(8, b""));
        file.extend(tag(8, b"\xaf\x01x"));
        file
    }

    #[test]
    fn tags_are_read_at_every_split() {
        let file = file();
        for first in 0..file.len() {
            let mut reader = TagReader::default();
            let mut found = Vec::new();
            let second = (first + 7).min(file.len());
            for part in [&file[..first], &file[first..second], &file[second..]] {
                reader.feed(part, |message| found.push((message.kind, message.len, message.head.len()))).unwrap();
            }
            assert_eq!(found, [(18, 8, 8), (9, 400, HEAD_MAX), (8, 0, 0), (8, 3, 3)], "split at {first}");
        }
    }

    #[test]
    fn tags_are_read_byte_by_byte_and_little_is_held() {
        let mut reader = TagReader::default();
        let mut count = 0;
        for byte in file() {
            reader.feed(&[byte], |_| count += 1).unwrap();
            assert!(reader.held.len() <= HEAD_MAX);
        }
        assert_eq!(count, 4);
    }

    #[test]
    fn what_is_no_flv_is_refused() {
        assert!(TagReader::default().feed(b"<html>", |_| {}).is_err());
        assert!(TagReader::default().feed(b"FLx", |_| {}).is_err());
    }
}
