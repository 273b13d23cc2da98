//! SRS's ten, by its names and in its units.

use std::sync::atomic::Ordering;

use super::text::{Exposition, Kind};
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let figures = state.machine.figures();
    let facts = &figures.facts;
    let machine = std::env::consts::ARCH;
    out.family(Kind::Gauge, "srs_node_uname_info", "The system, as uname tells it.").whole(
        &[
            ("sysname", &facts.system),
            ("nodename", &facts.node),
            ("release", &facts.release),
            ("version", &facts.version),
            ("machine", machine),
        ],
        1,
    );
    build(state, facts.built_s, out);
    out.gauge("srs_cpu_percent", "Processor time used, in percent of one processor.", figures.process_share * 100.0);
    out.gauge("srs_memory", "Resident memory in kilobytes.", figures.process.resident_kbyte as f64);
    let (totals, _) = state.rates.totals();
    let bytes = totals.bytes();
    out.counter("srs_send_bytes_total", "Bytes sent to clients.", bytes.send);
    out.counter("srs_receive_bytes_total", "Bytes received from clients.", bytes.recv);
    out.gauge("srs_streams", "Streams that are published or waited for.", state.hub.count() as f64);
    let clients = state.hub.clients();
    out.gauge("srs_clients", "Clients of all protocols.", clients.count() as f64);
    out.counter("srs_clients_total", "Clients there have been.", clients.entered());
    out.counter("srs_clients_errs_total", "Clients that were not let in, or that failed.", errors(state));
}

fn build(state: &AppState, built_s: u64, out: &mut Exposition) {
    let (ids, config) = (&state.ids, state.config());
    let built = built_s.to_string();
    let mut labels = vec![
        ("server", ids.server.as_str()),
        ("service", ids.service.as_str()),
        ("pid", ids.pid.as_str()),
        ("build_date", built.as_str()),
        ("major", env!("CARGO_PKG_VERSION_MAJOR")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("code", "Weir"),
    ];
    let exporter = &config.api.exporter;
    labels
        .extend([("label", exporter.label.as_str()), ("tag", exporter.tag.as_str())].into_iter().filter(|(_, v)| !v.is_empty()));
    out.family(Kind::Gauge, "srs_build_info", "This server; build_date is in seconds of Unix time.").whole(&labels, 1);
}

/// One that ends as it should is no error.
fn errors(state: &AppState) -> u64 {
    let denials = state.hub.denials();
    let denied = [&denials.unauthorized, &denials.forbidden, &denials.too_many, &denials.unavailable, &denials.busy];
    let rtmp = [&state.rtmp.protocol_errors, &state.rtmp.too_slow, &state.rtmp.panics];
    let rtc = state.rtc.as_ref().map(|rtc| rtc.stats().traffic);
    let rtc = rtc.map(|traffic| [traffic.bad_fingerprint, traffic.dtls_failed, traffic.panics]).unwrap_or_default();
    let counted = denied.into_iter().chain(rtmp).map(|counter| counter.load(Ordering::Relaxed));
    counted.chain(rtc).fold(0, u64::saturating_add)
}
