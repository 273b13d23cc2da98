//! The door of the house, behind the rules and before callback servers.
//!
//! It owns the questions that no other asks: is the server going down, does the vhost take WebRTC, is
//! there room?

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use weir_source::{Caller, ClientInfo, ClientKind, Denied, Gatekeeper, PerVhost, Traffic, Verdict, Visit};

/// Lets clients in while there is room and the server is to stay; then asks the next.
pub(crate) struct Door {
    closed: AtomicBool,
    /// Which vhosts take WebRTC clients.
    webrtc: ArcSwap<PerVhost<bool>>,
    places: Arc<Places>,
    next: Arc<dyn Gatekeeper>,
}

/// How many clients may hold a TCP connection, and how many do.
struct Places {
    max: AtomicUsize,
    taken: AtomicUsize,
}

impl Door {
    /// `next` is asked about those for whom there is room.
    pub(crate) fn new(clients_max: usize, webrtc: PerVhost<bool>, next: Arc<dyn Gatekeeper>) -> Arc<Self> {
        let places = Arc::new(Places { max: AtomicUsize::new(clients_max), taken: AtomicUsize::new(0) });
        Arc::new(Self { closed: AtomicBool::new(false), webrtc: ArcSwap::from_pointee(webrtc), places, next })
    }

    /// Nobody is let in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn set_webrtc(&self, webrtc: PerVhost<bool>) {
        self.webrtc.store(Arc::new(webrtc));
    }

    #[cfg(test)]
    pub(crate) fn webrtc(&self) -> Arc<PerVhost<bool>> {
        self.webrtc.load_full()
    }

    pub(crate) fn set_clients_max(&self, clients_max: usize) {
        self.places.max.store(clients_max, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn clients_max(&self) -> usize {
        self.places.max.load(Ordering::Relaxed)
    }

    fn closed(&self) -> Option<Denied> {
        let closed = self.closed.load(Ordering::Acquire);
        closed.then(|| Denied::Unavailable("the server is going down".to_owned()))
    }
}

impl Gatekeeper for Door {
    fn admit(&self, visit: Visit) -> Verdict {
        if let Some(denied) = self.closed() {
            return Box::pin(ready(Err(denied)));
        }
        let is_webrtc = matches!(visit.info.kind, ClientKind::RtcPlay | ClientKind::RtcPublish);
        if is_webrtc && !**self.webrtc.load().get(visit.info.key.vhost()) {
            return Box::pin(ready(Err(Denied::Forbidden("WebRTC is off here".to_owned()))));
        }
        let Some(place) = Place::take(&self.places, visit.info.kind) else {
            return Box::pin(ready(Err(Denied::Unavailable("the server is full".to_owned()))));
        };
        let verdict = self.next.admit(visit);
        Box::pin(async move {
            verdict.await?;
            place.keep();
            Ok(())
        })
    }

    fn left(&self, info: &Arc<ClientInfo>, traffic: &Traffic) {
        if needs_place(info.kind) {
            self.places.give_back();
        }
        self.next.left(info, traffic);
    }

    fn admit_connection(&self, caller: Arc<Caller>) -> Verdict {
        match self.closed() {
            Some(denied) => Box::pin(ready(Err(denied))),
            None => self.next.admit_connection(caller),
        }
    }

    fn closed(&self, caller: &Arc<Caller>, traffic: &Traffic) {
        self.next.closed(caller, traffic);
    }
}

/// `max_connections` counts clients that hold a connection each. WebRTC sessions have a bound of
/// their own, and HLS players hold nothing between two requests.
const fn needs_place(kind: ClientKind) -> bool {
    matches!(kind, ClientKind::RtmpPlay | ClientKind::RtmpPublish | ClientKind::FlvPlay)
}

impl Places {
    fn give_back(&self) {
        let _before = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| taken.checked_sub(1));
    }
}

/// A place that is given back when dropped, unless the client was let in.
struct Place(Option<Arc<Places>>);

impl Place {
    /// `None`: all are taken.
    fn take(places: &Arc<Places>, kind: ClientKind) -> Option<Self> {
        if !needs_place(kind) {
            return Some(Self(None));
        }
        let max = places.max.load(Ordering::Relaxed);
        let taken = places.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < max).then_some(taken + 1));
        taken.is_ok().then(|| Self(Some(Arc::clone(places))))
    }

    /// The client has it until it leaves.
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = &self.0 {
            places.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_source::{Hub, Secret, StreamKey};

    use super::*;

    fn info(id: &str, kind: ClientKind) -> ClientInfo {
        ClientInfo {
            id: id.to_owned(),
            kind,
            key: StreamKey::new("live", "s").unwrap(),
            ip: [192, 0, 2, 1].into(),
            url: String::new(),
            page_url: String::new(),
            param: Secret::default(),
            since: Instant::now(),
        }
    }

    #[tokio::test]
    async fn clients_with_connections_are_bounded_together_and_a_place_comes_back() {
        let (hub, door) = (Hub::new(), Door::new(2, PerVhost::all(true), Arc::new(Always)));
        hub.set_gatekeeper(door.clone());
        let first = hub.admit(info("a", ClientKind::RtmpPlay), None).await.unwrap();
        let _second = hub.admit(info("b", ClientKind::FlvPlay), None).await.unwrap();
        assert!(matches!(hub.admit(info("c", ClientKind::RtmpPublish), None).await, Err(Denied::Unavailable(_))));
        assert!(hub.admit(info("d", ClientKind::RtcPlay), None).await.is_ok(), "WebRTC has its own bound");
        drop(first);
        let third = hub.admit(info("c", ClientKind::RtmpPublish), None).await;
        assert!(third.is_ok());
        door.set_clients_max(3);
        assert!(hub.admit(info("e", ClientKind::RtmpPlay), None).await.is_ok());
    }

    struct Always;

    impl Gatekeeper for Always {
        fn admit(&self, _visit: Visit) -> Verdict {
            Box::pin(ready(Ok(())))
        }

        fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {}
    }

    struct Never;

    impl Gatekeeper for Never {
        fn admit(&self, _visit: Visit) -> Verdict {
            Box::pin(ready(Err(Denied::Unauthorized)))
        }

        fn left(&self, _info: &Arc<ClientInfo>, _traffic: &Traffic) {
            unreachable!("nobody was let in");
        }
    }

    #[tokio::test]
    async fn a_place_that_the_next_refused_is_free_again() {
        let hub = Hub::new();
        hub.set_gatekeeper(Door::new(1, PerVhost::all(true), Arc::new(Never)));
        for _ in 0..3 {
            assert!(matches!(hub.admit(info("a", ClientKind::RtmpPlay), None).await, Err(Denied::Unauthorized)));
        }
    }

    #[tokio::test]
    async fn a_vhost_without_webrtc_takes_the_others() {
        let (hub, door) = (Hub::new(), Door::new(9, PerVhost::all(false), Arc::new(Always)));
        hub.set_gatekeeper(door.clone());
        assert!(matches!(hub.admit(info("a", ClientKind::RtcPublish), None).await, Err(Denied::Forbidden(_))));
        assert!(hub.admit(info("a", ClientKind::RtmpPublish), None).await.is_ok());
        door.set_webrtc(PerVhost::all(true));
        assert!(hub.admit(info("a", ClientKind::RtcPlay), None).await.is_ok());
    }

    #[tokio::test]
    async fn a_closed_door_lets_nobody_in_by_any_protocol() {
        let (hub, door) = (Hub::new(), Door::new(9, PerVhost::all(true), Arc::new(Always)));
        hub.set_gatekeeper(door.clone());
        door.close();
        for kind in [ClientKind::RtcPublish, ClientKind::RtmpPlay, ClientKind::HlsPlay] {
            assert!(matches!(hub.admit(info("a", kind), None).await, Err(Denied::Unavailable(_))));
        }
    }
}
