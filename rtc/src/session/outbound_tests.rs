//! The player's side with real keys, in virtual time.

#[path = "outbound_layers_tests.rs"]
mod layers;
#[path = "outbound_rtx_tests.rs"]
mod repair;

use bytes::Bytes;
use weir_source::{Codec, PacketExtensions, Track};

use super::super::{config::SessionConfig, fill::Fill, rtx::Rtx};
use super::*;
use crate::{
    sdp::{self, CodecParams, Direction, DtlsRole, IceCredentials, MediaParams},
    srtp::{SrtpProfile, Unprotect},
    wire::{
        ext::{ExtensionIds, Values},
        ntp,
        rtcp::{Compound, ReportBlock, Rtcp},
        rtp::{self, Fields},
    },
};

const VIDEO_SSRC: u32 = 0x1111;
const AUDIO_SSRC: u32 = 0x2222;
const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;

fn codec(codec: Codec, payload_type: u8, clock_rate: u32) -> CodecParams {
    CodecParams {
        codec,
        payload_type,
        clock_rate,
        channels: 0,
        fmtp: String::new(),
        rtx_payload_type: None,
        nack: true,
        pli: true,
        transport_cc: false,
        remb: false,
    }
}

fn params() -> SessionParams {
    let section = |mid: &str, kind, track, codecs, local_ssrc| MediaParams {
        mid: mid.into(),
        kind,
        track,
        codecs,
        extensions: sdp::ExtensionIds {
            mid: Some(4),
            video_orientation: Some(5),
            abs_capture_time: Some(6),
            ..Default::default()
        },
        local_ssrc,
        remote_ssrcs: vec![],
        layers: vec![],
        rtx_ssrc: None,
    };
    let ice = || IceCredentials { ufrag: "ufrg".into(), pwd: "0123456789012345678901".into() };
    let video = vec![codec(Codec::H264, 96, 90_000), codec(Codec::Vp8, 97, 90_000)];
    SessionParams {
        direction: Direction::Play,
        local_ice: ice(),
        remote_ice: ice(),
        remote_fingerprints: vec![],
        dtls_role: DtlsRole::Passive,
        cname: "cname".into(),
        layer_max: None,
        terms: crate::sdp::Terms::default(),
        media: vec![
            section("a", MediaKind::Audio, TrackId::AUDIO, vec![codec(Codec::Opus, 111, 48_000)], AUDIO_SSRC),
            section("v", MediaKind::Video, TrackId::VIDEO, video, VIDEO_SSRC),
        ],
    }
}

/// A player, its keys, and the viewer's end of them.
struct Bench {
    outbound: Outbound,
    protect: Protect,
    viewer: Unprotect,
    stats: SessionStats,
    outputs: Outputs,
    made: Instant,
    now: Instant,
    fill: Fill,
}

/// What the viewer received.
#[derive(Debug, PartialEq)]
struct Seen {
    index: u64,
    payload_type: u8,
    timestamp: u32,
    payload: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&params())
    }

    fn with(params: &SessionParams) -> Self {
        let made = Instant::now();
        let wall = Wall::new(&SessionConfig::new(made, Duration::from_secs(1_700_000_000)), made);
        let mut outbound = Outbound::new(params, made, wall);
        outbound.connected(made);
        Self {
            outbound,
            protect: Protect::new(PROFILE, &[1; 16], &[2; 12]).unwrap(),
            viewer: Unprotect::new(PROFILE, &[1; 16], &[2; 12]).unwrap(),
            stats: SessionStats::default(),
            outputs: Outputs::default(),
            made,
            now: made,
            fill: Fill::None,
        }
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = self.made + Duration::from_millis(ms);
        self
    }

    fn forward(&mut self, packet: &Packet) -> Option<Vec<u8>> {
        let mut out = [0; 1_500];
        let position = 10_000 + packet.seq;
        let place = Place { position, fill: self.fill };
        let len = self.outbound.forward(self.now, place, packet, &self.protect, &mut self.stats, &mut out)?;
        Some(out[..len].to_vec())
    }

    fn open(&mut self, mut datagram: Vec<u8>) -> Option<Seen> {
        let opened = self.viewer.rtp(&mut datagram).ok()?;
        let packet = rtp::Packet::parse(&datagram[..opened.plain_len]).unwrap();
        let fields = packet.header.fields;
        Some(Seen {
            index: opened.index,
            payload_type: fields.payload_type,
            timestamp: fields.timestamp,
            payload: packet.payload.to_vec(),
        })
    }

    fn see(&mut self, packet: &Packet) -> Option<Seen> {
        self.forward(packet).and_then(|datagram| self.open(datagram))
    }

    fn rtcp(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<Output> {
        let mut data = Vec::new();
        write(&mut data);
        self.outbound.handle_rtcp(self.now, &data, &mut self.stats, &mut self.outputs);
        self.poll().0
    }

    fn poll(&mut self) -> (Vec<Output>, Vec<rtcp::SenderInfo>) {
        let mut compounds = Compounds::default();
        self.outbound.poll(self.now, &mut self.outputs, &mut compounds);
        let reports = compounds.iter().flat_map(|compound| {
            assert!(Compound::new(compound).any(|packet| matches!(packet, Rtcp::Sdes(_))));
            Compound::new(compound).find_map(|packet| if let Rtcp::Sr(report) = packet { Some(report.info) } else { None })
        });
        let reports = reports.collect();
        (std::iter::from_fn(|| self.outputs.pop()).collect(), reports)
    }
}

fn packet(track: TrackId, seq: u64, ms: i64, keyframe: bool) -> Packet {
    let rate = if track == TrackId::AUDIO { 48 } else { 90 };
    Packet {
        track,
        epoch: 1,
        seq,
        timestamp: ms as u64 * rate,
        capture: MediaTime::from_millis(ms),
        marker: true,
        keyframe,
        extensions: PacketExtensions { video_orientation: Some(1), ..Default::default() },
        payload: Bytes::from(seq.to_be_bytes().to_vec()),
    }
}

fn video(seq: u64, keyframe: bool) -> Packet {
    packet(TrackId::VIDEO, seq, seq as i64 * 40, keyframe)
}

#[test]
fn a_viewer_who_joins_after_70000_packets_can_decrypt_and_follows_the_roll_over() {
    let mut bench = Bench::new();
    let first = bench.see(&video(70_000, true)).unwrap();
    assert!(first.index < 1 << 15);
    for seq in 70_001..140_000 {
        let seen = bench.see(&video(seq, false)).unwrap();
        assert_eq!(seen.index, first.index + seq - 70_000);
        assert_eq!(seen.payload, seq.to_be_bytes());
    }
    assert_eq!(bench.stats.packets_out, 70_000);
}

#[test]
fn a_nacked_packet_comes_again_byte_for_byte() {
    let mut bench = Bench::new();
    let sent: Vec<_> = (0..40).map(|seq| bench.forward(&video(seq, seq == 0)).unwrap()).collect();
    let wire_seq = u16::from_be_bytes([sent[32][2], sent[32][3]]);
    let outputs = bench.at(2_000).rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out));
    let [Output::Resend(resend)] = outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((resend.position, resend.track), (10_032, TrackId::VIDEO));
    let mut out = [0; 1_500];
    let mut resend = |bench: &mut Bench, packet: &Packet| {
        let len = bench.outbound.resend(bench.now, &resend, packet, &bench.protect, &mut bench.stats, &mut out)?;
        Some(out[..len].to_vec())
    };
    assert_eq!(resend(&mut bench, &video(32, false)).as_ref(), Some(&sent[32]));
    assert_eq!(resend(&mut bench, &packet(TrackId::AUDIO, 32, 0, false)), None, "of another track");
    assert_eq!((bench.stats.nack_received, bench.stats.nack_served), (1, 1));
    assert!(bench.rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out)).is_empty(), "within the cool-down");
}

#[test]
fn retransmissions_are_the_same_after_the_codec_changed_and_changed_back() {
    let mut bench = Bench::new();
    let sent = bench.forward(&video(0, true)).unwrap();
    let tracks = |codec| Tracks::default().with(Track::new(TrackId::VIDEO, codec, 90_000, 0).into());
    bench.outbound.set_tracks(&tracks(Codec::Vp8));
    assert_eq!(bench.see(&video(1, true)).unwrap().payload_type, 97);
    let wire_seq = u16::from_be_bytes([sent[2], sent[3]]);
    let outputs = bench.rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out));
    let [Output::Resend(resend)] = outputs[..] else { panic!("{outputs:?}") };
    let mut out = [0; 1_500];
    let len = bench.outbound.resend(bench.now, &resend, &video(0, true), &bench.protect, &mut bench.stats, &mut out).unwrap();
    assert_eq!(out[..len], sent);
    bench.outbound.set_tracks(&tracks(Codec::Av1));
    assert!(bench.forward(&video(2, true)).is_none());
    assert_eq!(bench.stats.drops.codec, 1, "not agreed");
    bench.outbound.set_tracks(&tracks(Codec::H264));
    assert!(bench.forward(&video(3, false)).is_none(), "a new codec starts with a keyframe");
    let (first, again) = (u64::from(wire_seq), bench.see(&video(4, true)).unwrap());
    assert_eq!((again.payload_type, again.index), (96, first + 2), "without a hole");
}

#[test]
fn a_viewer_without_keyframe_asks_for_one_twice_a_second() {
    let mut bench = Bench::new();
    let mut asked = 0;
    for seq in 0..50u64 {
        assert!(bench.at(seq * 40).forward(&video(seq, false)).is_none());
        asked += bench.poll().0.len();
    }
    assert_eq!(asked, 4, "in two seconds");
    assert_eq!(bench.stats.drops.waiting, 50);
    assert!(bench.at(2_000).forward(&video(50, true)).is_some());
    assert!(bench.at(9_000).poll().0.is_empty(), "it came");
}

#[test]
fn a_viewer_that_comes_back_from_silence_gets_a_keyframe_unasked() {
    let mut bench = Bench::new();
    bench.forward(&video(0, true)).unwrap();
    let report = |bench: &mut Bench| bench.rtcp(|out| rtcp::emit_rr(9, &[], out));
    for second in 0..3 {
        assert!(report(bench.at(second * 1_500)).is_empty(), "it reports as browsers do");
        bench.forward(&video(second + 1, false)).unwrap();
    }
    assert!(matches!(report(bench.at(5_000))[..], [Output::KeyframeWanted(TrackId::VIDEO)]), "two seconds of silence");
    assert!(report(bench.at(9_000)).is_empty(), "nothing was sent to it meanwhile");
}

#[test]
fn a29_a_storm_of_keyframe_requests_is_two_a_second() {
    let mut bench = Bench::new();
    bench.forward(&video(0, true)).unwrap();
    let mut asked = 0;
    for ms in 0..2_000 {
        asked += bench.at(ms).rtcp(|out| rtcp::emit_pli(9, VIDEO_SSRC, out)).len();
        asked += bench.rtcp(|out| rtcp::emit_fir(9, VIDEO_SSRC, 1, out)).len();
    }
    assert_eq!((asked, bench.stats.pli_received), (4, 4_000));
    assert!(bench.at(3_000).rtcp(|out| rtcp::emit_pli(9, AUDIO_SSRC, out)).len() <= 1, "sound has no keyframes");
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a27_a_compound_of_lies_is_read_around_and_costs_a_millisecond_at_most() {
    let mut bench = Bench::new();
    bench.forward(&video(0, true)).unwrap();
    (1..2_000).for_each(|seq| drop(bench.forward(&video(seq, false))));
    let packet = |first: u8, kind: u8, words: u16, body: &[u8]| {
        let mut data = vec![first, kind];
        data.extend(words.to_be_bytes());
        data.extend_from_slice(body);
        data
    };
    let ours = VIDEO_SSRC.to_be_bytes();
    let remb = |count: u8| [&[0; 8][..], b"REMB", &[count, 0xff, 0xff, 0xff], &[0; 4]].concat();
    let feedback =
        |status: u16, chunk: [u8; 2]| [&[0; 4][..], &ours, &[0, 0], &status.to_be_bytes(), &[0; 4], &chunk.repeat(2)].concat();
    let lies: [(&str, Vec<u8>); 8] = [
        ("REMB of 255 streams", packet(0x8f, 206, 5, &remb(255))),
        ("feedback of 65,535 runs", packet(0x8f, 205, 5, &feedback(0xffff, [0x3f, 0xff]))),
        ("feedback whose chunks are missing", packet(0x8f, 205, 5, &feedback(0xffff, [0xd5, 0x55]))),
        ("SR of 31 blocks", packet(0x9f, 200, 6, &[1; 24])),
        ("RR of 31 blocks", packet(0x9f, 201, 1, &[1; 4])),
        ("BYE of 31 streams", packet(0x9f, 203, 1, &ours)),
        ("no length at all", packet(0x80, 205, 0, &[])),
        ("an unknown type", packet(0x85, 199, 1, &[7; 4])),
    ];
    for (n, (name, lie)) in lies.iter().enumerate() {
        bench.at(10_000 + 1_000 * n as u64).poll();
        let wanted = bench.rtcp(|out| {
            out.extend_from_slice(lie);
            rtcp::emit_pli(9, VIDEO_SSRC, out);
        });
        assert!(matches!(wanted[..], [Output::KeyframeWanted(_)]), "what follows {name} is read: {wanted:?}");
    }
    // As much as a datagram holds: NACK of 1,000 entries (cut at what is read of one), floods of small ones.
    let mut floods = vec![packet(0x81, 205, 1_002, &[&[0; 4][..], &ours, &[0x03, 0x00, 0xff, 0xff].repeat(1_000)].concat())];
    floods.extend(lies.iter().map(|(_, lie)| lie.repeat(1_400 / lie.len())));
    for flood in &floods {
        let mut spent = Vec::new();
        for _ in 0..5 {
            let began = cpu_time();
            assert!(bench.rtcp(|out| out.extend_from_slice(flood)).len() <= 64);
            spent.push(cpu_time() - began);
        }
        assert!(spent.iter().min() < Some(&Duration::from_millis(1)), "{spent:?} for {} bytes", flood.len());
    }
}

#[test]
fn what_starts_is_reported_at_once_and_then_each_second_on_one_wall_clock() {
    let mut bench = Bench::new();
    let (sound, picture) = (packet(TrackId::AUDIO, 0, 1_000, false), packet(TrackId::VIDEO, 0, 1_000, true));
    bench.at(1_020).forward(&sound).unwrap();
    let seen = bench.see(&picture).unwrap();
    assert!(bench.outbound.next_due().unwrap() <= bench.now);
    let (_, reports) = bench.poll();
    let [audio, video] = reports[..] else { panic!("{reports:?}") };
    assert_eq!((audio.ssrc, video.ssrc, audio.ntp), (AUDIO_SSRC, VIDEO_SSRC, video.ntp));
    assert_eq!(video.rtp_timestamp.wrapping_sub(seen.timestamp), 20 * 90, "20 ms after its capture");
    assert!(bench.at(1_900).poll().1.is_empty());
    assert_eq!(bench.at(2_020).poll().1.len(), 2);
}

#[test]
fn a_joining_viewer_gets_the_backlog_at_once_and_reports_of_live_time() {
    let mut bench = Bench::new();
    bench.outbound.join(MediaTime::from_millis(2_000), TrackSet::default());
    bench.at(2_010);
    let seen: Vec<_> = (0..=50u64).map(|seq| bench.see(&video(seq, seq == 0)).unwrap()).collect();
    assert!(bench.forward(&packet(TrackId::AUDIO, 7, 1_500, false)).is_none(), "sound starts live");
    let span = seen[50].timestamp.wrapping_sub(seen[0].timestamp);
    assert!(span <= 2_000 * 90 / 20, "{span} ticks");
    let live = bench.at(2_050).see(&video(51, false)).unwrap();
    assert_eq!(live.timestamp.wrapping_sub(seen[50].timestamp), 40 * 90);
    let (_, reports) = bench.poll();
    assert_eq!(reports[0].rtp_timestamp.wrapping_sub(live.timestamp), 10 * 90);
}

#[test]
fn a_late_packet_is_sent_once_more_at_most() {
    let mut bench = Bench::new();
    bench.forward(&video(0, true)).unwrap();
    let after = bench.see(&video(2, false)).unwrap();
    let late = bench.see(&video(1, false)).unwrap();
    assert_eq!(late.index + 1, after.index);
    assert!(bench.forward(&video(1, false)).is_none());
    assert!(bench.forward(&video(2, false)).is_none());
    assert_eq!(bench.stats.drops.duplicate, 2);
}

#[test]
fn receiver_reports_tell_round_trip_loss_and_jitter() {
    let mut bench = Bench::new();
    bench.at(1_000).forward(&packet(TrackId::VIDEO, 0, 1_000, true)).unwrap();
    let report = bench.poll().1.pop().unwrap();
    let block = ReportBlock {
        ssrc: VIDEO_SSRC,
        cumulative_lost: 7,
        jitter: 900,
        last_sr: report.ntp.middle(),
        delay_since_last_sr: ntp::short(Duration::from_millis(100)),
        ..ReportBlock::default()
    };
    bench.at(1_180).rtcp(|out| rtcp::emit_rr(9, &[block], out));
    let mut stats = SessionStats::default();
    bench.outbound.fill_stats(&mut stats);
    let rtt = stats.rtt.unwrap();
    assert!((rtt.as_millis() as i64 - 80).abs() <= 1, "{rtt:?}");
    assert_eq!((stats.lost, stats.jitter), (7, Duration::from_millis(10)));
    bench.rtcp(|out| rtcp::emit_rr(9, &[ReportBlock { last_sr: 5, ..block }], out));
    bench.outbound.fill_stats(&mut stats);
    assert_eq!(stats.rtt, Some(rtt), "nonsense is not believed");
}

#[test]
fn negotiated_extensions_travel_and_others_do_not() {
    let mut bench = Bench::new();
    let mut packet = video(0, true);
    packet.extensions.audio_level = Some(3);
    let mut datagram = bench.forward(&packet).unwrap();
    let opened = bench.viewer.rtp(&mut datagram).unwrap();
    let header = rtp::Header::parse(&datagram[..opened.plain_len]).unwrap();
    let ids = ExtensionIds { audio_level: Some(1), ..bench.outbound.streams[1].ids };
    let values = Values::read(&header.extensions, &ids);
    assert_eq!((values.mid, values.video_orientation, values.audio_level), (Some("v"), Some(1), None));
    assert!(values.abs_capture_time.is_some(), "with each keyframe");
}

#[test]
fn a_buffer_too_small_is_a_packet_lost() {
    let mut bench = Bench::new();
    let mut out = [0; 20];
    let sent = bench.outbound.forward(
        bench.now,
        Place { position: 0, fill: Fill::None },
        &video(0, true),
        &bench.protect,
        &mut bench.stats,
        &mut out,
    );
    assert_eq!((sent, bench.stats.drops.too_large), (None, 1));
}

#[test]
fn padding_is_taken_off_again_and_resent_as_it_was() {
    let mut bench = Bench::new();
    bench.fill = Fill::Payload(200);
    let original = bench.forward(&video(0, true)).unwrap();
    bench.fill = Fill::Wire(original.len());
    let second = bench.forward(&video(1, false)).unwrap();
    assert_eq!(second.len(), original.len());
    assert!(bench.stats.padding_out > 0);
    let wire_seq = u16::from_be_bytes([original[2], original[3]]);
    let outputs = bench.at(2_000).rtcp(|out| rtcp::emit_nack(9, VIDEO_SSRC, [wire_seq], out));
    let [Output::Resend(resend)] = outputs[..] else { panic!("{outputs:?}") };
    let mut out = [0; 1_500];
    let len = bench.outbound.resend(bench.now, &resend, &video(0, true), &bench.protect, &mut bench.stats, &mut out).unwrap();
    assert_eq!(out[..len], original, "SRTP must not see two contents under one index");
    let seen = bench.open(original).unwrap();
    assert_eq!(seen.payload, video(0, true).payload);
    assert_eq!(bench.open(second).unwrap().payload, video(1, false).payload);
}
