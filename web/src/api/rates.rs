//! Bit rates of streams and clients over the last 30 seconds, sampled once a second.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use weir_source::{Client, Hub, StreamKey};

/// How often the counters are read.
const EVERY: Duration = Duration::from_secs(1);
/// Samples kept: 30 s and the one that they start from. SRS's window too.
const SAMPLES: usize = 31;

/// SRS's `kbps` object: kilobits per second over the last 30 s, or since the start if that is less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kbps {
    pub(crate) recv_30s: u64,
    pub(crate) send_30s: u64,
}

/// What the sampler knows of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamRate {
    pub(crate) kbps: Kbps,
    /// Bytes sent to all its players, also to those that have left.
    pub(crate) send_bytes: u64,
}

/// The samples of everything that is connected. Nothing is kept of what has left.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    streams: HashMap<StreamKey, StreamMeter>,
    clients: HashMap<String, ClientMeter>,
    round: u64,
}

#[derive(Debug, Default)]
struct StreamMeter {
    send_bytes: u64,
    meter: Meter,
}

#[derive(Debug)]
struct ClientMeter {
    client: Arc<Client>,
    send_bytes: u64,
    round: u64,
    meter: Meter,
}

impl Rates {
    /// Samples once a second until `stop`.
    pub async fn run(&self, hub: &Hub, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.sample(hub, Instant::now());
        }
    }

    /// Reads all counters.
    pub(crate) fn sample(&self, hub: &Hub, now: Instant) {
        let (clients, sources) = (hub.clients().list(), hub.list());
        let mut table = self.0.lock();
        let table = &mut *table;
        table.round = table.round.wrapping_add(1);
        for client in clients {
            match table.clients.get_mut(&client.info.id) {
                Some(meter) => meter.round = table.round,
                None => {
                    let meter = ClientMeter { send_bytes: 0, round: table.round, meter: Meter::default(), client };
                    table.clients.insert(meter.client.info.id.clone(), meter);
                }
            }
        }
        let (streams, round) = (&mut table.streams, table.round);
        // Who has left is read a last time, so that a stream's total misses nothing.
        table.clients.retain(|_, meter| {
            let recv = meter.client.traffic.received.load(Ordering::Relaxed);
            let send = meter.client.traffic.sent.load(Ordering::Relaxed);
            meter.meter.push(now, recv, send);
            if !meter.client.info.kind.is_publisher() {
                let grown = send.saturating_sub(meter.send_bytes);
                let stream = streams.entry(meter.client.info.key.clone()).or_default();
                stream.send_bytes = stream.send_bytes.saturating_add(grown);
                meter.send_bytes = send;
            }
            meter.round == round
        });
        for source in &sources {
            let recv = source.stats().recv_bytes.load(Ordering::Relaxed);
            let stream = streams.entry(source.key().clone()).or_default();
            stream.meter.push(now, recv, stream.send_bytes);
        }
        streams.retain(|key, _| sources.binary_search_by(|source| source.key().cmp(key)).is_ok());
    }

    pub(crate) fn stream(&self, key: &StreamKey) -> StreamRate {
        let table = self.0.lock();
        let Some(stream) = table.streams.get(key) else { return StreamRate::default() };
        StreamRate { kbps: stream.meter.kbps(), send_bytes: stream.send_bytes }
    }

    pub(crate) fn client(&self, id: &str) -> Kbps {
        self.0.lock().clients.get(id).map_or_else(Kbps::default, |client| client.meter.kbps())
    }
}

/// The counters of one thing at the last [`SAMPLES`] samples.
#[derive(Debug, Default)]
struct Meter(VecDeque<Sample>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    recv: u64,
    send: u64,
}

impl Meter {
    fn push(&mut self, at: Instant, recv: u64, send: u64) {
        // A source of the same name that was made anew counts from zero again.
        if self.0.back().is_some_and(|last| recv < last.recv || send < last.send) {
            self.0.clear();
        }
        if self.0.len() >= SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(Sample { at, recv, send });
    }

    fn kbps(&self) -> Kbps {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Kbps::default() };
        let millis = u64::try_from(last.at.saturating_duration_since(first.at).as_millis()).unwrap_or(u64::MAX);
        // Bits per millisecond are kilobits per second.
        let rate = |first: u64, last: u64| last.saturating_sub(first).saturating_mul(8).checked_div(millis).unwrap_or(0);
        Kbps { recv_30s: rate(first.recv, last.recv), send_30s: rate(first.send, last.send) }
    }
}

#[cfg(test)]
mod tests {
    use weir_source::ClientKind;

    use super::*;
    use crate::testing;

    #[test]
    fn rates_are_over_the_last_thirty_seconds() {
        let mut meter = Meter::default();
        let start = Instant::now();
        for second in 0..100u64 {
            // 1,000 bytes a second in; out only for the last ten seconds.
            meter.push(start + Duration::from_secs(second), second * 1_000, second.saturating_sub(89) * 30_000);
        }
        assert_eq!(meter.0.len(), SAMPLES);
        assert_eq!(meter.kbps(), Kbps { recv_30s: 8, send_30s: 80 });
    }

    #[test]
    fn counts_what_departed_players_were_sent_and_forgets_them() {
        let hub = Hub::new();
        let rates = Rates::default();
        let key = StreamKey::new("live", "s").unwrap();
        let start = Instant::now();
        let reader = hub.subscribe_frames(&key, start);
        let stays = testing::client(&hub, &key, "stays", ClientKind::FlvPlay);
        let leaves = testing::client(&hub, &key, "leaves", ClientKind::RtcPlay);
        rates.sample(&hub, start);
        stays.sent(1_000);
        leaves.sent(500);
        drop(leaves);
        rates.sample(&hub, start + Duration::from_secs(1));
        assert_eq!(rates.stream(&key), StreamRate { kbps: Kbps { recv_30s: 0, send_30s: 12 }, send_bytes: 1_500 });
        assert_eq!(rates.client("stays").send_30s, 8);
        assert_eq!(rates.client("leaves"), Kbps::default());
        assert_eq!(rates.0.lock().clients.len(), 1);
        drop((stays, reader));
        rates.sample(&hub, start + Duration::from_secs(2));
        let table = rates.0.lock();
        assert_eq!((table.clients.len(), table.streams.len()), (0, 0));
    }
}
