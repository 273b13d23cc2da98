//! The log: lines in SRS's form, or JSON, to the console or a file.
//!
//! A line is made where something happens and written by a thread of its own: a full disk, a
//! terminal that nobody reads or a slow mount costs lines, which are counted, and never media.

mod budget;
mod flood;
mod layer;
mod line;
mod writer;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use layer::{LineLayer, Style};
use writer::Writer;

use crate::config;
#[cfg(feature = "otel")]
use crate::traces::Traces;

/// What to log, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A `tracing` filter: `info`, or `warn,weir_rtc=debug` (`srs_log_level`, `srs_log_level_v2`).
    /// The environment's `WEIR_LOG` goes before it.
    pub filter: String,
    /// Where lines go (`srs_log_tank`, `srs_log_file`). Default: the console.
    pub tank: Tank,
    /// What a line looks like (`log_format`). Default: as SRS's.
    pub format: LogFormat,
    /// Times are UTC rather than local (`utc_time`). Default off.
    pub utc: bool,
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tank {
    /// Standard output.
    #[default]
    Console,
    /// The end of a file. Its folder is made if need be.
    File(PathBuf),
}

/// What a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `[2026-11-28 13:52:32.123][INFO][pid][cid] text`, where cid is the trace id of the client
    /// concerned, or the process's own.
    #[default]
    Srs,
    /// One JSON object with `time`, `level`, `pid`, `cid`, `message` and the fields of the event.
    Json,
}

impl From<&config::Log> for LogConfig {
    fn from(log: &config::Log) -> Self {
        Self {
            filter: log.level.name().to_owned(),
            tank: log.file.clone().map_or(Tank::Console, Tank::File),
            format: if log.json { LogFormat::Json } else { LogFormat::Srs },
            utc: log.utc,
        }
    }
}

impl LogConfig {
    fn filter(&self) -> anyhow::Result<EnvFilter> {
        let environment = std::env::var("WEIR_LOG").ok().filter(|filter| !filter.is_empty());
        let filter = environment.as_ref().unwrap_or(&self.filter);
        EnvFilter::try_new(filter).with_context(|| format!("the log filter '{filter}'"))
    }

    fn style(&self) -> Style {
        Style { format: self.format, utc: self.utc }
    }
}

/// The running log. Cloning shares it.
#[derive(Clone)]
pub struct Log {
    config: Arc<ArcSwap<LogConfig>>,
    style: Arc<ArcSwap<Style>>,
    filter: reload::Handle<EnvFilter, Registry>,
    writer: Writer,
    #[cfg(feature = "otel")]
    traces: Option<Traces>,
}

impl Log {
    /// Starts logging. A second call in the same process is an error. `cid` stands in lines that
    /// concern no client.
    fn start(config: &LogConfig, cid: String) -> anyhow::Result<Self> {
        let writer = Writer::start(&config.tank)?;
        let style = Arc::new(ArcSwap::from_pointee(config.style()));
        let (filter, handle) = reload::Layer::new(config.filter()?);
        let lines = LineLayer::new(Arc::clone(&style), writer.clone(), cid);
        #[cfg(not(feature = "otel"))]
        tracing_subscriber::registry().with(filter).with(lines).try_init().context("logging could not start")?;
        // Each with a filter of its own: what is traced is not logged, at whatever level.
        #[cfg(feature = "otel")]
        let traces = Traces::start()?;
        #[cfg(feature = "otel")]
        tracing_subscriber::registry()
            .with(tracing_subscriber::Layer::with_filter(lines, filter))
            .with(traces.as_ref().map(Traces::layer))
            .try_init()
            .context("logging could not start")?;
        Ok(Self {
            config: Arc::new(ArcSwap::from_pointee(config.clone())),
            style,
            filter: handle,
            writer,
            #[cfg(feature = "otel")]
            traces,
        })
    }

    /// The settings as they are now.
    pub(crate) fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Takes other settings. Nothing has changed where it fails.
    pub(crate) fn set(&self, config: &LogConfig) -> anyhow::Result<()> {
        let was = self.config();
        let filter = config.filter()?;
        if config.tank != was.tank {
            self.writer.open(&config.tank)?;
        }
        if config.filter != was.filter {
            self.filter.reload(filter)?;
        }
        self.style.store(Arc::new(config.style()));
        self.config.store(Arc::new(config.clone()));
        Ok(())
    }

    /// Opens the log file anew, for whoever has moved it away.
    pub(crate) fn reopen(&self) {
        match self.writer.open(&self.config().tank) {
            Ok(()) => tracing::info!("the log file was opened anew"),
            Err(error) => tracing::warn!("the log goes on in the old file: {error:#}"),
        }
    }

    /// What becomes of traces, where there is a collector.
    #[cfg(feature = "otel")]
    pub(crate) fn trace_stats(&self) -> Option<Arc<weir_web::TraceStats>> {
        self.traces.as_ref().map(|traces| Arc::clone(traces.stats()))
    }

    /// Waits until what was logged so far is written, or a second; then ends the traces.
    pub fn flush(&self) {
        #[cfg(feature = "otel")]
        self.traces.iter().for_each(Traces::finish);
        self.writer.flush();
    }
}

/// Starts logging, panics too, with a trace id of the process's own.
pub fn start(config: &config::Log) -> anyhow::Result<Log> {
    let log = Log::start(&config.into(), weir_web::trace_id())?;
    log_panics();
    Ok(log)
}

/// Beside what goes to standard error.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(%place, "panic: {}", panic.payload_as_str().unwrap_or("without words"));
        before(panic);
    }));
}
