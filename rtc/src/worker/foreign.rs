//! Addresses whose peers live on other workers, learned from STUN that was proven.
//!
//! The kernel spreads senders over the workers' sockets by a hash of their address: a peer that
//! moves may be heard by another worker than its own from then on.

use std::{collections::HashMap, net::SocketAddr};

use foldhash::quality::RandomState;

/// Addresses per half: more than half of 10,000 sessions that all moved at once to one of two
/// workers, in 150 KiB.
const HALF: usize = 4_096;

/// Address to worker, in two halves: when the younger is full it becomes the older, and what was
/// not asked for meanwhile goes. Consent checks of living peers ask every few seconds.
#[derive(Default)]
pub(super) struct Foreign {
    young: HashMap<SocketAddr, usize, RandomState>,
    old: HashMap<SocketAddr, usize, RandomState>,
}

impl Foreign {
    pub(super) fn learn(&mut self, remote: SocketAddr, worker: usize) {
        if self.young.len() >= HALF && !self.young.contains_key(&remote) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(remote, worker);
    }

    pub(super) fn find(&mut self, remote: &SocketAddr) -> Option<usize> {
        if let Some(worker) = self.young.get(remote) {
            return Some(*worker);
        }
        let worker = self.old.remove(remote)?;
        self.learn(*remote, worker);
        Some(worker)
    }

    pub(super) fn forget(&mut self, remote: &SocketAddr) {
        self.young.remove(remote);
        self.old.remove(remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: usize) -> SocketAddr {
        SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 4_000))
    }

    #[test]
    fn who_is_heard_of_stays_and_the_table_is_bounded() {
        let mut foreign = Foreign::default();
        for n in 0..20 * HALF {
            foreign.learn(addr(n), n % 2);
            assert_eq!(foreign.find(&addr(0)), Some(0), "asked for all the time");
            assert!(foreign.young.len() + foreign.old.len() <= 2 * HALF);
        }
        assert_eq!(foreign.find(&addr(5)), None, "not asked for");
        foreign.forget(&addr(0));
        assert_eq!(foreign.find(&addr(0)), None);
    }
}
