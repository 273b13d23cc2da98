//! Log set-up: one line per event on the console, by `tracing`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What to log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A `tracing` filter: `info`, or `warn,weir_rtc=debug`. The environment's `WEIR_LOG` goes
    /// before it.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into() }
    }
}

/// Starts logging to standard output. A second call in the same process is an error.
pub fn start(config: &LogConfig) -> anyhow::Result<()> {
    let filter = match std::env::var("WEIR_LOG") {
        Ok(filter) if !filter.is_empty() => EnvFilter::try_new(filter)?,
        _ => EnvFilter::try_new(&config.filter)?,
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stdout().is_terminal())
        .with_writer(std::io::stdout)
        .try_init()
        .map_err(|error| anyhow::anyhow!("logging could not start: {error}"))
}
