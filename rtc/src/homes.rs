//! Which workers have peers at an IP address: for what comes from a port there that nobody knows.

use std::{collections::HashMap, net::IpAddr};

use foldhash::quality::RandomState;
use parking_lot::RwLock;
use smallvec::SmallVec;

/// Workers that are asked about one datagram.
const ASKED_MAX: usize = 4;

/// Workers, and how many addresses their peers have at an IP.
type Residents = SmallVec<[(usize, u32); 2]>;

/// Written when a peer comes to an address or leaves it, read for datagrams of strangers.
#[derive(Default)]
pub(crate) struct Homes {
    /// An IP leaves with the last address there.
    by_ip: RwLock<HashMap<IpAddr, Residents, RandomState>>,
}

impl Homes {
    /// A peer of `worker` has one more address at `ip`.
    pub(crate) fn enter(&self, ip: IpAddr, worker: usize) {
        let mut by_ip = self.by_ip.write();
        let homes = by_ip.entry(ip).or_default();
        match homes.iter_mut().find(|(index, _)| *index == worker) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => homes.push((worker, 1)),
        }
    }

    /// It has one less.
    pub(crate) fn leave(&self, ip: IpAddr, worker: usize) {
        let mut by_ip = self.by_ip.write();
        let Some(homes) = by_ip.get_mut(&ip) else { return };
        homes.iter_mut().filter(|(index, _)| *index == worker).for_each(|(_, count)| *count = count.saturating_sub(1));
        homes.retain(|(_, count)| *count > 0);
        if homes.is_empty() {
            by_ip.remove(&ip);
        }
    }

    /// Workers other than `worker` with peers at `ip`: four at most.
    pub(crate) fn others(&self, ip: IpAddr, worker: usize) -> SmallVec<[usize; ASKED_MAX]> {
        let by_ip = self.by_ip.read();
        let homes = by_ip.get(&ip).into_iter().flatten();
        homes.map(|(index, _)| *index).filter(|index| *index != worker).take(ASKED_MAX).collect()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.by_ip.read().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_known_where_their_peers_are_and_leave_nothing_behind() {
        let homes = Homes::default();
        let (here, there) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for worker in 0..8 {
            homes.enter(here, worker);
        }
        homes.enter(here, 1);
        assert_eq!(&homes.others(here, 0)[..], [1, 2, 3, 4]);
        assert!(homes.others(there, 0).is_empty());
        homes.leave(here, 1);
        assert_eq!(&homes.others(here, 2)[..], [0, 1, 3, 4], "one of two addresses is left");
        for worker in 0..8 {
            homes.leave(here, worker);
            homes.leave(there, worker);
        }
        assert_eq!(homes.len(), 0);
    }
}
