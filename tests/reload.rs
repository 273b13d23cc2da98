//! Reloads while everybody is there: who is not concerned feels nothing.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use srs_bench::{
    plan::Plan,
    run::{self, Screen},
};
use support::{Weir, eventually, server::free_tcp};

/// Reloads of one run.
const RELOADS: usize = 200;
/// One of so many is of a file with a mistake.
const BAD_EVERY: usize = 10;

/// Publishers and viewers of that run.
const CLIENTS: usize = 11;

/// Inodes of the sockets that wait for connections at these addresses.
fn listening(addrs: &[SocketAddr]) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/net/tcp").expect("a table");
    let ports: Vec<String> = addrs.iter().map(|addr| format!(":{:04X}", addr.port())).collect();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[3] == "0A" && ports.iter().any(|port| row[1].ends_with(port))).map(|row| row[9].to_owned()).collect()
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The server's own file with other values for what no viewer of this test depends on.
fn changed(original: &str, round: usize, spare: SocketAddr) -> String {
    if round % BAD_EVERY == BAD_EVERY - 1 {
        return format!("{original}\nlisten_to nobody;\n");
    }
    let extra = if round.is_multiple_of(2) { format!("listen {spare} ") } else { "listen ".to_owned() };
    let fragment = 2 + round % 3;
    original.replacen("listen ", &extra, 1).replace("hls_fragment 2;", &format!("hls_fragment {fragment};"))
        + &format!("\nchunk_size {};\nmax_connections {};\n", 4_096 + round, 1_000 + round)
}

#[test]
fn two_hundred_reloads_lose_no_frame_and_touch_no_other_listener() {
    let server = Weir::start();
    let original = fs::read_to_string(server.conf()).unwrap();
    let kept = [server.rtmp, server.api, server.http];
    let sockets = listening(&kept);
    assert_eq!(sockets.len(), 3);
    let scenario = format!(
        "duration = '32s'\n\
         [[publish]]\nname = 'rtmp'\nurl = 'rtmp://{rtmp}/live/r'\n\
         [[publish]]\nname = 'whip'\nurl = '{whip}'\n\
         [[play]]\nurl = 'rtmp://{rtmp}/live/r'\nclients = {{ count = 2 }}\nafter = '1s'\n\
         [[play]]\nurl = 'http://{http}/live/r.flv'\nclients = {{ count = 2 }}\nafter = '1s'\n\
         [[play]]\nurl = 'http://{http}/live/r.m3u8'\nclients = {{ count = 1 }}\nafter = '1s'\n\
         [[play]]\nurl = '{whep_r}'\nclients = {{ count = 2 }}\nafter = '1s'\n\
         [[play]]\nurl = '{whep_w}'\nclients = {{ count = 2 }}\nafter = '1s'\n",
        rtmp = server.rtmp,
        http = server.http,
        whip = server.whip_url("w"),
        whep_r = server.whep_url("r"),
        whep_w = server.whep_url("w"),
    );
    let plan = Plan::parse(&scenario).unwrap();
    let (spare, over) = (free_tcp(), AtomicBool::new(false));
    let (outcome, memory) = std::thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            eventually("publishers and viewers are all there and play", Duration::from_secs(20), || {
                let list = server.get("/api/v1/clients/?count=100");
                let clients = list["clients"].as_array()?;
                let flows = |c: &serde_json::Value| {
                    let field = if c["publish"] == true { "recv_bytes" } else { "send_bytes" };
                    c[field].as_u64() > Some(20_000)
                };
                (clients.len() == CLIENTS && clients.iter().all(flows)).then_some(())
            });
            let mut memory = Vec::new();
            for round in 0..RELOADS {
                fs::write(server.conf(), changed(&original, round, spare)).unwrap();
                let before = server.log_lines("reload");
                server.signal("HUP");
                eventually("it reloads", Duration::from_secs(10), || (server.log_lines("reload") > before).then_some(()));
                memory.push(resident_kib(server.pid()));
                assert!(!over.load(Ordering::Relaxed), "the viewers are there for all of it: round {round}");
            }
            memory
        });
        let outcome = run::run(&plan, &mut Screen::silent()).unwrap();
        over.store(true, Ordering::Relaxed);
        (outcome, reloads.join().unwrap())
    });
    let figure = |name: &str| outcome.figures.get(name).unwrap_or(0.0);
    assert_eq!(
        (figure("asked"), figure("connected"), figure("with-media"), figure("stayed")),
        (11.0, 100.0, 100.0, 100.0),
        "{outcome}"
    );
    assert_eq!((figure("failed"), figure("frame-loss"), figure("lost")), (0.0, 0.0, 0.0), "{outcome}");
    assert_eq!(figure("long-freezes"), 0.0, "{outcome}");
    assert_eq!(listening(&kept), sockets, "the same sockets as before");
    assert_eq!(memory.len(), RELOADS);
    let (early, late) = (memory[RELOADS / 4], memory[RELOADS - 1]);
    assert!(late < early + 16 * 1024, "memory grew from {early} to {late} KiB");
    let (good, bad) = (server.log_lines("] reloaded"), server.log_lines("the reload failed, the old configuration stays"));
    assert_eq!((good, bad), (RELOADS - RELOADS / BAD_EVERY, RELOADS / BAD_EVERY));
}

#[test]
fn a_listener_comes_and_goes_and_its_connections_stay() {
    let server = Weir::start();
    let original = fs::read_to_string(server.conf()).unwrap();
    let spare = free_tcp();
    fs::write(server.conf(), original.replacen("listen ", &format!("listen {spare} "), 1)).unwrap();
    server.signal("HUP");
    let mut held = eventually("the new listener is there", Duration::from_secs(5), || std::net::TcpStream::connect(spare).ok());
    std::io::Write::write_all(&mut held, &[3]).unwrap();
    fs::write(server.conf(), &original).unwrap();
    server.signal("HUP");
    eventually("it has gone", Duration::from_secs(5), || std::net::TcpStream::connect(spare).is_err().then_some(()));
    held.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let read = std::io::Read::read(&mut held, &mut [0; 16]);
    assert!(read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "a connection in its handshake stays");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let server = Weir::start();
    let original = fs::read_to_string(server.conf()).unwrap();
    let spare = free_tcp();
    let with_mistake = original.replacen("listen ", &format!("listen {spare} "), 1).replace("hls_window 12;", "hls_widow 12;");
    fs::write(server.conf(), with_mistake).unwrap();
    server.signal("HUP");
    eventually("it says why", Duration::from_secs(5), || server.log().contains("unknown directive 'hls_widow'").then_some(()));
    assert!(server.log().contains("did you mean 'hls_window'?"));
    assert!(std::net::TcpStream::connect(spare).is_err());
    assert!(std::net::TcpStream::connect(server.rtmp).is_ok());
}

#[test]
fn a_watched_file_is_read_when_it_changes() {
    let server = Weir::start_global("inotify_auto_reload on;");
    let original = fs::read_to_string(server.conf()).unwrap();
    let spare = free_tcp();
    fs::write(server.conf(), original.replacen("listen ", &format!("listen {spare} "), 1)).unwrap();
    eventually("the new listener is there", Duration::from_secs(10), || std::net::TcpStream::connect(spare).ok());
    assert!(server.log().contains("a file has changed"));
}
