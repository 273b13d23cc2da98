//! Handshakes, certificates and how they are obtained.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::text::{Exposition, Kind};
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (handshakes, acme) = (state.certificates.stats(), state.certificates.acme_stats());
    out.counters(
        "weir_tls_handshakes_total",
        "TLS handshakes of HTTPS and RTMPS, by how they ended.",
        "result",
        std::iter::once(("ok", handshakes.completed())).chain(handshakes.failed()),
    );
    out.family(Kind::Gauge, "weir_tls_certificate_expiry_timestamp_seconds", "When the certificates of now stop being valid.");
    for (section, facts) in state.certificates.facts() {
        let end = facts.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.whole(&[("section", section)], end.as_secs());
    }
    out.counters(
        "weir_acme_orders_total",
        "Certificates obtained by ACME, and what went wrong on the way to one.",
        "result",
        [("ok", of(&acme.obtained)), ("failed", of(&acme.failed))],
    );
    out.counter("weir_acme_challenges_total", "Connections of ACME authorities that were shown the proof.", of(&acme.challenged));
}
