//! `srs-bench cost`: what one viewer costs Weir, as multiples of a bare system call.
//!
//! The server runs on core 0 and everything else on core 1. A synthetic RTMP publisher feeds one
//! stream; first WHEP viewers, then RTMP players take it. The server's CPU time comes from the
//! kernel's scheduler counters before and after, the work from what the clients received, the
//! yardsticks (a bare `sendto`, a bare `writev`) from the same core in the same run.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    http,
    media::Source,
    proc::{self, Usage},
    rtmp, whep, yardstick,
};

/// What to measure and how long.
#[derive(Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// The server's program.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// WHEP viewers; 0 leaves this part out.
    #[arg(long, default_value_t = 200)]
    whep: usize,
    /// RTMP players; 0 leaves this part out.
    #[arg(long, default_value_t = 500)]
    rtmp: usize,
    /// Bitrate of the stream in kb/s.
    #[arg(long, default_value_t = 600)]
    kbps: u32,
    /// Frames per second.
    #[arg(long, default_value_t = 30)]
    fps: u32,
    /// Seconds that are counted, after all viewers are there.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Do not pin the server to core 0 and this program to core 1.
    #[arg(long)]
    no_pin: bool,
}

/// Where the server under test listens.
pub(crate) struct Ports {
    pub(crate) rtmp: SocketAddr,
    pub(crate) api: SocketAddr,
}

pub(crate) fn run(args: &CostArgs) -> anyhow::Result<()> {
    // Asked before it is pinned: then it would see one core.
    let machine = proc::machine();
    let pin = !args.no_pin && thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2);
    if pin {
        proc::pin_thread(1)?;
    }
    println!("machine   {machine}");
    println!("placement {}", if pin { "server on core 0, clients and yardsticks on core 1" } else { "not pinned" });
    println!("stream    {} kb/s, {} fps, a keyframe every 2 s, AAC silence, published by RTMP", args.kbps, args.fps);
    if args.whep > 0 {
        measure_whep(args, pin)?;
    }
    if args.rtmp > 0 {
        measure_rtmp(args, pin)?;
    }
    Ok(())
}

/// One run: the server's usage and the clients' count at both ends of the counted time.
struct Run {
    idle: Usage,
    before: Usage,
    after: Usage,
    wall: Duration,
}

impl Run {
    fn cpu(&self) -> Duration {
        self.after.cpu.saturating_sub(self.before.cpu)
    }

    fn print(&self, viewers: usize, what: &str) {
        let core = self.cpu().as_secs_f64() / self.wall.as_secs_f64() * 100.0;
        let per_second = self.cpu().as_secs_f64() * 1e3 / viewers as f64 / self.wall.as_secs_f64();
        println!(
            "  server    {:.2} CPU-s in {:.1} s ({core:.0} % of a core), {per_second:.3} CPU-ms per {what}-second",
            self.cpu().as_secs_f64(),
            self.wall.as_secs_f64()
        );
        let grown = self.after.rss_bytes.saturating_sub(self.idle.rss_bytes);
        println!(
            "  memory    {:.1} MB idle, {:.1} MB loaded: {:.1} KB per {what}",
            mb(self.idle.rss_bytes),
            mb(self.after.rss_bytes),
            grown as f64 / 1024.0 / viewers as f64
        );
    }
}

fn measure_whep(args: &CostArgs, pin: bool) -> anyhow::Result<()> {
    let server = Server::start(args, pin)?;
    let publisher = rtmp::Publisher::start(server.ports.rtmp, "live", "bench", Source::new(args.kbps, args.fps, args.fps * 2))?;
    thread::sleep(Duration::from_secs(2));
    // The first viewer starts the bridge, whose rings and threads are the stream's, not its own.
    let first = whep::Viewers::connect(server.ports.api, "live", "bench", 1)?;
    first.wait_until_all_receive(Duration::from_secs(30))?;
    let idle = proc::usage(server.pid())?;
    let viewers = whep::Viewers::connect(server.ports.api, "live", "bench", args.whep)?;
    viewers.wait_until_all_receive(Duration::from_secs(30))?;
    drop(first);
    thread::sleep(Duration::from_secs(1));
    let counted = viewers.counted();
    let start = Instant::now();
    let before = proc::usage(server.pid())?;
    thread::sleep(Duration::from_secs(args.seconds));
    let after = proc::usage(server.pid())?;
    let received = viewers.counted().since(&counted);
    let run = Run { idle, before, after, wall: start.elapsed() };
    let sending =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(http::counters(server.ports.api))?;
    drop(publisher);
    let yard = yardstick::sendto(1_200, args.whep, pin)?;
    let per_packet = run.cpu().as_secs_f64() * 1e6 / received.packets as f64;
    println!("\nWHEP, {} viewers", args.whep);
    println!(
        "  work      {} RTP packets delivered ({:.0} a second and viewer, {:.0} bytes each), {} lost on the way",
        received.packets,
        received.packets as f64 / args.whep as f64 / run.wall.as_secs_f64(),
        received.bytes as f64 / received.packets.max(1) as f64,
        received.lost
    );
    println!("  cipher    {}", viewers.cipher());
    run.print(args.whep, "viewer");
    println!("  sending   {}", sending["rtc"]);
    println!(
        "  per packet {per_packet:.2} µs = {:.2} × a bare sendto of 1,200 bytes ({:.2} µs)",
        per_packet / yard.as_secs_f64() / 1e6,
        yard.as_secs_f64() * 1e6
    );
    if received.lost * 1_000 > received.packets {
        println!("  WARNING   more than 0.1 % was lost: the clients were too slow, the figure does not count");
    }
    Ok(())
}

fn measure_rtmp(args: &CostArgs, pin: bool) -> anyhow::Result<()> {
    let server = Server::start(args, pin)?;
    let publisher = rtmp::Publisher::start(server.ports.rtmp, "live", "bench", Source::new(args.kbps, args.fps, args.fps * 2))?;
    thread::sleep(Duration::from_secs(2));
    let idle = proc::usage(server.pid())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (bytes, ready) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let run = runtime.block_on(async {
        let mut players = tokio::task::JoinSet::new();
        for _ in 0..args.rtmp {
            players.spawn(rtmp::play(server.ports.rtmp, "live".into(), "bench".into(), Arc::clone(&bytes), Arc::clone(&ready)));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while (ready.load(Ordering::Relaxed) as usize) < args.rtmp {
            if Instant::now() > deadline {
                bail!("only {} of {} players were served", ready.load(Ordering::Relaxed), args.rtmp);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (messages, payload) = publisher.sent();
        let (start, received, earlier) = (Instant::now(), bytes.load(Ordering::Relaxed), writes(server.ports.api).await?);
        let before = proc::usage(server.pid())?;
        tokio::time::sleep(Duration::from_secs(args.seconds)).await;
        let after = proc::usage(server.pid())?;
        let writes = writes(server.ports.api).await?.saturating_sub(earlier);
        let received = bytes.load(Ordering::Relaxed) - received;
        let (messages, payload) = (publisher.sent().0 - messages, publisher.sent().1 - payload);
        if let Some(Ok(Err(error))) = players.try_join_next() {
            bail!("a player was lost: {error:#}");
        }
        Ok((Run { idle, before, after, wall: start.elapsed() }, received, messages, payload, writes))
    });
    let (run, received, messages, payload, writes) = run?;
    drop(publisher);
    let delivered = messages * args.rtmp as u64;
    let size = usize::try_from(received / writes.max(1)).unwrap_or(0).max(64);
    let yard = yardstick::writev(size, args.rtmp, pin)?;
    let gathered = yardstick::writev_back_to_back(size, pin)?;
    let per_write = run.cpu().as_secs_f64() * 1e6 / writes.max(1) as f64;
    println!("\nRTMP, {} players", args.rtmp);
    println!(
        "  work      {messages} messages published, {delivered} delivered in {writes} writes of {size} bytes; {:.1} MB received of {:.1} MB expected",
        mb(received),
        mb(payload * args.rtmp as u64)
    );
    run.print(args.rtmp, "player");
    println!(
        "  per write {per_write:.2} µs = {:.2} × a bare writev of {size} bytes to as many players ({:.2} µs); per message {:.2} µs",
        per_write / yard.as_secs_f64() / 1e6,
        yard.as_secs_f64() * 1e6,
        run.cpu().as_secs_f64() * 1e6 / delivered.max(1) as f64
    );
    println!(
        "            = {:.2} × a writev into one connection, which the kernel gathers ({:.2} µs)",
        per_write / gathered.as_secs_f64() / 1e6,
        gathered.as_secs_f64() * 1e6,
    );
    if (received as f64) < payload as f64 * args.rtmp as f64 * 0.98 {
        println!("  WARNING   less than 98 % arrived: the clients were too slow, the figure does not count");
    }
    Ok(())
}

/// Socket writes of the server towards RTMP players so far.
async fn writes(api: SocketAddr) -> anyhow::Result<u64> {
    http::counters(api).await?["rtmp"]["writes"].as_u64().context("the server does not count its RTMP writes")
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A Weir on free ports, ended when dropped.
struct Server {
    child: Child,
    ports: Ports,
    conf: PathBuf,
}

impl Server {
    fn start(args: &CostArgs, pin: bool) -> anyhow::Result<Self> {
        let [rtmp, api, rtc] = [free_port()?, free_port()?, free_port()?];
        let conf = std::env::temp_dir().join(format!("srs-bench-{}-{rtmp}.conf", std::process::id()));
        let text = format!(
            "listen 127.0.0.1:{rtmp};\nmax_connections 20000;\nsrs_log_level warn;\nhttp_api {{ enabled on; listen 127.0.0.1:{api}; }}\n\
             rtc_server {{ enabled on; listen 127.0.0.1:{rtc}; candidate 127.0.0.1; workers 1; }}\n\
             vhost __defaultVhost__ {{ rtc {{ enabled on; rtmp_to_rtc on; }} }}\n"
        );
        std::fs::write(&conf, text)?;
        let mut command = if pin { Command::new("taskset") } else { Command::new(&args.weir) };
        if pin {
            command.args(["-c", "0"]).arg(&args.weir);
        }
        let child = command.arg("-c").arg(&conf).stdout(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{} did not start (cargo build --release first)", args.weir.display()))?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let server = Self { child, ports: Ports { rtmp: local(rtmp), api: local(api) }, conf };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(server.ports.api).is_err() {
            if Instant::now() > deadline {
                bail!("the server did not come up");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        let _removed = std::fs::remove_file(&self.conf);
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
