//! How often one address may begin something: a bucket of tokens each, in a table with a bound.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::network::Origin;

/// How often one address (of IPv6: one /64) may begin a session or send a signalling request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// In a second, in the long run; 0 for no limit. Default 20.
    pub per_second: u32,
    /// At once, after a pause. Default 40.
    pub burst: u32,
    /// Loopback has no limit: there sit our own proxies, load tools and tests. Default on.
    pub exempt_loopback: bool,
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self { per_second: 20, burst: 40, exempt_loopback: true }
    }
}

/// Addresses remembered at a time, at 48 bytes each. Who has not asked for as long as its bucket takes
/// to fill (two seconds) is forgotten first, so this many must ask within that before one of them
/// gets a second burst.
const ADDRESSES_MAX: usize = 16_384;
/// How often the full ones are looked for: going through the table takes some 100 µs.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The buckets of all addresses.
#[derive(Debug, Default)]
pub(super) struct Limits {
    table: Mutex<Table>,
    evicted: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    buckets: HashMap<Origin, Bucket>,
    swept: Option<Instant>,
}

/// `tokens` there were at `at`.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn filled(&self, config: &LimitConfig, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * f64::from(config.per_second);
        (self.tokens + gained).min(f64::from(config.burst.max(1)))
    }
}

impl Limits {
    /// Takes one token of `ip`'s, or says how long to wait for one.
    pub(super) fn take(&self, config: &LimitConfig, ip: IpAddr, now: Instant) -> Result<(), Duration> {
        let ip = ip.to_canonical();
        if config.per_second == 0 || (config.exempt_loopback && ip.is_loopback()) {
            return Ok(());
        }
        let origin = Origin::of(ip);
        let mut table = self.table.lock();
        let full = f64::from(config.burst.max(1));
        let tokens = table.buckets.get(&origin).map_or(full, |bucket| bucket.filled(config, now));
        if tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - tokens) / f64::from(config.per_second)));
        }
        if table.buckets.len() >= ADDRESSES_MAX && !table.buckets.contains_key(&origin) {
            self.make_room(&mut table, config, now);
        }
        table.buckets.insert(origin, Bucket { tokens: tokens - 1.0, at: now });
        Ok(())
    }

    /// Who has a full bucket is as good as forgotten. If nobody has, somebody must go all the same.
    fn make_room(&self, table: &mut Table, config: &LimitConfig, now: Instant) {
        if table.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
            table.swept = Some(now);
            let full = f64::from(config.burst.max(1));
            table.buckets.retain(|_, bucket| bucket.filled(config, now) < full);
        }
        while table.buckets.len() >= ADDRESSES_MAX {
            let Some(any) = table.buckets.keys().next().copied() else { return };
            table.buckets.remove(&any);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Addresses remembered now.
    pub(super) fn len(&self) -> usize {
        self.table.lock().buckets.len()
    }

    /// How often one was forgotten that had not been quiet.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const CONFIG: LimitConfig = LimitConfig { per_second: 20, burst: 40, exempt_loopback: true };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of `asks` are let through.
    fn count(limits: &Limits, config: &LimitConfig, from: &str, now: Instant, asks: usize) -> usize {
        (0..asks).filter(|_| limits.take(config, ip(from), now).is_ok()).count()
    }

    #[test]
    fn h45_a_burst_then_a_rate() {
        let (limits, now) = (Limits::default(), Instant::now());
        assert_eq!(count(&limits, &CONFIG, "192.0.2.1", now, 100), 40);
        assert_eq!(limits.take(&CONFIG, ip("192.0.2.1"), now), Err(Duration::from_millis(50)));
        assert_eq!(count(&limits, &CONFIG, "192.0.2.1", now + Duration::from_millis(500), 100), 10);
        assert_eq!(count(&limits, &CONFIG, "192.0.2.2", now, 100), 40, "another address has its own");
        assert_eq!(count(&limits, &CONFIG, "192.0.2.1", now + Duration::from_secs(3_600), 100), 40, "never more than a burst");
    }

    #[test]
    fn who_asks_in_vain_does_not_wait_longer_for_it() {
        let (limits, now) = (Limits::default(), Instant::now());
        count(&limits, &CONFIG, "192.0.2.1", now, 1_000);
        assert!(limits.take(&CONFIG, ip("192.0.2.1"), now + Duration::from_millis(51)).is_ok());
    }

    #[test]
    fn an_ipv6_host_has_one_bucket_for_its_64() {
        let (limits, now) = (Limits::default(), Instant::now());
        assert_eq!(count(&limits, &CONFIG, "2001:db8::1", now, 40), 40);
        assert_eq!(count(&limits, &CONFIG, "2001:db8::2", now, 40), 0);
        assert_eq!(count(&limits, &CONFIG, "2001:db8:0:1::2", now, 40), 40);
    }

    #[test]
    fn loopback_is_exempt_unless_configured_and_nobody_is_limited_by_0() {
        let (limits, now) = (Limits::default(), Instant::now());
        for from in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(count(&limits, &CONFIG, from, now, 100), 100);
        }
        assert_eq!(limits.len(), 0);
        let strict = LimitConfig { exempt_loopback: false, ..CONFIG };
        assert_eq!(count(&limits, &strict, "127.0.0.1", now, 100), 40);
        let off = LimitConfig { per_second: 0, ..strict };
        assert_eq!(count(&limits, &off, "192.0.2.1", now, 100), 100);
        let least = LimitConfig { per_second: 1, burst: 0, ..CONFIG };
        assert_eq!(count(&limits, &least, "192.0.2.9", now, 100), 1);
    }

    #[test]
    fn the_table_has_a_bound_and_forgets_the_quiet_first() {
        let (limits, now) = (Limits::default(), Instant::now());
        let many = |from: u32, count: u32, at: Instant| {
            (from..from + count).for_each(|n| assert!(limits.take(&CONFIG, Ipv4Addr::from(n).into(), at).is_ok()));
        };
        let bound = u32::try_from(ADDRESSES_MAX).unwrap();
        many(1 << 24, bound, now);
        assert_eq!((limits.len(), limits.evicted()), (ADDRESSES_MAX, 0));
        let later = now + Duration::from_secs(1);
        many(2 << 24, 1, later);
        assert_eq!((limits.len(), limits.evicted()), (1, 0), "all others were quiet for long enough");
        many(3 << 24, bound + 10, later + Duration::from_millis(10));
        assert_eq!((limits.len(), limits.evicted()), (ADDRESSES_MAX, 11), "nobody was");
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert!(limits.take(&CONFIG, v6, later).is_ok());
    }
}
