//! Attacks on the RTMP port below the commands: other protocols, noise, cut sessions, chunk
//! headers that lie, messages that are announced and never come (A50 to A54).

use std::time::Duration;

use super::{
    Arena,
    noise::Noise,
    rtmp::{self, COMMAND, End, Rtmp, SET_CHUNK_SIZE, VIDEO, header, message, null, number, opening, result, text},
};

/// TLS, HTTP and SSH are recognised by their first byte and closed at once.
pub(crate) fn other_protocols_on_the_rtmp_port_are_closed(arena: &Arena<'_>) {
    for first in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /open/1 HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\0",
        b"\x06",
    ] {
        let mut client = Rtmp::silent(arena.server.rtmp);
        client.send(first);
        assert_eq!(client.end(), End::Closed, "{first:?}");
    }
}

/// Noise instead of a handshake, instead of C2, and instead of chunks.
pub(crate) fn noise_on_the_rtmp_port_ends_its_connection(arena: &Arena<'_>) {
    let mut noise = Noise::new(0x12_7001);
    for round in 0..40 {
        let mut client = match round % 4 {
            0 => Rtmp::silent(arena.server.rtmp),
            1 => Rtmp::greeted(arena.server.rtmp),
            2 => Rtmp::opened(arena.server.rtmp, "live"),
            _ => Rtmp::publisher(arena.server.rtmp, &format!("noise{round}")),
        };
        if round % 8 == 0 {
            client.send(&[3]);
        }
        let len = 1 + noise.below(20_000);
        client.send(&noise.bytes(len));
        client.hang_up();
        assert_eq!(client.end(), End::Closed, "round {round}");
    }
}

/// A whole publishing session, ended after each of its first bytes.
pub(crate) fn cut_sessions_end_cleanly(arena: &Arena<'_>) {
    let handshake = [rtmp::hello(), vec![0; 1_536]].concat();
    let commands = |n: usize| {
        let publish = [text("publish"), number(3.0), null(), text(&format!("cut{n}")), text("live")].concat();
        let picture = [&[0x17, 0, 0, 0, 0][..], &[1, 0x42, 0xe0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xe0, 0x1f]].concat();
        [opening("live"), message(4, COMMAND, 1, &publish), message(6, VIDEO, 1, &picture)].concat()
    };
    let len = handshake.len() + commands(0).len();
    let in_handshake = [1, 2, 700, 1_536, 1_537, 1_538, 3_072];
    for end in in_handshake.into_iter().chain((handshake.len()..len).step_by(7)) {
        let mut client = Rtmp::silent(arena.server.rtmp);
        client.send(&[handshake.clone(), commands(end)].concat()[..end]);
        client.hang_up();
        assert_eq!(client.end(), End::Closed, "cut at {end}");
    }
}

/// Messages that take turns chunk by chunk are read right, whatever the form of their chunk stream
/// ids: this is no attack, and must work next to them.
pub(crate) fn interleaved_chunks_are_read(arena: &Arena<'_>) {
    let mut client = Rtmp::greeted(arena.server.rtmp);
    let connect = rtmp::connect_command("live/");
    let padded = [text("createStream"), number(2.0), null(), text(&"p".repeat(300))].concat();
    let other = [text("_checkbw"), number(7.0), null(), text(&"q".repeat(200))].concat();
    // Ids 3, 70 (two bytes) and 400 (three bytes).
    let streams: [(&[u8], &[u8], &[u8]); 3] =
        [(&[3], &[0xc3], &connect), (&[0, 6], &[0xc0, 6], &padded), (&[1, 0x50, 1], &[0xc1, 0x50, 1], &other)];
    let mut wire = Vec::new();
    for round in 0..4 {
        for (first, next, body) in streams {
            let Some(chunk) = body.chunks(128).nth(round) else { continue };
            if round == 0 {
                wire.extend_from_slice(first);
                wire.extend_from_slice(&header(0, COMMAND, 0, 0, body.len())[1..]);
            } else {
                wire.extend_from_slice(next);
            }
            wire.extend_from_slice(chunk);
        }
    }
    client.send(&wire);
    assert!(client.hears(&result(1.0)), "connect");
    assert!(client.hears(&result(7.0)), "_checkbw, which is shorter");
    assert!(client.hears(&result(2.0)), "createStream");
}

/// Headers that break the protocol end the connection with a word in the log.
pub(crate) fn lying_chunk_headers_end_their_connection(arena: &Arena<'_>) {
    let partial = |id: u8| [header(id, COMMAND, 0, 0, 1_000), vec![2; 128]].concat();
    let many_open: Vec<u8> = (2..64).flat_map(partial).collect();
    let many_open_two_bytes: Vec<u8> =
        (0..8_u8).flat_map(|id| [vec![0, id], header(0, COMMAND, 0, 0, 1_000)[1..].to_vec(), vec![2; 128]].concat()).collect();
    let rows = [
        ("chunk size 0", message(2, SET_CHUNK_SIZE, 0, &[0; 4])),
        ("chunk size 2^31", message(2, SET_CHUNK_SIZE, 0, &[0x80, 0, 0, 0])),
        ("chunk size without a value", message(2, SET_CHUNK_SIZE, 0, &[1])),
        ("type 3 on an unseen chunk stream", vec![0xc9, 0, 0, 0]),
        ("type 2 on an unseen chunk stream", vec![0x89, 0, 0, 0, 0, 0, 0]),
        ("a message broken off by another", [partial(3), header(3, COMMAND, 0, 0, 9), vec![0; 9]].concat()),
        ("70 messages open", [many_open, many_open_two_bytes].concat()),
        ("16 MiB before publishing", [header(3, COMMAND, 0, 0, 0xff_ffff), vec![2; 100]].concat()),
        ("70 KB of messages before publishing", message(3, 99, 0, &[0; 1_000]).repeat(70)),
        ("40 messages before publishing", message(3, 99, 0, &[0; 10]).repeat(40)),
        ("a command before connect", message(3, COMMAND, 0, &[text("createStream"), number(1.0), null()].concat())),
    ];
    for (what, bytes) in rows {
        let mut client = Rtmp::greeted(arena.server.rtmp);
        client.send(&bytes);
        assert_eq!(client.end(), End::Closed, "{what}");
    }
    // The largest and the smallest legal sizes allocate nothing and are obeyed.
    for size in [0x7fff_ffff_u32, 0xff_ffff, 1] {
        let mut client = Rtmp::greeted(arena.server.rtmp);
        client.send(&message(2, SET_CHUNK_SIZE, 0, &size.to_be_bytes()));
        let body = rtmp::connect_command("live");
        let step = usize::try_from(size).expect("a size");
        let mut wire = header(3, COMMAND, 0, 0, body.len());
        for (n, chunk) in body.chunks(step).enumerate() {
            if n > 0 {
                wire.push(0xc3);
            }
            wire.extend_from_slice(chunk);
        }
        client.send(&wire);
        assert!(client.hears(&result(1.0)), "chunks of {size} bytes");
    }
}

/// Publishers that each announce a message of 8 MiB, send a little of it and stall: half a
/// gigabyte is announced, and the check of the server's memory at the end sees to it that none of
/// it was allocated.
pub(crate) fn announced_messages_cost_what_was_sent(arena: &Arena<'_>) {
    let mut stalled = Vec::new();
    for n in 0..64 {
        let mut client = Rtmp::publisher(arena.server.rtmp, &format!("stalled{n}"));
        client.send(&[header(6, VIDEO, 1, 0, (8 << 20) - 1), vec![0x27; 128]].concat());
        assert!(client.is_served(n) || n > 0, "it waits for the rest");
        stalled.push(client);
    }
    let mut client = Rtmp::publisher(arena.server.rtmp, "toolong");
    client.send(&[header(6, VIDEO, 1, 0, 0xff_ffff), vec![0x27; 100]].concat());
    assert_eq!(client.end(), End::Closed, "16 MiB are more than a publisher may announce");
}

/// Who says nothing, or one byte a second, is closed after ten seconds.
pub(crate) fn slow_handshakes_are_closed(arena: &Arena<'_>) {
    let mut mute = Rtmp::silent(arena.server.rtmp);
    let mut half = Rtmp::silent(arena.server.rtmp);
    half.send(&rtmp::hello()[..900]);
    let mut greeted = Rtmp::greeted(arena.server.rtmp);
    let mut dripping = Rtmp::silent(arena.server.rtmp);
    let began = std::time::Instant::now();
    let ended = super::drip(&mut dripping, began, |client| {
        client.send(&[3]);
        client.end_within(Duration::from_millis(500)) == End::Closed
    });
    assert!((8.0..14.0).contains(&ended.as_secs_f64()), "a byte each half second was suffered for {ended:?}");
    for (what, client) in [("nothing", &mut mute), ("half a hello", &mut half), ("nothing after the handshake", &mut greeted)] {
        assert_eq!(client.end_within(Duration::from_secs(4)), End::Closed, "{what}");
    }
}
