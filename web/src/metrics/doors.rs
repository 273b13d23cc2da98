//! The rules on who may come in: whom they kept out.

use super::text::Exposition;
use crate::router::AppState;

pub(super) fn write(state: &AppState, out: &mut Exposition) {
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
