//! The process and the machine under it.

use super::text::{Exposition, Kind};
use crate::{machine::BUCKETS_US, router::AppState};

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let figures = state.machine.figures();
    let process = &figures.process;
    out.family(Kind::Gauge, "weir_build_info", "The version, as a label.").whole(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.gauge("weir_start_time_seconds", "When the process was started, in seconds of Unix time.", figures.started_s);
    out.family(Kind::Counter, "weir_process_cpu_seconds_total", "Processor time used.")
        .sample(&[], process.ticks() as f64 / 100.0);
    out.gauge("weir_process_resident_memory_bytes", "Resident memory.", process.resident_kbyte as f64 * 1_024.0);
    out.gauge("weir_process_peak_memory_bytes", "The most that it ever was.", process.peak_kbyte as f64 * 1_024.0);
    out.gauge("weir_process_threads", "Threads.", process.field("num_threads") as f64);
    out.gauge("weir_process_open_fds", "Open file descriptors.", figures.descriptors.0 as f64);
    out.gauge("weir_process_max_fds", "How many may be open.", figures.descriptors.1 as f64);
    out.gauge("weir_machine_cpu_ratio", "The share of all processors that was busy.", figures.cpu_share);
    out.gauge("weir_machine_memory_ratio", "The share of memory in use.", figures.memory.ram_share());
    let udp = &figures.udp;
    out.counters(
        "weir_machine_udp_errors_total",
        "Datagrams lost in this network namespace, all programs together.",
        "kind",
        [
            ("receive_buffer", udp.recv_buffer_errors),
            ("send_buffer", udp.send_buffer_errors),
            ("in", udp.in_errors),
            ("no_port", udp.no_ports),
            ("memory", udp.memory_errors),
        ],
    );
    let (buckets, count, sum) = state.machine.lag().histogram();
    let buckets: Vec<(f64, u64)> = BUCKETS_US.iter().map(|us| *us as f64 / 1e6).zip(buckets).collect();
    out.family(Kind::Histogram, "weir_runtime_lag_seconds", "How late tasks of the runtime are.").buckets(
        &[],
        &buckets,
        count,
        sum,
    );
    let (applied, failed) = state.reload.as_ref().map(|reload| reload.counts()).unwrap_or_default();
    out.counters(
        "weir_config_reloads_total",
        "Configurations that were read anew.",
        "result",
        [("applied", applied), ("failed", failed)],
    );
}
