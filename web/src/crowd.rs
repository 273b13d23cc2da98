//! A bounded number of places, and a bounded share of them for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use parking_lot::Mutex;

/// Places for whatever costs something while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Crowd(Mutex<Taken>);

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) all: usize,
    pub(crate) per_address: usize,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All are taken.
    All,
    /// This address has its share.
    Address,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// No more entries than places.
    by_address: HashMap<IpAddr, usize>,
}

/// A place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    /// How many places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.0.lock().all
    }

    /// A place, unless all are taken or this address has its share.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr, bounds: Bounds) -> Result<Place, Full> {
        let address = household(from);
        let mut taken = self.0.lock();
        let own = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all >= bounds.all {
            return Err(Full::All);
        }
        if own >= bounds.per_address {
            return Err(Full::Address);
        }
        taken.all += 1;
        taken.by_address.insert(address, own + 1);
        Ok(Place { crowd: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.crowd.0.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(own) = taken.by_address.get_mut(&self.address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network that one customer gets (RFC 6177), for its host
/// part is the customer's to choose.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn bounds(all: usize, per_address: usize) -> Bounds {
        Bounds { all, per_address }
    }

    #[test]
    fn one_address_gets_its_share_and_leaves_the_rest() {
        let (crowd, bounds) = (Arc::new(Crowd::default()), bounds(3, 2));
        let first = crowd.enter(ip("192.0.2.1"), bounds).unwrap();
        let _second = crowd.enter(ip("::ffff:192.0.2.1"), bounds).unwrap();
        assert_eq!(crowd.enter(ip("192.0.2.1"), bounds).err(), Some(Full::Address));
        let third = crowd.enter(ip("192.0.2.2"), bounds).unwrap();
        assert_eq!(crowd.enter(ip("192.0.2.3"), bounds).err(), Some(Full::All));
        drop(third);
        drop(first);
        assert!(crowd.enter(ip("192.0.2.1"), bounds).is_ok());
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_address() {
        let (crowd, bounds) = (Arc::new(Crowd::default()), bounds(9, 1));
        let _one = crowd.enter(ip("2001:db8::1"), bounds).unwrap();
        assert!(crowd.enter(ip("2001:db8::2"), bounds).is_err());
        assert!(crowd.enter(ip("2001:db8:0:1::2"), bounds).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_those_who_left() {
        let crowd = Arc::new(Crowd::default());
        for n in 0..100u8 {
            drop(crowd.enter(IpAddr::from([10, 0, 0, n]), bounds(9, 9)));
        }
        assert!(crowd.0.lock().by_address.is_empty());
        assert_eq!(crowd.taken(), 0);
    }
}
