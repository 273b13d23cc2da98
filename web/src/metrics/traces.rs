//! Traces: what became of the spans that a collector was to have.

use std::sync::atomic::Ordering;

use super::text::Exposition;
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let Some(stats) = &state.traces else { return };
    out.gauge(
        "weir_trace_spans_waiting",
        "Finished spans that wait for the collector.",
        stats.waiting.load(Ordering::Relaxed) as f64,
    );
    out.counter("weir_trace_spans_sent_total", "Spans that the collector took.", stats.sent.load(Ordering::Relaxed));
    out.counters(
        "weir_trace_spans_dropped_total",
        "Spans that the collector did not get.",
        "reason",
        [("queue_full", stats.queue_full.load(Ordering::Relaxed)), ("failed", stats.failed.load(Ordering::Relaxed))],
    );
}
