//! Each way of being refused, one line each, with the HTTP status that it becomes.

use super::*;

fn refusal(offer: &str, direction: Direction) -> NegotiateError {
    let candidates = candidates();
    negotiate(offer, direction, &local(&candidates)).expect_err("the offer must be refused")
}

fn publish(change: impl FnOnce(String) -> String) -> NegotiateError {
    refusal(&change(offers::chrome("sendonly")), Direction::Publish)
}

fn without(line: &str) -> NegotiateError {
    let offer = offers::chrome("sendonly");
    let kept: String = offer.split_inclusive("\r\n").filter(|text| !text.starts_with(line)).collect();
    assert_ne!(offer, kept, "{line} is in the offer");
    refusal(&kept, Direction::Publish)
}

#[test]
fn h05_w03_the_wrong_direction_is_400_both_ways() {
    for (direction, refused, fine) in [
        (Direction::Publish, ["recvonly", "inactive"], ["sendonly", "sendrecv"]),
        (Direction::Play, ["sendonly", "inactive"], ["recvonly", "sendrecv"]),
    ] {
        for flow in refused {
            let error = refusal(&offers::chrome(flow), direction);
            assert!(matches!(&error, NegotiateError::WrongDirection { offered, .. } if *offered == flow), "{error}");
            assert_eq!(error.class().status(), 400);
        }
        for flow in fine {
            answer(&offers::chrome(flow), direction);
        }
    }
}

#[test]
fn missing_transport_attributes_are_400() {
    assert_eq!(without("a=ice-ufrag"), NegotiateError::Missing("a=ice-ufrag"));
    assert_eq!(without("a=ice-pwd"), NegotiateError::Missing("a=ice-pwd"));
    assert!(matches!(without("a=fingerprint"), NegotiateError::Missing(what) if what.contains("fingerprint")));
    assert_eq!(without("a=mid"), NegotiateError::Missing("a=mid"));
    assert_eq!(without("a=ice-"), NegotiateError::Missing("a=ice-ufrag and a=ice-pwd"));
    assert_eq!(without("a=mid").class().status(), 400);
}

#[test]
fn a14_sha_1_alone_is_not_enough() {
    let digest = ["AB"; 20].join(":");
    let offer: String = offers::obs()
        .split_inclusive("\r\n")
        .map(|line| if line.starts_with("a=fingerprint") { format!("a=fingerprint:sha-1 {digest}\r\n") } else { line.to_owned() })
        .collect();
    assert!(matches!(refusal(&offer, Direction::Publish), NegotiateError::Missing(what) if what.contains("sha-256")));
}

#[test]
fn a32_broken_values_are_400() {
    for (from, to) in [
        ("a=ice-ufrag:Oyef", "a=ice-ufrag:Oy"),
        ("a=ice-ufrag:Oyef", "a=ice-ufrag:Oy f"),
        ("a=ice-pwd:1vd1Q8o6ZVNbTV3Wlp6YdQqk", "a=ice-pwd:short"),
        ("a=fingerprint:sha-256 19:", "a=fingerprint:sha-256 1:"),
        ("a=fingerprint:sha-256 19:", "a=fingerprint:sha-256 "),
        ("a=fingerprint:sha-256 19:", "a=fingerprint:sha-256 19:19:"),
        ("a=fingerprint:sha-256 19:", "a=fingerprint:sha-256 +9:"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=mid:1", "a=mid:0"),
        ("a=mid:1", "a=mid:one two"),
        ("a=mid:1", "a=mid:12345678901234567"),
        ("SAVPF 111 ", "SAVPF 128 "),
        ("SAVPF 111 ", "SAVPF 1e1 "),
        ("a=fmtp:99 apt=98", "a=fmtp:99 apt=96"),
        ("a=fmtp:99 apt=98", "a=fmtp:99 apt=97"),
        ("a=rtpmap:111 ", "a=rtpmap:111"),
        ("a=rtpmap:111 ", "a=rtpmap:300 "),
        ("v=0", "v=1"),
        ("t=0 0\r\n", ""),
        ("s=-", "s=\0"),
        ("s=-", "s=a\rb"),
    ] {
        let error = publish(|offer| offer.replace(from, to));
        assert_eq!(error.class().status(), 400, "{from:?} -> {to:?}: {error}");
    }
}

#[test]
fn nothing_but_sdp_is_400() {
    for text in ["", "v=0", "v=0\r\n", "{\"sdp\":1}", "GET / HTTP/1.1", "\u{feff}v=0", "m=audio 9 RTP/SAVPF 0"] {
        assert_eq!(refusal(text, Direction::Publish).class().status(), 400, "{text:?}");
    }
}

#[test]
fn a32_limits_hold_before_parsing() {
    let base = offers::chrome("sendonly");
    for (what, offer) in [
        ("text", base.clone() + &"a=x\r\n".repeat(20_000)),
        ("lines", base.clone() + &"a=x\r\n".repeat(2_500)),
        ("a line", base.clone() + "a=x:" + &"y".repeat(60_000)),
        ("m-lines", base.clone() + &"m=audio 0 RTP/SAVPF 0\r\n".repeat(15)),
        ("formats", base.replace("SAVPF 111", &format!("SAVPF{} 111", " 1".repeat(200)))),
    ] {
        let error = refusal(&offer, Direction::Publish);
        assert!(matches!(error, NegotiateError::TooLarge(_)), "{what}: {error}");
        assert_eq!(error.class().status(), 400);
    }
}

#[test]
fn no_bundle_or_no_mux_is_422() {
    let group = "a=group:BUNDLE 0 1\r\n";
    assert_eq!(publish(|offer| offer.replace(group, "")), NegotiateError::NotBundled);
    assert_eq!(publish(|offer| offer.replace(group, "a=group:BUNDLE 0\r\n")), NegotiateError::NotBundled);
    assert_eq!(publish(|offer| offer.replace(group, "a=group:LS 0 1\r\n")), NegotiateError::NotBundled);
    assert_eq!(without("a=rtcp-mux"), NegotiateError::NoRtcpMux("0".to_owned()));
    assert_eq!(NegotiateError::NotBundled.class().status(), 422);
}

#[test]
fn h31_more_than_we_serve_is_422_and_never_a_part_of_it() {
    let second = |kind: &str| {
        publish(|offer| {
            let again = offer.split_once(&format!("m={kind}")).map(|(_, rest)| rest).unwrap();
            let again = again.split("m=").next().unwrap().replace("a=mid:0", "a=mid:2").replace("a=mid:1", "a=mid:2");
            offer.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + &format!("m={kind}{again}")
        })
    };
    assert_eq!(second("video"), NegotiateError::TooManyTracks(MediaKind::Video));
    assert_eq!(second("audio"), NegotiateError::TooManyTracks(MediaKind::Audio));
    let streams = publish(|offer| offer.replace("msid:5c1b7d30 77b1", "msid:0ther 77b1"));
    assert_eq!(streams, NegotiateError::TooManyStreams);
    assert_eq!(streams.class().status(), 422);
    // A track of no stream contradicts nobody.
    answer(&offers::chrome("sendonly").replace("msid:5c1b7d30 77b1", "msid:- 77b1"), Direction::Publish);
}

#[test]
fn a_data_channel_alone_is_422() {
    let head = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n".to_owned();
    assert_eq!(refusal(&(head.clone() + &offers::data_channel("0")), Direction::Play), NegotiateError::NoMedia);
    assert_eq!(refusal(&head, Direction::Play), NegotiateError::Empty);
    let disabled = offers::chrome("recvonly").replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0");
    assert_eq!(refusal(&disabled, Direction::Play), NegotiateError::NoMedia);
    assert_eq!(NegotiateError::NoMedia.class().status(), 422);
}

#[test]
fn other_media_and_transports_are_422() {
    for (from, to) in [("m=video 9", "m=text 9"), ("UDP/TLS/RTP/SAVPF", "RTP/AVP"), ("UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF")] {
        let error = publish(|offer| offer.replace(from, to));
        assert!(matches!(error, NegotiateError::UnsupportedMedia(_)), "{error}");
        assert_eq!(error.class().status(), 422);
    }
}

#[test]
fn h32_a_good_audio_does_not_save_an_unknown_video() {
    for direction in [Direction::Publish, Direction::Play] {
        let flow = if direction == Direction::Publish { "sendonly" } else { "recvonly" };
        let mut offer = offers::chrome(flow);
        for name in ["VP8", "VP9", "H264", "AV1"] {
            offer = offer.replace(&format!(" {name}/90000"), " DIRAC/90000");
        }
        let error = refusal(&offer, direction);
        assert_eq!(error, NegotiateError::NoCommonCodec { kind: MediaKind::Video, mid: "1".to_owned() });
        assert_eq!(error.class().status(), 422);
    }
    let mono = publish(|offer| offer.replace("opus/48000/2", "opus/48000").replace(" 0 8 ", " ").replace("PCM", "XCM"));
    assert!(matches!(mono, NegotiateError::NoCommonCodec { kind: MediaKind::Audio, .. }), "{mono}");
}

#[test]
fn payload_types_that_look_like_rtcp_are_not_chosen() {
    let offer = offers::obs().replace("SAVPF 96", "SAVPF 72").replace(":96 ", ":72 ");
    assert!(matches!(refusal(&offer, Direction::Publish), NegotiateError::NoCommonCodec { kind: MediaKind::Video, .. }));
}

#[test]
fn what_is_forced_or_on_air_is_not_replaced() {
    let candidates = candidates();
    let forced = LocalParams { codec: Some(Codec::Av1), ..local(&candidates) };
    let error = negotiate(&offers::obs(), Direction::Publish, &forced).expect_err("OBS offers H.264 only");
    assert!(matches!(error, NegotiateError::NoCommonCodec { kind: MediaKind::Video, .. }));
    let live = Tracks { list: vec![Arc::new(Track::new(TrackId::VIDEO, Codec::H265, 90_000, 0))], ..Tracks::default() };
    let live = LocalParams { prefer: Some(&live), ..local(&candidates) };
    let error = negotiate(&offers::chrome("recvonly"), Direction::Play, &live).expect_err("this Chrome plays no H.265");
    assert!(matches!(error, NegotiateError::NoCommonCodec { kind: MediaKind::Video, .. }));
}
