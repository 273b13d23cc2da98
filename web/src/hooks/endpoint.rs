//! The URLs that are called: how many calls at a time each bears, and whether it answers at all.

use std::{sync::Arc, time::Duration};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::{
    breaker::{Breaker, BreakerState},
    stats::HookUrlStats,
};

/// Decisions that one URL is asked for at a time. A server that takes 10 ms decides on 25,600 clients
/// a second with these; one that hangs holds 256 descriptors for the decision's time-out. Further
/// clients wait for a place within their own time.
const DECISIONS_MAX: usize = 256;
/// Notices that one URL gets at a time: nobody waits for them.
const NOTICES_MAX: usize = 16;

/// One URL.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Box<str>,
    decisions: Semaphore,
    notices: Semaphore,
    breaker: Mutex<Breaker>,
    /// It answers again.
    back: Notify,
}

/// All of them by URL without its query. As many as the configuration names.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    by_url: DashMap<Box<str>, Arc<Endpoint>>,
}

impl Endpoints {
    pub(super) fn get(&self, url: &str) -> Arc<Endpoint> {
        if let Some(found) = self.by_url.get(url) {
            return Arc::clone(&found);
        }
        let made = self.by_url.entry(url.into()).or_insert_with(|| Arc::new(Endpoint::new(url)));
        Arc::clone(&made)
    }

    /// Forgets those that are not configured any more.
    pub(super) fn retain(&self, is_configured: impl Fn(&str) -> bool) {
        self.by_url.retain(|url, _| is_configured(url));
    }

    pub(super) fn stats(&self) -> Vec<HookUrlStats> {
        let mut all: Vec<_> = self.by_url.iter().map(|entry| entry.stats()).collect();
        all.sort_by(|a, b| a.url.cmp(&b.url));
        all
    }
}

impl Endpoint {
    fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            decisions: Semaphore::new(DECISIONS_MAX),
            notices: Semaphore::new(NOTICES_MAX),
            breaker: Mutex::default(),
            back: Notify::new(),
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A place for a decision. It is asked for whatever happened before: somebody waits for it.
    pub(super) async fn decide(&self) -> Option<SemaphorePermit<'_>> {
        self.decisions.acquire().await.ok()
    }

    /// A place for a notice, once the URL is thought to answer, or at once if that is urgent.
    pub(super) async fn notice(&self, urgent: bool) -> Option<Call<'_>> {
        loop {
            if !urgent {
                self.answering().await;
            }
            let place = self.notices.acquire().await.ok()?;
            let admitted = self.breaker.lock().admits(Instant::now()).is_ok();
            if urgent || admitted {
                return Some(Call { endpoint: self, told: false, _place: place });
            }
        }
    }

    async fn answering(&self) {
        loop {
            // Taken before the look, so that what comes in between wakes it.
            let back = self.back.notified();
            let Some(until) = self.breaker.lock().closed_until(Instant::now()) else { return };
            // Not all at the same moment: the first finds out for the others.
            let _back_or_due = tokio::time::timeout_at(until + Duration::from_millis(1), back).await;
        }
    }

    fn stats(&self) -> HookUrlStats {
        HookUrlStats { url: self.url.to_string(), breaker: self.breaker.lock().state() }
    }
}

/// A call under way; counts for the breaker once it is told what came of it.
pub(super) struct Call<'a> {
    endpoint: &'a Endpoint,
    told: bool,
    _place: SemaphorePermit<'a>,
}

impl Call<'_> {
    pub(super) fn record(mut self, answered: bool) {
        self.told = true;
        let (changed, opened) = {
            let mut breaker = self.endpoint.breaker.lock();
            let before = breaker.state();
            let changed = breaker.record(Instant::now(), answered);
            (changed, before == BreakerState::Closed && breaker.state() == BreakerState::Open)
        };
        if changed {
            self.endpoint.back.notify_waiters();
        }
        if opened {
            tracing::warn!(url = %self.endpoint.url, "a callback server does not answer; it is left alone for a while");
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.told && self.endpoint.breaker.lock().abandon(Instant::now()) {
            self.endpoint.back.notify_waiters();
        }
    }
}
