//! Attacks on what RTMP messages carry: AMF0 that nests or lies, and media that was tampered with
//! (A55, A56, A61).

use std::{
    io::{Read as _, Write as _},
    time::{Duration, Instant},
};

use super::{
    Arena,
    http::{connect, get},
    noise::Noise,
    rtmp::{AUDIO, COMMAND, DATA, End, Rtmp, VIDEO, connect_command, message, number, result, stamped, text},
};

/// Values that nest, or promise more than there is. Each is a whole value or the start of one.
fn bombs(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let nested = |unit: &[u8]| unit.repeat(bytes / unit.len());
    vec![
        ("strict arrays", nested(&[10, 0, 0, 0, 1])),
        ("objects", nested(&[3, 0, 1, b'a'])),
        ("ECMA arrays", nested(&[8, 0, 0, 0, 1, 0, 1, b'a'])),
        ("typed objects", nested(&[16, 0, 1, b'T', 0, 1, b'a'])),
        ("an array of 2^32 - 1", [vec![10], vec![0xff; 4], vec![5; bytes]].concat()),
        ("an ECMA array of 2^32 - 1", [vec![8], vec![0xff; 4], nested(&[0, 1, b'a', 5])].concat()),
        ("a string of 4 GiB", [vec![12], vec![0xff; 4], vec![b'a'; bytes]].concat()),
        ("XML of 4 GiB", [vec![15], vec![0xff; 4], vec![b'a'; bytes]].concat()),
        ("more values than anybody needs", vec![5; bytes]),
        ("references", nested(&[7, 0, 0])),
        ("AMF3 inside", nested(&[17, 9, 1])),
        ("keys without an end", [vec![3], nested(&[0, 1, b'a', 5])].concat()),
        ("an unknown marker", vec![0x7f; bytes]),
    ]
}

/// Bombs instead of `connect`'s object and after it, as AMF0 and AMF3-wrapped commands. The
/// connection goes on: bad values are ignored, not fatal.
pub(crate) fn amf_bombs_in_commands_are_ignored(arena: &Arena<'_>) {
    const COMMAND_AMF3: u8 = 17;
    for (what, bomb) in bombs(20_000) {
        let mut client = Rtmp::greeted(arena.server.rtmp);
        client.send(&message(3, COMMAND, 0, &[text("connect"), number(9.0), bomb.clone()].concat()));
        client.send(&message(3, COMMAND_AMF3, 0, &[vec![0], text("createStream"), number(f64::NAN), bomb].concat()));
        client.send(&message(3, COMMAND, 0, &connect_command("live")));
        assert!(client.hears(&result(1.0)), "{what}: the right connect is not answered");
    }
}

/// Bombs as a publisher's metadata, up to 300 KB, which only a publisher may send.
pub(crate) fn amf_bombs_in_metadata_are_ignored(arena: &Arena<'_>) {
    let mut client = Rtmp::publisher(arena.server.rtmp, "bombs");
    let head = [text("@setDataFrame"), text("onMetaData")].concat();
    for (n, size) in [50_000, 300_000].into_iter().enumerate() {
        for (m, (what, bomb)) in bombs(size).into_iter().enumerate() {
            client.send(&message(4, DATA, 1, &[head.clone(), bomb].concat()));
            assert!(client.is_served((n * 100 + m) as u32), "{what} of {size} bytes");
            // Pings are answered ten times a second.
            std::thread::sleep(Duration::from_millis(110));
        }
    }
}

/// Where it is published, and asked for by HLS.
pub(crate) const HLS_STREAM: &str = "tampered";
/// The same by WebRTC, for `insiders`.
pub(crate) const HLS_STREAM_RTC: &str = "tampered-rtc";

/// The canary's own media, tampered with, published under another name and read by FLV, HLS and
/// WebRTC: tags are dropped, the publisher stays.
pub(crate) fn tampered_media_costs_its_own_stream_only(arena: &Arena<'_>) {
    let tags = flv_tags(arena);
    assert!(tags.len() > 40, "{} tags of the canary", tags.len());
    let mut client = Rtmp::publisher(arena.server.rtmp, HLS_STREAM);
    let addr = arena.server.http;
    std::thread::scope(|scope| {
        // Readers, so that every converter runs: each ends by itself.
        scope.spawn(|| read_for(arena, &format!("/live/{HLS_STREAM}.flv"), Duration::from_secs(3)));
        scope.spawn(|| get(addr, &format!("/live/{HLS_STREAM}.m3u8")));
        scope.spawn(|| super::rtc::watch(arena, HLS_STREAM, Duration::from_secs(3)));
        let mut noise = Noise::new(0xf17);
        let began = Instant::now();
        for round in 0..12_u32 {
            for (kind, timestamp, body) in &tags {
                let mut body = body.clone();
                tamper(&mut noise, &mut body, round);
                // Times jump back and forth too.
                let timestamp = if noise.below(20) == 0 { noise.next() as u32 & 0x7f_ffff } else { timestamp + round * 4_000 };
                client.send(&stamped(if *kind == AUDIO { 4 } else { 6 }, *kind, 1, timestamp, &body));
            }
            assert!(client.is_served(round), "round {round}");
            std::thread::sleep(Duration::from_millis(250));
        }
        assert!(began.elapsed() < Duration::from_secs(12));
    });
    client.hang_up();
    assert_eq!(client.end(), End::Closed);
}

/// The first round is left as it is, so that readers get tracks; the second loses its ends; later
/// ones have bytes changed.
fn tamper(noise: &mut Noise, body: &mut Vec<u8>, round: u32) {
    match round {
        0 => {}
        1 => body.truncate(noise.below(body.len() + 1)),
        2 => *body = noise.bytes(body.len().min(200)),
        _ => {
            for _ in 0..1 + noise.below(8) {
                // Headers matter most: half of the changes are in the first 48 bytes.
                let end = if noise.next().is_multiple_of(2) { body.len().min(48) } else { body.len() };
                if end > 0 {
                    let at = noise.below(end);
                    body[at] = noise.byte();
                }
            }
        }
    }
}

/// The canary's tags as HTTP-FLV gives them: kind, time, body.
pub(crate) fn flv_tags(arena: &Arena<'_>) -> Vec<(u8, u32, Vec<u8>)> {
    let body = read_for(arena, "/live/canary.flv", Duration::from_secs(2));
    let mut tags = Vec::new();
    let mut rest = &body[body.windows(4).position(|window| window == b"FLV\x01").expect("an FLV header") + 13..];
    while let Some((head, after)) = rest.split_first_chunk::<11>() {
        let len = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let Some(payload) = after.get(..len) else { break };
        if [AUDIO, VIDEO].contains(&head[0]) {
            tags.push((head[0], u32::from_be_bytes([head[7], head[4], head[5], head[6]]) & 0xff_ffff, payload.to_vec()));
        }
        rest = after.get(len + 4..).unwrap_or_default();
    }
    tags
}

/// What a GET gives in `time`, its chunked coding taken off.
pub(crate) fn read_for(arena: &Arena<'_>, target: &str, time: Duration) -> Vec<u8> {
    let mut stream = connect(arena.server.http);
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    // HTTP/1.0: the body comes as it is.
    stream.write_all(format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n").as_bytes()).expect("a request");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    let deadline = Instant::now() + time;
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => bytes.extend_from_slice(&buffer[..len]),
            Err(_) => {}
        }
    }
    bytes
}
