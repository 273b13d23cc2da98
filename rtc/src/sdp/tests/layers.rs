//! Simulcast from publishers (RFC 8853): by rid, by SSRC, and what is not taken.

use super::*;

/// Chrome's offer with these lines at the end of the video section in place of its SSRCs.
fn offer(lines: &str) -> String {
    let plain = offers::chrome("sendonly");
    let end = plain.find("a=ssrc-group:FID").expect("video sources stand last");
    format!("{}{lines}", &plain[..end])
}

fn video(offer: &str, direction: Direction) -> (MediaDescription, MediaParams) {
    let (mut answered, mut params) = answer(offer, direction);
    let place = params.media.iter().position(|media| media.kind == MediaKind::Video).unwrap();
    (answered.media_descriptions.remove(place), params.media.remove(place))
}

fn rids(media: &MediaParams) -> Vec<(&str, usize)> {
    media.layers.iter().map(|layer| (layer.rid.as_str(), layer.track.index())).collect()
}

#[test]
fn h41_layers_by_rid_are_answered_in_the_order_of_the_offer() {
    let offer = offer("a=rid:h send\r\na=rid:m send\r\na=rid:l send\r\na=simulcast:send h;m;l\r\n");
    let (answered, params) = video(&offer, Direction::Publish);
    assert_eq!(attribute(&answered, "simulcast"), "recv h;m;l");
    assert_eq!(values(&answered, "rid"), ["h recv", "m recv", "l recv"]);
    assert_eq!(rids(&params), [("h", 1), ("m", 2), ("l", 3)]);
    assert_eq!(params.extensions.rid, Some(10));
    assert!(values(&answered, "extmap").iter().any(|line| line == "10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"));
    assert_eq!(params.extensions.repaired_rid, Some(11), "each layer's retransmissions are told apart");
}

#[test]
fn pauses_are_kept_alternatives_settled_and_a_fourth_layer_left_out() {
    let offer = offer(
        "a=rid:1 send\r\na=rid:2 send max-width=640;max-height=360\r\na=rid:3 send\r\na=rid:4 send\r\na=rid:5 send\r\n\
         a=simulcast:recv 9 send 1,2;~3;4;5\r\n",
    );
    let (answered, params) = video(&offer, Direction::Publish);
    assert_eq!(attribute(&answered, "simulcast"), "recv 1;~3;4");
    assert_eq!(rids(&params), [("1", 1), ("3", 2), ("4", 3)]);
}

#[test]
fn what_cannot_be_received_is_not_a_layer() {
    // Bound to another payload type than the chosen 106; not described; a name that is none.
    let offer = offer("a=rid:a send pt=96\r\na=rid:b send pt=96,106\r\na=rid:c recv\r\na=simulcast:send a;b;c;d;../x;b\r\n");
    let (answered, params) = video(&offer, Direction::Publish);
    assert_eq!((attribute(&answered, "simulcast").as_str(), rids(&params)), ("recv b", vec![("b", 1)]));
}

#[test]
fn h41_without_simulcast_or_without_the_extension_nothing_is_said_of_it() {
    let lines = "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n";
    let nameless = offer(lines).replace("rtp-stream-id", "rtp-other-id");
    for (offer, direction) in [
        (offers::chrome("sendonly"), Direction::Publish),
        (nameless, Direction::Publish),
        (offer(lines).replace("sendonly", "recvonly"), Direction::Play),
    ] {
        let (answered, params) = video(&offer, direction);
        assert!(values(&answered, "simulcast").is_empty() && values(&answered, "rid").is_empty());
        assert_eq!((params.layers.len(), params.extensions.rid, params.extensions.repaired_rid), (0, None, None));
    }
}

#[test]
fn layers_by_ssrc_need_no_answer() {
    let offer = offer("a=ssrc-group:SIM 11 12 13\r\na=ssrc:11 cname:c\r\na=ssrc:12 cname:c\r\na=ssrc:13 cname:c\r\n");
    let (answered, params) = video(&offer, Direction::Publish);
    assert!(values(&answered, "simulcast").is_empty());
    let ssrcs: Vec<_> = params.layers.iter().map(|layer| (layer.ssrc, layer.track.index())).collect();
    assert_eq!(ssrcs, [(Some(11), 1), (Some(12), 2), (Some(13), 3)]);
}
