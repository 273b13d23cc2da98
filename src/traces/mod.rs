//! Traces by OpenTelemetry: what of the program's spans is exported, to whom, and within which bounds.
//!
//! A collector is asked for by the environment (`OTEL_EXPORTER_OTLP_ENDPOINT`, or
//! `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`; both plain HTTP); without one nothing is traced. Spans wait for
//! the exporter's own thread in a bounded queue: one that is slow or gone costs spans and nothing else.

mod collector;

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};
use weir_web::TRACES;

use collector::Collector;

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
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// `None`: the environment names no collector.
    pub(crate) fn start() -> anyhow::Result<Option<Self>> {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if !names.iter().any(|name| std::env::var(name).is_ok_and(|value| !value.is_empty())) {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Collector::new()?);
        let exporter = exporter.with_protocol(Protocol::HttpJson).build().context("the trace collector")?;
        let bounds = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(GATHER)
            .build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(bounds).build();
        let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "weir".to_owned());
        let resource = Resource::builder().with_service_name(name).build();
        Ok(Some(Self(SdkTracerProvider::builder().with_span_processor(batches).with_resource(resource).build())))
    }

    /// What takes the spans, beside the log.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let only = Targets::new().with_target(TRACES, LevelFilter::TRACE);
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("weir"));
        layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false).with_filter(only)
    }

    /// Sends what waits.
    pub(crate) fn finish(&self) {
        let _sent_or_lost = self.0.shutdown_with_timeout(LAST_WORDS);
    }
}
