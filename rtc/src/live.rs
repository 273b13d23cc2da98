//! The settings that change while the server runs: what answers name, and how long packets wait.
//!
//! A session has the addresses of its beginning; the rest counts from the next turn of a worker on.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{Protocols, RtcConfig, candidate};

/// Why a running server cannot take other settings. It goes on with its old ones.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// Sockets and threads are made once. The names are fields of [`RtcConfig`].
    #[error("{} cannot change while the server runs", .0.join(", "))]
    NeedsRestart(Vec<&'static str>),
    /// Answers would name TCP addresses, and nobody listens there.
    #[error("candidates of TCP need a TCP listener")]
    NoListener,
    /// No address to name.
    #[error("no address to offer to clients: {0}")]
    Candidates(std::io::Error),
}

/// What answers name.
#[derive(Debug, Default)]
pub(crate) struct Named {
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) tcp: Vec<SocketAddr>,
    pub(crate) protocols: Protocols,
}

impl Named {
    pub(crate) fn gather(config: &RtcConfig, udp: &[SocketAddr], tcp: &[SocketAddr]) -> std::io::Result<Self> {
        let gather = |bound: &[SocketAddr]| candidate::gather(bound, &config.candidates, config.own);
        let tcp = if tcp.is_empty() { Vec::new() } else { gather(tcp)? };
        Ok(Self { udp: gather(udp)?, tcp, protocols: config.protocols })
    }
}

/// The longest wait for company, shared by the workers.
#[derive(Clone, Debug)]
pub(crate) struct CoalesceMax(Arc<AtomicU64>);

impl CoalesceMax {
    pub(crate) fn new(wait: Duration) -> Self {
        let shared = Self(Arc::default());
        shared.set(wait);
        shared
    }

    pub(crate) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, wait: Duration) {
        self.0.store(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The settings of a running server.
pub(crate) struct Live {
    config: ArcSwap<RtcConfig>,
    named: ArcSwap<Named>,
    coalesce_max: CoalesceMax,
}

impl Live {
    pub(crate) fn new(config: RtcConfig, named: Named, coalesce_max: CoalesceMax) -> Self {
        Self { config: ArcSwap::from_pointee(config), named: ArcSwap::from_pointee(named), coalesce_max }
    }

    pub(crate) fn named(&self) -> Arc<Named> {
        self.named.load_full()
    }

    pub(crate) fn config(&self) -> Arc<RtcConfig> {
        self.config.load_full()
    }

    /// Whether `config` can be taken, without taking it.
    pub(crate) fn check(&self, config: &RtcConfig, udp: &[SocketAddr], tcp: &[SocketAddr]) -> Result<Named, ReconfigureError> {
        let fixed = self.config.load().fixed_differences(config);
        if !fixed.is_empty() {
            return Err(ReconfigureError::NeedsRestart(fixed));
        }
        if config.protocols.has_tcp() && tcp.is_empty() {
            return Err(ReconfigureError::NoListener);
        }
        Named::gather(config, udp, tcp).map_err(ReconfigureError::Candidates)
    }

    pub(crate) fn set(&self, config: RtcConfig, named: Named) {
        self.coalesce_max.set(config.coalesce_max);
        self.named.store(Arc::new(named));
        self.config.store(Arc::new(config));
    }
}

impl RtcConfig {
    /// The fields that differ and that sockets, threads and tables are made by.
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            ("listen", self.listen != other.listen),
            ("tcp", self.tcp != other.tcp),
            ("connections_max", self.connections_max != other.connections_max),
            ("connections_per_ip_max", self.connections_per_ip_max != other.connections_per_ip_max),
            ("workers", self.workers != other.workers),
            ("recv_buffer", self.recv_buffer != other.recv_buffer),
            ("send_buffer", self.send_buffer != other.send_buffer),
            ("sessions_max", self.sessions_max != other.sessions_max),
            ("waiting_max", self.waiting_max != other.waiting_max),
            ("waiting_per_ip_max", self.waiting_per_ip_max != other.waiting_per_ip_max),
        ];
        fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> (Live, Vec<SocketAddr>) {
        let config = RtcConfig { listen: vec![SocketAddr::from(([127, 0, 0, 1], 8_000))], ..RtcConfig::default() };
        let udp = config.listen.clone();
        let named = Named::gather(&config, &udp, &[]).expect("loopback");
        let coalesce_max = CoalesceMax::new(config.coalesce_max);
        (Live::new(config, named, coalesce_max), udp)
    }

    #[test]
    fn candidates_and_waits_change_while_it_runs() {
        let (live, udp) = live();
        let shared = live.coalesce_max.clone();
        let config = RtcConfig {
            candidates: vec![[203, 0, 113, 7].into()],
            coalesce_max: Duration::ZERO,
            ..RtcConfig::clone(&live.config())
        };
        let named = live.check(&config, &udp, &[]).expect("both can change");
        assert_eq!(live.named().udp, udp, "a check changes nothing");
        live.set(config, named);
        assert_eq!(live.named().udp, [SocketAddr::from(([203, 0, 113, 7], 8_000))]);
        assert_eq!(shared.get(), Duration::ZERO);
    }

    #[test]
    fn what_sockets_are_made_by_is_named_and_refused() {
        let (live, udp) = live();
        let config = RtcConfig { workers: 7, listen: Vec::new(), ..RtcConfig::clone(&live.config()) };
        let error = live.check(&config, &udp, &[]).expect_err("two of them");
        assert_eq!(error.to_string(), "listen, workers cannot change while the server runs");
        let config = RtcConfig { protocols: Protocols::All, ..RtcConfig::clone(&live.config()) };
        assert!(matches!(live.check(&config, &udp, &[]), Err(ReconfigureError::NoListener)));
    }
}
