//! Traces by OpenTelemetry: what of the program's spans is exported, to whom, and within which bounds.
//!
//! A collector is asked for by the environment (`OTEL_EXPORTER_OTLP_ENDPOINT`, or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`; HTTP or HTTPS); without one nothing is traced. Spans wait for
//! the exporter's own thread in a bounded queue: one that is slow or gone costs spans, which are
//! counted, and nothing else.

mod collector;
mod exporter;

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};
use weir_web::{TRACES, TraceStats};

use collector::{Collector, endpoint};
use exporter::{Exporter, Queue};

/// Finished spans that may wait, of some 1 KiB each: a hundred thousand a minute pass.
const QUEUE_MAX: usize = 8_192;
/// Those of one request to the collector.
const BATCH_MAX: usize = 1_024;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(2);
/// At the end of the process, for what has not been sent.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Exporting, until it is finished.
#[derive(Clone)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    stats: Arc<TraceStats>,
}

/// Whether what the environment says of a collector can be meant.
pub(crate) fn check() -> anyhow::Result<()> {
    endpoint().map(drop)
}

impl Traces {
    /// `None`: the environment names no collector.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = endpoint()? else { return Ok(None) };
        let collector = Collector::new(&endpoint).context("the trace collector")?;
        let exporter = SpanExporter::builder().with_http().with_http_client(collector).with_endpoint(endpoint.to_string());
        let exporter = exporter.with_protocol(Protocol::HttpJson).build().context("the trace collector")?;
        let stats = Arc::<TraceStats>::default();
        let bounds = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(GATHER)
            .build();
        let batches = BatchSpanProcessor::builder(Exporter::new(exporter, Arc::clone(&stats))).with_batch_config(bounds).build();
        let queue = Queue::new(batches, Arc::clone(&stats), QUEUE_MAX);
        let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "weir".to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        let provider = SdkTracerProvider::builder().with_span_processor(queue).with_resource(resource).build();
        Ok(Some(Self { provider, stats }))
    }

    /// What becomes of spans.
    pub(crate) fn stats(&self) -> &Arc<TraceStats> {
        &self.stats
    }

    /// What takes the spans, beside the log.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let only = Targets::new().with_target(TRACES, LevelFilter::TRACE);
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer("weir"));
        layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false).with_filter(only)
    }

    /// Sends what waits.
    pub(crate) fn finish(&self) {
        let _sent_or_lost = self.provider.shutdown_with_timeout(LAST_WORDS);
    }
}
