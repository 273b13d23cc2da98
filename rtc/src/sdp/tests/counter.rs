//! Offers of ours to players, and their answers.

use super::*;
use crate::sdp::{counter_offer, take_answer};

fn offered(prefer: Option<&Tracks>) -> (String, SessionParams) {
    let candidates = candidates();
    counter_offer(&LocalParams { prefer, ..local(&candidates) }).expect("there is something to offer")
}

fn live(codec: Codec) -> Tracks {
    let audio = Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2);
    Tracks { list: vec![Arc::new(audio), Arc::new(Track::new(TrackId::VIDEO, codec, 90_000, 0))], ..Tracks::default() }
}

/// What a player that takes all of `offer` answers.
fn answer_to(offer: &str) -> String {
    let lines = offer.lines().filter(|line| {
        let ours =
            ["a=ssrc", "a=msid", "a=candidate", "a=end-of-candidates", "a=ice-lite", "a=ice-ufrag", "a=ice-pwd", "a=fingerprint"];
        !ours.iter().any(|prefix| line.starts_with(prefix))
    });
    let digest = ["AB"; 32].join(":");
    let theirs =
        format!("a=ice-ufrag:theirs\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {digest}\r\na=setup:active\r\n");
    lines
        .map(|line| match line {
            "a=setup:actpass" => theirs.clone(),
            "a=sendonly" => "a=recvonly\r\n".to_owned(),
            line => format!("{line}\r\n"),
        })
        .collect()
}

#[test]
fn w04_our_offer_is_sendonly_of_one_stream_and_has_all_that_a_peer_needs() {
    let (text, _) = offered(Some(&live(Codec::H265)));
    let offer = parse(&text);
    assert_eq!(session_attribute(&offer, "group"), "BUNDLE 0 1");
    assert!(offer.attributes.iter().any(|a| a.key == "ice-lite"));
    let streams: Vec<_> = offer.media_descriptions.iter().map(|media| attribute(media, "msid")).collect();
    assert_eq!(streams, ["live-livestream audio", "live-livestream video"]);
    for media in &offer.media_descriptions {
        assert!(media.has_attribute("sendonly") && media.has_attribute("rtcp-mux") && media.has_attribute("end-of-candidates"));
        assert_eq!(attribute(media, "setup"), "actpass");
        assert_eq!(attribute(media, "ice-ufrag"), "weirfrag");
        assert_eq!(attribute(media, "fingerprint"), "sha-256 AA:BB:CC");
        assert_eq!(values(media, "candidate").len(), 3);
    }
    assert!(values(&offer.media_descriptions[1], "rtpmap")[0].contains("H265"), "what is on air comes first");
}

#[test]
fn a_stream_of_one_kind_is_offered_alone_and_an_unknown_one_whole() {
    let sound = Tracks { list: vec![Arc::new(Track::new(TrackId::AUDIO, Codec::Opus, 48_000, 2))], ..Tracks::default() };
    let (text, params) = offered(Some(&sound));
    assert_eq!((parse(&text).media_descriptions.len(), params.media.len()), (1, 1));
    let (text, params) = offered(None);
    assert_eq!(parse(&text).media_descriptions.len(), 2);
    assert_eq!(params.media[1].codecs.iter().map(|codec| codec.codec).collect::<Vec<_>>()[..2], [Codec::H264, Codec::Vp9]);
    assert!(params.media[1].codecs.iter().all(|codec| codec.rtx_payload_type.is_some() && codec.nack && codec.pli));
}

#[test]
fn w06_an_answer_that_fits_becomes_a_session() {
    let tracks = live(Codec::H265);
    let (text, offered) = offered(Some(&tracks));
    let params = take_answer(&answer_to(&text), &offered, Some(&tracks)).expect("it fits");
    assert_eq!((params.remote_ice.ufrag.as_str(), params.remote_fingerprints.len()), ("theirs", 1));
    assert_eq!((params.dtls_role, params.local_ice.ufrag.as_str()), (DtlsRole::Passive, "weirfrag"));
    assert_eq!(params.first_codecs(), [Codec::Opus, Codec::H265]);
    let ssrcs = |params: &SessionParams| params.media.iter().map(|media| (media.local_ssrc, media.rtx_ssrc)).collect::<Vec<_>>();
    assert_eq!(ssrcs(&params), ssrcs(&offered));
    assert_eq!(params.media[1].extensions, offered.media[1].extensions);
    let passive = answer_to(&text).replace("a=setup:active", "a=setup:passive");
    assert_eq!(take_answer(&passive, &offered, Some(&tracks)).expect("it fits").dtls_role, DtlsRole::Active);

    // Sound alone is the player's choice.
    let sound = answer_to(&text).replace("m=video 9", "m=video 0");
    assert_eq!(take_answer(&sound, &offered, Some(&tracks)).expect("it fits").first_codecs(), [Codec::Opus]);
    // A header extension under another number is not agreed.
    let renumbered = answer_to(&text).replace("a=extmap:1 ", "a=extmap:13 ");
    assert_eq!(take_answer(&renumbered, &offered, Some(&tracks)).expect("it fits").media[0].extensions.mid, None);
}

#[test]
fn w06_an_answer_that_does_not_fit_is_refused() {
    let tracks = live(Codec::H265);
    let (text, offered) = offered(Some(&tracks));
    let good = answer_to(&text);
    let one_line = format!("{}\r\n", good.split("m=video").next().expect("a part").trim_end());
    for (what, answer, status) in [
        ("nothing", String::new(), 400),
        ("no SDP", "hello".to_owned(), 400),
        ("one m-line", one_line, 400),
        ("another mid", good.replace("a=mid:1", "a=mid:x").replace("BUNDLE 0 1", "BUNDLE 0 x"), 400),
        ("sending", good.replace("a=recvonly", "a=sendonly"), 400),
        ("both ways", good.replace("a=recvonly", "a=sendrecv"), 400),
        ("no fingerprint", good.replace("a=fingerprint", "a=x"), 400),
        ("no password", good.replace("a=ice-pwd", "a=x"), 400),
        ("nothing wanted", good.replace("a=recvonly", "a=inactive"), 422),
        ("all disabled", good.replace(" 9 UDP", " 0 UDP"), 422),
        ("not the codec on air", good.replace(" H265/90000", " X265/90000"), 422),
    ] {
        let error = take_answer(&answer, &offered, Some(&tracks)).expect_err(what);
        assert_eq!(error.class().status(), status, "{what}: {error}");
    }
    assert!(take_answer(&good, &offered, Some(&tracks)).is_ok());
}

#[test]
fn only_a_players_codecs_are_countered() {
    for (error, countered) in [
        (NegotiateError::Empty, true),
        (NegotiateError::NoCommonCodec { kind: MediaKind::Video, mid: "1".to_owned() }, true),
        (NegotiateError::NoMedia, false),
        (NegotiateError::NotBundled, false),
        (NegotiateError::Malformed("x"), false),
    ] {
        assert_eq!(error.may_be_countered(), countered, "{error}");
    }
}
