//! `srs-bench cost`: what viewers and publishers cost Weir, as multiples of a bare system call.
//!
//! The server runs on its cores and everything else on another. The server's CPU time comes from the
//! kernel's scheduler counters before and after, the work from what the clients received or sent,
//! the yardsticks (a bare `sendto`, a bare `writev`) from the server's core, before and after each
//! run. Every run has a server of its own.

mod figures;
mod load;
mod play;
mod publish;
mod server;
mod view;

use std::path::PathBuf;

use self::figures::Row;
use crate::{clients::Cipher, media::Shape, proc};

/// What to measure and how long. Lists make one run for each combination.
#[derive(Debug, clap::Args)]
pub(crate) struct CostArgs {
    /// The server's program.
    #[arg(long, default_value = "target/release/weir")]
    weir: PathBuf,
    /// WHEP viewers of one stream; 0 leaves this part out.
    #[arg(long, value_delimiter = ',', default_value = "200")]
    whep: Vec<usize>,
    /// By what the viewers' stream is published.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rtmp")]
    source: Vec<Published>,
    /// WHIP publishers without viewers; 0 leaves this part out.
    #[arg(long, value_delimiter = ',', default_value = "150")]
    publishers: Vec<usize>,
    /// RTMP players; 0 leaves this part out.
    #[arg(long, default_value_t = 500)]
    rtmp: usize,
    /// SRTP profiles that the WebRTC clients offer.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "gcm")]
    cipher: Vec<Cipher>,
    /// RTC workers of the server.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    /// Bitrate of a stream in kb/s, sound included.
    #[arg(long, default_value_t = 670)]
    kbps: u32,
    /// Frames per second.
    #[arg(long, default_value_t = 25)]
    fps: u32,
    /// Seconds that are counted, after all clients are there.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Do not keep the server and this program on cores of their own.
    #[arg(long)]
    no_pin: bool,
}

/// A stream's way into the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Published {
    /// RTMP: H.264 and AAC, which the server packetises and transcodes.
    Rtmp,
    /// WHIP: H.264 and Opus.
    Whip,
}

impl Published {
    const fn name(self) -> &'static str {
        match self {
            Self::Rtmp => "RTMP",
            Self::Whip => "WHIP",
        }
    }
}

/// One run's settings.
struct Setup<'a> {
    args: &'a CostArgs,
    shape: Shape,
    workers: usize,
    cipher: Cipher,
    cores: Cores,
}

/// Who runs where.
#[derive(Clone, Copy, Debug)]
struct Cores {
    pin: bool,
    /// The server has those below this one.
    server: usize,
    /// This program has this one.
    clients: usize,
}

impl Cores {
    fn new(pin: bool, workers: usize, cores: usize) -> Self {
        let server = workers.clamp(1, cores.max(1));
        Self { pin, server, clients: server.min(cores.saturating_sub(1)) }
    }

    fn describe(self) -> String {
        if !self.pin {
            return "not pinned".to_owned();
        }
        let server = if self.server == 1 { "core 0".to_owned() } else { format!("cores 0 to {}", self.server - 1) };
        let shared = if self.clients < self.server { ", which the server shares" } else { "" };
        format!("server on {server}, clients and yardsticks' receivers on core {}{shared}", self.clients)
    }
}

pub(crate) fn run(args: &CostArgs) -> anyhow::Result<()> {
    // Asked before this thread is pinned: then it would see one core.
    let (machine, cores) = (proc::machine(), std::thread::available_parallelism().map_or(1, usize::from));
    println!("machine   {machine}");
    println!("stream    {} kb/s with sound, {} fps, a keyframe every 2 s", args.kbps, args.fps);
    println!("          by RTMP with AAC that decodes to noise and a tone, by WHIP with Opus of silence, padded");
    let mut rows = Vec::new();
    let done = run_all(args, cores, &mut rows);
    // What was measured before an error is measured all the same.
    Row::print_all(&rows);
    done
}

fn run_all(args: &CostArgs, cores: usize, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let shape = Shape { kbps: args.kbps, fps: args.fps, gop: args.fps * 2 };
    for &workers in &args.workers {
        let cores = Cores::new(!args.no_pin && cores >= 2, workers, cores);
        if cores.pin {
            proc::pin_thread(cores.clients)?;
        }
        println!("\nplacement {}; {workers} RTC worker(s)", cores.describe());
        for &cipher in &args.cipher {
            let setup = Setup { args, shape, workers, cipher, cores };
            for (&viewers, &source) in pairs(&args.whep, &args.source) {
                rows.push(view::measure(&setup, viewers, source)?);
            }
            for &publishers in args.publishers.iter().filter(|publishers| **publishers > 0) {
                rows.push(publish::measure(&setup, publishers)?);
            }
        }
    }
    if args.rtmp > 0 {
        let cores = Cores::new(!args.no_pin && cores >= 2, 1, cores);
        if cores.pin {
            proc::pin_thread(cores.clients)?;
        }
        play::measure(&Setup { args, shape, workers: 1, cipher: Cipher::Gcm, cores })?;
    }
    Ok(())
}

/// All combinations; none for zero viewers.
fn pairs<'a>(viewers: &'a [usize], sources: &'a [Published]) -> impl Iterator<Item = (&'a usize, &'a Published)> {
    viewers.iter().filter(|viewers| **viewers > 0).flat_map(|viewers| sources.iter().map(move |source| (viewers, source)))
}
