//! Configurations applied to a running server, against servers started with them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use clap::Parser as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::*;
use crate::{Args, config::Environment};

/// Configurations applied one after the other.
const DIFFS: usize = 50;

fn free_ports(count: usize) -> Vec<SocketAddr> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

fn parse(text: &str) -> Config {
    Config::parse("test", text, &Environment::of([])).unwrap_or_else(|error| panic!("{error}\n{text}")).0
}

fn udp() -> SocketAddr {
    std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap()
}

fn section(name: &str, addrs: &[SocketAddr]) -> String {
    let listen: Vec<_> = addrs.iter().map(ToString::to_string).collect();
    let on = if addrs.is_empty() { "off" } else { "on" };
    let listen = if addrs.is_empty() { String::new() } else { format!("listen {};", listen.join(" ")) };
    format!("{name} {{ enabled {on}; {listen} }}\n")
}

fn rtc_server(udp: SocketAddr, more: &str) -> String {
    format!("rtc_server {{ enabled on; listen {udp}; workers 1; buffer 65536; {more} }}\n")
}

/// One listener of each kind at the first three ports.
fn base(ports: &[SocketAddr], udp: SocketAddr) -> String {
    let [api, http] = [section("http_api", &ports[1..2]), section("http_server", &ports[2..3])];
    format!("listen {};\n{api}{http}{}vhost __defaultVhost__ {{ hls {{ enabled on; }} }}\n", ports[0], rtc_server(udp, ""))
}

/// Any configuration of these ports that a running server can change to.
fn any(random: &mut StdRng, ports: &[SocketAddr], udp: SocketAddr) -> String {
    let mut ports = ports.to_vec();
    ports.shuffle(random);
    let rtmp = ports.split_off(ports.len() - random.random_range(1..=2));
    let api = ports.split_off(ports.len() - random.random_range(0..=2));
    let http = ports.split_off(ports.len() - random.random_range(0..=2));
    let rtmp: Vec<_> = rtmp.iter().map(ToString::to_string).collect();
    let mut text = format!("listen {};\n", rtmp.join(" ")) + &section("http_api", &api) + &section("http_server", &http);
    text += &format!("chunk_size {};\n", random.random_range(128..=65_536));
    text += &format!("max_connections {};\n", random.random_range(1..=10_000));
    let candidates =
        ["candidate *;", "candidate 203.0.113.1;", "candidate 203.0.113.2 203.0.113.3;", "coalesce 0;", "ip_family ipv4;"];
    text += &rtc_server(udp, candidates[random.random_range(0..candidates.len())]);
    let mut word = || if random.random() { "on" } else { "off" };
    let mut vhosts = vec![("__defaultVhost__", [word(), word(), word(), word()])];
    if word() == "on" {
        vhosts.push(("a.example", [word(), word(), word(), word()]));
    }
    for (name, [to_rtc, to_rtmp, flv, hls]) in vhosts {
        let fragment = random.random_range(1..=10);
        text += &format!(
            "vhost {name} {{\n rtc {{ enabled on; rtmp_to_rtc {to_rtc}; rtc_to_rtmp {to_rtmp}; }}\n http_remux {{ enabled {flv}; }}\n \
             hls {{ enabled {hls}; hls_fragment {fragment}; hls_window {}; }}\n publish {{ normal_timeout {}; }}\n}}\n",
            fragment * 6,
            random.random_range(1_000..60_000),
        );
    }
    text
}

/// What the parts have, read back from each.
fn state(server: &Server) -> Settings {
    server.live.read(server.listeners.list(), &server.settings.log)
}

async fn start(text: &str) -> Server {
    let source = ConfigSource::of(&Args::parse_from(["weir"]));
    Server::start(parse(text), source, None).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_configurations_applied_live_end_as_fresh_starts_would() {
    let (ports, udp) = (free_ports(8), udp());
    let mut random = StdRng::seed_from_u64(5);
    let mut server = start(&base(&ports, udp)).await;
    let mut reached = Vec::new();
    for round in 0..DIFFS {
        let text = any(&mut random, &ports, udp);
        let before = state(&server);
        let changes = server.apply(parse(&text)).await.unwrap_or_else(|error| panic!("round {round}: {error}\n{text}"));
        let now = state(&server);
        assert!(!changes.is_empty() || before == now, "round {round}: {text}");
        reached.push((text, now));
    }
    let (last, _) = reached.last().unwrap();
    for addr in &ports {
        let served = last.contains(&format!("{addr}"));
        assert_eq!(TcpStream::connect(addr).is_ok(), served, "{addr}:\n{last}");
    }
    server.stop().await;
    for (text, state_reached) in &reached {
        let fresh = start(text).await;
        assert_eq!(&state(&fresh), state_reached, "{text}");
        fresh.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a69_what_cannot_be_applied_whole_changes_nothing() {
    let (ports, udp) = (free_ports(4), udp());
    let good = base(&ports, udp);
    let mut server = start(&good).await;
    let before = state(&server);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|addr| (addr, taken)).unwrap();
    let with = |from: &str, to: &str| {
        let text = good.replace(from, to).replace("hls { enabled on; }", "hls { enabled off; }");
        assert_ne!(text, good);
        text
    };
    let first = format!("listen {};", ports[0]);
    let bad = [
        (with(&first, &format!("listen {} {};", ports[3], taken.0)), format!("RTMP cannot listen on {}: it is in use", taken.0)),
        (with(&first, &format!("listen {};", ports[0].port())), format!("this server listens on {}", ports[0])),
        (with("workers 1", "workers 2"), "nothing was changed: rtc_server: workers".to_owned()),
        (with(&rtc_server(udp, ""), ""), "nothing was changed: rtc_server: enabled".to_owned()),
    ];
    for (text, why) in bad {
        let error = server.apply(parse(&text)).await.unwrap_err();
        assert!(error.contains(&why), "{error}");
        assert_eq!(state(&server), before, "{why}");
        assert!(TcpStream::connect(ports[3]).is_err(), "nothing new listens");
    }
    assert_eq!(server.apply(parse(&good)).await, Ok(Vec::new()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_may_become_one_of_another_kind_at_its_address() {
    let (ports, udp) = (free_ports(3), udp());
    let mut server = start(&base(&ports, udp)).await;
    let swapped = [ports[0], ports[2], ports[1]];
    let changes = server.apply(parse(&base(&swapped, udp))).await.unwrap();
    assert_eq!(changes, ["http_api.listen", "http_server.listen"]);
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(ports[2]).unwrap();
        stream.write_all(b"GET /api/v1/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer).unwrap()
    });
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop().await;
}
