//! SDP: an offer that is fine, and all the ways in which one can be bad (A31 to A33).

use super::{
    Arena,
    http::{self, exchange, post_sdp},
};

/// ICE credentials and a fingerprint of nobody.
const UFRAG: &str = "hostile1";
const PWD: &str = "hostilehostilehostile123";

fn nobody() -> String {
    format!("sha-256 {}", ["AB"; 32].join(":"))
}

/// An offer of H.264 and Opus of a peer that will never come.
pub(crate) fn plain(direction: &str) -> String {
    offer(direction, UFRAG, PWD, &nobody())
}

/// An offer of H.264 and Opus. `fingerprint` with its algorithm.
pub(crate) fn offer(direction: &str, ufrag: &str, pwd: &str, fingerprint: &str) -> String {
    let shared = |mid: u8| {
        format!(
            "c=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na={direction}\r\na=rtcp-mux\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
             a=fingerprint:{fingerprint}\r\na=setup:actpass\r\n"
        )
    };
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{}a=rtpmap:111 opus/48000/2\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n{}a=rtpmap:96 H264/90000\r\n\
         a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        shared(0),
        shared(1)
    )
}

fn without(offer: &str, start: &str) -> String {
    offer.split_inclusive("\r\n").filter(|line| !line.starts_with(start)).collect()
}

/// What is wrong, the offer, and the status it must be refused with.
fn table() -> Vec<(&'static str, Vec<u8>, u16)> {
    let good = plain("recvonly");
    let video = good[good.find("m=video").expect("a section")..].replace("a=mid:1", "a=mid:2");
    let text = [
        ("nothing", String::new(), 400),
        ("a first line only", "v=0\r\n".into(), 400),
        ("JSON", "{\"sdp\":\"v=0\"}".into(), 400),
        ("no fingerprint", without(&good, "a=fingerprint"), 400),
        ("only SHA-1", good.replace(&nobody(), &format!("sha-1 {}", ["AB"; 20].join(":"))), 400),
        ("a short fingerprint", good.replace(&nobody(), "sha-256 AB:CD"), 400),
        ("no ufrag", without(&good, "a=ice-ufrag"), 400),
        ("no password", without(&good, "a=ice-pwd"), 400),
        ("no rtcp-mux", without(&good, "a=rtcp-mux"), 422),
        ("no bundle", without(&good, "a=group"), 422),
        ("no mid", without(&good, "a=mid"), 400),
        ("the same mid twice", good.replace("a=mid:1", "a=mid:0"), 400),
        ("the wrong direction", plain("sendonly"), 400),
        ("inactive", plain("inactive"), 400),
        ("two pictures", good.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + &video, 422),
        ("no common codec", good.replace("H264/90000", "theora/90000").replace("opus/48000/2", "vorbis/48000/2"), 406),
        ("no common picture codec", good.replace("H264/90000", "theora/90000"), 406),
        ("nothing but disabled media", good.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0"), 422),
        ("no media at all", good[..good.find("m=audio").expect("a section")].to_owned(), 406),
        ("a payload type of 200", good.replace("SAVPF 111", "SAVPF 200").replace(":111 ", ":200 "), 400),
        ("RTX of itself", good.replace("apt=96", "apt=97"), 400),
        ("200 codecs", good.replace("SAVPF 96", &format!("SAVPF 96{}", " 98".repeat(200))), 400),
        ("a line of 60 KB", good.clone() + "a=x:" + &"y".repeat(60_000) + "\r\n", 400),
        ("5,000 m-lines", good.clone() + &"m=a 0 R 0\r\n".repeat(5_000), 400),
        ("10,000 lines", good.clone() + &"a=x\r\n".repeat(10_000), 400),
        ("100,000 lines", good.clone() + &"a=x\r\n".repeat(100_000), 413),
        ("a megabyte", good.clone() + &"a=padding:padding\r\n".repeat(53_000), 413),
        ("NUL", good.replace("s=-", "s=\0"), 400),
        ("a lone CR", good.replace("s=-", "s=a\rb"), 400),
    ];
    let mut table: Vec<_> = text.into_iter().map(|(what, offer, status)| (what, offer.into_bytes(), status)).collect();
    table.push((
        "bytes that are no text",
        good.replace("s=-", "s=XX").bytes().map(|b| if b == b'X' { 0xff } else { b }).collect(),
        400,
    ));
    table
}

/// Each is refused with its status, a reason for the developer, and leave for a page to read it.
pub(crate) fn bad_offers_are_refused_with_a_reason(arena: &Arena<'_>) {
    for addr in [arena.server.api, arena.server.http] {
        for (what, offer, status) in table() {
            let answer = post_sdp(addr, "/rtc/v1/whep/?app=live&stream=canary", &offer);
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            // A player without our codecs is made an offer, which waits for an answer.
            if status == 406 {
                assert!(answer.body.starts_with("v=0") && answer.body.contains("a=sendonly"), "{what}: {answer:?}");
                continue;
            }
            let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
            assert!(!detail.is_empty(), "{what}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{what}");
        }
    }
    let publish = post_sdp(arena.server.api, "/rtc/v1/whip/?app=live&stream=wrongway", plain("recvonly").as_bytes());
    assert_eq!(publish.status, 400);
}

/// An offer cut anywhere is refused or, where what is missing does not matter, served: never a
/// broken connection.
pub(crate) fn cut_offers_are_answered(arena: &Arena<'_>) {
    let offer = plain("sendonly");
    for end in (0..offer.len()).step_by(37) {
        let answer = post_sdp(arena.server.api, &format!("/rtc/v1/whip/?app=live&stream=cut{end}"), &offer.as_bytes()[..end]);
        assert!(matches!(answer.status, 201 | 400 | 422), "cut at {end}: {answer:?}");
        // A session that was opened is left to its reaper.
        assert!(answer.status != 201 || end > offer.find("m=video").expect("a section"), "cut at {end}");
    }
}

/// What is larger than allowed is refused before it is read, however its length is told.
pub(crate) fn large_bodies_are_413(arena: &Arena<'_>) {
    let target = "/rtc/v1/whip/?app=live&stream=large";
    let head = |extra: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/sdp\r\n{extra}\r\n\r\n")
    };
    let chunked = [head("Transfer-Encoding: chunked").into_bytes(), b"20000\r\n".to_vec(), vec![b'a'; 0x20000]];
    for addr in [arena.server.api, arena.server.http] {
        for (what, bytes) in [
            ("64 KiB and 1 byte", http::request(addr, "POST", target, "application/sdp", &vec![b'a'; (64 << 10) + 1])),
            ("10 MiB", http::request(addr, "POST", target, "application/sdp", &vec![b'a'; 10 << 20])),
            ("4 GiB, declared only", head("Content-Length: 4294967296").into_bytes()),
            ("chunks without an end", chunked.concat()),
        ] {
            let answer = exchange(addr, &bytes).unwrap_or_else(|| panic!("{what} is not answered"));
            assert_eq!(answer.status, 413, "{what}: {answer:?}");
        }
        let packed = head("Content-Encoding: gzip\r\nContent-Length: 4") + "\x1f\u{b}\u{8}";
        assert_eq!(exchange(addr, packed.as_bytes()).expect("an answer").status, 415, "nothing is unpacked");
        let two = head("Content-Length: 5\r\nContent-Length: 6") + "abcdef";
        let status = exchange(addr, two.as_bytes()).map_or(400, |answer| answer.status);
        assert_eq!(status, 400, "two lengths");
    }
}

/// SRS's JSON signalling answers 200 with a code, whatever comes.
pub(crate) fn bad_json_has_a_code(arena: &Arena<'_>) {
    let nested = "[".repeat(20_000);
    let escape = serde_json::json!({"streamurl": "webrtc://h/live/../x", "sdp": plain("recvonly")}).to_string();
    let no_codec = plain("recvonly").replace("H264/90000", "theora/90000");
    let no_codec = serde_json::json!({"streamurl": "webrtc://h/live/canary", "sdp": no_codec}).to_string();
    for (body, code) in
        [("{}", 400), ("[", 400), (nested.as_str(), 400), (&escape, 400), (&no_codec, 422), (&"x".repeat(70_000), 413)]
    {
        let bytes = http::request(arena.server.api, "POST", "/rtc/v1/play/", "application/json", body.as_bytes());
        let answer = exchange(arena.server.api, &bytes).expect("an answer");
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(code)), "{:.60}: {answer:?}", body);
    }
}
