//! The accept loop over real connections.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

struct Listening {
    address: SocketAddr,
    limits: Arc<ArcSwap<ServeLimits>>,
    retire: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Serves on a free port with times that a test can wait for.
async fn listen(limits: ServeLimits) -> Listening {
    let router = Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }))
        .route(
            "/endless",
            get(|| async { Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, io::Error>(vec![7u8; 65_536]))) }),
        )
        .route("/never", get(|| async { Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, io::Error>>()) }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let (limits, retire) = (Arc::new(ArcSwap::from_pointee(limits)), stop.child_token());
    let task = tokio::spawn(serve(listener, router, Arc::clone(&limits), retire.clone(), stop.clone()));
    Listening { address, limits, retire, stop, task }
}

fn short() -> ServeLimits {
    let time = Duration::from_millis(100);
    ServeLimits { header_timeout: time, write_stall_timeout: time, grace: time, ..ServeLimits::default() }
}

/// Sends `request` and reads to the end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _closed_or_reset = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn handlers_see_the_peers_address() {
    let server = listen(short()).await;
    let answer = exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a42_a_head_that_does_not_come_ends_the_connection() {
    let server = listen(short()).await;
    for half in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow:"] {
        let answer = exchange(server.address, half).await;
        assert!(!answer.contains("200"), "{answer}");
    }
}

#[tokio::test]
async fn a42_a_peer_that_does_not_read_is_closed() {
    let server = listen(short()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // Nothing of what was sent is ever read; a reset shows as an error of the socket.
    let reset = async {
        while stream.take_error().unwrap().is_none() {
            stream.ready(tokio::io::Interest::ERROR).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, reset).await.expect("the server resets a stalled connection");
}

#[tokio::test]
async fn a_full_server_says_503_and_recovers() {
    let server = listen(ServeLimits { connections_max: 1, header_timeout: PATIENCE, ..short() }).await;
    let mut held = TcpStream::connect(server.address).await.unwrap();
    held.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0u8; 12];
    held.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(exchange(server.address, "").await.starts_with("HTTP/1.1 503"));
    drop(held);
    let again = async {
        while !exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 200")
        {}
    };
    tokio::time::timeout(PATIENCE, again).await.expect("its place is free again");
}

#[tokio::test]
async fn a42_a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = listen(ServeLimits { connections_max: 20, ..ServeLimits::default() }).await;
    let mut held = TcpStream::connect(server.address).await.unwrap();
    held.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(held.read_u8().await.unwrap());
    }
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut one = TcpStream::connect(server.address).await.unwrap();
        one.write_all(&b"GET / HTTP/1.1\r\nX-Slow: "[..n % 24]).await.unwrap();
        crowd.push(one);
    }
    let answer = exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut oldest = Vec::new();
    let _closed = tokio::time::timeout(PATIENCE, crowd[0].read_to_end(&mut oldest)).await.expect("it made room");
    let waiting = tokio::time::timeout(Duration::from_millis(100), held.read_u8()).await;
    assert!(waiting.is_err(), "who has asked is let be: {waiting:?}");
}

#[tokio::test]
async fn one_address_gets_no_more_than_its_share() {
    let server = listen(ServeLimits { address_connections_max: 1, ..ServeLimits::default() }).await;
    let _held = TcpStream::connect(server.address).await.unwrap();
    assert!(exchange(server.address, "").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a45_requests_that_can_be_read_two_ways_are_400() {
    let server = listen(short()).await;
    for bad in [
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
        "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://other/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example:80\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ] {
        let answer = exchange(server.address, bad).await;
        // The read to the end shows that the connection was closed as well.
        assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{bad:?} {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{bad:?} {answer}");
    }
    let absolute = "GET http://x/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(server.address, absolute).await.starts_with("HTTP/1.1 200"), "RFC 9112 section 3.2.2");
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let answer = exchange(server.address, &huge).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
}

#[tokio::test]
async fn the_stop_ends_live_streams_within_a_second() {
    let server = listen(ServeLimits { header_timeout: PATIENCE, ..short() }).await;
    let mut live = TcpStream::connect(server.address).await.unwrap();
    live.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut head = [0u8; 12];
    live.read_exact(&mut head).await.unwrap();
    let _idle = TcpStream::connect(server.address).await.unwrap();
    server.stop.cancel();
    tokio::time::timeout(Duration::from_secs(1), server.task).await.expect("in time").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_retired_listener_takes_nobody_and_lets_a_stream_go_on_to_its_end() {
    let server = listen(ServeLimits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut some = vec![0; 1 << 20];
    stream.read_exact(&mut some).await.unwrap();
    server.retire.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, idle.read_to_end(&mut rest)).await.expect("closed").unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    for _ in 0..8 {
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut some)).await.expect("it goes on").unwrap();
    }
    assert!(!server.task.is_finished());
    drop(stream);
    tokio::time::timeout(PATIENCE, server.task).await.expect("the last has gone").unwrap();
}

#[tokio::test]
async fn the_limit_on_connections_can_be_changed_while_it_serves() {
    let server = listen(ServeLimits { connections_max: 1, ..ServeLimits::default() }).await;
    let mut holder = TcpStream::connect(server.address).await.unwrap();
    holder.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    holder.read_exact(&mut [0; 12]).await.unwrap();
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(server.address, request).await.starts_with("HTTP/1.1 503"));
    server.limits.store(Arc::default());
    assert!(exchange(server.address, request).await.starts_with("HTTP/1.1 200"));
    server.stop.cancel();
    tokio::time::timeout(PATIENCE, server.task).await.expect("it ends").unwrap();
}
