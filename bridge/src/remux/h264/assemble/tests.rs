//! The assembler against the packetizer, and against what it must survive.

use proptest::prelude::*;
use weir_source::PacketExtensions;

use super::*;
use crate::remux::h264::Packetizer;

const SPS_NAL: &[u8] = &[
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x0f, 0x16, 0x2d, 0x96,
];
const PPS_NAL: &[u8] = &[0x68, 0xef, 0x8f, 0xcb];

fn ms(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

fn track() -> Arc<Track> {
    let mut sets = ParameterSets::default();
    sets.store(&Bytes::from_static(SPS_NAL));
    sets.store(&Bytes::from_static(PPS_NAL));
    let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    track.config = sets.record().expect("complete");
    Arc::new(track)
}

/// A slice NAL unit of `size` bytes: IDR, or P.
fn slice(idr: bool, size: usize) -> Vec<u8> {
    let mut nal = if idr { vec![0x65, 0x88] } else { vec![0x41, 0x9a] };
    nal.resize(size.max(2), 0xab);
    nal
}

fn unit(nals: &[Vec<u8>]) -> Bytes {
    let mut out = BytesMut::new();
    for nal in nals {
        out.put_u32(nal.len() as u32);
        out.put_slice(nal);
    }
    out.freeze()
}

fn frames(sizes: &[Vec<usize>], keyframe_every: usize) -> Vec<Frame> {
    let track = track();
    let make = |(index, sizes): (usize, &Vec<usize>)| {
        let idr = index % keyframe_every == 0;
        let mut nals: Vec<_> = sizes.iter().map(|size| slice(idr, *size)).collect();
        // first_mb_in_slice is one in all slices but the first.
        nals.iter_mut().skip(1).for_each(|nal| nal[1] = if idr { 0x42 } else { 0x5a });
        let time = ms(1_000 + 33 * index as i64);
        Frame::new(Arc::clone(&track), time, time, idr, unit(&nals))
    };
    sizes.iter().enumerate().map(make).collect()
}

fn packets(frames: &[Frame]) -> Vec<Packet> {
    let mut out = Vec::new();
    let mut packetizer = Packetizer::default();
    frames.iter().for_each(|frame| packetizer.push(frame, &mut out));
    out
}

fn assemble(packets: &[Packet]) -> (Assembler, Vec<Frame>) {
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    let mut next = packets.first().map_or(0, |packet| packet.seq);
    for packet in packets {
        if packet.seq != next {
            assembler.hole();
        }
        next = packet.seq + 1;
        assembler.push(packet, &mut out);
    }
    (assembler, out)
}

fn raw(seq: u64, timestamp: u64, marker: bool, payload: &[u8]) -> Packet {
    Packet {
        track: TrackId::VIDEO,
        epoch: 0,
        seq,
        timestamp,
        capture: MediaTime::from_ticks(timestamp as i64, 90_000),
        marker,
        keyframe: false,
        extensions: PacketExtensions::default(),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn sets_packet(seq: u64) -> Packet {
    let payload = [&[0x78, 0, SPS_NAL.len() as u8], SPS_NAL, &[0, PPS_NAL.len() as u8], PPS_NAL].concat();
    raw(seq, 90_000, false, &payload)
}

#[test]
fn facts_and_configuration_come_from_the_sets_in_band() {
    let (assembler, out) = assemble(&[sets_packet(0), raw(1, 90_000, true, &slice(true, 10))]);
    let track = assembler.track().expect("known");
    assert_eq!(out.len(), 1);
    assert!(out[0].keyframe);
    assert_eq!(track.config, self::track().config);
    assert_eq!(track.video.as_ref().map(|video| (video.width, video.height)), Some((640, 360)));
    assert_eq!(&out[0].data[..], &unit(&[slice(true, 10)])[..], "without the parameter sets");
}

#[test]
fn repeated_sets_make_no_new_track_and_changed_ones_do() {
    let mut source = frames(&vec![vec![50]; 4], 2);
    let mut all = packets(&source);
    let (_, out) = assemble(&all);
    assert!(out.iter().all(|frame| Arc::ptr_eq(&frame.track, &out[0].track)));

    source.truncate(2);
    all = packets(&source);
    let seq = all.len() as u64;
    all.push(raw(seq, 900_000, false, &[0x68, 0xee, 0x8f, 0xcb]));
    all.push(raw(seq + 1, 900_000, true, &slice(true, 9)));
    let (_, out) = assemble(&all);
    assert_eq!(out.len(), 3);
    assert_ne!(out[2].track.config, out[0].track.config);
}

#[test]
fn a25_fragments_with_start_and_end_at_once_and_empty_ones_are_tolerated() {
    let idr = slice(true, 40);
    let whole = [&[0x7c, 0xc5], &idr[1..]].concat();
    let (_, out) = assemble(&[sets_packet(0), raw(1, 90_000, true, &whole)]);
    assert_eq!(out[0].data, unit(std::slice::from_ref(&idr)));

    let parts = [
        sets_packet(0),
        raw(1, 90_000, false, &[0x7c, 0x85]),
        raw(2, 90_000, false, &[&[0x7c, 0x05], &idr[1..]].concat()),
        raw(3, 90_000, true, &[0x7c, 0x45]),
    ];
    let (_, out) = assemble(&parts);
    assert_eq!(out[0].data, unit(&[idr]));
}

#[test]
fn a25_malformed_payloads_cost_their_frame_and_what_depends_on_it() {
    let source = frames(&vec![vec![30]; 3], 1);
    // STAP-A whose size overruns, or is cut within its last; fragments without a start, and without an end.
    for bad in [&[0x78, 0x7f, 0xff, 1, 2][..], &[0x78, 0, 2, 0x41, 0x9a, 0, 9, 1], &[0x7c, 0x05, 1, 2], &[0x7c, 0x85, 1, 2]] {
        let mut all = packets(&source[..1]);
        let seq = all.len() as u64;
        all.push(raw(seq, 95_000, true, bad));
        all.push(raw(seq + 1, 98_000, true, &slice(false, 12)));
        all.push(raw(seq + 2, 101_000, true, &slice(true, 12)));
        let (assembler, out) = assemble(&all);
        assert_eq!(out.iter().map(|frame| frame.keyframe).collect::<Vec<_>>(), [true, true], "{bad:?}");
        assert_eq!(assembler.stats(), AssembleStats { holes: 0, damaged: 1, undecodable: 1 });
    }
}

#[test]
fn a25_aggregates_within_aggregates_and_forms_that_were_not_agreed_are_left_out() {
    let idr = slice(true, 12);
    let nested = [&[0x78, 0, 17, 0x78, 0, 14][..], &[0x65; 14], &[0, idr.len() as u8], &idr].concat();
    // STAP-B, MTAP16, MTAP24, FU-B, and types that are reserved (RFC 6184 section 5.2).
    let others = [25_u8, 26, 27, 29, 0, 30, 31].map(|kind| [0x60 | kind, 0, 1, 2, 3, 4, 5]);
    let mut all = vec![sets_packet(0), raw(1, 90_000, false, &nested)];
    all.extend(others.iter().zip(2..).map(|(payload, seq)| raw(seq, 90_000, false, payload)));
    all.push(raw(all.len() as u64, 90_000, true, &[]));
    let (assembler, out) = assemble(&all);
    assert_eq!(out.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>(), [unit(&[idr])]);
    assert_eq!(assembler.stats(), AssembleStats::default());
}

#[test]
fn a_lost_marker_does_not_join_two_frames() {
    let mut all = packets(&frames(&vec![vec![30]; 3], 3));
    all.iter_mut().for_each(|packet| packet.marker = false);
    let (_, out) = assemble(&all);
    assert_eq!(out.len(), 2, "the third waits for a packet after it");
}

#[test]
fn a26_a_fragment_without_end_is_cut_at_the_bound_and_all_goes_on_at_a_keyframe() {
    let (mut assembler, mut out) = (Assembler::default(), Vec::new());
    let chunk = [&[0x7c, 0x05][..], &[7; 60_000]].concat();
    assembler.push(&raw(0, 1, false, &[0x7c, 0x85, 7]), &mut out);
    for seq in 1..400 {
        assembler.push(&raw(seq, 1, false, &chunk), &mut out);
        let unit = assembler.unit.as_ref().expect("it goes on");
        assert!(unit.data.len() <= UNIT_BYTES_MAX && unit.data.capacity() <= 2 * UNIT_BYTES_MAX);
    }
    assert!(out.is_empty());
    // And what follows is seen from its keyframe on.
    for (seq, payload) in (400..).zip([slice(false, 9), slice(true, 9), slice(false, 9)]) {
        assembler.push(&sets_packet(0), &mut out);
        assembler.push(&raw(seq, 90_000 * seq, true, &payload), &mut out);
    }
    assert_eq!(out.iter().map(|frame| frame.keyframe).collect::<Vec<_>>(), [true, false]);
    assert!(assembler.unit.is_none());
}

#[test]
fn delimiters_filler_and_padding_leave_no_trace() {
    let all = [
        sets_packet(0),
        raw(1, 90_000, false, &[0x09, 0xf0]),
        raw(2, 90_000, false, &slice(true, 5)),
        raw(3, 90_000, false, &[0x0c, 0xff, 0x80]),
        raw(4, 90_000, true, &[]),
        raw(5, 93_000, true, &[]),
        raw(6, 96_000, true, &[0x06, 5, 1, 0, 0x80]),
        raw(7, 99_000, true, &slice(false, 5)),
    ];
    let (_, out) = assemble(&all);
    assert_eq!(
        out.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>(),
        [unit(&[slice(true, 5)]), unit(&[slice(false, 5)])]
    );
}

#[test]
fn times_rise_even_if_the_sender_repeats_or_reverses_them() {
    let mut all = packets(&frames(&vec![vec![30]; 4], 1));
    for packet in &mut all {
        packet.capture = ms(5_000 - packet.capture.as_millis());
    }
    let (_, out) = assemble(&all);
    assert_eq!(out.len(), 4);
    assert!(out.windows(2).all(|pair| pair[0].dts < pair[1].dts));
}

proptest! {
    #[test]
    fn frames_survive_the_way_through_packets(
        sizes in proptest::collection::vec(proptest::collection::vec(2usize..6_000, 1..6), 1..12),
        keyframe_every in 1usize..6,
    ) {
        let source = frames(&sizes, keyframe_every);
        let all = packets(&source);
        let (assembler, out) = assemble(&all);
        prop_assert_eq!(out.len(), source.len());
        for (out, source) in out.iter().zip(&source) {
            prop_assert_eq!(&out.data, &source.data);
            prop_assert_eq!((out.dts, out.pts, out.keyframe), (source.dts, source.pts, source.keyframe));
        }
        prop_assert_eq!(assembler.stats(), AssembleStats::default());
        for packet in &all {
            prop_assert!(packet.payload.len() <= crate::remux::h264::PAYLOAD_MAX);
        }
    }

    #[test]
    fn after_any_loss_frames_are_whole_and_start_again_at_a_keyframe(
        sizes in proptest::collection::vec(proptest::collection::vec(2usize..4_000, 1..4), 8..24),
        lost in proptest::collection::vec(any::<proptest::sample::Index>(), 1..6),
    ) {
        let source = frames(&sizes, 4);
        let mut all = packets(&source);
        for index in lost {
            all.remove(index.index(all.len()));
        }
        let mut next_may_be = 0;
        let (_, out) = assemble(&all);
        for frame in &out {
            let index = source.iter().position(|s| s.dts == frame.dts).expect("a frame of the source");
            prop_assert_eq!(&frame.data, &source[index].data);
            prop_assert!(index == next_may_be || frame.keyframe, "frame {} after {}", index, next_may_be);
            next_may_be = index + 1;
        }
    }

    #[test]
    fn a25_hostile_payloads_never_panic(
        payloads in proptest::collection::vec((any::<bool>(), 0u64..4, proptest::collection::vec(any::<u8>(), 0..40)), 0..60),
        aimed in proptest::collection::vec((prop_oneof![Just(24u8), Just(28), Just(5), Just(7), Just(8)], proptest::collection::vec(any::<u8>(), 0..30)), 0..60),
    ) {
        let (mut assembler, mut out) = (Assembler::default(), Vec::new());
        assembler.push(&sets_packet(0), &mut out);
        for (marker, timestamp, payload) in payloads {
            assembler.push(&raw(1, timestamp, marker, &payload), &mut out);
        }
        for (kind, mut payload) in aimed {
            payload.insert(0, kind);
            assembler.push(&raw(1, 7, false, &payload), &mut out);
        }
    }
}
