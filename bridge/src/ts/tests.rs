//! The muxer against the strict reader of the crate mpeg2ts.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use mpeg2ts::{
    es::StreamType,
    pes::{PesPacket, PesPacketReader, ReadPesPacket},
    ts::{ReadTsPacket, TsPacket, TsPacketReader, TsPayload},
};
use proptest::prelude::*;
use weir_source::{Track, TrackId};

use super::*;

const BOTH: Layout = Layout { video: true, audio: true };
const SPS: [u8; 4] = [0x67, 0x42, 0xc0, 0x1e];
const PPS: [u8; 3] = [0x68, 0xce, 0x3c];

pub(super) fn video_track() -> Arc<Track> {
    let mut track = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    let mut config = vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4];
    config.extend_from_slice(&SPS);
    config.extend_from_slice(&[1, 0, 3]);
    config.extend_from_slice(&PPS);
    track.config = Bytes::from(config);
    Arc::new(track)
}

pub(super) fn audio_track() -> Arc<Track> {
    let mut track = Track::new(TrackId::AUDIO, Codec::Aac, 48_000, 2);
    track.config = Bytes::from_static(&[0x11, 0x90]);
    Arc::new(track)
}

pub(super) fn video(us: i64, composition_us: i64, keyframe: bool, size: usize) -> Frame {
    let mut data = u32::try_from(size).unwrap().to_be_bytes().to_vec();
    data.push(if keyframe { 0x65 } else { 0x41 });
    data.resize(4 + size, 0xab);
    let dts = MediaTime::from_micros(us);
    Frame::new(video_track(), dts, dts.offset(composition_us), keyframe, data.into())
}

pub(super) fn audio(us: i64, size: usize) -> Frame {
    let at = MediaTime::from_micros(us);
    Frame::new(audio_track(), at, at, true, vec![0x21; size].into())
}

pub(super) fn packets(stream: &[u8]) -> Vec<TsPacket> {
    assert_eq!(stream.len() % PACKET_BYTES, 0);
    let mut reader = TsPacketReader::new(stream);
    std::iter::from_fn(|| reader.read_ts_packet().expect("a legal packet")).collect()
}

pub(super) fn pes(stream: &[u8]) -> Vec<PesPacket<Vec<u8>>> {
    let mut reader = PesPacketReader::new(TsPacketReader::new(stream));
    let mut list: Vec<_> = std::iter::from_fn(|| reader.read_pes_packet().expect("legal PES packets")).collect();
    list.sort_by_key(|pes| pes.header.dts.or(pes.header.pts).map(|time| time.as_u64()));
    list
}

fn mux(layout: Layout, frames: &[Frame]) -> Vec<u8> {
    let mut muxer = Muxer::new(layout);
    let mut out = Vec::new();
    muxer.tables(&mut out);
    for frame in frames {
        muxer.write(frame, &mut out).expect("a good frame");
    }
    muxer.flush(&mut out);
    out
}

#[test]
fn a_keyframe_becomes_a_byte_stream_with_its_parameter_sets() {
    let stream = mux(BOTH, &[video(0, 40_000, true, 3), video(40_000, 0, false, 2)]);
    let pes = pes(&stream);
    let mut expected = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1];
    expected.extend_from_slice(&SPS);
    expected.extend_from_slice(&[0, 0, 0, 1]);
    expected.extend_from_slice(&PPS);
    expected.extend_from_slice(&[0, 0, 0, 1, 0x65, 0xab, 0xab]);
    assert_eq!(pes[0].data, expected);
    assert_eq!(pes[1].data, [0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x41, 0xab]);
    let times = |pes: &PesPacket<Vec<u8>>| (pes.header.pts.map(|t| t.as_u64()), pes.header.dts.map(|t| t.as_u64()));
    assert_eq!(times(&pes[0]), (Some(93_600), Some(90_000)));
    assert_eq!(times(&pes[1]), (Some(93_600), None), "a decoding time is written only where it differs");
    let random_access: Vec<_> = packets(&stream)
        .iter()
        .filter(|packet| matches!(packet.payload, Some(TsPayload::PesStart(_))))
        .map(|packet| packet.adaptation_field.as_ref().is_some_and(|field| field.random_access_indicator))
        .collect();
    assert_eq!(random_access, [true, false]);
}

#[test]
fn tables_declare_what_there_is() {
    let kinds = |layout| {
        let stream = mux(layout, &[]);
        let list = packets(&stream);
        let Some(TsPayload::Pmt(map)) = &list[1].payload else { panic!("the second packet is the map") };
        let types: Vec<_> = map.es_info.iter().map(|info| info.stream_type).collect();
        (types, map.pcr_pid.map(|pid| pid.as_u16()))
    };
    assert_eq!(kinds(BOTH), (vec![StreamType::H264, StreamType::AdtsAac], Some(0x100)));
    assert_eq!(kinds(Layout { video: true, audio: false }), (vec![StreamType::H264], Some(0x100)));
    assert_eq!(kinds(Layout { video: false, audio: true }), (vec![StreamType::AdtsAac], Some(0x101)));
}

#[test]
fn audio_frames_share_a_pes_packet_unless_there_is_a_gap() {
    let step = 21_333;
    let frames = [audio(0, 10), audio(step, 10), audio(2 * step, 10), audio(3 * step, 10), audio(9 * step, 10)];
    let stream = mux(BOTH, &frames);
    let pes = pes(&stream);
    let seen: Vec<_> = pes.iter().map(|pes| (pes.header.pts.map_or(0, |t| t.as_u64()), pes.data.len())).collect();
    assert_eq!(seen, [(90_000, 51), (95_760, 17), (107_280, 17)]);
    assert_eq!(pes[0].data[..7], [0xff, 0xf1, 0x4c, 0x80, 0x02, 0x3f, 0xfc]);
}

#[test]
fn times_wrap_at_33_bits() {
    // Two frames around 2^33 ticks of 90 kHz, our offset of one second included.
    let wrap_us = ((1i64 << 33) - 90_000) * 100 / 9;
    let stream = mux(BOTH, &[video(wrap_us - 20_000, 0, true, 9), video(wrap_us + 20_000, 0, false, 9)]);
    let mut times: Vec<_> = pes(&stream).iter().filter_map(|pes| pes.header.pts).map(|time| time.as_u64()).collect();
    times.sort_unstable();
    assert_eq!(times, [1_800, (1 << 33) - 1_800]);
}

#[test]
fn the_clock_comes_every_100_ms_though_pictures_are_rare() {
    let mut frames = vec![video(0, 0, true, 5)];
    frames.extend((0..40).map(|i| audio(i * 21_333, 20)));
    let stream = mux(BOTH, &frames);
    let clocks: Vec<_> = packets(&stream)
        .iter()
        .filter(|packet| packet.header.pid.as_u16() == 0x100)
        .filter_map(|packet| packet.adaptation_field.as_ref()?.pcr.map(|pcr| pcr.as_u64() / 300))
        .collect();
    assert!(clocks.len() > 8, "{clocks:?}");
    assert!(clocks.windows(2).all(|pair| pair[1] > pair[0] && pair[1] - pair[0] <= 13_000), "{clocks:?}");
}

#[test]
fn what_does_not_add_up_is_refused_and_leaves_nothing() {
    let mut muxer = Muxer::new(BOTH);
    let mut out = Vec::new();
    let mut with = |data: &'static [u8], config: &'static [u8], keyframe| {
        let mut track = (*video_track()).clone();
        track.config = Bytes::from_static(config);
        let frame = Frame::new(Arc::new(track), MediaTime::ZERO, MediaTime::ZERO, keyframe, Bytes::from_static(data));
        muxer.write(&frame, &mut out)
    };
    for bad in [&b""[..], b"\0\0", b"\0\0\0\x05abc", b"\xff\xff\xff\xff\x65", b"\0\0\0\0", b"\0\0\0\x01\x09"] {
        assert_eq!(with(bad, &[], false), Err(MuxError::BadFrame), "{bad:02x?}");
    }
    for bad in [&b""[..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 0xe1, 0xff, 0xff, 1], &[1, 2, 3, 4, 5, 0xe0, 0]] {
        assert_eq!(with(b"\0\0\0\x01\x65", bad, true), Err(MuxError::BadConfig), "{bad:02x?}");
    }
    let opus = Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2));
    let frame = Frame::new(opus, MediaTime::ZERO, MediaTime::ZERO, true, Bytes::from_static(b"x"));
    assert_eq!(muxer.write(&frame, &mut out), Err(MuxError::NotDeclared));
    assert!(out.is_empty());
}

proptest! {
    #[test]
    fn any_sizes_make_whole_packets_with_unbroken_counters(
        sizes in proptest::collection::vec((1usize..2_000, 1usize..800, any::<bool>(), 0i64..3), 1..40)
    ) {
        let mut frames = Vec::new();
        for (i, (video_size, audio_size, keyframe, composition)) in sizes.iter().enumerate() {
            frames.push(video(i as i64 * 40_000, composition * 40_000, *keyframe, *video_size));
            frames.push(audio(i as i64 * 42_666, *audio_size));
            frames.push(audio(i as i64 * 42_666 + 21_333, *audio_size));
        }
        let stream = mux(BOTH, &frames);
        let mut next: HashMap<u16, u8> = HashMap::new();
        for packet in packets(&stream) {
            if packet.payload.is_some() {
                let counter = packet.header.continuity_counter.as_u8();
                let expected = next.insert(packet.header.pid.as_u16(), (counter + 1) & 15).unwrap_or(counter);
                prop_assert_eq!(counter, expected);
            }
        }
        let (mut pictures, mut sound) = (0, 0);
        for pes in pes(&stream) {
            if pes.header.stream_id.as_u8() == 0xe0 { pictures += 1 } else { sound += pes.data.len() }
        }
        prop_assert_eq!(pictures, sizes.len());
        prop_assert_eq!(sound, sizes.iter().map(|size| 2 * (size.1 + 7)).sum::<usize>());
    }

    #[test]
    fn no_bytes_can_panic(config in proptest::collection::vec(any::<u8>(), 0..64), data in proptest::collection::vec(any::<u8>(), 0..64), keyframe: bool) {
        let mut muxer = Muxer::new(BOTH);
        let mut out = Vec::new();
        for mut track in [(*video_track()).clone(), (*audio_track()).clone()] {
            track.config = config.clone().into();
            let frame = Frame::new(Arc::new(track), MediaTime::ZERO, MediaTime::ZERO, keyframe, data.clone().into());
            let _either = muxer.write(&frame, &mut out);
        }
        muxer.flush(&mut out);
        prop_assert_eq!(out.len() % PACKET_BYTES, 0);
    }
}
