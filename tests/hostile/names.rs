//! Stream names that no protocol may take: one corpus for all of them (A46, A59).

use super::{
    Arena,
    http::{get, post_sdp},
    offers,
    rtmp::{End, Rtmp},
};

/// As they are meant, before any escaping.
fn corpus() -> Vec<String> {
    let plain = [
        "..",
        ".",
        "../../etc/passwd",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "..\\..\\x",
        "a%2e",
        "%2e%2e",
        "%252e%252e",
        "a\0b",
        "a\nb",
        "a\r\nb",
        "\u{1b}[31mred",
        "\u{202e}drawkcab",
        "a b",
        "a;b",
        "<script>",
        "ä",
        "a'b\"",
        "${jndi:x}",
        "",
    ];
    let long = ["x".repeat(65), "x".repeat(4_096)];
    plain.into_iter().map(str::to_owned).chain(long).collect()
}

fn escaped(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// WHIP and WHEP: 400 with a reason, and nothing of the name in the answer.
pub(crate) fn bad_names_are_400_on_whip_and_whep(arena: &Arena<'_>) {
    for addr in [arena.server.api, arena.server.http] {
        for name in corpus() {
            let escaped = escaped(&name);
            for target in [
                format!("/rtc/v1/whip/?app=live&stream={escaped}"),
                format!("/rtc/v1/whip/?app={escaped}&stream=s"),
                format!("/rtc/v1/whep/?app=live&stream={escaped}"),
            ] {
                let direction = if target.contains("whip") { "sendonly" } else { "recvonly" };
                let answer = post_sdp(addr, &target, offers::plain(direction).as_bytes());
                assert_eq!(answer.status, 400, "{name:?}: {answer:?}");
                assert_eq!(answer.json()["type"], "urn:weir:problem:bad-name", "{name:?}");
                assert!(name.len() < 3 || !answer.body.contains(&name), "{name:?} is repeated: {answer:?}");
            }
        }
        let many: String = (0..100).map(|n| format!("&p{n}=v")).collect();
        let offer = offers::plain("recvonly");
        let answer = post_sdp(addr, &format!("/rtc/v1/whep/?app=live&stream=many{many}"), offer.as_bytes());
        assert_eq!(answer.status, 201, "a hundred parameters that nobody asked for harm nobody: {answer:?}");
    }
}

/// FLV and HLS: the answer for a path that leaves the root is that for a stream that is not there.
pub(crate) fn paths_that_leave_the_root_are_as_absent_as_any(arena: &Arena<'_>) {
    let addr = arena.server.http;
    let absent = get(addr, "/live/absent.m3u8").expect("an answer");
    assert_eq!(absent.status, 404);
    let mut parts: Vec<String> = corpus().iter().filter(|name| !name.is_empty()).map(|name| escaped(name)).collect();
    let raw = ["..%2f..%2fetc%2fpasswd", "%2e%2e", "%252e%252e%252f", "a%00", "a%5cb", "..%c0%af", "%ff%fe", "....", "..;"];
    parts.extend(raw.iter().map(ToString::to_string).filter(|part| part != "...."));
    for part in &parts {
        for target in [
            format!("/live/{part}.flv"),
            format!("/live/{part}.m3u8"),
            format!("/live/{part}-1-1.ts"),
            format!("/{part}/canary.flv"),
            format!("/{part}/canary.m3u8"),
        ] {
            let answer = get(addr, &target).unwrap_or_else(|| panic!("{target} is not answered"));
            assert!(matches!(answer.status, 400 | 404), "{target}: {answer:?}");
            assert!(answer.status == 400 || answer.body == absent.body, "{target} is told apart: {answer:?}");
        }
    }
    // Unescaped, as a browser would never send them.
    for target in [
        "/../../../../etc/passwd",
        "/live/../../../etc/passwd",
        "/live/..",
        "/live/.",
        "//etc/passwd",
        "/live//etc/passwd",
        "/assets/../../Cargo.toml",
        "/assets/%2e%2e/index.html",
        "/live/canary.flv/..",
        "\\..\\..\\x",
        "*",
        "http://other/../x",
    ] {
        let answer = get(addr, target);
        let status = answer.as_ref().map_or(400, |answer| answer.status);
        assert!(matches!(status, 400 | 404 | 405), "{target}: {answer:?}");
        assert!(!answer.is_some_and(|answer| answer.body.contains("root:") || answer.body.contains("[package]")), "{target}");
    }
}

/// RTMP: an error that names no file and no insides, then the end of the connection.
pub(crate) fn bad_names_are_refused_by_rtmp(arena: &Arena<'_>) {
    // What follows a question mark is no part of the name, and slashes around an app are its frame.
    for name in corpus() {
        for publishes in [true, false] {
            let mut client = Rtmp::opened(arena.server.rtmp, "live");
            let refusal = if publishes { "NetStream.Publish.BadName" } else { "NetStream.Play.StreamNotFound" };
            if publishes {
                client.publish(&name)
            } else {
                client.play(&name)
            }
            assert!(client.hears(refusal.as_bytes()), "{name:?}");
            assert_eq!(client.end(), End::Closed, "{name:?}");
        }
    }
    for app in ["..", "a/b", "a\\b", "%2e%2e", "a\0b", "a\nb", "\u{1b}[31m", "\u{202e}x", "", &"x".repeat(65)] {
        let mut client = Rtmp::opened(arena.server.rtmp, app);
        client.publish("s");
        assert!(client.hears(b"NetStream.Publish.BadName"), "app {app:?}");
    }
    // 64 KB of name are more than may be said before publishing.
    let mut client = Rtmp::opened(arena.server.rtmp, "live");
    client.publish(&"x".repeat(65_000));
    assert_eq!(client.end(), End::Closed);
}

/// No name of the corpus has become a stream.
pub(crate) fn none_is_a_stream(streams: &serde_json::Value) {
    let known = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) && name.len() <= 64;
    for stream in streams["streams"].as_array().expect("a list") {
        let name = stream["name"].as_str().expect("a name");
        assert!(known(name), "{name:?}");
    }
}
