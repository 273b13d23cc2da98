//! Configurations applied to a running server, against servers started with them.

use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::*;

/// Configurations that are valid, and some that a running server cannot take.
const DIFFS: usize = 50;

fn free_ports(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn base(ports: &[SocketAddr]) -> Config {
    Config {
        rtmp: vec![ports[0]],
        http_api: vec![ports[1]],
        http_server: vec![ports[2]],
        rtc: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        workers: 1,
        rtc_buffer: 1 << 16,
        ..Config::default()
    }
}

/// Any configuration of these ports that a running server can change to.
fn any(random: &mut StdRng, ports: &[SocketAddr]) -> Config {
    let mut ports = ports.to_vec();
    ports.shuffle(random);
    let mut some = |most: usize| ports.split_off(ports.len() - random.random_range(0..=most));
    let (rtmp, http_api, http_server) = (some(2), some(2), some(2));
    let candidates: Vec<IpAddr> = (0..random.random_range(0..3)).map(|n| IpAddr::from([203, 0, 113, n])).collect();
    Config {
        rtmp,
        http_api,
        http_server,
        candidates,
        chunk_size: random.random_range(128..=65_536),
        max_connections: random.random_range(1..=10_000),
        rtc_coalesce: Duration::from_millis(random.random_range(0..=20)),
        rtmp_to_rtc: random.random(),
        rtc_to_rtmp: random.random(),
        flv: random.random(),
        hls: random.random(),
        hls_fragment: Duration::from_millis(random.random_range(500..=10_000)),
        hls_window: Duration::from_secs(random.random_range(2..=60)),
        ..base(&ports_of_nobody())
    }
}

/// Stands where `any` puts its own.
fn ports_of_nobody() -> [SocketAddr; 3] {
    [SocketAddr::from(([127, 0, 0, 1], 1)); 3]
}

fn state(server: &Server) -> Settings {
    server.live.read(server.listeners.list(), server.settings.process.clone())
}

async fn start(config: &Config) -> Server {
    Server::start(config, ConfigSource::default(), None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_configurations_applied_live_end_as_fresh_starts_would() {
    let ports = free_ports(8);
    let mut random = StdRng::seed_from_u64(5);
    let mut server = start(&base(&ports)).await;
    let mut reached = Vec::new();
    for round in 0..DIFFS {
        let config = any(&mut random, &ports);
        let before = state(&server);
        let changes = server.apply(&config).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let now = state(&server);
        assert_eq!(changes.is_empty(), before == now, "round {round}: {changes:?}");
        reached.push((config, now));
    }
    let (last, _) = reached.last().unwrap();
    for addr in &ports {
        let served = [&last.rtmp, &last.http_api, &last.http_server].iter().any(|kind| kind.contains(addr));
        // An accept loop that ends lets go of its socket a moment later.
        let mut tries = 0;
        while TcpStream::connect(addr).is_ok() != served {
            tries += 1;
            assert!(tries < 200, "{addr} must be served: {served}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    server.stop().await;
    for (config, state_reached) in &reached {
        let fresh = start(config).await;
        assert_eq!(&state(&fresh), state_reached);
        fresh.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_whole_changes_nothing() {
    let ports = free_ports(4);
    let good = base(&ports);
    let mut server = start(&good).await;
    let before = state(&server);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_addr = taken.local_addr().unwrap();
    let wildcard = SocketAddr::from(([0, 0, 0, 0], ports[0].port()));
    let bad = [
        (
            Config { rtmp: vec![ports[3], taken_addr], hls: false, ..good.clone() },
            format!("RTMP cannot listen on {taken_addr}: it is in use"),
        ),
        (Config { rtmp: vec![wildcard], flv: false, ..good.clone() }, format!("this server listens on {}", ports[0])),
        (Config { workers: 2, hls: false, ..good.clone() }, "nothing was changed: rtc_server: workers".to_owned()),
        (Config { rtc: None, flv: false, ..good.clone() }, "nothing was changed: rtc_server: enabled".to_owned()),
    ];
    for (config, why) in bad {
        let error = server.apply(&config).await.unwrap_err();
        assert!(error.contains(&why), "{error}");
        assert_eq!(state(&server), before, "{why}");
        assert!(TcpStream::connect(ports[3]).is_err(), "nothing new listens");
    }
    assert_eq!(server.apply(&good).await, Ok(Vec::new()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_become_one_of_another_kind_at_its_address() {
    let ports = free_ports(3);
    let good = base(&ports);
    let mut server = start(&good).await;
    let swapped = Config { http_api: good.http_server.clone(), http_server: good.http_api.clone(), ..good };
    assert_eq!(server.apply(&swapped).await.unwrap().len(), 5, "two begin, two end, and the pages name another port");
    let body = tokio::task::spawn_blocking(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = TcpStream::connect(ports[2]).unwrap();
        stream.write_all(b"GET /api/v1/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer).unwrap()
    });
    let answer = body.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop().await;
}
