//! A real server on loopback that is right, wrong, slow, endless and silent.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Answers with this head and body, and keeps the connection.
    Says(&'static str, &'static str),
    /// Answers with a body that does not end.
    Endless,
    /// Sends one byte of a good answer every 200 ms.
    Drips,
    /// Takes the request and says nothing.
    Hangs,
    /// Takes the request and closes.
    Closes,
    /// Speaks another protocol.
    Noise,
}

const RIGHT: Manner = Manner::Says("200 OK", "0");

struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
        let (connections, requests) = (Arc::clone(&server.connections), Arc::clone(&server.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, manner, Arc::clone(&requests)));
            }
        });
        server
    }

    /// Hooks that call it, with times that a test can wait for.
    fn hooks(&self) -> (Arc<Hub>, Arc<Hooks>) {
        let config = HooksConfig {
            decision_timeout: Duration::from_millis(700),
            notice_timeout: Duration::from_millis(300),
            retry_for: Duration::from_secs(2),
            ..all(&format!("http://{}/api/v1/hooks?key=1", self.address))
        };
        let hooks = Hooks::new(Arc::new(ServerIds::new()), PerVhost::all(config), tokio::runtime::Handle::current());
        let hub = Hub::new();
        hub.set_gatekeeper(hooks.clone());
        (hub, hooks)
    }

    async fn verdict(&self) -> Result<(), Denied> {
        self.hooks().0.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.map(std::mem::forget)
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, requests: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    while let Some(request) = read_request(&mut stream).await? {
        requests.lock().push(request);
        match manner {
            Manner::Says(status, body) => {
                let text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(text.as_bytes()).await?;
            }
            Manner::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'0'; 4_096]).await?;
                }
            }
            Manner::Drips => {
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0" {
                    stream.write_all(&[*byte]).await?;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
            Manner::Hangs => std::future::pending().await,
            Manner::Closes => return Ok(()),
            Manner::Noise => stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await?,
        }
    }
    Ok(())
}

/// Head and body, or nothing at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut text = Vec::new();
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0) {
                return Ok(Some(whole));
            }
        }
        let mut buffer = [0; 4_096];
        match stream.read(&mut buffer).await? {
            0 => return Ok(None),
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
}

#[tokio::test]
async fn a_server_that_is_right_is_posted_json_over_a_kept_connection() {
    let server = Server::start(RIGHT).await;
    let (hub, hooks) = server.hooks();
    for _ in 0..3 {
        drop(hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap());
    }
    assert_eq!(hooks.drain(Duration::from_secs(5)).await, 0);
    let requests = server.requests.lock();
    assert_eq!(requests.len(), 6);
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /api/v1/hooks?key=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json") && head.contains(&format!("host: {}", server.address)), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["action"], "on_publish");
    assert!(server.connections.load(Ordering::Relaxed) <= 2, "connections are used again");
}

#[tokio::test]
async fn a65_no_answer_but_a_clear_yes_in_time_lets_anybody_in() {
    let rows = [
        (RIGHT, None),
        (Manner::Says("201 Created", r#"{"code": 0, "data": null}"#), None),
        (Manner::Says("200 OK", r#"{"code": 1}"#), Some("code 1")),
        (Manner::Says("200 OK", ""), Some("neither 0")),
        (Manner::Says("200 OK", "{\"code\": 0"), Some("neither 0")),
        (Manner::Says("403 Forbidden", "0"), Some("status 403")),
        (Manner::Says("500 Oops", "0"), Some("status 500")),
        (Manner::Says("302 Found\r\nLocation: http://169.254.169.254/", "0"), Some("status 302")),
        (Manner::Endless, Some("longer than")),
        (Manner::Drips, Some("in time")),
        (Manner::Hangs, Some("in time")),
        (Manner::Closes, Some("failed")),
        (Manner::Noise, Some("failed")),
    ];
    for (manner, why) in rows {
        let server = Server::start(manner).await;
        let began = Instant::now();
        let verdict = server.verdict().await;
        assert!(began.elapsed() < Duration::from_secs(3), "{manner:?} took {:?}", began.elapsed());
        match (verdict, why) {
            (Ok(()), None) => {}
            (Err(denied), Some(why)) => {
                assert!(reason(&denied).contains(why), "{manner:?}: {denied}");
                let said_no = matches!(manner, Manner::Says(status, body) if status.starts_with("403") || body.contains('1'));
                assert_eq!(matches!(denied, Denied::Forbidden(_)), said_no, "{manner:?}: {denied}");
            }
            (verdict, _) => panic!("{manner:?}: {verdict:?}"),
        }
    }
}

#[tokio::test]
async fn a64_a_redirect_is_not_followed() {
    let target = Server::start(RIGHT).await;
    let location = format!("307 Temporary Redirect\r\nLocation: http://{}/", target.address);
    let server = Server::start(Manner::Says(location.leak(), "0")).await;
    assert!(server.verdict().await.is_err());
    assert_eq!((server.requests.lock().len(), target.connections.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test]
async fn f47_a_server_that_is_down_refuses_at_once_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server { address: listener.local_addr().unwrap(), connections: Arc::default(), requests: Arc::default() };
    drop(listener);
    let began = Instant::now();
    let denied = server.verdict().await.unwrap_err();
    assert!(matches!(denied, Denied::Unavailable(_)) && reason(&denied).contains("could not be reached"), "{denied}");
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_certificate_that_nobody_knows_are_reasons_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _closed = stream.write_all(b"this is not TLS at all\r\n").await;
        }
    });
    for url in ["http://no-such-name.invalid/x", &tls] {
        let hooks = Hooks::new(Arc::new(ServerIds::new()), PerVhost::all(all(url)), tokio::runtime::Handle::current());
        let hub = Hub::new();
        hub.set_gatekeeper(hooks);
        let denied = hub.admit(info("c1", ClientKind::RtmpPublish, "s"), None).await.unwrap_err();
        assert!(matches!(denied, Denied::Unavailable(_)), "{url}: {denied}");
    }
}

#[tokio::test]
async fn what_hangs_or_fails_is_told_again_until_it_is_received() {
    for (manner, received) in
        [(Manner::Says("200 OK", "whatever"), true), (Manner::Hangs, false), (Manner::Closes, false), (Manner::Endless, true)]
    {
        let server = Server::start(manner).await;
        let (_hub, hooks) = server.hooks();
        let info = Arc::new(info("c1", ClientKind::FlvPlay, "s"));
        weir_source::Gatekeeper::left(&*hooks, &info, &weir_source::Traffic::default());
        hooks.0.tasks.close();
        tokio::time::timeout(Duration::from_secs(10), hooks.0.tasks.wait()).await.expect("it has an end");
        let stats = &hooks.stats().hooks[Hook::Stop.index()];
        assert_eq!((stats.dropped == 0, stats.retries == 0), (received, received), "{manner:?}: {stats:?}");
    }
}
