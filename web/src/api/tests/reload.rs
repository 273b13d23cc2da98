//! Reloads by SRS's raw API and by ours, with a double that only counts.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use axum::{
    body::Body,
    http::{Method, Request},
};

use crate::{
    ApiConfig, AppState, RawApi, Reload, ReloadOutcome, Reloaded, WebConfig, api_router,
    testing::{Answer, Server, ask},
};

/// Takes every second configuration.
#[derive(Default)]
struct Double(Arc<Mutex<Option<Reloaded>>>);

impl Reload for Double {
    fn reload(&self) -> Pin<Box<dyn Future<Output = ReloadOutcome> + Send>> {
        let last = Arc::clone(&self.0);
        Box::pin(async move {
            let mut last = last.lock().unwrap();
            let number = last.as_ref().map_or(0, |last| last.number) + 1;
            let outcome = if number % 2 == 1 { Ok(vec!["hls_fragment".to_owned()]) } else { Err("a.conf:1:1: no".to_owned()) };
            *last = Some(Reloaded { number, at: SystemTime::now(), outcome: outcome.clone() });
            outcome
        })
    }

    fn last(&self) -> Option<Reloaded> {
        self.0.lock().unwrap().clone()
    }

    fn counts(&self) -> (u64, u64) {
        (0, 0)
    }
}

struct Bed {
    server: Server,
    api: axum::Router,
}

impl Bed {
    fn new(enabled: bool, allow_reload: bool, with: bool) -> Self {
        let raw = RawApi { enabled, allow_reload };
        let server = Server::with(WebConfig { api: ApiConfig { raw, ..ApiConfig::default() }, ..WebConfig::default() });
        let reload = with.then(|| Arc::new(Double::default()) as Arc<dyn Reload>);
        let api = api_router(AppState { reload, ..server.state.clone() });
        Self { server, api }
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("host", "localhost").body(Body::empty()).unwrap();
        ask(&self.api, "127.0.0.1:1", request).await
    }

    async fn raw(&self, rpc: &str) -> serde_json::Value {
        let answer = self.ask(Method::GET, &format!("/api/v1/raw?rpc={rpc}")).await;
        assert_eq!(answer.status, 200, "{rpc}");
        answer.json()
    }
}

#[tokio::test]
async fn the_raw_api_is_off_until_it_is_enabled() {
    let bed = Bed::new(false, true, true);
    let rights = bed.raw("raw").await["http_api"]["raw_api"].clone();
    assert_eq!((&rights["enabled"], &rights["allow_reload"]), (&false.into(), &true.into()));
    for rpc in ["reload", "reload-fetch", "query", ""] {
        assert_eq!(bed.raw(rpc).await["code"], 1061, "{rpc}");
    }
    let bed = Bed::new(true, false, true);
    assert_eq!((bed.raw("reload").await["code"].as_u64(), bed.raw("query").await["code"].as_u64()), (Some(1061), Some(1060)));
    assert_eq!(bed.raw("reload-fetch").await["data"]["state"], 0);
    drop(bed.server);
}

#[tokio::test]
async fn a_raw_reload_starts_one_and_a_fetch_tells_what_became_of_it() {
    let bed = Bed::new(true, true, true);
    for (number, err, msg) in [("1", 0, ""), ("2", 1023, "a.conf:1:1: no")] {
        assert_eq!(bed.raw("reload").await["code"], 0);
        let data = loop {
            tokio::task::yield_now().await;
            let data = bed.raw("reload-fetch").await["data"].clone();
            if data["rid"] == number {
                break data;
            }
        };
        assert_eq!(data, serde_json::json!({"err": err, "msg": msg, "state": 90, "rid": number}));
    }
}

#[tokio::test]
async fn a_reload_waits_for_what_becomes_of_it() {
    let bed = Bed::new(false, false, true);
    let answer = bed.ask(Method::POST, "/api/v1/reload").await;
    assert_eq!((answer.status, &answer.json()["data"]["changed"]), (200, &serde_json::json!(["hls_fragment"])));
    let answer = bed.ask(Method::POST, "/api/v1/reload").await;
    assert_eq!((answer.status, &answer.json()["detail"]), (422, &"a.conf:1:1: no".into()));
    let bed = Bed::new(true, true, false);
    assert_eq!(bed.ask(Method::POST, "/api/v1/reload").await.status, 501, "there is nothing to read anew");
}

#[tokio::test]
async fn recording_is_not_built_and_says_so() {
    let bed = Bed::new(false, false, false);
    for method in [Method::POST, Method::DELETE] {
        let answer = bed.ask(method, "/api/v1/streams/vid-1/record").await;
        assert_eq!((answer.status, answer.header("content-type")), (501, "application/problem+json"));
    }
}
