//! The chunk reader against another implementation on good input, and against its limits.

use proptest::prelude::*;
use rml_rtmp::{
    chunk_io::{ChunkDeserializer, ChunkSerializer},
    messages::MessagePayload,
    time::RtmpTimestamp,
};

use super::*;
use crate::rtmp::chunk::{Header, write};

const ROOMY: Limits = Limits { message_bytes: 1 << 20, partial_bytes: 1 << 20 };

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<Message>, ChunkError> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next_message(&mut input)? {
        messages.push(message);
    }
    Ok(messages)
}

/// A type 0 header for a message of `length` bytes.
fn full_header(chunk_stream: u8, timestamp: u32, length: u32, kind: u8) -> Vec<u8> {
    let mut bytes = vec![chunk_stream];
    bytes.extend_from_slice(&timestamp.min(TIMESTAMP_EXTENDED).to_be_bytes()[1..]);
    bytes.extend_from_slice(&length.to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend_from_slice(&1u32.to_le_bytes());
    if timestamp >= TIMESTAMP_EXTENDED {
        bytes.extend_from_slice(&timestamp.to_be_bytes());
    }
    bytes
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    [full_header(2, 0, 4, 1), size.to_be_bytes().to_vec()].concat()
}

proptest! {
    /// The serialiser uses all four header types; messages follow each other on one chunk stream
    /// per type, which is all that the other reader can take.
    #[test]
    fn a54_reads_the_same_as_another_implementation(
        messages in proptest::collection::vec(
            (prop_oneof![Just(8u8), Just(9), Just(18)], 0u32..60, 0usize..900, any::<u8>()),
            1..20,
        ),
        chunk_size in 1u32..400,
        start in prop_oneof![0u32..50_000, 16_777_000u32..16_778_000],
        splits in proptest::collection::vec(1usize..200, 1..40),
    ) {
        let mut serializer = ChunkSerializer::new();
        let mut bytes = serializer.set_max_chunk_size(chunk_size, RtmpTimestamp::new(0)).unwrap().bytes;
        let mut time = start;
        for (kind, step, length, fill) in messages {
            time += step;
            let payload = MessagePayload {
                timestamp: RtmpTimestamp::new(time),
                type_id: kind,
                message_stream_id: 1,
                data: vec![fill; length].into(),
            };
            bytes.extend(serializer.serialize(&payload, false, false).unwrap().bytes);
        }

        let mut theirs = ChunkDeserializer::new();
        let mut expected = Vec::new();
        let mut next = theirs.get_next_message(&bytes).unwrap();
        while let Some(message) = next {
            if message.type_id == 1 {
                theirs.set_max_chunk_size(chunk_size as usize).unwrap();
            } else {
                expected.push((message.type_id, message.timestamp.value, message.message_stream_id, message.data));
            }
            next = theirs.get_next_message(&[]).unwrap();
        }

        let mut reader = ChunkReader::new(ROOMY);
        let mut read = Vec::new();
        let mut input = BytesMut::new();
        let mut rest = &bytes[..];
        for split in splits.iter().cycle() {
            let (now, later) = rest.split_at((*split).min(rest.len()));
            input.extend_from_slice(now);
            while let Some(m) = reader.next_message(&mut input).unwrap() {
                read.push((m.kind.id(), m.timestamp, m.stream_id, m.payload));
            }
            prop_assert!(input.len() < 18, "only a header's start may be left");
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(read, expected);
        prop_assert_eq!((reader.open, reader.partial_bytes), (0, 0));
    }

    #[test]
    fn random_bytes_end_in_messages_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..4_000)) {
        let _either = read_all(&mut ChunkReader::new(ROOMY), &bytes);
    }

    #[test]
    fn a54_interleaved_messages_keep_apart(
        bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..600), 2..6),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 100),
        extended in any::<bool>(),
    ) {
        let timestamp = if extended { 20_000_000 } else { 7 };
        let mut queues: Vec<Vec<Vec<u8>>> = bodies.iter().enumerate().map(|(i, body)| {
            let header = Header { chunk_stream: 4 + i as u8, timestamp, kind: MessageKind::Video, stream_id: 1 };
            let mut bytes = Vec::new();
            write(&mut bytes, header, &[body], 128);
            cut_into_chunks(&bytes, body.len(), extended)
        }).collect();
        let mut wire = Vec::new();
        for index in &order {
            let index = index.index(queues.len());
            if !queues[index].is_empty() {
                wire.extend(queues[index].remove(0));
            }
        }
        wire.extend(queues.into_iter().flatten().flatten());
        let mut read: Vec<_> = read_all(&mut ChunkReader::new(ROOMY), &wire).unwrap().into_iter().map(|m| m.payload.to_vec()).collect();
        let mut expected = bodies;
        read.sort();
        expected.sort();
        prop_assert_eq!(read, expected);
    }
}

/// The chunks of 128 bytes that `write` made.
fn cut_into_chunks(bytes: &[u8], body: usize, extended: bool) -> Vec<Vec<u8>> {
    let extra = if extended { 4 } else { 0 };
    let (mut chunks, mut rest, mut left) = (Vec::new(), bytes, body);
    let mut header = 12 + extra;
    while left > 0 {
        let (chunk, later) = rest.split_at(header + left.min(128));
        chunks.push(chunk.to_vec());
        left -= left.min(128);
        rest = later;
        header = 1 + extra;
    }
    chunks
}

#[test]
fn a54_extended_timestamps_are_read_with_and_without_their_repetition() {
    for repeats in [true, false] {
        let mut bytes = full_header(6, 16_777_300, 300, 9);
        for part in 0..3 {
            if part > 0 {
                bytes.push(0xc6);
                if repeats {
                    bytes.extend_from_slice(&16_777_300u32.to_be_bytes());
                }
            }
            bytes.extend(vec![part; [128, 128, 44][usize::from(part)]]);
        }
        let read = read_all(&mut ChunkReader::new(ROOMY), &bytes).unwrap();
        assert_eq!(read.len(), 1, "repeats: {repeats}");
        assert_eq!(read[0].timestamp, 16_777_300);
        assert_eq!(read[0].payload.len(), 300);
        assert_eq!((read[0].payload[128], read[0].payload[299]), (1, 2));
    }
}

#[test]
fn a_new_message_with_a_type_3_header_takes_the_last_step() {
    let mut bytes = [full_header(4, 1_000, 1, 8), vec![1]].concat();
    bytes.extend([0x84, 0, 0, 20, 2]); // type 2: 20 ms on
    bytes.extend([0xc4, 3]);
    bytes.extend([0xc4, 4]);
    let times: Vec<_> = read_all(&mut ChunkReader::new(ROOMY), &bytes).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [1_000, 1_020, 1_040, 1_060]);
}

#[test]
fn a_type_3_header_after_a_full_extended_timestamp_does_not_double_it() {
    let mut bytes = [full_header(4, 0x0200_0000, 1, 8), vec![1]].concat();
    bytes.push(0xc4);
    bytes.extend_from_slice(&0x0200_0015u32.to_be_bytes());
    bytes.push(2);
    let times: Vec<_> = read_all(&mut ChunkReader::new(ROOMY), &bytes).unwrap().iter().map(|m| m.timestamp).collect();
    assert_eq!(times, [0x0200_0000, 0x0200_0015]);
}

#[test]
fn a53_chunk_stream_ids_of_one_two_and_three_bytes_are_told_apart() {
    let mut bytes = Vec::new();
    for basic in [vec![0x02], vec![0x3f], vec![0x00, 0], vec![0x00, 255], vec![0x01, 0, 1], vec![0x01, 255, 255]] {
        bytes.extend(basic);
        bytes.extend([0, 0, 1, 0, 0, 1, 8, 1, 0, 0, 0, 0xaa]);
    }
    let mut reader = ChunkReader::new(ROOMY);
    assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 6);
    let mut ids: Vec<_> = reader.streams.keys().copied().collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 63, 64, 319, 320, 65_599]);
}

#[test]
fn a54_a_chunk_stream_must_start_with_a_full_header_but_for_pings_of_librtmp() {
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &[0x83, 0, 0, 0]), Err(ChunkError::NoFirstHeader(3)));
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &[0xc3]), Err(ChunkError::NoFirstHeader(3)));
    let ping = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 7, 0, 0, 0, 1];
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &ping).unwrap()[0].stream_id, 0);
}

#[test]
fn a54_a_message_broken_off_by_another_is_an_error() {
    let mut bytes = full_header(4, 0, 300, 9);
    bytes.extend(vec![0; 128]);
    bytes.extend(full_header(4, 0, 200, 9));
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &bytes), Err(ChunkError::Interrupted(4)));
}

#[test]
fn a51_chunk_sizes_out_of_range_are_errors_and_huge_ones_cost_nothing() {
    for bad in [0, 1 << 31, u32::MAX] {
        assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &set_chunk_size(bad)), Err(ChunkError::BadChunkSize));
    }
    for good in [1, 127, 65_536, (1 << 31) - 1] {
        let bytes = [set_chunk_size(good), full_header(4, 0, 3, 9), vec![1, 0xc4, 2, 0xc4, 3]].concat();
        let bytes = if good == 1 { bytes } else { [set_chunk_size(good), full_header(4, 0, 3, 9), vec![1, 2, 3]].concat() };
        let mut reader = ChunkReader::new(ROOMY);
        assert_eq!(&read_all(&mut reader, &bytes).unwrap()[0].payload[..], [1, 2, 3]);
        assert!(reader.chunk_size <= CHUNK_SIZE_MAX);
    }
}

#[test]
fn a52_memory_grows_with_received_bytes_only() {
    let mut reader = ChunkReader::new(Limits { message_bytes: 8 << 20, partial_bytes: 16 << 20 });
    let bytes = [set_chunk_size(16 << 20), full_header(4, 0, 8 << 20, 9), vec![0; 100]].concat();
    assert_eq!(read_all(&mut reader, &bytes).unwrap().len(), 0);
    assert!(reader.streams[&4].payload.capacity() < 256);
}

#[test]
fn messages_longer_than_allowed_are_refused_at_their_header() {
    let mut reader = ChunkReader::new(Limits { message_bytes: 1_000, partial_bytes: 1_000 });
    let error = read_all(&mut reader, &full_header(4, 0, 1_001, 9));
    assert_eq!(error, Err(ChunkError::MessageTooLong { length: 1_001, allowed: 1_000 }));
}

#[test]
fn a53_unfinished_messages_are_bounded_in_number_and_bytes() {
    let mut reader = ChunkReader::new(Limits { message_bytes: 200, partial_bytes: 500 });
    let begin = |chunk_stream| [full_header(chunk_stream, 0, 200, 9), vec![0; 128]].concat();
    let bytes: Vec<u8> = (4..9).flat_map(begin).collect();
    assert_eq!(read_all(&mut reader, &bytes), Err(ChunkError::TooMuchUnfinished(500)));

    let begin = |id: u8| [vec![0, id], full_header(4, 0, 200, 9)[1..].to_vec(), vec![0; 128]].concat();
    let bytes: Vec<u8> = (0..=64).flat_map(begin).collect();
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &bytes), Err(ChunkError::TooManyStreams));

    let finished = |id: u16| {
        let [low, high] = id.to_le_bytes();
        [vec![1, low, high], full_header(4, 0, 1, 9)[1..].to_vec(), vec![0]].concat()
    };
    let bytes: Vec<u8> = (0..=256).flat_map(finished).collect();
    assert_eq!(read_all(&mut ChunkReader::new(ROOMY), &bytes), Err(ChunkError::TooManyStreams));
}

#[test]
fn a60_abort_forgets_what_came_of_a_message() {
    let mut bytes = full_header(4, 0, 300, 9);
    bytes.extend(vec![0; 128]);
    bytes.extend([full_header(2, 0, 4, 2), 4u32.to_be_bytes().to_vec()].concat());
    bytes.extend([full_header(4, 9, 2, 9), vec![7, 7]].concat());
    let mut reader = ChunkReader::new(ROOMY);
    let read = read_all(&mut reader, &bytes).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!((read[0].timestamp, &read[0].payload[..]), (9, &[7, 7][..]));
    assert_eq!((reader.open, reader.partial_bytes), (0, 0));
}

#[test]
fn empty_messages_are_messages() {
    let read = read_all(&mut ChunkReader::new(ROOMY), &full_header(4, 5, 0, 9)).unwrap();
    assert_eq!(read[0].payload.len(), 0);
}
