//! Retransmissions on a stream of their own, opened as a viewer opens them.

use super::*;

const RTX_SSRC: u32 = 0x3333;

/// A player whose viewer offered RTX for H.264, but not for VP8.
fn bench() -> Bench {
    let mut params = params();
    params.media[1].rtx_ssrc = Some(RTX_SSRC);
    params.media[1].codecs[0].rtx_payload_type = Some(99);
    Bench::with(&params)
}

/// Asks for `wire_seq` and writes what comes of it, as a datagram.
fn again(bench: &mut Bench, wire_seq: u16, packet: &Packet) -> Option<Vec<u8>> {
    let outputs = bench.rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out));
    let [Output::Resend(resend)] = outputs[..] else { return None };
    let mut out = [0; 1_500];
    let len = bench.outbound.resend(bench.now, &resend, packet, &bench.protect, &mut bench.stats, &mut out)?;
    Some(out[..len].to_vec())
}

fn wire_seq(datagram: &[u8]) -> u16 {
    u16::from_be_bytes([datagram[2], datagram[3]])
}

fn start_at(bench: &mut Bench, next_seq: u64) {
    let rtx = bench.outbound.streams[1].rtx.as_mut().unwrap();
    *rtx = Rtx::starting_at(RTX_SSRC, next_seq);
}

#[test]
fn a_retransmission_is_the_original_behind_its_number() {
    let mut bench = bench();
    let packets: Vec<_> = (0..3).map(|seq| Packet { marker: seq == 1, ..video(seq, seq == 0) }).collect();
    let sent: Vec<_> = packets.iter().map(|packet| bench.forward(packet).unwrap()).collect();
    for (original, packet) in sent.iter().zip(&packets) {
        let mut datagram = again(&mut bench, wire_seq(original), packet).unwrap();
        let fresh = bench.outbound.streams[1].rtx.as_ref().unwrap().next_seq() - 1;
        assert!(fresh < 1 << 15, "the viewer cannot guess the roll-over counter wrongly");
        let opened = bench.viewer.rtp(&mut datagram).unwrap();
        assert_eq!(opened.index, fresh);
        let plain = rtp::Packet::parse(&datagram[..opened.plain_len]).unwrap();
        let first = rtp::Header::parse(original).unwrap();
        let expected = Fields { ssrc: RTX_SSRC, payload_type: 99, sequence: fresh as u16, ..first.fields };
        assert_eq!(plain.header.fields, expected, "with marker and timestamp of the original");
        assert_eq!(plain.payload[..2], original[2..4], "the original sequence number");
        assert_eq!(plain.payload[2..], packet.payload);
        let ids = bench.outbound.streams[1].ids;
        let values = Values::read(&plain.header.extensions, &ids);
        assert_eq!(values, Values::read(&first.extensions, &ids));
        assert_eq!((values.mid, values.video_orientation), (Some("v"), Some(1)));
    }
    assert_eq!((bench.stats.nack_served, bench.stats.nack_served_rtx), (3, 3));
    assert_eq!(bench.stats.packets_out, 6);
}

#[test]
fn the_same_packet_asked_for_twice_has_two_numbers() {
    let mut bench = bench();
    let original = bench.forward(&video(0, true)).unwrap();
    let first = again(&mut bench, wire_seq(&original), &video(0, true)).unwrap();
    assert_eq!(again(&mut bench, wire_seq(&original), &video(0, true)), None, "within the cool-down");
    let second = again(bench.at(1_000), wire_seq(&original), &video(0, true)).unwrap();
    assert_eq!(wire_seq(&second), wire_seq(&first).wrapping_add(1));
    let (first, second) = (bench.open(first).unwrap(), bench.open(second).unwrap());
    assert_eq!((first.index + 1, first.payload), (second.index, second.payload));
}

#[test]
fn numbers_go_on_over_the_roll_over() {
    let mut bench = bench();
    let originals: Vec<_> = (0..8).map(|seq| wire_seq(&bench.forward(&video(seq, seq == 0)).unwrap())).collect();
    // A viewer that has followed the stream so far.
    start_at(&mut bench, 0x7fff);
    let seen = again(&mut bench, originals[0], &video(0, true)).unwrap();
    assert_eq!(bench.open(seen).unwrap().index, 0x7fff);
    start_at(&mut bench, 0xfffd);
    for (seq, original) in (1..8).zip(&originals[1..]) {
        let datagram = again(&mut bench, *original, &video(seq, false)).unwrap();
        let seen = bench.open(datagram).unwrap();
        assert_eq!((seen.index, seen.payload[2..].to_vec()), (0xfffc + seq, seq.to_be_bytes().to_vec()));
    }
    assert_eq!(bench.outbound.streams[1].rtx.as_ref().unwrap().next_seq(), 0x1_0004);
}

#[test]
fn a_codec_without_rtx_is_sent_again_under_its_own_number() {
    let mut bench = bench();
    let tracks = |codec| Tracks::default().with(Track::new(TrackId::VIDEO, codec, 90_000, 0).into());
    let h264 = bench.forward(&video(0, true)).unwrap();
    bench.outbound.set_tracks(&tracks(Codec::Vp8));
    let vp8 = bench.forward(&video(1, true)).unwrap();
    assert_eq!(again(&mut bench, wire_seq(&vp8), &video(1, true)), Some(vp8));
    let repaired = again(&mut bench, wire_seq(&h264), &video(0, true)).unwrap();
    assert_eq!(bench.open(repaired).unwrap().payload_type, 99, "what it went out as decides");
    assert_eq!((bench.stats.nack_served, bench.stats.nack_served_rtx), (2, 1));
}

#[test]
fn a_retransmission_that_does_not_fit_takes_no_number() {
    let mut bench = bench();
    let original = bench.forward(&video(0, true)).unwrap();
    let outputs = bench.rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq(&original)], out));
    let [Output::Resend(resend)] = outputs[..] else { panic!("{outputs:?}") };
    let before = bench.outbound.streams[1].rtx.as_ref().unwrap().next_seq();
    let mut out = vec![0; original.len() + 1];
    let sealed = bench.outbound.resend(bench.now, &resend, &video(0, true), &bench.protect, &mut bench.stats, &mut out);
    assert_eq!((sealed, bench.stats.drops.too_large, bench.stats.nack_served), (None, 1, 0));
    assert_eq!(bench.outbound.streams[1].rtx.as_ref().unwrap().next_seq(), before);
}

#[test]
fn reports_count_the_stream_without_its_retransmissions() {
    let mut bench = bench();
    let original = bench.at(1_000).forward(&video(25, true)).unwrap();
    again(&mut bench, wire_seq(&original), &video(25, true)).unwrap();
    let (_, reports) = bench.at(2_000).poll();
    let [report] = reports[..] else { panic!("{reports:?}") };
    assert_eq!((report.ssrc, report.packets, report.octets), (VIDEO_SSRC, 1, 8));
    // Nor does what a viewer reports of the retransmissions.
    let block = ReportBlock { ssrc: RTX_SSRC, cumulative_lost: 7, ..ReportBlock::default() };
    bench.rtcp(|out| rtcp::emit_rr(9, &[block], out));
    let mut stats = SessionStats::default();
    bench.outbound.fill_stats(&mut stats);
    assert_eq!(stats.lost, 0);
}
