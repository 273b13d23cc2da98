//! Bad input on every port, next to a stream that must not notice.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::media::{
    client::ffmpeg_plays,
    publisher::{Kind, Publisher},
    report::{Expected, judge_all},
    server::Server,
    turn,
};

/// How long a connection may stay open after it was sent nonsense.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

/// Bytes that look random and are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

async fn send(port: u16, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the port still accepts");
    // The server may close while we write: that is an answer too.
    let _closed_early = stream.write_all(bytes).await;
    stream
}

/// Everything that comes until the server closes.
async fn answer(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let closed = timeout(CLOSED_WITHIN, stream.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok(), "the connection is still open after {CLOSED_WITHIN:?}");
    bytes
}

/// An RTMP handshake (simple, C0 to C2), then `after`.
async fn rtmp(port: u16, after: &[u8]) -> TcpStream {
    let mut stream = send(port, &[&[3][..], &[0; 8], &noise(1, 1528)].concat()).await;
    let mut reply = vec![0; 1 + 1536 + 1536];
    timeout(CLOSED_WITHIN, stream.read_exact(&mut reply)).await.expect("the handshake is answered").expect("in full");
    let _closed_early = stream.write_all(&reply[1..1537]).await;
    let _closed_early = stream.write_all(after).await;
    stream
}

/// A chunk of type 0 on chunk stream 3 with a whole message of AMF0 commands in it, cut at 128.
fn command(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("it is short").to_be_bytes();
    let mut bytes = vec![3, 0, 0, 0, length[1], length[2], length[3], 20, 0, 0, 0, 0];
    for (i, part) in body.chunks(128).enumerate() {
        if i > 0 {
            bytes.push(0xc3);
        }
        bytes.extend_from_slice(part);
    }
    bytes
}

async fn bad_rtmp(server: &Server) {
    let deep = [b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0".to_vec(), b"\x03\0\x01a".repeat(5_000)].concat();
    let array = b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x0a\xff\xff\xff\xff".to_vec();
    let [port, ..] = server.ports();
    let cases = [
        command(&deep),
        command(&array),
        // Set Chunk Size 0, and one of 2^31 - 1.
        vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0],
        // A continuation of a chunk stream that never began.
        vec![0xc7, 1, 2, 3],
        noise(2, 100_000),
    ];
    for case in cases {
        let mut stream = rtmp(port, &case).await;
        let _closed_early = stream.shutdown().await;
        answer(stream).await;
    }
    for seed in 3..13 {
        let mut stream = send(port, &noise(seed, 5_000)).await;
        let _closed_early = stream.shutdown().await;
        answer(stream).await;
    }
}

async fn bad_http(server: &Server) {
    let [_, api, live, _] = server.ports();
    for port in [api, live] {
        for bytes in [noise(20, 4_096), b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(), vec![b'A'; 200_000]]
        {
            let mut stream = send(port, &bytes).await;
            let _closed_early = stream.shutdown().await;
            answer(stream).await;
        }
    }
    for path in ["..%2fsecret.m3u8", "%2e%2e/x.flv", "a%00.flv", "nobody.m3u8", "nobody-abc-1.ts", &"x".repeat(5_000)] {
        let answer = reqwest::get(format!("http://127.0.0.1:{}/live/{path}", live)).await.expect("an answer");
        assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
    }
}

const AUDIO_ONLY_G729: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
m=video 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n\
a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
a=fingerprint:sha-256 00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00\r\n\
a=rtpmap:98 H261/90000\r\n";

async fn bad_sdp(server: &Server) {
    let http = reqwest::Client::new();
    let cases = [
        ("v=0", "application/sdp"),
        ("", "application/sdp"),
        (AUDIO_ONLY_G729, "application/sdp"),
        (AUDIO_ONLY_G729, "text/plain"),
        (&"a=x\r\n".repeat(200_000), "application/sdp"),
        ("{\"sdp\": 1}", "application/sdp"),
    ];
    for (body, content_type) in cases {
        for url in [server.whip_url("bad"), server.whep_url("canary")] {
            let sent = http.post(&url).header("Content-Type", content_type).body(body.to_owned()).send().await;
            let answer = sent.expect("it is answered");
            let short = &body[..body.len().min(20)];
            assert!(answer.status().is_client_error(), "{url} {short:?}: {}", answer.status());
            assert!(answer.headers().contains_key("access-control-allow-origin"), "{short:?}");
        }
    }
}

/// A STUN Binding request (RFC 8489) with a USERNAME nobody has and a wrong MESSAGE-INTEGRITY.
fn stun_with_a_wrong_key() -> Vec<u8> {
    let mut packet = vec![0, 1, 0, 36, 0x21, 0x12, 0xa4, 0x42];
    packet.extend(noise(30, 12));
    packet.extend(b"\0\x06\0\x08abcd:xyz");
    packet.extend(b"\0\x08\0\x14");
    packet.extend(noise(31, 20));
    packet
}

async fn bad_udp(server: &Server) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    socket.connect((Ipv4Addr::LOCALHOST, server.ports()[3])).await.expect("it is on loopback");
    let mut cases: Vec<Vec<u8>> = (0..200).map(|seed| noise(100 + seed, 1 + seed as usize * 7)).collect();
    cases.extend((0..=255).map(|first| [vec![first], noise(40, 60)].concat()));
    let stun = stun_with_a_wrong_key();
    cases.extend((0..stun.len()).map(|length| stun[..length].to_vec()));
    cases.push(stun);
    for case in cases {
        // ICMP errors of earlier packets surface here and mean nothing.
        let _refused = socket.send(&case).await;
    }
    let mut buffer = [0; 2_048];
    let answered = timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await;
    assert!(!matches!(answered, Ok(Ok(_))), "a stranger gets no answer: {answered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_does_not_notice_bad_input_on_any_port() {
    const SECONDS: u32 = 20;
    let _turn = turn().await;
    let server = Server::start().await;
    let publisher = Publisher::start(Kind::FfmpegRtmp, &server, "canary").await;
    let flv_url = server.flv_url("canary");
    let attacks = async {
        bad_udp(&server).await;
        bad_sdp(&server).await;
        bad_http(&server).await;
        bad_rtmp(&server).await;
    };
    let (canary, ()) = tokio::join!(ffmpeg_plays("canary-flv", &flv_url, SECONDS), attacks);
    judge_all(&[(canary, Expected { seconds: f64::from(SECONDS), pictures: 1.0, step_max: 0.1 })]);
    publisher.stop().await;
    server.wait_for_rows("streams", <[_]>::is_empty, Duration::from_secs(40)).await;
    server.stop().await;
}
