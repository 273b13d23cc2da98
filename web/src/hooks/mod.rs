//! Callbacks (`http_hooks`): a server of the operator's decides about clients and is told of them.
//!
//! [`Hooks`] is a [`Gatekeeper`]. What decides (`on_connect`, `on_publish`, `on_play`) is asked before
//! the client has anything, and only a clear yes in time lets it in. What tells (`on_close`,
//! `on_unpublish`, `on_stop`, `on_hls`) is sent in the background: in the client's and the stream's order
//! (`order`), again until it is received (`delivery`), bounded in number and time, and without
//! waiting for what goes elsewhere (`endpoint`). Each client that a callback server has let in is told
//! to have left exactly once, even one that had gone before the answer came (`decision`).
//!
//! It knows nothing of media, sessions or protocols.

mod breaker;
mod config;
mod contract;
mod decision;
mod delivery;
mod endpoint;
mod hook;
mod order;
mod payload;
mod stats;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir_bridge::hls::{Finished, SegmentWatch};
use weir_source::{Caller, ClientInfo, Gatekeeper, PerVhost, StreamKey, Traffic, Verdict, Visit};

pub use breaker::BreakerState;
pub use config::{HookUrl, HookUrlError, HooksConfig, NotifyUrl};
pub use hook::Hook;
pub use stats::{HookStats, HookUrlStats, HooksStats, LATENCY_BOUNDS_MS};

use decision::Who;
use delivery::{Notice, Target};
use endpoint::Endpoints;
use order::{Lane, Order};
use payload::Payloads;
use stats::Counters;
use wire::{Ask, Http, Wire};

use crate::ServerIds;

/// Notices of all vhosts sent at a time: sixteen servers that hang do not take more descriptors.
const CALLS_MAX: usize = 256;

/// Publishers remembered for the segments that are finished when they have gone: the last of each of
/// as many streams that end at once.
const GONE_MAX: usize = 64;

/// Asks and tells callback servers.
pub struct Hooks(Arc<Inner>);

struct Inner {
    config: ArcSwap<PerVhost<HooksConfig>>,
    payloads: Payloads,
    wire: Box<dyn Wire>,
    endpoints: Endpoints,
    order: Arc<Order>,
    counters: [Counters; Hook::ALL.len()],
    present: DashMap<StreamKey, Present>,
    /// Publishers that went, the latest last.
    gone: Mutex<VecDeque<Arc<ClientInfo>>>,
    /// Clients that somebody is being asked about.
    undecided: AtomicUsize,
    /// Notices that wait or are under way.
    pending: AtomicUsize,
    calls: Semaphore,
    tasks: TaskTracker,
    draining: CancellationToken,
    runtime: Handle,
}

/// Who is on a stream, as far as admission knows.
#[derive(Default)]
struct Present {
    clients: usize,
    publisher: Option<Arc<ClientInfo>>,
}

impl Hooks {
    /// Calls as `config` says, on `runtime`. `ids` name the server in what is told.
    pub fn new(ids: Arc<ServerIds>, config: PerVhost<HooksConfig>, runtime: Handle) -> Arc<Self> {
        Self::over(Box::new(Http::new()), ids, config, runtime)
    }

    fn over(wire: Box<dyn Wire>, ids: Arc<ServerIds>, config: PerVhost<HooksConfig>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self(Arc::new(Inner {
            config: ArcSwap::from_pointee(config),
            payloads: Payloads::new(ids),
            wire,
            endpoints: Endpoints::default(),
            order: Arc::default(),
            counters: Default::default(),
            present: DashMap::new(),
            gone: Mutex::default(),
            undecided: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            calls: Semaphore::new(CALLS_MAX),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            runtime,
        })))
    }

    /// The settings as they are now.
    pub fn config(&self) -> Arc<PerVhost<HooksConfig>> {
        self.0.config.load_full()
    }

    /// Replaces the settings. What is under way ends with those that it began with; a client is told
    /// to have left to whom the settings name then.
    pub fn set_config(&self, config: PerVhost<HooksConfig>) {
        let urls: std::collections::HashSet<String> = config.values().flat_map(|vhost| vhost.all_urls()).collect();
        self.0.config.store(Arc::new(config));
        self.0.endpoints.retain(|url| urls.contains(url));
    }

    /// Somebody is told of HLS segments, so that streams must be segmented whether or not anybody
    /// plays them.
    pub fn wants_segments(&self) -> bool {
        self.0.config.load().values().any(|vhost| vhost.wants_segments())
    }

    /// What was called, and what became of it.
    pub fn stats(&self) -> HooksStats {
        HooksStats {
            hooks: Hook::ALL.into_iter().zip(&self.0.counters).map(|(hook, counters)| counters.snapshot(hook)).collect(),
            urls: self.0.endpoints.stats(),
            pending: self.0.pending.load(Ordering::Relaxed),
        }
    }

    /// For the end of the server, after its clients have gone: gives what is to be told this long to
    /// arrive, in quicker tries. How many notices are lost.
    pub async fn drain(&self, timeout: Duration) -> usize {
        self.0.draining.cancel();
        self.0.tasks.close();
        let _all_or_in_vain = tokio::time::timeout(timeout, self.0.tasks.wait()).await;
        self.0.pending.load(Ordering::Relaxed)
    }
}

impl Gatekeeper for Hooks {
    fn admit(&self, visit: Visit) -> Verdict {
        let (inner, info) = (Arc::clone(&self.0), visit.info);
        let hook = if info.kind.is_publisher() { Hook::Publish } else { Hook::Play };
        let config = inner.config(info.key.vhost());
        if config.urls(hook).is_empty() {
            return Box::pin(async move {
                inner.enter(&info);
                Ok(())
            });
        }
        let behind = if hook == Hook::Publish { vec![Lane::Stream(info.key.clone())] } else { Vec::new() };
        let body = inner.payloads.client(hook, &info, inner.clients(&info.key) + 1);
        decision::ask(&inner, hook, config, body, Who::Client(info), &behind)
    }

    fn left(&self, info: &Arc<ClientInfo>, _traffic: &Traffic) {
        self.0.leave(info);
        self.0.tell_left(info, None);
    }

    fn admit_connection(&self, caller: Arc<Caller>) -> Verdict {
        let config = self.0.config(&caller.vhost);
        if config.urls(Hook::Connect).is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let body = self.0.payloads.connect(&caller);
        decision::ask(&self.0, Hook::Connect, config, body, Who::Connection(caller), &[])
    }

    fn closed(&self, caller: &Arc<Caller>, traffic: &Traffic) {
        self.0.tell_closed(caller, traffic.totals(), None);
    }
}

impl SegmentWatch for Hooks {
    fn finished(&self, key: &StreamKey, segment: Finished<'_>) {
        self.0.tell_segment(key, &segment);
    }
}

impl Inner {
    fn config(&self, vhost: &str) -> Arc<HooksConfig> {
        Arc::clone(self.config.load().get(vhost))
    }

    fn counters(&self, hook: Hook) -> &Counters {
        let [first, ..] = &self.counters;
        self.counters.get(hook.index()).unwrap_or(first)
    }

    fn clients(&self, key: &StreamKey) -> usize {
        self.present.get(key).map_or(0, |present| present.clients)
    }

    fn enter(&self, info: &Arc<ClientInfo>) {
        let mut present = self.present.entry(info.key.clone()).or_default();
        present.clients += 1;
        if info.kind.is_publisher() {
            present.publisher = Some(Arc::clone(info));
        }
    }

    fn leave(&self, info: &Arc<ClientInfo>) {
        if info.kind.is_publisher() {
            let mut gone = self.gone.lock();
            if gone.len() >= GONE_MAX {
                gone.pop_front();
            }
            gone.push_back(Arc::clone(info));
        }
        if let Some(mut present) = self.present.get_mut(&info.key) {
            present.clients = present.clients.saturating_sub(1);
            if present.publisher.as_ref().is_some_and(|publisher| publisher.id == info.id) {
                present.publisher = None;
            }
        }
        self.present.remove_if(&info.key, |_, present| present.clients == 0);
    }

    /// Who publishes, or did last.
    fn publisher(&self, key: &StreamKey) -> Option<Arc<ClientInfo>> {
        let present = self.present.get(key).and_then(|present| present.publisher.clone());
        present.or_else(|| self.gone.lock().iter().rev().find(|info| info.key == *key).cloned())
    }

    /// `only_if`: if that decision turns out to have been a yes.
    fn tell_left(self: &Arc<Self>, info: &Arc<ClientInfo>, only_if: Option<decision::Outcome>) {
        let client = Lane::Client(info.id.as_str().into());
        let (hook, lanes) = match info.kind.is_publisher() {
            true => (Hook::Unpublish, vec![client, Lane::Stream(info.key.clone())]),
            false => (Hook::Stop, vec![client]),
        };
        let config = self.config(info.key.vhost());
        if !config.urls(hook).is_empty() {
            let body = self.payloads.client(hook, info, self.clients(&info.key));
            let targets = self.targets(&config, hook, &body);
            self.tell(Notice { hook, config, targets, only_if }, lanes);
        }
    }

    fn tell_closed(self: &Arc<Self>, caller: &Arc<Caller>, totals: (u64, u64), only_if: Option<decision::Outcome>) {
        let config = self.config(&caller.vhost);
        if !config.urls(Hook::Close).is_empty() {
            let targets = self.targets(&config, Hook::Close, &self.payloads.close(caller, totals));
            let lanes = vec![Lane::Client(caller.id.as_str().into())];
            self.tell(Notice { hook: Hook::Close, config, targets, only_if }, lanes);
        }
    }

    fn tell_segment(self: &Arc<Self>, key: &StreamKey, segment: &Finished<'_>) {
        let config = self.config(key.vhost());
        if !config.wants_segments() {
            return;
        }
        let publisher = self.publisher(key);
        let (publisher, lane) = (publisher.as_deref(), Lane::Segments(key.clone()));
        let body = self.payloads.segment(publisher, key, segment);
        let targets = self.targets(&config, Hook::Hls, &body);
        let values = self.payloads.placeholders(publisher, key, segment);
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let fetched = config.notify_urls().iter().filter_map(|url| {
            let ask = Ask { uri: url.expand(&values)?, body: None, read_max: config.hls_nb_notify };
            Some(Target { endpoint: self.endpoints.get(url.origin()), ask })
        });
        let fetched: Vec<_> = fetched.collect();
        for (hook, targets) in [(Hook::Hls, targets), (Hook::HlsNotify, fetched)] {
            if !targets.is_empty() {
                self.tell(Notice { hook, config: Arc::clone(&config), targets, only_if: None }, vec![lane.clone()]);
            }
        }
    }

    fn targets(&self, config: &HooksConfig, hook: Hook, body: &bytes::Bytes) -> Vec<Target> {
        let target = |url: &HookUrl| Target {
            endpoint: self.endpoints.get(&url.to_string()),
            ask: Ask { uri: url.uri().clone(), body: Some(body.clone()), read_max: wire::ANSWER_BYTES_MAX },
        };
        config.urls(hook).iter().map(target).collect()
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
