//! What the doors of a process count of TLS handshakes.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::crowd::Full;

/// Handshakes by what became of them, all listeners together.
#[derive(Debug, Default)]
pub struct TlsStats {
    completed: AtomicU64,
    failed: [AtomicU64; TlsFailure::NAMES.len()],
}

/// Why a connection did not get through its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// What came is no TLS: plain HTTP on the wrong port, a scanner.
    NoTls,
    /// No common version, cipher or group.
    Incompatible,
    /// The client broke it off with an alert: as a rule it does not trust the certificate.
    Alert,
    /// It is TLS and against the rules.
    Protocol,
    /// The connection ended.
    Lost,
    /// It took too long.
    Timeout,
    /// Too many handshakes were under way.
    Full,
    /// Too many of these were this address's.
    Address,
}

impl TlsFailure {
    /// For counters, in the order of the variants.
    const NAMES: [&'static str; 8] = ["no_tls", "incompatible", "alert", "protocol", "lost", "timeout", "full", "address"];

    /// What an acceptor's error means.
    pub(super) fn of(error: &io::Error) -> Self {
        use rustls::Error::{AlertReceived, InvalidMessage, PeerIncompatible};
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(InvalidMessage(_)) => Self::NoTls,
            Some(PeerIncompatible(_)) => Self::Incompatible,
            Some(AlertReceived(_)) => Self::Alert,
            Some(_) => Self::Protocol,
            None => Self::Lost,
        }
    }
}

impl From<Full> for TlsFailure {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::Full,
            Full::Address => Self::Address,
        }
    }
}

impl TlsStats {
    /// Handshakes that were completed.
    pub fn completed(&self) -> u64 {
        self.completed.load(Ordering::Relaxed)
    }

    /// Those that were not, by reason.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TlsFailure::NAMES.into_iter().zip(self.failed.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    pub(super) fn complete(&self) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, why: TlsFailure) {
        if let Some(count) = self.failed.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
