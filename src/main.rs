//! The `weir` program: arguments, configuration, server, signal.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use weir::{Args, Config, Server, log};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let (config, notes) = Config::load(args.config.as_deref())?;
    if args.test {
        notes.iter().for_each(|note| eprintln!("{note}"));
        println!("the configuration is valid");
        return Ok(());
    }
    log::start(&config.log)?;
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weir-io").build()?;
    let outcome = runtime.block_on(Server::run(config));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    outcome
}
