//! What stands in front of the server: certificates, handshakes, and the rules on who may come in.

use std::time::SystemTime;

use super::text::{Exposition, Kind};
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    rules(state, out);
    tls(state, out);
}

fn rules(state: &AppState, out: &mut Exposition) {
    out.counters(
        "weir_door_refusals_total",
        "Requests for a session, or signalling requests, kept out by the rules on addresses, pages and tokens.",
        "reason",
        state.door.refused(),
    );
    let (remembered, forgotten) = state.door.addresses();
    out.gauge("weir_door_addresses", "Addresses whose recent requests are remembered.", remembered as f64);
    out.counter("weir_door_addresses_forgotten_total", "Addresses forgotten early, for want of room.", forgotten);
}

fn tls(state: &AppState, out: &mut Exposition) {
    let certificates = &state.certificates;
    let now = SystemTime::now();
    out.family(
        Kind::Gauge,
        "weir_tls_certificate_expires_in_seconds",
        "Until the certificate of this role is no longer valid; negative once it is not.",
    );
    for (role, facts) in certificates.facts() {
        out.sample(&[("role", role)], facts.expires_in_s(now).round());
    }
    out.counter("weir_tls_handshakes_total", "TLS handshakes completed.", certificates.stats().completed());
    out.counters(
        "weir_tls_failures_total",
        "Connections that did not get through the TLS handshake.",
        "reason",
        certificates.stats().failed(),
    );
}
