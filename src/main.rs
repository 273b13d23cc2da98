//! The `weir` program: arguments, configuration, process, log, server.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Duration};

use clap::Parser as _;
use weir::{Args, ConfigSource, Server, Start, log, process};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::from(2)
    })
}

fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Some((config, notes)) = args.prepare()? else { return Ok(ExitCode::SUCCESS) };
    let source = ConfigSource::of(args);
    let process = match process::Process::enter(&config.process)? {
        process::Entered::Server(process) => process,
        process::Entered::Launcher(code) => return Ok(code),
    };
    let log = log::start(&config.log)?;
    notes.iter().for_each(|note| tracing::warn!("{note}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weir-io").build()?;
    let outcome = runtime.block_on(Server::run(Start { source, config, process, log: log.clone() }));
    runtime.shutdown_timeout(Duration::from_millis(500));
    log.flush();
    outcome.map(|()| ExitCode::SUCCESS)
}
