//! What an RTMP player costs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    Setup,
    figures::{Run, mb},
    server::Server,
};
use crate::{http, media::flv, proc, rtmp, yardstick};

pub(super) fn measure(setup: &Setup<'_>) -> anyhow::Result<()> {
    let (args, pin) = (setup.args, setup.cores.pin);
    let server = Server::start(setup)?;
    let publisher = rtmp::Publisher::start(server.ports.rtmp, "live", "bench", flv::Source::new(setup.shape))?;
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
        Ok((Run::new(idle, before, after, start.elapsed()), received, messages, payload, writes))
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
    run.print_usage(args.rtmp, "player");
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
