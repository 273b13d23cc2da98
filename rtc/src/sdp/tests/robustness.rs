//! Whatever arrives: no panic, no partial result, and what is accepted can be read back.

use proptest::prelude::*;

use super::*;

fn negotiate_any(text: &str) {
    let candidates = candidates();
    for direction in [Direction::Publish, Direction::Play] {
        if let Ok((answer, params)) = negotiate(text, direction, &local(&candidates)) {
            let answer = parse(&answer);
            assert!(!params.media.is_empty() && params.media.len() <= 2);
            assert!(!params.remote_fingerprints.is_empty());
            let accepted = answer.media_descriptions.iter().filter(|media| media.media_name.port.value != 0).count();
            assert_eq!(accepted, params.media.len());
            assert!(params.media.iter().all(|media| !media.codecs.is_empty()));
        }
    }
}

fn any_offer() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        offers::chrome("sendrecv"),
        offers::firefox("sendrecv"),
        offers::safari("recvonly"),
        offers::obs(),
        offers::gstreamer(),
        offers::ffmpeg(),
        offers::aiortc("sendonly"),
        offers::chrome("sendonly").replace("BUNDLE 0 1", "BUNDLE 0 1 2") + &offers::data_channel("2"),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in "\\PC{0,400}") {
        negotiate_any(&text);
    }

    #[test]
    fn lines_of_sdp_in_any_order_are_survived(
        lines in prop::collection::vec("(v|o|s|i|u|e|p|c|b|t|r|z|k|a|m)=[ -~]{0,60}", 0..40),
    ) {
        negotiate_any(&lines.join("\r\n"));
    }

    #[test]
    fn replaced_characters_are_survived(
        offer in any_offer(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\r\n\u{80}-\u{10ffff}]"), 1..12),
    ) {
        let mut text: Vec<char> = offer.chars().collect();
        for (index, with) in edits {
            let at = index.index(text.len());
            text.splice(at..=at, with.chars());
        }
        negotiate_any(&text.into_iter().collect::<String>());
    }

    #[test]
    fn lost_doubled_and_swapped_lines_are_survived(
        offer in any_offer(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8), 1..10),
    ) {
        let mut lines: Vec<&str> = offer.split_inclusive("\r\n").collect();
        for (a, b, how) in edits {
            if lines.is_empty() {
                break;
            }
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            match how {
                0 => drop(lines.remove(a)),
                1 => lines.insert(a, lines[b]),
                2 => lines.swap(a, b),
                _ => lines.truncate(a.max(5)),
            }
        }
        negotiate_any(&lines.concat());
    }

    #[test]
    fn numbers_at_the_edges_are_survived(
        offer in any_offer(),
        index in any::<prop::sample::Index>(),
        number in prop::sample::select(vec!["0", "-1", "127", "128", "255", "65536", "4294967296", "99999999999999999999999"]),
    ) {
        let bytes = offer.as_bytes();
        let starts: Vec<usize> =
            (1..bytes.len()).filter(|&i| bytes[i].is_ascii_digit() && !bytes[i - 1].is_ascii_digit()).collect();
        let start = starts[index.index(starts.len())];
        let end = (start..bytes.len()).find(|&i| !bytes[i].is_ascii_digit()).unwrap_or(bytes.len());
        negotiate_any(&format!("{}{number}{}", &offer[..start], &offer[end..]));
    }
}
