//! What the kernel says of this process and this machine, under SRS's names.

use axum::{extract::State, response::Response};
use serde_json::{Map, Value, json};

use super::answer;
use crate::{
    machine::{CPU_FIELDS, Figures, PROCESS_FIELDS, USAGE_FIELDS},
    router::AppState,
};

pub(super) async fn rusages(State(state): State<AppState>) -> Response {
    let figures = state.machine.figures();
    data(&state, &figures, USAGE_FIELDS.into_iter().zip(figures.usage.values.map(Value::from)))
}

pub(super) async fn self_proc_stats(State(state): State<AppState>) -> Response {
    let figures = state.machine.figures();
    let process = &figures.process;
    let head = [
        ("percent", Value::from(figures.process_share)),
        ("pid", Value::from(process.pid)),
        ("comm", Value::from(process.comm.as_str())),
        ("state", Value::from(process.state.as_str())),
    ];
    data(&state, &figures, head.into_iter().chain(PROCESS_FIELDS.map(|name| (name, Value::from(process.field(name))))))
}

pub(super) async fn system_proc_stats(State(state): State<AppState>) -> Response {
    let figures = state.machine.figures();
    let percent = std::iter::once(("percent", Value::from(figures.cpu_share)));
    data(&state, &figures, percent.chain(CPU_FIELDS.into_iter().zip(figures.cpu.ticks.map(Value::from))))
}

pub(super) async fn meminfos(State(state): State<AppState>) -> Response {
    let figures = state.machine.figures();
    let memory = &figures.memory;
    let fields = [
        ("percent_ram", Value::from(memory.ram_share())),
        ("percent_swap", Value::from(memory.swap_share())),
        ("MemActive", Value::from(memory.active)),
        ("RealInUse", Value::from(memory.in_use())),
        ("NotInUse", Value::from(memory.not_in_use())),
        ("MemTotal", Value::from(memory.total)),
        ("MemFree", Value::from(memory.free)),
        ("Buffers", Value::from(memory.buffers)),
        ("Cached", Value::from(memory.cached)),
        ("SwapTotal", Value::from(memory.swap_total)),
        ("SwapFree", Value::from(memory.swap_free)),
    ];
    data(&state, &figures, fields)
}

/// The fields behind SRS's first two.
fn data(state: &AppState, figures: &Figures, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Response {
    let mut data = Map::new();
    data.insert("ok".to_owned(), Value::from(figures.ok));
    data.insert("sample_time".to_owned(), Value::from(figures.taken_ms));
    data.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    answer(state, 0, json!({"data": data}))
}
