//! Retransmission streams (RFC 4588): to viewers that offer them, for video with NACK, and to no others.

use super::*;

fn rtx(media: &MediaParams) -> Vec<(u8, Option<u8>)> {
    media.codecs.iter().map(|params| (params.payload_type, params.rtx_payload_type)).collect()
}

fn video(offer: &str, direction: Direction) -> (MediaDescription, MediaParams) {
    let (mut answered, mut params) = answer(offer, direction);
    let place = params.media.iter().position(|media| media.kind == MediaKind::Video).unwrap();
    (answered.media_descriptions.remove(place), params.media.remove(place))
}

#[test]
fn a_player_is_answered_the_rtx_bound_to_each_chosen_codec() {
    let (answered, params) = video(&offers::chrome("recvonly"), Direction::Play);
    assert_eq!(rtx(&params), [(106, Some(107)), (98, Some(99)), (96, Some(97)), (45, Some(46))]);
    let (rtpmaps, fmtps) = (values(&answered, "rtpmap"), values(&answered, "fmtp"));
    for (original, rtx) in [(106, 107), (98, 99), (96, 97), (45, 46)] {
        assert!(rtpmaps.contains(&format!("{rtx} rtx/90000")));
        assert!(fmtps.contains(&format!("{rtx} apt={original}")));
    }
    assert!(values(&answered, "rtcp-fb").iter().all(|feedback| !feedback.starts_with("107 ")));

    for (name, offer, h264) in [
        ("firefox", offers::firefox("recvonly"), (126, Some(127))),
        ("safari", offers::safari("recvonly"), (98, Some(99))),
        ("aiortc", offers::aiortc("recvonly"), (101, Some(102))),
    ] {
        let (answered, params) = video(&offer, Direction::Play);
        assert_eq!((rtx(&params)[0], params.rtx_ssrc), (h264, Some(3333)), "{name}");
        assert!(answered.media_name.formats.contains(&h264.1.unwrap().to_string()), "{name}");
    }
}

#[test]
fn the_second_source_is_announced_as_the_repair_of_the_first() {
    let (answered, params) = answer(&offers::chrome("recvonly"), Direction::Play);
    let [audio, video] = &answered.media_descriptions[..] else { panic!("two sections") };
    assert_eq!(attribute(video, "ssrc-group"), "FID 2222 3333");
    let cname = &params.cname;
    let lines = ["cname", "msid"].map(|what| if what == "cname" { cname.clone() } else { "live-livestream video".to_owned() });
    let expected: Vec<_> = [2222, 3333]
        .iter()
        .flat_map(|ssrc| [format!("{ssrc} cname:{}", lines[0]), format!("{ssrc} msid:{}", lines[1])])
        .collect();
    assert_eq!(values(video, "ssrc"), expected);
    assert_eq!((params.media[0].rtx_ssrc, values(audio, "ssrc").len()), (None, 2));
    assert!(values(audio, "ssrc-group").is_empty());
}

#[test]
fn a_player_that_offers_none_gets_none() {
    let plain = offers::obs().replace("a=sendonly", "a=recvonly");
    let no_nack = offers::chrome("recvonly").replace(" nack\r\n", " x-nack\r\n");
    let unbound = offers::safari("recvonly").replace("a=fmtp:99 apt=98", "a=fmtp:99 apt=77");
    let other_rate = offers::safari("recvonly").replace("a=rtpmap:99 rtx/90000", "a=rtpmap:99 rtx/48000");
    // RFC 5761 section 4.
    let like_rtcp = offers::safari("recvonly")
        .replace("98 99 100", "98 72 100")
        .replace("a=rtpmap:99 rtx", "a=rtpmap:72 rtx")
        .replace("a=fmtp:99 apt=98", "a=fmtp:72 apt=98");
    for (name, offer) in
        [("plain", plain), ("no nack", no_nack), ("unbound", unbound), ("rate", other_rate), ("like RTCP", like_rtcp)]
    {
        let (answered, params) = video(&offer, Direction::Play);
        assert_eq!(rtx(&params)[0].1, None, "{name}");
        let h264 = params.codecs[0].payload_type.to_string();
        assert_eq!(answered.media_name.formats[0], h264, "{name}");
        assert!(!values(&answered, "fmtp").iter().any(|fmtp| fmtp.ends_with(&format!("apt={h264}"))), "{name}");
        let any = params.codecs.iter().any(|codec| codec.rtx_payload_type.is_some());
        assert_eq!((params.rtx_ssrc.is_some(), !values(&answered, "ssrc-group").is_empty()), (any, any), "{name}");
    }
}

#[test]
fn a_publishers_rtx_is_answered_and_needs_no_stream_of_ours() {
    for offer in [offers::chrome("sendonly"), offers::firefox("sendonly"), offers::aiortc("sendonly")] {
        let (answered, params) = video(&offer, Direction::Publish);
        assert!(params.codecs[0].rtx_payload_type.is_some() && params.rtx_ssrc.is_none());
        let apt = format!("apt={}", params.codecs[0].payload_type);
        assert!(values(&answered, "fmtp").iter().any(|line| line.ends_with(&apt)));
        assert!(values(&answered, "ssrc-group").is_empty());
    }
}

#[test]
fn sound_is_never_repaired() {
    let offer = offers::obs().replace("a=sendonly", "a=recvonly").replace("SAVPF 111", "SAVPF 111 112").replace(
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 nack\r\na=rtpmap:112 rtx/48000\r\na=fmtp:112 apt=111",
    );
    let (_, params) = answer(&offer, Direction::Play);
    assert!(params.media[0].codecs[0].nack);
    assert_eq!((params.media[0].codecs[0].rtx_payload_type, params.media[0].rtx_ssrc), (None, None));
}
