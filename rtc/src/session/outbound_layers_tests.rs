//! Simulcast towards a viewer, packet by packet: what a change of layers leaves on the wire.

use super::*;
use weir_source::Layer;

const LOW: TrackId = match TrackId::new(2) {
    Some(track) => track,
    None => TrackId::VIDEO,
};

fn layered(codec: Codec) -> Tracks {
    let mut tracks = Tracks::default();
    for (rank, id) in (0..).zip([TrackId::VIDEO, LOW]) {
        let mut track = weir_source::Track::new(id, codec, 90_000, 0);
        track.layer = Some(Layer { rid: format!("r{rank}"), rank, size: None });
        tracks = tracks.with(track.into());
    }
    tracks
}

fn bench(codec: Codec) -> Bench {
    let mut params = params();
    params.media[1].codecs[0].codec = codec;
    params.media[1].extensions.dependency_descriptor = Some(12);
    let mut bench = Bench::with(&params);
    bench.outbound.set_tracks(&layered(codec));
    bench
}

impl Bench {
    /// Makes this layer the wanted one.
    fn want(&mut self, layer: TrackId) {
        let flows = |track| LayerState { track, bits_per_second: 1, flowing: Some(Duration::from_secs(9)) };
        let mut states = [flows(TrackId::VIDEO), flows(LOW)];
        states[0].flowing = states[0].flowing.filter(|_| layer == TrackId::VIDEO);
        self.outbound.set_layers(self.now, &states);
    }
}

/// A packet of VP8 whose numbers all are `number`.
fn vp8(track: TrackId, number: u8, ms: i64, keyframe: bool) -> Packet {
    let payload = [0x90, 0xf0, 0x80, number, number, number & 0x1f, u8::from(!keyframe), 1, 2, 3, number];
    let origin = if track == LOW { 3_000_000_000 } else { 5_000 };
    Packet {
        timestamp: origin + u64::try_from(ms).unwrap() * 90,
        payload: payload.to_vec().into(),
        ..packet(track, u64::from(number) * 10, ms, keyframe)
    }
}

#[test]
fn numbers_time_and_pictures_go_on_over_a_change_of_layers() {
    let mut bench = bench(Codec::Vp8);
    bench.want(TrackId::VIDEO);
    let first = bench.see(&vp8(TrackId::VIDEO, 40, 1_000, true)).unwrap();
    assert_eq!(first.payload[3..6], [40, 40, 40 & 0x1f], "the first run is as it came");
    bench.want(LOW);
    let last = bench.see(&Packet { seq: 401, ..vp8(TrackId::VIDEO, 41, 1_040, false) }).unwrap();
    assert_eq!(bench.see(&vp8(LOW, 7, 1_040, false)), None, "a keyframe comes first");
    let changed = bench.see(&vp8(LOW, 8, 1_080, true)).unwrap();
    assert_eq!((changed.index, changed.timestamp.wrapping_sub(last.timestamp)), (last.index + 1, 40 * 90));
    assert_eq!(changed.payload[2..6], [0x80, 42, 42, 42 & 0x1f]);
    assert_eq!(changed.payload[6..], vp8(LOW, 8, 1_080, true).payload[6..]);
    assert_eq!(bench.see(&Packet { seq: 402, ..vp8(TrackId::VIDEO, 42, 1_080, false) }), None);
    // Back to a keyframe of an earlier picture: time stands still for a tick, but never goes back.
    bench.want(TrackId::VIDEO);
    let back = bench.see(&vp8(TrackId::VIDEO, 50, 1_060, true)).unwrap();
    assert_eq!((back.index, back.timestamp), (changed.index + 1, changed.timestamp + 1));
    assert_eq!(back.payload[3..6], [43, 43, 43 & 0x1f]);
    bench.want(LOW);
    let again = bench.see(&vp8(LOW, 20, 1_160, true)).unwrap();
    assert_eq!(again.timestamp.wrapping_sub(first.timestamp), 160 * 90, "what it was ahead is not kept");
}

#[test]
fn a_changed_and_padded_packet_comes_again_byte_for_byte() {
    // Also once the source sends another codec.
    [Codec::Vp8, Codec::H264].into_iter().for_each(comes_again_while_the_source_sends);
}

fn comes_again_while_the_source_sends(codec: Codec) {
    let mut bench = bench(Codec::Vp8);
    bench.want(TrackId::VIDEO);
    bench.forward(&vp8(TrackId::VIDEO, 40, 1_000, true)).unwrap();
    bench.want(LOW);
    bench.fill = Fill::Payload(60);
    let sent = bench.forward(&vp8(LOW, 8, 1_080, true)).unwrap();
    bench.outbound.set_tracks(&layered(codec));
    let wire_seq = u16::from_be_bytes([sent[2], sent[3]]);
    let outputs = bench.at(2_000).rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out));
    let resend = outputs.iter().find_map(|output| if let Output::Resend(resend) = output { Some(*resend) } else { None });
    let mut out = [0; 1_500];
    let (now, resend) = (bench.now, resend.unwrap());
    let len = bench.outbound.resend(now, &resend, &vp8(LOW, 8, 1_080, true), &bench.protect, &mut bench.stats, &mut out);
    assert_eq!(out[..len.unwrap()], sent, "SRTP must not see two contents under one index");
    assert_eq!(bench.open(sent).unwrap().payload[3], 41, "and the padding is no part of it");
}

#[test]
fn av1_frames_go_on_in_the_header_extension() {
    let mut bench = bench(Codec::Av1);
    let frame = |track, number: u8, ms, keyframe| {
        let mut packet = vp8(track, number, ms, keyframe);
        packet.extensions.dependency_descriptor = Some(vec![0xc0, 0, number, 0x80].into());
        packet
    };
    let numbered = |bench: &mut Bench, packet: &Packet| {
        let datagram = bench.forward(packet).unwrap();
        let place = datagram.windows(4).position(|bytes| bytes[0] == 0xc0 && bytes[3] == 0x80).unwrap();
        (u16::from_be_bytes([datagram[place + 1], datagram[place + 2]]), bench.open(datagram).unwrap().payload)
    };
    bench.want(TrackId::VIDEO);
    assert_eq!(numbered(&mut bench, &frame(TrackId::VIDEO, 40, 1_000, true)).0, 40);
    bench.want(LOW);
    let (number, payload) = numbered(&mut bench, &frame(LOW, 8, 1_080, true));
    assert_eq!((number, payload), (41, vp8(LOW, 8, 1_080, true).payload.to_vec()));
}

/// Which of 16 frames of AV1 go on, at numbers without a hole; all are layers 0, 2, 1, 2 in turn.
fn sixteen(bench: &mut Bench, from: u8) -> Vec<u8> {
    let mut gone_on = Vec::new();
    let mut last = None;
    for number in from..from + 16 {
        let (layer, needed, switch) = [(0, 0xff, 0xff), (2, 0xfc, 0), (1, 0xfe, 0), (2, 0xfc, 0)][usize::from(number) % 4];
        let mut packet = Packet { seq: number.into(), ..vp8(LOW, number, 1_000 + 40 * i64::from(number), number == 0) };
        packet.extensions.dependency_descriptor = Some(vec![0xc0 | layer, 0, number].into());
        packet.extensions.temporal = Some(weir_source::TemporalPlace { layer, needed, switch });
        let Some(seen) = bench.see(&packet) else { continue };
        assert!(last.is_none_or(|last| seen.index == last + 1), "what is left out makes no hole");
        last = Some(seen.index);
        gone_on.push(layer);
    }
    gone_on
}

#[test]
fn upper_temporal_layers_of_av1_are_left_out_where_the_line_does_not_carry_them() {
    let mut bench = bench(Codec::Av1);
    let set = |bench: &mut Bench, budget| {
        bench.outbound.budget = Some(budget);
        let state = |track, flowing| LayerState { track, bits_per_second: 100_000, flowing };
        bench.outbound.set_layers(bench.now, &[state(TrackId::VIDEO, None), state(LOW, Some(Duration::from_secs(9)))]);
    };
    set(&mut bench, 1_000_000);
    assert_eq!(sixteen(&mut bench, 0).len(), 16);
    // Sound is taken as 64 kb/s until it is known.
    set(&mut bench, 64_000 + 48_000);
    assert_eq!(sixteen(&mut bench, 16), [0; 4]);
    set(&mut bench, 64_000 + 80_000);
    assert_eq!(sixteen(&mut bench, 32), [0, 1, 0, 1, 0, 1, 0, 1], "the next frame allows it");
    set(&mut bench, 1_000_000);
    assert_eq!(sixteen(&mut bench, 49).len(), 1 + 13, "all from the next frame of the lowest on");
}

#[test]
fn the_wish_for_a_keyframe_names_the_layer() {
    let mut bench = bench(Codec::Vp8);
    bench.want(TrackId::VIDEO);
    bench.see(&vp8(TrackId::VIDEO, 40, 1_000, true)).unwrap();
    bench.at(1_000).want(LOW);
    let wishes = |outputs: Vec<Output>| -> Vec<TrackId> {
        outputs.iter().filter_map(|output| if let Output::KeyframeWanted(track) = output { Some(*track) } else { None }).collect()
    };
    assert_eq!(wishes(bench.poll().0), [LOW]);
    let mut all = Vec::new();
    for ms in 0..2_000 {
        bench.at(1_000 + ms).forward(&vp8(LOW, 7, 1_040, false));
        all.extend(wishes(bench.poll().0));
    }
    assert_eq!(all, [LOW; 3], "twice a second");
    assert_eq!(wishes(bench.rtcp(|out| rtcp::emit_pli(9, VIDEO_SSRC, out))), [], "within the same half second");
}
