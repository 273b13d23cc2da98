//! Asks an authority for a certificate, again when it fails, and anew before it expires.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use rustls_acme::acme::Account;
use tokio::time::{sleep, timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::AbortOnDropHandle,
};
use tracing::{info, warn};

use super::{
    super::{TlsError, certificate::Certificate},
    AcmeConfig, AcmeStats, Challenges,
    order::{OrderError, Orderer},
    store::{Show, Store},
};

/// For a whole order. An authority that takes a name a minute to look at has time enough; one that
/// accepted the connection and says nothing is left.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How often it is looked whether something waits to be written or has become due.
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
    Tls(#[from] TlsError),
    #[error("{0}")]
    Order(#[from] OrderError),
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

    /// Obtains what is missing, renews what grows old: until something fails.
    async fn attempt(self) -> Failure {
        match self.renew_for_ever().await {
            Err(failure) => failure,
            Ok(never) => match never {},
        }
    }

    async fn renew_for_ever(&self) -> Result<Infallible, Failure> {
        let config = Arc::clone(&self.config);
        let tls = blocking(move || config.trust()).await??;
        let orderer = Orderer { config: Arc::clone(&self.config), tls, challenges: Arc::clone(&self.challenges) };
        loop {
            self.wait_until_due().await?;
            let account = self.account_key().await?;
            let order = timeout(ORDER_TIMEOUT, orderer.order(&account));
            let pem = order.await.map_err(|_elapsed| Failure::TimedOut)??;
            let store = Arc::clone(&self.store);
            blocking(move || store.take(&pem)).await??;
            self.note_obtained();
            self.write_again().await?;
            // An authority may issue what is in its last third from the start.
            sleep(RETRY_FIRST).await;
        }
    }

    /// Until the last third of the certificate's life begins; at once where there is none.
    async fn wait_until_due(&self) -> Result<(), Failure> {
        loop {
            let store = Arc::clone(&self.store);
            let due = match blocking(move || store.last()).await? {
                Ok(Some(certificate)) => certificate.facts.until_renewal(SystemTime::now()),
                Ok(None) => Duration::ZERO,
                Err(error) => {
                    self.note_trouble(&error);
                    Duration::ZERO
                }
            };
            if due.is_zero() {
                return Ok(());
            }
            sleep(due.min(LOOK_EVERY)).await;
            self.write_again().await?;
        }
    }

    /// Of the account on disk, or of a new one. One that cannot be kept is used all the same.
    async fn account_key(&self) -> Result<Vec<u8>, Failure> {
        let store = Arc::clone(&self.store);
        let (key, trouble) = blocking(move || match store.account() {
            Ok(Some(key)) => (key, None),
            Ok(None) => {
                let key = Account::generate_key_pair();
                let kept = store.keep_account(&key);
                (key, kept.err())
            }
            Err(error) => (Account::generate_key_pair(), Some(error)),
        })
        .await?;
        trouble.iter().for_each(|error| self.note_trouble(error));
        Ok(key)
    }

    fn note_obtained(&self) {
        self.stats.obtained.fetch_add(1, Ordering::Relaxed);
        info!(domains = %self.config.domains.join(" "), "the ACME authority has issued a certificate");
    }

    fn note_trouble(&self, reason: &dyn std::fmt::Display) {
        self.stats.failed.fetch_add(1, Ordering::Relaxed);
        warn!(%reason, folder = %self.config.cache.display(), "the ACME cache is in trouble");
    }

    /// Writes what is not on disk yet.
    async fn write_again(&self) -> Result<(), Failure> {
        let store = Arc::clone(&self.store);
        if let Err(error) = blocking(move || store.write_issued()).await? {
            self.note_trouble(&error);
        }
        Ok(())
    }
}

/// Disks may be slow.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_panicked| Failure::Broken)
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
