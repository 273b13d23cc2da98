//! Ends publishers whom nobody plays, where a vhost says so (`kickoff_for_idle`).
//!
//! It owns since when each has been without a player. Players are those of the client list, of any
//! protocol: what the server itself reads of a stream, say for callbacks, counts for nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tracing::info;
use weir_source::{Hub, PerVhost};

/// How often it looks: what is configured is in seconds.
const LOOK: Duration = Duration::from_secs(1);

/// The time that each vhost gives its publishers; zero: any.
pub(crate) struct Idle {
    hub: Arc<Hub>,
    patience: ArcSwap<PerVhost<Duration>>,
}

impl Idle {
    pub(crate) fn new(hub: Arc<Hub>, patience: PerVhost<Duration>) -> Arc<Self> {
        Arc::new(Self { hub, patience: ArcSwap::from_pointee(patience) })
    }

    pub(crate) fn set_patience(&self, patience: PerVhost<Duration>) {
        self.patience.store(Arc::new(patience));
    }

    #[cfg(test)]
    pub(crate) fn patience(&self) -> Arc<PerVhost<Duration>> {
        self.patience.load_full()
    }

    /// Looks until the stop.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut alone = HashMap::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            self.look(&mut alone, Instant::now());
        }
    }

    /// `alone`: since when which publishers, by their ids, have been without a player.
    fn look(&self, alone: &mut HashMap<String, Instant>, now: Instant) {
        let patience = self.patience.load();
        if patience.values().all(|patience| patience.is_zero()) {
            alone.clear();
            return;
        }
        let clients = self.hub.clients();
        let players = clients.list().into_iter().filter(|client| !client.info.kind.is_publisher());
        let played: HashSet<_> = players.map(|client| client.info.key.clone()).collect();
        let mut still = HashMap::new();
        for source in self.hub.list().into_iter().filter(|source| !played.contains(source.key())) {
            let patience = **patience.get(source.key().vhost());
            let Some((id, _)) = source.publisher(now).filter(|_| !patience.is_zero()) else { continue };
            let since = alone.get(&id).copied().unwrap_or(now);
            if now.saturating_duration_since(since) >= patience
                && let Some(publisher) = clients.get(&id)
            {
                info!(stream = %source.key(), client = id, "the publisher is ended: nobody has played it for {patience:?}");
                publisher.kick();
            } else {
                still.insert(id, since);
            }
        }
        *alone = still;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use weir_bridge::NotifyWake;
    use weir_source::{ClientGuard, ClientInfo, ClientKind, Frame, Publisher, Secret, StreamKey};

    use super::*;

    async fn enter(hub: &Arc<Hub>, kind: ClientKind, key: &StreamKey) -> ClientGuard {
        let info = ClientInfo {
            id: format!("{key}-{}", kind.name()),
            kind,
            key: key.clone(),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            url: String::new(),
            page_url: String::new(),
            param: Secret::default(),
            since: Instant::now(),
        };
        hub.clients().enter(hub.admit(info, None).await.unwrap(), NotifyWake::new())
    }

    async fn publish(hub: &Arc<Hub>, key: &StreamKey) -> (ClientGuard, Publisher<Frame>) {
        let client = enter(hub, ClientKind::RtmpPublish, key).await;
        let publisher = hub.publish_frames(key, &client.info.id, NotifyWake::new(), Instant::now()).unwrap();
        (client, publisher)
    }

    #[tokio::test]
    async fn a_publisher_whom_nobody_has_played_for_as_long_as_its_vhost_says_is_ended() {
        let (hub, began) = (Hub::new(), Instant::now());
        hub.set_vhosts(weir_source::Vhosts::new(["short", weir_source::DEFAULT_VHOST]));
        let mut patience = PerVhost::all(Duration::ZERO);
        patience.insert("short", Duration::from_secs(10));
        let idle = Idle::new(Arc::clone(&hub), patience);
        let key = |host: &str| hub.vhosts().key(host, "live", "s").unwrap();
        let (short, _short) = publish(&hub, &key("short")).await;
        let (other, _other) = publish(&hub, &key("other")).await;
        let mut alone = HashMap::new();
        let mut look = |second| idle.look(&mut alone, began + Duration::from_secs(second));

        (0..=9).for_each(&mut look);
        let player = enter(&hub, ClientKind::RtcPlay, &key("short")).await;
        (10..=30).for_each(&mut look);
        drop(player);
        (31..=40).for_each(&mut look);
        assert!(!short.is_kicked(), "it was played ten seconds ago");
        look(41);
        assert!(short.is_kicked());
        assert!(!other.is_kicked(), "its vhost has no such time");
    }
}
