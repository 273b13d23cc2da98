//! Callbacks against a wire in virtual time, and against a real server that misbehaves.

mod bounds;
mod choir;
mod fields;
mod orders;
mod server;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;
use weir_source::{Caller, ClientInfo, ClientKind, Denied, Hub, PerVhost, Secret, StreamKey};

use super::{
    Hook, Hooks, HooksConfig,
    wire::{Answer, Answering, Ask, Failure, Wire},
};
use crate::ServerIds;

/// What the other side makes of a request: how long it thinks, and what it says.
type Act = Box<dyn Fn(&str, &Value) -> (Duration, Result<&'static str, u16>) + Send + Sync>;

/// A callback server without a network: it hears at once, thinks, and says.
struct Stage {
    act: Act,
    heard: Mutex<Vec<Heard>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

/// A request that was answered.
#[derive(Clone, Debug)]
struct Heard {
    url: String,
    action: String,
    client: String,
    stream: String,
    began: Instant,
    ended: Instant,
    /// It was answered with 200.
    well: bool,
}

#[derive(Clone)]
struct StageWire(Arc<Stage>);

impl Wire for StageWire {
    fn send(&self, ask: Ask) -> Answering<'_> {
        let stage = Arc::clone(&self.0);
        Box::pin(async move {
            let began = Instant::now();
            let busy = Busy::enter(&stage);
            let fields: Value = ask.body.as_ref().map(|body| serde_json::from_slice(body).unwrap()).unwrap_or_default();
            let (time, said) = (stage.act)(&ask.uri.to_string(), &fields);
            tokio::time::sleep(time).await;
            drop(busy);
            let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
            stage.heard.lock().push(Heard {
                url: ask.uri.to_string(),
                action: text("action"),
                client: text("client_id"),
                stream: text("stream"),
                began,
                ended: Instant::now(),
                well: said.is_ok(),
            });
            match said {
                Ok(body) => Ok(Answer { status: StatusCode::OK, body: body.into() }),
                Err(0) => Err(Failure::Broken("nobody is there".to_owned())),
                Err(status) => Ok(Answer { status: StatusCode::from_u16(status).unwrap(), body: "".into() }),
            }
        })
    }
}

struct Busy<'a>(&'a Stage);

impl<'a> Busy<'a> {
    fn enter(stage: &'a Stage) -> Self {
        let now = stage.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        stage.most.fetch_max(now, Ordering::Relaxed);
        Self(stage)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A hub whose clients are decided about on a stage.
struct Bed {
    hub: Arc<Hub>,
    hooks: Arc<Hooks>,
    stage: Arc<Stage>,
}

impl Bed {
    fn new(
        config: HooksConfig,
        act: impl Fn(&str, &Value) -> (Duration, Result<&'static str, u16>) + Send + Sync + 'static,
    ) -> Self {
        Self::with(PerVhost::all(config), act)
    }

    fn with(
        config: PerVhost<HooksConfig>,
        act: impl Fn(&str, &Value) -> (Duration, Result<&'static str, u16>) + Send + Sync + 'static,
    ) -> Self {
        let stage = Arc::new(Stage {
            act: Box::new(act),
            heard: Mutex::default(),
            under_way: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let wire = Box::new(StageWire(Arc::clone(&stage)));
        let hooks = Hooks::over(wire, Arc::new(ServerIds::new()), config, tokio::runtime::Handle::current());
        let hub = Hub::new();
        hub.set_gatekeeper(hooks.clone());
        Self { hub, hooks, stage }
    }

    /// One that agrees at once to everything.
    fn agreeing() -> Self {
        Self::new(all("http://h/x"), |_, _| (Duration::from_millis(10), Ok("0")))
    }

    /// All well answered requests so far as `action client`.
    fn heard(&self) -> Vec<String> {
        let heard = self.stage.heard.lock();
        heard.iter().filter(|heard| heard.well).map(|heard| format!("{} {}", heard.action, heard.client)).collect()
    }

    fn count(&self, hook: Hook) -> super::HookStats {
        self.hooks.stats().hooks[hook.index()].clone()
    }

    /// Lets everything that is under way end.
    async fn settle(&self) {
        while self.hooks.stats().pending > 0 || self.stage.under_way.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Every hook at one URL.
fn all(url: &str) -> HooksConfig {
    let urls = vec![url.parse().unwrap()];
    HooksConfig {
        enabled: true,
        on_connect: urls.clone(),
        on_close: urls.clone(),
        on_publish: urls.clone(),
        on_unpublish: urls.clone(),
        on_play: urls.clone(),
        on_stop: urls.clone(),
        on_dvr: urls.clone(),
        on_hls: urls,
        ..HooksConfig::default()
    }
}

fn info(id: &str, kind: ClientKind, stream: &str) -> ClientInfo {
    info_at(id, kind, StreamKey::new("live", stream).unwrap())
}

fn info_at(id: &str, kind: ClientKind, key: StreamKey) -> ClientInfo {
    ClientInfo {
        id: id.to_owned(),
        kind,
        key,
        ip: IpAddr::from([192, 0, 2, 7]),
        url: "rtmp://h/live".to_owned(),
        page_url: "http://page/".to_owned(),
        param: Secret::new("?token=1"),
        since: std::time::Instant::now(),
    }
}

fn caller(id: &str) -> Caller {
    Caller {
        id: id.to_owned(),
        ip: IpAddr::from([192, 0, 2, 7]),
        vhost: weir_source::DEFAULT_VHOST.to_owned(),
        app: "live".to_owned(),
        url: "rtmp://h/live".to_owned(),
        page_url: "http://page/".to_owned(),
        param: Secret::new("?a=b"),
    }
}

/// What a client is told.
fn reason(denied: &Denied) -> String {
    denied.to_string()
}
