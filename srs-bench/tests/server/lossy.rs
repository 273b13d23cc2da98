//! A bad path to a server: offers pass, their answers name our relay, and the relay drops every so-
//! manieth RTP packet on its way to the viewers.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::Weir;

pub struct Lossy {
    pub api: SocketAddr,
    dropped: Arc<AtomicU64>,
}

impl Lossy {
    /// Drops one in `every` packets. Its threads end with the test.
    pub fn before(weir: &Weir, every: u64) -> Self {
        let api = TcpListener::bind("127.0.0.1:0").expect("a free port");
        // Ephemeral ports have five digits, like the one that is replaced: lengths stay.
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        let dropped = Arc::new(AtomicU64::new(0));
        let lossy = Self { api: api.local_addr().expect("bound"), dropped: Arc::clone(&dropped) };
        let (port, server, rtc) = (front.local_addr().expect("bound").port(), weir.api, weir.rtc);
        assert_eq!((port.to_string().len(), rtc.port().to_string().len()), (5, 5));
        thread::spawn(move || {
            for stream in api.incoming().flatten() {
                thread::spawn(move || forward(stream, server, rtc.port(), port));
            }
        });
        thread::spawn(move || relay(&front, rtc, every, &dropped));
        lossy
    }

    pub fn whep_url(&self, stream: &str) -> String {
        format!("http://{}/rtc/v1/whep/?app=live&stream={stream}", self.api)
    }

    /// Packets dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// One request and its answer.
fn forward(mut client: TcpStream, server: SocketAddr, rtc: u16, relay: u16) -> Option<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    let text = loop {
        let len = client.read(&mut buffer).ok().filter(|len| *len > 0)?;
        request.extend_from_slice(&buffer[..len]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let header = |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:").and_then(|v| v.trim().parse().ok());
        if body.len() >= head.lines().find_map(header).unwrap_or(0) {
            break text;
        }
    };
    let mut upstream = TcpStream::connect(server).ok()?;
    upstream.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).replace(&format!(" {rtc} typ"), &format!(" {relay} typ"));
    client.write_all(answer.as_bytes()).ok()
}

/// A socket of its own towards the server for each viewer.
fn relay(front: &Arc<UdpSocket>, server: SocketAddr, every: u64, dropped: &Arc<AtomicU64>) {
    let mut upstreams = HashMap::<SocketAddr, Arc<UdpSocket>>::new();
    let mut buffer = [0; 2_048];
    while let Ok((len, viewer)) = front.recv_from(&mut buffer) {
        let upstream = upstreams.entry(viewer).or_insert_with(|| {
            let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a free port"));
            upstream.connect(server).expect("any address");
            let (back, front, dropped) = (Arc::clone(&upstream), Arc::clone(front), Arc::clone(dropped));
            thread::spawn(move || {
                let (mut buffer, mut passed) = ([0; 2_048], 0_u64);
                while let Ok(len) = back.recv(&mut buffer) {
                    // RFC 7983 and RFC 5761: RTP, neither STUN, DTLS nor RTCP.
                    let rtp = (128..192).contains(&buffer[0]) && !(192..224).contains(&buffer[1]);
                    passed += u64::from(rtp);
                    // Not the first ones: nobody could know of them.
                    if rtp && passed > 50 && passed % every == 0 {
                        dropped.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let _sent = front.send_to(&buffer[..len], viewer);
                }
            });
            upstream
        });
        let _sent = upstream.send(&buffer[..len]);
    }
}
