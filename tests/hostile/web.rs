//! Attacks on the two HTTP ports below the routes: noise, other protocols, cut requests, and
//! clients that take their time (A42, A45, A50).

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use super::{
    Arena,
    http::{connect, exchange, exchange_cut, get, read_to_end, request},
    noise::Noise,
    offers,
};

/// Noise, TLS, RTMP and HTTP/2 get 400 or nothing, and the end of the connection.
pub(crate) fn noise_on_the_http_ports_ends_its_connection(arena: &Arena<'_>) {
    let mut noise = Noise::new(0x477);
    for addr in [arena.server.api, arena.server.http] {
        let mut rows: Vec<Vec<u8>> = (0..24).map(|n| noise.bytes(1 + n * 200)).collect();
        rows.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
        rows.push([vec![3], vec![0; 1_536]].concat());
        rows.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec());
        rows.push(b"\r\n\r\n\r\n\r\n".to_vec());
        for bytes in rows {
            if let Some(answer) = exchange_cut(addr, &bytes) {
                assert!(matches!(answer.status, 400 | 404 | 405 | 505), "{answer:?}");
            }
        }
    }
}

/// A good request, ended after each of its parts: nothing is opened for half a request.
pub(crate) fn cut_requests_open_nothing(arena: &Arena<'_>) {
    let offer = offers::plain("sendonly");
    for addr in [arena.server.api, arena.server.http] {
        let whole = request(addr, "POST", "/rtc/v1/whip/?app=live&stream=cutrequest", "application/sdp", offer.as_bytes());
        for end in (0..whole.len()).step_by(61) {
            if let Some(answer) = exchange_cut(addr, &whole[..end]) {
                assert!(matches!(answer.status, 400 | 408), "cut at {end}: {answer:?}");
            }
        }
    }
}

/// Heads that are too large, too many, or ambiguous.
pub(crate) fn odd_heads_are_refused(arena: &Arena<'_>) {
    let head = |extra: &str| format!("GET /api/v1/versions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n");
    let rows = [
        ("a head of 64 KB", head(&format!("X: {}\r\n", "y".repeat(64_000)))),
        ("300 headers", head(&"X: y\r\n".repeat(300))),
        ("a target of 64 KB", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(64_000))),
        ("a folded header", head("X: a\r\n b\r\n")),
        ("a NUL in a header", head("X: a\0b\r\n")),
        ("no version", "GET /\r\n\r\n".to_owned()),
        ("another version", "GET / HTTP/9.9\r\nHost: x\r\n\r\n".to_owned()),
        ("CONNECT", "CONNECT other:80 HTTP/1.1\r\nHost: other:80\r\nConnection: close\r\n\r\n".to_owned()),
        ("a chunked coding that is not the last", head("Transfer-Encoding: chunked, identity\r\n")),
        ("a length and a coding", head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        ("a coding and a length", head("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n"),
        ("two lengths", head("Content-Length: 0\r\nContent-Length: 0\r\n")),
        ("two different lengths", head("Content-Length: 0\r\nContent-Length: 44\r\n")),
        ("a bare LF", head("X: a\nTransfer-Encoding: chunked\r\n")),
        ("a space before the colon", head("Content-Length : 0\r\n")),
        ("two hosts", head("Host: y\r\n")),
        ("no host", "GET /api/v1/versions HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned()),
        ("another host in the target", head("").replacen("GET /", "GET http://other/", 1)),
    ];
    for addr in [arena.server.api, arena.server.http] {
        for (what, bytes) in &rows {
            let status = exchange(addr, bytes.as_bytes()).map_or(400, |answer| answer.status);
            assert!((400..500).contains(&status) || status == 505, "{what}: {status}");
        }
        let script = get(addr, "/api/v1/versions?callback=%3Cscript%3Ealert(1)").expect("an answer");
        assert!(script.body.starts_with('{') && !script.body.contains("script"), "{script:?}");
        let unknown = get(addr, "/%3Cscript%3E/nothing").expect("an answer");
        assert!(unknown.status == 404 && !unknown.body.contains("script"), "{unknown:?}");
        assert_eq!(unknown.header("x-content-type-options"), Some("nosniff"));
    }
}

/// A head at a byte per half second, and a body that does not come, end after ten seconds.
pub(crate) fn slow_requests_are_closed(arena: &Arena<'_>) {
    std::thread::scope(|scope| {
        for addr in [arena.server.api, arena.server.http] {
            scope.spawn(move || {
                let mut stream = connect(addr);
                stream.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
                stream.write_all(b"GET /api/v1/versions HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("it is sent");
                let ended = super::drip(&mut stream, Instant::now(), |stream| {
                    let sent = stream.write_all(b"y");
                    let read = std::io::Read::read(stream, &mut [0; 512]);
                    let waits = |kind| matches!(kind, std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                    sent.is_err() || read.map_or_else(|error| !waits(error.kind()), |len| len == 0)
                });
                assert!((8.0..14.0).contains(&ended.as_secs_f64()), "a slow head was suffered for {ended:?}");
            });
        }
        scope.spawn(|| {
            let bytes =
                request(arena.server.api, "POST", "/rtc/v1/whip/?app=live&stream=slow", "application/sdp", &[b'a'; 2_000]);
            let answer = exchange(arena.server.api, &bytes[..bytes.len() - 1_000]).expect("an answer");
            assert_eq!(answer.status, 408, "{answer:?}");
        });
    });
}

/// Hundreds of connections that say nothing keep nobody out, and are closed.
pub(crate) fn an_idle_crowd_keeps_nobody_out(arena: &Arena<'_>) {
    let server = arena.server;
    let crowd: Vec<_> = [server.api, server.http, server.rtmp].iter().flat_map(|addr| (0..100).map(|_| connect(*addr))).collect();
    for addr in [server.api, server.http] {
        let asked = Instant::now();
        assert_eq!(get(addr, "/api/v1/versions").expect("an answer").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "an answer took {:?}", asked.elapsed());
    }
    for stream in crowd {
        // Panics if it is not closed.
        read_to_end(stream);
    }
}
