//! The certificates of all listeners of a server, by the section of its configuration that names
//! them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{CertificateFacts, Identity, LiveCertificate, TlsDoor, TlsError, TlsStats};

/// Which certificate each section wants: `http_api`, `http_server`, `rtmps`.
pub type Identities = BTreeMap<&'static str, Identity>;

/// The certificates in use, each followed for as long as it is.
#[derive(Default)]
pub struct Certificates {
    entries: Mutex<BTreeMap<&'static str, Entry>>,
    stats: Arc<TlsStats>,
}

struct Entry {
    identity: Identity,
    live: Arc<LiveCertificate>,
    http: TlsDoor,
    rtmp: TlsDoor,
    /// Dropped with the entry: the files are not looked at any more.
    _watch: DropGuard,
}

impl Certificates {
    /// Whether [`Certificates::set`] can take all of them, as the files are now.
    pub fn check(wanted: &Identities) -> Result<(), TlsError> {
        wanted.values().try_for_each(LiveCertificate::check)
    }

    /// Takes these and lets go of others. Files are read again, so that a reload brings a renewed
    /// certificate at once. Listeners keep their doors. Must be called on a tokio runtime.
    pub fn set(&self, wanted: &Identities) -> Result<(), TlsError> {
        Self::check(wanted)?;
        let mut entries = self.entries.lock();
        entries.retain(|section, _| wanted.contains_key(section));
        for (section, identity) in wanted {
            match entries.get_mut(section) {
                Some(entry) => {
                    entry.live.replace(identity.clone())?;
                    entry.identity = identity.clone();
                }
                None => {
                    entries.insert(section, self.entry(identity.clone())?);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, identity: Identity) -> Result<Entry, TlsError> {
        let live = LiveCertificate::load(identity.clone())?;
        let gone = CancellationToken::new();
        tokio::spawn(Arc::clone(&live).watch(gone.clone()));
        Ok(Entry {
            identity,
            http: TlsDoor::http(Arc::clone(&live), Arc::clone(&self.stats))?,
            rtmp: TlsDoor::rtmp(Arc::clone(&live), Arc::clone(&self.stats))?,
            live,
            _watch: gone.drop_guard(),
        })
    }

    /// What HTTPS listeners of this section let clients in by.
    pub fn http_door(&self, section: &str) -> Option<TlsDoor> {
        self.entries.lock().get(section).map(|entry| entry.http.clone())
    }

    /// What RTMPS listeners of this section let clients in by.
    pub fn rtmp_door(&self, section: &str) -> Option<TlsDoor> {
        self.entries.lock().get(section).map(|entry| entry.rtmp.clone())
    }

    /// The certificates of now, by section: for gauges of their expiry.
    pub fn facts(&self) -> Vec<(&'static str, CertificateFacts)> {
        self.entries.lock().iter().map(|(section, entry)| (*section, entry.live.facts())).collect()
    }

    /// What was asked for.
    pub fn identities(&self) -> Identities {
        self.entries.lock().iter().map(|(section, entry)| (*section, entry.identity.clone())).collect()
    }

    /// What handshakes count, all listeners together.
    pub fn stats(&self) -> &TlsStats {
        &self.stats
    }
}
