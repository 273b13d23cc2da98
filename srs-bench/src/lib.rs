//! `srs-bench`: load for live servers, and what they make of it, measured from outside.
//!
//! A plan (`plan`) says which clients come and when; the engines drive them; each notes what it sees
//! in a `measure::Recorder`; `run` shows it while it grows and judges it at the end. `cost` measures
//! a Weir beside this program by system calls. Nothing here knows a server's inside.
#![forbid(unsafe_code)]

mod cost;
mod http;
pub mod measure;
pub mod media;
mod proc;
mod rtmp;
mod webrtc;
mod yardstick;

use std::process::ExitCode;

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

/// The program: reads the command line, does what it says.
pub fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Cost(args) => cost::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
