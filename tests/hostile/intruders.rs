//! Clients that want what is another's: the canary's name, somebody's session, the kick (A35, A36,
//! A39).

use super::{
    Arena,
    http::{exchange, get, post_sdp, request},
    noise::Noise,
    offers,
    rtmp::{End, Rtmp},
};

/// A stream that is live keeps its publisher, whoever else comes.
pub(crate) fn a_live_stream_keeps_its_publisher(arena: &Arena<'_>) {
    for _ in 0..5 {
        let mut client = Rtmp::opened(arena.server.rtmp, "live");
        client.publish("canary");
        assert!(client.hears(b"NetStream.Publish.BadName"), "a second RTMP publisher");
        assert_eq!(client.end(), End::Closed);
        for addr in [arena.server.api, arena.server.http] {
            let answer = post_sdp(addr, "/rtc/v1/whip/?app=live&stream=canary", offers::plain("sendonly").as_bytes());
            assert_eq!(answer.status, 409, "a second publisher by WHIP: {answer:?}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
}

/// Sessions have names that cannot be guessed, and only they open them.
pub(crate) fn sessions_of_others_cannot_be_reached(arena: &Arena<'_>) {
    const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
    let api = arena.server.api;
    let mut noise = Noise::new(0x5e5);
    for guess in
        [noise.word(32), noise.word(8), "..".into(), "%2e%2e".into(), "*".into(), "'%20or%201=1".into(), noise.word(5_000)]
    {
        for method in ["DELETE", "PATCH", "GET"] {
            let answer = exchange(api, &request(api, method, &format!("/rtc/v1/whep/session/{guess}"), FRAGMENT, b"a=mid:0\r\n"));
            assert!(matches!(answer.expect("an answer").status, 400 | 404 | 405), "{method} {guess:.40}");
        }
    }
    let mut names: Vec<String> = Vec::new();
    for _ in 0..4 {
        let answer = post_sdp(api, "/rtc/v1/whep/?app=live&stream=canary", offers::plain("recvonly").as_bytes());
        let resource = answer.header("location").expect("a location").to_owned();
        let name = resource.split("/session/").nth(1).and_then(|rest| rest.split('?').next()).expect("a name").to_owned();
        // 128 bits in letters and digits.
        assert!(name.len() >= 22 && !names.contains(&name), "{name}");
        names.push(name);
        for (what, extra, kind, status) in [
            ("without If-Match", "", FRAGMENT, 428),
            ("with another If-Match", "If-Match: \"x\"\r\n", FRAGMENT, 412),
            ("with another type", "If-Match: *\r\n", "application/sdp", 415),
        ] {
            let bytes = format!(
                "PATCH {resource} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}Content-Type: {kind}\r\nContent-Length: 9\r\n\r\na=mid:0\r\n"
            );
            assert_eq!(exchange(api, bytes.as_bytes()).expect("an answer").status, status, "PATCH {what}");
        }
        assert_eq!(exchange(api, &request(api, "DELETE", &resource, FRAGMENT, b"")).expect("an answer").status, 200);
        assert_eq!(exchange(api, &request(api, "DELETE", &resource, FRAGMENT, b"")).expect("an answer").status, 404);
    }
}

/// A page in the operator's browser cannot kick the canary, nor read who is there.
pub(crate) fn foreign_pages_can_neither_kick_nor_read(arena: &Arena<'_>) {
    let server = arena.server;
    let clients = server.get("/api/v1/clients/?count=1000");
    let canary = clients["clients"]
        .as_array()
        .and_then(|list| list.iter().find(|client| client["name"] == "canary" && client["publish"] == true));
    let id = canary.expect("the canary")["id"].as_str().expect("an id").to_owned();
    let target = format!("/api/v1/clients/{id}");
    let kick = |host: &str, extra: &str| format!("DELETE {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{extra}\r\n");
    let local = server.api.to_string();
    for (what, bytes, status) in [
        ("by DNS rebinding", kick("evil.example", ""), 421),
        ("from another origin", kick(&local, "Origin: http://evil.example\r\n"), 403),
        ("through a proxy", kick(&local, "X-Forwarded-For: 203.0.113.9\r\n"), 403),
    ] {
        assert_eq!(exchange(server.api, bytes.as_bytes()).expect("an answer").status, status, "a kick {what}");
    }
    let by_pages_port = exchange(server.http, kick(&server.http.to_string(), "").as_bytes()).expect("an answer");
    assert_eq!(by_pages_port.status, 405, "a kick through the pages' port");
    let list = get(server.api, "/api/v1/clients/").expect("an answer");
    assert_eq!((list.status, list.header("access-control-allow-origin")), (200, None), "only our own pages may read the list");
}
