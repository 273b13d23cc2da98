//! HTTP/2 over a pipe, in virtual time: a client that behaves, and frames that no library sends.

use std::{io, net::IpAddr};

use axum::{Router, extract::ConnectInfo, http::HeaderMap, routing::get};
use h2::client::{Connection, SendRequest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};

use super::{super::line::Line, *};
use crate::{
    crowd::{Bounds, Crowd},
    peer::Scheme,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// GET https://x/ in HPACK, from the static table but for the authority.
const GET: &[u8] = b"\x82\x87\x84\x41\x01x";
const GOAWAY: u8 = 7;

struct Served {
    pipe: DuplexStream,
    ends: Ends,
    task: JoinHandle<hyper::Result<()>>,
}

/// Serves one connection with the limits of a real one.
fn serve() -> Served {
    let host = |ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>, headers: HeaderMap| async move {
        format!("{} {}", peer.ip(), headers["host"].to_str().unwrap())
    };
    let endless = || async { Body::from_stream(futures_util::stream::repeat_with(|| Ok::<_, io::Error>(vec![7u8; 1_000]))) };
    let never = || async { Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, io::Error>>()) };
    let router = Router::new().route("/", get(host)).route("/endless", get(endless)).route("/never", get(never));
    let peer = (IpAddr::from([192, 0, 2, 7]), 1).into();
    let place = Arc::new(Crowd::default()).enter([192, 0, 2, 7].into(), Bounds { all: 1, per_address: 1 });
    let requests = Requests { router, peer, scheme: Scheme::Https, guest: Line::default().join(place.unwrap()) };
    let ends = Ends { retire: CancellationToken::new(), stop: CancellationToken::new() };
    let (pipe, far) = duplex(256 << 10);
    let own = ends.clone();
    let task = tokio::spawn(async move { run(far, requests, ServeLimits::default(), &own).await });
    Served { pipe, ends, task }
}

async fn connect(pipe: DuplexStream) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    // Room on the connection for what stays unread on one stream.
    let builder = h2::client::Builder::new().initial_connection_window_size(1 << 20).handshake(pipe);
    let (client, connection): (_, Connection<_, Bytes>) = builder.await.unwrap();
    (client, tokio::spawn(connection))
}

async fn ask(client: &SendRequest<Bytes>, path: &str) -> http_body_util::Either<h2::RecvStream, h2::Error> {
    let request = Request::get(format!("https://x{path}")).body(()).unwrap();
    let mut client = client.clone().ready().await.unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    match answer.await {
        Ok(answer) => http_body_util::Either::Left(answer.into_body()),
        Err(error) => http_body_util::Either::Right(error),
    }
}

async fn body(client: &SendRequest<Bytes>, path: &str) -> h2::RecvStream {
    match ask(client, path).await {
        http_body_util::Either::Left(body) => body,
        http_body_util::Either::Right(error) => panic!("{path}: {error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn handlers_see_the_peer_and_the_host() {
    let (client, _connection) = connect(serve().pipe).await;
    let mut answer = body(&client, "/").await;
    assert_eq!(answer.data().await.unwrap().unwrap(), "192.0.2.7 x");
}

#[tokio::test(start_paused = true)]
async fn a42_a_stream_that_is_not_read_is_reset_alone() {
    let (client, _connection) = connect(serve().pipe).await;
    let mut waiting = body(&client, "/never").await;
    let mut shut = body(&client, "/endless").await;
    let mut read = body(&client, "/endless").await;
    // One stream's window is never opened again; the other's always.
    let reset = async {
        loop {
            match shut.data().await {
                Some(Ok(_kept)) => {}
                Some(Err(error)) => return error,
                None => panic!("an endless stream has ended"),
            }
        }
    };
    let mut reset = std::pin::pin!(reset);
    let began = tokio::time::Instant::now();
    let error = loop {
        tokio::select! {
            error = reset.as_mut() => break error,
            data = read.data() => {
                let len = data.unwrap().unwrap().len();
                read.flow_control().release_capacity(len).unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    assert!(error.is_reset() && began.elapsed() >= Duration::from_secs(10), "{error} after {:?}", began.elapsed());
    assert!(read.data().await.unwrap().is_ok(), "the other goes on");
    let still = tokio::time::timeout(Duration::from_secs(60), waiting.data()).await;
    assert!(still.is_err(), "a stream that has nothing to send waits for as long as it likes");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed() {
    let served = serve();
    let (client, connection) = connect(served.pipe).await;
    let began = tokio::time::Instant::now();
    connection.await.unwrap().unwrap();
    assert!(began.elapsed() <= Duration::from_secs(11), "before the first request: {:?}", began.elapsed());
    drop(client);

    let (client, connection) = connect(serve().pipe).await;
    let mut answer = body(&client, "/").await;
    assert!(answer.data().await.unwrap().is_ok());
    let began = tokio::time::Instant::now();
    connection.await.unwrap().unwrap();
    let took = began.elapsed();
    assert!((10..=21).contains(&took.as_secs()), "after it: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_stop_says_goaway_and_retiring_waits_for_the_viewers() {
    let served = serve();
    let (client, connection) = connect(served.pipe).await;
    let mut read = body(&client, "/endless").await;
    served.ends.retire.cancel();
    for _ in 0..100 {
        let len = read.data().await.unwrap().unwrap().len();
        read.flow_control().release_capacity(len).unwrap();
    }
    assert!(client.clone().ready().await.is_err() || matches!(ask(&client, "/").await, http_body_util::Either::Right(_)));
    assert!(!served.task.is_finished());
    served.ends.stop.cancel();
    served.task.await.unwrap().unwrap();
    let _ended = connection.await.unwrap();
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends `bytes` and reads to the end; whether a GOAWAY with this error code was among it.
async fn goes_away(bytes: Vec<u8>, code: u8) -> bool {
    let served = serve();
    let (mut read, mut write) = tokio::io::split(served.pipe);
    let writing = tokio::spawn(async move {
        let _closed_meanwhile = write.write_all(&bytes).await;
    });
    let mut heard = Vec::new();
    let _closed = read.read_to_end(&mut heard).await;
    writing.abort();
    assert!(served.task.is_finished() || served.task.await.is_ok());
    let mut rest = heard.as_slice();
    while let Some((head, after)) = rest.split_at_checked(9) {
        let len = usize::from(head[1]) << 8 | usize::from(head[2]);
        if head[3] == GOAWAY && after[7] == code {
            return true;
        }
        rest = &after[len..];
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a44_rapid_resets_end_the_connection() {
    let mut bytes = PREFACE.to_vec();
    for n in 0..10_000u32 {
        bytes.extend(frame(1, 0x5, 2 * n + 1, GET));
        bytes.extend(frame(3, 0, 2 * n + 1, &[0, 0, 0, 8]));
    }
    assert!(goes_away(bytes, 11).await, "ENHANCE_YOUR_CALM");
}

#[tokio::test(start_paused = true)]
async fn a44_a_head_without_end_ends_the_connection() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(1, 0x1, 1, GET));
    for _ in 0..10_000 {
        // A literal header, never indexed, "x: y".
        bytes.extend(frame(9, 0, 1, b"\x10\x01x\x01y"));
    }
    assert!(goes_away(bytes, 11).await, "ENHANCE_YOUR_CALM");
}

#[tokio::test(start_paused = true)]
async fn a44_more_streams_than_allowed_are_refused_one_by_one() {
    let mut bytes = PREFACE.to_vec();
    for n in 0..150u32 {
        let path = b"\x82\x87\x04\x06/never\x41\x01x";
        bytes.extend(frame(1, 0x5, 2 * n + 1, path));
    }
    let served = serve();
    let mut pipe = served.pipe;
    pipe.write_all(&bytes).await.unwrap();
    let (mut heard, mut part) = (Vec::new(), [0; 4_096]);
    while let Ok(read) = tokio::time::timeout(Duration::from_secs(1), pipe.read(&mut part)).await {
        heard.extend_from_slice(&part[..read.unwrap()]);
    }
    let (mut resets, mut heads, mut rest) = (0, 0, heard.as_slice());
    while let Some((head, after)) = rest.split_at_checked(9) {
        match head[3] {
            1 => heads += 1,
            3 => resets += 1,
            _ => {}
        }
        rest = &after[usize::from(head[1]) << 8 | usize::from(head[2])..];
    }
    assert_eq!((heads, resets), (100, 50));
}
