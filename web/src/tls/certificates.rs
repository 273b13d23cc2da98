//! The certificates of all listeners of a server, by the section of its configuration that names
//! them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    AcmeConfig, AcmeStats, CertificateFacts, Challenges, Identity, LiveCertificate, TlsDoor, TlsError, TlsStats, acme::Client,
    certificate::Certificate,
};

/// Which certificate each section wants: `http_api`, `http_server`, `rtmps`.
pub type Identities = BTreeMap<&'static str, Identity>;

/// The certificates in use, each followed for as long as it is.
pub struct Certificates {
    entries: Arc<Mutex<Entries>>,
    /// Taken before the entries.
    acme: Mutex<Option<Client>>,
    challenges: Arc<Challenges>,
    acme_stats: Arc<AcmeStats>,
    stats: Arc<TlsStats>,
}

type Entries = BTreeMap<&'static str, Entry>;

struct Entry {
    identity: Identity,
    live: Arc<LiveCertificate>,
    http: TlsDoor,
    rtmp: TlsDoor,
    /// Dropped with the entry: the files are not looked at any more.
    _watch: DropGuard,
}

impl Default for Certificates {
    fn default() -> Self {
        let acme_stats = Arc::<AcmeStats>::default();
        Self {
            entries: Arc::default(),
            acme: Mutex::default(),
            challenges: Challenges::new(Arc::clone(&acme_stats)),
            acme_stats,
            stats: Arc::default(),
        }
    }
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
        self.set_entries(wanted)?;
        self.set_acme(wanted);
        Ok(())
    }

    fn set_entries(&self, wanted: &Identities) -> Result<(), TlsError> {
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

    /// Keeps the client that runs if it is still the right one: it may be in the middle of an order.
    fn set_acme(&self, wanted: &Identities) {
        let config = wanted.values().find_map(Identity::acme);
        let mut acme = self.acme.lock();
        if acme.as_ref().map(Client::config) != config {
            // One order at a time: the old client ends before a new one begins.
            *acme = None;
            *acme = config.map(|config| self.client(Arc::clone(config)));
        }
        if let Some(certificate) = acme.as_ref().and_then(Client::issued) {
            show(&self.entries.lock(), &certificate);
        }
    }

    fn client(&self, config: Arc<AcmeConfig>) -> Client {
        let entries = Arc::clone(&self.entries);
        let told = move |certificate| show(&entries.lock(), &certificate);
        Client::start(config, Box::new(told), Arc::clone(&self.challenges), Arc::clone(&self.acme_stats))
    }

    fn entry(&self, identity: Identity) -> Result<Entry, TlsError> {
        let live = LiveCertificate::load(identity.clone())?;
        let gone = CancellationToken::new();
        tokio::spawn(Arc::clone(&live).watch(gone.clone()));
        Ok(Entry {
            identity,
            http: TlsDoor::http(Arc::clone(&live), Arc::clone(&self.stats))?.proving(&self.challenges)?,
            rtmp: TlsDoor::rtmp(Arc::clone(&live), Arc::clone(&self.stats))?.proving(&self.challenges)?,
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

    /// What orders of certificates count.
    pub fn acme_stats(&self) -> &AcmeStats {
        &self.acme_stats
    }
}

/// Shows what was issued wherever it is asked for.
fn show(entries: &Entries, certificate: &Arc<Certificate>) {
    for entry in entries.values().filter(|entry| entry.identity.acme().is_some()) {
        let _is_other = entry.live.show(Arc::clone(certificate));
    }
}
