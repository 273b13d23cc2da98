//! Callbacks: calls, failures, how long they take.

use super::text::{Exposition, Kind};
use crate::{
    hooks::{HookStats, LATENCY_BOUNDS_MS},
    router::AppState,
};

pub(super) fn write(state: &AppState, out: &mut Exposition) {
    let stats = state.hooks.as_ref().map(|hooks| hooks.stats());
    let hooks: &[HookStats] = stats.as_ref().map_or(&[], |stats| &stats.hooks);
    let name = |stats: &HookStats| stats.hook.name();
    out.family(Kind::Counter, "weir_hook_calls_total", "Requests to callback servers.");
    hooks.iter().for_each(|stats| out.whole(&[("hook", name(stats))], stats.calls));
    out.family(Kind::Counter, "weir_hook_failures_total", "Calls that were refused or failed; timeouts are failures too.");
    for stats in hooks {
        let reasons =
            [("refused", stats.refusals), ("failed", stats.failures), ("timeout", stats.timeouts), ("dropped", stats.dropped)];
        for (reason, count) in reasons {
            out.whole(&[("hook", name(stats)), ("reason", reason)], count);
        }
    }
    out.family(Kind::Histogram, "weir_hook_latency_seconds", "How long callback servers take.");
    for stats in hooks {
        let mut sum = 0;
        let buckets: Vec<(f64, u64)> = LATENCY_BOUNDS_MS
            .iter()
            .zip(stats.latency)
            .map(|(bound, count)| {
                sum += count;
                (*bound as f64 / 1_000.0, sum)
            })
            .collect();
        let all = stats.latency.iter().sum();
        out.buckets(&[("hook", name(stats))], &buckets, all, stats.latency_total.as_secs_f64());
    }
    out.gauge("weir_hook_pending", "Notices that wait or are under way.", stats.as_ref().map_or(0, |stats| stats.pending) as f64);
}
