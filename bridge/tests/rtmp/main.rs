//! The RTMP server over real TCP, with another implementation as publisher and as player.

mod client;
mod decisions;

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use rml_rtmp::sessions::{ClientSessionEvent, PublishRequestType};
use weir_bridge::{
    Begin,
    rtmp::{Door, RtmpConfig, RtmpVhost},
};
use weir_source::{ClientKind, PerVhost, StreamKey};

use client::{Client, Server, avc_config, picture, until};

#[test]
fn a_player_gets_metadata_headers_cached_pictures_and_live_media() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s?token=1");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 80, 150_000, 1));
    publisher.send_video(40, picture(false, 0, 500, 2));
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("the pictures arrive", || source.frames().live() == 2);

    let mut player = Client::play(&server, "live", "s");
    let metadata = player.wait_for("metadata", |event| matches!(event, ClientSessionEvent::StreamMetadataReceived { .. }));
    let ClientSessionEvent::StreamMetadataReceived { metadata } = metadata else { unreachable!() };
    assert_eq!((metadata.video_width, metadata.video_height), (Some(640), Some(360)));
    assert_eq!((metadata.audio_sample_rate, metadata.encoder.as_deref()), (Some(44_100), Some("test")));
    let (_, _, asc) = player.media();
    assert_eq!(&asc[..], [0xaf, 0, 0x12, 0x10]);
    let (_, _, avcc) = player.media();
    assert_eq!(&avcc[..], avc_config(0xcb));
    let (is_video, first, body) = player.media();
    assert!(is_video);
    assert_eq!(body, picture(true, 80, 150_000, 1), "in chunks, with its composition time");
    let (_, second, body) = player.media();
    assert_eq!((second - first, body.len()), (40, picture(false, 0, 500, 2).len()));

    publisher.send_audio(60, vec![0xaf, 1, 9, 9]);
    let (is_video, third, body) = player.media();
    assert_eq!((is_video, third - first, &body[..]), (false, 60, &[0xaf, 1, 9, 9][..]));
    publisher.send_video(80, avc_config(0xca));
    publisher.send_video(80, picture(true, 0, 10, 3));
    assert_eq!(&player.media().2[..], avc_config(0xca), "the new parameters come before their picture");
    assert_eq!(player.media().1 - first, 80);

    let kinds: Vec<_> = server.hub.clients().list().iter().map(|client| client.info.kind).collect();
    assert_eq!(kinds, [ClientKind::RtmpPublish, ClientKind::RtmpPlay]);
    assert!(
        server.hub.clients().list().iter().all(|client| client.traffic.received.load(std::sync::atomic::Ordering::Relaxed) > 0)
    );
    server.end();
}

/// Lets everybody through and says that it was by TLS.
#[derive(Clone)]
struct SecureDoor;

impl Door for SecureDoor {
    type Stream = tokio::net::TcpStream;
    const IS_TLS: bool = true;

    async fn open(&self, stream: tokio::net::TcpStream, _peer: SocketAddr) -> std::io::Result<Self::Stream> {
        Ok(stream)
    }
}

#[test]
fn the_url_of_a_client_is_rtmps_if_it_came_by_tls_whatever_it_says() {
    let url = |server: &Server| {
        let _publisher = Client::publish(server, "live", "s");
        server.hub.clients().list()[0].info.url.clone()
    };
    let (open, secure) = (Server::start(RtmpConfig::default()), Server::start_behind(SecureDoor, RtmpConfig::default()));
    let (said, known) = (url(&open), url(&secure));
    assert!(said.starts_with("rtmp://"), "{said}");
    assert_eq!(known, said.replacen("rtmp://", "rtmps://", 1));
    open.end();
    secure.end();
}

#[test]
fn a_player_may_come_first_and_survives_a_republish() {
    let server = Server::start(RtmpConfig::default());
    let mut player = Client::play(&server, "live", "s");
    let mut last = 0;
    for round in 0..3u8 {
        let mut publisher = Client::publish(&server, "live", "s");
        if round == 0 {
            assert_eq!(player.code(), "NetStream.Play.PublishNotify");
        }
        publisher.send_headers();
        publisher.send_video(0, picture(false, 0, 50, 9));
        publisher.send_video(40, picture(true, 0, 50, round));
        loop {
            let (is_video, time, body) = player.media();
            if is_video && body[1] == 1 {
                assert_eq!(body, picture(true, 0, 50, round), "it starts at a keyframe");
                assert!(time > last, "and its times go on");
                last = time;
                break;
            }
        }
        drop(publisher);
        let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
        until("the publisher is gone", || source.publisher_lane().is_none());
    }
    server.end();
}

#[test]
fn a_second_publisher_is_refused_and_the_first_goes_on() {
    let server = Server::start(RtmpConfig::default());
    let mut first = Client::publish(&server, "live", "s");
    let mut second = Client::connect(&server, "live");
    let request = second.session.request_publishing("s".to_owned(), PublishRequestType::Live).unwrap();
    second.carry_out(vec![request]);
    assert_eq!(second.code(), "NetStream.Publish.BadName");
    let mut rest = Vec::new();
    second.stream.read_to_end(&mut rest).unwrap();

    let mut player = Client::play(&server, "live", "s");
    first.send_headers();
    first.send_audio(0, vec![0xaf, 1, 5]);
    until("the first publisher is heard", || player.media().2[..] == [0xaf, 1, 5]);
    server.end();
}

#[test]
fn a_player_on_another_message_stream_gets_the_same_media() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    let mut player = Client::connect(&server, "live");
    // Two streams are made first; the third is played.
    for _ in 0..2 {
        player.stream.write_all(&command(0, b"createStream")).unwrap();
    }
    let request = player.session.request_playback("s".to_owned()).unwrap();
    player.carry_out(vec![request]);
    player.wait_for("playing", |event| matches!(event, ClientSessionEvent::PlaybackRequestAccepted));
    publisher.send_video(0, picture(true, 0, 70_000, 1));
    until("the picture comes", || player.media().2 == picture(true, 0, 70_000, 1));
    server.end();
}

/// A command without arguments, transaction 0 aside, as its bytes on the wire.
fn command(transaction: u8, name: &[u8]) -> Vec<u8> {
    let mut body = vec![2, 0, name.len() as u8];
    body.extend(name);
    body.push(0);
    body.extend(f64::from(transaction).to_be_bytes());
    body.push(5);
    let mut bytes = vec![8, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0];
    bytes.extend(body);
    bytes
}

#[test]
fn a62_a_player_that_does_not_read_is_closed_and_disturbs_nobody() {
    let server = Server::start(RtmpConfig { write_timeout: Duration::from_millis(300), ..RtmpConfig::default() });
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    let stalled = Client::play(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    let mut sent = 0u32;
    let mut seen = 0;
    // A kernel takes several megabytes for a reader that does not read.
    until("the stalled player is closed", || {
        publisher.send_video(sent * 40, picture(true, 0, 300_000, sent as u8));
        sent += 1;
        while seen < sent {
            let (is_video, _, body) = player.media();
            if is_video && body[1] == 1 {
                assert_eq!(body[10], seen as u8, "the other player misses nothing");
                seen += 1;
            }
        }
        server.hub.clients().count() == 2
    });
    drop(stalled);
    server.end();
}

#[test]
fn kicked_clients_are_closed() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    for client in server.hub.clients().list() {
        client.kick();
    }
    let mut rest = Vec::new();
    publisher.stream.read_to_end(&mut rest).unwrap();
    player.stream.read_to_end(&mut rest).unwrap();
    until("both are off the list", || server.hub.clients().count() == 0);
    server.end();
}

#[test]
fn a50_other_protocols_silence_and_slow_handshakes_are_closed() {
    let config = RtmpConfig { handshake_timeout: Duration::from_millis(200), ..RtmpConfig::default() };
    let server = Server::start(config);
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1], &[], &[3], &[3; 1_537]] {
        let mut stream = server.raw();
        stream.write_all(hello).unwrap();
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(rest.len() <= 2 * hello.len(), "no more than the handshake is sent back");
    }
    server.end();
}

#[test]
fn connections_past_the_cap_are_closed_at_once() {
    let server = Server::start(RtmpConfig { connections_max: 2, ..RtmpConfig::default() });
    let _first = Client::publish(&server, "live", "a");
    let second = Client::publish(&server, "live", "b");
    let mut rest = Vec::new();
    assert!(matches!(server.raw().read_to_end(&mut rest), Ok(0) | Err(_)));
    drop(second);
    until("the place is free again", || server.hub.clients().count() == 1);
    let mut byte = [0];
    until("a new one is let in", || {
        let mut stream = server.raw();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.read(&mut byte).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    server.end();
}

#[test]
fn a_retired_listener_takes_nobody_and_keeps_its_connections() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut player = Client::play(&server, "live", "s");
    server.retire.cancel();
    until("nobody listens", || TcpStream::connect(server.address).is_err());
    publisher.send_headers();
    publisher.send_audio(0, vec![0xaf, 1, 5]);
    until("the publisher is heard", || player.media().2[..] == [0xaf, 1, 5]);
    server.end();
}

#[test]
fn a_connection_has_the_settings_of_its_beginning() {
    let server = Server::start(RtmpConfig { connections_max: 1, ..RtmpConfig::default() });
    let _first = Client::publish(&server, "live", "a");
    let mut rest = Vec::new();
    assert!(matches!(server.raw().read_to_end(&mut rest), Ok(0) | Err(_)), "one is all");
    server.settings.store(Arc::new(RtmpConfig { connections_max: 4, ..RtmpConfig::default() }));
    let mut publisher = Client::publish(&server, "live", "b");
    let mut before = Client::play(&server, "live", "b");
    let vhosts = PerVhost::all(RtmpVhost { chunk_size_out: 128, ..RtmpVhost::default() });
    server.settings.store(Arc::new(RtmpConfig { connections_max: 4, vhosts, ..RtmpConfig::default() }));
    let mut after = Client::play(&server, "live", "b");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 70_000, 1));
    for (what, player) in [("large", &mut before), ("small", &mut after)] {
        until(&format!("the picture comes in {what} chunks"), || player.media().2 == picture(true, 0, 70_000, 1));
    }
    server.end();
}

#[test]
fn without_the_cache_a_player_begins_with_the_next_keyframe() {
    let begin = Begin { cached: false, frames_max: 0 };
    let vhosts = PerVhost::all(RtmpVhost { begin, ..RtmpVhost::default() });
    let server = Server::start(RtmpConfig { vhosts, ..RtmpConfig::default() });
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 100, 1));
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("the picture has come", || source.frames().live() > 0);
    let mut player = Client::play(&server, "live", "s");
    until("it reads", || source.readers(weir_source::Lane::Frames) == 1);
    publisher.send_video(40, picture(false, 0, 100, 2));
    publisher.send_video(80, picture(true, 0, 100, 3));
    let pictures = std::iter::repeat_with(|| player.media()).filter(|(is_video, _, body)| *is_video && body[1] == 1);
    assert_eq!(pictures.map(|(_, _, body)| body).next().unwrap(), picture(true, 0, 100, 3));
    drop((player, source));
    server.end();
}

#[test]
fn a_publisher_of_a_vhost_may_be_silent_for_as_long_as_that_says() {
    let mut vhosts = PerVhost::default();
    let quick = RtmpVhost { first_media_timeout: Duration::from_millis(300), ..RtmpVhost::default() };
    vhosts.insert("quick", quick);
    let server = Server::start(RtmpConfig { vhosts, ..RtmpConfig::default() });
    server.hub.set_vhosts(weir_source::Vhosts::new(["quick", weir_source::DEFAULT_VHOST]));
    let mut patient = Client::publish(&server, "live", "a");
    let mut quick = Client::publish(&server, "live?vhost=quick", "b");
    until("the quick vhost's publisher is ended", || server.hub.clients().count() == 1);
    let mut rest = Vec::new();
    let _closed_or_reset = quick.stream.read_to_end(&mut rest);
    patient.send_headers();
    assert_eq!(server.hub.clients().list()[0].info.key.stream(), "a");
    drop(patient);
    server.end();
}

#[test]
fn stopping_closes_all_connections_at_once() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    let mut waiting = Client::play(&server, "live", "other");
    let mut silent = server.raw();
    let began = Instant::now();
    server.end();
    assert!(began.elapsed() < Duration::from_secs(2));
    let mut rest = Vec::new();
    for stream in [&mut publisher.stream, &mut waiting.stream, &mut silent] {
        let _closed_or_reset = stream.read_to_end(&mut rest);
    }
}

#[test]
fn two_hundred_joins_and_leaves_leave_nothing() {
    let server = Server::start(RtmpConfig::default());
    let mut publisher = Client::publish(&server, "live", "s");
    publisher.send_headers();
    publisher.send_video(0, picture(true, 0, 100, 1));
    for _ in 0..200 {
        Client::play(&server, "live", "s").media();
    }
    until("all players are off the list", || server.hub.clients().count() == 1);
    let source = server.hub.get(&StreamKey::new("live", "s").unwrap()).unwrap();
    until("no reader is left", || source.readers(weir_source::Lane::Frames) == 0);
    drop(source);
    server.end();
}
