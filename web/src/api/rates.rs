//! What is counted over time: bit rates of streams, clients and vhosts, and totals that outlive them.
//! Sampled once a second from the counters that the media path writes.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use weir_source::{Client, ClientKind, Hub, Source, StreamKey};

use super::meter::{Kbps, Meter};

/// How often the counters are read.
const EVERY: Duration = Duration::from_secs(1);
/// How long a stream that was published is listed after its end: a script that looks every few seconds
/// sees that it has ended rather than that it never was.
const LINGERS: Duration = Duration::from_secs(10);
/// The most streams that linger; of more some are forgotten at once.
const LINGERING_MAX: usize = 1_000;

/// What the sampler knows of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamRate {
    pub(crate) kbps: Kbps,
    /// Bytes sent to all its players, also to those that have left.
    pub(crate) send_bytes: u64,
}

/// A stream that was published and is no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Departed {
    pub(crate) tc_url: String,
    pub(crate) recv_bytes: u64,
    pub(crate) send_bytes: u64,
    pub(crate) audio_frames: u64,
    pub(crate) video_frames: u64,
}

/// Bytes that went either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) recv: u64,
    pub(crate) send: u64,
}

impl Total {
    fn add(&mut self, recv: u64, send: u64) {
        self.recv = self.recv.saturating_add(recv);
        self.send = self.send.saturating_add(send);
    }
}

/// What outlives those that it was counted of. Kinds and vhosts are few, whatever clients do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// By kind of client, in the API's words.
    pub(crate) kinds: BTreeMap<&'static str, Total>,
    /// Items that readers lost by falling behind.
    pub(crate) lagged: u64,
    /// Pushes of publishers that had been replaced.
    pub(crate) refused: u64,
    /// Keyframe requests that reached publishers.
    pub(crate) keyframe_requests: u64,
    /// Streams that began to be published.
    pub(crate) published: u64,
}

impl Totals {
    /// All kinds together.
    pub(crate) fn bytes(&self) -> Total {
        self.kinds.values().fold(Total::default(), |mut sum, kind| {
            sum.add(kind.recv, kind.send);
            sum
        })
    }
}

/// The samples of everything that is connected.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    streams: HashMap<StreamKey, StreamMeter>,
    clients: HashMap<String, ClientMeter>,
    vhosts: HashMap<Box<str>, (Total, Meter)>,
    totals: Totals,
    all: Meter,
    round: u64,
}

#[derive(Debug, Default)]
struct StreamMeter {
    send_bytes: u64,
    meter: Meter,
    /// When it was in the hub last; `None` if it never was.
    seen: Option<Instant>,
    /// What it was like when it was published last, and by whom.
    last: Option<(String, Departed)>,
    counted: [u64; 3],
}

#[derive(Debug)]
struct ClientMeter {
    client: Arc<Client>,
    counted: Total,
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
        let (clients, sources, vhosts) = (hub.clients().list(), hub.list(), hub.vhosts());
        let mut table = self.0.lock();
        let table = &mut *table;
        table.round = table.round.wrapping_add(1);
        for client in clients {
            match table.clients.get_mut(&client.info.id) {
                Some(meter) => meter.round = table.round,
                None => {
                    let meter = ClientMeter { counted: Total::default(), round: table.round, meter: Meter::default(), client };
                    table.clients.insert(meter.client.info.id.clone(), meter);
                }
            }
        }
        // Who has left is read a last time, so that no total misses anything.
        let mut meters = std::mem::take(&mut table.clients);
        meters.retain(|_, meter| {
            table.count(now, meter);
            meter.round == table.round
        });
        table.clients = meters;
        for source in &sources {
            table.look(hub, source, now);
        }
        table.forget(now);
        let known: HashSet<&str> = vhosts.list().collect();
        table.vhosts.retain(|name, _| known.contains(&**name));
        for name in known {
            let (total, meter) = table.vhosts.entry(name.into()).or_default();
            meter.push(now, total.recv, total.send);
        }
        let all = table.totals.bytes();
        table.all.push(now, all.recv, all.send);
    }

    pub(crate) fn stream(&self, key: &StreamKey) -> StreamRate {
        let table = self.0.lock();
        let Some(stream) = table.streams.get(key) else { return StreamRate::default() };
        StreamRate { kbps: stream.meter.kbps(), send_bytes: stream.send_bytes }
    }

    /// The `max` streams with the most traffic, and the rates of all others together if there are any.
    pub(crate) fn busiest(&self, max: usize) -> (Vec<(StreamKey, Kbps)>, Option<Kbps>) {
        let table = self.0.lock();
        let mut all: Vec<(&StreamKey, Kbps)> = table.streams.iter().map(|(key, stream)| (key, stream.meter.kbps())).collect();
        let quiet_last = |(_, kbps): &(&StreamKey, Kbps)| std::cmp::Reverse(kbps.recv_30s.saturating_add(kbps.send_30s));
        let others = if all.len() > max {
            all.select_nth_unstable_by_key(max, quiet_last);
            let rest = all.split_off(max);
            Some(rest.iter().fold(Kbps::default(), |sum, (_, kbps)| Kbps {
                recv_30s: sum.recv_30s.saturating_add(kbps.recv_30s),
                send_30s: sum.send_30s.saturating_add(kbps.send_30s),
            }))
        } else {
            None
        };
        (all.into_iter().map(|(key, kbps)| (key.clone(), kbps)).collect(), others)
    }

    /// Streams that the hub has no more, and that were published until lately.
    pub(crate) fn departed(&self, hub: &Hub) -> Vec<(StreamKey, Departed)> {
        let table = self.0.lock();
        let gone = table.streams.iter().filter(|(key, _)| hub.get(key).is_none());
        gone.filter_map(|(key, stream)| {
            let (_, last) = stream.last.as_ref()?;
            Some((key.clone(), Departed { send_bytes: stream.send_bytes, ..last.clone() }))
        })
        .collect()
    }

    pub(crate) fn client(&self, id: &str) -> Kbps {
        self.0.lock().clients.get(id).map_or_else(Kbps::default, |client| client.meter.kbps())
    }

    pub(crate) fn vhost(&self, name: &str) -> (Total, Kbps) {
        let table = self.0.lock();
        table.vhosts.get(name).map(|(total, meter)| (*total, meter.kbps())).unwrap_or_default()
    }

    /// The totals, and the rates of everything.
    pub(crate) fn totals(&self) -> (Totals, Kbps) {
        let table = self.0.lock();
        (table.totals.clone(), table.all.kbps())
    }
}

impl Table {
    /// Adds what a client's counters have grown by.
    fn count(&mut self, now: Instant, meter: &mut ClientMeter) {
        let info = &meter.client.info;
        let (send, recv) = meter.client.traffic.totals();
        meter.meter.push(now, recv, send);
        let grown = (recv.saturating_sub(meter.counted.recv), send.saturating_sub(meter.counted.send));
        meter.counted = Total { recv, send };
        self.totals.kinds.entry(info.kind.name()).or_default().add(grown.0, grown.1);
        self.vhosts.entry(info.key.vhost().into()).or_default().0.add(grown.0, grown.1);
        if !info.kind.is_publisher() {
            let stream = self.streams.entry(info.key.clone()).or_default();
            stream.send_bytes = stream.send_bytes.saturating_add(grown.1);
        }
    }

    fn look(&mut self, hub: &Hub, source: &Arc<Source>, now: Instant) {
        let stats = source.stats();
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let recv = of(&stats.recv_bytes);
        let counters = [of(&stats.lagged), of(&stats.refused), of(&stats.keyframe_requests)];
        let stream = self.streams.entry(source.key().clone()).or_default();
        stream.seen = Some(now);
        stream.meter.push(now, recv, stream.send_bytes);
        let totals = [&mut self.totals.lagged, &mut self.totals.refused, &mut self.totals.keyframe_requests];
        for ((total, counted), counter) in totals.into_iter().zip(&mut stream.counted).zip(counters) {
            // A source of the same name that was made anew counts from zero again.
            *total = total.saturating_add(counter.checked_sub(*counted).unwrap_or(counter));
            *counted = counter;
        }
        let Some((publisher, _)) = source.publisher(now) else { return };
        let tc_url = hub.clients().get(&publisher).map(|client| client.info.url.clone()).unwrap_or_default();
        if stream.last.as_ref().is_none_or(|(last, _)| *last != publisher) {
            self.totals.published = self.totals.published.saturating_add(1);
        }
        let departed =
            Departed { tc_url, recv_bytes: recv, send_bytes: 0, audio_frames: of(&stats.audio), video_frames: of(&stats.video) };
        stream.last = Some((publisher, departed));
    }

    /// Lets go of streams that have ended long enough ago.
    fn forget(&mut self, now: Instant) {
        let mut lingering = 0;
        self.streams.retain(|_, stream| {
            let Some(seen) = stream.seen else { return false };
            if seen == now {
                return true;
            }
            lingering += 1;
            let young = now.saturating_duration_since(seen) < LINGERS;
            young && stream.last.is_some() && lingering <= LINGERING_MAX
        });
    }
}

/// The kinds of clients in the words of metrics: protocol and role.
pub(crate) fn protocol_and_role(kind: ClientKind) -> (&'static str, &'static str) {
    let protocol = kind.name().split('-').next().unwrap_or_default();
    let role = if kind.is_publisher() { "publish" } else { "play" };
    match protocol {
        "rtc" => ("webrtc", role),
        "fmle" | "flash" | "haivision" => ("rtmp", role),
        other => (other, role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

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
        assert_eq!(rates.vhost(key.vhost()), (Total { recv: 0, send: 1_500 }, Kbps { recv_30s: 0, send_30s: 12 }));
        drop((stays, reader));
        rates.sample(&hub, start + Duration::from_secs(2));
        let totals = rates.totals().0;
        assert_eq!((totals.bytes(), totals.published), (Total { recv: 0, send: 1_500 }, 0));
        assert_eq!(totals.kinds["flv-play"].send, 1_000);
        let table = rates.0.lock();
        assert_eq!((table.clients.len(), table.streams.len()), (0, 0), "nobody published it");
    }

    #[test]
    fn a_published_stream_lingers_for_ten_seconds_and_not_for_ever() {
        let hub = Hub::new();
        let rates = Rates::default();
        let start = Instant::now();
        let key = |n: usize| StreamKey::new("live", &format!("s{n}")).unwrap();
        let publishers: Vec<_> = (0..LINGERING_MAX + 100)
            .map(|n| hub.publish_frames(&key(n), &format!("pub{n}"), Arc::new(testing::NoWake), start).unwrap())
            .collect();
        rates.sample(&hub, start);
        assert_eq!((rates.departed(&hub).len(), rates.totals().0.published), (0, LINGERING_MAX as u64 + 100));
        drop(publishers);
        assert_eq!(rates.departed(&hub).len(), LINGERING_MAX + 100, "at once");
        rates.sample(&hub, start + Duration::from_secs(1));
        assert_eq!(rates.departed(&hub).len(), LINGERING_MAX);
        rates.sample(&hub, start + Duration::from_secs(9));
        assert_eq!(rates.departed(&hub).len(), LINGERING_MAX);
        rates.sample(&hub, start + Duration::from_secs(10));
        assert_eq!(rates.departed(&hub).len(), 0);
    }
}
