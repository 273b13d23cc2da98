//! One direction of a bad network, in virtual time: seeded loss, alone or in bursts, delay, jitter,
//! duplicates and a narrow pipe with a short queue.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What happens to datagrams on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Share lost, in 1/1,000.
    pub(crate) loss: u64,
    /// After one that is lost, how long the line takes nothing, at most.
    pub(crate) burst: Duration,
    /// Share that comes twice, in 1/1,000.
    pub(crate) duplicates: u64,
    /// One-way delay of all.
    pub(crate) delay: Duration,
    /// Further delay, even between nothing and this; what is delayed longer is overtaken.
    pub(crate) jitter: Duration,
    /// Bytes a millisecond that the pipe takes; 0 is no limit.
    pub(crate) rate: u64,
    /// What the pipe holds back before it drops.
    pub(crate) queue: Duration,
}

impl Weather {
    /// A line of 20 ms that loses nothing.
    pub(crate) const FINE: Self = Self {
        loss: 0,
        burst: Duration::ZERO,
        duplicates: 0,
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        rate: 0,
        queue: Duration::from_millis(250),
    };

    /// A line of 20 ms and `jitter_ms` that loses `percent` and duplicates one in a hundred.
    pub(crate) const fn rough(percent: u64, jitter_ms: u64) -> Self {
        Self { loss: percent * 10, duplicates: 10, jitter: Duration::from_millis(jitter_ms), ..Self::FINE }
    }
}

/// Datagrams under way.
pub(crate) struct Link {
    pub(crate) weather: Weather,
    random: Random,
    under_way: BTreeMap<(Instant, u64), Vec<u8>>,
    sent: u64,
    /// Datagrams that the weather took.
    pub(crate) lost: u64,
    /// Those that it sent twice.
    pub(crate) doubled: u64,
    /// The line takes nothing until then.
    bursting_until: Option<Instant>,
    /// When the pipe has let through all that it took.
    busy_until: Option<Instant>,
}

impl Link {
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            random: Random(seed),
            under_way: BTreeMap::new(),
            sent: 0,
            lost: 0,
            doubled: 0,
            bursting_until: None,
            busy_until: None,
        }
    }

    pub(crate) fn send(&mut self, now: Instant, data: Vec<u8>) {
        let Some(now) = self.through_pipe(now, data.len()).filter(|_| !self.takes(now)) else {
            self.lost += 1;
            return;
        };
        if self.random.below(1_000) < self.weather.duplicates {
            self.doubled += 1;
            self.put(now, data.clone());
        }
        self.put(now, data);
    }

    /// Whether the weather takes the next one.
    fn takes(&mut self, now: Instant) -> bool {
        if self.bursting_until.is_some_and(|until| now < until) {
            return true;
        }
        let begins = self.random.below(1_000) < self.weather.loss;
        if begins {
            let burst_us = self.weather.burst.as_micros() as u64;
            self.bursting_until = Some(now + Duration::from_micros(self.random.below(burst_us + 1)));
        }
        begins
    }

    /// When the pipe lets it out; `None` if its queue is full.
    fn through_pipe(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(micros) = (len as u64 * 1_000).checked_div(self.weather.rate) else { return Some(now) };
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        if start - now > self.weather.queue {
            return None;
        }
        let out = start + Duration::from_micros(micros);
        self.busy_until = Some(out);
        Some(out)
    }

    fn put(&mut self, now: Instant, data: Vec<u8>) {
        let jitter_us = self.weather.jitter.as_micros() as u64;
        let jitter = Duration::from_micros(self.random.below(jitter_us + 1));
        self.sent += 1;
        self.under_way.insert((now + self.weather.delay + jitter, self.sent), data);
    }

    pub(crate) fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        let entry = self.under_way.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}

/// SplitMix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Even in `0..bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}
