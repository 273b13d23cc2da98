//! How many TCP connections there may be: in all, and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::quality::RandomState;
use parking_lot::Mutex;

/// Shared by the workers, asked when a connection comes and goes.
pub(crate) struct Gate {
    connections_max: usize,
    per_ip_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: usize,
    /// An address leaves with its last connection.
    per_ip: HashMap<IpAddr, usize, RandomState>,
}

impl Gate {
    pub(crate) fn new(connections_max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, per_ip_max, state: Mutex::default() })
    }

    /// `None`: there are too many. Loopback is exempt from the limit of one address: there sit our own
    /// proxies and tests.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Pass> {
        let mut state = self.state.lock();
        let same_ip = state.per_ip.get(&ip).copied().unwrap_or(0);
        if state.connections >= self.connections_max || (same_ip >= self.per_ip_max && !ip.is_loopback()) {
            return None;
        }
        state.connections += 1;
        *state.per_ip.entry(ip).or_default() += 1;
        Some(Pass { gate: Arc::clone(self), ip })
    }

    /// Connections that are open.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().connections
    }
}

/// A connection's right to be. Dropping it lets another in.
pub(crate) struct Pass {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.state.lock();
        state.connections = state.connections.saturating_sub(1);
        if let Some(count) = state.per_ip.get_mut(&self.ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_by_address_and_leave_nothing_behind() {
        let gate = Gate::new(4, 2);
        let (here, there, loopback) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [127, 0, 0, 1].into());
        let first = gate.admit(here).expect("room");
        let second = gate.admit(here).expect("room");
        assert!(gate.admit(here).is_none(), "two from there");
        let third = gate.admit(loopback).expect("room");
        let fourth = gate.admit(loopback).expect("room");
        assert!(gate.admit(there).is_none() && gate.admit(loopback).is_none(), "four in all");
        drop(first);
        assert!(gate.admit(there).is_some());
        drop((second, third, fourth));
        assert_eq!((gate.count(), gate.state.lock().per_ip.len()), (0, 0));
    }
}
