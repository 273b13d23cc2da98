//! Asks an authority for a certificate, again when it fails, and anew before it expires.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use futures_util::StreamExt as _;
use rustls_acme::{AcmeState, EventError, EventOk};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tracing::{debug, info, warn};

use super::{
    super::{TlsError, certificate::Certificate},
    AcmeConfig, AcmeStats, Challenges,
    store::{Shelf, Show, Store},
};

/// For a whole order. An authority that takes a name a minute to look at has time enough; one that
/// accepted the connection and says nothing is left.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How often it is looked whether something waits to be written or took too long.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// After a first failure; three times as long after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// Never longer than this. Let's Encrypt counts five failed validations of a name an hour; with these
/// two there are seven tries in the first hour and one an hour then, while others still are certain
/// to be made in the thirty days before a certificate expires.
const RETRY_MAX: Duration = Duration::from_secs(3_600);

/// The client, running until it is dropped.
pub(in crate::tls) struct Client {
    config: Arc<AcmeConfig>,
    store: Arc<Store>,
    _stop: DropGuard,
}

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Trust(#[from] TlsError),
    #[error("{0}")]
    Order(String),
    #[error("the authority did not finish in {} s", ORDER_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the client failed; a fault of the server")]
    Broken,
}

impl Client {
    /// Begins. `show` is told of each certificate that is issued. Must be called on a tokio runtime.
    pub(in crate::tls) fn start(config: Arc<AcmeConfig>, show: Show, challenges: Arc<Challenges>, stats: Arc<AcmeStats>) -> Self {
        let store = Arc::new(Store::new(&config, show));
        let stop = CancellationToken::new();
        let run = Run { config: Arc::clone(&config), store: Arc::clone(&store), challenges, stats };
        let until = stop.clone();
        tokio::spawn(async move { until.run_until_cancelled(run.follow()).await });
        Self { config, store, _stop: stop.drop_guard() }
    }

    pub(in crate::tls) fn config(&self) -> &Arc<AcmeConfig> {
        &self.config
    }

    /// What was issued since the start.
    pub(in crate::tls) fn issued(&self) -> Option<Arc<Certificate>> {
        self.store.issued()
    }
}

#[derive(Clone)]
struct Run {
    config: Arc<AcmeConfig>,
    store: Arc<Store>,
    challenges: Arc<Challenges>,
    stats: Arc<AcmeStats>,
}

impl Run {
    async fn follow(self) {
        let mut failures = 0;
        loop {
            let obtained = self.stats.obtained.load(Ordering::Relaxed);
            // In a task of its own, so that a panic on what an authority sends is a failure like others.
            let attempt = AbortOnDropHandle::new(tokio::spawn(self.clone().attempt()));
            let failure = attempt.await.unwrap_or(Failure::Broken);
            if self.stats.obtained.load(Ordering::Relaxed) != obtained {
                failures = 0;
            }
            self.stats.failed.fetch_add(1, Ordering::Relaxed);
            let again = retry_after(failures);
            failures += 1;
            warn!(
                reason = %failure, again_in_s = again.as_secs(), domains = %self.config.domains.join(" "),
                "no certificate from the ACME authority; the one before it stays"
            );
            sleep(again).await;
        }
    }

    /// Shows what is on disk, obtains what is missing, renews what grows old: until something fails.
    async fn attempt(self) -> Failure {
        let config = Arc::clone(&self.config);
        let tls = match tokio::task::spawn_blocking(move || config.trust()).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => return error.into(),
            Err(_) => return Failure::Broken,
        };
        let order = rustls_acme::AcmeConfig::new_with_client_config(&self.config.domains, tls);
        let order = order.contact(self.config.email.iter().map(|email| format!("mailto:{email}")));
        let order = order.directory(&self.config.directory).cache(Shelf(Arc::clone(&self.store)));
        let mut state: AcmeState<io::Error> = order.state();
        self.challenges.set(&state.resolver());
        let mut deadline = Instant::now() + ORDER_TIMEOUT;
        loop {
            let Ok(event) = timeout(LOOK_EVERY, state.next()).await else {
                if Instant::now() > deadline {
                    return Failure::TimedOut;
                }
                self.write_again().await;
                continue;
            };
            match event {
                Some(Ok(EventOk::DeployedCachedCert)) => debug!("the ACME certificate on disk is valid"),
                Some(Ok(EventOk::CertCacheStore)) => self.note_obtained(),
                Some(Ok(EventOk::DeployedNewCert | EventOk::AccountCacheStore)) => {}
                Some(Err(error)) => {
                    if let Some(failure) = self.failure(error) {
                        return failure;
                    }
                }
                None => return Failure::Broken,
            }
            deadline = self.next_deadline().await;
        }
    }

    /// What leaves the client without a certificate ends the attempt; the rest is said.
    fn failure(&self, error: EventError<io::Error, io::Error>) -> Option<Failure> {
        match error {
            EventError::Order(_) | EventError::NewCertParse(_) => Some(Failure::Order(error.to_string())),
            // Issued all the same; what is in use shows whether it could be read.
            EventError::CertCacheStore(_) if self.store.issued().is_some() => {
                self.note_obtained();
                self.note_trouble(&error);
                None
            }
            EventError::CertCacheStore(_) => Some(Failure::Order(error.to_string())),
            EventError::CertCacheLoad(_)
            | EventError::CachedCertParse(_)
            | EventError::AccountCacheLoad(_)
            | EventError::AccountCacheStore(_) => {
                self.note_trouble(&error);
                None
            }
        }
    }

    fn note_obtained(&self) {
        self.stats.obtained.fetch_add(1, Ordering::Relaxed);
        info!(domains = %self.config.domains.join(" "), "the ACME authority has issued a certificate");
    }

    fn note_trouble(&self, reason: &dyn std::fmt::Display) {
        self.stats.failed.fetch_add(1, Ordering::Relaxed);
        warn!(%reason, folder = %self.config.cache.display(), "the ACME cache is in trouble");
    }

    /// Until the next order is over, which begins when two thirds of a certificate's life are.
    async fn next_deadline(&self) -> Instant {
        let (config, issued) = (Arc::clone(&self.config), self.store.issued());
        let remaining = tokio::task::spawn_blocking(move || {
            let file = config.certificate_file();
            let certificate = issued.or_else(|| Certificate::read(&file, &file).ok().map(Arc::new))?;
            Some(certificate.facts.remaining(SystemTime::now()))
        });
        // Later than needed is soon enough: certificates live for days.
        Instant::now() + remaining.await.ok().flatten().unwrap_or_default() + ORDER_TIMEOUT
    }

    async fn write_again(&self) {
        let store = Arc::clone(&self.store);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.write_issued()).await {
            self.note_trouble(&error);
        }
    }
}

fn retry_after(failures: u32) -> Duration {
    3_u32.checked_pow(failures).and_then(|factor| RETRY_FIRST.checked_mul(factor)).map_or(RETRY_MAX, |wait| wait.min(RETRY_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_rare_and_do_not_end() {
        let waits: Vec<u64> = (0..8).map(|failures| retry_after(failures).as_secs()).collect();
        assert_eq!(waits, [5, 15, 45, 135, 405, 1_215, 3_600, 3_600]);
        assert_eq!(retry_after(u32::MAX), RETRY_MAX);
    }
}
