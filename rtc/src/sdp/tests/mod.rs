//! Negotiation against offers shaped like those of real peers.

mod counter;
mod layers;
mod offers;
mod refusals;
mod repair;
mod robustness;

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;

use rtc::sdp::{MediaDescription, SessionDescription};
use weir_source::{Codec, MediaKind, Track, TrackId, Tracks};

use super::*;

fn candidates() -> Vec<SocketAddr> {
    ["203.0.113.5:8000", "192.0.2.1:8000", "[2001:db8::1]:8000"].map(|text| text.parse().unwrap()).to_vec()
}

fn local(candidates: &[SocketAddr]) -> LocalParams<'_> {
    LocalParams {
        ice: IceCredentials { ufrag: "weirfrag".to_owned(), pwd: "0123456789abcdef0123456789abcdef".to_owned() },
        fingerprint: "AA:BB:CC",
        candidates,
        tcp_candidates: &[],
        session_id: u64::MAX - 7,
        audio_ssrc: 1111,
        video_ssrc: 2222,
        rtx_ssrc: 3333,
        stream_id: "live/livestream",
        prefer: None,
        codec: None,
        terms: crate::sdp::Terms::default(),
    }
}

fn answer(offer: &str, direction: Direction) -> (SessionDescription, SessionParams) {
    answer_with(offer, direction, None, None)
}

/// Negotiates and reads the answer back, checking what must hold of every answer.
fn answer_with(
    offer: &str,
    direction: Direction,
    prefer: Option<&Tracks>,
    codec: Option<Codec>,
) -> (SessionDescription, SessionParams) {
    let candidates = candidates();
    let local = LocalParams { prefer, codec, ..local(&candidates) };
    let (text, params) = negotiate(offer, direction, &local).expect("the offer can be served");
    let answer = parse(&text);
    let offered = parse(offer);
    assert_eq!(answer.media_descriptions.len(), offered.media_descriptions.len());
    let flow = if direction == Direction::Publish { "recvonly" } else { "sendonly" };
    for (answered, offered) in answer.media_descriptions.iter().zip(&offered.media_descriptions) {
        assert_eq!(answered.media_name.media, offered.media_name.media);
        assert_eq!(answered.attribute("mid"), offered.attribute("mid"));
        if answered.media_name.port.value == 0 {
            continue;
        }
        assert!(answered.has_attribute(flow), "{flow} in {text}");
        assert!(answered.has_attribute("rtcp-mux") && !answered.has_attribute("rtcp-mux-only"));
        assert_eq!(attribute(answered, "ice-ufrag"), "weirfrag");
        assert_eq!(attribute(answered, "ice-pwd"), "0123456789abcdef0123456789abcdef");
        assert_eq!(attribute(answered, "fingerprint"), "sha-256 AA:BB:CC");
        assert_eq!(values(answered, "candidate").len(), 3);
        for format in &answered.media_name.formats {
            assert!(offered.media_name.formats.contains(format));
        }
        for feedback in values(answered, "rtcp-fb") {
            let for_all = feedback.split_once(' ').map(|(_, what)| format!("* {what}")).unwrap();
            let lines = values(offered, "rtcp-fb");
            assert!(lines.contains(&feedback) || lines.contains(&for_all), "{feedback} was offered");
        }
    }
    (answer, params)
}

fn parse(text: &str) -> SessionDescription {
    SessionDescription::unmarshal(&mut Cursor::new(text)).expect("what we write can be read")
}

fn values(media: &MediaDescription, key: &str) -> Vec<String> {
    media.attributes.iter().filter(|a| a.key == key).filter_map(|a| a.value.clone()).collect()
}

fn attribute(media: &MediaDescription, key: &str) -> String {
    values(media, key).into_iter().next().unwrap_or_else(|| panic!("no a={key}"))
}

fn session_attribute<'a>(answer: &'a SessionDescription, key: &str) -> &'a str {
    answer.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_deref()).unwrap_or_default()
}

fn codecs(media: &MediaParams) -> Vec<(Codec, u8)> {
    media.codecs.iter().map(|params| (params.codec, params.payload_type)).collect()
}

#[test]
fn a_publisher_is_answered_one_codec_and_h264_even_after_vp8() {
    for (name, offer, audio, video) in [
        ("chrome", offers::chrome("sendonly"), 111, 106),
        ("chrome, two-way", offers::chrome("sendrecv"), 111, 106),
        ("firefox", offers::firefox("sendonly"), 109, 126),
        ("safari", offers::safari("sendonly"), 111, 98),
        ("obs", offers::obs(), 111, 96),
        ("gstreamer", offers::gstreamer(), 97, 96),
        ("ffmpeg", offers::ffmpeg(), 111, 106),
        ("aiortc", offers::aiortc("sendonly"), 96, 101),
    ] {
        let (_, params) = answer(&offer, Direction::Publish);
        assert_eq!(params.media.len(), 2, "{name}");
        for media in &params.media {
            let expected = match media.kind {
                MediaKind::Audio => (TrackId::AUDIO, vec![(Codec::Opus, audio)], 1111),
                MediaKind::Video => (TrackId::VIDEO, vec![(Codec::H264, video)], 2222),
            };
            assert_eq!((media.track, codecs(media), media.local_ssrc), expected, "{name}");
        }
    }
}

#[test]
fn a_player_before_the_publisher_gets_h264_first_and_all_others_after_it() {
    let (answer, params) = answer(&offers::chrome("recvonly"), Direction::Play);
    assert_eq!(codecs(&params.media[0]), [(Codec::Opus, 111), (Codec::Pcmu, 0), (Codec::Pcma, 8)]);
    assert_eq!(codecs(&params.media[1]), [(Codec::H264, 106), (Codec::Vp9, 98), (Codec::Vp8, 96), (Codec::Av1, 45)]);
    assert_eq!(answer.media_descriptions[1].media_name.formats, ["106", "107", "98", "99", "96", "97", "45", "46"]);
}

#[test]
fn a_player_gets_the_live_codec_first_with_the_closest_h264_profile() {
    let tracks = |video: Track| {
        let audio = Track::new(TrackId::AUDIO, Codec::Pcma, 8_000, 1);
        Tracks { list: vec![Arc::new(audio), Arc::new(video)], ..Tracks::default() }
    };
    let vp8 = tracks(Track::new(TrackId::VIDEO, Codec::Vp8, 90_000, 0));
    let (_, params) = answer_with(&offers::chrome("recvonly"), Direction::Play, Some(&vp8), None);
    assert_eq!(codecs(&params.media[0])[0], (Codec::Pcma, 8));
    assert_eq!(codecs(&params.media[1])[..2], [(Codec::Vp8, 96), (Codec::H264, 106)]);

    let mut high = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    high.fmtp = "packetization-mode=1;profile-level-id=640028".to_owned();
    let high = tracks(high);
    let (_, params) = answer_with(&offers::chrome("recvonly"), Direction::Play, Some(&high), None);
    assert_eq!(codecs(&params.media[1])[0], (Codec::H264, 112));

    let mut high = Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0);
    high.config = bytes::Bytes::from_static(&[1, 0x64, 0, 0x28, 0xff]);
    let high = tracks(high);
    let (_, params) = answer_with(&offers::safari("recvonly"), Direction::Play, Some(&high), None);
    assert_eq!(codecs(&params.media[0])[0], (Codec::H264, 96));
}

#[test]
fn the_query_forces_a_publisher_and_guides_a_player() {
    let (_, params) = answer_with(&offers::safari("sendonly"), Direction::Publish, None, Some(Codec::H265));
    assert_eq!(codecs(&params.media[0]), [(Codec::H265, 100)]);
    assert_eq!(codecs(&params.media[1]), [(Codec::Opus, 111)]);
    let (_, params) = answer_with(&offers::chrome("recvonly"), Direction::Play, None, Some(Codec::Av1));
    assert_eq!(codecs(&params.media[1])[0], (Codec::Av1, 45));
}

#[test]
fn header_extensions_may_be_mixed_where_that_was_offered() {
    for direction in [Direction::Publish, Direction::Play] {
        let (answer, _) = answer(&offers::chrome(if direction == Direction::Play { "recvonly" } else { "sendonly" }), direction);
        assert!(answer.attributes.iter().any(|a| a.key == "extmap-allow-mixed"));
    }
}

#[test]
fn h30_h34_the_answer_says_ice_lite_and_one_bundle_in_the_order_of_the_offer() {
    let (answer, _) = answer(&offers::gstreamer(), Direction::Publish);
    assert!(answer.attributes.iter().any(|a| a.key == "ice-lite"));
    assert_eq!(session_attribute(&answer, "group"), "BUNDLE video0 audio1");
    assert!(answer.attributes.iter().all(|a| a.key != "extmap-allow-mixed"), "it was not offered");
    assert!(answer.origin.session_id <= i64::MAX.cast_unsigned());
}

#[test]
fn h21_candidates_stand_in_every_section_with_falling_priority() {
    let (answer, _) = answer(&offers::obs(), Direction::Publish);
    for media in &answer.media_descriptions {
        assert_eq!(
            values(media, "candidate"),
            [
                "0 1 udp 2130706431 203.0.113.5 8000 typ host generation 0",
                "1 1 udp 2130706175 192.0.2.1 8000 typ host generation 0",
                "2 1 udp 2130705919 2001:db8::1 8000 typ host generation 0",
            ]
        );
        assert!(media.has_attribute("end-of-candidates"));
    }
}

#[test]
fn tcp_candidates_follow_those_of_udp_with_lower_priority() {
    let (udp, tcp) = (candidates(), candidates());
    let both = LocalParams { tcp_candidates: &tcp[1..], ..local(&udp[..1]) };
    let (text, _) = negotiate(&offers::obs(), Direction::Publish, &both).unwrap();
    for media in &parse(&text).media_descriptions {
        assert_eq!(
            values(media, "candidate"),
            [
                "0 1 udp 2130706431 203.0.113.5 8000 typ host generation 0",
                // RFC 6544 section 4.2: 2^24 * 90 + 2^8 * (2^13 * 4 + 8191 - n) + 255.
                "1 1 tcp 1520435199 192.0.2.1 8000 typ host tcptype passive generation 0",
                "2 1 tcp 1520434943 2001:db8::1 8000 typ host tcptype passive generation 0",
            ]
        );
    }
}

#[test]
fn h33_the_dtls_role_complements_the_offer() {
    for (setup, role, answered) in [
        ("actpass", DtlsRole::Passive, "passive"),
        ("active", DtlsRole::Passive, "passive"),
        ("passive", DtlsRole::Active, "active"),
    ] {
        let offer = offers::chrome("sendonly").replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let (answer, params) = answer(&offer, Direction::Publish);
        assert_eq!(params.dtls_role, role);
        assert_eq!(attribute(&answer.media_descriptions[1], "setup"), answered);
    }
    assert_eq!(answer(&offers::ffmpeg(), Direction::Publish).1.dtls_role, DtlsRole::Active);
    let silent = offers::chrome("sendonly").replace("a=setup:actpass\r\n", "");
    assert_eq!(answer(&silent, Direction::Publish).1.dtls_role, DtlsRole::Passive);
}

#[test]
fn the_peers_secrets_are_found_at_session_and_at_media_level() {
    let (_, params) = answer(&offers::obs(), Direction::Publish);
    assert_eq!(params.remote_ice.ufrag, "Hj6q");
    assert_eq!(params.remote_ice.pwd, "9dKbfYqPzWcT1sXvLmN0aE");
    let (_, params) = answer(&offers::firefox("sendonly"), Direction::Publish);
    assert_eq!(params.remote_ice.ufrag, "c2af7b21");
    assert_eq!(params.remote_fingerprints.len(), 1);
    assert_eq!(params.remote_fingerprints[0].digest[..3], [0x19, 0xE2, 0x1C]);
}

#[test]
fn a14_all_fingerprints_are_kept_whatever_their_case() {
    let (_, params) = answer(&offers::aiortc("sendonly"), Direction::Publish);
    let algorithms: Vec<_> = params.remote_fingerprints.iter().map(|f| f.algorithm).collect();
    assert_eq!(algorithms, [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]);
    let (_, params) = answer(&offers::gstreamer(), Direction::Publish);
    assert_eq!(params.remote_fingerprints[0].digest[0], 0x19);
    let unknown = offers::obs().replace("a=fingerprint:sha-256", "a=fingerprint:md5 00:11\r\na=fingerprint:SHA-256");
    assert_eq!(answer(&unknown, Direction::Publish).1.remote_fingerprints.len(), 1);
}

#[test]
fn feedback_and_transport_cc_are_answered_to_a_publisher_that_offers_them() {
    let (answered, params) = answer(&offers::chrome("sendonly"), Direction::Publish);
    let video = &params.media[1];
    assert!(video.codecs[0].nack && video.codecs[0].pli && video.codecs[0].transport_cc);
    assert_eq!(video.extensions.transport_cc, Some(3));
    assert_eq!(values(&answered.media_descriptions[1], "rtcp-fb"), ["106 transport-cc", "106 nack", "106 nack pli"]);
    let audio = &params.media[0];
    assert!(!audio.codecs[0].nack && audio.codecs[0].transport_cc);

    // Without the extension, or without the feedback, there is neither.
    let without = offers::chrome("sendonly").replace("transport-wide-cc-extensions-01", "transport-wide-cc-extensions-99");
    let (_, params) = answer(&without, Direction::Publish);
    assert!(!params.media[1].codecs[0].transport_cc && params.media[1].extensions.transport_cc.is_none());
    let (_, params) = answer(&offers::chrome("sendonly").replace(" transport-cc\r\n", " x-cc\r\n"), Direction::Publish);
    assert!(!params.media[1].codecs[0].transport_cc && params.media[1].extensions.transport_cc.is_none());

    let (answered, params) = answer(&offers::ffmpeg(), Direction::Publish);
    assert!(!params.media[1].codecs[0].nack);
    assert!(values(&answered.media_descriptions[1], "rtcp-fb").is_empty());
}

#[test]
fn a_player_agrees_to_transport_cc_or_else_to_its_own_estimate() {
    let (answered, params) = answer(&offers::chrome("recvonly"), Direction::Play);
    let video = &params.media[1];
    assert_eq!((video.extensions.transport_cc, video.extensions.abs_send_time), (Some(3), None));
    assert!(video.codecs.iter().all(|codec| codec.transport_cc && !codec.remb));
    assert!(values(&answered.media_descriptions[1], "rtcp-fb").iter().all(|feedback| !feedback.contains("remb")));

    let (answered, params) = answer(&offers::chrome("recvonly").replace(" transport-cc\r\n", " x-cc\r\n"), Direction::Play);
    let video = &params.media[1];
    assert_eq!((video.extensions.transport_cc, video.extensions.abs_send_time), (None, Some(2)));
    assert!(video.codecs.iter().all(|codec| codec.remb && !codec.transport_cc));
    assert!(values(&answered.media_descriptions[1], "rtcp-fb").iter().any(|feedback| feedback.contains("goog-remb")));
    assert_eq!(params.media[0].extensions.abs_send_time, None);
}

#[test]
fn only_extensions_that_we_carry_are_answered() {
    let (answered, params) = answer(&offers::chrome("sendonly"), Direction::Publish);
    assert_eq!(params.media[0].extensions.mid, Some(4));
    assert_eq!(params.media[0].extensions.audio_level, Some(1));
    let video = params.media[1].extensions;
    assert_eq!((video.mid, video.playout_delay, video.dependency_descriptor), (Some(4), Some(5), Some(12)));
    assert_eq!((video.rid, video.abs_send_time, video.video_orientation), (None, None, None));
    assert_eq!(values(&answered.media_descriptions[1], "extmap").len(), 4);

    // Firefox only receives this one, so it is there for a player alone, and mirrored.
    let (_, params) = answer(&offers::firefox("sendonly"), Direction::Publish);
    assert_eq!(params.media[1].extensions.playout_delay, None);
    let (answered, params) = answer(&offers::firefox("recvonly"), Direction::Play);
    assert_eq!(params.media[1].extensions.playout_delay, Some(6));
    assert!(values(&answered.media_descriptions[1], "extmap").iter().any(|line| line.starts_with("6/sendonly ")));
}

#[test]
fn w02_w08_a_player_gets_one_stream_with_a_track_each() {
    let (answered, params) = answer(&offers::chrome("recvonly"), Direction::Play);
    assert_eq!(session_attribute(&answered, "msid-semantic").trim(), "WMS live-livestream");
    let [audio, video] = &answered.media_descriptions[..] else { panic!("two sections") };
    assert_eq!(attribute(audio, "msid"), "live-livestream audio");
    assert_eq!(attribute(video, "msid"), "live-livestream video");
    assert_eq!(values(audio, "ssrc"), [format!("1111 cname:{}", params.cname), "1111 msid:live-livestream audio".to_owned()]);
    assert!(values(video, "ssrc")[0].starts_with("2222 cname:"));
    let (answered, _) = answer(&offers::chrome("sendonly"), Direction::Publish);
    assert!(values(&answered.media_descriptions[0], "ssrc").is_empty());
}

#[test]
fn opus_is_stereo_for_players_and_as_offered_by_publishers() {
    let fmtp = |offer: &str, direction, index: usize| attribute(&answer(offer, direction).0.media_descriptions[index], "fmtp");
    assert_eq!(fmtp(&offers::chrome("recvonly"), Direction::Play, 0), "111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1");
    assert_eq!(fmtp(&offers::chrome("sendonly"), Direction::Publish, 0), "111 minptime=10;useinbandfec=1");
    assert_eq!(fmtp(&offers::obs(), Direction::Publish, 0), "111 minptime=10;maxaveragebitrate=160000;stereo=1;useinbandfec=1");
    assert_eq!(fmtp(&offers::gstreamer(), Direction::Publish, 1), "97 stereo=1");
    let (answered, _) = answer(&offers::ffmpeg(), Direction::Publish);
    assert!(values(&answered.media_descriptions[0], "fmtp").is_empty());
}

#[test]
fn parameter_sets_of_the_offer_are_kept_but_not_sent_back() {
    let (answered, params) = answer(&offers::gstreamer(), Direction::Publish);
    assert!(params.media[0].codecs[0].fmtp.contains("sprop-parameter-sets=Z0LAH"));
    assert_eq!(attribute(&answered.media_descriptions[0], "fmtp"), "96 packetization-mode=1;profile-level-id=42c01f");
}

#[test]
fn h264_prefers_mode_1_then_constrained_baseline_then_baseline() {
    let offer = |fmtps: &[&str]| {
        let lines: String =
            fmtps.iter().enumerate().map(|(i, f)| format!("a=rtpmap:{0} H264/90000\r\na=fmtp:{0} {f}\r\n", 100 + i)).collect();
        let list: Vec<_> = (0..fmtps.len()).map(|i| (100 + i).to_string()).collect();
        let fmtp = "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1\r\n";
        offers::obs()
            .replace("SAVPF 96", &format!("SAVPF {}", list.join(" ")))
            .replace("a=rtpmap:96 H264/90000\r\n", &lines)
            .replace(
                &format!("a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 goog-remb\r\n{fmtp}"),
                "a=rtcp-fb:* nack\r\n",
            )
    };
    for (fmtps, index) in [
        (&["packetization-mode=1;profile-level-id=640028", "packetization-mode=1;profile-level-id=42E01F"][..], 1),
        (&["packetization-mode=1;profile-level-id=4d001f", "packetization-mode=1;profile-level-id=420033"], 1),
        (&["profile-level-id=42e01f", "packetization-mode=1;profile-level-id=640028"], 1),
        (&["packetization-mode=0;profile-level-id=640028", "profile-level-id=42e01f"], 1),
        (&["packetization-mode=1;profile-level-id=640028", "packetization-mode=1;profile-level-id=4d001f"], 0),
        (&["packetization-mode=1", "packetization-mode=1;profile-level-id=640028"], 0),
    ] {
        let (_, params) = answer(&offer(fmtps), Direction::Publish);
        assert_eq!(params.media[1].codecs[0].payload_type, 100 + index, "{fmtps:?}");
        assert!(params.media[1].codecs[0].nack, "feedback for all formats counts for each");
    }
}

#[test]
fn sources_are_read_without_their_repair_streams() {
    let (_, params) = answer(&offers::chrome("sendonly"), Direction::Publish);
    assert_eq!(params.media[0].remote_ssrcs, [2_882_550_433]);
    assert_eq!(params.media[1].remote_ssrcs, [1_369_394_305]);
    let (_, params) = answer(&offers::firefox("sendonly"), Direction::Publish);
    assert_eq!(params.media[1].remote_ssrcs, [2_310_455_873]);
    assert!(answer(&offers::chrome("recvonly"), Direction::Play).1.media[1].remote_ssrcs.is_empty());
}

/// Names are not resolved and addresses not sent to: a peer is where its signed checks come from. What the
/// offer lists does not reach the session.
#[test]
fn a09_no_candidate_of_an_offer_is_in_what_is_agreed() {
    let candidates = candidates();
    let mut offer = offers::chrome("sendonly");
    let (answer, params) = negotiate(&offer, Direction::Publish, &local(&candidates)).expect("it can be served");
    let places = [
        "x.local 9",
        "metadata.internal 80",
        "169.254.169.254 80",
        "127.0.0.1 1985",
        "0.0.0.0 9",
        ":: 9",
        "::ffff:127.0.0.1 1985",
        "224.0.0.1 5353",
        "ff02::1 5353",
        "192.0.2.1 0",
        "192.0.2.1 53",
    ];
    for (n, place) in places.iter().enumerate() {
        offer += &format!("a=candidate:{n} 1 udp {n} {place} typ host\r\n");
    }
    offer += "a=end-of-candidates\r\n";
    let (with, params_with) = negotiate(&offer, Direction::Publish, &local(&candidates)).expect("it can be served");
    assert_eq!((with, params_with), (answer, params));
}

#[test]
fn g711_passes_only_where_opus_is_not_offered() {
    let offer = offers::chrome("sendonly").replace("opus/48000/2", "x-opus/48000/2");
    let (answered, params) = answer(&offer, Direction::Publish);
    assert_eq!(codecs(&params.media[0]), [(Codec::Pcmu, 0)]);
    assert_eq!((params.media[0].codecs[0].clock_rate, params.media[0].codecs[0].channels), (8_000, 1));
    assert_eq!(attribute(&answered.media_descriptions[0], "rtpmap"), "0 PCMU/8000");
    let bare = offer.replace("a=rtpmap:0 PCMU/8000\r\n", "");
    assert_eq!(codecs(&answer(&bare, Direction::Publish).1.media[0]), [(Codec::Pcmu, 0)]);
}

#[test]
fn a_data_channel_and_a_disabled_line_are_rejected_beside_media() {
    let offer = offers::chrome("sendonly").replace("BUNDLE 0 1", "BUNDLE 0 1 2") + &offers::data_channel("2");
    let (answered, params) = answer(&offer, Direction::Publish);
    assert_eq!(params.media.len(), 2);
    assert_eq!(answered.media_descriptions[2].media_name.port.value, 0);
    assert_eq!(answered.media_descriptions[2].media_name.formats, ["webrtc-datachannel"]);
    assert_eq!(session_attribute(&answered, "group"), "BUNDLE 0 1");

    let offer = offers::chrome("sendonly").replace("m=audio 9 ", "m=audio 0 ").replace("BUNDLE 0 1", "BUNDLE 1");
    let (answered, params) = answer(&offer, Direction::Publish);
    assert_eq!(params.media.len(), 1);
    assert_eq!(params.media[0].kind, MediaKind::Video);
    assert_eq!(answered.media_descriptions[0].media_name.port.value, 0);
}

#[test]
fn one_kind_alone_is_enough() {
    let audio_only = offers::obs().split("m=video").next().unwrap().replace("BUNDLE 0 1", "BUNDLE 0");
    let (_, params) = answer(&audio_only, Direction::Publish);
    assert_eq!(params.media.len(), 1);
    assert_eq!(params.media[0].track, TrackId::AUDIO);
}

#[test]
fn what_the_server_does_not_grant_is_not_agreed_whatever_is_offered() {
    let candidates = candidates();
    for (direction, flow) in [(Direction::Publish, "sendonly"), (Direction::Play, "recvonly")] {
        let with = |terms| {
            let local = LocalParams { terms, ..local(&candidates) };
            negotiate(&offers::chrome(flow), direction, &local).expect("the offer can be served")
        };
        let says = |answer: &str, end: &str| answer.lines().any(|line| line.ends_with(end));
        let (answer, params) = with(Terms::default());
        assert!(says(&answer, " nack") && says(&answer, " transport-cc") && answer.contains(" rtx/90000"));
        assert_eq!(params.dtls_role, DtlsRole::Passive);

        let (answer, params) = with(Terms { nack: false, ..Terms::default() });
        assert!(!says(&answer, " nack") && !answer.contains(" rtx/90000"), "{answer}");
        assert!(says(&answer, " nack pli") && says(&answer, " transport-cc"), "keyframes are asked for all the same");
        let mut codecs = params.media.iter().flat_map(|media| &media.codecs);
        assert!(codecs.all(|codec| !codec.nack && codec.rtx_payload_type.is_none()));

        let (answer, params) = with(Terms { transport_cc: false, ..Terms::default() });
        assert!(!answer.contains("transport-cc") && !answer.contains("transport-wide-cc"), "{answer}");
        assert!(says(&answer, " nack"));
        assert!(params.media.iter().all(|media| media.extensions.transport_cc.is_none()));

        let (answer, params) = with(Terms { dtls_role: DtlsRole::Active, ..Terms::default() });
        assert!(answer.contains("a=setup:active") && params.dtls_role == DtlsRole::Active);
    }
}
