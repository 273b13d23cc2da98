//! The `weir` program: arguments, configuration, server, signal.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use weir::{Args, Server, log};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let Some((config, notes)) = args.prepare()? else { return Ok(()) };
    log::start(&log::LogConfig { filter: config.log.level.name().into() })?;
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weir-io").build()?;
    let outcome = runtime.block_on(Server::run(config));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}
