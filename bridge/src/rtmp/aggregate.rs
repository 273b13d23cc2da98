//! Aggregate messages (RTMP 1.0, section 7.1.6): several messages of one stream in one.

use bytes::Bytes;

use super::chunk::{Message, MessageKind};

/// Bytes of an inner message before and after its body: an FLV tag header and a back pointer.
const HEADER_BYTES: usize = 11;
const BACK_POINTER_BYTES: usize = 4;

/// Yields the inner messages one by one, so that a long aggregate costs no list. What follows an
/// inner message that does not fit is left out.
#[derive(Debug)]
pub(crate) struct Aggregate {
    outer: Message,
    at: usize,
    /// What turns inner timestamps into those of the stream, known from the first one.
    offset: Option<u32>,
}

impl Aggregate {
    pub(crate) fn new(outer: Message) -> Self {
        Self { outer, at: 0, offset: None }
    }
}

impl Iterator for Aggregate {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let body: &Bytes = &self.outer.payload;
        let [kind, s0, s1, s2, t0, t1, t2, t3, ..] = *body.get(self.at..)?.first_chunk::<HEADER_BYTES>()?;
        let size = usize::try_from(u32::from_be_bytes([0, s0, s1, s2])).ok()?;
        let start = self.at.checked_add(HEADER_BYTES)?;
        let end = start.checked_add(size).filter(|end| *end <= body.len())?;
        let inner = u32::from_be_bytes([t3, t0, t1, t2]);
        let offset = *self.offset.get_or_insert_with(|| self.outer.timestamp.wrapping_sub(inner));
        self.at = end.checked_add(BACK_POINTER_BYTES)?;
        Some(Message {
            kind: MessageKind::new(kind),
            stream_id: self.outer.stream_id,
            timestamp: inner.wrapping_add(offset),
            payload: body.slice(start..end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flv::{TagKind, tag};

    #[test]
    fn a60_inner_messages_keep_their_distances_and_lying_sizes_end_the_list() {
        let mut body = [tag(TagKind::Video, 100, &[b"v"]), tag(TagKind::Audio, 120, &[b"aa"])].concat();
        body.extend_from_slice(&[9, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
        let outer = Message { kind: MessageKind::Aggregate, stream_id: 1, timestamp: 5_000, payload: body.into() };
        let inner: Vec<_> = Aggregate::new(outer).map(|m| (m.kind, m.timestamp, m.payload.len())).collect();
        assert_eq!(inner, [(MessageKind::Video, 5_000, 1), (MessageKind::Audio, 5_020, 2)]);
    }
}
