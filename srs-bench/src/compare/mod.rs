//! `srs-bench compare`: servers side by side in one run, under the same load.
//!
//! Each server runs alone on one core, the load on another. The workloads are gone through in rounds,
//! the servers in turn and every other round in the reverse order, so that a machine that slows down
//! in mid-run slows all of them. Of the rounds the medians count. `peers` starts the servers with a
//! configuration of our own, `workload` says what is done to them, `measured` what it cost, `report`
//! writes it down.

mod measured;
mod peers;
mod report;
mod workload;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::ensure;

use self::{
    measured::Measured,
    peers::{Foreign, Peer},
    workload::{Protocol, Workload},
};
use crate::proc;

/// What to compare and how long.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    srs-bench compare\n  \
    srs-bench compare --only whep,rtmp --rounds 1 --seconds 10\n  \
    srs-bench compare --peer srs=rtmp://127.0.0.1/live/bench,webrtc://127.0.0.1:1985/live/bench,pid=4711\n\n\
    nginx with its RTMP module and Janus are measured where they are installed:\n  \
    apt-get install --no-install-recommends nginx libnginx-mod-rtmp janus\n\
    Other servers are yours to start: --peer NAME=URL[,URL…],pid=PID. A URL of rtmp:// or webrtc:// is published to and \
    played, …/whip… is published to, …/whep…, ….flv and ….m3u8 are played. `[s]` in it is the number of the stream; one \
    without it is left out where many streams are published. Keep such a server on core 0 (taskset -cp 0 PID).")]
pub(crate) struct CompareArgs {
    /// Weir's program.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// A server that runs already: NAME=URL[,URL…],pid=PID.
    #[arg(long = "peer", value_name = "NAME=URL,pid=PID")]
    peers: Vec<Foreign>,
    /// Which protocols: whep, whip, rtmp, flv, hls, churn.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Protocol>,
    /// Leave these servers out: weir, nginx, janus.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Rounds, of which the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Seconds that are counted of each run, after all clients are there.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Clients of each workload in per cent of what is written down for it.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    scale: u32,
    /// Where the result goes, in Markdown.
    #[arg(long, default_value = "BENCHMARKS.md")]
    out: PathBuf,
}

/// All runs of one workload with one server.
type Runs = BTreeMap<(usize, usize), Vec<Result<Measured, String>>>;

pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<()> {
    // Asked before this thread is pinned: then it would see one core.
    let (machine, cores) = (proc::machine(), std::thread::available_parallelism().map_or(1, usize::from));
    ensure!(cores >= 2, "one core for the server and one for the load are needed, there is one in all");
    proc::pin_thread(1)?;
    let peers = Peer::all(args);
    let workloads: Vec<Workload> =
        workload::all(args.scale).filter(|w| args.only.is_empty() || args.only.contains(&w.protocol)).collect();
    println!("machine   {machine}");
    println!("placement servers on core 0, the load on core 1");
    for peer in &peers {
        println!("server    {}", peer.describe());
    }
    let mut runs = Runs::new();
    for round in 0..args.rounds {
        for (w, workload) in workloads.iter().enumerate() {
            println!("\nround {} of {}: {}", round + 1, args.rounds, workload.describe());
            for (p, peer) in in_turn(&peers, round) {
                let Some(outcome) = measured::measure(peer, workload, Duration::from_secs(args.seconds)) else { continue };
                let outcome = outcome.map_err(|error| format!("{error:#}"));
                match &outcome {
                    Ok(measured) => println!("  {:8} {}", peer.name(), measured.line()),
                    Err(error) => println!("  {:8} failed: {error}", peer.name()),
                }
                runs.entry((w, p)).or_default().push(outcome);
            }
        }
    }
    let text = report::write(&report::Report { machine: &machine, args, peers: &peers, workloads: &workloads, runs: &runs });
    std::fs::write(&args.out, text)?;
    println!("\nwritten to {}", args.out.display());
    Ok(())
}

/// Forwards in even rounds, backwards in odd ones.
fn in_turn(peers: &[Peer], round: u32) -> Vec<(usize, &Peer)> {
    let mut turn: Vec<_> = peers.iter().enumerate().collect();
    if round % 2 == 1 {
        turn.reverse();
    }
    turn
}
