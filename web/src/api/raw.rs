//! Reading the configuration anew: SRS's raw API and ours. And what is not built yet.

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{answer, failure, guard};
use crate::{Fault, Problem, peer::Scheme, query::Params, router::AppState};

/// SRS's number for a raw request that names no known `rpc`.
const ERROR_RAW: u16 = 1060;
/// SRS's number for one that is not enabled.
const ERROR_RAW_DISABLED: u16 = 1061;
/// SRS's number for a configuration with mistakes.
const ERROR_CONFIG: u16 = 1023;
/// SRS's numbers for how far a reload is: there was none, and it is done.
const STATE_NEVER: u8 = 0;
const STATE_DONE: u8 = 90;

/// `rpc=raw` tells what is on; `reload` starts a reload and answers at once, `reload-fetch` tells what
/// became of it.
pub(super) async fn raw(
    State(state): State<AppState>,
    scheme: Scheme,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let params = Params::of(&uri)?;
    let config = state.config();
    let raw = config.api.raw;
    match params.get("rpc") {
        Some("raw") => {
            let listen = config.endpoints.api.first().cloned().unwrap_or_else(|| config.api_port.to_string());
            let rights =
                json!({"enabled": raw.enabled, "allow_reload": raw.allow_reload, "allow_query": false, "allow_update": false});
            let api = json!({"enabled": true, "listen": listen, "crossdomain": config.api.crossdomain, "raw_api": rights});
            Ok(answer(&state, 0, json!({"http_api": api})))
        }
        _ if !raw.enabled => Ok(failure(&state, ERROR_RAW_DISABLED)),
        Some("reload") if !raw.allow_reload => Ok(failure(&state, ERROR_RAW_DISABLED)),
        Some("reload") => {
            // A GET that changes something: pages of other sites can send it without saying so.
            if config.api.has_credentials() {
                guard::may_operate_by_get(&config.api, scheme, &headers)?;
            }
            let reload = state.reload.clone().ok_or_else(cannot)?;
            tokio::spawn(reload.reload());
            Ok(answer(&state, 0, json!({})))
        }
        Some("reload-fetch") => {
            let last = state.reload.as_ref().ok_or_else(cannot)?.last();
            let (number, outcome) = last.map_or((None, Ok(Vec::new())), |last| (Some(last.number), last.outcome));
            let data = json!({
                "err": if outcome.is_ok() { 0 } else { ERROR_CONFIG },
                "msg": outcome.err().unwrap_or_default(),
                "state": if number.is_some() { STATE_DONE } else { STATE_NEVER },
                "rid": number.map(|number| number.to_string()).unwrap_or_default(),
            });
            Ok(answer(&state, 0, json!({"data": data})))
        }
        _ => Ok(failure(&state, ERROR_RAW)),
    }
}

/// Reads the configuration anew and waits for what becomes of it: 200, or 422 with all mistakes.
pub(super) async fn reload(State(state): State<AppState>) -> Result<Response, Problem> {
    let reload = state.reload.clone().ok_or_else(cannot)?;
    // A client that goes away must not stop a reload half way.
    let done = tokio::spawn(reload.reload()).await;
    match done.unwrap_or_else(|_panicked| Err("the reload has failed; see the log".to_owned())) {
        Ok(changed) => {
            let rid = reload.last().map(|last| last.number.to_string()).unwrap_or_default();
            Ok(answer(&state, 0, json!({"data": {"rid": rid, "changed": changed}})))
        }
        Err(mistakes) => Err(Problem::new(Fault::Configuration, mistakes)),
    }
}

fn cannot() -> Problem {
    Problem::new(Fault::NotBuilt, "this server has no configuration to read anew")
}

/// Recording.
pub(super) async fn record() -> Response {
    Problem::new(Fault::NotBuilt, "recording is not built yet").into_response()
}
