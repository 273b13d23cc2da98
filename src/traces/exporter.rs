//! Counting what waits for the collector, what it takes and what is lost, and saying when it fails.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use weir_web::TraceStats;

/// Takes finished spans, no more than there is room for.
#[derive(Debug)]
pub(super) struct Queue {
    batches: BatchSpanProcessor,
    stats: Arc<TraceStats>,
    max: usize,
}

impl Queue {
    /// `batches` has room for `max` spans.
    pub(super) fn new(batches: BatchSpanProcessor, stats: Arc<TraceStats>, max: usize) -> Self {
        Self { batches, stats, max }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    /// What does not fit is dropped here, where it can be counted: the queue behind it tells nobody.
    fn on_end(&self, span: SpanData) {
        if self.stats.waiting.fetch_add(1, Ordering::Relaxed) < self.max {
            self.batches.on_end(span);
        } else {
            self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
            self.stats.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends batches, and counts them.
#[derive(Debug)]
pub(super) struct Exporter<E> {
    next: E,
    stats: Arc<TraceStats>,
    is_failing: AtomicBool,
}

impl<E> Exporter<E> {
    pub(super) fn new(next: E, stats: Arc<TraceStats>) -> Self {
        Self { next, stats, is_failing: AtomicBool::new(false) }
    }

    /// One line when it begins to fail, one when it works again.
    fn note(&self, result: &OTelSdkResult) {
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(reason) if !was_failing => tracing::warn!(%reason, "the trace collector takes no spans"),
            Ok(()) if was_failing => tracing::info!("the trace collector takes spans again"),
            _ => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let count = batch.len();
        self.stats.waiting.fetch_sub(count, Ordering::Relaxed);
        async move {
            let result = self.next.export(batch).await;
            self.note(&result);
            let counter = if result.is_ok() { &self.stats.sent } else { &self.stats.failed };
            counter.fetch_add(count as u64, Ordering::Relaxed);
            result
        }
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.next.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::{
        error::OTelSdkError,
        trace::{BatchConfigBuilder, SdkTracerProvider},
    };

    use super::*;

    /// Takes spans, or does not.
    #[derive(Debug, Default)]
    struct Fake(Arc<AtomicBool>);

    impl SpanExporter for Fake {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(OTelSdkError::InternalFailure("nobody is there".to_owned())) }
        }
    }

    #[test]
    fn each_span_is_counted_as_sent_or_lost() {
        let (stats, takes) = (Arc::<TraceStats>::default(), Arc::<AtomicBool>::default());
        // So large that nothing is sent before it is asked for.
        let bounds = BatchConfigBuilder::default().with_max_queue_size(16).with_max_export_batch_size(16);
        let bounds = bounds.with_scheduled_delay(Duration::from_secs(3_600)).build();
        let exporter = Exporter::new(Fake(Arc::clone(&takes)), Arc::clone(&stats));
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(bounds).build();
        let queue = Queue::new(batches, Arc::clone(&stats), 8);
        let provider = SdkTracerProvider::builder().with_span_processor(queue).build();
        let tracer = provider.tracer("test");
        let counts = || {
            let lost = [&stats.queue_full, &stats.failed, &stats.sent].map(|counter| counter.load(Ordering::Relaxed));
            (stats.waiting.load(Ordering::Relaxed), lost)
        };
        (0..11).for_each(|_| drop(tracer.start("span")));
        assert_eq!(counts(), (8, [3, 0, 0]));
        assert!(provider.force_flush().is_err());
        assert_eq!(counts(), (0, [3, 8, 0]));
        takes.store(true, Ordering::Relaxed);
        (0..8).for_each(|_| drop(tracer.start("span")));
        provider.force_flush().expect("it takes them");
        assert_eq!(counts(), (0, [3, 8, 8]));
    }
}
