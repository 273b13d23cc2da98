//! What the packetizer promises: sizes, order, and B-frames of a real encoder left out.

use std::sync::Arc;

use super::*;
use crate::remux::h264::Assembler;

/// Two seconds of x264 at 25/s, `-preset veryfast -bf 3 -g 25`: B-pyramid, one reference for P.
const FIXTURE: &[u8] = include_bytes!("../fixtures/bframes.flv");

/// The frames of an FLV file with one H.264 track.
fn fixture() -> Vec<Frame> {
    let mut rest = &FIXTURE[13..];
    let mut track = Track::new(TrackId::VIDEO, weir_source::Codec::H264, 90_000, 0);
    let mut frames = Vec::new();
    while let [9 | 18, s0, s1, s2, t0, t1, t2, ..] = *rest {
        let size = usize::from(s0) << 16 | usize::from(s1) << 8 | usize::from(s2);
        let dts = i64::from(t0) << 16 | i64::from(t1) << 8 | i64::from(t2);
        let body = &rest[11..11 + size];
        match *body {
            [0x17, 0, ..] if rest[0] == 9 => track.config = Bytes::from_static(&body[5..]),
            [kind, 1, c0, c1, c2, ..] if rest[0] == 9 => {
                let offset = i64::from(c0) << 16 | i64::from(c1) << 8 | i64::from(c2);
                let track = Arc::new(track.clone());
                let (dts, pts) = (MediaTime::from_millis(dts), MediaTime::from_millis(dts + offset));
                frames.push(Frame::new(track, dts, pts, kind == 0x17, Bytes::from_static(&body[5..])));
            }
            _ => {}
        }
        rest = &rest[11 + size + 4..];
    }
    frames
}

fn packetize(frames: &[Frame]) -> (Packetizer, Vec<Packet>) {
    let (mut packetizer, mut out) = (Packetizer::default(), Vec::new());
    frames.iter().for_each(|frame| packetizer.push(frame, &mut out));
    (packetizer, out)
}

fn is_b(frame: &Frame) -> bool {
    facts(&frame.data).0 == Some(SliceKind::Bidirectional)
}

#[test]
fn viewers_of_a_stream_with_b_frames_get_the_others_in_order() {
    let frames = fixture();
    assert_eq!(frames.len(), 50);
    let (packetizer, packets) = packetize(&frames);
    let b_frames = frames.iter().filter(|frame| is_b(frame)).count() as u64;
    let b_references = frames.iter().filter(|frame| is_b(frame) && facts(&frame.data).1).count() as u64;
    assert!(b_frames > 20 && b_references > 5, "the fixture has a B-pyramid");
    let expected = PacketizeStats { reordered: b_frames, reordered_references: b_references, undecodable: 0 };
    assert_eq!(packetizer.stats(), expected);

    let times: Vec<_> = packets.iter().filter(|packet| packet.marker).map(|packet| packet.timestamp).collect();
    assert_eq!(times.len() as u64, 50 - b_frames);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
    let expected: Vec<_> = frames.iter().filter(|frame| !is_b(frame)).map(|f| f.pts.to_ticks(90_000) as u64).collect();
    assert_eq!(times, expected, "at the times when they are shown");
}

#[test]
fn what_leaves_tells_decoders_that_gaps_are_intended_and_reads_back() {
    let frames = fixture();
    let (_, packets) = packetize(&frames);
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    packets.iter().for_each(|packet| assembler.push(packet, &mut out));
    let kept: Vec<_> = frames.iter().filter(|frame| !is_b(frame)).map(|frame| &frame.data).collect();
    assert_eq!(out.iter().map(|frame| &frame.data).collect::<Vec<_>>(), kept);
    let mut marked = ParameterSets::parse(&frames[0].track.config).expect("a record");
    assert_ne!(Some(&out[0].track.config), marked.record().as_ref());
    marked.allow_frame_num_gaps();
    assert_eq!(Some(&out[0].track.config), marked.record().as_ref());
}

#[test]
fn each_keyframe_starts_with_its_parameter_sets_in_one_marked_packet() {
    let (_, packets) = packetize(&fixture());
    let starts: Vec<_> = packets.iter().filter(|packet| packet.keyframe).collect();
    assert_eq!(starts.len(), 2);
    for start in starts {
        assert_eq!(nal::kind(start.payload[0]), STAP_A);
        assert_eq!(nal::kind(start.payload[3]), SPS);
        assert!(!start.marker);
        let next = &packets[start.seq as usize + 1];
        assert_eq!((next.timestamp, next.capture, next.keyframe), (start.timestamp, start.capture, false));
    }
    assert!(packets.iter().enumerate().all(|(index, packet)| packet.seq == index as u64));
}

#[test]
fn fragments_are_equal_but_for_a_last_that_is_not_longer() {
    for size in [1_161, 1_162, 2_000, 2_317, 2_318, 2_319, 50_000, 1_000_000] {
        let mut payloads = Vec::new();
        fragment(&Bytes::from(vec![0x65; size]), &mut payloads);
        let (last, others) = payloads.split_last().expect("some");
        assert!(others.iter().all(|payload| payload.len() == others[0].len() && payload.len() <= PAYLOAD_MAX));
        assert!(!last.is_empty() && last.len() <= others[0].len());
        assert!(others[0].len() - last.len() <= payloads.len(), "they differ as little as they can");
        assert_eq!(payloads.iter().map(|payload| payload.len() - 2).sum::<usize>(), size - 1);
        assert_eq!(payloads.iter().filter(|payload| payload[1] & 0x80 != 0).count(), 1);
        assert_eq!(payloads.iter().filter(|payload| payload[1] & 0x40 != 0).count(), 1);
    }
}

#[test]
fn small_neighbours_share_a_packet_and_keep_their_order() {
    let mut data = BytesMut::new();
    for size in [20usize, 500, 500, 500, 3_000, 30] {
        data.put_u32(size as u32);
        data.put_bytes(0x41, size);
    }
    let mut payloads = Vec::new();
    payload_units(&data.freeze(), false, &mut payloads);
    let kinds: Vec<_> = payloads.iter().map(|payload| nal::kind(payload[0])).collect();
    assert_eq!(kinds, [STAP_A, nal::SLICE, FU_A, FU_A, FU_A, nal::SLICE]);
    assert_eq!(payloads[0].len(), 1 + 22 + 502 + 502);
}

#[test]
fn nothing_is_sent_until_a_keyframe_nor_after_a_loss_until_the_next() {
    let frames = fixture();
    let (mut packetizer, mut out) = (Packetizer::default(), Vec::new());
    frames[1..25].iter().for_each(|frame| packetizer.push(frame, &mut out));
    assert!(out.is_empty());
    packetizer.push(&frames[25], &mut out);
    assert!(out[0].keyframe);
    packetizer.lose_sync();
    let sent = out.len();
    frames[26..].iter().for_each(|frame| packetizer.push(frame, &mut out));
    assert_eq!(out.len(), sent);
}

#[test]
fn an_encoder_without_reordering_keeps_its_parameter_sets() {
    let sps: &[u8] = &[0x67, 66, 0xc0, 30, 0xf4, 0x05, 0x01, 0x7f, 0xcb];
    let mut sets = ParameterSets::default();
    sets.store(&Bytes::from_static(sps));
    sets.store(&Bytes::from_static(&[0x68, 0xce, 0x3c, 0x80]));
    let mut track = Track::new(TrackId::VIDEO, weir_source::Codec::H264, 90_000, 0);
    track.config = sets.record().expect("complete");
    let mut packetizer = Packetizer::default();
    packetizer.take_config(&track);
    assert_eq!(packetizer.sets[0], sps);
}

#[test]
fn supplemental_information_is_left_out_where_it_is_not_wanted() {
    let kinds = |keep_sei: bool| {
        let mut payloads = Vec::new();
        let data: Vec<u8> = [&[0, 0, 0, 3, 6, 5, 1][..], &[0, 0, 0, 2, 0x65, 0x88]].concat();
        payload_units(&data.into(), !keep_sei, &mut payloads);
        payloads.iter().map(|payload| nal::kind(payload[0])).collect::<Vec<_>>()
    };
    assert_eq!((kinds(true), kinds(false)), (vec![STAP_A], vec![nal::IDR]));
    let key = &fixture()[0];
    let said: Vec<u8> = [&[0, 0, 0, 3, 6, 5, 1][..], &key.data].concat();
    let frame = Frame::new(Arc::clone(&key.track), key.dts, key.pts, true, said.into());
    let sent = |mut packetizer: Packetizer, frame| {
        let mut out = Vec::new();
        packetizer.push(frame, &mut out);
        out.into_iter().map(|packet| packet.payload).collect::<Vec<_>>()
    };
    assert_eq!(sent(Packetizer::new(false), &frame), sent(Packetizer::default(), key));
    assert_ne!(sent(Packetizer::new(true), &frame), sent(Packetizer::default(), key));
}
