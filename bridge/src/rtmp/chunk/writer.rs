//! Messages → chunks. Every message starts with a full (type 0) header, so that what is written
//! here depends on nothing sent before and can be shared between players.

use super::{MessageKind, TIMESTAMP_EXTENDED};

/// The header of a message to write.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Chunk stream id, 2 to 63.
    pub chunk_stream: u8,
    /// Milliseconds.
    pub timestamp: u32,
    /// What it is.
    pub kind: MessageKind,
    /// Message stream id.
    pub stream_id: u32,
}

/// Length of a type 0 header with its one basic byte.
const FULL_HEADER_BYTES: usize = 12;

impl Header {
    /// Where the message stream id stands in what [`write()`] makes: a player on another message
    /// stream than the shared bytes were made for needs only these four bytes changed.
    pub const STREAM_ID_AT: std::ops::Range<usize> = 8..12;
}

/// Appends a message whose body is `parts`, one after the other, in chunks of `chunk_size` bytes
/// (at least 1). A body of 16 MiB or more does not fit the format and is cut.
pub fn write(out: &mut Vec<u8>, header: Header, parts: &[&[u8]], chunk_size: usize) {
    let chunk_size = chunk_size.max(1);
    let total = parts.iter().map(|part| part.len()).sum::<usize>().min(0xff_ffff);
    out.reserve(FULL_HEADER_BYTES + 4 + total + total / chunk_size * 5);
    let extended = header.timestamp >= TIMESTAMP_EXTENDED;
    let [_, length @ ..] = u32::try_from(total).unwrap_or_default().to_be_bytes();
    let [_, field @ ..] = header.timestamp.min(TIMESTAMP_EXTENDED).to_be_bytes();
    out.push(header.chunk_stream & 0x3f);
    out.extend_from_slice(&field);
    out.extend_from_slice(&length);
    out.push(header.kind.id());
    out.extend_from_slice(&header.stream_id.to_le_bytes());
    if extended {
        out.extend_from_slice(&header.timestamp.to_be_bytes());
    }
    let mut left = total;
    let mut room = chunk_size;
    for part in parts {
        let mut part = *part;
        while left > 0 && !part.is_empty() {
            if room == 0 {
                // Section 5.3.1.3: the extended timestamp is repeated in type 3 chunks.
                out.push(0xc0 | (header.chunk_stream & 0x3f));
                if extended {
                    out.extend_from_slice(&header.timestamp.to_be_bytes());
                }
                room = chunk_size;
            }
            let (now, later) = part.split_at(part.len().min(room).min(left));
            out.extend_from_slice(now);
            room -= now.len();
            left -= now.len();
            part = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rml_rtmp::chunk_io::ChunkDeserializer;

    proptest! {
        #[test]
        fn another_implementation_reads_what_we_write(
            messages in proptest::collection::vec(
                (2u8..64, prop_oneof![any::<u32>(), 0u32..100, Just(TIMESTAMP_EXTENDED)], 0u32..9, proptest::collection::vec(any::<u8>(), 0..700), 0usize..20),
                1..8,
            ),
            chunk_size in 1usize..300,
        ) {
            let mut theirs = ChunkDeserializer::new();
            theirs.set_max_chunk_size(chunk_size).unwrap();
            for (chunk_stream, timestamp, stream_id, body, cut) in messages {
                let mut out = Vec::new();
                let header = Header { chunk_stream, timestamp, kind: MessageKind::Video, stream_id };
                let (head, tail) = body.split_at(cut.min(body.len()));
                write(&mut out, header, &[head, &[], tail], chunk_size);
                let read = theirs.get_next_message(&out).unwrap().expect("a whole message");
                prop_assert_eq!(read.timestamp.value, timestamp);
                prop_assert_eq!(read.message_stream_id, stream_id);
                prop_assert_eq!(&read.data[..], &body[..]);
                prop_assert_eq!(&out[Header::STREAM_ID_AT], &stream_id.to_le_bytes());
            }
        }
    }
}
