//! `srs-bench`: what viewers and publishers cost a live server, measured from outside.
#![forbid(unsafe_code)]

mod cost;
mod http;
mod media;
mod proc;
mod rtmp;
mod webrtc;
mod yardstick;

use clap::{Parser, Subcommand};

/// Load and measuring tool for live servers.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a Weir beside this program and measure what WHEP viewers, WHIP publishers and RTMP players cost it.
    Cost(cost::CostArgs),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Cost(args) => cost::run(&args),
    }
}
