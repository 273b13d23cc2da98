//! The certificate that handshakes are answered with now, and how another takes its place.

use std::{
    io,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AcmeConfig, CertificateFacts, Identity, TlsError, certificate::Certificate};

/// How often the files are looked at: four `stat` calls, and soon enough for whoever renews them.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A self-signed certificate is made anew when it has less than this left.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A certificate with less than this left is warned of at each load.
const WARN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The process's own certificate: made when it is first asked for, one for all listeners.
static SELF_SIGNED: Mutex<Option<Arc<Certificate>>> = Mutex::new(None);

/// A listener's certificate. It can be replaced at any time, and is only by one that works.
#[derive(Debug)]
pub struct LiveCertificate {
    current: ArcSwap<Certificate>,
    source: Mutex<Source>,
}

/// Where it comes from, and what its files looked like when they were last read.
#[derive(Debug)]
struct Source {
    identity: Identity,
    seen: Seen,
}

/// Enough of two files to know that they were written since: device, inode, size and time.
type Seen = [Option<(u64, u64, u64, i64, i64)>; 2];

impl LiveCertificate {
    /// Loads or makes a certificate. Blocks for the reading of two small files.
    pub fn load(identity: Identity) -> Result<Arc<Self>, TlsError> {
        let seen = seen(&identity);
        let certificate = obtain(&identity)?;
        announce("in use", &certificate.facts);
        Ok(Arc::new(Self { current: ArcSwap::new(certificate), source: Mutex::new(Source { identity, seen }) }))
    }

    /// Whether it could be loaded now.
    pub fn check(identity: &Identity) -> Result<(), TlsError> {
        match identity {
            Identity::Acme(config) => config.check(),
            Identity::Files { .. } | Identity::SelfSigned => obtain(identity).map(drop),
        }
    }

    /// What is known of the certificate of now.
    pub fn facts(&self) -> CertificateFacts {
        self.current.load().facts.clone()
    }

    /// Reads the files again. `true` if handshakes get another certificate from now on; on an
    /// error they get the one that they got before. Blocks as [`LiveCertificate::load`].
    pub fn reload(&self) -> Result<bool, TlsError> {
        let identity = self.source.lock().identity.clone();
        self.replace(identity)
    }

    /// Takes the certificate from elsewhere from now on; the same rules as for
    /// [`LiveCertificate::reload`].
    pub fn replace(&self, identity: Identity) -> Result<bool, TlsError> {
        // Looked at before they are read: what is written in between is seen the next time.
        let looked = seen(&identity);
        let mut source = self.source.lock();
        if identity == source.identity {
            source.seen = looked;
            // What is on disk is no newer than what was shown.
            if matches!(identity, Identity::Acme(_)) {
                return Ok(false);
            }
        }
        let certificate = obtain(&identity)?;
        *source = Source { identity, seen: looked };
        Ok(self.show(certificate))
    }

    /// Answers handshakes by this one from now on. `true` if it is another.
    pub(super) fn show(&self, certificate: Arc<Certificate>) -> bool {
        let is_other = certificate.facts != self.current.load().facts;
        if is_other {
            announce("replaced", &certificate.facts);
            self.current.store(certificate);
        }
        is_other
    }

    /// Follows the files until `stop`. A pair that does not work is said once and left alone until
    /// one of its files changes again, as it does when the second of them is written.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let live = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || live.look()).await;
            if let Ok(Err(error)) = looked {
                warn!(%error, "the new TLS certificate is not taken; the one before it stays");
            }
        }
    }

    /// Reloads if there is reason to.
    fn look(&self) -> Result<bool, TlsError> {
        let is_due = {
            let source = self.source.lock();
            match source.identity {
                Identity::Files { .. } => seen(&source.identity) != source.seen,
                Identity::SelfSigned => self.current.load().facts.remaining(SystemTime::now()) < RENEW_BEFORE,
                // The ACME client brings what is new.
                Identity::Acme(_) => false,
            }
        };
        if is_due { self.reload() } else { Ok(false) }
    }
}

impl ResolvesServerCert for LiveCertificate {
    /// The same for every name, and for clients that name none.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

fn obtain(identity: &Identity) -> Result<Arc<Certificate>, TlsError> {
    match identity {
        Identity::Files { cert, key } => Certificate::read(cert, key).map(Arc::new),
        Identity::SelfSigned => self_signed(SystemTime::now()),
        Identity::Acme(config) => kept(config).map_or_else(|| self_signed(SystemTime::now()), Ok),
    }
}

/// What an ACME authority issued before.
fn kept(config: &AcmeConfig) -> Option<Arc<Certificate>> {
    let file = config.certificate_file();
    match Certificate::read(&file, &file) {
        Ok(certificate) => Some(Arc::new(certificate)),
        Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn!(%error, "the kept ACME certificate cannot be used; a self-signed one takes its place");
            None
        }
    }
}

fn self_signed(now: SystemTime) -> Result<Arc<Certificate>, TlsError> {
    let mut kept = SELF_SIGNED.lock();
    match &*kept {
        Some(certificate) if certificate.facts.remaining(now) >= RENEW_BEFORE => Ok(Arc::clone(certificate)),
        _ => Ok(Arc::clone(kept.insert(Arc::new(Certificate::make(now)?)))),
    }
}

fn announce(what: &'static str, facts: &CertificateFacts) {
    let remaining = facts.remaining(SystemTime::now());
    info!(sha256 = %facts.fingerprint, days = remaining.as_secs() / 86_400, "TLS certificate {what}");
    if remaining < WARN_BEFORE {
        warn!(hours = remaining.as_secs() / 3_600, "the TLS certificate expires soon, or has expired");
    }
}

fn seen(identity: &Identity) -> Seen {
    let Identity::Files { cert, key } = identity else { return [None; 2] };
    [cert, key].map(|path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    })
}
