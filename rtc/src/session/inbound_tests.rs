//! The publisher's side against plain packets, in virtual time.

use weir_source::{Codec, TrackId};

use super::*;
use crate::{
    sdp::{CodecParams, Direction, DtlsRole, IceCredentials},
    session::output::Compounds,
    wire::{Ntp, rtcp},
};

const VIDEO_SSRC: u32 = 0x1111;
const AUDIO_SSRC: u32 = 0x2222;

fn codec(codec: Codec, payload_type: u8) -> CodecParams {
    let video = codec.kind() == MediaKind::Video;
    CodecParams {
        codec,
        payload_type,
        clock_rate: if video { 90_000 } else { 48_000 },
        channels: if video { 0 } else { 2 },
        fmtp: String::new(),
        rtx_payload_type: video.then_some(payload_type + 10),
        nack: video,
        pli: video,
        transport_cc: true,
        remb: false,
    }
}

fn params() -> SessionParams {
    let ids = crate::sdp::ExtensionIds { mid: Some(4), transport_cc: Some(3), ..Default::default() };
    let section = |mid: &str, kind, track, codecs, local_ssrc| MediaParams {
        mid: mid.into(),
        kind,
        track,
        codecs,
        extensions: ids,
        local_ssrc,
        remote_ssrcs: vec![],
        layers: vec![],
        rtx_ssrc: None,
    };
    let ice = || IceCredentials { ufrag: "ufrg".into(), pwd: "0123456789012345678901".into() };
    SessionParams {
        direction: Direction::Publish,
        local_ice: ice(),
        remote_ice: ice(),
        remote_fingerprints: vec![],
        dtls_role: DtlsRole::Passive,
        cname: "c".into(),
        layer_max: None,
        terms: crate::sdp::Terms::default(),
        media: vec![
            section("0", MediaKind::Audio, TrackId::AUDIO, vec![codec(Codec::Opus, 111)], 1),
            section("1", MediaKind::Video, TrackId::VIDEO, vec![codec(Codec::H264, 96), codec(Codec::Vp8, 97)], 2),
        ],
    }
}

struct Bench {
    inbound: Inbound,
    stats: SessionStats,
    start: Instant,
    now: Instant,
    transport_seq: u16,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let inbound = Inbound::new(&params(), start, start);
        Self { inbound, stats: SessionStats::default(), start, now: start, transport_seq: 0 }
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.start + Duration::from_millis(ms);
        self
    }

    fn rtp(&mut self, ssrc: u32, payload_type: u8, index: u64, timestamp: u32, mid: Option<&str>, payload: &[u8]) {
        let fields = rtp::Fields { marker: true, payload_type, sequence: index as u16, timestamp, ssrc };
        let values = Values { mid, transport_seq: Some(self.transport_seq), ..Values::default() };
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let mut data = [0; 256];
        let len = fields.emit_with(false, &values, &self.inbound.ids, &mut data).unwrap();
        data[len..len + payload.len()].copy_from_slice(payload);
        self.inbound.handle_rtp(self.now, index, &data[..len + payload.len()], &mut self.stats);
    }

    fn video(&mut self, index: u64, payload: &[u8]) {
        let timestamp = (self.now - self.start).as_millis() as u32 * 90;
        self.rtp(VIDEO_SSRC, 96, index, timestamp, None, payload);
    }

    fn take(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        self.inbound.take_packets(&mut out);
        out
    }

    /// What the publisher is told, as text.
    fn poll(&mut self) -> Vec<String> {
        let mut compounds = Compounds::default();
        self.inbound.poll(self.now, &mut self.stats, &mut compounds);
        let mut said = Vec::new();
        for compound in compounds.iter() {
            for packet in Compound::new(compound) {
                match packet {
                    Rtcp::Rr(report) => {
                        said.extend(report.blocks().map(|b| format!("rr {:x} lost {}", b.ssrc, b.cumulative_lost)))
                    }
                    Rtcp::Nack(nack) => said.push(format!("nack {:x} {:?}", nack.media_ssrc, nack.lost().collect::<Vec<_>>())),
                    Rtcp::Pli { media_ssrc, .. } => said.push(format!("pli {media_ssrc:x}")),
                    Rtcp::TransportFeedback(f) => said.push(format!("twcc {}+{}", f.base_sequence, f.status_count)),
                    other => said.push(format!("{other:?}")),
                }
            }
        }
        said
    }
}

#[test]
fn the_only_codec_of_a_section_is_known_at_once_and_others_by_their_first_packet() {
    let mut bench = Bench::new();
    let tracks = bench.inbound.take_tracks().unwrap();
    assert_eq!((tracks.audio().map(|t| t.codec), tracks.video().is_none()), (Some(Codec::Opus), true));
    bench.rtp(VIDEO_SSRC, 97, 5, 0, None, &[0x10, 0]);
    let tracks = bench.inbound.take_tracks().unwrap();
    assert_eq!(tracks.video().map(|t| (t.id, t.codec, t.clock_rate)), Some((TrackId::VIDEO, Codec::Vp8, 90_000)));
    bench.rtp(VIDEO_SSRC, 97, 6, 0, None, &[0]);
    assert!(bench.inbound.take_tracks().is_none());
    bench.rtp(VIDEO_SSRC, 96, 7, 3_000, None, &[0x65]);
    assert_eq!(bench.inbound.take_tracks().unwrap().video().map(|t| t.codec), Some(Codec::H264), "it may change its mind");
}

#[test]
fn packets_are_numbered_timed_and_marked() {
    let mut bench = Bench::new();
    bench.at(500).video(65_530, &[0x67, 1]);
    bench.video(65_531, &[0x65, 1]);
    bench.at(540).video(65_532, &[0x41, 1]);
    let packets = bench.take();
    assert_eq!(
        packets.iter().map(|p| (p.seq, p.keyframe)).collect::<Vec<_>>(),
        [(65_530, true), (65_531, false), (65_532, false)]
    );
    assert_eq!(packets[0].capture, MediaTime::from_millis(500));
    assert_eq!(packets[2].capture - packets[0].capture, 40_000);
    assert_eq!(packets[2].timestamp - packets[0].timestamp, 3_600);
    assert_eq!(packets[1].payload.as_ref(), [0x65, 1]);
    assert!(bench.take().is_empty());
}

#[test]
fn unknown_streams_are_bound_by_mid_before_payload_type_and_never_without_either() {
    let mut bench = Bench::new();
    bench.rtp(5, 111, 1, 0, Some("0"), b"x");
    bench.rtp(6, 96, 1, 0, Some("1"), b"x");
    bench.rtp(7, 50, 1, 0, Some("1"), b"x");
    bench.rtp(8, 50, 1, 0, None, b"x");
    bench.rtp(9, 111, 1, 0, Some("1"), b"x");
    assert_eq!(bench.take().iter().map(|p| p.track).collect::<Vec<_>>(), [TrackId::AUDIO, TrackId::VIDEO]);
    assert_eq!(bench.stats.drops.unbound, 3);
}

#[test]
fn a_second_stream_of_a_section_waits_until_the_first_is_silent() {
    let mut bench = Bench::new();
    bench.at(100).video(10, &[0x65]);
    bench.rtp(9, 96, 700, 1, None, &[0x65]);
    assert_eq!((bench.take().len(), bench.stats.drops.unbound), (1, 1));
    bench.at(2_100).rtp(9, 96, 701, 4_000_000, None, &[0x65]);
    bench.at(2_140).rtp(9, 96, 702, 4_003_600, None, &[0x41]);
    let packets = bench.take();
    assert_eq!(packets.iter().map(|p| p.seq).collect::<Vec<_>>(), [11, 12], "the track's numbers go on");
    assert!(packets[0].capture > MediaTime::from_millis(2_000));
    assert_eq!(packets[1].capture - packets[0].capture, 40_000);
}

#[test]
fn a21_a_flood_of_streams_takes_no_more_than_its_bound() {
    let mut bench = Bench::new();
    for ssrc in 0..10_000 {
        bench.rtp(ssrc, 96, 1, 0, None, b"x");
    }
    assert!(bench.inbound.streams.len() <= STREAMS_MAX);
    assert_eq!(bench.take().len(), 1);
}

#[test]
fn a22_a23_lying_headers_cost_their_own_packet() {
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    let plain = |first: u8, rest: &[u8]| {
        let mut data = vec![first, 0x80 | 96, 0, 11, 0, 0, 0, 9, 0, 0, 0x11, 0x11];
        data.extend_from_slice(rest);
        data
    };
    let refused = [
        ("version 1", plain(0x40, &[0x41])),
        ("fifteen sources in thirteen bytes", plain(0x8f, &[0x41])),
        ("padding of 0", plain(0xa0, &[0x41, 0])),
        ("padding longer than the payload", plain(0xa0, &[0x41, 9])),
        ("padding of nothing", plain(0xa0, &[])),
        ("an extension of 65,535 words", plain(0x90, &[0xbe, 0xde, 0xff, 0xff, 0, 0, 0, 0, 0x41])),
        ("an extension that is cut off", plain(0x90, &[0xbe, 0xde, 0])),
    ];
    for (name, data) in &refused {
        bench.inbound.handle_rtp(bench.now, 11, data, &mut bench.stats);
        assert_eq!(bench.take().len(), usize::from(bench.stats.drops.malformed == 1), "{name}");
    }
    assert_eq!(bench.stats.drops.malformed, refused.len() as u64);
    let read = [
        ("id 15", plain(0x90, &[0xbe, 0xde, 0, 1, 0xf0, 1, 2, 3, 0x41])),
        ("an element past the end", plain(0x90, &[0xbe, 0xde, 0, 1, 0x4f, 1, 2, 3, 0x41])),
        ("two-byte elements of no bytes", plain(0x90, &[0x10, 0, 0, 1, 4, 0, 3, 0, 0x41])),
        ("a transport number of no bytes", plain(0x90, &[0x10, 0, 0, 1, 3, 0, 0, 0, 0x41])),
        ("a profile that is none", plain(0x90, &[0x12, 0x34, 0, 1, 1, 2, 3, 4, 0x41])),
        ("no words", plain(0x90, &[0xbe, 0xde, 0, 0, 0x41])),
    ];
    for ((name, data), index) in read.iter().zip(11..) {
        bench.inbound.handle_rtp(bench.now, index, data, &mut bench.stats);
        let taken = bench.take();
        assert_eq!(taken.iter().map(|packet| &packet.payload[..]).collect::<Vec<_>>(), [[0x41]], "{name}");
    }
    assert_eq!(bench.stats.drops.malformed, refused.len() as u64);
}

#[test]
fn a24_retransmissions_of_nothing_of_others_and_of_themselves_are_dropped() {
    const RTX_SSRC: u32 = 0x3333;
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    bench.at(1).video(12, &[0x41]);
    bench.at(11).poll();
    bench.take();
    bench.at(20);
    // Too short for a number; a number without a payload.
    for payload in [&[][..], &[0], &[0, 9]] {
        bench.rtp(RTX_SSRC, 106, 700, 90, None, payload);
    }
    assert!(bench.take().is_empty());
    // For a payload type that nobody agreed to, of the other codec, and of the retransmission itself.
    bench.rtp(RTX_SSRC, 108, 701, 90, None, &[0, 11, 0x41]);
    bench.rtp(RTX_SSRC + 1, 111, 701, 90, None, &[0, 11, 0x41]);
    bench.rtp(RTX_SSRC, 106, 702, 90, None, &702_u16.to_be_bytes());
    bench.rtp(RTX_SSRC, 106, 703, 90, None, &[700_u16.to_be_bytes(), [0x41, 0]].concat());
    let taken = bench.take();
    assert!(taken.iter().all(|packet| packet.track == TrackId::AUDIO), "{taken:?}");
    // Every number there is, but the one that is missing.
    for number in (0..=u16::MAX).filter(|number| *number != 11) {
        bench.rtp(RTX_SSRC, 106, 1_000 + u64::from(number), 90, None, &[&number.to_be_bytes()[..], &[0x41]].concat());
    }
    assert!(bench.take().is_empty() && bench.inbound.streams.len() <= STREAMS_MAX);
    assert!(bench.stats.drops.padding >= 65_535, "{:?}", bench.stats.drops);
    assert_eq!(bench.stats.recovered, 0);
    bench.rtp(RTX_SSRC, 106, 70_000, 90, None, &[0, 11, 0x41, 7]);
    assert_eq!((bench.take().len(), bench.stats.recovered), (1, 1), "what was asked for is taken");
}

#[test]
fn a27_goodbyes_for_others_and_reports_that_lie_change_no_stream() {
    let mut bench = Bench::new();
    bench.at(100).video(10, &[0x65]);
    let mut goodbye = Vec::new();
    rtcp::emit_bye(0x9999, &mut goodbye);
    // A count beyond the packet, a length of 0, an unknown type.
    let lies = [&[0x9f, 203, 0, 1, 0, 0, 0x11, 0x11][..], &[0x9f, 200, 0, 0], &[0x9f, 201, 0, 1, 0, 0, 0, 1], &[0x80, 210, 0, 0]];
    let data = [&goodbye[..], &lies.concat()].concat();
    bench.inbound.handle_rtcp(bench.now, &data, &mut bench.stats);
    assert_eq!(bench.stats.drops.malformed, 3);
    bench.rtp(9, 96, 700, 1, None, &[0x65]);
    assert_eq!((bench.take().len(), bench.stats.drops.unbound), (1, 1), "another stream does not take its place");
    let mut goodbye = Vec::new();
    rtcp::emit_bye(VIDEO_SSRC, &mut goodbye);
    bench.inbound.handle_rtcp(bench.now, &goodbye, &mut bench.stats);
    bench.rtp(9, 96, 701, 1, None, &[0x65]);
    assert_eq!(bench.take().len(), 1, "its own goodbye counts");
}

#[test]
fn holes_are_asked_for_and_end_in_one_keyframe_request() {
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    bench.at(1).video(12, &[0x41]);
    assert!(bench.poll().is_empty());
    bench.at(11);
    assert_eq!(bench.inbound.next_due(), Some(bench.now));
    assert_eq!(bench.poll(), ["nack 1111 [11]"]);
    let mut said = Vec::new();
    for ms in (20..1_900).step_by(10) {
        said.extend(bench.at(ms).poll());
    }
    assert_eq!(said.iter().filter(|line| line.starts_with("pli")).count(), 1);
    assert!(said.iter().filter(|line| line.starts_with("nack")).count() <= 10);
    assert!(said.iter().any(|line| line.as_str() == "rr 1111 lost 1"), "{said:?}");
}

#[test]
fn a_repaired_packet_is_passed_on_late_and_tells_the_round_trip() {
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    bench.at(1).video(12, &[0x41]);
    bench.at(11).poll();
    bench.at(51).video(11, &[0x41]);
    assert_eq!(bench.take().iter().map(|p| p.seq).collect::<Vec<_>>(), [10, 12, 11]);
    assert_eq!((bench.stats.recovered, bench.inbound.rtt), (1, Some(Duration::from_millis(40))));
    assert!(bench.at(5_000).poll().iter().all(|line| !line.starts_with("pli")));
}

#[test]
fn a24_a_retransmission_takes_the_place_of_what_was_lost_and_a_probe_takes_none() {
    const RTX_SSRC: u32 = 0x3333;
    let mut bench = Bench::new();
    bench.at(0).video(65_535, &[0x65]);
    bench.at(1).video(65_537, &[0x41]);
    bench.at(11).poll();
    // 65_536 stands as 0 on the wire.
    bench.at(51).rtp(RTX_SSRC, 106, 700, 90, None, &[0, 0, 0x41, 7]);
    bench.rtp(RTX_SSRC, 106, 701, 90, None, &[0, 1, 0x41, 8]);
    bench.rtp(RTX_SSRC, 106, 702, 90, None, &[0, 0, 0x41, 7]);
    bench.rtp(RTX_SSRC, 106, 703, 90, None, &[]);
    let taken = bench.take();
    assert_eq!(taken.iter().map(|packet| packet.seq - taken[0].seq).collect::<Vec<_>>(), [0, 2, 1]);
    assert_eq!(taken[2].payload[..], [0x41, 7]);
    assert_eq!((bench.stats.recovered, bench.stats.drops.padding), (1, 3));
    assert!(bench.at(5_000).poll().iter().all(|line| !line.starts_with("pli")));
}

#[test]
fn a_round_trip_longer_than_the_first_guess_is_learnt_and_then_waited_for() {
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    let mut requests = Vec::new();
    // Every second packet is lost; the publisher's answer takes 300 ms.
    for (lost, at) in [(11, 20), (13, 1_000), (15, 2_000)] {
        bench.at(at).video(lost + 1, &[0x41]);
        let mut asked = 0;
        for ms in (at..at + 310).step_by(5) {
            asked += bench.at(ms).poll().iter().filter(|line| line.starts_with("nack")).count();
        }
        bench.at(at + 310).video(lost, &[0x41]);
        requests.push(asked);
    }
    assert!(requests[0] > 2, "nothing is known yet: {requests:?}");
    assert_eq!(requests[1..], [1, 1], "{:?}", bench.inbound.rtt);
    assert_eq!(bench.inbound.rtt, Some(Duration::from_millis(300)));
}

#[test]
fn keyframe_wishes_are_coalesced_and_need_a_picture_to_ask_for() {
    let mut bench = Bench::new();
    bench.inbound.request_keyframe(bench.now, TrackId::VIDEO);
    assert!(bench.poll().is_empty() && bench.inbound.next_due().is_none());
    bench.at(5).video(10, &[0x41]);
    assert_eq!(bench.poll(), ["pli 1111"]);
    for _ in 0..100 {
        bench.inbound.request_keyframe(bench.now, TrackId::VIDEO);
    }
    assert!(bench.poll().is_empty());
    bench.at(505);
    assert!(bench.poll().contains(&"pli 1111".to_owned()));
    assert_eq!(bench.stats.pli_sent, 2);
}

#[test]
fn feedback_covers_padding_too() {
    let mut bench = Bench::new();
    bench.video(10, &[0x65]);
    bench.video(11, b"");
    bench.transport_seq += 3;
    bench.video(12, &[0x41]);
    assert_eq!(bench.at(100).poll(), ["twcc 0+6"]);
    assert_eq!((bench.take().len(), bench.stats.drops.padding), (2, 1));
}

#[test]
fn a_payload_type_not_agreed_is_neither_passed_on_nor_asked_for_again() {
    let mut bench = Bench::new();
    bench.at(0).video(10, &[0x65]);
    bench.rtp(VIDEO_SSRC, 50, 11, 0, None, b"fec");
    bench.at(40).video(12, &[0x41]);
    assert_eq!(bench.take().iter().map(|p| p.seq).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(bench.stats.drops.unbound, 1);
    assert!(bench.at(60).poll().iter().all(|line| !line.starts_with("nack")));
}

#[test]
fn packets_not_taken_are_bounded() {
    let mut bench = Bench::new();
    for index in 0..5_000 {
        bench.video(index, &[0x41]);
    }
    assert_eq!(bench.take().len(), PENDING_MAX);
    assert_eq!(bench.stats.drops.overflow, 5_000 - PENDING_MAX as u64);
}

#[test]
fn sender_reports_bring_sound_and_picture_together() {
    let mut bench = Bench::new();
    let zero = Ntp::from_unix(Duration::from_secs(1_700_000_000));
    let mut captures = [MediaTime::ZERO; 2];
    for step in 0..1_000u64 {
        let (ms, index) = (step * 20, step);
        // Pictures come 150 ms later than the sound of the same moment.
        bench.at(ms + 30).rtp(AUDIO_SSRC, 111, index, (ms * 48) as u32, None, b"o");
        bench.at(ms + 180).rtp(VIDEO_SSRC, 96, index, (ms * 90) as u32, None, &[0x41]);
        for packet in bench.take() {
            captures[packet.track.index()] = packet.capture;
        }
        if step % 50 == 7 {
            let ntp = zero.plus(Duration::from_millis(ms));
            for (ssrc, rate) in [(AUDIO_SSRC, 48), (VIDEO_SSRC, 90)] {
                let mut data = Vec::new();
                let info = rtcp::SenderInfo { ssrc, ntp, rtp_timestamp: (ms * rate) as u32, packets: 1, octets: 1 };
                rtcp::emit_sr(&info, &[], &mut data);
                bench.inbound.handle_rtcp(bench.now, &data, &mut bench.stats);
            }
        }
    }
    assert!((captures[0] - captures[1]).abs() < 20_000, "{captures:?}");
}
